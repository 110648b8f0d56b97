#include "tier/kv_suite.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct kv *kv;

static void expect(const char *key, const char *text, uint64_t revision)
{
    struct buf value = BUF_INIT;
    struct err err = ERR_INIT;
    uint64_t got;
    if (kv_get(kv, key, &value, &got, &err) != OK)
        fail_msg("%s: %s", key, err.text);
    assert_string_equal(buf_str(&value), text);
    assert_true(got == revision);
    buf_release(&value);
}

static int put(const char *key, const char *text, uint64_t expected, uint64_t *revision)
{
    struct err err = ERR_INIT;
    return kv_put(kv, key, text, expected, revision, &err);
}

static void a_value_is_replaced_only_by_who_knows_it(void **state)
{
    struct buf value = BUF_INIT;
    struct err err = ERR_INIT;
    uint64_t first, second, ignored;
    assert_int_equal(kv_get(kv, "lease.1", &value, &ignored, &err), ERR_NOT_FOUND);
    assert_int_equal(put("lease.1", "x", 7, &ignored), ERR_LOCKED);
    assert_int_equal(put("lease.1", "one", 0, &first), OK);
    expect("lease.1", "one", first);
    assert_int_equal(put("lease.1", "again", 0, &ignored), ERR_LOCKED);
    assert_int_equal(put("lease.1", "two", first, &second), OK);
    assert_true(second != first);
    assert_int_equal(put("lease.1", "late", first, &ignored), ERR_LOCKED);
    expect("lease.1", "two", second);
    assert_int_equal(kv_remove(kv, "lease.1", &err), OK);
    assert_int_equal(kv_get(kv, "lease.1", &value, &ignored, &err), ERR_NOT_FOUND);
    assert_int_equal(put("lease.1", "late", second, &ignored), ERR_LOCKED);
    assert_int_equal(put("lease.1", "anew", 0, &first), OK);
    expect("lease.1", "anew", first);
    assert_int_equal(kv_remove(kv, "lease.1", &err), OK);
    assert_int_equal(kv_remove(kv, "lease.1", &err), OK);
    buf_release(&value);
}

struct names {
    int a, b, other;
};

static int note(void *ctx, const struct kv_entry *e)
{
    struct names *n = ctx;
    assert_string_equal(e->value, "1");
    assert_true(e->age_ms >= 0 && e->age_ms < 60000 && e->revision > 0);
    n->a += strcmp(e->key, "member.a") == 0;
    n->b += strcmp(e->key, "member.b") == 0;
    n->other += strncmp(e->key, "member.", 7) != 0;
    return 0;
}

static int stop(void *ctx, const struct kv_entry *e)
{
    return 42;
}

static void keys_are_listed_by_their_beginning(void **state)
{
    struct names n = {0};
    struct err err = ERR_INIT;
    assert_int_equal(kv_list(kv, "member.", note, &n, &err), OK);
    assert_true(n.a == 0 && n.b == 0 && n.other == 0);
    assert_int_equal(put("member.a", "1", 0, NULL), OK);
    assert_int_equal(put("member.b", "1", 0, NULL), OK);
    assert_int_equal(put("lease.5", "1", 0, NULL), OK);
    assert_int_equal(kv_list(kv, "member.", note, &n, &err), OK);
    assert_true(n.a == 1 && n.b == 1 && n.other == 0);
    assert_int_equal(kv_list(kv, "member.", stop, &n, &err), 42);
    assert_int_equal(kv_remove(kv, "member.a", &err), OK);
    n = (struct names){0};
    assert_int_equal(kv_list(kv, "member.", note, &n, &err), OK);
    assert_true(n.a == 0 && n.b == 1);
}

#define THREADS 4
#define EACH    25

/* Each adds to a number, by reading it and replacing what it read. */
static void *count_up(void *ctx)
{
    for (int i = 0; i < EACH;) {
        struct buf value = BUF_INIT;
        struct err err = ERR_INIT;
        uint64_t revision;
        char text[16];
        int rc = kv_get(kv, "count", &value, &revision, &err);
        if (rc == OK) {
            snprintf(text, sizeof text, "%d", atoi(buf_str(&value)) + 1);
            rc = kv_put(kv, "count", text, revision, NULL, &err);
        }
        buf_release(&value);
        i += rc == OK;
    }
    return NULL;
}

static void nothing_is_overwritten_that_was_not_read(void **state)
{
    pthread_t t[THREADS];
    struct buf value = BUF_INIT;
    struct err err = ERR_INIT;
    uint64_t revision;
    assert_int_equal(put("count", "0", 0, NULL), OK);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, count_up, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(kv_get(kv, "count", &value, &revision, &err), OK);
    assert_int_equal(atoi(buf_str(&value)), THREADS * EACH);
    buf_release(&value);
}

int kv_suite_run(const char *name, struct kv *store)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_value_is_replaced_only_by_who_knows_it),
        cmocka_unit_test(keys_are_listed_by_their_beginning),
        cmocka_unit_test(nothing_is_overwritten_that_was_not_read),
    };
    kv = store;
    return cmocka_run_group_tests_name(name, cases, NULL, NULL);
}
