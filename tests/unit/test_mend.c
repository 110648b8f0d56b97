/* How windows made from the stream are laid together with what warm has: order, holes, damage that stays. */
#include "base/mem.h"
#include "codec/codec.h"
#include "hot/hot_mem.h"
#include "model/batch.h"
#include "stream/stream_impl.h"
#include "stream/stream_mem.h"
#include "warm/warm_mem.h"
#include "writer/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STEP   60000
#define WINDOW (14400000ll * 124000)
#define ID     1

/* A stream whose readers find one record damaged. */
struct holed {
    struct stream base;
    struct stream *inner;
    uint64_t hole; /* position; 0: none */
};
struct holed_reader {
    struct stream_reader base;
    struct stream_reader *inner;
    struct holed *s;
};

static int holed_next(struct stream_reader *base, struct stream_record *rec, int timeout_ms, struct err *err)
{
    struct holed_reader *r = (struct holed_reader *)base;
    int rc = stream_reader_next(r->inner, rec, timeout_ms, err);
    return rc == OK && rec->pos == r->s->hole ? err_set(err, ERR_CORRUPT, "a hole") : rc;
}

static void holed_reader_close(struct stream_reader *base)
{
    stream_reader_close(((struct holed_reader *)base)->inner);
    free(base);
}

static int holed_reader_open(struct stream *base, unsigned partition, struct stream_start start,
                             struct stream_reader **out, struct err *err)
{
    static const struct stream_reader_ops ops = {holed_next, holed_reader_close};
    struct holed *s = (struct holed *)base;
    struct holed_reader *r = xmalloc(sizeof *r);
    *r = (struct holed_reader){{&ops}, NULL, s};
    *out = &r->base;
    return stream_reader_open(s->inner, partition, start, &r->inner, err);
}

struct world {
    struct holed stream;
    struct catalog *catalog;
    struct warm *warm;
    pthread_mutex_t lock;
    uint64_t applied;
    int64_t kept_since_ms, base_since_ms;
    int rebuilt;
};

static uint64_t on_applied(void *ctx, unsigned lane)
{
    return ((struct world *)ctx)->applied;
}

static int64_t on_kept_since(void *ctx)
{
    return ((struct world *)ctx)->kept_since_ms;
}

static int64_t on_base_since(void *ctx, uint32_t series)
{
    return ((struct world *)ctx)->base_since_ms;
}

static int on_rebuild(void *ctx, uint32_t series, int64_t from_ms, int64_t until_ms, struct err *err)
{
    ((struct world *)ctx)->rebuilt++;
    return OK;
}

static void world_init(struct world *w)
{
    static const struct stream_ops ops = {.name = "holed", .reader_open = holed_reader_open};
    *w = (struct world){.warm = warm_mem_new(NULL), .lock = PTHREAD_MUTEX_INITIALIZER};
    w->stream.inner = stream_mem_new(1, 1 << 20, clock_system());
    w->stream.base = (struct stream){&ops, 1, 1, stream_max_payload(w->stream.inner)};
    w->kept_since_ms = INT64_MIN;
    struct catalog_options co = {.max_series = 0};
    struct err err;
    assert_int_equal(catalog_open(&co, &w->catalog, &err), OK);
    assert_int_equal(catalog_define(w->catalog, ID, STEP, "a", 1, &err), OK);
}

static void world_release(struct world *w)
{
    stream_close(w->stream.inner);
    stream_free(w->stream.inner);
    catalog_free(w->catalog);
    warm_free(w->warm);
}

static void on_done(void *ctx, int status, uint64_t pos)
{
    atomic_store((_Atomic uint64_t *)ctx, pos);
}

/* A record that writes slots first..last. Returns its position. */
static uint64_t append(struct world *w, int first, int last, double v)
{
    struct batch_builder b = BATCH_BUILDER_INIT;
    struct buf payload = BUF_INIT;
    struct err err;
    _Atomic uint64_t pos = 0;
    for (int i = first; i <= last; i++)
        batch_builder_point(&b, ID, WINDOW + i * (int64_t)STEP, v);
    batch_builder_encode(&b, &payload);
    assert_int_equal(
        stream_append(w->stream.inner, 0, payload.data, payload.len, 1, on_done, (void *)&pos, &err), OK);
    while (!pos)
        usleep(50);
    batch_builder_release(&b);
    buf_release(&payload);
    w->applied = pos;
    return pos;
}

static struct part_key put(struct world *w, uint64_t lo, uint64_t hi, int first, int last, double v)
{
    struct slots s;
    struct buf block = BUF_INIT;
    struct err err;
    slots_init(&s, 240);
    for (int i = first; i <= last; i++) {
        slot_set(s.present, (size_t)i);
        s.value[i] = v;
    }
    codec_encode(&(struct codec_in){s.n, s.present, s.value}, &block);
    struct part p = {{ID, STEP, WINDOW, hi}, lo, block.data, block.len};
    assert_int_equal(warm_put(w->warm, &p, 1, NULL, 0, &err), OK);
    buf_release(&block);
    return p.key;
}

static struct replay_result mend_step(struct world *w, uint32_t step_ms)
{
    struct replay_options o = {.catalog = w->catalog,
                               .stream = &w->stream.base,
                               .lanes = 1,
                               .warm = w->warm,
                               .clock = clock_system(),
                               .store_lock = &w->lock,
                               .hot_new = hot_mem_new,
                               .applied = on_applied,
                               .kept_since_ms = on_kept_since,
                               .base_since_ms = on_base_since,
                               .rebuild = on_rebuild,
                               .ctx = w};
    struct replay_result r = {0};
    int64_t window = window_start(WINDOW, step_ms);
    struct replay_window windows[] = {{ID, step_ms, window}, {ID, step_ms, window}};
    struct err err = ERR_INIT;
    assert_int_equal(replay_mend(&o, windows, 2, &r, &err), OK);
    return r;
}

static struct replay_result mend(struct world *w)
{
    return mend_step(w, STEP);
}

struct content {
    size_t parts;
    uint64_t lo, hi;
    struct slots slots;
};

static int on_part(void *ctx, const struct part *p)
{
    struct content *c = ctx;
    struct slots s;
    struct err err;
    slots_init(&s, 240);
    assert_int_equal(codec_decode(p->data, p->size, s.n, s.present, s.value, &err), OK);
    slots_overlay(&c->slots, &s);
    c->lo = p->lo;
    c->hi = p->key.hi;
    c->parts++;
    return 0;
}

static struct content content(struct world *w, int expected)
{
    struct content c = {0};
    struct err err;
    slots_init(&c.slots, 240);
    assert_int_equal(warm_read(w->warm, ID, STEP, 0, INT64_MAX, on_part, &c, &err), expected);
    return c;
}

static void the_later_write_wins(void **state)
{
    struct world w;
    world_init(&w);
    uint64_t p1 = append(&w, 0, 5, 1);
    put(&w, p1 + 100, p1 + 100, 3, 8, 9); /* stored from a later record */
    assert_int_equal(mend(&w).mended, 1);
    struct content c = content(&w, OK);
    assert_int_equal(c.parts, 1);
    assert_int_equal(c.lo, p1);
    assert_int_equal(c.hi, p1 + 100);
    for (int i = 0; i <= 8; i++)
        assert_true(c.slots.value[i] == (i < 3 ? 1 : 9));
    assert_int_equal(mend(&w).mended, 0);
    world_release(&w);
}

static void a_hole_in_the_stream_brings_no_old_value_back(void **state)
{
    struct world w;
    world_init(&w);
    uint64_t p1 = append(&w, 0, 0, 1), p2 = append(&w, 0, 0, 2), p3 = append(&w, 7, 7, 3);
    put(&w, p1, p2, 0, 0, 2);
    w.stream.hole = p2;
    assert_int_equal(mend(&w).mended, 1);
    struct content c = content(&w, OK);
    assert_int_equal(c.hi, p3);
    assert_true(c.slots.value[0] == 2);
    assert_true(c.slots.value[7] == 3);
    world_release(&w);
}

static void a_damaged_part_is_replaced_only_when_all_of_it_is_known(void **state)
{
    struct world w;
    world_init(&w);
    uint64_t p1 = append(&w, 0, 0, 1), p2 = append(&w, 1, 1, 2);
    struct part_key bad = put(&w, p1, p1, 0, 0, 1);
    assert_int_equal(warm_mem_damage(w.warm, &bad), 0);

    w.kept_since_ms = WINDOW + 1; /* the stream may not go back far enough */
    assert_int_equal(mend(&w).left, 1);
    struct content c = content(&w, ERR_CORRUPT);
    assert_int_equal(c.parts, 1); /* what is known is served beside the damage */
    assert_true(c.slots.value[1] == 2);

    w.kept_since_ms = WINDOW;
    assert_int_equal(mend(&w).left, 0);
    c = content(&w, OK);
    assert_int_equal(c.parts, 1);
    assert_int_equal(c.hi, p2);
    assert_true(c.slots.value[0] == 1 && c.slots.value[1] == 2);

    bad = put(&w, p2 + 1, p2 + 5, 3, 3, 3); /* made from records that were not gone over */
    assert_int_equal(warm_mem_damage(w.warm, &bad), 0);
    assert_int_equal(mend(&w).left, 1);
    content(&w, ERR_CORRUPT);
    world_release(&w);
}

static void damage_is_not_hidden_under_its_own_key(void **state)
{
    struct world w;
    world_init(&w);
    uint64_t p1 = append(&w, 1, 1, 2);
    struct part_key bad = put(&w, 1, p1, 0, 1, 2);
    assert_int_equal(warm_mem_damage(w.warm, &bad), 0);
    w.kept_since_ms = INT64_MAX;
    assert_int_equal(mend(&w).left, 1);
    content(&w, ERR_CORRUPT);
    world_release(&w);
}

static void damaged_rollups_go_only_if_they_can_come_back(void **state)
{
    struct world w;
    struct err err;
    world_init(&w);
    uint64_t p1 = append(&w, 1, 1, 2);
    struct part p = {{ID, 3600000, window_start(WINDOW, 3600000), p1}, p1, (const uint8_t *)"anything", 8};
    assert_int_equal(warm_put(w.warm, &p, 1, NULL, 0, &err), OK);
    assert_int_equal(warm_mem_damage(w.warm, &p.key), 0);
    w.base_since_ms = p.key.window_ms + 1;
    assert_int_equal(mend_step(&w, 3600000).left, 1);
    assert_int_equal(w.rebuilt, 0);
    w.base_since_ms = p.key.window_ms;
    struct replay_result r = mend_step(&w, 3600000);
    assert_int_equal(r.left, 0);
    assert_int_equal(r.mended, 1);
    assert_int_equal(w.rebuilt, 1);
    assert_int_equal(mend_step(&w, 3600000).mended, 0);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_later_write_wins),
        cmocka_unit_test(a_hole_in_the_stream_brings_no_old_value_back),
        cmocka_unit_test(a_damaged_part_is_replaced_only_when_all_of_it_is_known),
        cmocka_unit_test(damage_is_not_hidden_under_its_own_key),
        cmocka_unit_test(damaged_rollups_go_only_if_they_can_come_back),
    };
    return cmocka_run_group_tests_name("mend", tests, NULL, NULL);
}
