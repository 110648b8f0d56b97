/* What every object store must do, and the cold tier in one behind a real service.
 *
 * test_object mem | s3: the service's endpoint is in CARAT_S3, its keys where AWS has them,
 * CARAT_S3_CONDITIONAL tells whether it knows conditional puts. */
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cold/cold_objects.h"
#include "cold/object_mem.h"
#include "cold/object_s3.h"
#include "model/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MINUTE 60000u
#define SPAN   14400000ll

struct env {
    bool s3, conditional;
    char prefix[64]; /* a place of its own for each test */
    struct object_store *store;
    struct object_bucket *bucket;
    struct aws_credentials *credentials;
    struct aws_client *client;
    struct metrics *metrics;
};

static bool use_s3;

static void connect_s3(struct env *e, const char *endpoint)
{
    struct err err = ERR_INIT;
    e->metrics = metrics_new();
    e->credentials = aws_credentials_new(&(struct aws_credentials_options){.clock = clock_system()});
    struct aws_client_options o = {.service = "s3",
                                   .region = "us-east-1",
                                   .endpoint = endpoint,
                                   .credentials = e->credentials,
                                   .metrics = e->metrics,
                                   .attempt_ms = getenv("CARAT_FAULTS") ? 3000 : 0,
                                   .timeout_ms = 60000};
    if (aws_client_new(&o, &e->client, &err) < 0)
        fail_msg("%s", err.text);
}

static struct object_store *new_store(struct env *e)
{
    if (!e->s3)
        return object_mem_new(e->bucket, &(struct object_mem_options){5 << 20, e->conditional, false});
    return object_s3_new(
        &(struct object_s3_options){.client = e->client, .bucket = "cold", .part_bytes = 5 << 20});
}

static int setup(void **state)
{
    static int number;
    struct env *e = xcalloc(1, sizeof *e);
    struct err err = ERR_INIT;
    e->s3 = use_s3;
    snprintf(e->prefix, sizeof e->prefix, "test %d/", ++number);
    if (e->s3) {
        const char *conditional = getenv("CARAT_S3_CONDITIONAL");
        e->conditional = conditional && *conditional == '1';
        connect_s3(e, getenv("CARAT_S3"));
    } else {
        e->bucket = object_bucket_new();
        e->conditional = number % 2;
    }
    e->store = new_store(e);
    if (e->s3 && object_s3_make_bucket(e->store, &err) < 0)
        fail_msg("%s", err.text);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct env *e = *state;
    if (e->store)
        e->store->ops->free(e->store);
    aws_client_free(e->client);
    aws_credentials_free(e->credentials);
    metrics_free(e->metrics);
    if (e->bucket)
        object_bucket_free(e->bucket);
    free(e);
    return 0;
}

/* --- objects --- */

static const char *named(struct env *e, const char *name)
{
    static char full[4][200];
    static int at;
    at = (at + 1) % 4;
    snprintf(full[at], sizeof full[at], "%s%s", e->prefix, name);
    return full[at];
}

static void must(int rc, const struct err *err)
{
    if (rc != OK)
        fail_msg("%s", err->text);
}

static void put(struct env *e, const char *name, const char *text)
{
    struct err err = ERR_INIT;
    must(e->store->ops->put(e->store, named(e, name), text, strlen(text), OBJECT_PUT_ANY, &err), &err);
}

static void check_get(struct env *e, const char *name, uint64_t from, size_t n, const char *want,
                      uint64_t want_size)
{
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    uint64_t size = 99;
    buf_puts(&out, "+");
    must(e->store->ops->get(e->store, named(e, name), from, n, &out, &size, &err), &err);
    assert_string_equal(buf_str(&out) + 1, want);
    assert_int_equal(size, want_size);
    buf_release(&out);
}

static void check_tail(struct env *e, const char *name, size_t n, const char *want, uint64_t want_size)
{
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    uint64_t size = 99;
    must(e->store->ops->get_tail(e->store, named(e, name), n, &out, &size, &err), &err);
    assert_string_equal(buf_str(&out), want);
    assert_int_equal(size, want_size);
    buf_release(&out);
}

static void what_was_put_is_got(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    struct buf out = BUF_INIT;
    put(e, "a b+c=d", "0123456789");
    check_get(e, "a b+c=d", 0, 4, "0123", 10);
    check_get(e, "a b+c=d", 3, 4, "3456", 10);
    check_get(e, "a b+c=d", 8, 4, "89", 10);
    check_get(e, "a b+c=d", 0, 1000, "0123456789", 10);
    check_tail(e, "a b+c=d", 3, "789", 10);
    check_tail(e, "a b+c=d", 100, "0123456789", 10);
    put(e, "a b+c=d", "other");
    check_get(e, "a b+c=d", 0, 1000, "other", 5);
    assert_int_equal(e->store->ops->get(e->store, named(e, "none"), 0, 1, &out, NULL, &err), ERR_NOT_FOUND);
    assert_int_equal(e->store->ops->get_tail(e->store, named(e, "none"), 1, &out, NULL, &err), ERR_NOT_FOUND);
    assert_int_equal(out.len, 0);
    must(e->store->ops->remove(e->store, named(e, "a b+c=d"), &err), &err);
    must(e->store->ops->remove(e->store, named(e, "a b+c=d"), &err), &err);
    assert_int_equal(e->store->ops->get(e->store, named(e, "a b+c=d"), 0, 1, &out, NULL, &err),
                     ERR_NOT_FOUND);
    buf_release(&out);
}

static void a_condition_is_kept_or_refused(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    const struct object_store_ops *ops = e->store->ops;
    int first = ops->put(e->store, named(e, "x"), "1", 1, OBJECT_PUT_NEW, &err);
    assert_int_equal(first, e->conditional ? OK : ERR_UNSUPPORTED);
    put(e, "x", "1");
    int second = ops->put(e->store, named(e, "x"), "2", 1, OBJECT_PUT_NEW, &err);
    assert_int_equal(second, e->conditional ? ERR_LOCKED : ERR_UNSUPPORTED);
    check_get(e, "x", 0, 9, "1", 1);
}

static int print_name(void *ctx, const struct object_info *o)
{
    assert_true(o->age_ms > -60000 && o->age_ms < 600000);
    buf_printf(ctx, "%s:%llu ", strrchr(o->name, '/') + 1, (unsigned long long)o->size);
    return !strcmp(strrchr(o->name, '/'), "/stop") ? 7 : 0;
}

static void check_list(struct env *e, const char *prefix, const char *after, int rc, const char *want)
{
    struct buf got = BUF_INIT;
    struct err err = ERR_INIT;
    int have = e->store->ops->list(e->store, named(e, prefix), after ? named(e, after) : NULL, print_name,
                                   &got, &err);
    if (have != rc)
        fail_msg("list: %d %s", have, err.text);
    assert_string_equal(buf_str(&got), want);
    buf_release(&got);
}

static void names_are_listed_in_order(void **state)
{
    struct env *e = *state;
    put(e, "d/b", "22");
    put(e, "d/a+&<", "1");
    put(e, "d/c", "333");
    put(e, "e/x", "4");
    check_list(e, "d/", NULL, OK, "a+&<:1 b:2 c:3 ");
    check_list(e, "d/", "d/a+&<", OK, "b:2 c:3 ");
    check_list(e, "d/", "d/c", OK, "");
    check_list(e, "none/", NULL, OK, "");
    put(e, "f/a", "");
    put(e, "f/stop", "");
    put(e, "f/z", "");
    check_list(e, "f/", NULL, 7, "a:0 stop:0 ");
}

static void fill(uint8_t *p, size_t n, uint32_t x)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((x = x * 1103515245 + 12345) >> 16);
}

static void large_objects_go_up_in_parts(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    const struct object_store_ops *ops = e->store->ops;
    size_t part = e->store->part_bytes, n = 2 * part + 1000;
    uint8_t *bytes = xmalloc(n);
    struct object_upload *u;
    struct buf out = BUF_INIT;
    uint64_t size;
    fill(bytes, n, 1);
    must(ops->upload_begin(e->store, named(e, "large"), &u, &err), &err);
    must(ops->upload_part(u, bytes, part, &err), &err);
    assert_int_equal(ops->get(e->store, named(e, "large"), 0, 1, &out, NULL, &err), ERR_NOT_FOUND);
    must(ops->upload_part(u, bytes + part, part, &err), &err);
    must(ops->upload_part(u, bytes + 2 * part, n - 2 * part, &err), &err);
    assert_int_equal(ops->get(e->store, named(e, "large"), 0, 1, &out, NULL, &err), ERR_NOT_FOUND);
    check_list(e, "", NULL, OK, ""); /* its parts are nowhere to be seen */
    must(ops->upload_complete(u, &err), &err);
    ops->upload_end(u);
    must(ops->get(e->store, named(e, "large"), 0, n + 5, &out, &size, &err), &err);
    assert_int_equal(size, n);
    assert_int_equal(out.len, n);
    assert_memory_equal(out.data, bytes, n);
    buf_clear(&out);
    must(ops->get(e->store, named(e, "large"), part - 10, 20, &out, &size, &err), &err);
    assert_memory_equal(out.data, bytes + part - 10, 20);
    buf_release(&out);
    free(bytes);
}

static void an_upload_can_be_given_up(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    const struct object_store_ops *ops = e->store->ops;
    uint8_t *bytes = xcalloc(1, e->store->part_bytes);
    struct object_upload *u, *v;
    struct buf out = BUF_INIT;
    size_t dropped;
    must(ops->upload_begin(e->store, named(e, "p/gone"), &u, &err), &err);
    must(ops->upload_part(u, bytes, e->store->part_bytes, &err), &err);
    ops->upload_end(u);
    must(ops->upload_begin(e->store, named(e, "p/old"), &u, &err), &err);
    must(ops->upload_begin(e->store, named(e, "q/other"), &v, &err), &err);
    must(ops->drop_uploads(e->store, named(e, "p/"), 3600000, &dropped, &err), &err);
    assert_int_equal(dropped, 0); /* it is young */
    must(ops->drop_uploads(e->store, named(e, "p/"), -60000, &dropped, &err), &err);
    assert_int_equal(dropped, 1);
    assert_true(ops->upload_part(u, bytes, e->store->part_bytes, &err) < 0 ||
                ops->upload_complete(u, &err) < 0);
    ops->upload_end(u);
    ops->upload_end(v);
    assert_int_equal(ops->get(e->store, named(e, "p/old"), 0, 1, &out, NULL, &err), ERR_NOT_FOUND);
    must(ops->drop_uploads(e->store, named(e, ""), -60000, &dropped, &err), &err);
    assert_int_equal(dropped, 0);
    buf_release(&out);
    free(bytes);
}

/* --- the cold tier on it --- */

static struct cold *open_cold(struct env *e)
{
    struct cold *c = NULL;
    struct err err = ERR_INIT;
    struct cold_objects_options o = {.cold = {.pack_bytes = 12 << 20},
                                     .objects = new_store(e),
                                     .prefix = e->prefix,
                                     .identity = "me",
                                     .linger_ms = -1,
                                     .clock = clock_system()};
    must(cold_objects_open(&o, &c, &err), &err);
    return c;
}

static int add(struct cold *c, uint32_t series, int64_t windows, size_t block_bytes, struct err *err)
{
    struct cold_add *a;
    uint8_t *block = xmalloc(block_bytes);
    int rc = cold_add_begin(c, MINUTE, &a, err);
    for (uint32_t s = 1; s <= series && rc == OK; s++)
        for (int64_t w = 0; w < windows && rc == OK; w++) {
            fill(block, block_bytes, s * 1000 + (uint32_t)w);
            block[0] = '`';
            block[1] = (uint8_t)s;
            block[2] = (uint8_t)w;
            struct part p = {{s, MINUTE, w * SPAN, 9}, 1, block, block_bytes};
            rc = cold_add_part(a, &p, err);
        }
    free(block);
    if (rc < 0)
        cold_add_abort(a);
    return rc < 0 ? rc : cold_add_commit(a, err);
}

static int count_part(void *ctx, const struct part *p)
{
    assert_int_equal(p->data[1], p->key.series);
    ++*(unsigned *)ctx;
    return 0;
}

static void the_cold_tier_lives_in_it(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    struct cold *c = open_cold(e);
    struct cold_stats st;
    must(add(c, 3, 4, 300, &err), &err);
    must(add(c, 60, 10, 30000, &err), &err); /* 18 MB: two packs, the first in three parts */
    for (int again = 0; again < 2; again++) {
        unsigned parts = 0;
        must(cold_read(c, 2, MINUTE, 0, INT64_MAX, count_part, &parts, &err), &err);
        assert_int_equal(parts, 14);
        cold_get_stats(c, &st);
        assert_int_equal(st.packs, 3);
        cold_free(c);
        c = open_cold(e);
    }
    struct cold_verify_ctx v = {0};
    must(cold_verify(c, &v, &err), &err);
    size_t merged;
    must(cold_compact(c, MINUTE, 2, NULL, NULL, &merged, &err), &err);
    must(cold_expire(c, MINUTE, INT64_MAX, &err), &err);
    cold_get_stats(c, &st);
    assert_int_equal(st.packs, 0);
    unsigned parts = 0;
    must(cold_read(c, 2, MINUTE, 0, INT64_MAX, count_part, &parts, &err), &err);
    assert_int_equal(parts, 0);
    cold_free(c);
}

static void two_movers(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    struct cold *a = open_cold(e), *b = open_cold(e);
    unsigned parts = 0;
    must(add(a, 2, 2, 300, &err), &err);
    int rc = add(b, 2, 3, 300, &err);
    assert_int_equal(rc, ERR_BUSY); /* with and without conditions: here nobody is quick enough to race */
    must(add(b, 2, 3, 300, &err), &err);
    must(cold_read(b, 1, MINUTE, 0, INT64_MAX, count_part, &parts, &err), &err);
    assert_int_equal(parts, 5);
    cold_free(a);
    cold_free(b);
}

/* --- s3 only --- */

static void a_wrong_secret_is_told_without_it(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    char *secret = strdup(getenv("AWS_SECRET_ACCESS_KEY"));
    setenv("AWS_SECRET_ACCESS_KEY", "wrongWRONGwrong", 1);
    aws_credentials_refused(e->credentials);
    struct buf out = BUF_INIT;
    int rc = e->store->ops->get(e->store, named(e, "x"), 0, 1, &out, NULL, &err);
    setenv("AWS_SECRET_ACCESS_KEY", secret, 1);
    assert_int_equal(rc, ERR_INVALID);
    assert_non_null(strstr(err.text, "SignatureDoesNotMatch"));
    assert_null(strstr(err.text, "wrongWRONG"));
    free(secret);
    buf_release(&out);
}

static void the_bucket_can_be_in_the_host(void **state)
{
    struct env *e = *state, v = {.s3 = true};
    struct buf endpoint = BUF_INIT, local = BUF_INIT;
    struct err err = ERR_INIT;
    const char *port = strrchr(getenv("CARAT_S3"), ':');
    buf_printf(&local, "http://localhost%s", port);
    must(object_s3_host_endpoint(buf_str(&local), "us-east-1", "cold", &endpoint, &err), &err);
    connect_s3(&v, buf_str(&endpoint));
    v.store = object_s3_new(&(struct object_s3_options){.client = v.client});
    snprintf(v.prefix, sizeof v.prefix, "%s", e->prefix);
    put(&v, "a key", "in the host");
    check_get(e, "a key", 0, 100, "in the host", 11);
    check_list(&v, "a", NULL, OK, "a key:11 ");
    v.store->ops->free(v.store);
    aws_client_free(v.client);
    aws_credentials_free(v.credentials);
    metrics_free(v.metrics);
    buf_release(&endpoint);
    buf_release(&local);
}

#define CASE(f)                                                                                              \
    {                                                                                                        \
#f, f, setup, teardown, NULL                                                                         \
    }

int main(int argc, char **argv)
{
    log_set_level(LOG_ERROR);
    use_s3 = argc == 2 && !strcmp(argv[1], "s3");
    const struct CMUnitTest tests[] = {
        CASE(what_was_put_is_got),
        CASE(a_condition_is_kept_or_refused),
        CASE(names_are_listed_in_order),
        CASE(large_objects_go_up_in_parts),
        CASE(an_upload_can_be_given_up),
        CASE(the_cold_tier_lives_in_it),
        CASE(two_movers),
        CASE(a_wrong_secret_is_told_without_it),
        CASE(the_bucket_can_be_in_the_host),
    };
    return _cmocka_run_group_tests(use_s3 ? "s3" : "mem", tests, ARRAY_LEN(tests) - (use_s3 ? 0 : 2), NULL,
                                   NULL);
}
