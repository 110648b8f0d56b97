#include "base/hash.h"
#include "catalog/catalog.h"
#include "http/cardinality.h"
#include "server/jobs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct jobs *jobs;
    struct clock_fake clock;
    _Atomic int running, let_go, freed;
};

/* Runs until it is let go or cancelled. */
static int run_wait(struct job *j, void *ctx, void *args, struct err *err)
{
    struct fixture *f = ctx;
    job_progress(j, 25, 100);
    f->running = 1;
    while (!f->let_go && !job_cancelled(j))
        usleep(100);
    f->running = 0;
    struct buf result = BUF_INIT;
    buf_puts(&result, "{\"answer\":42}");
    job_result(j, &result);
    job_message(j, "all %s", "well");
    return job_cancelled(j) ? err_set(err, ERR_CLOSED, "cancelled") : OK;
}

static int run_fail(struct job *j, void *ctx, void *args, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "three \"things\" are damaged");
}

static int parse_number(void *ctx, const json_t *request, void **args, struct err *err)
{
    if (!json_is_integer(json_object_get(request, "number")))
        return err_set(err, ERR_INVALID, "number is missing");
    *args = ctx;
    return OK;
}

static void free_number(void *args)
{
    if (args)
        ((struct fixture *)args)->freed++;
}

static const struct job_kind kinds[] = {
    {"wait", "steps", parse_number, run_wait, free_number},
    {"fail", "steps", NULL, run_fail, NULL},
};

static void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    clock_fake_init(&f->clock, 1763800000000);
    struct jobs_options o = {kinds, 2, f, &f->clock.base};
    struct err err;
    assert_int_equal(jobs_new(&o, &f->jobs, &err), OK);
}

static void fixture_release(struct fixture *f)
{
    jobs_stop(f->jobs);
    jobs_free(f->jobs);
}

static int start(struct fixture *f, const char *body, uint64_t *id)
{
    struct err err = ERR_INIT;
    return jobs_start(f->jobs, body, strlen(body), id, &err);
}

static json_t *show(struct fixture *f, uint64_t id)
{
    struct buf b = BUF_INIT;
    struct err err;
    assert_int_equal(jobs_show(f->jobs, id, &b, &err), OK);
    json_t *j = json_loadb((const char *)b.data, b.len, 0, NULL);
    assert_non_null(j);
    buf_release(&b);
    return j;
}

static bool is_in(struct fixture *f, uint64_t id, const char *state)
{
    json_t *j = show(f, id);
    bool is = !strcmp(json_string_value(json_object_get(j, "state")), state);
    json_decref(j);
    return is;
}

static void wait_for(struct fixture *f, uint64_t id, const char *state)
{
    for (int i = 0; i < 20000 && !is_in(f, id, state); i++)
        usleep(500);
    assert_true(is_in(f, id, state));
}

static int64_t number(struct fixture *f, uint64_t id, const char *key)
{
    json_t *j = show(f, id);
    json_t *v = json_object_get(j, key);
    int64_t n = v ? json_integer_value(v) : -1;
    json_decref(j);
    return n;
}

static void a_job_runs_and_ends(void **state)
{
    struct fixture f;
    uint64_t id;
    fixture_init(&f);
    assert_int_equal(start(&f, "{\"kind\":\"wait\",\"number\":1}", &id), OK);
    while (!f.running)
        usleep(100);
    f.clock.now_ms += 10000;
    assert_true(is_in(&f, id, "running"));
    assert_int_equal(number(&f, id, "done"), 25);
    assert_int_equal(number(&f, id, "leftSeconds"), 30); /* a quarter took ten seconds */
    assert_int_equal(number(&f, id, "endedMs"), -1);
    f.let_go = 1;
    wait_for(&f, id, "done");
    json_t *j = show(&f, id);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "result"), "answer")), 42);
    assert_string_equal(json_string_value(json_object_get(j, "message")), "all well");
    assert_int_equal(json_integer_value(json_object_get(j, "done")), 100);
    json_decref(j);
    fixture_release(&f);
    assert_int_equal(f.freed, 1);
}

static void a_failure_says_why(void **state)
{
    struct fixture f;
    uint64_t id;
    fixture_init(&f);
    assert_int_equal(start(&f, "{\"kind\":\"fail\"}", &id), OK);
    wait_for(&f, id, "failed");
    json_t *j = show(&f, id);
    assert_string_equal(json_string_value(json_object_get(j, "message")), "three \"things\" are damaged");
    json_decref(j);
    fixture_release(&f);
}

static void wrong_requests_are_refused(void **state)
{
    static const char *const wrong[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"kind\":\"nosuch\"}",
                                        "{\"kind\":7}",
                                        "{\"kind\":\"wait\"}",
                                        "{\"kind\":\"wait\",\"kind\":\"fail\"}",
                                        "{"};
    struct fixture f;
    uint64_t id;
    fixture_init(&f);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(start(&f, wrong[i], &id), ERR_INVALID);
    struct buf b = BUF_INIT;
    struct err err;
    assert_int_equal(jobs_show(f.jobs, 1, &b, &err), ERR_NOT_FOUND);
    assert_int_equal(jobs_cancel(f.jobs, 1, &err), ERR_NOT_FOUND);
    jobs_list(f.jobs, &b);
    assert_string_equal(buf_str(&b), "{\"jobs\":[]}");
    buf_release(&b);
    fixture_release(&f);
}

static void the_queue_is_bounded_and_can_be_cancelled(void **state)
{
    struct fixture f;
    uint64_t first, id[JOBS_QUEUED_MAX], more;
    struct err err;
    fixture_init(&f);
    assert_int_equal(start(&f, "{\"kind\":\"wait\",\"number\":1}", &first), OK);
    while (!f.running)
        usleep(100);
    for (int i = 0; i < JOBS_QUEUED_MAX; i++)
        assert_int_equal(start(&f, "{\"kind\":\"wait\",\"number\":1}", &id[i]), OK);
    assert_int_equal(start(&f, "{\"kind\":\"wait\",\"number\":1}", &more), ERR_BUSY);
    assert_int_equal(jobs_cancel(f.jobs, id[3], &err), OK);
    assert_true(is_in(&f, id[3], "cancelled")); /* at once: it had not begun */
    assert_int_equal(start(&f, "{\"kind\":\"wait\",\"number\":1}", &more), OK);
    assert_int_equal(jobs_cancel(f.jobs, first, &err), OK);
    wait_for(&f, first, "cancelled");
    wait_for(&f, id[0], "running"); /* the oldest is next */
    assert_true(is_in(&f, id[1], "queued"));
    jobs_stop(f.jobs);
    assert_true(is_in(&f, id[0], "cancelled"));
    assert_true(is_in(&f, more, "cancelled"));
    assert_int_equal(start(&f, "{\"kind\":\"wait\",\"number\":1}", &more), ERR_CLOSED);
    fixture_release(&f);
}

static void old_jobs_are_forgotten(void **state)
{
    struct fixture f;
    uint64_t id = 0;
    struct err err;
    struct buf b = BUF_INIT;
    fixture_init(&f);
    for (int i = 0; i < JOBS_ENDED_MAX + 5; i++) {
        assert_int_equal(start(&f, "{\"kind\":\"fail\"}", &id), OK);
        wait_for(&f, id, "failed");
    }
    jobs_stop(f.jobs); /* what is to be forgotten is by now */
    assert_int_equal(jobs_show(f.jobs, 1, &b, &err), ERR_NOT_FOUND);
    assert_true(is_in(&f, id, "failed"));
    jobs_list(f.jobs, &b);
    json_t *list = json_loadb((const char *)b.data, b.len, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(list, "jobs")), JOBS_ENDED_MAX);
    json_decref(list);
    buf_release(&b);
    fixture_release(&f);
}

/* --- cardinality --- */

static void define(struct catalog *c, uint32_t id, const char *name)
{
    struct err err;
    assert_int_equal(catalog_define(c, id, 60000, name, strlen(name), &err), OK);
}

static void cardinality_counts_prefixes(void **state)
{
    struct catalog_options co = {.max_series = 0};
    struct catalog *c;
    struct err err;
    struct buf b = BUF_INIT;
    assert_int_equal(catalog_open(&co, &c, &err), OK);
    define(c, 1, "a.b.c");
    define(c, 2, "a.b.d");
    define(c, 3, "a.x");
    define(c, 4, "a.b;host=q.r.s");
    define(c, 5, "z");
    define(c, 6, "b.b.c");
    struct cardinality_options o = {.depth = 2, .top = 2, .max_ms = 1000, .max_prefixes = 100};
    cardinality_json(c, clock_system(), &o, &b);
    assert_string_equal(buf_str(&b), "{\"series\":6,\"counted\":6,\"complete\":true,\"depths\":["
                                     "{\"depth\":1,\"prefixes\":3,\"top\":[{\"prefix\":\"a\",\"series\":4},"
                                     "{\"prefix\":\"b\",\"series\":1}]},"
                                     "{\"depth\":2,\"prefixes\":3,\"top\":[{\"prefix\":\"a.b\",\"series\":3},"
                                     "{\"prefix\":\"a.x\",\"series\":1}]}]}");
    o.max_prefixes = 2;
    buf_clear(&b);
    cardinality_json(c, clock_system(), &o, &b);
    assert_non_null(strstr(buf_str(&b), "\"complete\":false"));
    buf_release(&b);
    catalog_free(c);
}

static void cardinality_of_many_grows_and_ends_in_time(void **state)
{
    struct catalog_options co = {.max_series = 0};
    struct catalog *c;
    struct err err;
    struct buf b = BUF_INIT;
    char name[64];
    assert_int_equal(catalog_open(&co, &c, &err), OK);
    for (uint32_t i = 1; i <= 20000; i++) {
        snprintf(name, sizeof name, "host%u.load", i);
        define(c, i, name);
    }
    struct cardinality_options o = {.depth = 1, .top = 1, .max_ms = 60000, .max_prefixes = 1000000};
    cardinality_json(c, clock_system(), &o, &b);
    assert_non_null(strstr(buf_str(&b), "\"prefixes\":20000"));
    o.max_ms = -1;
    buf_clear(&b);
    cardinality_json(c, clock_system(), &o, &b);
    assert_non_null(strstr(buf_str(&b), "\"complete\":false"));
    buf_release(&b);
    catalog_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_runs_and_ends),
        cmocka_unit_test(a_failure_says_why),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(the_queue_is_bounded_and_can_be_cancelled),
        cmocka_unit_test(old_jobs_are_forgotten),
        cmocka_unit_test(cardinality_counts_prefixes),
        cmocka_unit_test(cardinality_of_many_grows_and_ends_in_time),
    };
    return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
