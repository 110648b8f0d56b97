#include "tier/hot_conformance.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "codec/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static hot_make_fn make_hot;

#define STEP 60000u
#define SPAN (240 * (int64_t)STEP)
#define T0   (SPAN * 1000)

static void apply(struct hot *h, uint64_t pos, uint32_t series, int64_t ts, double v)
{
    struct hot_point p = {series, STEP, ts, v};
    struct err err = ERR_INIT;
    assert_int_equal(hot_apply(h, 0, pos, &p, 1, &err), OK);
}

struct seen {
    size_t n;
    struct hot_window w[8];
};

static int collect(void *ctx, const struct hot_window *w)
{
    struct seen *s = ctx;
    assert_true(s->n < 8);
    s->w[s->n++] = *w;
    return OK;
}

static struct seen *look(struct hot *h, uint32_t series, int64_t from, int64_t until)
{
    static struct seen s;
    struct err err = ERR_INIT;
    s.n = 0;
    assert_int_equal(hot_read(h, series, STEP, from, until, collect, &s, &err), OK);
    return &s;
}

static void a_point_is_read_back_in_its_slot(void **state)
{
    struct hot *h = make_hot(1);
    apply(h, 7, 42, T0 + 3 * STEP + 59999, 1.5);
    struct seen *s = look(h, 42, T0, T0 + 1);
    assert_int_equal(s->n, 1);
    assert_int_equal(s->w[0].window_ms, T0);
    assert_true(s->w[0].lo == 7 && s->w[0].hi == 7);
    assert_int_equal(slots_count(s->w[0].slots.present, 240), 1);
    assert_true(slot_get(s->w[0].slots.present, 3) && s->w[0].slots.value[3] == 1.5);
    assert_int_equal(look(h, 41, 0, INT64_MAX)->n, 0);
    assert_int_equal(look(h, 42, T0 + SPAN, INT64_MAX)->n, 0);
    assert_int_equal(look(h, 42, 0, T0)->n, 0);
    hot_free(h);
}

static void the_later_write_of_a_slot_wins(void **state)
{
    struct hot *h = make_hot(1);
    apply(h, 1, 1, T0, 1);
    apply(h, 2, 1, T0 + 100 * STEP, 2);
    apply(h, 3, 1, T0, 3);
    struct seen *s = look(h, 1, T0, T0 + SPAN);
    assert_int_equal(s->n, 1);
    assert_true(s->w[0].slots.value[0] == 3 && s->w[0].slots.value[100] == 2);
    assert_true(s->w[0].lo == 1 && s->w[0].hi == 3);
    hot_free(h);
}

static struct hot_taken take_all(struct hot *h, const struct hot_due *due)
{
    struct hot_taken t = HOT_TAKEN_INIT;
    uint32_t cursor = 0;
    struct err err = ERR_INIT;
    assert_int_equal(hot_take(h, 0, due, &cursor, 1u << 30, &t, &err), OK);
    assert_int_equal(cursor, 0);
    return t;
}

static void only_closed_and_settled_windows_are_due(void **state)
{
    struct hot *h = make_hot(1);
    apply(h, 10, 1, T0, 1);
    apply(h, 20, 1, T0 + SPAN, 2);
    struct hot_due due = {.closed_before_ms = T0 + SPAN - 1, .settled_before = 100};
    struct hot_taken t = take_all(h, &due);
    assert_int_equal(t.n, 0);
    hot_taken_release(&t);
    due.closed_before_ms = T0 + SPAN;
    due.settled_before = 9;
    t = take_all(h, &due);
    assert_int_equal(t.n, 0);
    hot_taken_release(&t);
    due.settled_before = 10;
    t = take_all(h, &due);
    assert_int_equal(t.n, 1);
    assert_true(t.parts[0].key.window_ms == T0 && t.parts[0].key.hi == 10 && t.tokens[0].points == 1);
    hot_taken_release(&t);
    t = take_all(h, &(struct hot_due){.unflushed_before = 20});
    assert_int_equal(t.n, 2);
    hot_taken_release(&t);
    /* Full jitter moves the due time by less than a span. */
    due = (struct hot_due){.closed_before_ms = T0 + 2 * SPAN, .jitter_permille = 1000, .settled_before = 100};
    t = take_all(h, &due);
    assert_true(t.n >= 1);
    hot_taken_release(&t);
    hot_free(h);
}

static void release_keeps_what_changed_since(void **state)
{
    struct hot *h = make_hot(1);
    struct err err = ERR_INIT;
    size_t released;
    apply(h, 1, 1, T0, 1);
    apply(h, 1, 2, T0, 1);
    struct hot_taken t = take_all(h, &(struct hot_due){.all = true});
    assert_int_equal(t.n, 2);
    apply(h, 1, 2, T0 + STEP, 5); /* same position: the rest of the record that was taken half-way */
    assert_int_equal(hot_release(h, 0, &t, &released, &err), OK);
    assert_int_equal(released, 1);
    assert_int_equal(look(h, 1, 0, INT64_MAX)->n, 0);
    struct seen *s = look(h, 2, 0, INT64_MAX);
    assert_int_equal(s->n, 1);
    assert_int_equal(slots_count(s->w[0].slots.present, 240), 2);
    assert_int_equal(hot_release(h, 0, &t, &released, &err), OK); /* again: nothing more goes */
    assert_int_equal(released, 0);
    hot_taken_release(&t);
    hot_free(h);
}

static void oldest_follows_what_is_held(void **state)
{
    struct hot *h = make_hot(1);
    struct err err = ERR_INIT;
    uint64_t lo;
    assert_int_equal(hot_oldest(h, 0, &lo, &err), OK);
    assert_true(lo == UINT64_MAX);
    apply(h, 5, 1, T0, 1);
    apply(h, 9, 1, T0 + SPAN, 1);
    apply(h, 9, 100000, T0 + SPAN, 1);
    assert_int_equal(hot_oldest(h, 0, &lo, &err), OK);
    assert_true(lo == 5);
    struct hot_taken t = take_all(h, &(struct hot_due){.closed_before_ms = T0 + SPAN, .settled_before = 9});
    assert_int_equal(hot_release(h, 0, &t, NULL, &err), OK);
    hot_taken_release(&t);
    assert_int_equal(hot_oldest(h, 0, &lo, &err), OK);
    assert_true(lo == 9);
    hot_free(h);
}

static bool can_erase(struct hot *h)
{
    struct err err;
    return hot_erase(h, 0, 4711, 0, 1, &err) != ERR_UNSUPPORTED;
}

static void an_erased_range_is_gone_and_can_be_written_again(void **state)
{
    struct hot *h = make_hot(1);
    struct err err = ERR_INIT;
    if (!can_erase(h)) {
        hot_free(h);
        print_message("# this tier cannot take a range of slots out\n"); /* skip() is a failure in TAP */
        return;
    }
    for (int i = 0; i < 240; i++)
        apply(h, 1, 1, T0 + i * (int64_t)STEP, i);
    apply(h, 1, 1, T0 + SPAN, 7);
    apply(h, 1, 2, T0, 7);
    struct hot_taken t = take_all(h, &(struct hot_due){.all = true});
    assert_int_equal(hot_erase(h, 0, 1, T0 + 10 * STEP, T0 + 200 * STEP, &err), OK);
    struct seen *s = look(h, 1, T0, T0 + SPAN);
    assert_int_equal(s->n, 1);
    assert_int_equal(slots_count(s->w[0].slots.present, 240), 50);
    assert_true(slot_get(s->w[0].slots.present, 9) && !slot_get(s->w[0].slots.present, 10));
    assert_true(slot_get(s->w[0].slots.present, 200) && !slot_get(s->w[0].slots.present, 199));
    size_t released; /* what was copied before is not what is there now */
    assert_int_equal(hot_release(h, 0, &t, &released, &err), OK);
    assert_int_equal(released, 2);
    hot_taken_release(&t);
    apply(h, 2, 1, T0 + 100 * STEP, 5);
    assert_true(look(h, 1, T0, T0 + 1)->w[0].slots.value[100] == 5);
    assert_int_equal(hot_erase(h, 0, 1, INT64_MIN, INT64_MAX, &err), OK);
    assert_int_equal(look(h, 1, 0, INT64_MAX)->n, 0);
    assert_int_equal(hot_erase(h, 0, 4711, INT64_MIN, INT64_MAX, &err), OK);
    struct hot_stats stats;
    hot_get_stats(h, &stats);
    assert_true(stats.windows == 0 && stats.series == 0);
    hot_free(h);
}

/* --- random operations against a plain model --- */

#define SERIES  5
#define WINDOWS 4

struct model {
    bool present[SERIES][WINDOWS][240];
    double value[SERIES][WINDOWS][240];
};

static void check_series(struct hot *h, const struct model *m, uint32_t id)
{
    struct seen *s = look(h, id + 1, 0, INT64_MAX);
    size_t want = 0, got = 0;
    for (int w = 0; w < WINDOWS; w++)
        for (int i = 0; i < 240; i++)
            want += m->present[id][w][i];
    for (size_t k = 0; k < s->n; k++) {
        int w = (int)((s->w[k].window_ms - T0) / SPAN);
        for (uint32_t i = 0; i < 240; i++)
            if (slot_get(s->w[k].slots.present, i)) {
                got++;
                assert_true(m->present[id][w][i]);
                assert_true(f64_bits(m->value[id][w][i]) == f64_bits(s->w[k].slots.value[i]));
            }
    }
    assert_int_equal(got, want);
}

static double some_value(void)
{
    switch (rand() % 5) {
    case 0:
        return rand() % 100;
    case 1:
        return rand() % 10000 / 100.0;
    case 2:
        return -0.0;
    case 3:
        return bits_f64((uint64_t)rand() << 32 ^ (uint64_t)rand() << 12);
    default:
        return 42;
    }
}

static void check_taken(const struct hot_taken *t, const struct model *m)
{
    for (size_t k = 0; k < t->n; k++) {
        struct slots s;
        struct err err = ERR_INIT;
        slots_init(&s, 240);
        assert_int_equal(codec_decode(t->parts[k].data, t->parts[k].size, 240, s.present, s.value, &err), OK);
        uint32_t id = t->parts[k].key.series - 1;
        int w = (int)((t->parts[k].key.window_ms - T0) / SPAN);
        for (uint32_t i = 0; i < 240; i++) {
            assert_int_equal(slot_get(s.present, i), m->present[id][w][i]);
            if (slot_get(s.present, i))
                assert_true(f64_bits(s.value[i]) == f64_bits(m->value[id][w][i]));
        }
    }
}

static void random_operations_match_a_plain_model(void **state)
{
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("# seed %u\n", seed);
    srand(seed);
    struct model *m = xcalloc(1, sizeof *m);
    struct hot *h = make_hot(1);
    struct err err = ERR_INIT;
    bool erases = can_erase(h);
    for (uint64_t pos = 1; pos < 4000; pos++) {
        struct hot_point p[64];
        size_t n = (size_t)rand() % 64;
        for (size_t i = 0; i < n; i++) {
            int id = rand() % SERIES, w = rand() % WINDOWS,
                slot = rand() % 4 ? (int)(pos / 20 + (uint64_t)rand() % 3) % 240 : rand() % 240;
            double v = some_value();
            p[i] = (struct hot_point){(uint32_t)id + 1, STEP,
                                      T0 + w * SPAN + slot * (int64_t)STEP + rand() % (int)STEP, v};
            m->present[id][w][slot] = true;
            m->value[id][w][slot] = v;
        }
        assert_int_equal(hot_apply(h, 0, pos, p, n, &err), OK);
        if (rand() % 50 == 0)
            check_series(h, m, (uint32_t)rand() % SERIES);
        if (erases && rand() % 30 == 0) {
            uint32_t id = (uint32_t)rand() % SERIES;
            int from = rand() % (WINDOWS * 240), until = from + 1 + rand() % 100;
            assert_int_equal(hot_erase(h, 0, id + 1, T0 + from * (int64_t)STEP - rand() % (int)STEP,
                                       T0 + (until - 1) * (int64_t)STEP + 1 + rand() % (int)STEP, &err),
                             OK);
            for (int i = from; i < until && i < WINDOWS * 240; i++)
                m->present[id][i / 240][i % 240] = false;
        }
        if (rand() % 200 == 0) { /* take all, release all: nothing is left, the copies are right */
            struct hot_taken t = take_all(h, &(struct hot_due){.all = true});
            check_taken(&t, m);
            size_t released;
            assert_int_equal(hot_release(h, 0, &t, &released, &err), OK);
            assert_int_equal(released, t.n);
            hot_taken_release(&t);
            memset(m, 0, sizeof *m);
        }
    }
    for (uint32_t id = 0; id < SERIES; id++)
        check_series(h, m, id);
    hot_free(h);
    free(m);
}

int hot_conformance(const char *backend, hot_make_fn make)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_point_is_read_back_in_its_slot),
        cmocka_unit_test(the_later_write_of_a_slot_wins),
        cmocka_unit_test(only_closed_and_settled_windows_are_due),
        cmocka_unit_test(release_keeps_what_changed_since),
        cmocka_unit_test(oldest_follows_what_is_held),
        cmocka_unit_test(an_erased_range_is_gone_and_can_be_written_again),
        cmocka_unit_test(random_operations_match_a_plain_model),
    };
    make_hot = make;
    return cmocka_run_group_tests_name(backend, tests, NULL, NULL);
}
