/* The writer over a hot tier that fails: what was not applied is not behind the checkpoint. */
#include "base/mem.h"
#include "catalog/catalog.h"
#include "codec/codec.h"
#include "hot/hot_fault.h"
#include "hot/hot_mem.h"
#include "model/batch.h"
#include "stream/stream_mem.h"
#include "warm/warm_mem.h"
#include "writer/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STEP   60000u
#define T0     (14400000ll * 124000)
#define NAME   "a.b"
#define SERIES 1u
#define ALWAYS UINT64_MAX

struct env {
    char positions[64];
    uint64_t max_bytes; /* of hot */
    struct stream *stream;
    struct warm *warm;
    struct metrics *metrics;
    struct catalog *catalog;
    struct hot *hot;
    struct writer *writer;
};

static void start(struct env *e)
{
    struct err err = ERR_INIT;
    assert_int_equal(catalog_open(&(struct catalog_options){0}, &e->catalog, &err), OK);
    struct writer_options o = {
        .catalog = e->catalog,
        .stream = e->stream,
        .lanes = 1,
        .hot = e->hot,
        .warm = e->warm,
        .clock = clock_system(),
        .metrics = e->metrics,
        .fs = fs_posix(),
        .state_path = e->positions,
        .round_ms = 1,
        .max_unflushed_ms = 3600000,
        .checkpoint_ms = 1,
        .hot_max_bytes = e->max_bytes,
    };
    assert_int_equal(writer_start(&o, &e->writer, &err), OK);
}

/* As a process ends: the hot tier and the names are gone. */
static void end(struct env *e)
{
    writer_free(e->writer);
    hot_free(e->hot);
    catalog_free(e->catalog);
}

static struct env *env_new(void)
{
    struct env *e = xcalloc(1, sizeof *e);
    snprintf(e->positions, sizeof e->positions, "/tmp/carat-held-XXXXXX");
    close(mkstemp(e->positions));
    e->stream = stream_mem_new(1, 1 << 20, clock_system());
    e->warm = warm_mem_new(NULL);
    e->metrics = metrics_new();
    e->hot = hot_fault_new(hot_mem_new(1));
    e->max_bytes = 1u << 30;
    return e;
}

static void env_free(struct env *e)
{
    stream_close(e->stream);
    stream_free(e->stream);
    warm_free(e->warm);
    metrics_free(e->metrics);
    unlink(e->positions);
    free(e);
}

static void note_pos(void *ctx, int status, uint64_t pos)
{
    assert_int_equal(status, OK);
    atomic_store((_Atomic uint64_t *)ctx, pos);
}

/* One durable record with one point; its position. */
static uint64_t append(struct env *e, int slot, double value)
{
    struct batch_builder b = BATCH_BUILDER_INIT;
    struct buf payload = BUF_INIT;
    struct err err = ERR_INIT;
    _Atomic uint64_t pos = 0;
    batch_builder_clear(&b, clock_wall_ms(clock_system()));
    batch_builder_def(&b, SERIES, STEP, NAME, strlen(NAME));
    batch_builder_point(&b, SERIES, T0 + slot * (int64_t)STEP, value);
    batch_builder_encode(&b, &payload);
    assert_int_equal(stream_append(e->stream, 0, payload.data, payload.len, 1, note_pos, &pos, &err), OK);
    while (!atomic_load(&pos))
        usleep(100);
    batch_builder_release(&b);
    buf_release(&payload);
    return atomic_load(&pos);
}

static void wait_for_calls(struct env *e, enum hot_fault_op op, uint64_t n)
{
    for (int i = 0; i < 20000 && hot_fault_calls(e->hot, op) < n; i++)
        usleep(1000);
    assert_true(hot_fault_calls(e->hot, op) >= n);
}

static void wait_for_checkpoint(struct env *e, uint64_t pos)
{
    for (int i = 0; i < 20000 && stream_checkpoint_get(e->stream, 0) != pos; i++)
        usleep(1000);
    assert_true(stream_checkpoint_get(e->stream, 0) == pos);
}

static int count_slots(void *ctx, const struct part *p)
{
    struct slots s;
    slots_init(&s, window_slots(STEP));
    assert_int_equal(codec_decode(p->data, p->size, s.n, s.present, s.value, NULL), OK);
    *(size_t *)ctx += slots_count(s.present, s.n);
    return 0;
}

static size_t points_in_warm(struct env *e)
{
    size_t n = 0;
    struct err err = ERR_INIT;
    assert_int_equal(warm_read(e->warm, SERIES, STEP, 0, INT64_MAX, count_slots, &n, &err), OK);
    return n;
}

/* The stream stays open, so the lane does not end by itself. */
static void stop(struct env *e)
{
    writer_stop(e->writer, clock_wall_ms(clock_system()) + 10);
}

/* The first record leaves for warm, the second cannot be applied: the stream keeps it, also when the process
 * ends meanwhile, and the next one has it. */
static void a_record_that_cannot_be_applied_is_held(void **state)
{
    struct env *e = env_new();
    struct err why = ERR_INIT;
    uint64_t first = append(e, 0, 1), second = append(e, 1, 2);
    hot_fault_add(e->hot, &(struct hot_fault_rule){HOT_FAULT_APPLY, 2, ALWAYS, ERR_IO, false});
    start(e);
    wait_for_checkpoint(e, first);
    wait_for_calls(e, HOT_FAULT_APPLY, 3);
    assert_false(writer_caught_up(e->writer, &why));
    assert_true(writer_applied(e->writer, 0) == first);
    stop(e);
    assert_true(stream_checkpoint_get(e->stream, 0) == first);
    assert_int_equal(points_in_warm(e), 1);
    end(e);
    e->hot = hot_fault_new(hot_mem_new(1));
    start(e);
    wait_for_checkpoint(e, second);
    stop(e);
    assert_int_equal(points_in_warm(e), 2);
    end(e);
    env_free(e);
}

/* The same in one process: it goes on where it stood, and in order. */
static void it_is_applied_as_soon_as_it_can_be(void **state)
{
    struct env *e = env_new();
    hot_fault_add(e->hot, &(struct hot_fault_rule){HOT_FAULT_APPLY, 1, 2, ERR_IO, false});
    hot_fault_add(e->hot,
                  &(struct hot_fault_rule){HOT_FAULT_APPLY, 3, 1, ERR_IO, true}); /* done, and not told */
    append(e, 0, 1);
    uint64_t last = append(e, 1, 2);
    start(e);
    wait_for_checkpoint(e, last);
    assert_int_equal(hot_fault_calls(e->hot, HOT_FAULT_APPLY), 5);
    stop(e);
    assert_int_equal(points_in_warm(e), 2);
    end(e);
    env_free(e);
}

/* Windows that cannot be taken, or not let go of, or not looked at, stay behind the checkpoint, too. */
static void windows_that_stay_in_hot_hold_the_checkpoint(void **state)
{
    static const enum hot_fault_op ops[] = {HOT_FAULT_TAKE, HOT_FAULT_RELEASE, HOT_FAULT_OLDEST};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        struct env *e = env_new();
        hot_fault_add(e->hot, &(struct hot_fault_rule){ops[i], 1, ALWAYS, ERR_IO, false});
        uint64_t last = append(e, 0, 1);
        start(e);
        wait_for_calls(e, ops[i], 1);
        assert_true(stream_checkpoint_get(e->stream, 0) < last);
        hot_fault_clear(e->hot);
        wait_for_checkpoint(e, last);
        stop(e);
        assert_int_equal(points_in_warm(e), 1);
        end(e);
        env_free(e);
    }
}

/* Beyond twice the bound applying waits, and goes on when windows have left: the memory they had is kept and
 * used again, and must not count. */
static void applying_goes_on_when_hot_has_room_again(void **state)
{
    struct env *e = env_new();
    uint64_t last = 0;
    e->max_bytes = 20000;
    for (int round = 0; round < 3; round++)
        for (int slot = 0; slot < 600; slot++) /* each in a window of its own */
            last = append(e, slot * 240, round);
    /* Time for the flusher to look at all these windows. */
    hot_fault_add(e->hot, &(struct hot_fault_rule){HOT_FAULT_APPLY, 700, 1, ERR_IO, false});
    start(e);
    wait_for_checkpoint(e, last);
    stop(e);
    assert_int_equal(points_in_warm(e), 600);
    end(e);
    env_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_that_cannot_be_applied_is_held),
        cmocka_unit_test(it_is_applied_as_soon_as_it_can_be),
        cmocka_unit_test(windows_that_stay_in_hot_hold_the_checkpoint),
        cmocka_unit_test(applying_goes_on_when_hot_has_room_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
