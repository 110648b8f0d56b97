/* The reader against a plain model: whatever is cut into parts and laid into tiers in whatever way, the
 * answer is the last write in the stream, slot by slot. */
#include "base/clock.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "hot/hot_impl.h"
#include "model/window.h"
#include "reader/reader.h"
#include "warm/warm_fault.h"
#include "warm/warm_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SERIES 7
#define SPAN   14400000ll /* of a window of one-minute steps */

/* --- what stands around the reader --- */

#define HOT_WINDOWS 64

struct fake_hot {
    struct hot base;
    struct hot_window v[HOT_WINDOWS];
    size_t n;
    int fail;
};

static int fake_read(struct hot *h, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                     hot_window_fn fn, void *ctx, struct err *err)
{
    struct fake_hot *f = (struct fake_hot *)h;
    if (series != SERIES)
        return OK;
    for (size_t i = 0; i < f->n; i++) {
        const struct hot_window *w = &f->v[i];
        if (w->window_ms >= until_ms || w->window_ms + window_span_ms(step_ms) <= from_ms)
            continue;
        int rc = fn(ctx, w);
        if (rc)
            return rc;
    }
    return f->fail ? err_set(err, f->fail, "hot is out of reach") : OK;
}

static const struct hot_ops fake_ops = {.name = "fake", .read = fake_read};

struct env {
    uint32_t step_ms;
    struct catalog *catalog;
    struct fake_hot hot;
    struct warm *warm, *mem; /* mem is inside warm */
    struct metrics *metrics;
    struct reader *reader;
};

/* Begins anew with a series of this step and empty tiers. */
static void begin(struct env *e, uint32_t step_ms)
{
    struct err err = ERR_INIT;
    reader_free(e->reader);
    catalog_free(e->catalog);
    e->hot.n = 0;
    if (e->step_ms)
        assert_int_equal(warm_expire(e->mem, e->step_ms, INT64_MAX / 2, &err), OK);
    e->step_ms = step_ms;
    assert_int_equal(catalog_open(&(struct catalog_options){0}, &e->catalog, &err), OK);
    assert_int_equal(catalog_define(e->catalog, SERIES, step_ms, "a.b", 3, &err), OK);
    e->reader = reader_new(&(struct reader_options){
        .catalog = e->catalog, .hot = &e->hot.base, .warm = e->warm, .metrics = e->metrics});
}

static int setup(void **state)
{
    struct env *e = xcalloc(1, sizeof *e);
    e->hot.base.ops = &fake_ops;
    e->mem = warm_mem_new(NULL);
    e->warm = warm_fault_new(e->mem);
    e->metrics = metrics_new();
    begin(e, 60000);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct env *e = *state;
    reader_free(e->reader);
    catalog_free(e->catalog);
    warm_free(e->warm);
    metrics_free(e->metrics);
    free(e);
    return 0;
}

/* --- a stream, and parts cut from it --- */

struct point {
    int64_t ts_ms;
    double value;
};

#define STREAM_MAX 600

/* Position i + 1 wrote v[i]. */
struct stream_model {
    struct point v[STREAM_MAX];
    uint64_t n;
    uint32_t step_ms;
};

/* The window as made from positions lo..hi; its own lo and hi are those of the points in it. 0 if it has
 * none. */
static size_t cut(const struct stream_model *s, int64_t window_ms, uint64_t lo, uint64_t hi,
                  struct hot_window *out)
{
    size_t n = 0;
    out->window_ms = window_ms;
    slots_init(&out->slots, window_slots(s->step_ms));
    for (uint64_t pos = lo; pos <= hi; pos++) {
        const struct point *p = &s->v[pos - 1];
        if (window_start(p->ts_ms, s->step_ms) != window_ms)
            continue;
        uint32_t slot = window_slot(p->ts_ms, s->step_ms);
        slot_set(out->slots.present, slot);
        out->slots.value[slot] = p->value;
        out->hi = pos;
        out->lo = n++ ? out->lo : pos;
    }
    return n;
}

static void put_warm(struct env *e, const struct hot_window *w)
{
    struct buf block = BUF_INIT;
    struct err err = ERR_INIT;
    codec_encode(&(struct codec_in){w->slots.n, w->slots.present, w->slots.value}, &block);
    struct part p = {{SERIES, e->step_ms, w->window_ms, w->hi}, w->lo, block.data, block.len};
    assert_int_equal(warm_put(e->mem, &p, 1, NULL, 0, &err), OK);
    buf_release(&block);
}

static void put_hot(struct env *e, const struct hot_window *w)
{
    assert_true(e->hot.n < HOT_WINDOWS);
    e->hot.v[e->hot.n++] = *w;
}

static bool model_at(const struct stream_model *s, int64_t slot_ms, double *value)
{
    for (uint64_t pos = s->n; pos > 0; pos--)
        if (floor_to(s->v[pos - 1].ts_ms, s->step_ms) == slot_ms) {
            *value = s->v[pos - 1].value;
            return true;
        }
    return false;
}

static void check_column(const struct stream_model *s, const struct column *c)
{
    for (size_t i = 0; i < c->n; i++) {
        double want = column_missing();
        model_at(s, c->start_ms + (int64_t)i * c->step_ms, &want);
        if (f64_bits(c->values[i]) != f64_bits(want))
            fail_msg("slot at %lld is %g, not %g", (long long)(c->start_ms + (int64_t)i * c->step_ms),
                     c->values[i], want);
    }
}

static void fetch(struct env *e, int64_t from, int64_t until, struct column *c, struct read_report *report)
{
    struct err err = ERR_INIT;
    if (reader_fetch(e->reader, SERIES, from, until, 1000000, c, report, &err) < 0)
        fail_msg("fetch: %s", err.text);
    assert_int_equal(c->series, SERIES);
    assert_int_equal(c->step_ms, e->step_ms);
}

/* Both kinds of reads agree with the model. */
static void check_range(struct env *e, const struct stream_model *s, int64_t from, int64_t until)
{
    struct column c;
    struct read_report report = {0};
    fetch(e, from, until, &c, &report);
    if (report.incomplete)
        fail_msg("incomplete: %s", report.why.text);
    assert_int_equal(c.start_ms, ceil_to(from, s->step_ms));
    int64_t n = (ceil_to(until, s->step_ms) - c.start_ms) / s->step_ms;
    assert_int_equal(c.n, n > 0 ? n : 0);
    check_column(s, &c);
    free(c.values);
}

static void check_latest(struct env *e, const struct stream_model *s, int64_t since)
{
    struct read_report report = {0};
    int64_t want = -1, got = -1;
    double value = 0, want_value = 0;
    for (uint64_t i = 0; i < s->n; i++) {
        int64_t slot = floor_to(s->v[i].ts_ms, s->step_ms);
        if (slot >= since && slot > want)
            want = slot;
    }
    int rc = reader_latest(e->reader, SERIES, since, &got, &value, &report, NULL);
    assert_false(report.incomplete);
    assert_int_equal(rc, want < 0 ? 1 : 0);
    assert_int_equal(got, want);
    if (model_at(s, want, &want_value))
        assert_int_equal(f64_bits(value), f64_bits(want_value));
}

struct rng {
    uint64_t s;
};

static uint32_t below(struct rng *r, uint32_t n)
{
    r->s = r->s * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((r->s >> 33) % n);
}

/* Mostly in time order, with resent hours, late points and overwrites; over a few windows. */
static void make_stream(struct stream_model *s, struct rng *r, uint32_t step_ms)
{
    int64_t span = window_span_ms(step_ms), start = 1000 * span;
    uint32_t windows = 1 + below(r, 5), density = 1 + below(r, 20);
    s->step_ms = step_ms;
    s->n = 1 + below(r, STREAM_MAX);
    int64_t now = 0;
    for (uint64_t i = 0; i < s->n; i++) {
        now = (now + (int64_t)below(r, density) * step_ms) % (windows * span);
        int64_t ts = below(r, 4) ? now : (int64_t)below(r, (uint32_t)(windows * span / step_ms)) * step_ms;
        s->v[i] = (struct point){start + ts + below(r, step_ms),
                                 below(r, 3) ? below(r, 1000) : below(r, 1000) * 0.1};
    }
}

/* Lays one window's points into the tiers: runs that together hold all, and some that are there again. */
static void lay_window(struct env *e, const struct stream_model *s, int64_t window_ms, struct rng *r)
{
    struct hot_window w;
    uint64_t from = 1;
    bool in_hot = false;
    while (from <= s->n) {
        uint64_t until = below(r, 3) ? from + below(r, (uint32_t)s->n) : s->n;
        until = until < s->n ? until : s->n;
        if (cut(s, window_ms, from, until, &w)) {
            if (until == s->n && below(r, 2)) {
                in_hot = true;
                put_hot(e, &w);
            } else {
                put_warm(e, &w);
            }
        }
        from = until + 1;
    }
    for (uint32_t replays = below(r, 4); replays > 0; replays--) {
        uint64_t lo = 1 + below(r, (uint32_t)s->n), hi = lo + below(r, (uint32_t)(s->n - lo + 1));
        if (!cut(s, window_ms, lo, hi, &w))
            continue;
        if (!in_hot && below(r, 3) == 0) { /* catching up: behind what warm has */
            in_hot = true;
            put_hot(e, &w);
        } else {
            put_warm(e, &w);
        }
    }
}

static void the_last_write_in_the_stream_wins(void **state)
{
    struct env *e = *state;
    const char *given = getenv("SEED");
    struct rng r = {given ? strtoull(given, NULL, 10) : (uint64_t)clock_mono_us(clock_system())};
    static const uint32_t steps[] = {60000, 1000, 300000, 86400000, 7000};
    struct stream_model *s = xmalloc(sizeof *s);
    for (int round = 0; round < 400; round++) {
        uint64_t seed = r.s;
        begin(e, steps[below(&r, ARRAY_LEN(steps))]);
        make_stream(s, &r, e->step_ms);
        int64_t span = window_span_ms(s->step_ms), start = 1000 * span;
        for (int w = 0; w < 5; w++)
            lay_window(e, s, start + w * span, &r);
        if (round == 0)
            print_message("# SEED=%llu\n", (unsigned long long)seed);
        check_range(e, s, start - span, start + 6 * span);
        for (int i = 0; i < 3; i++) {
            int64_t from = start + below(&r, 1000) * span * 5 / 1000;
            check_range(e, s, from, from + below(&r, 1000) * span * 3 / 1000);
            check_latest(e, s, from);
        }
        check_latest(e, s, 0);
    }
    free(s);
}

/* --- single cases --- */

static void point(struct hot_window *w, int64_t window, uint64_t lo, uint64_t hi, uint32_t slot, double value)
{
    *w = (struct hot_window){.window_ms = window * SPAN, .lo = lo, .hi = hi};
    slots_init(&w->slots, 240);
    slot_set(w->slots.present, slot);
    w->slots.value[slot] = value;
}

static void warm_point(struct env *e, int64_t window, uint64_t lo, uint64_t hi, uint32_t slot, double value)
{
    struct hot_window w;
    point(&w, window, lo, hi, slot, value);
    put_warm(e, &w);
}

static void hot_point(struct env *e, int64_t window, uint64_t lo, uint64_t hi, uint32_t slot, double value)
{
    struct hot_window w;
    point(&w, window, lo, hi, slot, value);
    put_hot(e, &w);
}

static double value_at(const struct column *c, int64_t window, uint32_t slot)
{
    int64_t i = (window * SPAN + slot * 60000ll - c->start_ms) / 60000;
    assert_true(i >= 0 && i < (int64_t)c->n);
    return c->values[i];
}

static void the_grid_is_the_series_own(void **state)
{
    struct env *e = *state;
    struct column c;
    struct read_report report = {0};
    warm_point(e, 10, 1, 1, 0, 1.5);
    warm_point(e, 10, 2, 2, 1, 2.5);
    hot_point(e, 10, 3, 3, 2, 3.5);
    fetch(e, 10 * SPAN, 10 * SPAN + 60001, &c, &report);
    assert_int_equal(c.start_ms, 10 * SPAN);
    assert_int_equal(c.n, 2);
    assert_true(c.values[0] == 1.5 && c.values[1] == 2.5);
    free(c.values);
    fetch(e, 10 * SPAN + 1, 10 * SPAN + 120001, &c, &report);
    assert_int_equal(c.start_ms, 10 * SPAN + 60000);
    assert_int_equal(c.n, 2);
    assert_true(c.values[0] == 2.5 && c.values[1] == 3.5);
    free(c.values);
    fetch(e, 10 * SPAN + 1, 10 * SPAN + 60000, &c, &report);
    assert_int_equal(c.n, 0);
    assert_null(c.values);
    fetch(e, 11 * SPAN, 10 * SPAN, &c, &report);
    assert_int_equal(c.n, 0);
    assert_null(c.values);
    assert_false(report.incomplete);
}

static void limits_and_unknown_series_are_told(void **state)
{
    struct env *e = *state;
    struct column c;
    struct read_report report = {0};
    struct err err = ERR_INIT;
    int64_t ts;
    double v;
    assert_int_equal(reader_fetch(e->reader, 8, 0, 60000, 10, &c, &report, &err), ERR_NOT_FOUND);
    assert_int_equal(reader_latest(e->reader, 8, 0, &ts, &v, &report, &err), ERR_NOT_FOUND);
    assert_int_equal(reader_fetch(e->reader, SERIES, 0, 10 * 60000 + 1, 10, &c, &report, &err), ERR_LIMIT);
    assert_int_equal(reader_fetch(e->reader, SERIES, INT64_MIN, INT64_MAX, 1000, &c, &report, &err),
                     ERR_LIMIT);
    assert_null(c.values);
    assert_int_equal(reader_fetch(e->reader, SERIES, 0, 10 * 60000, 10, &c, &report, &err), OK);
    assert_int_equal(c.n, 10);
    free(c.values);
    assert_int_equal(reader_fetch(e->reader, SERIES, -120000, 60000, 10, &c, &report, &err), OK);
    assert_int_equal(c.n, 3);
    free(c.values);
    assert_int_equal(reader_latest(e->reader, SERIES, INT64_MIN, &ts, &v, &report, &err), 1);
    assert_int_equal(reader_latest(e->reader, SERIES, INT64_MAX, &ts, &v, &report, &err), 1);
    assert_false(report.incomplete);
}

static void a_tie_is_hots(void **state)
{
    struct env *e = *state;
    struct column c;
    struct read_report report = {0};
    warm_point(e, 3, 5, 9, 1, 1);
    hot_point(e, 3, 5, 9, 1, 2);
    warm_point(e, 4, 5, 9, 1, 1); /* hot is behind here */
    hot_point(e, 4, 5, 8, 1, 2);
    fetch(e, 3 * SPAN, 5 * SPAN, &c, &report);
    assert_true(value_at(&c, 3, 1) == 2);
    assert_true(value_at(&c, 4, 1) == 1);
    free(c.values);
}

static void bits_of_a_value_are_kept(void **state)
{
    struct env *e = *state;
    struct column c;
    struct read_report report = {0};
    double odd[] = {bits_f64(0x7ff8000000000000), bits_f64(0x8000000000000000), bits_f64(1),
                    bits_f64(0x7ff0000000000000), bits_f64(0xfff8ca7a7ca7a700)};
    for (uint32_t i = 0; i < ARRAY_LEN(odd); i++) {
        warm_point(e, 3, i + 1, i + 1, i, odd[i]);
        hot_point(e, 4 + i, i + 1, i + 1, i, odd[i]);
    }
    fetch(e, 3 * SPAN, 20 * SPAN, &c, &report);
    for (uint32_t i = 0; i < ARRAY_LEN(odd); i++) {
        assert_int_equal(f64_bits(value_at(&c, 3, i)), f64_bits(odd[i]));
        assert_int_equal(f64_bits(value_at(&c, 4 + i, i)), f64_bits(odd[i]));
    }
    free(c.values);
}

/* Everything else is there and the report says why it is not all. */
static void check_incomplete(struct env *e, const char *why)
{
    struct column c;
    struct read_report report = {0};
    fetch(e, 2 * SPAN, 6 * SPAN, &c, &report);
    assert_true(report.incomplete);
    assert_true(report.why.code < 0);
    if (!strstr(report.why.text, why))
        fail_msg("\"%s\" does not say \"%s\"", report.why.text, why);
    assert_true(value_at(&c, 2, 1) == 21);
    assert_true(value_at(&c, 5, 1) == 51);
    for (size_t i = 0; i < c.n; i++)
        assert_true(column_is_missing(c.values[i]) || c.values[i] == 21 || c.values[i] == 51 ||
                    c.values[i] == 41);
    free(c.values);
}

static void a_damaged_part_makes_the_answer_incomplete(void **state)
{
    struct env *e = *state;
    warm_point(e, 2, 1, 1, 1, 21);
    warm_point(e, 4, 3, 3, 1, 666);
    warm_point(e, 4, 4, 4, 2, 41);
    hot_point(e, 5, 9, 9, 1, 51);
    assert_int_equal(warm_mem_damage(e->mem, &(struct part_key){SERIES, 60000, 4 * SPAN, 3}), 0);
    check_incomplete(e, "checksum");
    struct buf out = BUF_INIT;
    metrics_render(e->metrics, &out);
    assert_non_null(strstr(buf_str(&out), "carat_reader_incomplete_total 1\n"));
    assert_non_null(strstr(buf_str(&out), "carat_reader_points_total 3\n"));
    assert_non_null(strstr(buf_str(&out), "carat_reader_series_total 1\n"));
    assert_non_null(strstr(buf_str(&out), "carat_reader_fetch_seconds_count 1\n"));
    buf_release(&out);
}

/* A part whose checksum is right and whose block is nonsense. */
static void put_nonsense(struct env *e, int64_t window, uint64_t hi)
{
    struct err err = ERR_INIT;
    struct part p = {{SERIES, 60000, window * SPAN, hi}, hi, (const uint8_t *)"\377nonsense", 9};
    assert_int_equal(warm_put(e->mem, &p, 1, NULL, 0, &err), OK);
}

static void a_bad_block_makes_the_answer_incomplete(void **state)
{
    struct env *e = *state;
    warm_point(e, 2, 1, 1, 1, 21);
    hot_point(e, 5, 9, 9, 1, 51);
    put_nonsense(e, 3, 8);
    check_incomplete(e, "window 43200000");
    put_nonsense(e, 2, 8); /* over a good one */
    check_incomplete(e, "window 28800000");
    put_nonsense(e, 5, 8); /* under hot's */
    check_incomplete(e, "window 28800000");
}

static void a_bad_block_leaves_nothing_behind(void **state)
{
    struct env *e = *state;
    struct hot_window w = {.window_ms = 3 * SPAN, .lo = 1, .hi = 1};
    struct buf block = BUF_INIT;
    struct err err = ERR_INIT;
    warm_point(e, 2, 1, 1, 1, 21);
    hot_point(e, 5, 9, 9, 1, 51);
    slots_init(&w.slots, 240);
    for (uint32_t i = 0; i < 240; i++) {
        slot_set(w.slots.present, i);
        w.slots.value[i] = i * 0.37;
    }
    codec_encode(&(struct codec_in){240, w.slots.present, w.slots.value}, &block);
    struct part p = {{SERIES, 60000, 3 * SPAN, 1}, 1, block.data, block.len - 3};
    assert_int_equal(warm_put(e->mem, &p, 1, NULL, 0, &err), OK);
    check_incomplete(e, "window 43200000");
    buf_release(&block);
}

static void a_tier_out_of_reach_makes_the_answer_incomplete(void **state)
{
    struct env *e = *state;
    struct read_report report = {0};
    int64_t ts;
    double v;
    hot_point(e, 2, 1, 1, 1, 21);
    hot_point(e, 5, 9, 9, 1, 51);
    warm_fault_add(e->warm, &(struct warm_fault_rule){WARM_FAULT_READ, 1, 2, ERR_IO, false, 0});
    check_incomplete(e, "injected");
    assert_int_equal(reader_latest(e->reader, SERIES, 0, &ts, &v, &report, NULL), 0);
    assert_true(report.incomplete);
    assert_true(v == 51);
    e->hot.fail = ERR_IO;
    check_incomplete(e, "out of reach");
    report = (struct read_report){0};
    assert_int_equal(reader_latest(e->reader, SERIES, 6 * SPAN, &ts, &v, &report, NULL), 1);
    assert_true(report.incomplete);
}

static void latest_falls_back_over_damage(void **state)
{
    struct env *e = *state;
    struct read_report report = {0};
    int64_t ts = 0;
    double v = 0;
    warm_point(e, 2, 1, 1, 7, 27);
    warm_point(e, 3, 2, 2, 1, 31);
    put_nonsense(e, 4, 3);
    assert_int_equal(reader_latest(e->reader, SERIES, 0, &ts, &v, &report, NULL), 0);
    assert_true(v == 31);
    assert_true(report.incomplete);
    /* Hot is far behind warm: its newest point is not the series' newest. */
    hot_point(e, 1, 1, 1, 1, 11);
    warm_point(e, 4, 1, 3, 9, 49);
    report = (struct read_report){0};
    assert_int_equal(reader_latest(e->reader, SERIES, 0, &ts, &v, &report, NULL), 0);
    assert_int_equal(ts, 4 * SPAN + 9 * 60000);
    assert_true(v == 49);
    assert_false(report.incomplete);
    assert_int_equal(reader_latest(e->reader, SERIES, ts + 1, &ts, &v, &report, NULL), 1);
}

static void hot_alone_is_enough(void **state)
{
    struct env *e = *state;
    struct column c;
    struct read_report report = {0};
    struct err err = ERR_INIT;
    int64_t ts;
    double v;
    struct reader *r = reader_new(&(struct reader_options){.catalog = e->catalog, .hot = &e->hot.base});
    hot_point(e, 2, 1, 1, 1, 21);
    assert_int_equal(reader_fetch(r, SERIES, 2 * SPAN, 3 * SPAN, 240, &c, &report, &err), OK);
    assert_true(value_at(&c, 2, 1) == 21);
    assert_int_equal(reader_latest(r, SERIES, 0, &ts, &v, &report, &err), 0);
    assert_true(v == 21);
    assert_false(report.incomplete);
    free(c.values);
    reader_free(r);
}

#define READER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        READER_TEST(the_last_write_in_the_stream_wins),
        READER_TEST(the_grid_is_the_series_own),
        READER_TEST(limits_and_unknown_series_are_told),
        READER_TEST(a_tie_is_hots),
        READER_TEST(bits_of_a_value_are_kept),
        READER_TEST(a_damaged_part_makes_the_answer_incomplete),
        READER_TEST(a_bad_block_makes_the_answer_incomplete),
        READER_TEST(a_bad_block_leaves_nothing_behind),
        READER_TEST(a_tier_out_of_reach_makes_the_answer_incomplete),
        READER_TEST(latest_falls_back_over_damage),
        READER_TEST(hot_alone_is_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
