/* What protects the server: quotas of series, and the gate that closes while the disk is nearly full. */
#include "base/hash.h"
#include "catalog/catalog.h"
#include "catalog/catalog_store.h"
#include "gate_stream.h"
#include "ingest/sink.h"
#include "model/quota.h"
#include "server/disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct quota *quotas(const char *text)
{
    struct quota *q;
    struct err err = ERR_INIT;
    assert_int_equal(quota_parse(text, "quotas", &q, &err), OK);
    return q;
}

static bool admit(struct quota *q, const char *name)
{
    return quota_admit(q, name, strlen(name), false, NULL);
}

static uint64_t count_of(struct quota *q, const char *prefix)
{
    const char *p;
    uint64_t max, count;
    for (size_t i = 0; quota_rule(q, i, &p, &max, &count) == 0; i++)
        if (!strcmp(p, prefix))
            return count;
    return UINT64_MAX;
}

static void a_rule_covers_whole_levels(void **state)
{
    struct quota *q = quotas("# comment\n\n  apps 2 \napps.web\t1\r\nother 0");
    assert_true(admit(q, "apps2.load"));
    assert_true(admit(q, "app"));
    assert_int_equal(count_of(q, "apps"), 0);
    assert_true(admit(q, "apps.web.load"));
    assert_int_equal(count_of(q, "apps"), 1);
    assert_int_equal(count_of(q, "apps.web"), 1);
    const char *prefix = NULL;
    assert_false(quota_admit(q, "apps.web.free", 13, false, &prefix));
    assert_string_equal(prefix, "apps.web");
    assert_int_equal(count_of(q, "apps"), 1); /* refused by one rule: counted by none */
    assert_true(admit(q, "apps;env=x.y"));
    assert_false(admit(q, "apps"));
    assert_false(admit(q, "other.a"));
    assert_true(quota_admit(q, "other.a", 7, true, NULL));
    assert_int_equal(count_of(q, "other"), 1);
    quota_free(q);
}

static void wrong_rules_are_named(void **state)
{
    static const char *const wrong[] = {"apps",
                                        "apps x",
                                        "apps 1 2",
                                        "a..b 1",
                                        ".a 1",
                                        "apps;a=b 1",
                                        "a -1",
                                        "a 1\nb 1\na 2\n",
                                        "a 99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct quota *q;
        struct err err = ERR_INIT;
        assert_int_equal(quota_parse(wrong[i], "the-file", &q, &err), ERR_INVALID);
        assert_non_null(strstr(err.text, "the-file"));
    }
    struct quota *q;
    struct err err = ERR_INIT;
    assert_int_equal(quota_parse("a 1\n\nb\n", "the-file", &q, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "the-file:3"));
    assert_int_equal(quota_load("/nowhere/quotas", &q, &err), ERR_NOT_FOUND);
}

/* --- with the catalog and the sink --- */

static bool on_admit(void *ctx, const char *name, size_t len, bool known)
{
    return quota_admit(ctx, name, len, known, NULL);
}

struct gated {
    _Atomic int status;
    struct clock_fake clock;
    struct metrics *metrics;
    struct quota *quota;
    struct catalog *catalog;
    struct gate_stream *gate;
    struct sink *sink;
    struct sink_session *session;
    struct sample_batch batch;
    int told;
    struct sink_result result;
};

static int on_accepting(void *ctx, struct err *why)
{
    struct gated *t = ctx;
    return t->status ? err_set(why, t->status, "closed") : OK;
}

static void gated_init(struct gated *t, const char *rules)
{
    *t = (struct gated){.metrics = metrics_new(), .quota = quotas(rules), .gate = gate_new(1, 1 << 20)};
    t->batch = (struct sample_batch)SAMPLE_BATCH_INIT;
    clock_fake_init(&t->clock, INT64_C(1763800000000));
    struct err err;
    struct catalog_options co = {.admit = on_admit, .admit_ctx = t->quota};
    assert_int_equal(catalog_open(&co, &t->catalog, &err), OK);
    struct sink_options so = {.catalog = t->catalog,
                              .stream = &t->gate->base,
                              .clock = &t->clock.base,
                              .metrics = t->metrics,
                              .accepting = on_accepting,
                              .accepting_ctx = t};
    t->sink = sink_new(&so);
    t->session = sink_session_new(t->sink, "test");
}

static void gated_release(struct gated *t)
{
    gate_tell(t->gate, t->gate->n - t->gate->told, OK);
    sample_batch_release(&t->batch);
    sink_session_free(t->session);
    gate_free(t->gate);
    sink_free(t->sink);
    catalog_free(t->catalog);
    quota_free(t->quota);
    metrics_free(t->metrics);
}

static void on_done(void *ctx, const struct sink_result *r)
{
    struct gated *t = ctx;
    t->told++;
    t->result = *r;
}

static void submit(struct gated *t, const char *name)
{
    uint32_t len = (uint32_t)strlen(name);
    sample_batch_clear(&t->batch);
    *sample_batch_add(&t->batch) =
        (struct sample){name, len, hash_bytes(name, len), clock_wall_ms(&t->clock.base), 1};
    sink_submit(t->session, &t->batch, SINK_REFUSE, false, on_done, t);
}

static uint64_t rejected(struct gated *t, enum reject r)
{
    char labels[64];
    snprintf(labels, sizeof labels, "reason=\"%s\"", reject_name(r));
    return counter_get(metrics_counter(t->metrics, "carat_points_rejected_total", labels, ""));
}

static void new_series_over_the_quota_are_refused(void **state)
{
    struct gated t;
    gated_init(&t, "a 1");
    submit(&t, "a.one");
    submit(&t, "a.two"); /* nothing of it is stored, so it is told at once */
    assert_int_equal(t.told, 1);
    assert_int_equal(t.result.first_reason, REJECT_SERIES_QUOTA);
    assert_int_equal(rejected(&t, REJECT_SERIES_QUOTA), 1);
    assert_int_equal(catalog_lookup(t.catalog, "a.two", 5).id, 0);
    submit(&t, "a.one"); /* what exists is not refused */
    assert_int_equal(rejected(&t, REJECT_SERIES_QUOTA), 1);
    struct err err;
    assert_int_equal(catalog_define(t.catalog, 9, 60000, "a.three", 7, &err), OK);
    assert_int_equal(catalog_define(t.catalog, 9, 60000, "a.three", 7, &err), OK);
    assert_int_equal(count_of(t.quota, "a"), 2); /* each name once */
    gated_release(&t);
}

static void quotas_are_recounted_from_the_store(void **state)
{
    struct quota *q = quotas("a 3");
    struct catalog_store *store = catalog_store_mem_new();
    struct catalog_row rows[] = {{1, 60000, "a.x", 3}, {2, 60000, "a.y", 3}, {3, 60000, "b", 1}};
    struct err err;
    assert_int_equal(store->ops->add(store, rows, 3, &err), OK);
    struct catalog_options co = {.store = store, .admit = on_admit, .admit_ctx = q};
    struct catalog *c;
    assert_int_equal(catalog_open(&co, &c, &err), OK);
    assert_int_equal(count_of(q, "a"), 2);
    catalog_free(c);
    quota_free(q);
}

static void nothing_is_taken_while_the_gate_is_closed(void **state)
{
    struct gated t;
    gated_init(&t, "");
    t.status = ERR_NO_SPACE;
    submit(&t, "a.one");
    assert_int_equal(t.told, 1);
    assert_int_equal(t.result.status, ERR_NO_SPACE);
    assert_string_equal(t.result.err.text, "closed");
    assert_int_equal(t.result.accepted, 0);
    assert_int_equal(rejected(&t, REJECT_UNAVAILABLE), 1);
    assert_int_equal(catalog_count(t.catalog), 0);
    t.status = OK;
    submit(&t, "a.one");
    assert_int_equal(catalog_count(t.catalog), 1);
    gated_release(&t);
}

/* --- the disk --- */

struct fake_fs {
    struct fs base;
    _Atomic uint64_t free; /* the watcher's thread looks too */
};
#define BROKEN UINT64_MAX

static int fake_free_bytes(struct fs *f, const char *path, uint64_t *out, struct err *err)
{
    struct fake_fs *fake = (struct fake_fs *)f;
    *out = fake->free;
    return *out == BROKEN ? err_set(err, ERR_IO, "broken") : OK;
}

static void ingest_stops_below_the_mark_and_goes_on_above_it(void **state)
{
    static const struct fs_ops ops = {.free_bytes = fake_free_bytes};
    struct fake_fs fs = {{&ops}, 0};
    struct metrics *m = metrics_new();
    struct disk_watch_options o = {&fs.base, "/data", 1000, m};
    struct disk_watch *w;
    struct err err = ERR_INIT;
    static const struct {
        uint64_t free;
        int accepting;
    } looks[] = {{1000, OK}, {999, ERR_NO_SPACE}, {1249, ERR_NO_SPACE}, {BROKEN, ERR_NO_SPACE},
                 {1250, OK}, {1000, OK},          {BROKEN, OK},         {0, ERR_NO_SPACE}};
    assert_int_equal(disk_watch_start(&o, &w, &err), OK);
    assert_int_equal(disk_accepting(w, &err), ERR_NO_SPACE); /* known before the first point */
    fs.free = 5000;
    disk_watch_look(w);
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        fs.free = looks[i].free;
        disk_watch_look(w);
        assert_int_equal(disk_accepting(w, &err), looks[i].accepting);
        assert_int_equal(metrics_gauge(m, "carat_ingest_stopped", NULL, "")->value, looks[i].accepting != OK);
    }
    disk_watch_stop(w);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_covers_whole_levels),
        cmocka_unit_test(wrong_rules_are_named),
        cmocka_unit_test(new_series_over_the_quota_are_refused),
        cmocka_unit_test(quotas_are_recounted_from_the_store),
        cmocka_unit_test(nothing_is_taken_while_the_gate_is_closed),
        cmocka_unit_test(ingest_stops_below_the_mark_and_goes_on_above_it),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
