#include "tier/stream_suite.h"

#include "base/bytes.h"
#include "base/mem.h"

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

#define WAIT_MS 10000 /* for what must come; nothing waits that long unless it is broken */

struct fixture {
    struct stream_backend *backend;
    struct clock_fake clock;
    struct stream *s;
};

static struct fixture *open_stream(void **state, unsigned partitions)
{
    struct fixture *f = *state;
    clock_fake_init(&f->clock, 1000);
    f->s = f->backend->open(f->backend, partitions, &f->clock.base);
    assert_non_null(f->s);
    return f;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    stream_free(f->s);
    f->s = NULL;
    f->backend->clean(f->backend);
    return 0;
}

/* --- helpers -------------------------------------------------------------------------------------------- */

struct acks {
    pthread_mutex_t mu;
    pthread_cond_t changed;
    size_t n, good;
    uint64_t last_pos;
    bool disorder;
    bool hold; /* callbacks stop here until it is cleared */
};
#define ACKS_INIT                                                                                            \
    {                                                                                                        \
        .mu = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                 \
    }

static void on_done(void *ctx, int status, uint64_t pos)
{
    struct acks *a = ctx;
    pthread_mutex_lock(&a->mu);
    a->n++;
    a->good += status == OK;
    a->disorder |= pos <= a->last_pos;
    a->last_pos = pos;
    pthread_cond_broadcast(&a->changed);
    while (a->hold)
        pthread_cond_wait(&a->changed, &a->mu);
    pthread_mutex_unlock(&a->mu);
}

static void wait_acks(struct acks *a, size_t n)
{
    pthread_mutex_lock(&a->mu);
    while (a->n < n)
        pthread_cond_wait(&a->changed, &a->mu);
    pthread_mutex_unlock(&a->mu);
}

static void put(struct stream *s, unsigned p, const char *text, struct acks *a)
{
    struct err err = ERR_INIT;
    assert_int_equal(stream_append(s, p, text, strlen(text), 1, a ? on_done : NULL, a, &err), OK);
}

static struct stream_reader *reader(struct stream *s, unsigned p, struct stream_start start)
{
    struct stream_reader *r = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(stream_reader_open(s, p, start, &r, &err), OK);
    return r;
}

static uint64_t expect(struct stream_reader *r, const char *text)
{
    struct stream_record rec;
    struct err err = ERR_INIT;
    assert_int_equal(stream_reader_next(r, &rec, WAIT_MS, &err), OK);
    assert_int_equal(rec.size, strlen(text));
    assert_memory_equal(rec.payload, text, rec.size);
    return rec.pos;
}

static void expect_status(struct stream_reader *r, int status)
{
    struct stream_record rec;
    struct err err = ERR_INIT;
    assert_int_equal(stream_reader_next(r, &rec, 0, &err), status);
}

#define OLDEST                                                                                               \
    (struct stream_start)                                                                                    \
    {                                                                                                        \
        .from = STREAM_OLDEST                                                                                \
    }

static uint64_t rnd(uint64_t *rng)
{
    *rng ^= *rng << 13;
    *rng ^= *rng >> 7;
    return *rng ^= *rng << 17;
}

/* --- cases ---------------------------------------------------------------------------------------------- */

static void records_come_back_in_order_and_are_acknowledged_once(void **state)
{
    struct fixture *f = open_stream(state, 2);
    struct acks a = ACKS_INIT;
    put(f->s, 0, "one", &a);
    put(f->s, 0, "two", &a);
    put(f->s, 1, "other", NULL);
    put(f->s, 0, "three", &a);
    wait_acks(&a, 3);
    assert_int_equal(a.good, 3);
    assert_false(a.disorder);
    struct stream_reader *r = reader(f->s, 0, OLDEST);
    uint64_t one = expect(r, "one"), two = expect(r, "two"), three = expect(r, "three");
    assert_true(0 < one && one < two && two < three);
    assert_true(three == a.last_pos);
    assert_true(stream_synced_pos(f->s, 0) == three);
    expect_status(r, 1);
    stream_reader_close(r);
    r = reader(f->s, 1, OLDEST);
    expect(r, "other");
    expect_status(r, 1);
    stream_reader_close(r);
}

static void an_acknowledged_record_can_be_read_at_once(void **state)
{
    struct fixture *f = open_stream(state, 1);
    struct stream_reader *r = reader(f->s, 0, OLDEST);
    for (int i = 0; i < 50; i++) {
        struct acks a = ACKS_INIT;
        put(f->s, 0, "x", &a);
        wait_acks(&a, 1);
        expect_status(r, OK);
        expect_status(r, 1);
    }
    stream_reader_close(r);
}

static void readers_start_where_they_are_told(void **state)
{
    struct fixture *f = open_stream(state, 1);
    struct acks a = ACKS_INIT;
    for (int i = 0; i < 5; i++) {
        char text[2] = {(char)('a' + i), 0};
        atomic_store(&f->clock.now_ms, 1000 + 10 * i);
        put(f->s, 0, text, &a);
    }
    wait_acks(&a, 5);
    struct stream_reader *r = reader(f->s, 0, OLDEST);
    expect(r, "a");
    uint64_t b = expect(r, "b");
    stream_reader_close(r);
    r = reader(f->s, 0, (struct stream_start){.from = STREAM_POSITION, .from_pos = b});
    expect(r, "c");
    stream_reader_close(r);
    r = reader(f->s, 0, (struct stream_start){.from = STREAM_TIME, .from_ms = 1021});
    expect(r, "d");
    expect(r, "e");
    expect_status(r, 1);
    stream_reader_close(r);
    r = reader(f->s, 0, (struct stream_start){.from = STREAM_TIME, .from_ms = 1020});
    expect(r, "c");
    stream_reader_close(r);
    r = reader(f->s, 0, (struct stream_start){.from = STREAM_TIME, .from_ms = 5000});
    expect_status(r, 1);
    stream_reader_close(r);
    r = reader(f->s, 0, (struct stream_start){.from = STREAM_LATEST});
    expect_status(r, 1);
    put(f->s, 0, "new", NULL);
    expect(r, "new");
    stream_reader_close(r);
}

static void the_stamp_is_the_wall_clock_and_never_goes_back(void **state)
{
    struct fixture *f = open_stream(state, 1);
    const int64_t times[] = {1000, 2000, 1500, 2500}, stamps[] = {1000, 2000, 2000, 2500};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        atomic_store(&f->clock.now_ms, times[i]);
        put(f->s, 0, "x", NULL);
    }
    struct stream_reader *r = reader(f->s, 0, OLDEST);
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct stream_record rec;
        struct err err;
        assert_int_equal(stream_reader_next(r, &rec, WAIT_MS, &err), OK);
        assert_int_equal(rec.appended_ms, stamps[i]);
    }
    stream_reader_close(r);
}

static void *append_later(void *ctx)
{
    put(ctx, 0, "late", NULL);
    return NULL;
}

static void a_waiting_reader_is_woken(void **state)
{
    struct fixture *f = open_stream(state, 1);
    struct stream_reader *r = reader(f->s, 0, OLDEST);
    expect_status(r, 1);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, append_later, f->s), 0);
    expect(r, "late");
    pthread_join(t, NULL);
    stream_reader_close(r);
}

static void payloads_of_every_size_are_kept(void **state)
{
    struct fixture *f = open_stream(state, 1);
    size_t max = stream_max_payload(f->s);
    const size_t sizes[] = {1, 7, 8, 9, 479, 480, 481, 511, 512, 513, 4000, 4096, max / 2, max - 1, max};
    uint8_t *payload = xmalloc(max);
    for (size_t i = 0; i < max; i++)
        payload[i] = (uint8_t)(i * 31 + i / 256);
    struct stream_reader *r = reader(f->s, 0, OLDEST);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct err err = ERR_INIT;
        struct stream_record rec;
        assert_int_equal(stream_wait_space(f->s, 0, sizes[i], WAIT_MS), OK);
        assert_int_equal(stream_append(f->s, 0, payload, sizes[i], 1, NULL, NULL, &err), OK);
        assert_int_equal(stream_reader_next(r, &rec, WAIT_MS, &err), OK);
        assert_int_equal(rec.size, sizes[i]);
        assert_memory_equal(rec.payload, payload, sizes[i]);
    }
    stream_reader_close(r);
    free(payload);
}

static void a_full_buffer_refuses_and_then_recovers(void **state)
{
    struct fixture *f = open_stream(state, 1);
    struct acks a = ACKS_INIT;
    struct err err = ERR_INIT;
    uint8_t payload[4096] = {1};
    size_t taken = 1;
    a.hold = true;
    assert_int_equal(stream_append(f->s, 0, payload, sizeof payload, 1, on_done, &a, &err), OK);
    wait_acks(&a, 1); /* the stream's thread is stuck from here on: nothing becomes durable */
    int rc;
    while ((rc = stream_append(f->s, 0, payload, sizeof payload, 1, on_done, &a, &err)) == OK)
        assert_true(++taken < 100);
    assert_int_equal(rc, ERR_BUSY);
    assert_int_equal(stream_wait_space(f->s, 0, sizeof payload, 1), ERR_TIMEOUT);
    struct stream_stats st;
    stream_get_stats(f->s, &st);
    assert_true(st.buffered_bytes >= (taken - 1) * sizeof payload && st.buffered_bytes <= 64u << 10);
    pthread_mutex_lock(&a.mu);
    a.hold = false;
    pthread_cond_broadcast(&a.changed);
    pthread_mutex_unlock(&a.mu);
    assert_int_equal(stream_wait_space(f->s, 0, sizeof payload, WAIT_MS), OK);
    assert_int_equal(stream_append(f->s, 0, payload, sizeof payload, 1, on_done, &a, &err), OK);
    wait_acks(&a, taken + 1); /* exactly those that were taken */
    assert_int_equal(a.good, taken + 1);
}

static void checkpoints_only_move_forward(void **state)
{
    struct fixture *f = open_stream(state, 2);
    struct acks a = ACKS_INIT;
    struct err err = ERR_INIT;
    put(f->s, 0, "a", &a);
    put(f->s, 0, "b", &a);
    wait_acks(&a, 2);
    struct stream_reader *r = reader(f->s, 0, OLDEST);
    uint64_t first = expect(r, "a"), second = expect(r, "b");
    stream_reader_close(r);
    assert_true(stream_checkpoint_get(f->s, 0) == 0);
    assert_int_equal(stream_checkpoint(f->s, 0, second, &err), OK);
    assert_int_equal(stream_checkpoint(f->s, 0, first, &err), OK);
    assert_true(stream_checkpoint_get(f->s, 0) == second);
    assert_true(stream_checkpoint_get(f->s, 1) == 0);
    assert_int_equal(stream_checkpoint(f->s, 0, second + 1000, &err), ERR_INVALID);
    assert_true(stream_checkpoint_get(f->s, 0) == second);
}

static void closing_acknowledges_and_lets_readers_finish(void **state)
{
    struct fixture *f = open_stream(state, 1);
    struct acks a = ACKS_INIT;
    struct err err = ERR_INIT;
    struct stream_reader *r = reader(f->s, 0, OLDEST);
    for (int i = 0; i < 100; i++)
        put(f->s, 0, "x", &a);
    stream_close(f->s);
    assert_int_equal(a.n, 100);
    assert_int_equal(a.good, 100);
    assert_int_equal(stream_append(f->s, 0, "y", 1, 1, on_done, &a, &err), ERR_CLOSED);
    for (int i = 0; i < 100; i++)
        expect(r, "x");
    expect_status(r, ERR_CLOSED);
    expect_status(r, ERR_CLOSED);
    stream_reader_close(r);
    stream_close(f->s);
    assert_int_equal(a.n, 100);
}

static void *close_it(void *s)
{
    stream_close(s);
    return NULL;
}

static void closing_wakes_a_waiting_reader(void **state)
{
    struct fixture *f = open_stream(state, 1);
    struct stream_reader *r = reader(f->s, 0, OLDEST);
    pthread_t t;
    struct stream_record rec;
    struct err err;
    assert_int_equal(pthread_create(&t, NULL, close_it, f->s), 0);
    assert_int_equal(stream_reader_next(r, &rec, WAIT_MS, &err), ERR_CLOSED);
    pthread_join(t, NULL);
    stream_reader_close(r);
}

static void the_counters_add_up(void **state)
{
    struct fixture *f = open_stream(state, 2);
    struct acks a = ACKS_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(stream_append(f->s, 0, "abc", 3, 10, on_done, &a, &err), OK);
    assert_int_equal(stream_append(f->s, 0, "defg", 4, 20, on_done, &a, &err), OK);
    wait_acks(&a, 2);
    assert_int_equal(stream_append(f->s, 1, "h", 1, 5, on_done, &a, &err), OK);
    wait_acks(&a, 3);
    struct stream_stats st;
    stream_get_stats(f->s, &st);
    assert_int_equal(st.appended_records, 3);
    assert_int_equal(st.appended_bytes, 8);
    assert_int_equal(st.appended_points, 35);
    assert_int_equal(st.synced_records, 3);
    assert_int_equal(st.synced_points, 35);
    assert_int_equal(st.buffered_bytes, 0);
    assert_true(st.syncs >= 2 && st.syncs <= 3);
    assert_true(st.last_pos == a.last_pos);
    assert_false(st.failed);
}

/* --- random operations against a plain list ------------------------------------------------------------- */

#define MODEL_MAX     3000
#define MODEL_READERS 4

struct model {
    struct stream *s;
    uint64_t rng, seed;
    struct {
        uint32_t size;
        uint64_t pos; /* 0: not yet known */
        int64_t ms;
    } v[MODEL_MAX];
    size_t n;
    struct {
        struct stream_reader *r;
        size_t next; /* index of the record it must give */
        bool by_pos;
    } readers[MODEL_READERS];
    struct acks acks;
};

static uint8_t byte_of(size_t record, size_t i)
{
    return (uint8_t)(record * 131 + i * 7 + (i >> 8));
}

static void model_append(struct model *m, int64_t ms)
{
    static uint8_t payload[16384];
    struct err err = ERR_INIT;
    if (m->n == MODEL_MAX)
        return;
    size_t size = rnd(&m->rng) % 8 ? 1 + rnd(&m->rng) % 300 : 1 + rnd(&m->rng) % stream_max_payload(m->s);
    assert_true(size <= sizeof payload);
    for (size_t i = 0; i < size; i++)
        payload[i] = byte_of(m->n, i);
    while (stream_append(m->s, 0, payload, size, 1, on_done, &m->acks, &err) == ERR_BUSY)
        assert_int_equal(stream_wait_space(m->s, 0, size, WAIT_MS), OK);
    m->v[m->n].size = (uint32_t)size;
    m->v[m->n].ms = ms;
    m->n++;
}

static void model_read(struct model *m, size_t which, size_t count)
{
    struct err err = ERR_INIT;
    struct stream_record rec;
    while (count-- && m->readers[which].next < m->n) {
        size_t i = m->readers[which].next++;
        assert_int_equal(stream_reader_next(m->readers[which].r, &rec, WAIT_MS, &err), OK);
        assert_int_equal(rec.size, m->v[i].size);
        for (size_t k = 0; k < rec.size; k++)
            if (rec.payload[k] != byte_of(i, k))
                fail_msg("record %zu differs at byte %zu", i, k);
        assert_int_equal(rec.appended_ms, m->v[i].ms);
        assert_true(m->v[i].pos == 0 || m->v[i].pos == rec.pos);
        assert_true(i == 0 || m->v[i - 1].pos < rec.pos);
        m->v[i].pos = rec.pos;
    }
}

static void model_reopen_reader(struct model *m, size_t which)
{
    struct stream_start start = OLDEST;
    size_t next = 0;
    switch (rnd(&m->rng) % 4) {
    case 0:
        break;
    case 1:
        if (m->n) {
            size_t i = rnd(&m->rng) % m->n;
            if (m->v[i].pos) {
                start = (struct stream_start){.from = STREAM_POSITION, .from_pos = m->v[i].pos};
                next = i + 1;
            }
        }
        break;
    case 2:
        if (m->n) {
            start = (struct stream_start){.from = STREAM_TIME, .from_ms = m->v[rnd(&m->rng) % m->n].ms};
            while (m->v[next].ms < start.from_ms)
                next++;
        }
        break;
    default:
        start = (struct stream_start){.from = STREAM_LATEST};
        next = m->n;
    }
    stream_reader_close(m->readers[which].r);
    m->readers[which].r = reader(m->s, 0, start);
    m->readers[which].next = next;
}

static void random_operations_match_a_plain_list(void **state)
{
    struct fixture *f = open_stream(state, 1);
    struct model *m = xcalloc(1, sizeof *m);
    m->s = f->s;
    m->seed = m->rng = (uint64_t)clock_mono_us(clock_system()) | 1;
    m->acks = (struct acks)ACKS_INIT;
    print_message("# seed %llu\n", (unsigned long long)m->seed);
    int64_t ms = 1000;
    for (size_t i = 0; i < MODEL_READERS; i++)
        m->readers[i].r = reader(f->s, 0, OLDEST);
    for (int step = 0; step < 4000; step++) {
        size_t which = rnd(&m->rng) % MODEL_READERS;
        switch (rnd(&m->rng) % 16) {
        case 0:
            model_reopen_reader(m, which);
            break;
        case 1:
            atomic_store(&f->clock.now_ms, ms += (int64_t)(rnd(&m->rng) % 3));
            break;
        case 2:
        case 3:
            model_read(m, which, rnd(&m->rng) % 50);
            break;
        case 4:
            model_read(m, which, 1);
            break;
        default:
            model_append(m, ms);
        }
    }
    for (size_t i = 0; i < MODEL_READERS; i++) {
        model_read(m, i, SIZE_MAX);
        expect_status(m->readers[i].r, 1);
        stream_reader_close(m->readers[i].r);
    }
    wait_acks(&m->acks, m->n);
    assert_int_equal(m->acks.good, m->n);
    assert_false(m->acks.disorder);
    free(m);
}

/* --- threads -------------------------------------------------------------------------------------------- */

#define PARTITIONS 2
#define APPENDERS  4
#define EACH       1500

struct appender {
    struct stream *s;
    uint32_t id;
    struct acks *acks; /* by partition */
};

/* The record says who sent it and when in its sequence. */
static void *append_many(void *ctx)
{
    struct appender *a = ctx;
    uint64_t rng = a->id * 7919 + 1;
    for (uint32_t i = 0; i < EACH; i++) {
        uint8_t payload[512] = {0};
        struct err err = ERR_INIT;
        unsigned p = i % PARTITIONS;
        size_t size = 8 + rnd(&rng) % 500;
        put_u32le(payload, a->id);
        put_u32le(payload + 4, i);
        while (stream_append(a->s, p, payload, size, 1, on_done, &a->acks[p], &err) == ERR_BUSY)
            stream_wait_space(a->s, p, size, WAIT_MS);
    }
    return NULL;
}

struct follower {
    struct stream *s;
    unsigned partition;
    uint32_t next[APPENDERS];
    size_t n;
    bool bad;
};

static void *follow(void *ctx)
{
    struct follower *f = ctx;
    struct stream_reader *r;
    struct stream_record rec;
    struct err err = ERR_INIT;
    uint64_t last = 0;
    if (stream_reader_open(f->s, f->partition, OLDEST, &r, &err) != OK)
        return NULL;
    while (stream_reader_next(r, &rec, WAIT_MS, &err) == OK) {
        uint32_t id = get_u32le(rec.payload), i = get_u32le(rec.payload + 4);
        f->bad |= id >= APPENDERS || rec.pos <= last;
        if (f->bad)
            break;
        f->bad |= i != f->next[id];
        f->next[id] = i + PARTITIONS;
        last = rec.pos;
        f->n++;
    }
    stream_reader_close(r);
    return NULL;
}

static void many_appenders_and_a_reader_for_each_partition(void **state)
{
    struct fixture *f = open_stream(state, PARTITIONS);
    struct acks acks[PARTITIONS] = {ACKS_INIT, ACKS_INIT};
    struct appender a[APPENDERS];
    struct follower r[PARTITIONS];
    pthread_t at[APPENDERS], rt[PARTITIONS];
    for (unsigned i = 0; i < PARTITIONS; i++) {
        r[i] = (struct follower){.s = f->s, .partition = i};
        for (unsigned k = 0; k < APPENDERS; k++)
            r[i].next[k] = i;
        assert_int_equal(pthread_create(&rt[i], NULL, follow, &r[i]), 0);
    }
    for (unsigned i = 0; i < APPENDERS; i++) {
        a[i] = (struct appender){.s = f->s, .id = i, .acks = acks};
        assert_int_equal(pthread_create(&at[i], NULL, append_many, &a[i]), 0);
    }
    for (unsigned i = 0; i < APPENDERS; i++)
        pthread_join(at[i], NULL);
    stream_close(f->s);
    for (unsigned i = 0; i < PARTITIONS; i++) {
        pthread_join(rt[i], NULL);
        assert_false(r[i].bad);
        assert_int_equal(r[i].n, APPENDERS * EACH / PARTITIONS);
        assert_int_equal(acks[i].good, APPENDERS * EACH / PARTITIONS);
        assert_false(acks[i].disorder);
    }
}

int stream_suite_run(struct stream_backend *b)
{
    struct fixture f = {.backend = b};
#define CASE(name)                                                                                           \
    {                                                                                                        \
#name, name, NULL, tear_down, &f                                                                     \
    }
    const struct CMUnitTest cases[] = {
        CASE(records_come_back_in_order_and_are_acknowledged_once),
        CASE(an_acknowledged_record_can_be_read_at_once),
        CASE(readers_start_where_they_are_told),
        CASE(the_stamp_is_the_wall_clock_and_never_goes_back),
        CASE(a_waiting_reader_is_woken),
        CASE(payloads_of_every_size_are_kept),
        CASE(a_full_buffer_refuses_and_then_recovers),
        CASE(checkpoints_only_move_forward),
        CASE(closing_acknowledges_and_lets_readers_finish),
        CASE(closing_wakes_a_waiting_reader),
        CASE(the_counters_add_up),
        CASE(random_operations_match_a_plain_list),
        CASE(many_appenders_and_a_reader_for_each_partition),
    };
#undef CASE
    return cmocka_run_group_tests_name(b->name, cases, NULL, NULL);
}
