#include "base/hash.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/catalog_store.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* CARAT_TEST_SEED repeats a run. */
static void seed_random(void)
{
    const char *given = getenv("CARAT_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("# seed %u\n", seed);
    srand(seed);
}

static struct catalog *open_catalog(struct catalog_store *store, uint32_t max_series, catalog_step_fn step)
{
    struct catalog_options o = {.store = store, .max_series = max_series, .step = step};
    struct catalog *c;
    struct err err = ERR_INIT;
    if (catalog_open(&o, &c, &err) < 0)
        fail_msg("%s", err.text);
    return c;
}

static struct sample sample(const char *name)
{
    return (struct sample){
        .name = name, .name_len = (uint32_t)strlen(name), .hash = hash_bytes(name, strlen(name))};
}

static struct catalog_entry resolve(struct catalog *c, const char *name)
{
    struct sample s = sample(name);
    struct catalog_entry e;
    catalog_resolve(c, &s, 1, &e);
    return e;
}

static int define(struct catalog *c, uint32_t id, const char *name)
{
    struct err err = ERR_INIT;
    return catalog_define(c, id, 60000, name, strlen(name), &err);
}

static void flush(struct catalog *c)
{
    struct err err = ERR_INIT;
    if (catalog_flush(c, &err) < 0)
        fail_msg("%s", err.text);
}

static uint32_t step_by_name(void *ctx, const char *name, size_t len)
{
    return len && name[0] == 's' ? 10000 : 60000;
}

static void names_get_dense_ids_and_steps(void **state)
{
    struct catalog *c = open_catalog(NULL, 0, step_by_name);
    struct sample s[] = {sample("s.a"), sample("b"), sample("s.a"), sample("s.ab"), sample("b;x=1")};
    struct catalog_entry e[5];
    catalog_resolve(c, s, 5, e);
    const uint32_t want[] = {1, 2, 1, 3, 4};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(e[i].id, want[i]);
        assert_int_equal(e[i].step_ms, s[i].name[0] == 's' ? 10000 : 60000);
        assert_true(e[i].define);
    }
    assert_int_equal(catalog_count(c), 4);
    assert_int_equal(catalog_max_id(c), 4);
    size_t len;
    assert_string_equal(catalog_name(c, 3, &len), "s.ab");
    assert_int_equal(len, 4);
    assert_int_equal(catalog_step_ms(c, 3), 10000);
    assert_null(catalog_name(c, 5, NULL));
    assert_null(catalog_name(c, 0, NULL));
    assert_int_equal(catalog_step_ms(c, 0), 0);
    assert_int_equal(catalog_step_ms(c, UINT32_MAX), 0);
    assert_int_equal(catalog_lookup(c, "b;x=1", 5).id, 4);
    assert_int_equal(catalog_lookup(c, "b;x", 3).id, 0);
    assert_int_equal(catalog_lookup(c, "", 0).id, 0);
    catalog_resolve(c, s, 0, e);
    catalog_free(c);
}

static void definitions_are_carried_until_durable(void **state)
{
    struct catalog_store *store = catalog_store_mem_new();
    struct catalog *c = open_catalog(store, 0, NULL);
    assert_true(resolve(c, "a").define);
    assert_true(resolve(c, "a").define);
    flush(c); /* the store is not the stream */
    assert_true(resolve(c, "a").define);
    assert_true(catalog_lookup(c, "a", 1).define);
    assert_int_equal(define(c, 1, "a"), OK); /* read back before it is known to be durable */
    assert_true(resolve(c, "a").define);
    uint32_t ids[] = {1, 0, 77, UINT32_MAX};
    catalog_defs_durable(c, ids, 4);
    assert_false(resolve(c, "a").define);
    assert_int_equal(define(c, 5, "from.stream"), OK);
    assert_false(resolve(c, "from.stream").define);
    catalog_free(c);
}

static void definitions_that_contradict_are_corrupt(void **state)
{
    struct catalog *c = open_catalog(NULL, 0, NULL);
    struct err err = ERR_INIT;
    assert_int_equal(define(c, 7, "a"), OK);
    assert_int_equal(define(c, 7, "a"), OK);
    assert_int_equal(define(c, 7, "b"), ERR_CORRUPT);
    assert_int_equal(define(c, 8, "a"), ERR_CORRUPT);
    assert_int_equal(define(c, 0, "z"), ERR_CORRUPT);
    assert_int_equal(define(c, 9, ""), ERR_CORRUPT);
    assert_int_equal(catalog_define(c, 9, 0, "z", 1, &err), ERR_CORRUPT);
    assert_int_equal(catalog_define(c, 9, 60000, "a\0b", 3, &err), ERR_CORRUPT);
    char name[1025];
    memset(name, 'x', sizeof name);
    assert_int_equal(catalog_define(c, 9, 60000, name, 1025, &err), ERR_CORRUPT);
    assert_int_equal(catalog_define(c, 9, 60000, name, 1024, &err), OK);
    assert_int_equal(catalog_count(c), 2);
    assert_int_equal(resolve(c, "new").id, 10);
    catalog_free(c);
}

static void reserved_ids_are_not_handed_out(void **state)
{
    struct catalog *c = open_catalog(NULL, 0, NULL);
    catalog_reserve(c, 100);
    catalog_reserve(c, 50);
    assert_int_equal(resolve(c, "a").id, 101);
    assert_int_equal(define(c, 60, "late"), OK);
    assert_int_equal(resolve(c, "b").id, 102);
    catalog_reserve(c, UINT32_MAX);
    assert_int_equal(resolve(c, "c").id, 0);
    assert_int_equal(resolve(c, "late").id, 60);
    catalog_free(c);
}

static void the_series_limit_refuses_only_new_names(void **state)
{
    struct catalog *c = open_catalog(NULL, 2, NULL);
    struct sample s[] = {sample("a"), sample("b"), sample("c"), sample("a")};
    struct catalog_entry e[4];
    catalog_resolve(c, s, 4, e);
    assert_true(e[0].id == 1 && e[1].id == 2 && e[2].id == 0 && e[3].id == 1);
    assert_int_equal(resolve(c, "b").id, 2);
    assert_int_equal(define(c, 9, "c"), OK); /* what the stream holds is taken whatever the limit */
    assert_int_equal(resolve(c, "c").id, 9);
    catalog_free(c);
}

struct kept {
    size_t n;
    uint64_t sum;
};

static int count_row(void *ctx, const struct catalog_row *row)
{
    struct kept *k = ctx;
    k->n++;
    k->sum += row->id;
    return OK;
}

/* A store that fails on demand and outlives the catalog. */
struct flaky {
    struct catalog_store base, *inner;
    int fail_after; /* adds that still succeed; -1: all */
    size_t adds, biggest;
};

static int flaky_load(struct catalog_store *s, catalog_row_fn fn, void *ctx, struct err *err)
{
    struct flaky *f = (struct flaky *)s;
    return f->inner->ops->load(f->inner, fn, ctx, err);
}

static int flaky_add(struct catalog_store *s, const struct catalog_row *rows, size_t n, struct err *err)
{
    struct flaky *f = (struct flaky *)s;
    if (f->fail_after == 0)
        return err_set(err, ERR_NO_SPACE, "full");
    f->fail_after -= f->fail_after > 0;
    f->adds++;
    f->biggest = n > f->biggest ? n : f->biggest;
    return f->inner->ops->add(f->inner, rows, n, err);
}

static int flaky_load_deleted(struct catalog_store *s, catalog_ended_fn ended, catalog_tombstone_fn tombstone,
                              void *ctx, struct err *err)
{
    struct flaky *f = (struct flaky *)s;
    return f->inner->ops->load_deleted(f->inner, ended, tombstone, ctx, err);
}

static int flaky_keep_deleted(struct catalog_store *s, const struct catalog_ended *ended, size_t n,
                              const struct tombstone_change *changes, size_t m, struct err *err)
{
    struct flaky *f = (struct flaky *)s;
    if (f->fail_after == 0)
        return err_set(err, ERR_NO_SPACE, "full");
    return f->inner->ops->keep_deleted(f->inner, ended, n, changes, m, err);
}

static void flaky_free(struct catalog_store *s) {}

static struct flaky flaky_new(void)
{
    static const struct catalog_store_ops ops = {.name = "flaky",
                                                 .load = flaky_load,
                                                 .add = flaky_add,
                                                 .free = flaky_free,
                                                 .load_deleted = flaky_load_deleted,
                                                 .keep_deleted = flaky_keep_deleted};
    return (struct flaky){{&ops}, catalog_store_mem_new(), -1, 0, 0};
}

static void new_series(struct catalog *c, uint32_t from, uint32_t n)
{
    char name[32];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "n.%u", from + i);
        assert_int_equal(resolve(c, name).id, from + i);
    }
}

static void flush_writes_everything_once_in_bounded_pieces(void **state)
{
    struct flaky f = flaky_new();
    struct catalog *c = open_catalog(&f.base, 0, NULL);
    struct err err = ERR_INIT;
    flush(c);
    assert_int_equal(f.adds, 0);
    new_series(c, 1, 100000);
    assert_int_equal(define(c, 200000, "defined"), OK);
    f.fail_after = 1;
    assert_int_equal(catalog_flush(c, &err), ERR_NO_SPACE);
    f.fail_after = -1;
    flush(c);
    assert_int_equal(f.adds, 2);
    assert_true(f.biggest <= 65536);
    struct kept k = {0, 0};
    assert_int_equal(f.inner->ops->load(f.inner, count_row, &k, &err), OK);
    assert_int_equal(k.n, 100001);
    assert_int_equal(k.sum, 100000ull * 100001 / 2 + 200000);
    flush(c);
    assert_int_equal(f.adds, 2);
    catalog_free(c);
    /* All is back, durable, and nothing of it is written again. */
    c = open_catalog(&f.base, 0, NULL);
    assert_int_equal(catalog_count(c), 100001);
    assert_int_equal(catalog_max_id(c), 200000);
    struct catalog_entry e = resolve(c, "n.777");
    assert_true(e.id == 777 && !e.define && e.step_ms == 60000);
    flush(c);
    assert_int_equal(f.adds, 2);
    catalog_free(c);
    f.inner->ops->free(f.inner);
}

/* The catalog against a plain list, through every growth of its tables. */
static void random_operations_agree_with_a_model(void **state)
{
    enum { NAMES = 6000, ROUNDS = 400, BATCH = 300 };
    seed_random();
    struct catalog *c = open_catalog(NULL, 0, NULL);
    static char name[NAMES][40];
    static uint32_t id[NAMES];
    memset(id, 0, sizeof id);
    uint32_t max = 0, count = 0;
    for (int i = 0; i < NAMES; i++)
        snprintf(name[i], sizeof name[i], "servers.%0*d.cpu", rand() % 8 + 1, i);
    for (int round = 0; round < ROUNDS; round++) {
        struct sample s[BATCH];
        struct catalog_entry e[BATCH];
        int which[BATCH];
        for (int i = 0; i < BATCH; i++) {
            which[i] = rand() % (round * NAMES / ROUNDS + 1);
            s[i] = sample(name[which[i]]);
        }
        catalog_resolve(c, s, BATCH, e);
        for (int i = 0; i < BATCH; i++) {
            if (!id[which[i]]) {
                id[which[i]] = ++max;
                count++;
            }
            assert_int_equal(e[i].id, id[which[i]]);
        }
        int k = rand() % NAMES;
        if (!id[k] && rand() % 2) {
            max += (uint32_t)(rand() % 3000) + 1;
            id[k] = max;
            count++;
            assert_int_equal(define(c, max, name[k]), OK);
        }
    }
    assert_int_equal(catalog_count(c), count);
    assert_int_equal(catalog_max_id(c), max);
    for (int i = 0; i < NAMES; i++) {
        assert_int_equal(catalog_lookup(c, name[i], strlen(name[i])).id, id[i]);
        if (id[i])
            assert_string_equal(catalog_name(c, id[i], NULL), name[i]);
    }
    catalog_free(c);
}

static int collect_ids(void *ctx, uint32_t id, uint32_t step_ms, const char *name, size_t len)
{
    struct kept *k = ctx;
    assert_int_equal(strlen(name), len);
    assert_int_equal(step_ms, 60000);
    assert_true(id > k->sum);
    k->n++;
    k->sum = id;
    return k->n == 3 ? 42 : OK;
}

static void each_walks_by_id_and_can_be_stopped(void **state)
{
    struct catalog *c = open_catalog(NULL, 0, NULL);
    struct kept k = {0, 0};
    assert_int_equal(define(c, 1000000, "z;a=1"), OK);
    assert_int_equal(define(c, 5, "y"), OK);
    assert_int_equal(catalog_each(c, collect_ids, &k), OK);
    assert_true(k.n == 2 && k.sum == 1000000);
    k = (struct kept){0, 0};
    assert_int_equal(catalog_each_tagged(c, collect_ids, &k), OK);
    assert_true(k.n == 1 && k.sum == 1000000);
    assert_int_equal(define(c, 4000000000u, "x"), OK);
    k = (struct kept){0, 0};
    assert_int_equal(catalog_each(c, collect_ids, &k), 42);
    catalog_free(c);
}

struct race {
    struct catalog *c;
    _Atomic bool stop;
    _Atomic uint32_t found;
};

enum { RACE_NAMES = 3000, RACE_BATCH = 100 };

static void *race_resolve(void *arg)
{
    struct race *r = arg;
    char name[RACE_BATCH][32];
    struct sample s[RACE_BATCH];
    struct catalog_entry e[RACE_BATCH];
    for (int i = 0; i < RACE_NAMES; i += RACE_BATCH) {
        for (int k = 0; k < RACE_BATCH; k++) {
            snprintf(name[k], sizeof name[k], "race.h%d.v", i + k);
            s[k] = sample(name[k]);
        }
        catalog_resolve(r->c, s, RACE_BATCH, e);
        for (int k = 0; k < RACE_BATCH; k++) {
            uint32_t id = e[k].id;
            assert_string_equal(catalog_name(r->c, id, NULL), name[k]);
            assert_int_equal(catalog_step_ms(r->c, id), 60000);
            catalog_defs_durable(r->c, &id, 1);
        }
    }
    return NULL;
}

static int race_node(void *ctx, const struct catalog_node *node)
{
    return catalog_lookup(ctx, node->path, node->path_len).id == node->id ? OK : -1;
}

static void *race_read(void *arg)
{
    struct race *r = arg;
    struct err err;
    while (!r->stop) {
        assert_int_equal(catalog_find(r->c, "race.*.v", 8, 0, race_node, r->c, &err), OK);
        assert_int_equal(catalog_flush(r->c, &err), OK);
        uint32_t max = catalog_max_id(r->c);
        if (max)
            assert_non_null(catalog_name(r->c, max, NULL));
        catalog_memory_bytes(r->c);
    }
    return NULL;
}

static void threads_agree_on_ids(void **state)
{
    struct race r = {.c = open_catalog(catalog_store_mem_new(), 0, NULL)};
    pthread_t t[3], reader;
    pthread_create(&reader, NULL, race_read, &r);
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, race_resolve, &r);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    r.stop = true;
    pthread_join(reader, NULL);
    assert_int_equal(catalog_count(r.c), RACE_NAMES);
    assert_int_equal(catalog_max_id(r.c), RACE_NAMES);
    assert_false(resolve(r.c, "race.h0.v").define);
    catalog_free(r.c);
}

static void metrics_tell_what_is_pending(void **state)
{
    struct metrics *m = metrics_new();
    struct catalog_options o = {.store = catalog_store_mem_new(), .metrics = m};
    struct catalog *c;
    struct err err = ERR_INIT;
    assert_int_equal(catalog_open(&o, &c, &err), OK);
    resolve(c, "a");
    resolve(c, "b");
    assert_int_equal(metrics_gauge(m, "carat_catalog_pending_definitions", NULL, "")->value, 2);
    assert_int_equal(metrics_gauge(m, "carat_catalog_series", NULL, "")->value, 2);
    flush(c);
    assert_int_equal(metrics_gauge(m, "carat_catalog_pending_definitions", NULL, "")->value, 0);
    assert_int_equal(metrics_gauge(m, "carat_catalog_memory_bytes", NULL, "")->value,
                     catalog_memory_bytes(c));
    catalog_free(c);
    metrics_free(m);
}

/* --- deletion --- */

static void end(struct catalog *c, uint32_t id)
{
    catalog_end(c, &id, 1, 1000 + id);
}

static uint32_t lookup(struct catalog *c, const char *name)
{
    return catalog_lookup(c, name, strlen(name)).id;
}

static int collect_path(void *ctx, const struct catalog_node *n)
{
    buf_printf(ctx, "%.*s%s%s ", (int)n->path_len, n->path, n->id ? "" : "/", n->branch ? "+" : "");
    return OK;
}

static void check_find(struct catalog *c, const char *pattern, const char *want)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(catalog_find(c, pattern, strlen(pattern), 0, collect_path, &b, &err), OK);
    assert_string_equal(buf_str(&b), want);
    buf_release(&b);
}

static int no_leave_too_often(void *ctx, uint32_t id, uint32_t step_ms, const char *name, size_t len)
{
    assert_true(step_ms && len);
    ++*(unsigned *)ctx;
    return OK;
}

static void a_deleted_name_leaves_and_comes_back_as_another(void **state)
{
    struct catalog *c = open_catalog(NULL, 0, NULL);
    assert_int_equal(resolve(c, "a.b.c").id, 1);
    assert_int_equal(resolve(c, "a.b").id, 2);
    assert_int_equal(resolve(c, "a.x.y").id, 3);
    assert_int_equal(resolve(c, "t;x=1").id, 4);
    check_find(c, "a.*", "a.b+ a.x/+ ");
    end(c, 1);
    end(c, 1);
    end(c, 3);
    end(c, 4);
    assert_int_equal(catalog_count(c), 1);
    assert_int_equal(lookup(c, "a.b.c"), 0);
    assert_true(catalog_step_ms(c, 1) == 0 && catalog_has_ended(c, 1) && !catalog_has_ended(c, 2));
    assert_string_equal(catalog_name(c, 1, NULL), "a.b.c"); /* for who found it a moment ago */
    check_find(c, "a.*", "a.b ");
    check_find(c, "a.{b,x}", "a.b ");
    check_find(c, "**", "a/+ a.b ");
    check_find(c, "a.b.c", "");
    unsigned seen = 0;
    catalog_each(c, no_leave_too_often, &seen);
    catalog_each_tagged(c, no_leave_too_often, &seen);
    assert_int_equal(seen, 1);
    struct catalog_entry e = resolve(c, "a.b.c");
    assert_true(e.id == 5 && e.define);
    check_find(c, "a.**", "a.b+ a.b.c ");
    end(c, 2); /* and once more under another */
    assert_int_equal(resolve(c, "a.b").id, 6);
    check_find(c, "a.*", "a.b+ ");
    uint32_t ended = 3;
    catalog_defs_durable(c, &ended, 1);
    assert_true(catalog_has_ended(c, 3));
    catalog_free(c);
}

static void what_has_ended_is_not_defined_again(void **state)
{
    struct catalog *c = open_catalog(NULL, 0, NULL);
    end(c, 7); /* its definition comes from another lane, later */
    assert_int_equal(define(c, 7, "a"), OK);
    assert_int_equal(lookup(c, "a"), 0);
    assert_int_equal(define(c, 8, "a"), OK);
    assert_int_equal(define(c, 7, "a"), OK);
    assert_int_equal(lookup(c, "a"), 8);
    assert_int_equal(resolve(c, "b").id, 9);
    catalog_free(c);
}

static bool count_in(void *ctx, const char *name, size_t len, bool known)
{
    ++*(int *)ctx;
    return true;
}

static void count_out(void *ctx, const char *name, size_t len)
{
    --*(int *)ctx;
}

static void who_counts_names_is_told(void **state)
{
    int n = 0;
    struct catalog_options o = {.admit = count_in, .leave = count_out, .admit_ctx = &n, .max_series = 2};
    struct catalog *c;
    struct err err = ERR_INIT;
    assert_int_equal(catalog_open(&o, &c, &err), OK);
    resolve(c, "a");
    resolve(c, "b");
    assert_int_equal(resolve(c, "c").id, 0);
    end(c, 1);
    end(c, 1);
    assert_int_equal(n, 1);
    assert_int_equal(resolve(c, "c").id, 3); /* there is room again */
    assert_int_equal(n, 2);
    catalog_free(c);
}

static void what_is_deleted_stays_deleted_after_a_restart(void **state)
{
    struct flaky f = flaky_new();
    struct catalog *c = open_catalog(&f.base, 0, NULL);
    struct tombstone t = {2, false, 100, 200, 50};
    new_series(c, 1, 3);
    flush(c);
    resolve(c, "short-lived"); /* 4: ends before it was ever stored */
    end(c, 1);
    end(c, 4);
    resolve(c, "n.1"); /* 5 */
    tombstones_add(catalog_tombstones(c), &t, 1);
    struct err err = ERR_INIT;
    f.fail_after = 0;
    assert_int_equal(catalog_flush(c, &err), ERR_NO_SPACE);
    f.fail_after = -1;
    flush(c);
    catalog_free(c);
    c = open_catalog(&f.base, 0, NULL);
    assert_true(lookup(c, "n.1") == 5 && catalog_has_ended(c, 1) && catalog_has_ended(c, 4));
    assert_int_equal(lookup(c, "short-lived"), 0);
    assert_true(tombstones_hit(catalog_tombstones(c), 2, 150, 49));
    size_t n;
    struct catalog_ended *e = catalog_list_ended(c, &n);
    assert_true(n == 2 && e[0].id == 1 && e[0].step_ms == 60000 && e[0].pos == 1001);
    free(e);
    catalog_erased(c, (uint32_t[]){1, 4}, 2);
    assert_int_equal(catalog_count_ended(c), 0);
    flush(c);
    struct kept k = {0, 0};
    assert_int_equal(f.inner->ops->load(f.inner, count_row, &k, &err), OK);
    assert_true(k.n == 3 && k.sum == 2 + 3 + 5);
    catalog_free(c);
    c = open_catalog(&f.base, 0, NULL);
    assert_int_equal(define(c, 1, "n.1"), OK); /* the stream still has it */
    assert_int_equal(lookup(c, "n.1"), 5);
    assert_int_equal(catalog_count_ended(c), 0);
    assert_int_equal(resolve(c, "new").id, 6);
    catalog_free(c);
    f.inner->ops->free(f.inner);
}

/* Names come and go, the table grows and is cleaned on the way. */
static void random_ends_agree_with_a_model(void **state)
{
    enum { NAMES = 3000 };
    seed_random();
    struct catalog *c = open_catalog(NULL, 0, NULL);
    static uint32_t id[NAMES];
    uint32_t live = 0;
    memset(id, 0, sizeof id);
    for (int i = 0; i < 60000; i++) {
        int k = rand() % NAMES;
        char name[40];
        snprintf(name, sizeof name, "h%d.m%d", k % 50, k);
        if (id[k] && rand() % 2) {
            end(c, id[k]);
            id[k] = 0;
            live--;
        } else {
            struct catalog_entry e = resolve(c, name);
            assert_true(id[k] ? e.id == id[k] : e.id > 0);
            live += !id[k];
            id[k] = e.id;
        }
        k = rand() % NAMES;
        snprintf(name, sizeof name, "h%d.m%d", k % 50, k);
        assert_int_equal(lookup(c, name), id[k]);
        assert_int_equal(catalog_count(c), live);
    }
    struct buf found = BUF_INIT;
    struct err err = ERR_INIT;
    unsigned seen = 0;
    assert_int_equal(catalog_find(c, "h*.m*", 5, 0, collect_path, &found, &err), OK);
    for (size_t i = 0; i < found.len; i++)
        seen += found.data[i] == ' ';
    assert_int_equal(seen, live);
    assert_true(catalog_memory_bytes(c) < 16u << 20);
    buf_release(&found);
    catalog_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_get_dense_ids_and_steps),
        cmocka_unit_test(definitions_are_carried_until_durable),
        cmocka_unit_test(definitions_that_contradict_are_corrupt),
        cmocka_unit_test(reserved_ids_are_not_handed_out),
        cmocka_unit_test(the_series_limit_refuses_only_new_names),
        cmocka_unit_test(flush_writes_everything_once_in_bounded_pieces),
        cmocka_unit_test(random_operations_agree_with_a_model),
        cmocka_unit_test(each_walks_by_id_and_can_be_stopped),
        cmocka_unit_test(threads_agree_on_ids),
        cmocka_unit_test(metrics_tell_what_is_pending),
        cmocka_unit_test(a_deleted_name_leaves_and_comes_back_as_another),
        cmocka_unit_test(what_has_ended_is_not_defined_again),
        cmocka_unit_test(who_counts_names_is_told),
        cmocka_unit_test(what_is_deleted_stays_deleted_after_a_restart),
        cmocka_unit_test(random_ends_agree_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
