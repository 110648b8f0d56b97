/* Many series at once: read by several threads, and added up without being kept. The answers must be those of
 * one thread that keeps everything, bit for bit. */
#include "base/pool.h"
#include "base/spare.h"
#include "query/format.h"

#include "query_mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { SERIES = 300, POINTS = 700, T0 = 60000 };

struct fixture {
    struct mem_source source;
    struct query_env env;
    struct query_request request;
};

static double random_value(void)
{
    switch (rand() % 8) {
    case 0:
        return column_missing();
    case 1:
        return -0.0;
    case 2:
        return rand() / 7.0 - 1e8;
    default:
        return rand() % 1000 / 10.0;
    }
}

static int start(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    char name[64];
    struct err err;
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();
    print_message("# seed %u\n", seed);
    srand(seed);
    mem_init(&f->source);
    for (int i = 0; i < SERIES; i++) {
        snprintf(name, sizeof name, "%s.h%03d.load", i % 50 ? "web" : "odd", i);
        size_t at = mem_add(&f->source, name, 60, T0);
        for (int k = 0; k < POINTS; k++)
            mem_set_point(&f->source, at, T0 + k * 60, random_value());
    }
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "slow.h%d.load", i);
        size_t at = mem_add(&f->source, name, 300, T0);
        for (int k = 0; k < POINTS / 5; k++)
            mem_set_point(&f->source, at, T0 + k * 300, random_value());
    }
    assert_int_equal(pool_new(3, "test", &f->env.helpers, &err), OK);
    f->env.spare = spare_new(1 << 20);
    f->env.source = &f->source.base;
    f->request = (struct query_request){
        .ntargets = 1, .from_s = T0 - 60, .until_s = T0 + (POINTS + 5) * 60, .now_s = 1 << 30};
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    mem_release(&f->source);
    pool_free(f->env.helpers);
    spare_free(f->env.spare);
    free(f);
    return 0;
}

static void ask(struct fixture *f, const char *target, struct query_result *out)
{
    struct err err = ERR_INIT;
    f->request.targets = &target;
    if (query_run(&f->env, &f->request, out, &err) < 0)
        fail_msg("%s: %s", target, err.text);
}

static void assert_same(const struct query_result *a, const struct query_result *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        const struct query_series *x = a->series[i], *y = b->series[i];
        assert_int_equal(x->n, y->n);
        assert_int_equal(x->start_s, y->start_s);
        assert_null(x->deferred);
        assert_memory_equal(x->values, y->values, x->n * sizeof *x->values);
    }
}

/* The answer to one target has the values of another's. */
static void same(struct fixture *f, const char *target, const char *as)
{
    struct query_result a, b;
    struct pool *helpers = f->env.helpers;
    ask(f, target, &a);
    f->env.helpers = NULL;
    ask(f, as, &b);
    f->env.helpers = helpers;
    assert_true(a.n > 0);
    assert_same(&a, &b);
    query_result_release(&a);
    query_result_release(&b);
}

static void series_read_by_several_threads_are_the_same(void **state)
{
    for (int i = 0; i < 5; i++)
        same(*state, "web.*.load", "web.*.load");
}

/* Behind a function the series are kept. */
static void added_up_while_reading_is_the_same(void **state)
{
    static const char *const functions[] = {"sumSeries",  "averageSeries", "minSeries",   "maxSeries",
                                            "diffSeries", "countSeries",   "stddevSeries"};
    char streamed[128], kept[128];
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        snprintf(streamed, sizeof streamed, "%s(web.*.load)", functions[i]);
        snprintf(kept, sizeof kept, "%s(group(web.*.load))", functions[i]);
        for (int k = 0; k < 5; k++)
            same(*state, streamed, kept);
    }
    same(*state, "aggregate(web.*.load,'count')", "aggregate(group(web.*.load),'count')");
    same(*state, "aggregate(web.*.load,'median',0.9)", "aggregate(group(web.*.load),'median',0.9)");
    same(*state, "web.*.load|sumSeries()", "sumSeries(group(web.*.load))");
}

static void paths_beside_others_are_the_same(void **state)
{
    same(*state, "sumSeries(web.*.load,odd.*.load)", "sumSeries(group(web.*.load,odd.*.load))");
    same(*state, "sumSeries(*.*.load)", "sumSeries(group(*.*.load))"); /* two steps */
    same(*state, "sumSeries(web.*.load,scale(odd.*.load,2))",
         "sumSeries(group(web.*.load,scale(odd.*.load,2)))");
    same(*state, "sumSeries(web.*.load,web.*.load)", "sumSeries(group(web.*.load,web.*.load))");
    same(*state, "group(sumSeries(web.*.load),maxSeries(web.*.load),web.*.load)",
         "group(sumSeries(group(web.*.load)),maxSeries(group(web.*.load)),web.*.load)");
    same(*state, "divideSeries(sumSeries(web.*.load),averageSeries(web.*.load))",
         "divideSeries(sumSeries(group(web.*.load)),averageSeries(group(web.*.load)))");
}

/* Each use of a path has values of its own: functions change them in place. */
static void uses_of_a_path_do_not_see_each_other(void **state)
{
    same(*state, "group(scale(odd.*.load,2),odd.*.load)", "group(scale(odd.*.load,2),group(odd.*.load))");
    same(*state, "group(odd.*.load,absolute(odd.*.load),odd.*.load)",
         "group(group(odd.*.load),absolute(group(odd.*.load)),odd.*.load)");
    same(*state, "group(movingAverage(odd.*.load,3),odd.*.load)",
         "group(movingAverage(odd.*.load,3),group(odd.*.load))");
}

static void limits_hold_while_streaming(void **state)
{
    struct fixture *f = *state;
    struct query_result r;
    struct err err = ERR_INIT;
    const char *target = "sumSeries(web.*.load)";
    f->request.targets = &target;
    f->env.limits.max_points = 100000;
    assert_int_equal(query_run(&f->env, &f->request, &r, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "max_points"));
    f->env.limits = (struct query_limits){.max_ms = 1};
    f->source.delay_us = 100;
    assert_int_equal(query_run(&f->env, &f->request, &r, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "query.timeout"));
    f->env.limits = (struct query_limits){0};
    f->source.delay_us = 0;
    f->source.broken = true;
    ask(f, target, &r);
    assert_true(r.report.incomplete);
    query_result_release(&r);
}

static void what_was_read_is_told_once_a_target(void **state)
{
    struct fixture *f = *state;
    struct query_result r;
    const char *targets[] = {"sumSeries(web.*.load)", "odd.*.load",
                             "diffSeries(sumSeries(web.*.load),maxSeries(web.*.load))"};
    f->request.targets = targets;
    f->request.ntargets = 3;
    f->request.meta = true;
    struct err err = ERR_INIT;
    assert_int_equal(query_run(&f->env, &f->request, &r, &err), OK);
    assert_int_equal(r.series[0]->reads->n, 1);
    assert_int_equal(r.series[0]->reads->v[0].series, SERIES / 50 * 49);
    assert_int_equal(r.series[1]->reads->v[0].series, 1);
    assert_int_equal(r.series[r.n - 1]->reads->v[0].series, SERIES / 50 * 49);
    query_result_release(&r);
}

/* --- long answers in pieces --- */

static void stream_is_the_text(struct fixture *f, const char *target, const struct format_options *o)
{
    struct query_result a, b;
    struct buf whole = BUF_INIT, pieces = BUF_INIT;
    struct json_stream *s;
    struct err err = ERR_INIT;
    const char *p;
    size_t n;
    f->request.meta = o->meta;
    ask(f, target, &a);
    ask(f, target, &b);
    assert_int_equal(format_json(&a, o, &whole, &err), OK);
    assert_int_equal(json_stream_new(&b, o, f->env.helpers, f->env.spare, &s, &err), OK);
    uint64_t size = json_stream_size(s);
    while (json_stream_next(s, &p, &n)) {
        assert_true(n > 0);
        buf_append(&pieces, p, n);
    }
    assert_false(json_stream_next(s, &p, &n));
    json_stream_free(s);
    assert_true(size == 0 || size == pieces.len);
    assert_string_equal(buf_str(&pieces), buf_str(&whole));
    query_result_release(&a);
    buf_release(&whole);
    buf_release(&pieces);
}

static void long_answers_are_the_same_in_pieces(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 16; i++) {
        struct format_options o = {
            .no_null_points = i & 1, .meta = i & 2, .has_max_points = i & 4, .max_points = i & 8 ? 1 : 300};
        stream_is_the_text(f, "web.*.load", &o);
        stream_is_the_text(f, "group(web.h001.load,constantLine(5),threshold(3,'x'),slow.*.load)", &o);
        stream_is_the_text(f, "nothing.at.all", &o);
        stream_is_the_text(f, "delay(web.h001.load,0)", &o); /* empty series */
        stream_is_the_text(f, "removeAboveValue(odd.*.load,-1e300)", &o);
        int64_t until_s = f->request.until_s;
        f->request.until_s =
            T0 + (i % 8 ? 20000 : 200000) * 60; /* several pieces a series; too many to keep */
        stream_is_the_text(f, "group(odd.*.load,web.h001.load)", &o);
        f->request.until_s = until_s;
    }
}

static void what_cannot_be_shown_is_refused_before_the_first_byte(void **state)
{
    struct fixture *f = *state;
    struct query_result r;
    struct json_stream *s;
    struct err err = ERR_INIT;
    struct format_options o = {.has_max_points = true, .max_points = 10};
    ask(f, "group(web.*.load,consolidateBy(odd.*.load,'nonsense'))", &r);
    assert_int_equal(json_stream_new(&r, &o, f->env.helpers, NULL, &s, &err), ERR_INVALID);
    query_result_release(&r);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(series_read_by_several_threads_are_the_same),
        CASE(added_up_while_reading_is_the_same),
        CASE(paths_beside_others_are_the_same),
        CASE(uses_of_a_path_do_not_see_each_other),
        CASE(limits_hold_while_streaming),
        CASE(what_was_read_is_told_once_a_target),
        CASE(long_answers_are_the_same_in_pieces),
        CASE(what_cannot_be_shown_is_refused_before_the_first_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
