/* Functions over small tables: what a dashboard relies on. The recorded answers (test_query_golden) go
 * further. */
#include "query/agg.h"
#include "query/api.h"
#include "query/eval.h"
#include "query/query.h"

#include "query_mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Points from 1200 on, one a minute; slow.* one in five minutes. NAN: none. */
#define T0 1200

struct fixture {
    struct mem_source source;
    struct query_env env;
    struct query_request request;
    struct buf text;
};

static void put(struct fixture *f, const char *name, int64_t step_s, const double *v, size_t n)
{
    size_t i = mem_add(&f->source, name, step_s, T0);
    for (size_t k = 0; k < n; k++)
        mem_set_point(&f->source, i, T0 + (int64_t)k * step_s, isnan(v[k]) ? column_missing() : v[k]);
}

static int start(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    static const double user[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
                        system[] = {10, 20, NAN, 40, 50, 60, 70, 80, 90, 100},
                        idle[] = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN},
                        counter[] = {0, 60, 180, 60, 120, NAN, 300, 360, 420, 480}, slow[] = {100, 200},
                        gaps[] = {1, NAN, NAN, 4, NAN, 6, 7, NAN, NAN, NAN};
    mem_init(&f->source);
    put(f, "s.a.cpu.user", 60, user, 10);
    put(f, "s.b.cpu.user", 60, system, 10);
    put(f, "s.c.cpu.user", 60, idle, 10);
    put(f, "counter", 60, counter, 10);
    put(f, "slow.x", 300, slow, 2);
    put(f, "gaps", 60, gaps, 10);
    put(f, "load;dc=tokyo;host=a", 60, user, 10);
    put(f, "load;dc=paris;host=b", 60, system, 10);
    f->env.source = &f->source.base;
    f->request =
        (struct query_request){.ntargets = 1, .from_s = T0 - 60, .until_s = T0 + 240, .now_s = 100000};
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    mem_release(&f->source);
    buf_release(&f->text);
    free(f);
    return 0;
}

/* "name: v v -; name: ..." */
static void show(struct buf *b, const struct query_result *r)
{
    buf_clear(b);
    for (size_t i = 0; i < r->n; i++) {
        buf_printf(b, "%s%s:", i ? "; " : "", r->series[i]->name);
        for (size_t k = 0; k < r->series[i]->n; k++) {
            if (column_is_missing(r->series[i]->values[k]))
                buf_puts(b, " -");
            else
                buf_printf(b, " %g", r->series[i]->values[k]);
        }
    }
}

static void gives(struct fixture *f, const char *target, const char *want)
{
    struct query_result r;
    struct err err = ERR_INIT;
    f->request.targets = &target;
    if (query_run(&f->env, &f->request, &r, &err) < 0) {
        print_error("%s: %s\n", target, err.text);
        fail();
    }
    show(&f->text, &r);
    assert_string_equal(buf_str(&f->text), want);
    query_result_release(&r);
}

static void refuses(struct fixture *f, const char *target, int code, const char *part)
{
    struct query_result r;
    struct err err = ERR_INIT;
    f->request.targets = &target;
    assert_int_equal(query_run(&f->env, &f->request, &r, &err), code);
    if (!strstr(err.text, part))
        print_error("%s: %s\n", target, err.text);
    assert_non_null(strstr(err.text, part));
}

static void paths_give_their_points(void **state)
{
    struct fixture *f = *state;
    gives(f, "s.a.cpu.user", "s.a.cpu.user: 1 2 3 4 5");
    gives(f, "s.{a,b}.cpu.user", "s.a.cpu.user: 1 2 3 4 5; s.b.cpu.user: 10 20 - 40 50");
    gives(f, "s.**", "s.a.cpu.user: 1 2 3 4 5; s.b.cpu.user: 10 20 - 40 50; s.c.cpu.user: - - - - -");
    gives(f, "**.user", "s.a.cpu.user: 1 2 3 4 5; s.b.cpu.user: 10 20 - 40 50; s.c.cpu.user: - - - - -");
    gives(f, "s.**.cpu.**.user",
          "s.a.cpu.user: 1 2 3 4 5; s.b.cpu.user: 10 20 - 40 50; s.c.cpu.user: - - - - -");
    gives(f, "nosuch.*", "");
    gives(f, "slow.x", "slow.x: 100");
    gives(f, "load;dc=tokyo;host=a", "load;dc=tokyo;host=a: 1 2 3 4 5");
    f->request.now_s = T0 + 100; /* nothing of the future */
    gives(f, "s.a.cpu.user", "s.a.cpu.user: 1 2");
}

static void several_become_one(void **state)
{
    struct fixture *f = *state;
    gives(f, "sumSeries(s.*.cpu.user)", "sumSeries(s.*.cpu.user): 11 22 3 44 55");
    gives(f, "sum(s.a.cpu.user,s.b.cpu.user)", "sumSeries(s.a.cpu.user,s.b.cpu.user): 11 22 3 44 55");
    gives(f, "averageSeries(s.*.cpu.user)", "averageSeries(s.*.cpu.user): 5.5 11 3 22 27.5");
    gives(f, "maxSeries(s.*.cpu.user)", "maxSeries(s.*.cpu.user): 10 20 3 40 50");
    gives(f, "minSeries(s.*.cpu.user)", "minSeries(s.*.cpu.user): 1 2 3 4 5");
    gives(f, "diffSeries(s.b.cpu.user,s.a.cpu.user)", "diffSeries(s.b.cpu.user,s.a.cpu.user): 9 18 3 36 45");
    gives(f, "divideSeries(s.b.cpu.user,s.a.cpu.user)",
          "divideSeries(s.b.cpu.user,s.a.cpu.user): 10 10 - 10 10");
    gives(f, "asPercent(s.a.cpu.user,200)", "asPercent(s.a.cpu.user,200): 0.5 1 1.5 2 2.5");
    gives(f, "asPercent(s.{a,b}.cpu.user)|limit(1)",
          "asPercent(s.a.cpu.user,sumSeries(s.{a,b}.cpu.user)): 9.09091 9.09091 100 9.09091 9.09091");
    gives(f, "countSeries(s.*.cpu.user)", "countSeries(s.*.cpu.user): 3 3 3 3 3");
    gives(f, "percentileOfSeries(s.{a,b}.cpu.user,50)",
          "percentileOfSeries(s.{a,b}.cpu.user,50): 10 20 3 40 50");
    gives(f, "groupByNode(s.*.cpu.user,1,'sum')", "a: 1 2 3 4 5; b: 10 20 - 40 50; c: - - - - -");
    gives(f, "groupByNodes(s.*.cpu.user,'max',0,3)", "s.user: 10 20 3 40 50");
    gives(f, "groupByTags(seriesByTag('name=load'),'sum','dc')",
          "load;dc=paris: 10 20 - 40 50; load;dc=tokyo: 1 2 3 4 5");
    f->request.x_files_factor = 0.5;
    gives(f, "sumSeries(s.*.cpu.user)", "sumSeries(s.*.cpu.user): 11 22 - 44 55");
}

static void steps_are_brought_together(void **state)
{
    struct fixture *f = *state;
    f->request.until_s = T0 + 540;
    gives(f, "sumSeries(s.a.cpu.user,slow.x)", "sumSeries(s.a.cpu.user,slow.x): 103 208");
    gives(f, "sumSeries(consolidateBy(s.a.cpu.user,'max'),slow.x)",
          "sumSeries(consolidateBy(s.a.cpu.user,\"max\"),slow.x): 105 210");
}

static void values_are_changed(void **state)
{
    struct fixture *f = *state;
    gives(f, "scale(s.b.cpu.user,0.5)", "scale(s.b.cpu.user,0.5): 5 10 - 20 25");
    gives(f, "offset(s.a.cpu.user,-1)", "offset(s.a.cpu.user,-1): 0 1 2 3 4");
    gives(f, "absolute(scale(s.a.cpu.user,-1))", "absolute(scale(s.a.cpu.user,-1)): 1 2 3 4 5");
    gives(f, "derivative(s.b.cpu.user)", "derivative(s.b.cpu.user): - 10 - - 10");
    gives(f, "nonNegativeDerivative(counter)", "nonNegativeDerivative(counter): - 60 120 - 60");
    gives(f, "nonNegativeDerivative(counter,199)", "nonNegativeDerivative(counter): - 60 120 80 60");
    gives(f, "perSecond(counter)", "perSecond(counter): - 1 2 - 1");
    gives(f, "integral(s.b.cpu.user)", "integral(s.b.cpu.user): 10 30 - 70 120");
    gives(f, "keepLastValue(gaps)", "keepLastValue(gaps): 1 1 1 4 4");
    gives(f, "keepLastValue(gaps,1)", "keepLastValue(gaps): 1 - - 4 4");
    gives(f, "interpolate(gaps)", "interpolate(gaps): 1 2 3 4 -");
    gives(f, "transformNull(gaps,-1)", "transformNull(gaps,-1): 1 -1 -1 4 -1");
    gives(f, "isNonNull(gaps)", "isNonNull(gaps): 1 0 0 1 0");
    gives(f, "removeAboveValue(s.a.cpu.user,3)", "removeAboveValue(s.a.cpu.user, 3): 1 2 3 - -");
    gives(f, "delay(s.a.cpu.user,2)", "delay(s.a.cpu.user,2): - - 1 2 3");
    gives(f, "invert(offset(s.a.cpu.user,-1))", "invert(offset(s.a.cpu.user,-1)): - 1 0.5 0.333333 0.25");
}

static void windows_and_buckets(void **state)
{
    struct fixture *f = *state;
    gives(f, "summarize(s.a.cpu.user,'2min')", "summarize(s.a.cpu.user, \"2min\", \"sum\"): 3 7 5");
    gives(f, "summarize(s.a.cpu.user,'2min','max')", "summarize(s.a.cpu.user, \"2min\", \"max\"): 2 4 5");
    f->request.from_s = T0 + 180;
    f->request.until_s = T0 + 420;
    gives(f, "movingAverage(s.a.cpu.user,2)", "movingAverage(s.a.cpu.user,2): 3.5 4.5 5.5 6.5");
    gives(f, "movingMax(s.b.cpu.user,'2min')", "movingMax(s.b.cpu.user,\"2min\"): 40 50 60 70");
    gives(f, "movingMin(gaps,3)", "movingMin(gaps,3): 4 4 4 6");
    gives(f, "movingMedian(s.a.cpu.user,3)", "movingMedian(s.a.cpu.user,3): 3 4 5 6");
    gives(f, "timeShift(s.a.cpu.user,'2min')", "timeShift(s.a.cpu.user, \"-2min\"): 3 4 5 6");
    gives(f, "stdev(s.a.cpu.user,2)", "stdev(s.a.cpu.user,2): 0 0.5 0.5 0.5");
}

static void series_are_chosen_and_named(void **state)
{
    struct fixture *f = *state;
    gives(f, "alias(s.a.cpu.user,'x y')", "x y: 1 2 3 4 5");
    gives(f, "aliasByNode(s.{a,b}.cpu.user,1,-1)", "a.user: 1 2 3 4 5; b.user: 10 20 - 40 50");
    gives(f, "aliasByNode(scale(s.a.cpu.user,2),1)", "a: 2 4 6 8 10");
    gives(f, "aliasByTags(seriesByTag('name=load','dc=tokyo'),'host','name')", "a.load: 1 2 3 4 5");
    gives(f, "aliasByMetric(s.a.cpu.user)", "user: 1 2 3 4 5");
    gives(f, "aliasSub(s.a.cpu.user,'^s\\.(\\w+)','<\\1>')", "<a>.cpu.user: 1 2 3 4 5");
    gives(f, "aliasSub(s.a.cpu.user,'x*','-')", "-s-.-a-.-c-p-u-.-u-s-e-r-: 1 2 3 4 5");
    gives(f, "limit(s.*.cpu.user,1)", "s.a.cpu.user: 1 2 3 4 5");
    gives(f, "highestMax(s.*.cpu.user,1)", "s.b.cpu.user: 10 20 - 40 50");
    gives(f, "lowestAverage(s.{a,b}.cpu.user,1)", "s.a.cpu.user: 1 2 3 4 5");
    gives(f, "sortByMaxima(s.{a,b}.cpu.user)|aliasByNode(1)", "b: 10 20 - 40 50; a: 1 2 3 4 5");
    gives(f, "sortByName(s.{a,b}.cpu.user,reverse=true)|aliasByNode(1)", "b: 10 20 - 40 50; a: 1 2 3 4 5");
    gives(f, "exclude(s.{a,b}.cpu.user,'\\.b\\.')", "s.a.cpu.user: 1 2 3 4 5");
    gives(f, "grep(s.*.cpu.user,'[b-c]\\.')|removeEmptySeries()", "s.b.cpu.user: 10 20 - 40 50");
    gives(f, "averageAbove(s.*.cpu.user,5)", "s.b.cpu.user: 10 20 - 40 50");
    gives(f, "constantLine(2.5)", "2.5: 2.5 2.5 2.5");
    gives(f, "fallbackSeries(nosuch,s.a.cpu.user)", "s.a.cpu.user: 1 2 3 4 5");
    gives(f, "template(s.$h.cpu.user,h='a')", "s.a.cpu.user: 1 2 3 4 5");
    gives(f, "applyByNode(s.{a,b}.cpu.user,1,'scale(%.cpu.user,2)','%')",
          "s.a: 2 4 6 8 10; s.b: 20 40 - 80 100");
    gives(f, "aliasQuery(s.a.cpu.user,'a','b','last %05.1f')", "last 050.0: 1 2 3 4 5");
    gives(f, "legendValue(s.a.cpu.user,'max','count')", "s.a.cpu.user (max: 5.0) (count: 5): 1 2 3 4 5");
}

static void stacks_go_on_over_targets(void **state)
{
    struct fixture *f = *state;
    static const char *const both[] = {"stacked(s.a.cpu.user)", "stacked(s.a.cpu.user)"};
    struct query_result r;
    f->request.targets = both;
    f->request.ntargets = 2;
    assert_int_equal(query_run(&f->env, &f->request, &r, NULL), OK);
    show(&f->text, &r);
    assert_string_equal(buf_str(&f->text),
                        "stacked(s.a.cpu.user): 1 2 3 4 5; stacked(s.a.cpu.user): 2 4 6 8 10");
    query_result_release(&r);
}

static void errors_say_what_and_where(void **state)
{
    struct fixture *f = *state;
    refuses(f, "scalee(s.a.cpu.user,2)", ERR_INVALID,
            "no function 'scalee'; did you mean 'scale'?\n  scalee(");
    refuses(f, "sumSeries(scale(s.a.cpu.user,'x'))", ERR_INVALID,
            "scale(): parameter 'factor' expects a number, not x\n"
            "  sumSeries(scale(s.a.cpu.user,'x'))\n"
            "                               ^");
    refuses(f, "scale(s.a.cpu.user)", ERR_INVALID, "parameter 'factor' is missing; it expects a number");
    refuses(f, "scale(s.a.cpu.user,1,2)", ERR_INVALID, "at most 2 arguments, got 3");
    refuses(f, "scale(s.a.cpu.user,k=1)", ERR_INVALID, "no parameter 'k'");
    refuses(f, "summarize(s.a.cpu.user,'5zz')", ERR_INVALID, "'5zz' is no interval");
    refuses(f, "summarize(s.a.cpu.user,'0s')", ERR_INVALID, "interval must be positive");
    refuses(f, "exclude(s.a.cpu.user,'[')", ERR_INVALID, "regular expression '[' is wrong");
    refuses(f, "aliasSub(s.a.cpu.user,'a','\\2')", ERR_INVALID, "unknown group");
    refuses(f, "aggregate(s.a.cpu.user,'p99')", ERR_INVALID, "'p99' is no aggregation");
    refuses(f, "alias(s.a.cpu.user,s.b.cpu.user)", ERR_INVALID, "cannot be named by series");
    refuses(f, "seriesByTag('host=')", ERR_INVALID, "must not hold for an empty value");
    refuses(f, "|", ERR_INVALID, "expected a metric path");
}

/* What no argument is to blame for points at the call. */
static void every_error_has_a_caret(void **state)
{
    struct fixture *f = *state;
    refuses(f, "sumSeries(consolidateBy(s.a.cpu.user,'x'),slow.x)", ERR_INVALID,
            "'x' is no consolidation function: expected average, sum, min, max, first, last or avg_zero\n  "
            "sumSeries(");
    refuses(
        f, "group(s.a.cpu.user,linearRegression(s.a.cpu.user,'20000102','20000101'))", ERR_INVALID,
        "begins after its end\n  group(s.a.cpu.user,linearRegression(s.a.cpu.user,'20000102','20000101'))\n"
        "                                      ^");
    refuses(f, "seriesByTag('host')", ERR_INVALID, "\n  seriesByTag('host')\n  ^");
    refuses(f, "applyByNode(s.a.cpu.user,1,'nosuch(%)')", ERR_INVALID,
            "no function 'nosuch'\n  nosuch(s.a)\n  ^");
    refuses(f, "applyByNode(s.a.cpu.user,1,'(%')", ERR_INVALID, "\n  (s.a\n  ^");
    refuses(f, "areaBetween(s.*.cpu.user)", ERR_INVALID,
            "exactly 2 series, not 3\n  areaBetween(s.*.cpu.user)\n  ^");
    f->request.until_s = f->request.from_s + 1;
    refuses(f, "summarize(constantLine(1),'1min')", ERR_INVALID,
            "1.0 has no step: its time range is too short\n  summarize(");
    refuses(f, "sumSeries(constantLine(1))", ERR_INVALID,
            "1.0 has no step: its time range is too short\n  sumSeries(");
}

/* An empty list passes before other arguments are looked at; what is no number to Python is refused. */
static void odd_arguments(void **state)
{
    struct fixture *f = *state;
    gives(f, "scale(nosuch,'x')", "");
    gives(f, "movingAverage(nosuch,'x')", "");
    gives(f, "summarize(nosuch,'-1h')", "");
    gives(f, "movingAverage(none,5)", "");
    refuses(f, "summarize(nosuch,'x')", ERR_INVALID, "'x' is no interval");
    refuses(f, "aggregate(nosuch,'p99')", ERR_INVALID, "'p99' is no aggregation");
    refuses(f, "sortByName(nosuch,reverse='x')", ERR_INVALID, "parameter 'reverse' expects true or false");
    gives(f, "limit(s.*.cpu.user,'1')", "s.a.cpu.user: 1 2 3 4 5");
    gives(f, "scale(s.a.cpu.user,'1_0')", "scale(s.a.cpu.user,10): 10 20 30 40 50");
    refuses(f, "scale(s.a.cpu.user,'1__0')", ERR_INVALID, "expects a number, not 1__0");
    gives(f, "stacked(s.a.cpu.user,1)", "s.a.cpu.user: 1 2 3 4 5");
    gives(f, "highest(s.*.cpu.user,1e20)|limit(1)", "s.b.cpu.user: 10 20 - 40 50");
    gives(f, "legendValue(sumSeries(isNonNull(s.*.cpu.user)),'last')",
          "sumSeries(isNonNull(s.a.cpu.user),isNonNull(s.b.cpu.user),isNonNull(s.c.cpu.user)) (last: 2): 2 2 "
          "1 2 2");
    gives(f, "summarize(s.a.cpu.user,'-1h')", "summarize(s.a.cpu.user, \"-1h\", \"sum\"):");
    refuses(f, "summarize(s.a.cpu.user,'-1min')", ERR_INVALID, "interval must be positive");
    refuses(f, "sumSeries(time(5),s.a.cpu.user)", ERR_INVALID, "5, which is no text");
    gives(f, "sumSeries(sin('',0),sin('',0))", "sumSeries(): 0 0 0 0 0");
}

static void limits_are_named(void **state)
{
    struct fixture *f = *state;
    f->env.limits.max_series = 2;
    gives(f, "countSeries(s.{a,b}.cpu.user)", "countSeries(s.{a,b}.cpu.user): 2 2 2 2 2");
    refuses(f, "s.*.cpu.user", ERR_LIMIT, "more than 2 series (limit query.max_series)\n  s.*.cpu.user\n  ^");
    f->env.limits.max_series = 0;
    f->env.limits.max_points = 100;
    refuses(f, "sin('x',1,1)", ERR_LIMIT,
            "more than 100 points (limit query.max_points)\n  sin('x',1,1)\n  ^");
    f->env.limits.max_points = 0;
    f->env.limits.max_ms = 1;
    f->request.until_s = f->request.from_s + 20000000;
    f->request.now_s = f->request.until_s;
    refuses(f, "movingMedian(sin('x',1,1),'1d')", ERR_LIMIT,
            "longer than 1 ms (limit query.timeout)\n  movingMedian(");
    f->env.limits.max_ms = 0;
    f->env.limits.max_bytes = 100000;
    refuses(f, "sin('x',1,1)", ERR_LIMIT,
            "more than 100000 bytes of memory (limit query.max_memory)\n  sin('x',1,1)\n  ^");
}

static bool gone(void *ctx)
{
    return ++*(int *)ctx > 1;
}

static void a_client_that_goes_away_ends_its_query(void **state)
{
    struct fixture *f = *state;
    int looks = 0;
    f->env.cancelled = gone;
    f->env.cancel_ctx = &looks;
    f->request.until_s = f->request.from_s + 20000000;
    f->request.now_s = f->request.until_s;
    refuses(f, "movingMedian(sin('x',1,1),'1d')", ERR_CLOSED, "the client has gone away");
    assert_in_range(looks, 2, 4);
}

/* --- the API --- */

static unsigned ask(struct fixture *f, const char *path, const struct api_arg *args, size_t n,
                    struct api_reply *reply)
{
    struct api_request r = {.method = "GET", .path = path, .args = args, .nargs = n, .now_s = 100000};
    memset(reply, 0, sizeof *reply);
    assert_true(api_answer(&f->env, &r, reply));
    buf_clear(&f->text);
    buf_append(&f->text, reply->body.data, reply->body.len);
    buf_release(&reply->body);
    return reply->status;
}

#define ASK(f, path, reply, ...)                                                                             \
    ask(f, path, (const struct api_arg[]){__VA_ARGS__},                                                      \
        sizeof((const struct api_arg[]){__VA_ARGS__}) / sizeof(struct api_arg), reply)

static void render_formats(void **state)
{
    struct fixture *f = *state;
    struct api_reply r;
    assert_int_equal(
        ASK(f, "/render", &r, {"target", "gaps"}, {"from", "1140"}, {"until", "1320"}, {"format", "json"}),
        200);
    assert_string_equal(buf_str(&f->text),
                        "[{\"target\": \"gaps\", \"tags\": {\"name\": \"gaps\"}, \"datapoints\": "
                        "[[1.0, 1200], [null, 1260], [null, 1320]]}]");
    assert_int_equal(
        ASK(f, "/render/", &r, {"target", "gaps"}, {"from", "1140"}, {"until", "1320"}, {"format", "csv"}),
        200);
    assert_string_equal(
        buf_str(&f->text),
        "gaps,1970-01-01 00:20:00,1.0\r\ngaps,1970-01-01 00:21:00,\r\ngaps,1970-01-01 00:22:00,\r\n");
    assert_int_equal(
        ASK(f, "/render", &r, {"target", "gaps"}, {"from", "1140"}, {"until", "1320"}, {"format", "raw"}),
        200);
    assert_string_equal(buf_str(&f->text), "gaps,1200,1380,60|1.0,None,None\n");
    assert_int_equal(ASK(f, "/render", &r, {"target", "s.a.cpu.user"}, {"from", "1140"}, {"until", "1740"},
                         {"format", "json"}, {"maxDataPoints", "5"}),
                     200);
    assert_string_equal(
        buf_str(&f->text),
        "[{\"target\": \"s.a.cpu.user\", \"tags\": {\"name\": \"s.a.cpu.user\"}, \"datapoints\": "
        "[[2.5, 1320], [4.5, 1440], [6.5, 1560], [8.5, 1680], [10.0, 1800]]}]");
    assert_int_equal(ASK(f, "/render", &r, {"target", "alias(gaps,5)"}, {"from", "1140"}, {"until", "1200"},
                         {"format", "json"}, {"jsonp", "cb"}, {"noNullPoints", "1"}),
                     200);
    assert_string_equal(
        buf_str(&f->text),
        "cb([{\"target\": 5, \"tags\": {\"name\": \"gaps\"}, \"datapoints\": [[1.0, 1200]]}])");
    assert_string_equal(r.content_type, "text/javascript");
    assert_int_equal(ASK(f, "/render", &r, {"target", "gaps"}), 200);
    assert_string_equal(r.content_type, "image/png");
    assert_int_equal(ASK(f, "/render", &r, {"target", "gaps"}, {"format", "pdf"}), 400);
    assert_non_null(strstr(buf_str(&f->text), "format must be json"));
    assert_int_equal(ASK(f, "/render", &r, {"target", "gaps"}, {"format", "json"}, {"from", "nosuch"}), 400);
    assert_int_equal(
        ASK(f, "/render", &r, {"target", "gaps"}, {"format", "json"}, {"from", "5"}, {"until", "5"}), 400);
}

static void what_could_not_be_read_is_told(void **state)
{
    struct fixture *f = *state;
    struct api_reply r;
    f->source.broken = true;
    assert_int_equal(
        ASK(f, "/render", &r, {"target", "gaps"}, {"format", "json"}, {"from", "1140"}, {"until", "1200"}),
        503);
    assert_non_null(strstr(buf_str(&f->text), "the disk is on fire"));
    assert_int_equal(ASK(f, "/render", &r, {"target", "gaps"}, {"format", "json"}, {"from", "1140"},
                         {"until", "1200"}, {"partial", "1"}),
                     200);
    assert_true(r.incomplete);
    assert_string_equal(r.why, "the disk is on fire");
    f->source.broken = false;
    assert_int_equal(
        ASK(f, "/render", &r, {"target", "gaps"}, {"format", "json"}, {"from", "1140"}, {"until", "1200"}),
        200);
    assert_false(r.incomplete);
}

static void nodes_are_found(void **state)
{
    struct fixture *f = *state;
    struct api_reply r;
    assert_int_equal(ASK(f, "/metrics/find/", &r, {"query", "s.*"}), 200);
    assert_non_null(
        strstr(buf_str(&f->text),
               "{\"text\": \"b\", \"id\": \"s.b\", \"allowChildren\": 1, \"expandable\": 1, \"leaf\": 0}"));
    ASK(f, "/metrics/find", &r, {"query", "s.a.cpu.us"}, {"format", "completer"});
    assert_string_equal(
        buf_str(&f->text),
        "{\"metrics\": [{\"path\": \"s.a.cpu.user\", \"name\": \"user\", \"is_leaf\": \"1\"}]}");
    ASK(f, "/metrics/expand", &r, {"query", "s.*"}, {"query", "gap?"});
    assert_string_equal(buf_str(&f->text), "{\"results\": [\"gaps\", \"s.a\", \"s.b\", \"s.c\"]}");
    ASK(f, "/metrics/expand", &r, {"query", "s.{a,{b,c}}"}, {"query", "gap?"}, {"groupByExpr", "1"});
    assert_string_equal(
        buf_str(&f->text),
        "{\"results\": {\"s.{a,{b,c}}\": [\"s.a\", \"s.b\", \"s.c\"], \"gap?\": [\"gaps\"]}}");
    ASK(f, "/metrics/index.json", &r, {"x", "y"});
    assert_string_equal(
        buf_str(&f->text),
        "[\"counter\", \"gaps\", \"s.a.cpu.user\", \"s.b.cpu.user\", \"s.c.cpu.user\", \"slow.x\"]");
    ASK(f, "/metrics/expand", &r, {"query", ".s..a"}); /* empty levels do not count */
    assert_string_equal(buf_str(&f->text), "{\"results\": [\"s.a\"]}");
    ASK(f, "/metrics/find", &r, {"query", "s.*"}, {"format", "nodelist"}, {"position", "-1"});
    assert_string_equal(buf_str(&f->text), "{\"nodes\": [\"a\", \"b\", \"c\"]}");
    assert_int_equal(ASK(f, "/metrics/find", &r, {"query", "s.*"}, {"format", "nodelist"}, {"position", "9"}),
                     400);
    assert_int_equal(ASK(f, "/metrics/find", &r, {"query", ""}), 400);
    assert_int_equal(ASK(f, "/metrics/find", &r, {"query", "a"}, {"format", "x"}), 400);
    assert_int_equal(ASK(f, "/metrics/find", &r, {"query", "a"}, {"local", "x"}), 400);
    ASK(f, "/metrics/find", &r, {"query", "s.a*"}, {"format", "msgpack"});
    assert_string_equal(buf_str(&f->text), "\x91\x82\xa4path\xa3s.a\xa7is_leaf\xc2");
    assert_string_equal(r.content_type, "application/x-msgpack");
    ASK(f, "/metrics/find", &r, {"query", "gaps"}, {"format", "pickle"});
    assert_memory_equal(f->text.data, "\x80\x02](}(X\x04\0\0\0pathX\x04\0\0\0gapsX\x07\0\0\0is_leaf\x88", 37);
}

static void tags_are_found(void **state)
{
    struct fixture *f = *state;
    struct api_reply r;
    ASK(f, "/tags", &r, {"filter", "h"});
    assert_string_equal(buf_str(&f->text), "[{\"tag\": \"host\"}]");
    ASK(f, "/tags/dc", &r, {"limit", "1"});
    assert_string_equal(buf_str(&f->text),
                        "{\"tag\": \"dc\", \"values\": [{\"value\": \"paris\", \"count\": 1}]}");
    ASK(f, "/tags/findSeries", &r, {"expr", "dc=~t"}, {"expr", "nosuch="});
    assert_string_equal(buf_str(&f->text), "[\"load;dc=tokyo;host=a\"]");
    ASK(f, "/tags/autoComplete/tags", &r, {"expr", "host=a"}, {"tagPrefix", "d"});
    assert_string_equal(buf_str(&f->text), "[\"dc\"]");
    ASK(f, "/tags/autoComplete/values", &r, {"tag", "dc"}, {"valuePrefix", "p"});
    assert_string_equal(buf_str(&f->text), "[\"paris\"]");
    ASK(f, "/tags/autoComplete/values", &r, {"tag", "dc"}, {"expr", "host!=a"});
    assert_string_equal(buf_str(&f->text), "[\"paris\"]");
    assert_int_equal(ASK(f, "/tags/findSeries", &r, {"expr", "host"}), 400);
    ASK(f, "/tags/autoComplete/tags", &r, {"limit", "-1"}); /* all but the last */
    assert_string_equal(buf_str(&f->text), "[\"dc\", \"host\"]");
    ASK(f, "/tags/autoComplete/tags", &r, {"expr[]", "host=a"}, {"limit", "-1"});
    assert_string_equal(buf_str(&f->text), "[]");
    ASK(f, "/functions/scale", &r, {"x", "y"});
    assert_non_null(strstr(buf_str(&f->text), "\"function\": \"scale(seriesList, factor)\""));
}

static int rising(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Many rows with few different values, infinities among them: what is picked is what a sort would have
 * there. */
static void percentiles_are_those_of_a_sort(void **state)
{
    (void)state;
    static const double values[] = {0, 1, 2, 3, -1.5, INFINITY, -INFINITY};
    uint32_t x = 1;
    for (int round = 0; round < 100000; round++) {
        double v[13], w[13], got;
        size_t n = 1 + (size_t)round % 13;
        for (size_t i = 0; i < n; i++) {
            x = x * 1664525 + 1013904223;
            v[i] = w[i] = values[(x >> 16) % 7];
        }
        qsort(w, n, sizeof *w, rising);
        double percent = x >> 8 & 127, count = (double)n, rank = ceil(percent / 100 * (count + 1));
        double middle = n % 2 ? w[n / 2] : (w[n / 2 - 1] + w[n / 2]) / 2, median = agg_median(v, n);
        assert_true(middle == median || (isnan(middle) && isnan(median)));
        if (agg_percentile(v, n, percent, 0, &got) == 0)
            assert_true(got == w[rank == 0 ? 0 : rank > count ? n - 1 : (size_t)rank - 1]);
        else
            assert_true(rank > count + 1);
    }
}

int main(void)
{
#define WITH_SERIES(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_those_of_a_sort),
        WITH_SERIES(paths_give_their_points),
        WITH_SERIES(several_become_one),
        WITH_SERIES(steps_are_brought_together),
        WITH_SERIES(values_are_changed),
        WITH_SERIES(windows_and_buckets),
        WITH_SERIES(series_are_chosen_and_named),
        WITH_SERIES(stacks_go_on_over_targets),
        WITH_SERIES(errors_say_what_and_where),
        WITH_SERIES(every_error_has_a_caret),
        WITH_SERIES(limits_are_named),
        WITH_SERIES(a_client_that_goes_away_ends_its_query),
        WITH_SERIES(odd_arguments),
        WITH_SERIES(render_formats),
        WITH_SERIES(what_could_not_be_read_is_told),
        WITH_SERIES(nodes_are_found),
        WITH_SERIES(tags_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
