/* The cold tier in an object store that fails, forgets its answers, is behind with its lists, and is changed
 * by others. */
#include "base/log.h"
#include "base/mem.h"
#include "cold/cold_objects.h"
#include "cold/object_mem.h"
#include "fault/sim_fs.h"
#include "model/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MINUTE  60000u
#define SPAN    14400000ll
#define SERIES  5
#define HOUR_MS 3600000ll
#define DAY_MS  86400000ll

struct env {
    struct object_bucket *bucket;
    struct clock_fake clock;
    bool conditional, list_is_behind;
    int64_t linger_ms;
    uint64_t pack_bytes;
    const char *identity;
    struct sim_fs *sim; /* for the footers; NULL: none are kept */
    uint64_t disk_cache_bytes;
};

static int try_open(struct env *e, struct cold **c, struct err *err)
{
    struct cold_objects_options o = {
        .cold = {.pack_bytes = e->pack_bytes ? e->pack_bytes : 24 << 10},
        .objects = object_mem_new(e->bucket,
                                  &(struct object_mem_options){8 << 10, e->conditional, e->list_is_behind}),
        .prefix = "p/",
        .identity = e->identity ? e->identity : "me",
        .linger_ms = e->linger_ms ? e->linger_ms : -1,
        .clock = &e->clock.base,
        .cache_dir = e->sim ? SIM_ROOT "/tails" : NULL,
        .fs = e->sim ? sim_fs_base(e->sim) : NULL,
        .disk_cache_bytes = e->disk_cache_bytes,
    };
    return cold_objects_open(&o, c, err);
}

static struct cold *open_cold(struct env *e)
{
    struct cold *c = NULL;
    struct err err = ERR_INIT;
    if (try_open(e, &c, &err) < 0)
        fail_msg("open: %s", err.text);
    atomic_fetch_add(&e->clock.now_ms, 1); /* no two starts at one moment */
    return c;
}

static void env_init(struct env *e, bool conditional)
{
    *e = (struct env){.bucket = object_bucket_new(), .conditional = conditional};
    clock_fake_init(&e->clock, 1790000000000);
}

static void pass(struct env *e, int64_t ms)
{
    atomic_fetch_add(&e->clock.now_ms, ms);
    object_bucket_pass(e->bucket, ms);
}

static struct cold_stats stats(struct cold *c)
{
    struct cold_stats s;
    cold_get_stats(c, &s);
    return s;
}

/* --- what is done --- */

static int add_windows(struct cold *c, int64_t from, int64_t until, uint64_t hi, struct err *err)
{
    struct cold_add *a;
    char text[400];
    int rc = cold_add_begin(c, MINUTE, &a, err);
    if (rc < 0)
        return rc;
    for (uint32_t s = 1; s <= SERIES && rc == OK; s++)
        for (int64_t w = from; w < until && rc == OK; w++) {
            int n = snprintf(text, sizeof text, "`%u/%lld/%llu ", s, (long long)w, (unsigned long long)hi);
            for (uint32_t x = (uint32_t)(n * 77 + w * 7919 + (int64_t)hi) + s * 31; n < 350; n++)
                text[n] = (char)((x = x * 1103515245 + 12345) >> 16); /* long, and hard to pack */
            struct part p = {{s, MINUTE, w * SPAN, hi}, 1, (const uint8_t *)text, (size_t)n};
            rc = cold_add_part(a, &p, err);
        }
    if (rc < 0) {
        cold_add_abort(a);
        return rc;
    }
    return cold_add_commit(a, err);
}

#define DEEDS 6
static int deed(struct cold *c, int i, struct err *err)
{
    size_t merged;
    switch (i) {
    case 0:
        return add_windows(c, 0, 3, 5, err);
    case 1:
        return add_windows(c, 2, 4, 6, err);
    case 2:
        return cold_compact(c, MINUTE, 2, NULL, NULL, &merged, err);
    case 3:
        return add_windows(c, 4, 32, 7, err); /* several packs, in several parts each */
    case 4:
        return cold_expire(c, MINUTE, 4 * SPAN, err);
    default:
        return add_windows(c, 30, 33, 12, err);
    }
}

struct line {
    struct part_key key;
    char text[16];
};
struct lines {
    struct line v[2000];
    size_t n;
};

/* Of equal keys the last is what counts: an addition that was repeated gives two. */
static int note_part(void *ctx, const struct part *p)
{
    struct lines *l = ctx;
    struct line x = {p->key, ""};
    snprintf(x.text, sizeof x.text, "%.*s", (int)strcspn((const char *)p->data, " "), (const char *)p->data);
    if (l->n && !memcmp(&l->v[l->n - 1].key, &p->key, sizeof p->key))
        l->n--;
    assert_true(l->n < ARRAY_LEN(l->v));
    l->v[l->n++] = x;
    return 0;
}

static int contents(struct cold *c, struct buf *out, struct err *err)
{
    static struct lines l;
    int rc = OK;
    l.n = 0;
    for (uint32_t s = 0; s <= SERIES + 1; s++) {
        int one = cold_read(c, s, MINUTE, 0, INT64_MAX, note_part, &l, err);
        rc = rc < 0 ? rc : one;
    }
    for (size_t i = 0; i < l.n; i++)
        buf_printf(out, "%s ", l.v[i].text);
    buf_str(out);
    return rc;
}

struct expected {
    struct buf after[DEEDS + 1];
    uint64_t ops;
};

static void expect(struct expected *x, bool conditional)
{
    struct env e;
    env_init(&e, conditional);
    struct cold *c = open_cold(&e);
    for (int i = 0; i <= DEEDS; i++) {
        struct err err = ERR_INIT;
        x->after[i] = (struct buf)BUF_INIT;
        assert_int_equal(contents(c, &x->after[i], &err), OK);
        if (i < DEEDS && deed(c, i, &err) < 0)
            fail_msg("deed %d: %s", i, err.text);
    }
    assert_int_equal(stats(c).compactions, 1);
    assert_true(stats(c).expired_packs > 0);
    assert_true(stats(c).packs > 2);
    x->ops = object_bucket_ops(e.bucket);
    cold_free(c);
    object_bucket_free(e.bucket);
}

static void expected_release(struct expected *x)
{
    for (int i = 0; i <= DEEDS; i++)
        buf_release(&x->after[i]);
}

static bool equal(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

/* Everything is as before the deed or after it; which. */
static int check_either(struct cold *c, const struct expected *x, int before, int after)
{
    struct buf got = BUF_INIT;
    struct err err = ERR_INIT;
    if (contents(c, &got, &err) != OK)
        fail_msg("deed %d: read: %s", before, err.text);
    int found = equal(&got, &x->after[after]) ? after : before;
    if (!equal(&got, &x->after[found]))
        fail_msg("deed %d: read \"%s\"", before, buf_str(&got));
    buf_release(&got);
    struct cold_verify_ctx v = {0};
    assert_int_equal(cold_verify(c, &v, &err), OK);
    return found;
}

/* --- kills --- */

/* From the n-th operation on the process has no effect any more, for every n; then another starts. */
static void kill_at_every_operation(bool conditional)
{
    struct expected x;
    expect(&x, conditional);
    for (uint64_t n = 1; n <= x.ops; n++) {
        struct env e;
        env_init(&e, conditional);
        struct cold *c = NULL;
        int i = 0;
        object_bucket_fail(e.bucket, n, UINT64_MAX, ERR_IO, false);
        if (try_open(&e, &c, NULL) == OK)
            while (i < DEEDS && deed(c, i, NULL) == OK)
                i++;
        cold_free(c);
        object_bucket_mend(e.bucket);
        pass(&e, HOUR_MS);
        c = open_cold(&e);
        i = check_either(c, &x, i, i < DEEDS ? i + 1 : i);
        for (; i < DEEDS; i++)
            assert_int_equal(deed(c, i, NULL), OK);
        check_either(c, &x, DEEDS, DEEDS);
        cold_free(c);
        /* Whatever was left behind is gone after a day. */
        pass(&e, DAY_MS + HOUR_MS);
        c = open_cold(&e);
        check_either(c, &x, DEEDS, DEEDS);
        assert_int_equal(object_bucket_count(e.bucket, "p/pack/"), stats(c).packs);
        assert_int_equal(object_bucket_count(e.bucket, "p/manifest/"), 1);
        assert_int_equal(object_bucket_uploads(e.bucket), 0);
        cold_free(c);
        object_bucket_free(e.bucket);
    }
    expected_release(&x);
}

static void kills_leave_the_old_or_the_new(void **state)
{
    (void)state;
    kill_at_every_operation(true);
}

static void kills_leave_the_old_or_the_new_without_conditions(void **state)
{
    (void)state;
    kill_at_every_operation(false);
}

/* --- single failures --- */

/* The n-th operations fail, with or without effect, and what failed is done again by the same process. */
static void fail_at_every_operation(bool conditional, bool after, uint64_t times, int code)
{
    struct expected x;
    expect(&x, conditional);
    for (uint64_t n = 1; n <= x.ops; n++) {
        struct env e;
        env_init(&e, conditional);
        struct cold *c = NULL;
        struct err err = ERR_INIT;
        object_bucket_fail(e.bucket, n, times, code, after);
        for (int tries = 0; try_open(&e, &c, &err) < 0; tries++)
            assert_true(tries < 10);
        for (int i = 0; i < DEEDS; i++)
            for (int tries = 0; deed(c, i, &err) < 0; tries++)
                if (tries == 10)
                    fail_msg("n=%llu deed %d: %s", (unsigned long long)n, i, err.text);
        object_bucket_mend(e.bucket); /* some may be left */
        check_either(c, &x, DEEDS, DEEDS);
        cold_free(c);
        pass(&e, DAY_MS + HOUR_MS);
        c = open_cold(&e);
        check_either(c, &x, DEEDS, DEEDS);
        assert_int_equal(object_bucket_count(e.bucket, "p/pack/"), stats(c).packs);
        assert_int_equal(object_bucket_uploads(e.bucket), 0);
        cold_free(c);
        object_bucket_free(e.bucket);
    }
    expected_release(&x);
}

static void failures_are_recovered_from(void **state)
{
    (void)state;
    for (int conditional = 0; conditional < 2; conditional++)
        for (uint64_t times = 1; times <= 3; times += 2) {
            fail_at_every_operation(conditional, false, times, ERR_IO);
            fail_at_every_operation(conditional, true, times, ERR_TIMEOUT);
        }
}

/* --- the manifest --- */

/* The put has its effect or not, and neither its answer nor the look afterwards arrives. */
static void a_switch_of_unknown_end_is_looked_up(void **state)
{
    (void)state;
    for (int conditional = 0; conditional < 2; conditional++)
        for (int after = 0; after < 2; after++) {
            struct env e;
            struct err err = ERR_INIT;
            env_init(&e, conditional);
            struct cold *c = open_cold(&e);
            assert_int_equal(add_windows(c, 0, 1, 5, &err), OK);
            uint64_t ops = object_bucket_ops(e.bucket);
            assert_int_equal(add_windows(c, 1, 2, 5, &err), OK);
            ops = object_bucket_ops(e.bucket) - ops;
            /* The last operation of an addition is the put, or the look after it. */
            object_bucket_fail(e.bucket, conditional ? ops : ops - 1, 2, ERR_TIMEOUT, after);
            assert_int_equal(add_windows(c, 2, 3, 5, &err), ERR_FAILED);
            object_bucket_fail(e.bucket, 1, 1, ERR_IO, false);
            assert_int_equal(add_windows(c, 3, 4, 5, &err), ERR_FAILED); /* not known yet */
            assert_int_equal(add_windows(c, 3, 4, 5, &err), OK);
            struct buf got = BUF_INIT;
            assert_int_equal(contents(c, &got, &err), OK);
            assert_int_equal(strstr(buf_str(&got), "`1/2/5 ") != NULL, after);
            assert_non_null(strstr(buf_str(&got), "`1/3/5 "));
            cold_free(c);
            struct buf again = BUF_INIT;
            c = open_cold(&e);
            assert_int_equal(contents(c, &again, &err), OK);
            assert_true(equal(&got, &again));
            buf_release(&got);
            buf_release(&again);
            cold_free(c);
            object_bucket_free(e.bucket);
        }
}

static void two_that_change_it_are_told_apart(void **state)
{
    (void)state;
    struct env e;
    struct err err = ERR_INIT;
    env_init(&e, true);
    struct cold *a = open_cold(&e), *b = open_cold(&e);
    assert_int_equal(add_windows(a, 0, 1, 5, &err), OK);
    assert_int_equal(add_windows(b, 1, 2, 6, &err), ERR_BUSY); /* and it has read a's manifest */
    assert_int_equal(add_windows(b, 1, 2, 6, &err), OK);
    assert_int_equal(add_windows(a, 2, 3, 7, &err), ERR_BUSY);
    assert_int_equal(cold_refresh(a, &err), OK);
    assert_int_equal(add_windows(a, 2, 3, 7, &err), OK);
    assert_int_equal(cold_refresh(b, &err), OK);
    struct buf x = BUF_INIT, y = BUF_INIT;
    assert_int_equal(contents(a, &x, &err), OK);
    assert_int_equal(contents(b, &y, &err), OK);
    assert_true(equal(&x, &y));
    assert_non_null(strstr(buf_str(&x), "`5/0/5 `5/1/6 `5/2/7 "));
    assert_int_equal(stats(a).packs, 3);
    assert_int_equal(object_bucket_count(e.bucket, "p/pack/"), 3); /* what was refused is gone */
    buf_release(&x);
    buf_release(&y);
    cold_free(a);
    cold_free(b);
    object_bucket_free(e.bucket);
}

/* A reader whose manifest is old finds the packs that took the place of its own. */
static void a_reader_follows(void **state)
{
    (void)state;
    struct env e;
    struct err err = ERR_INIT;
    size_t merged;
    env_init(&e, true);
    struct cold *a = open_cold(&e);
    for (int64_t w = 0; w < 4; w++)
        assert_int_equal(add_windows(a, w, w + 1, 5, &err), OK);
    struct cold *b = open_cold(&e);
    assert_int_equal(cold_compact(a, MINUTE, 2, NULL, NULL, &merged, &err), OK);
    assert_int_equal(merged, 4);
    assert_int_equal(object_bucket_count(e.bucket, "p/pack/"), 1);
    assert_int_equal(stats(b).packs, 4);
    struct buf x = BUF_INIT, y = BUF_INIT;
    assert_int_equal(contents(a, &x, &err), OK);
    assert_int_equal(contents(b, &y, &err), OK);
    assert_true(equal(&x, &y));
    assert_int_equal(stats(b).packs, 1);
    assert_int_equal(stats(b).corrupt_parts, 0);
    buf_release(&x);
    buf_release(&y);
    cold_free(a);
    cold_free(b);
    object_bucket_free(e.bucket);
}

static void a_replaced_pack_lingers(void **state)
{
    (void)state;
    struct env e;
    struct err err = ERR_INIT;
    size_t merged;
    env_init(&e, true);
    e.linger_ms = 60000;
    struct cold *c = open_cold(&e);
    for (int64_t w = 0; w < 4; w++)
        assert_int_equal(add_windows(c, w, w + 1, 5, &err), OK);
    assert_int_equal(cold_compact(c, MINUTE, 2, NULL, NULL, &merged, &err), OK);
    assert_int_equal(object_bucket_count(e.bucket, "p/pack/"), 5);
    pass(&e, 61000);
    assert_int_equal(cold_expire(c, MINUTE, INT64_MAX, &err), OK);
    assert_int_equal(object_bucket_count(e.bucket, "p/pack/"), 1);
    cold_free(c);
    object_bucket_free(e.bucket);
}

/* The list shows what was there long ago; the newest manifest is found all the same, and nothing is removed.
 */
static void a_list_that_is_behind_does_no_harm(void **state)
{
    (void)state;
    for (int conditional = 0; conditional < 2; conditional++) {
        struct env e;
        struct err err = ERR_INIT;
        env_init(&e, conditional);
        e.list_is_behind = true;
        struct cold *c = open_cold(&e);
        assert_int_equal(add_windows(c, 0, 2, 5, &err), OK);
        object_bucket_settle(e.bucket);
        for (int64_t w = 2; w < 40; w++)
            assert_int_equal(add_windows(c, w, w + 1, 5, &err), OK);
        struct buf x = BUF_INIT, y = BUF_INIT;
        assert_int_equal(contents(c, &x, &err), OK);
        cold_free(c);
        pass(&e, HOUR_MS);
        c = open_cold(&e);
        assert_int_equal(stats(c).generation, 39);
        assert_int_equal(contents(c, &y, &err), OK);
        assert_true(equal(&x, &y));
        assert_int_equal(add_windows(c, 40, 41, 5, &err), OK);
        assert_int_equal(stats(c).generation, 40);
        cold_free(c);
        /* A list of what has been removed meanwhile is no manifest. */
        pass(&e, 2 * DAY_MS);
        object_bucket_settle(e.bucket);
        e.list_is_behind = false;
        cold_free(open_cold(&e));
        assert_int_equal(object_bucket_count(e.bucket, "p/manifest/"), 1);
        buf_release(&x);
        buf_release(&y);
        object_bucket_free(e.bucket);
    }
}

/* --- others' objects --- */

static void another_deployment_is_refused(void **state)
{
    (void)state;
    struct env e;
    struct err err = ERR_INIT;
    env_init(&e, false);
    struct cold *c = open_cold(&e);
    assert_int_equal(add_windows(c, 0, 1, 5, &err), OK);
    cold_free(c);
    e.identity = "you";
    assert_int_equal(try_open(&e, &c, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "another deployment"));
    assert_non_null(strstr(err.text, "prefix"));
    object_bucket_free(e.bucket);
}

/* What another process has begun and not yet switched to is not touched by a start. */
static void a_start_harms_nobody(void **state)
{
    (void)state;
    struct env e;
    struct err err = ERR_INIT;
    env_init(&e, true);
    e.pack_bytes = 200 << 10;
    struct cold *a = open_cold(&e), *b;
    assert_int_equal(add_windows(a, 0, 1, 5, &err), OK);
    struct cold_add *add;
    char noise[30000];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)((x = x * 1103515245 + 12345) >> 16);
    noise[0] = '`';
    assert_int_equal(cold_add_begin(a, MINUTE, &add, &err), OK);
    for (uint32_t s = 1; s <= 13; s++) { /* a pack is there, and another is on its way up */
        struct part p = {{s, MINUTE, 9 * SPAN, 5}, 1, (const uint8_t *)noise, sizeof noise};
        assert_int_equal(cold_add_part(add, &p, &err), OK);
    }
    assert_int_equal(object_bucket_count(e.bucket, "p/pack/"), 2);
    assert_int_equal(object_bucket_uploads(e.bucket), 1);
    pass(&e, 23 * HOUR_MS);
    b = open_cold(&e);
    assert_int_equal(object_bucket_count(e.bucket, "p/pack/"), 2);
    assert_int_equal(object_bucket_uploads(e.bucket), 1);
    cold_free(b);
    assert_int_equal(cold_add_commit(add, &err), OK);
    struct cold_verify_ctx v = {0};
    assert_int_equal(cold_verify(a, &v, &err), OK);
    cold_free(a);
    object_bucket_free(e.bucket);
}

/* --- reading --- */

static void no_answer_is_no_damage(void **state)
{
    (void)state;
    struct env e;
    struct err err = ERR_INIT;
    size_t merged;
    env_init(&e, true);
    struct cold *c = open_cold(&e);
    for (int64_t w = 0; w < 4; w++)
        assert_int_equal(add_windows(c, w, w + 1, 5, &err), OK);
    cold_free(c);
    c = open_cold(&e);
    struct buf got = BUF_INIT;
    object_bucket_fail(e.bucket, 1, UINT64_MAX, ERR_TIMEOUT, false);
    assert_int_equal(contents(c, &got, &err), ERR_TIMEOUT);
    assert_int_equal(cold_compact(c, MINUTE, 2, NULL, NULL, &merged, &err), ERR_TIMEOUT);
    assert_int_equal(stats(c).corrupt_parts, 0);
    assert_true(stats(c).unreachable > 0);
    object_bucket_mend(e.bucket);
    assert_int_equal(contents(c, &got, &err), OK);
    assert_int_equal(cold_compact(c, MINUTE, 2, NULL, NULL, &merged, &err), OK);
    assert_int_equal(merged, 4);
    buf_release(&got);
    cold_free(c);
    object_bucket_free(e.bucket);
}

static int first_pack(void *ctx, const struct pack_info *p)
{
    *(uint64_t *)ctx = p->id;
    return 1;
}

static void damage_is_found(void **state)
{
    (void)state;
    struct env e;
    struct err err = ERR_INIT;
    uint64_t id;
    char name[64];
    env_init(&e, true);
    struct cold *c = open_cold(&e);
    assert_int_equal(add_windows(c, 0, 5, 5, &err), OK);
    assert_int_equal(cold_list(c, first_pack, &id), 1);
    cold_free(c);
    snprintf(name, sizeof name, "p/pack/%016llx", (unsigned long long)id);
    assert_int_equal(object_bucket_damage(e.bucket, name, 4000), 0);
    c = open_cold(&e);
    struct buf got = BUF_INIT;
    assert_int_equal(contents(c, &got, &err), ERR_CORRUPT);
    assert_true(stats(c).corrupt_parts > 0);
    assert_int_equal(stats(c).unreachable, 0);
    buf_release(&got);
    cold_free(c);
    object_bucket_free(e.bucket);
}

static int count_part(void *ctx, const struct part *p)
{
    (void)p;
    ++*(int *)ctx;
    return 0;
}

static int count_name(void *ctx, const char *name)
{
    (void)name;
    ++*(int *)ctx;
    return 0;
}

/* With footers on the disk a look for one series costs one request a pack, also after a start. */
static void footers_are_kept_on_the_disk(void **state)
{
    (void)state;
    struct env e;
    struct err err = ERR_INIT;
    env_init(&e, true);
    e.sim = sim_fs_new(3);
    struct cold *c = open_cold(&e);
    for (int64_t w = 0; w < 6; w += 2)
        assert_int_equal(add_windows(c, w, w + 2, 5, &err), OK);
    for (int round = 0; round < 3; round++) {
        cold_free(c);
        c = open_cold(&e);
        int parts = 0;
        uint64_t ops = object_bucket_ops(e.bucket);
        assert_int_equal(cold_read(c, 2, MINUTE, 0, 6 * SPAN, count_part, &parts, &err), OK);
        assert_int_equal(parts, 6);
        assert_int_equal(object_bucket_ops(e.bucket) - ops, 3);
    }
    /* Bounded: with room for little more than one, the others are fetched. */
    cold_free(c);
    e.disk_cache_bytes = 200;
    c = open_cold(&e);
    int parts = 0, files = 0;
    assert_int_equal(cold_read(c, 2, MINUTE, 0, 6 * SPAN, count_part, &parts, &err), OK);
    assert_int_equal(parts, 6);
    assert_int_equal(fs_list(sim_fs_base(e.sim), SIM_ROOT "/tails", count_name, &files, &err), OK);
    assert_int_equal(files, 1);
    /* What is removed in the store goes here, too. */
    assert_int_equal(cold_expire(c, MINUTE, INT64_MAX, &err), OK);
    files = 0;
    assert_int_equal(fs_list(sim_fs_base(e.sim), SIM_ROOT "/tails", count_name, &files, &err), OK);
    assert_int_equal(files, 0);
    cold_free(c);
    sim_fs_free(e.sim);
    object_bucket_free(e.bucket);
}

static int damage_file(void *ctx, const char *name)
{
    struct env *e = ctx;
    char path[200];
    struct fs_file *f;
    uint8_t byte;
    size_t got;
    snprintf(path, sizeof path, SIM_ROOT "/tails/%s", name);
    assert_int_equal(fs_open(sim_fs_base(e->sim), path, 0, &f, NULL), OK);
    assert_int_equal(fs_pread(f, &byte, 1, 60, &got, NULL), OK);
    byte ^= 1;
    assert_int_equal(fs_pwrite(f, &byte, 1, 60, NULL), OK);
    fs_close(f);
    return 0;
}

static void a_damaged_footer_on_the_disk_is_fetched_again(void **state)
{
    (void)state;
    struct env e;
    struct err err = ERR_INIT;
    env_init(&e, true);
    e.sim = sim_fs_new(3);
    struct cold *c = open_cold(&e);
    assert_int_equal(add_windows(c, 0, 3, 5, &err), OK);
    struct buf x = BUF_INIT, y = BUF_INIT;
    assert_int_equal(contents(c, &x, &err), OK);
    cold_free(c);
    assert_int_equal(fs_list(sim_fs_base(e.sim), SIM_ROOT "/tails", damage_file, &e, &err), OK);
    c = open_cold(&e);
    assert_int_equal(contents(c, &y, &err), OK);
    assert_true(equal(&x, &y));
    assert_int_equal(stats(c).corrupt_parts, 0);
    buf_release(&x);
    buf_release(&y);
    cold_free(c);
    sim_fs_free(e.sim);
    object_bucket_free(e.bucket);
}

int main(void)
{
    log_set_level(LOG_ERROR + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_leave_the_old_or_the_new),
        cmocka_unit_test(kills_leave_the_old_or_the_new_without_conditions),
        cmocka_unit_test(failures_are_recovered_from),
        cmocka_unit_test(a_switch_of_unknown_end_is_looked_up),
        cmocka_unit_test(two_that_change_it_are_told_apart),
        cmocka_unit_test(a_reader_follows),
        cmocka_unit_test(a_replaced_pack_lingers),
        cmocka_unit_test(a_list_that_is_behind_does_no_harm),
        cmocka_unit_test(another_deployment_is_refused),
        cmocka_unit_test(a_start_harms_nobody),
        cmocka_unit_test(no_answer_is_no_damage),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(footers_are_kept_on_the_disk),
        cmocka_unit_test(a_damaged_footer_on_the_disk_is_fetched_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
