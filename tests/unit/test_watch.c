#include "base/mem.h"
#include "watch/own_series.h"
#include "watch/probe.h"
#include "watch/stages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void names_say_node_metric_and_labels(void **state)
{
    static const struct {
        const char *metric, *labels, *want;
    } list[] = {
        {"carat_hot_bytes", "", "carat.n1.hot_bytes"},
        {"carat_points_received_total", "door=\"udp\"", "carat.n1.points_received.udp"},
        {"carat_x_seconds", "a=\"1\",b=\"two.three four\"", "carat.n1.x.1.two_three_four"},
        {"other", "a=\"\"", "carat.n1.other._"},
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        struct buf b = BUF_INIT;
        own_series_name("n1", list[i].metric, list[i].labels, &b);
        assert_string_equal(buf_str(&b), list[i].want);
        buf_release(&b);
    }
}

/* NaN if the round had no such series. */
static double value_of(const struct sample_batch *b, const char *name)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->v[i].name_len == strlen(name) && !memcmp(b->v[i].name, name, b->v[i].name_len))
            return b->v[i].value;
    return __builtin_nan("");
}

static void rounds_tell_what_grew(void **state)
{
    struct metrics *m = metrics_new();
    struct own_series *o = own_series_new(m, "n");
    struct sample_batch b = SAMPLE_BATCH_INIT;
    struct counter *c = metrics_counter(m, "carat_b_total", NULL, "");
    struct gauge *g = metrics_gauge(m, "carat_c", NULL, "");
    struct histogram *h = metrics_histogram(m, "carat_d_seconds", NULL, "");
    counter_add(c, 100);
    gauge_set(g, -5);
    own_series_collect(o, 1000, 10000, &b);
    assert_int_equal(b.n, 1); /* what grows has no history yet */
    assert_true(value_of(&b, "carat.n.c") == -5);
    assert_int_equal(b.v[0].ts_ms, 1000);

    counter_add(metrics_counter(m, "carat_a_total", NULL, ""), 7); /* sorts before all others */
    counter_add(c, 30);
    for (int i = 0; i < 98; i++)
        histogram_observe_us(h, 900);
    histogram_observe_us(h, 40000);
    histogram_observe_us(h, 40000);
    sample_batch_clear(&b);
    own_series_collect(o, 31000, 40000, &b); /* half a minute later */
    assert_true(value_of(&b, "carat.n.b.per_min") == 60);
    assert_true(value_of(&b, "carat.n.a.per_min") != value_of(&b, "carat.n.a.per_min")); /* new */
    assert_true(value_of(&b, "carat.n.d.per_min") == 200);
    assert_true(value_of(&b, "carat.n.d.p50_ms") == 1.024);
    assert_true(value_of(&b, "carat.n.d.p99_ms") == 65.536);
    assert_true(value_of(&b, "carat.n.d.mean_ms") == 168200 / 1e3 / 100);
    assert_true(value_of(&b, "carat.n.d.busy_ratio") == 168200 / 1e6 / 30);

    sample_batch_clear(&b);
    own_series_collect(o, 61000, 70000, &b);
    assert_true(value_of(&b, "carat.n.a.per_min") == 0);
    assert_true(value_of(&b, "carat.n.b.per_min") == 0);
    sample_batch_release(&b);
    own_series_free(o);
    metrics_free(m);
}

static void threads_belong_to_stages(void **state)
{
    assert_string_equal(stage_of_thread("carat-lane"), "writer");
    assert_string_equal(stage_of_thread("MHD-single"), "http");
    assert_string_equal(stage_of_thread("carat-accept"), "http");
    assert_string_equal(stage_of_thread("rocksdb:low"), "rocksdb");
    assert_string_equal(stage_of_thread("something"), "other");
}

static void put_task(const char *dir, const char *id, const char *name, const char *schedstat)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", dir, id);
    mkdir(path, 0700);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", dir, id, i ? "schedstat" : "comm");
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fprintf(f, "%s\n", i ? schedstat : name);
        fclose(f);
    }
}

static void remove_task(const char *dir, const char *id)
{
    char path[300];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s%s", dir, id, i == 0 ? "/comm" : i == 1 ? "/schedstat" : "");
        remove(path);
    }
}

static double shown(struct metrics *m, const char *name)
{
    struct buf b = BUF_INIT;
    metrics_render(m, &b);
    const char *at = strstr(buf_str(&b), name);
    assert_non_null(at);
    double v = strtod(at + strlen(name), NULL);
    buf_release(&b);
    return v;
}

static void stage_times_never_go_back(void **state)
{
    char dir[] = "/tmp/carat-stages-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct metrics *m = metrics_new();
    struct histogram *busy = metrics_histogram(m, "carat_writer_apply_seconds", NULL, "");
    struct stages *s = stages_new(m);
    put_task(dir, "10", "carat-lane", "2000000000 500000000 7");
    put_task(dir, "11", "carat-lane", "1000000000 0 7");
    put_task(dir, "12", "broken", "what is this");
    stages_look(s, dir);
    assert_true(shown(m, "carat_stage_cpu_seconds_total{stage=\"writer\"}") == 3);
    assert_true(shown(m, "carat_stage_core_wait_seconds_total{stage=\"writer\"}") == 0.5);

    remove_task(dir, "10"); /* it ended: what it used was used */
    put_task(dir, "11", "carat-lane", "1500000000 0 8");
    histogram_observe_us(busy, 2000000);
    stages_look(s, dir);
    assert_true(shown(m, "carat_stage_cpu_seconds_total{stage=\"writer\"}") == 3.5);
    assert_true(shown(m, "carat_stage_cpu_ratio{stage=\"writer\"}") == 0.25); /* half a second of two */

    put_task(dir, "10", "carat-query", "100000000 0 1"); /* its number is used again */
    put_task(dir, "11", "carat-mover", "200000000 0 1");
    stages_look(s, dir);
    assert_true(shown(m, "carat_stage_cpu_seconds_total{stage=\"writer\"}") == 3.5);
    assert_true(shown(m, "carat_stage_cpu_seconds_total{stage=\"query\"}") == 0.1);
    assert_true(shown(m, "carat_stage_cpu_seconds_total{stage=\"mover\"}") == 0.2);
    for (int i = 10; i < 13; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        remove_task(dir, id);
    }
    assert_int_equal(rmdir(dir), 0);
    metrics_free(m);
    stages_free(s);
}

static void known_points_are_whole_numbers_that_differ(void **state)
{
    double last = -1;
    for (int64_t day = 0; day < 1000; day++) {
        double v = probe_far_value(day * 86400);
        assert_true(v >= 0 && v < 0x1p52 && v == (double)(int64_t)v && v != last);
        assert_true(v == probe_far_value(day * 86400));
        last = v;
    }
}

static void bad_probe_options_are_named(void **state)
{
    struct probe *p;
    struct probe_options good = {.url = "http://127.0.0.1:1", .node = "a", .timeout_ms = 10};
    struct probe_options o = good;
    struct err err = ERR_INIT;
    o.url = "ftp://x";
    assert_int_equal(probe_new(&o, &p, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "URL"));
    o = good;
    o.node = "a.b";
    assert_int_equal(probe_new(&o, &p, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "node"));
    o = good;
    o.api_key = "secret\nkey";
    assert_int_equal(probe_new(&o, &p, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "key"));
    assert_null(strstr(err.text, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_say_node_metric_and_labels),
        cmocka_unit_test(rounds_tell_what_grew),
        cmocka_unit_test(threads_belong_to_stages),
        cmocka_unit_test(stage_times_never_go_back),
        cmocka_unit_test(known_points_are_whole_numbers_that_differ),
        cmocka_unit_test(bad_probe_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
