/* The embedded stream on a simulated disk: power cuts, failing writes, syncs and reads, a full disk, rot.
 *
 * A model remembers every record offered and which were acknowledged. After each crash the log is opened
 * again and read whole: every acknowledged record must be there exactly once with its bytes, everything
 * there must have been offered, positions must grow, and what was read once must stay. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/sim_fs.h"
#include "stream/stream_log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DIR         SIM_ROOT "/log"
#define RECORDS_MAX 4096
#define WAIT_MS     10000

enum fate { OFFERED, UNKNOWN, ACKED };

struct one {
    struct world *w;
    uint32_t index, size;
    unsigned partition;
    enum fate fate;
    uint64_t pos;
    bool must_stay; /* was read from the disk after a recovery */
    unsigned seen;
};

struct world {
    uint64_t seed, rng;
    struct sim_fs *disk;
    struct clock_fake clock;
    struct stream *s;
    unsigned partitions;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    uint32_t n, told;
    struct one v[RECORDS_MAX];
};

static uint64_t rnd(struct world *w)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    return w->rng ^= w->rng << 17;
}

static struct world *world_new(uint64_t seed)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->seed = seed;
    w->rng = seed * 0x9e3779b97f4a7c15ull | 1;
    w->disk = sim_fs_new(seed);
    w->partitions = 1 + (unsigned)(seed % 3);
    clock_fake_init(&w->clock, 1000);
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->changed, NULL);
    return w;
}

static void world_free(struct world *w)
{
    stream_free(w->s);
    sim_fs_free(w->disk);
    free(w);
}

static int world_open(struct world *w, struct err *err)
{
    const struct stream_log_options o = {.dir = DIR,
                                         .partitions = w->partitions,
                                         .segment_bytes = 64u << 10,
                                         .buffer_bytes = 64u << 10,
                                         .tail_bytes = 16u << 10,
                                         .fs = sim_fs_base(w->disk),
                                         .clock = &w->clock.base};
    w->s = NULL;
    return stream_log_open(&o, &w->s, err);
}

static void world_must_open(struct world *w)
{
    struct err err = ERR_INIT;
    if (world_open(w, &err) < 0)
        fail_msg("seed %llu: open: %s", (unsigned long long)w->seed, err.text);
}

static uint8_t byte_of(uint32_t index, size_t i)
{
    return (uint8_t)(index * 151 + i * 13 + (i >> 7) + 1);
}

static void on_done(void *ctx, int status, uint64_t pos)
{
    struct one *r = ctx;
    pthread_mutex_lock(&r->w->mu);
    r->fate = status == OK ? ACKED : UNKNOWN;
    r->pos = pos;
    r->w->told++;
    pthread_cond_broadcast(&r->w->changed);
    pthread_mutex_unlock(&r->w->mu);
}

/* What append says. ERR_BUSY is waited out. */
static int offer(struct world *w, uint32_t size)
{
    uint8_t payload[20000];
    struct err err = ERR_INIT;
    if (w->n == RECORDS_MAX)
        return ERR_LIMIT;
    struct one *r = &w->v[w->n];
    *r = (struct one){.w = w, .index = w->n, .size = size, .partition = (unsigned)(rnd(w) % w->partitions)};
    put_u32le(payload, w->n);
    for (size_t i = 4; i < size; i++)
        payload[i] = byte_of(w->n, i);
    for (;;) {
        int rc = stream_append(w->s, r->partition, payload, size, 1, on_done, r, &err);
        if (rc == OK)
            w->n++;
        if (rc != ERR_BUSY)
            return rc;
        if (stream_wait_space(w->s, r->partition, size, 20) == ERR_FAILED)
            return ERR_FAILED;
    }
}

static uint32_t some_size(struct world *w)
{
    return (uint32_t)(4 + rnd(w) % (rnd(w) % 4 ? 300 : 12000));
}

/* Until everyone has been told; after a stream_close this is so at once. */
static void wait_told(struct world *w)
{
    pthread_mutex_lock(&w->mu);
    while (w->told < w->n)
        pthread_cond_wait(&w->changed, &w->mu);
    pthread_mutex_unlock(&w->mu);
}

static void check_record(struct world *w, unsigned lane, const struct stream_record *rec, uint64_t last)
{
    uint32_t index = rec->size >= 4 ? get_u32le(rec->payload) : UINT32_MAX;
    if (index >= w->n)
        fail_msg("seed %llu: an invented record at %llu", (unsigned long long)w->seed,
                 (unsigned long long)rec->pos);
    struct one *r = &w->v[index];
    bool same = rec->size == r->size && lane == r->partition && (r->pos == 0 || r->pos == rec->pos);
    for (size_t i = 4; same && i < rec->size; i++)
        same = rec->payload[i] == byte_of(index, i);
    if (!same)
        fail_msg("seed %llu: record %u is not what was offered", (unsigned long long)w->seed, index);
    if (rec->pos <= last)
        fail_msg("seed %llu: position %llu after %llu", (unsigned long long)w->seed,
                 (unsigned long long)rec->pos, (unsigned long long)last);
    r->seen++;
}

/* Reads a lane to its end; how often it said ERR_CORRUPT. */
static unsigned read_lane(struct world *w, unsigned lane)
{
    struct stream_reader *r;
    struct stream_record rec;
    struct err err = ERR_INIT;
    unsigned damaged = 0;
    uint64_t last = 0;
    assert_int_equal(stream_reader_open(w->s, lane, (struct stream_start){.from = STREAM_OLDEST}, &r, &err),
                     OK);
    for (;;) {
        int rc = stream_reader_next(r, &rec, 0, &err);
        if (rc == 1 || rc == ERR_CLOSED)
            break;
        if (rc == ERR_CORRUPT && damaged < 100) {
            damaged++;
            continue;
        }
        if (rc != OK)
            fail_msg("seed %llu: lane %u: %s", (unsigned long long)w->seed, lane, err.text);
        check_record(w, lane, &rec, last);
        last = rec.pos;
    }
    stream_reader_close(r);
    return damaged;
}

static unsigned check_all(struct world *w)
{
    unsigned damaged = 0;
    for (uint32_t i = 0; i < w->n; i++)
        w->v[i].seen = 0;
    for (unsigned lane = 0; lane < stream_log_lanes(w->s); lane++)
        damaged += read_lane(w, lane);
    for (uint32_t i = 0; i < w->n; i++) {
        struct one *r = &w->v[i];
        bool must = r->fate == ACKED || r->must_stay;
        if (r->seen > 1 || (must && r->seen == 0))
            fail_msg("seed %llu: %s record %u (position %llu, partition %u) was read %u times",
                     (unsigned long long)w->seed, r->fate == ACKED ? "acknowledged" : "recovered", i,
                     (unsigned long long)r->pos, r->partition, r->seen);
        r->must_stay |= r->seen > 0;
    }
    return damaged;
}

static void shut(struct world *w)
{
    stream_close(w->s);
    wait_told(w);
    stream_free(w->s);
    w->s = NULL;
}

/* Opens until it works; the power goes again in the middle of some of the recoveries. */
static void recover(struct world *w)
{
    for (int tries = (int)(rnd(w) % 4); tries > 0; tries--) {
        struct err err = ERR_INIT;
        sim_fs_power_on(w->disk);
        sim_fs_cut_after(w->disk, 1 + rnd(w) % 12);
        if (world_open(w, &err) == OK)
            shut(w);
    }
    sim_fs_power_on(w->disk);
    world_must_open(w);
}

/* Some operations from now the power goes or the process dies. */
static void doom(struct world *w)
{
    uint64_t n = 1 + rnd(w) % 60;
    if (rnd(w) % 2)
        sim_fs_cut_after(w->disk, n);
    else
        sim_fs_kill_after(w->disk, n);
}

static void one_life(struct world *w)
{
    uint32_t count = 20 + (uint32_t)(rnd(w) % 150);
    doom(w);
    for (uint32_t i = 0; i < count; i++) {
        int rc = offer(w, some_size(w));
        if (rc == ERR_FAILED || rc == ERR_LIMIT)
            break;
        assert_int_equal(rc, OK);
        if (rnd(w) % 3 == 0)
            wait_told(w); /* small groups */
        atomic_fetch_add(&w->clock.now_ms, 1);
    }
    if (rnd(w) % 2)
        wait_told(w);
    sim_fs_cut(w->disk);
    shut(w);
}

static void crashes_lose_nothing_acknowledged(void **state)
{
    const char *from = getenv("SEED");
    uint64_t first = from ? strtoull(from, NULL, 10) : 1, seeds = from ? 1 : 150;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct world *w = world_new(seed);
        world_must_open(w);
        for (int life = 0; life < 6; life++) {
            one_life(w);
            w->partitions = 1 + (unsigned)(rnd(w) % 3);
            recover(w);
            check_all(w);
        }
        world_free(w);
    }
}

static void a_clean_restart_finds_everything(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *w = world_new(seed);
        world_must_open(w);
        for (int life = 0; life < 4; life++) {
            for (int i = 0; i < 40; i++)
                assert_int_equal(offer(w, some_size(w)), OK);
            shut(w);
            world_must_open(w);
            assert_int_equal(check_all(w), 0);
        }
        world_free(w);
    }
}

static void failing_stops_acks_for_good(enum sim_fault kind)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct world *w = world_new(seed);
        struct stream_stats st;
        world_must_open(w);
        for (int i = 0; i < 20; i++)
            assert_int_equal(offer(w, some_size(w)), OK);
        wait_told(w);
        sim_fs_fail(w->disk, kind, 1 + (unsigned)(rnd(w) % 8));
        int rc = OK;
        for (int i = 0; i < 500 && rc == OK; i++) {
            rc = offer(w, some_size(w));
            if (rnd(w) % 2)
                wait_told(w);
        }
        assert_int_equal(rc, ERR_FAILED);
        stream_get_stats(w->s, &st);
        assert_true(st.failed);
        for (unsigned p = 0; p < w->partitions; p++) { /* the fault was a single one: nothing retries */
            struct err err = ERR_INIT;
            assert_int_equal(stream_append(w->s, p, "x", 1, 1, NULL, NULL, &err), ERR_FAILED);
            assert_int_equal(stream_wait_space(w->s, p, 1, 0), ERR_FAILED);
        }
        wait_told(w);
        bool unknown = false;
        for (uint32_t i = 0; i < w->n; i++)
            unknown |= w->v[i].fate == UNKNOWN;
        assert_true(unknown);
        check_all(w); /* readers still get what is durable */
        for (uint32_t i = 0; i < w->n; i++)
            w->v[i].must_stay = false;
        sim_fs_cut(w->disk);
        shut(w);
        recover(w);
        check_all(w);
        assert_int_equal(offer(w, 100), OK);
        wait_told(w);
        assert_int_equal(w->v[w->n - 1].fate, ACKED);
        world_free(w);
    }
}

static void a_failed_sync_stops_acks_for_good(void **state)
{
    failing_stops_acks_for_good(SIM_SYNC_FAILS);
}

static void a_failed_write_stops_acks_for_good(void **state)
{
    failing_stops_acks_for_good(SIM_WRITE_FAILS);
}

static void a_full_disk_refuses_and_recovers(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *w = world_new(seed);
        struct stream_stats st;
        world_must_open(w);
        sim_fs_capacity(w->disk, (200u << 10) + rnd(w) % (100u << 10));
        int rc = OK;
        for (int i = 0; i < 2000 && rc == OK; i++)
            rc = offer(w, some_size(w));
        assert_int_equal(rc, ERR_NO_SPACE);
        wait_told(w);
        stream_get_stats(w->s, &st);
        assert_false(st.failed);
        assert_int_equal(st.buffered_bytes, 0);
        assert_int_equal(check_all(w), 0);
        sim_fs_capacity(w->disk, UINT64_MAX);
        for (unsigned p = 0; p < w->partitions; p++)
            assert_int_equal(stream_wait_space(w->s, p, 100, WAIT_MS), OK);
        for (int i = 0; i < 50; i++)
            assert_int_equal(offer(w, some_size(w)), OK);
        wait_told(w);
        assert_int_equal(w->v[w->n - 1].fate, ACKED);
        assert_int_equal(check_all(w), 0);
        sim_fs_cut(w->disk);
        shut(w);
        recover(w);
        check_all(w);
        world_free(w);
    }
}

static void a_failing_read_is_told_and_can_be_repeated(void **state)
{
    struct world *w = world_new(3);
    world_must_open(w);
    for (int i = 0; i < 60; i++)
        assert_int_equal(offer(w, 5000), OK);
    wait_told(w);
    shut(w);
    world_must_open(w);
    struct stream_reader *r;
    struct stream_record rec;
    struct err err = ERR_INIT;
    unsigned faults = 0, n = 0;
    for (unsigned lane = 0; lane < w->partitions; lane++) {
        int rc;
        assert_int_equal(
            stream_reader_open(w->s, lane, (struct stream_start){.from = STREAM_OLDEST}, &r, &err), OK);
        sim_fs_fail(w->disk, SIM_READ_FAILS, 1);
        while ((rc = stream_reader_next(r, &rec, 0, &err)) == OK || rc == ERR_IO) {
            n += rc == OK;
            faults += rc == ERR_IO;
        }
        assert_int_equal(rc, 1);
        stream_reader_close(r);
    }
    assert_int_equal(n, 60);
    assert_int_equal(faults, w->partitions);
    world_free(w);
}

struct find {
    char name[64];
    bool newest;
};

static int find_segment(void *ctx, const char *name)
{
    struct find *f = ctx;
    if (strstr(name, ".seg") && (!*f->name || (strcmp(name, f->name) > 0) == f->newest))
        snprintf(f->name, sizeof f->name, "%s", name);
    return 0;
}

/* Rot anywhere in any segment: what is read is right, each byte flipped costs at most the record around it.
 */
static void rot_is_quarantined_and_costs_one_record(void **state)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world *w = world_new(seed * 3); /* one partition */
        struct err err = ERR_INIT;
        world_must_open(w);
        for (int i = 0; i < 80; i++)
            assert_int_equal(offer(w, some_size(w)), OK);
        shut(w);
        struct find f = {.newest = seed % 2};
        assert_int_equal(fs_list(sim_fs_base(w->disk), DIR "/p00", find_segment, &f, &err), OK);
        char path[128];
        snprintf(path, sizeof path, DIR "/p00/%s", f.name);
        uint64_t off = rnd(w) % (64u << 10);
        bool flipped = sim_fs_flip(w->disk, path, off, (uint8_t)(1 + rnd(w) % 255));
        for (uint32_t i = 0; i < w->n; i++)
            w->v[i].fate = UNKNOWN; /* one may be missing: counted below */
        world_must_open(w);
        unsigned damaged = check_all(w), missing = 0;
        for (uint32_t i = 0; i < w->n; i++)
            missing += w->v[i].seen == 0;
        assert_true(missing <= 1 && damaged <= flipped);
        assert_true(damaged >= missing); /* never silently short */
        struct stream_stats st;
        stream_get_stats(w->s, &st);
        assert_int_equal(st.quarantined_records, damaged);
        assert_int_equal(st.torn_bytes, 0);
        check_all(w); /* again: not counted twice */
        stream_get_stats(w->s, &st);
        assert_int_equal(st.quarantined_records, damaged);
        assert_int_equal(offer(w, 10), OK);
        wait_told(w);
        world_free(w);
    }
}

static void a_segment_without_header_is_skipped_and_told(void **state)
{
    struct world *w = world_new(3);
    struct err err = ERR_INIT;
    world_must_open(w);
    for (int i = 0; i < 80; i++)
        assert_int_equal(offer(w, 4000), OK);
    shut(w);
    uint64_t last = w->v[w->n - 1].pos;
    struct find f = {.newest = true};
    assert_int_equal(fs_list(sim_fs_base(w->disk), DIR "/p00", find_segment, &f, &err), OK);
    char path[128];
    snprintf(path, sizeof path, DIR "/p00/%s", f.name);
    assert_true(sim_fs_flip(w->disk, path, 20, 1)); /* one copy is not enough to lose it */
    world_must_open(w);
    assert_int_equal(check_all(w), 0);
    shut(w);
    assert_true(sim_fs_flip(w->disk, path, 2048 + 20, 1));
    for (uint32_t i = 0; i < w->n; i++) {
        w->v[i].fate = UNKNOWN;
        w->v[i].must_stay = false;
    }
    world_must_open(w);
    assert_int_equal(check_all(w), 1);
    assert_int_equal(offer(w, 10), OK);
    wait_told(w);
    assert_true(w->v[w->n - 1].pos > last);
    assert_int_equal(check_all(w), 1);
    world_free(w);
}

static void checkpoints_survive_power_cuts_and_never_go_back(void **state)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct world *w = world_new(seed * 3);
        struct err err = ERR_INIT;
        uint64_t sure = 0, tried = 0;
        world_must_open(w);
        for (int life = 0; life < 4; life++) {
            doom(w);
            for (int i = 0; i < 30; i++) {
                if (offer(w, some_size(w)) != OK)
                    break;
                wait_told(w);
                if (w->v[w->n - 1].fate != ACKED)
                    break;
                tried = w->v[w->n - 1].pos;
                if (stream_checkpoint(w->s, 0, tried, &err) == OK)
                    sure = tried;
            }
            sim_fs_cut(w->disk);
            shut(w);
            recover(w);
            uint64_t got = stream_checkpoint_get(w->s, 0);
            assert_true(got >= sure && got <= tried);
            sure = tried = got;
        }
        world_free(w);
    }
}

/* Whatever an open has found must be durable before it is used: the power may go right after. */
static void what_an_open_found_stays_found(void **state)
{
    for (unsigned n = 1; n <= 8; n++)
        for (uint64_t seed = 1; seed <= 8; seed++) {
            struct world *w = world_new(seed * 3);
            struct err err = ERR_INIT;
            world_must_open(w);
            assert_int_equal(offer(w, 100), OK);
            wait_told(w);
            sim_fs_kill_after(w->disk, n);
            if (stream_checkpoint(w->s, 0, w->v[0].pos, &err) == OK)
                sim_fs_cut(w->disk);
            shut(w);
            sim_fs_power_on(w->disk);
            world_must_open(w);
            uint64_t found = stream_checkpoint_get(w->s, 0);
            sim_fs_cut(w->disk);
            shut(w);
            sim_fs_power_on(w->disk);
            world_must_open(w);
            assert_true(stream_checkpoint_get(w->s, 0) == found);
            world_free(w);
        }
}

int main(void)
{
    log_set_level(LOG_ERROR + 1); /* every fault logs, by design */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crashes_lose_nothing_acknowledged),
        cmocka_unit_test(a_clean_restart_finds_everything),
        cmocka_unit_test(a_failed_sync_stops_acks_for_good),
        cmocka_unit_test(a_failed_write_stops_acks_for_good),
        cmocka_unit_test(a_full_disk_refuses_and_recovers),
        cmocka_unit_test(a_failing_read_is_told_and_can_be_repeated),
        cmocka_unit_test(rot_is_quarantined_and_costs_one_record),
        cmocka_unit_test(a_segment_without_header_is_skipped_and_told),
        cmocka_unit_test(what_an_open_found_stays_found),
        cmocka_unit_test(checkpoints_survive_power_cuts_and_never_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
