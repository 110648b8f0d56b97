/* The read cache: what is found is never older than what was told as changed before. */
#include "warm/part_cache.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STEP 60000

static struct part_cache_key key_of(uint32_t series, int64_t from)
{
    return (struct part_cache_key){series, STEP, from * 14400000, (from + 6) * 14400000};
}

/* A list of n parts that say `value`. */
static struct part_list *list_of(uint32_t series, uint64_t value, size_t n, size_t size)
{
    struct part_list *l = part_list_new();
    uint8_t *block = calloc(1, size);
    memcpy(block, &value, sizeof value);
    for (size_t i = 0; i < n; i++) {
        struct part p = {
            .key = {series, STEP, (int64_t)i * 14400000, i + 1}, .lo = 1, .data = block, .size = size};
        part_list_add(l, &p, i % 2 ? WARM_FROM_COLD : WARM_FROM_WARM);
    }
    part_list_seal(l);
    free(block);
    return l;
}

static void keep(struct part_cache *c, struct part_cache_key key, uint64_t below, uint64_t value, size_t size)
{
    uint64_t ticket;
    struct part_list *l = part_cache_find(c, &key, below, &ticket);
    assert_null(l);
    l = list_of(key.series, value, 3, size);
    part_cache_add(c, &key, below, ticket, l);
    part_list_unref(l);
}

/* 0: it is not there. */
static uint64_t kept(struct part_cache *c, struct part_cache_key key, uint64_t below)
{
    uint64_t ticket, value = 0;
    unsigned from;
    struct part_list *l = part_cache_find(c, &key, below, &ticket);
    if (!l)
        return 0;
    assert_int_equal(part_list_n(l), 3);
    for (size_t i = 0; i < 3; i++) {
        const struct part *p = part_list_at(l, i, &from);
        assert_int_equal(p->key.series, key.series);
        assert_int_equal(p->key.hi, i + 1);
        assert_int_equal(from, i % 2 ? WARM_FROM_COLD : WARM_FROM_WARM);
        memcpy(&value, p->data, sizeof value);
    }
    part_list_unref(l);
    return value;
}

static void what_was_read_is_found(void **state)
{
    struct part_cache *c = part_cache_new(1 << 20, NULL);
    for (uint32_t s = 1; s <= 200; s++)
        for (int64_t from = 0; from < 3; from++)
            keep(c, key_of(s, from), 1, s * 10 + (uint64_t)from, 50);
    for (uint32_t s = 1; s <= 200; s++)
        for (int64_t from = 0; from < 3; from++)
            assert_int_equal(kept(c, key_of(s, from), 1), s * 10 + (uint64_t)from);
    assert_int_equal(kept(c, key_of(1, 0), 2), 0);
    assert_int_equal(kept(c, key_of(201, 0), 1), 0);
    keep(c, key_of(1, 0), 2, 7, 50); /* in place of the one of before */
    assert_int_equal(kept(c, key_of(1, 0), 2), 7);
    assert_int_equal(kept(c, key_of(1, 0), 1), 0);
    part_cache_free(c);
}

static void what_has_changed_is_forgotten(void **state)
{
    struct part_cache *c = part_cache_new(1 << 20, NULL);
    for (uint32_t s = 1; s <= 100; s++)
        for (int64_t from = 0; from < 3; from++)
            keep(c, key_of(s, from), 1, s, 50);
    part_cache_forget(c, 7, STEP);
    part_cache_forget(c, 8, STEP * 5);
    for (uint32_t s = 1; s <= 100; s++)
        for (int64_t from = 0; from < 3; from++)
            assert_int_equal(kept(c, key_of(s, from), 1), s == 7 ? 0 : s);
    part_cache_forget_before(c, STEP, 14400000 + 1);
    for (int64_t from = 0; from < 3; from++)
        assert_int_equal(kept(c, key_of(9, from), 1), from < 2 ? 0 : 9);
    part_cache_free(c);
}

static void a_read_from_before_a_change_is_not_kept(void **state)
{
    struct part_cache *c = part_cache_new(1 << 20, NULL);
    struct part_cache_key key = key_of(5, 0);
    uint64_t ticket;
    assert_null(part_cache_find(c, &key, 1, &ticket));
    struct part_list *l = list_of(5, 1, 3, 10);
    part_cache_forget(c, 5, STEP);
    part_cache_add(c, &key, 1, ticket, l);
    part_list_unref(l);
    assert_int_equal(kept(c, key, 1), 0);
    part_cache_free(c);
}

static void memory_is_bounded_and_the_used_stay(void **state)
{
    struct part_cache_stats s;
    struct part_cache *c = part_cache_new(1 << 20, NULL);
    keep(c, key_of(1, 0), 1, 1, 300);
    for (uint32_t series = 2; series < 5000; series++) {
        keep(c, key_of(series, 0), 1, series, 300);
        assert_int_equal(kept(c, key_of(1, 0), 1), 1);
    }
    part_cache_get_stats(c, &s);
    assert_true(s.bytes <= 1 << 20 && s.bytes > 1 << 19);
    assert_true(s.evicted > 1000);
    assert_int_equal(s.hits, 4998);
    keep(c, key_of(6000, 0), 1, 1, 100000); /* too large */
    assert_int_equal(kept(c, key_of(6000, 0), 1), 0);
    part_cache_free(c);
    c = part_cache_new(0, NULL);
    keep(c, key_of(1, 0), 1, 1, 10);
    assert_int_equal(kept(c, key_of(1, 0), 1), 0);
    part_cache_free(c);
}

/* --- reads beside changes --- */

#define SERIES 8

struct store {
    struct part_cache *cache;
    _Atomic uint64_t value[SERIES + 1]; /* what a read below finds */
    _Atomic uint64_t told[SERIES + 1];  /* what has been told as changed */
    _Atomic bool done;
};

static void *change(void *arg)
{
    struct store *s = arg;
    for (uint64_t v = 1; v <= 20000; v++) {
        uint32_t series = 1 + (uint32_t)(v % SERIES);
        atomic_store(&s->value[series], v);
        part_cache_forget(s->cache, series, STEP);
        atomic_store(&s->told[series], v);
    }
    atomic_store(&s->done, true);
    return NULL;
}

static void *read_on(void *arg)
{
    struct store *s = arg;
    for (uint32_t i = 0; !atomic_load(&s->done); i++) {
        struct part_cache_key key = key_of(1 + i % SERIES, i % 2);
        uint64_t least = atomic_load(&s->told[key.series]), ticket, got = 0;
        unsigned from;
        struct part_list *l = part_cache_find(s->cache, &key, 1, &ticket);
        bool add = !l;
        if (!l)
            l = list_of(key.series, atomic_load(&s->value[key.series]), 1, 8);
        memcpy(&got, part_list_at(l, 0, &from)->data, sizeof got);
        if (add)
            part_cache_add(s->cache, &key, 1, ticket, l);
        part_list_unref(l);
        assert_true(got >= least);
    }
    return NULL;
}

static void a_change_that_was_told_is_seen_by_every_read(void **state)
{
    struct store s = {.cache = part_cache_new(1 << 16, NULL)};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i ? read_on : change, &s), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    part_cache_free(s.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_read_is_found),
        cmocka_unit_test(what_has_changed_is_forgotten),
        cmocka_unit_test(a_read_from_before_a_change_is_not_kept),
        cmocka_unit_test(memory_is_bounded_and_the_used_stay),
        cmocka_unit_test(a_change_that_was_told_is_seen_by_every_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
