/* The embedded stream's own behaviour, beyond what every backend does (tests/tier) and faults (tests/fault).
 */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "stream/log_scan.h"
#include "stream/stream_log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 10000

/* --- the format ----------------------------------------------------------------------------------------- */

static void the_header_is_what_the_page_says(void **state)
{
    const struct log_header h = {.lane = 7,
                                 .id = 0x1122334455667788,
                                 .first_pos = 42,
                                 .allocated_bytes = 64 << 20,
                                 .first_ms = 1700000000000};
    uint8_t b[LOG_HEADER_BYTES];
    log_header_encode(b, &h);
    assert_memory_equal(b, "CARATLOG", 8);
    assert_int_equal(get_u32le(b + 8), 1);
    assert_int_equal(get_u32le(b + 12), 7);
    assert_true(get_u64le(b + 16) == h.id && get_u64le(b + 24) == 42 && get_u64le(b + 32) == 64 << 20 &&
                get_u64le(b + 40) == 1700000000000);
    assert_int_equal(get_u32le(b + 48), crc32c(0, b, 48));
    assert_memory_equal(b, b + 2048, 52);
    assert_int_equal(LOG_HEADER_BYTES, 4096);
    assert_int_equal(LOG_BLOCK, 512);

    struct log_header got;
    for (size_t i = 0; i < 52; i++) { /* the copy takes over whatever byte is hit */
        b[i] ^= 0x10;
        memset(&got, 0, sizeof got);
        assert_int_equal(log_header_decode(b, sizeof b, &got), OK);
        assert_true(got.lane == 7 && got.id == h.id && got.first_pos == 42 && got.first_ms == h.first_ms &&
                    got.allocated_bytes == h.allocated_bytes);
        b[2048 + i] ^= 1;
        assert_int_equal(log_header_decode(b, sizeof b, &got), ERR_CORRUPT);
        b[2048 + i] ^= 1;
        b[i] ^= 0x10;
    }
    assert_int_equal(log_header_decode(b, sizeof b - 1, &got), ERR_CORRUPT);
    put_u32le(b + 8, 2);
    put_u32le(b + 48, crc32c(0, b, 48));
    assert_int_equal(log_header_decode(b, sizeof b, &got), ERR_UNSUPPORTED);
}

static void a_record_is_what_the_page_says(void **state)
{
    const struct log_record r = {
        .pos = 9, .appended_ms = -5, .points = 3, .size = 5, .payload_crc = crc32c(0, "hello", 5)};
    uint8_t b[64], seed[8];
    memset(b, 0xee, sizeof b);
    log_record_encode(b, 0x77, &r, "hello");
    assert_int_equal(log_record_bytes(5), 40);
    assert_int_equal(get_u32le(b), 5);
    assert_int_equal(get_u32le(b + 4), crc32c(0, "hello", 5));
    assert_true(get_u64le(b + 8) == 9 && (int64_t)get_u64le(b + 16) == -5);
    assert_int_equal(get_u32le(b + 24), 3);
    put_u64le(seed, 0x77);
    assert_int_equal(get_u32le(b + 28), crc32c(crc32c(0, seed, 8), b, 28));
    assert_memory_equal(b + 32, "hello\0\0\0\xee", 9);
}

struct memory_file {
    struct fs_file base;
    const uint8_t *p;
    size_t size;
};

static int memory_pread(struct fs_file *f, void *p, size_t n, uint64_t off, size_t *got, struct err *e)
{
    struct memory_file *m = container_of(f, struct memory_file, base);
    *got = off >= m->size ? 0 : m->size - off < n ? m->size - off : n;
    memcpy(p, m->p + off, *got);
    return OK;
}

static void memory_close(struct fs_file *f) {}

struct scanned {
    unsigned records, damaged;
    uint64_t sum; /* of the positions */
};

static struct scanned scan(const uint8_t *p, size_t n, uint64_t id, bool exact)
{
    static const struct fs_file_ops ops = {.pread = memory_pread, .close = memory_close};
    struct memory_file m = {.base = {&ops}, .p = p, .size = n};
    struct log_scan s = {.file = NULL};
    struct log_record rec;
    struct log_damage bad;
    struct scanned out = {0, 0, 0};
    const uint8_t *payload;
    struct err err;
    int rc;
    log_scan_begin(&s, &m.base, id, n, 0, exact);
    while ((rc = log_scan_next(&s, &rec, &payload, &bad, &err)) != 1) {
        out.records += rc == OK;
        out.damaged += rc == ERR_CORRUPT;
        out.sum += rc == OK ? rec.pos : 0;
        for (size_t i = 0; rc == OK && i < rec.size; i++)
            assert_int_equal(payload[i], (uint8_t)(rec.pos * 3 + i + 1));
    }
    log_scan_end(&s);
    return out;
}

/* Two groups: positions 1, 2 and 3, then 10 and 11. */
#define FILE_BYTES (LOG_HEADER_BYTES + 4 * LOG_BLOCK)
static void make_segment(uint8_t *file, uint64_t id)
{
    const struct {
        uint64_t pos, off;
        uint32_t size;
    } v[] = {{1, 0, 10}, {2, 48, 100}, {3, 184, 700}, {10, 1024, 300}, {11, 1360, 5}};
    memset(file, 0, FILE_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        uint8_t payload[1024];
        for (size_t k = 0; k < v[i].size; k++)
            payload[k] = (uint8_t)(v[i].pos * 3 + k + 1);
        const struct log_record r = {
            .pos = v[i].pos, .size = v[i].size, .payload_crc = crc32c(0, payload, v[i].size)};
        log_record_encode(file + LOG_HEADER_BYTES + v[i].off, id, &r, payload);
    }
}

static void every_flipped_byte_costs_one_record_and_is_told(void **state)
{
    uint8_t file[FILE_BYTES];
    make_segment(file, 5);
    const size_t used = LOG_HEADER_BYTES + 3 * LOG_BLOCK;
    struct scanned all = scan(file, used, 5, true);
    assert_true(all.records == 5 && all.damaged == 0 && all.sum == 27);
    for (size_t i = LOG_HEADER_BYTES; i < used; i++) {
        file[i] ^= 0x41;
        struct scanned got = scan(file, used, 5, true);
        assert_true(got.damaged == 1 || (got.damaged == 0 && got.records == 5));
        assert_true(got.records >= 4);
        /* Only the bytes that fill a record up to 8 are nobody's. */
        size_t o = i - LOG_HEADER_BYTES;
        bool filler = (o >= 42 && o < 48) || (o >= 180 && o < 184) || (o >= 916 && o < 920) ||
                      (o >= 1356 && o < 1360) || (o >= 1397 && o < 1400);
        assert_int_equal(got.damaged, !filler);
        file[i] ^= 0x41;
    }
}

static void records_of_another_segment_are_not_taken(void **state)
{
    uint8_t file[FILE_BYTES], stale[FILE_BYTES];
    make_segment(file, 5);
    make_segment(stale, 6);
    memcpy(file + LOG_HEADER_BYTES + 1024, stale + LOG_HEADER_BYTES + 1024, 512);
    struct scanned got = scan(file, FILE_BYTES, 5, false);
    assert_true(got.records == 3 && got.damaged == 1);
}

static void zeros_end_an_open_segment_and_damage_a_sealed_one(void **state)
{
    uint8_t file[FILE_BYTES];
    make_segment(file, 5);
    struct scanned got = scan(file, FILE_BYTES, 5, false);
    assert_true(got.records == 5 && got.damaged == 0);
    got = scan(file, FILE_BYTES, 5, true);
    assert_true(got.records == 5 && got.damaged == 1);
}

/* --- on a real directory -------------------------------------------------------------------------------- */

struct disk {
    char dir[64], log[80];
    struct clock_fake clock;
    struct metrics *metrics;
    struct stream *s;
    unsigned acks;
    pthread_mutex_t mu;
    pthread_cond_t changed;
};

static void must_open(struct disk *d, unsigned partitions)
{
    const struct stream_log_options o = {.dir = d->log,
                                         .partitions = partitions,
                                         .segment_bytes = 64u << 10,
                                         .tail_bytes = 16u << 10,
                                         .keep_ms = 1000,
                                         .fs = fs_posix(),
                                         .clock = &d->clock.base,
                                         .metrics = d->metrics};
    struct err err = ERR_INIT;
    if (stream_log_open(&o, &d->s, &err) < 0)
        fail_msg("%s", err.text);
}

static void reopen(struct disk *d, unsigned partitions)
{
    stream_close(d->s);
    stream_free(d->s);
    must_open(d, partitions);
}

static int set_up(void **state)
{
    struct disk *d = xcalloc(1, sizeof *d);
    strcpy(d->dir, "/tmp/carat-test-log-XXXXXX");
    assert_non_null(mkdtemp(d->dir));
    snprintf(d->log, sizeof d->log, "%s/stream", d->dir);
    clock_fake_init(&d->clock, 5000);
    pthread_mutex_init(&d->mu, NULL);
    pthread_cond_init(&d->changed, NULL);
    *state = d;
    return 0;
}

static int remove_name(void *ctx, const char *name)
{
    char path[4096];
    struct err err;
    snprintf(path, sizeof path, "%s/%s", (const char *)ctx, name);
    if (unlink(path) < 0) {
        (void)!fs_list(fs_posix(), path, remove_name, path, &err);
        rmdir(path);
    }
    return 0;
}

static int tear_down(void **state)
{
    struct disk *d = *state;
    struct err err;
    stream_free(d->s);
    (void)!fs_list(fs_posix(), d->dir, remove_name, d->dir, &err);
    rmdir(d->dir);
    if (d->metrics)
        metrics_free(d->metrics);
    free(d);
    return 0;
}

static void on_done(void *ctx, int status, uint64_t pos)
{
    struct disk *d = ctx;
    pthread_mutex_lock(&d->mu);
    d->acks += status == OK;
    pthread_cond_broadcast(&d->changed);
    pthread_mutex_unlock(&d->mu);
}

/* Appends and waits for the acknowledgement; the position. */
static uint64_t put(struct disk *d, unsigned partition, size_t size)
{
    uint8_t *payload = xcalloc(1, size);
    struct err err = ERR_INIT;
    payload[0] = (uint8_t)size;
    unsigned before = d->acks;
    assert_int_equal(stream_append(d->s, partition, payload, size, 1, on_done, d, &err), OK);
    pthread_mutex_lock(&d->mu);
    while (d->acks == before)
        pthread_cond_wait(&d->changed, &d->mu);
    pthread_mutex_unlock(&d->mu);
    free(payload);
    return stream_synced_pos(d->s, partition);
}

struct counted {
    unsigned records, damaged;
    uint64_t first, last;
};

static struct counted count_from(struct disk *d, unsigned lane, struct stream_start start)
{
    struct stream_reader *r;
    struct stream_record rec;
    struct err err = ERR_INIT;
    struct counted c = {0, 0, 0, 0};
    int rc;
    assert_int_equal(stream_reader_open(d->s, lane, start, &r, &err), OK);
    while ((rc = stream_reader_next(r, &rec, 0, &err)) == OK || rc == ERR_CORRUPT) {
        c.records += rc == OK;
        c.damaged += rc == ERR_CORRUPT;
        if (rc == OK && !c.first)
            c.first = rec.pos;
        if (rc == OK)
            c.last = rec.pos;
    }
    assert_int_equal(rc, 1);
    stream_reader_close(r);
    return c;
}

static struct counted count(struct disk *d, unsigned lane)
{
    return count_from(d, lane, (struct stream_start){.from = STREAM_OLDEST});
}

static int count_name(void *ctx, const char *name)
{
    ++*(unsigned *)ctx;
    return 0;
}

static unsigned files_in(struct disk *d, const char *sub)
{
    char path[128];
    unsigned n = 0;
    struct err err;
    snprintf(path, sizeof path, "%s/%s", d->log, sub);
    (void)!fs_list(fs_posix(), path, count_name, &n, &err);
    return n;
}

static void positions_grow_over_restarts_and_partition_counts(void **state)
{
    struct disk *d = *state;
    const unsigned partitions[] = {1, 3, 2, 1, 4};
    uint64_t last = 0;
    must_open(d, 1);
    for (size_t i = 0; i < ARRAY_LEN(partitions); i++) {
        reopen(d, partitions[i]);
        for (unsigned p = partitions[i]; p-- > 0;) {
            uint64_t pos = put(d, p, 10);
            assert_true(pos > last);
            last = pos;
        }
    }
}

static void retired_partitions_stay_until_consumed(void **state)
{
    struct disk *d = *state;
    struct err err = ERR_INIT;
    must_open(d, 3);
    put(d, 1, 10);
    uint64_t pos = put(d, 2, 10);
    reopen(d, 1);
    assert_int_equal(stream_partitions(d->s), 1);
    assert_int_equal(stream_log_lanes(d->s), 3);
    assert_int_equal(count(d, 1).records, 1);
    assert_int_equal(count(d, 2).records, 1);
    atomic_store(&d->clock.now_ms, 5999);
    assert_int_equal(stream_checkpoint(d->s, 2, pos, &err), OK);
    assert_int_equal(count(d, 2).records, 1); /* consumed, but younger than keep_ms */
    atomic_store(&d->clock.now_ms, 6001);
    assert_int_equal(stream_checkpoint(d->s, 2, pos, &err), OK);
    assert_int_equal(count(d, 2).records, 0);
    reopen(d, 1);
    assert_int_equal(stream_log_lanes(d->s), 2);
    assert_int_equal(count(d, 1).records, 1); /* never consumed: stays at any age */
    assert_true(put(d, 0, 10) > pos);
    reopen(d, 3);
    assert_true(stream_checkpoint_get(d->s, 2) == pos);
    assert_true(put(d, 2, 10) > pos);
}

static void old_segments_go_when_consumed_and_old(void **state)
{
    struct disk *d = *state;
    struct err err = ERR_INIT;
    uint64_t pos[20];
    must_open(d, 1);
    for (int i = 0; i < 20; i++) { /* four a segment */
        atomic_store(&d->clock.now_ms, 5000 + 100 * i);
        pos[i] = put(d, 0, 14000);
    }
    assert_int_equal(count(d, 0).records, 20);
    atomic_store(&d->clock.now_ms, 5000 + 100 * 8 + 1000);
    assert_int_equal(stream_checkpoint(d->s, 0, pos[2], &err), OK);
    assert_true(count(d, 0).first == pos[0]); /* old, but not consumed */
    assert_int_equal(stream_checkpoint(d->s, 0, pos[19], &err), OK);
    assert_true(count(d, 0).first ==
                pos[4]); /* consumed; the next segment began at 5800, just not old enough */
    atomic_store(&d->clock.now_ms, 100000);
    assert_int_equal(stream_checkpoint(d->s, 0, pos[19], &err), OK);
    assert_true(count(d, 0).first == pos[16]); /* the newest segment stays */
    reopen(d, 1);
    assert_true(count(d, 0).first == pos[16] && count(d, 0).records == 4);
    assert_true(stream_synced_pos(d->s, 0) == pos[19]);
}

static int copy_to(void *ctx, const struct stream_file *f)
{
    struct fs *fs = fs_posix();
    struct fs_file *from, *to;
    struct err err = ERR_INIT;
    char path[256];
    uint8_t *bytes = xmalloc(f->size);
    size_t got = f->size;
    snprintf(path, sizeof path, "%s/%.3s", (const char *)ctx, f->name); /* its lane's directory */
    assert_int_equal(fs_mkdir(fs, path, &err), OK);
    snprintf(path, sizeof path, "%s/%s", (const char *)ctx, f->name);
    if (f->path) {
        assert_int_equal(fs_open(fs, f->path, FS_READ, &from, &err), OK);
        assert_int_equal(fs_pread(from, bytes, f->size, 0, &got, &err), OK);
        fs_close(from);
    } else {
        memcpy(bytes, f->bytes, f->size);
    }
    assert_int_equal(got, f->size);
    assert_int_equal(fs_open(fs, path, FS_CREATE | FS_EXCLUSIVE, &to, &err), OK);
    assert_int_equal(fs_pwrite(to, bytes, f->size, 0, &err), OK);
    fs_close(to);
    free(bytes);
    return 0;
}

/* Makes the copy the stream of the test. */
static void change_to_copy(struct disk *d, const struct stream_hold *hold, unsigned partitions)
{
    struct err err = ERR_INIT;
    char copy[sizeof d->log];
    snprintf(copy, sizeof copy, "%s/copy", d->dir);
    assert_int_equal(fs_mkdir(fs_posix(), copy, &err), OK);
    assert_int_equal(stream_files(d->s, hold, copy_to, copy, &err), OK);
    put(d, 0, 10); /* too late */
    stream_free(d->s);
    strcpy(d->log, copy);
    must_open(d, partitions);
}

static void a_held_stream_is_not_trimmed_and_its_copy_is_whole(void **state)
{
    struct disk *d = *state;
    struct err err = ERR_INIT;
    struct stream_hold hold;
    uint64_t pos[20];
    must_open(d, 1);
    for (int i = 0; i < 20; i++) /* four a segment */
        pos[i] = put(d, 0, 14000);
    assert_int_equal(stream_checkpoint(d->s, 0, pos[9], &err), OK);
    stream_hold(d->s, &hold);
    assert_true(hold.checkpoint[0] == pos[9]);
    atomic_store(&d->clock.now_ms, 100000);
    assert_int_equal(stream_checkpoint(d->s, 0, pos[18], &err), OK);
    assert_true(count(d, 0).first == pos[0]);
    stream_hold(d->s, &(struct stream_hold){{0}}); /* another one */
    stream_release(d->s);
    assert_int_equal(stream_checkpoint(d->s, 0, pos[18], &err), OK);
    assert_true(count(d, 0).first == pos[0]);
    change_to_copy(d, &hold, 1);
    assert_true(stream_checkpoint_get(d->s, 0) == pos[9]);
    struct counted c = count(d, 0);
    assert_int_equal(c.damaged, 0);
    assert_true(c.first == pos[8] && c.last == pos[19]); /* from the segment with the checkpoint on */
    assert_true(put(d, 0, 10) > pos[19]);
}

static void a_released_stream_is_trimmed(void **state)
{
    struct disk *d = *state;
    struct err err = ERR_INIT;
    struct stream_hold hold;
    uint64_t pos = 0;
    must_open(d, 1);
    for (int i = 0; i < 20; i++)
        pos = put(d, 0, 14000);
    stream_hold(d->s, &hold);
    stream_release(d->s);
    atomic_store(&d->clock.now_ms, 100000);
    assert_int_equal(stream_checkpoint(d->s, 0, pos, &err), OK);
    assert_int_equal(count(d, 0).records, 4);
}

/* Its newest position is known only from the checkpoint of a partition that is gone. */
static void a_copy_gives_no_position_again(void **state)
{
    struct disk *d = *state;
    struct err err = ERR_INIT;
    struct stream_hold hold;
    must_open(d, 3);
    put(d, 0, 10);
    uint64_t pos = 0;
    for (int i = 0; i < 2; i++) { /* every open leaps */
        reopen(d, 3);
        pos = put(d, 2, 10);
    }
    assert_int_equal(stream_checkpoint(d->s, 2, pos, &err), OK);
    atomic_store(&d->clock.now_ms, 100000);
    reopen(d, 1);
    assert_int_equal(stream_checkpoint(d->s, 2, pos, &err), OK);
    reopen(d, 1);
    assert_int_equal(stream_log_lanes(d->s), 1);
    stream_hold(d->s, &hold);
    change_to_copy(d, &hold, 1);
    assert_true(put(d, 0, 10) > pos);
}

static void restarts_without_appends_leave_no_files(void **state)
{
    struct disk *d = *state;
    must_open(d, 1);
    put(d, 0, 10);
    for (int i = 0; i < 3; i++)
        reopen(d, 1);
    assert_int_equal(files_in(d, "p00"), 1);
    struct stream_stats st;
    stream_get_stats(d->s, &st);
    assert_int_equal(st.stored_bytes, LOG_HEADER_BYTES + LOG_BLOCK); /* sealed: not the whole allocation */
}

static void flip(struct disk *d, uint64_t segment, uint64_t off)
{
    char path[128];
    uint8_t b;
    snprintf(path, sizeof path, "%s/p00/%016llx.seg", d->log, (unsigned long long)segment);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, (long)off, SEEK_SET);
    assert_int_equal(fread(&b, 1, 1, f), 1);
    b ^= 4;
    fseek(f, (long)off, SEEK_SET);
    assert_int_equal(fwrite(&b, 1, 1, f), 1);
    fclose(f);
}

static void damage_is_set_aside_and_told_only_where_it_matters(void **state)
{
    struct disk *d = *state;
    uint64_t pos[6];
    must_open(d, 1);
    for (int i = 0; i < 6; i++)
        pos[i] = put(d, 0, 1000);
    reopen(d, 1);
    flip(d, pos[0], LOG_HEADER_BYTES + 3 * 512u * 2 + 100); /* the third record: each takes three blocks */
    struct counted c = count(d, 0);
    assert_true(c.records == 5 && c.damaged == 1);
    assert_int_equal(files_in(d, "quarantine"), 1);
    c = count_from(d, 0, (struct stream_start){.from = STREAM_POSITION, .from_pos = pos[1]});
    assert_true(c.records == 3 && c.damaged == 1);
    c = count_from(d, 0, (struct stream_start){.from = STREAM_POSITION, .from_pos = pos[3]});
    assert_true(c.records == 2 && c.damaged == 0);
    struct stream_stats st;
    stream_get_stats(d->s, &st);
    assert_int_equal(st.quarantined_records, 1);
    assert_true(st.quarantined_bytes >= 1000 && st.quarantined_bytes <= 3 * 512);
}

static void damage_at_the_end_of_a_sealed_segment_is_no_torn_tail(void **state)
{
    struct disk *d = *state;
    must_open(d, 1);
    uint64_t first = put(d, 0, 1000), last = put(d, 0, 1000);
    stream_free(d->s);
    flip(d, first, LOG_HEADER_BYTES + 3 * 512 + 100);
    must_open(d, 1);
    struct counted c = count(d, 0);
    assert_true(c.records == 1 && c.damaged == 1);
    struct stream_stats st;
    stream_get_stats(d->s, &st);
    assert_int_equal(st.torn_bytes, 0);
    assert_true(put(d, 0, 10) > last); /* the lost record's position is not given again */
}

static void a_segment_of_a_newer_version_refuses_to_open(void **state)
{
    struct disk *d = *state;
    must_open(d, 1);
    uint64_t first = put(d, 0, 10);
    stream_free(d->s);
    d->s = NULL;
    char path[128];
    uint8_t b[LOG_HEADER_BYTES];
    snprintf(path, sizeof path, "%s/p00/%016llx.seg", d->log, (unsigned long long)first);
    FILE *f = fopen(path, "r+b");
    assert_int_equal(fread(b, 1, sizeof b, f), sizeof b);
    put_u32le(b + 8, 2);
    put_u32le(b + 48, crc32c(0, b, 48));
    rewind(f);
    assert_int_equal(fwrite(b, 1, sizeof b, f), sizeof b);
    fclose(f);
    const struct stream_log_options o = {
        .dir = d->log, .partitions = 1, .fs = fs_posix(), .clock = &d->clock.base};
    struct err err = ERR_INIT;
    assert_int_equal(stream_log_open(&o, &d->s, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "newer version"));
    d->s = NULL;
}

static void metrics_tell_what_passed(void **state)
{
    struct disk *d = *state;
    struct buf out = BUF_INIT;
    d->metrics = metrics_new();
    must_open(d, 2);
    put(d, 1, 100);
    metrics_render(d->metrics, &out);
    const char *text = buf_str(&out);
    assert_non_null(strstr(text, "carat_stream_appended_points_total{partition=\"1\"} 1\n"));
    assert_non_null(strstr(text, "carat_stream_synced_points_total{partition=\"1\"} 1\n"));
    assert_non_null(strstr(text, "carat_stream_appended_bytes_total{partition=\"1\"} 100\n"));
    assert_non_null(strstr(text, "carat_stream_syncs_total{partition=\"1\"} 1\n"));
    assert_non_null(strstr(text, "carat_stream_sync_seconds_count{partition=\"1\"} 1\n"));
    assert_non_null(strstr(text, "carat_stream_buffered_bytes{partition=\"1\"} 0\n"));
    assert_non_null(strstr(text, "carat_stream_appended_points_total{partition=\"0\"} 0\n"));
    buf_release(&out);
}

/* A reader that stops keeps its record; what is appended meanwhile leaves memory and is read from the file.
 */
static void a_reader_that_falls_behind_misses_nothing(void **state)
{
    struct disk *d = *state;
    struct stream_reader *r;
    struct stream_record rec;
    struct err err = ERR_INIT;
    must_open(d, 1);
    assert_int_equal(stream_reader_open(d->s, 0, (struct stream_start){.from = STREAM_OLDEST}, &r, &err), OK);
    size_t next = 1, size = 1;
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 40; i++)
            put(d, 0, size++);
        for (int i = 0; i < 30 + 2 * round; i++) { /* never quite caught up */
            assert_int_equal(stream_reader_next(r, &rec, WAIT_MS, &err), OK);
            assert_int_equal(rec.size, next++);
        }
        uint8_t held = rec.payload[0];
        for (int i = 0; i < 12; i++)
            put(d, 0, 9000);
        assert_int_equal(rec.payload[0], held);
        while (next < size) {
            assert_int_equal(stream_reader_next(r, &rec, WAIT_MS, &err), OK);
            if (rec.size != 9000)
                assert_int_equal(rec.size, next++);
        }
        for (int i = 0; i < 12; i++) {
            assert_int_equal(stream_reader_next(r, &rec, WAIT_MS, &err), OK);
            assert_int_equal(rec.size, 9000);
        }
    }
    assert_int_equal(stream_reader_next(r, &rec, 0, &err), 1);
    stream_reader_close(r);
}

int main(void)
{
    log_set_level(LOG_ERROR + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_is_what_the_page_says),
        cmocka_unit_test(a_record_is_what_the_page_says),
        cmocka_unit_test(every_flipped_byte_costs_one_record_and_is_told),
        cmocka_unit_test(records_of_another_segment_are_not_taken),
        cmocka_unit_test(zeros_end_an_open_segment_and_damage_a_sealed_one),
        cmocka_unit_test_setup_teardown(positions_grow_over_restarts_and_partition_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(retired_partitions_stay_until_consumed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(old_segments_go_when_consumed_and_old, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_held_stream_is_not_trimmed_and_its_copy_is_whole, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_released_stream_is_trimmed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_gives_no_position_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(restarts_without_appends_leave_no_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_is_set_aside_and_told_only_where_it_matters, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(damage_at_the_end_of_a_sealed_segment_is_no_torn_tail, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_segment_of_a_newer_version_refuses_to_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(metrics_tell_what_passed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_that_falls_behind_misses_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
