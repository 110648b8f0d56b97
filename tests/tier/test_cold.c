/* The cold tier, on the real file system and on the simulated disk: adding, reading, merging, expiring. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cold/cold_files.h"
#include "cold/cold_impl.h"
#include "cold/cold_objects.h"
#include "cold/object_mem.h"
#include "cold/warm_tiered.h"
#include "fault/sim_fs.h"
#include "warm/warm_key.h"
#include "warm/warm_mem.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tier/cold_model.h"

#define MINUTE 60000u
#define SPAN   14400000ll
#define GROUP  (WARM_GROUP_WINDOWS * SPAN)

struct env {
    char root[64], dir[80];
    struct sim_fs *sim;           /* NULL: the real one */
    struct object_bucket *bucket; /* NULL: files */
    bool conditional;
    struct fs *fs;
    struct metrics *metrics;
    struct cold *cold;
    uint64_t pack_bytes;
    size_t cache_bytes;
    struct tombstones *tombstones; /* NULL: none */
};

static void open_objects(struct env *e)
{
    struct cold_objects_options o = {
        .cold = {.metrics = e->metrics,
                 .pack_bytes = e->pack_bytes,
                 .cache_bytes = e->cache_bytes,
                 .tombstones = e->tombstones},
        .objects = object_mem_new(e->bucket, &(struct object_mem_options){64 << 10, e->conditional, false}),
        .prefix = "t/",
        .identity = "me",
        .linger_ms = -1,
        .clock = clock_system(),
    };
    struct err err = ERR_INIT;
    if (cold_objects_open(&o, &e->cold, &err) < 0)
        fail_msg("open: %s", err.text);
}

static void open_cold(struct env *e)
{
    if (e->bucket) {
        open_objects(e);
        return;
    }
    struct cold_files_options o = {
        .cold = {.metrics = e->metrics,
                 .pack_bytes = e->pack_bytes,
                 .cache_bytes = e->cache_bytes,
                 .tombstones = e->tombstones},
        .dir = e->dir,
        .fs = e->fs,
        .create = true,
    };
    struct err err = ERR_INIT;
    if (cold_files_open(&o, &e->cold, &err) < 0)
        fail_msg("open: %s", err.text);
}

static void reopen(struct env *e)
{
    cold_free(e->cold);
    open_cold(e);
}

static struct env *env_new(void)
{
    struct env *e = xcalloc(1, sizeof *e);
    e->metrics = metrics_new();
    return e;
}

static int setup_files(void **state)
{
    struct env *e = env_new();
    const char *tmp = getenv("TMPDIR");
    snprintf(e->root, sizeof e->root, "%.40s/carat-cold-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(e->root));
    snprintf(e->dir, sizeof e->dir, "%s/cold", e->root);
    e->fs = fs_posix();
    open_cold(e);
    *state = e;
    return 0;
}

static int setup_sim(void **state)
{
    struct env *e = env_new();
    e->sim = sim_fs_new(7);
    e->fs = sim_fs_base(e->sim);
    strcpy(e->dir, SIM_ROOT "/cold");
    open_cold(e);
    *state = e;
    return 0;
}

static int setup_bucket(void **state, bool conditional)
{
    struct env *e = env_new();
    e->bucket = object_bucket_new();
    e->conditional = conditional;
    open_cold(e);
    *state = e;
    return 0;
}

static int setup_objects(void **state)
{
    return setup_bucket(state, true);
}

static int setup_plain(void **state)
{
    return setup_bucket(state, false);
}

struct names {
    char **v;
    size_t n;
};

static int add_name(void *ctx, const char *name)
{
    struct names *n = ctx;
    n->v = xrealloc(n->v, (n->n + 1) * sizeof *n->v);
    n->v[n->n++] = xstrdup(name);
    return 0;
}

static void names_free(struct names *n)
{
    for (size_t i = 0; i < n->n; i++)
        free(n->v[i]);
    free(n->v);
}

/* Packs, and 1 if there is a manifest. */
static size_t count_files(struct env *e)
{
    struct names n = {0};
    if (e->bucket)
        return object_bucket_count(e->bucket, "t/pack/") +
               (object_bucket_count(e->bucket, "t/manifest/") > 0);
    assert_int_equal(fs_list(e->fs, e->dir, add_name, &n, NULL), OK);
    names_free(&n);
    return n.n;
}

static int teardown(void **state)
{
    struct env *e = *state;
    struct names n = {0};
    cold_free(e->cold);
    tombstones_free(e->tombstones);
    metrics_free(e->metrics);
    if (e->bucket) {
        assert_int_equal(object_bucket_uploads(e->bucket), 0);
        object_bucket_free(e->bucket);
    } else if (e->sim) {
        sim_fs_free(e->sim);
    } else {
        (void)!fs_list(e->fs, e->dir, add_name, &n, NULL);
        for (size_t i = 0; i < n.n; i++) {
            char path[400];
            snprintf(path, sizeof path, "%s/%s", e->dir, n.v[i]);
            unlink(path);
        }
        names_free(&n);
        rmdir(e->dir);
        rmdir(e->root);
    }
    free(e);
    return 0;
}

/* --- parts --- */

static struct part text_part(uint32_t series, int64_t window, uint64_t lo, uint64_t hi, const char *text)
{
    return (struct part){{series, MINUTE, window * SPAN, hi}, lo, (const uint8_t *)text, strlen(text)};
}

static int try_add(struct env *e, const struct part *p, size_t n, struct err *err)
{
    struct cold_add *a;
    int rc = cold_add_begin(e->cold, p->key.step_ms, &a, err);
    for (size_t i = 0; i < n && rc == OK; i++)
        rc = cold_add_part(a, &p[i], err);
    if (rc < 0) {
        cold_add_abort(a);
        return rc;
    }
    return cold_add_commit(a, err);
}

static void add(struct env *e, const struct part *p, size_t n)
{
    struct err err = ERR_INIT;
    if (try_add(e, p, n, &err) < 0)
        fail_msg("add: %s", err.text);
}

static int print_part(void *ctx, const struct part *p)
{
    buf_printf(ctx, "%u/%lld:%llu..%llu=%.*s ", p->key.series, (long long)(p->key.window_ms / SPAN),
               (unsigned long long)p->lo, (unsigned long long)p->key.hi, (int)p->size, (const char *)p->data);
    return 0;
}

static void check_read(struct env *e, uint32_t series, int64_t from_ms, int64_t until_ms, const char *want)
{
    struct buf got = BUF_INIT;
    struct err err = ERR_INIT;
    if (cold_read(e->cold, series, MINUTE, from_ms, until_ms, print_part, &got, &err) != OK)
        fail_msg("read: %s", err.text);
    assert_string_equal(buf_str(&got), want);
    buf_release(&got);
}

static struct cold_stats stats(struct env *e)
{
    struct cold_stats s;
    cold_get_stats(e->cold, &s);
    return s;
}

/* --- tests --- */

static void what_was_added_is_read_in_order(void **state)
{
    struct env *e = *state;
    check_read(e, 1, 0, INT64_MAX, "");
    struct part p[] = {text_part(1, 3, 1, 9, "`a"), text_part(1, 4, 2, 300, "`b"),
                       text_part(1, 4, 301, 302, "`c"), text_part(2, 3, 1, 9, "`d"),
                       text_part(9, 7, 1, UINT64_MAX, "`e")};
    add(e, p, ARRAY_LEN(p));
    for (int again = 0; again < 2; again++) {
        check_read(e, 1, INT64_MIN, INT64_MAX, "1/3:1..9=`a 1/4:2..300=`b 1/4:301..302=`c ");
        check_read(e, 1, 4 * SPAN, 5 * SPAN, "1/4:2..300=`b 1/4:301..302=`c ");
        check_read(e, 1, 3 * SPAN + 1, INT64_MAX, "1/4:2..300=`b 1/4:301..302=`c ");
        check_read(e, 1, 5 * SPAN, INT64_MAX, "");
        check_read(e, 1, 4 * SPAN, 4 * SPAN, "");
        check_read(e, 2, 0, INT64_MAX, "2/3:1..9=`d ");
        check_read(e, 9, 0, INT64_MAX, "9/7:1..18446744073709551615=`e ");
        check_read(e, 3, 0, INT64_MAX, "");
        reopen(e);
    }
    assert_int_equal(stats(e).packs, 1);
    assert_int_equal(stats(e).parts, 5);
    assert_int_equal(stats(e).generation, 1);
}

static void a_part_out_of_order_is_refused(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    struct part p[] = {text_part(2, 3, 1, 9, "`a"), text_part(1, 3, 1, 9, "`b")};
    assert_int_equal(try_add(e, p, 2, &err), ERR_INVALID);
    p[1] = text_part(2, 3, 1, 8, "`b");
    assert_int_equal(try_add(e, p, 2, &err), ERR_INVALID);
    p[1] = text_part(2, 2, 1, 10, "`b");
    assert_int_equal(try_add(e, p, 2, &err), ERR_INVALID);
    p[1] = text_part(3, 3, 1, 9, "`b");
    p[1].key.window_ms++;
    assert_int_equal(try_add(e, p, 2, &err), ERR_INVALID);
    p[1] = text_part(3, 3, 1, 9, "`b");
    p[1].key.step_ms = 1000;
    assert_int_equal(try_add(e, p, 2, &err), ERR_INVALID);
    check_read(e, 2, 0, INT64_MAX, "");
    assert_int_equal(count_files(e), 0);
}

/* Blocks that are not the codec's stay apart; of one key the newest, unless it comes from a shorter run. */
static void other_blocks_stay_as_they_are(void **state)
{
    struct env *e = *state;
    struct part p[] = {text_part(1, 3, 5, 9, "`old"), text_part(1, 3, 5, 9, "`new"),
                       text_part(1, 3, 7, 9, "`short"), text_part(1, 3, 5, 12, "`next")};
    add(e, p, ARRAY_LEN(p));
    check_read(e, 1, 0, INT64_MAX, "1/3:5..9=`new 1/3:5..12=`next ");
    add(e, &(struct part[]){text_part(1, 3, 5, 9, "`newer")}[0], 1);
    check_read(e, 1, 0, INT64_MAX, "1/3:5..9=`new 1/3:5..9=`newer 1/3:5..12=`next ");
    size_t merged;
    assert_int_equal(cold_compact(e->cold, MINUTE, 2, NULL, NULL, &merged, NULL), OK);
    assert_int_equal(merged, 2);
    check_read(e, 1, 0, INT64_MAX, "1/3:5..9=`newer 1/3:5..12=`next ");
    assert_int_equal(cold_compact(e->cold, MINUTE, 2, NULL, NULL, &merged, NULL), OK);
    assert_int_equal(merged, 0);
    assert_int_equal(stats(e).packs, 1);
    assert_int_equal(count_files(e), 2); /* and the manifest */
}

/* A merged pack takes its newest source's place in the order: what lies between has to go in, large or not.
 */
static void a_merge_keeps_the_newer_of_equal_keys(void **state)
{
    struct env *e = *state;
    e->pack_bytes = 16 << 10; /* small: below 4 KB */
    reopen(e);
    char large[6000] = "`large";
    uint64_t x = 1;
    for (size_t i = 6; i < sizeof large; i++)
        large[i] = (char)((x = x * 6364136223846793005ull + 1) >> 56);
    struct part bulk[] = {text_part(1, 3, 5, 9, "`new"), text_part(4, 3, 5, 9, "`large")};
    bulk[1].data = (const uint8_t *)large;
    bulk[1].size = sizeof large;
    add(e, &(struct part[]){text_part(1, 3, 5, 9, "`old")}[0], 1);
    add(e, bulk, 2);
    add(e, &(struct part[]){text_part(9, 3, 5, 9, "`other")}[0], 1);
    check_read(e, 1, 0, INT64_MAX, "1/3:5..9=`old 1/3:5..9=`new ");
    size_t merged;
    assert_int_equal(cold_compact(e->cold, MINUTE, 2, NULL, NULL, &merged, NULL), OK);
    assert_int_equal(merged, 3);
    check_read(e, 1, 0, INT64_MAX, "1/3:5..9=`new ");
    check_read(e, 9, 0, INT64_MAX, "9/3:5..9=`other ");
}

static int stop_at_once(void *ctx, uint64_t bytes)
{
    *(uint64_t *)ctx += bytes;
    return 1;
}

static void a_merge_can_be_stopped(void **state)
{
    struct env *e = *state;
    uint64_t bytes = 0;
    size_t merged = 5;
    for (uint32_t i = 0; i < 3; i++)
        add(e, &(struct part[]){text_part(1 + i, 3, 5, 9, "`x")}[0], 1);
    assert_int_equal(cold_compact(e->cold, MINUTE, 2, stop_at_once, &bytes, &merged, NULL), ERR_CLOSED);
    assert_int_equal(merged, 0);
    assert_true(bytes > 0);
    assert_int_equal(stats(e).packs, 3);
    assert_int_equal(count_files(e), 4);
    check_read(e, 2, 0, INT64_MAX, "2/3:5..9=`x ");
}

struct nested {
    struct env *e;
    size_t parts;
};

/* While a read is under way its packs are merged, replaced and expired. */
static int replace_packs(void *ctx, const struct part *p)
{
    struct nested *n = ctx;
    size_t merged;
    assert_memory_equal(p->data, "`x", 2);
    if (n->parts++ == 0) {
        assert_int_equal(cold_compact(n->e->cold, MINUTE, 2, NULL, NULL, &merged, NULL), OK);
        assert_int_equal(merged, 3);
        assert_int_equal(cold_expire(n->e->cold, MINUTE, INT64_MAX, NULL), OK);
        assert_int_equal(stats(n->e).packs, 0);
        assert_int_equal(count_files(n->e), 4); /* the merged pack is gone; those being read are not */
        check_read(n->e, 1, 0, INT64_MAX, "");
    }
    return 0;
}

/* --- deletion --- */

static bool is_text(const struct part *p, const char *text)
{
    return p->size == strlen(text) && !memcmp(p->data, text, p->size);
}

struct filtering {
    size_t asked;
    unsigned left;
};

static enum part_mask filter_texts(void *ctx, const struct part *p, struct buf *block, struct part *out)
{
    ((struct filtering *)ctx)->asked++;
    *out = *p;
    if (is_text(p, "`dead"))
        return PART_DEAD;
    if (!is_text(p, "`whole"))
        return PART_LIVES;
    buf_clear(block);
    buf_puts(block, "`half");
    out->data = block->data;
    out->size = block->len;
    return PART_CUT;
}

static void count_left(void *ctx, const struct pack_info *p)
{
    ((struct filtering *)ctx)->left++;
}

static int rewrite(struct env *e, const struct cold_span *spans, size_t n, cold_wait_fn wait,
                   size_t *rewritten, struct filtering *f)
{
    static uint64_t bytes;
    struct err err = ERR_INIT;
    struct cold_rewrite r = {.step_ms = MINUTE,
                             .spans = spans,
                             .n = n,
                             .filter = filter_texts,
                             .left = count_left,
                             .ctx = f,
                             .wait = wait,
                             .wait_ctx = &bytes};
    *f = (struct filtering){0};
    int rc = cold_rewrite(e->cold, &r, rewritten, &err);
    assert_true(rc == OK || err.text[0]);
    return rc;
}

static void what_was_deleted_leaves_the_packs(void **state)
{
    struct env *e = *state;
    struct part a[] = {text_part(1, 3, 1, 9, "`old"), text_part(2, 3, 1, 9, "`whole"),
                       text_part(3, 3, 1, 9, "`kept")},
                b[] = {text_part(1, 3, 1, 9, "`new"), text_part(2, 4, 1, 9, "`dead"),
                       text_part(3, 4, 1, 9, "`kept")},
                c[] = {text_part(2, 5, 1, 9, "`dead")}, d[] = {text_part(7, 3, 1, 9, "`dead")};
    add(e, a, 3);
    add(e, b, 3);
    add(e, c, 1);
    add(e, d, 1);
    struct cold_span spans[] = {{2, 0, 5 * SPAN}, {2, 5 * SPAN, INT64_MAX}, {5, 0, INT64_MAX}};
    struct filtering f;
    size_t rewritten;
    assert_int_equal(rewrite(e, spans, 3, stop_at_once, &rewritten, &f), ERR_CLOSED);
    assert_int_equal(rewritten, 0);
    check_read(e, 2, 0, INT64_MAX, "2/3:1..9=`whole 2/4:1..9=`dead 2/5:1..9=`dead ");
    assert_int_equal(rewrite(e, spans, 3, NULL, &rewritten, &f), OK);
    assert_true(rewritten == 3 && f.left == 0);
    for (int again = 0; again < 2; again++) {
        check_read(e, 2, 0, INT64_MAX, "2/3:1..9=`half ");
        check_read(e, 1, 0, INT64_MAX, "1/3:1..9=`old 1/3:1..9=`new "); /* in the old order */
        check_read(e, 3, 0, INT64_MAX, "3/3:1..9=`kept 3/4:1..9=`kept ");
        check_read(e, 7, 0, INT64_MAX, "7/3:1..9=`dead "); /* nobody asked for it */
        assert_int_equal(count_files(e), 3 + 1);
        reopen(e);
    }
    assert_int_equal(rewrite(e, spans, 3, NULL, &rewritten, &f), OK);
    assert_int_equal(rewritten, 0);
    assert_int_equal(rewrite(e, &(struct cold_span){7, 0, 3 * SPAN}, 1, NULL, &rewritten, &f), OK);
    assert_int_equal(rewritten, 0); /* the window begins after it */
}

static void a_damaged_pack_is_left(void **state)
{
    struct env *e = *state;
    struct part a[] = {text_part(1, 3, 1, 9, "`kept"), text_part(2, 3, 1, 9, "`dead")},
                b[] = {text_part(1, 4, 1, 9, "`kept"), text_part(2, 4, 1, 9, "`dead")};
    add(e, a, 2);
    struct names n = {0};
    char path[400];
    assert_int_equal(fs_list(e->fs, e->dir, add_name, &n, NULL), OK);
    for (size_t i = 0; i < n.n; i++)
        if (strstr(n.v[i], ".pack"))
            snprintf(path, sizeof path, "%s/%s", e->dir, n.v[i]);
    names_free(&n);
    add(e, b, 2);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    char bytes[4096] = "";
    size_t size = fread(bytes, 1, sizeof bytes, f);
    char *kept = memmem(bytes, size, "`kept", 5); /* one run of the page, not the other */
    assert_non_null(kept);
    fseek(f, kept - bytes, SEEK_SET);
    fputs("????", f);
    fclose(f);
    reopen(e);
    struct filtering g;
    size_t rewritten;
    assert_int_equal(rewrite(e, &(struct cold_span){2, 0, INT64_MAX}, 1, NULL, &rewritten, &g), ERR_CORRUPT);
    assert_true(rewritten == 1 && g.left == 1); /* somebody may still save what is damaged of it */
    check_read(e, 1, 4 * SPAN, INT64_MAX, "1/4:1..9=`kept ");
    check_read(e, 2, 0, INT64_MAX, "2/3:1..9=`dead ");
    assert_int_equal(count_files(e), 2 + 1);
}

/* Points that a deletion killed must not get under the position of a part that came after it. */
static void parts_are_masked_before_they_become_one(void **state)
{
    struct env *e = *state;
    e->tombstones = tombstones_new();
    reopen(e);
    struct buf blocks = BUF_INIT;
    struct part p[2];
    buf_reserve(&blocks, 1000);
    for (int i = 0; i < 2; i++) {
        struct slots s;
        slots_init(&s, 240);
        for (uint32_t k = 0; k < 20; k++) {
            slot_set(s.present, k + 10 * (uint32_t)i);
            s.value[k + 10 * (uint32_t)i] = i;
        }
        size_t at = blocks.len;
        codec_encode(&(struct codec_in){s.n, s.present, s.value}, &blocks);
        p[i] =
            (struct part){{1, MINUTE, 3 * SPAN, i ? 20 : 5}, i ? 11 : 1, blocks.data + at, blocks.len - at};
    }
    struct tombstone t = {1, false, 3 * SPAN, 4 * SPAN, 10};
    tombstones_add(e->tombstones, &t, 1);
    add(e, p, 2);
    struct buf text = BUF_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(cold_read(e->cold, 1, MINUTE, 0, INT64_MAX, print_part, &text, &err), OK);
    assert_non_null(strstr(buf_str(&text), "1/3:11..20="));
    assert_null(strstr(buf_str(&text), "1..5="));
    assert_int_equal(stats(e).points, 20);
    buf_release(&text);
    buf_release(&blocks);
}

static void a_read_keeps_its_packs(void **state)
{
    struct env *e = *state;
    struct nested n = {.e = e};
    for (int64_t w = 0; w < 3; w++)
        add(e, &(struct part[]){text_part(1, w, 5, 9, "`x")}[0], 1);
    assert_int_equal(cold_read(e->cold, 1, MINUTE, 0, INT64_MAX, replace_packs, &n, NULL), OK);
    assert_int_equal(n.parts, 3);
    assert_int_equal(count_files(e), 1); /* the manifest */
}

/* Many pages and packs: long blocks of noise that does not shrink. */
static void large_additions_are_cut_into_packs(void **state)
{
    struct env *e = *state;
    enum { SERIES = 400, WINDOWS = 5, BYTES = 1500 };
    e->pack_bytes = 1 << 20;
    reopen(e);
    struct cold_add *a;
    struct err err = ERR_INIT;
    uint8_t block[BYTES];
    uint64_t x = 1;
    assert_int_equal(cold_add_begin(e->cold, MINUTE, &a, &err), OK);
    for (uint32_t i = 0; i < SERIES * WINDOWS; i++) {
        block[0] = 0x60;
        put_u32le(block + 1, i);
        for (size_t k = 5; k < BYTES; k++)
            block[k] = (uint8_t)((x = x * 6364136223846793005ull + 1) >> 56);
        struct part p = {{i / WINDOWS * 3, MINUTE, i % WINDOWS * SPAN, i + 10}, i, block, BYTES};
        assert_int_equal(cold_add_part(a, &p, &err), OK);
    }
    assert_int_equal(cold_add_commit(a, &err), OK);
    assert_int_equal(stats(e).packs, 3);
    assert_int_equal(stats(e).parts, SERIES * WINDOWS);
    for (uint32_t s = 0; s < 3 * SERIES; s++) {
        struct buf got = BUF_INIT;
        assert_int_equal(cold_read(e->cold, s, MINUTE, SPAN, 4 * SPAN, print_part, &got, &err), OK);
        char want[64];
        snprintf(want, sizeof want, "%u/1:%u..%u=`", s, s / 3 * WINDOWS + 1, s / 3 * WINDOWS + 11);
        if (s % 3)
            assert_int_equal(got.len, 0);
        else
            assert_memory_equal(got.data, want, strlen(want));
        buf_release(&got);
    }
    struct cold_verify_ctx v = {0};
    assert_int_equal(cold_verify(e->cold, &v, &err), OK);
}

/* --- random operations against the model --- */

struct run_at {
    int series, window, lo, hi;
};

static int by_key(const void *a, const void *b)
{
    const struct run_at *x = a, *y = b;
    if (x->series != y->series)
        return x->series - y->series;
    return x->window != y->window ? x->window - y->window : x->hi - y->hi;
}

static void random_add(struct env *e, struct model *m)
{
    struct run_at runs[60];
    int step = (int)model_below(m, MODEL_STEPS), n = 1 + (int)model_below(m, 60),
        group = (int)model_below(m, 3) * 30;
    for (int i = 0; i < n; i++) {
        int window = group + (int)model_below(m, 32), lo, hi;
        runs[i].series = (int)model_below(m, MODEL_SERIES);
        runs[i].window = window < MODEL_WINDOWS ? window : 0;
        model_run(m, step, runs[i].series, runs[i].window, &lo, &hi);
        runs[i].lo = lo;
        runs[i].hi = hi;
    }
    qsort(runs, (size_t)n, sizeof runs[0], by_key);
    struct cold_add *a;
    struct buf block = BUF_INIT;
    assert_int_equal(cold_add_begin(e->cold, model_steps[step], &a, NULL), OK);
    for (int i = 0; i < n; i++) {
        buf_clear(&block);
        struct part p = model_part(m, step, runs[i].series, runs[i].window, runs[i].lo, runs[i].hi, &block);
        assert_int_equal(cold_add_part(a, &p, NULL), OK);
    }
    buf_release(&block);
    assert_int_equal(cold_add_commit(a, NULL), OK);
}

static void check_model(struct env *e, struct model *m)
{
    for (int step = 0; step < MODEL_STEPS; step++)
        for (int series = 0; series < MODEL_SERIES; series++) {
            int from = (int)model_below(m, MODEL_WINDOWS), until = (int)model_below(m, MODEL_WINDOWS + 10);
            int64_t span = window_span_ms(model_steps[step]);
            struct model_view v = {.step = step, .series = series};
            assert_int_equal(cold_read(e->cold, (uint32_t)series, model_steps[step], from * span,
                                       until * span, model_lay, &v, NULL),
                             OK);
            model_check_view(m, &v, from, until);
        }
}

struct forgetting {
    struct model *m;
    int64_t before_ms;
    int step;
    bool kept[MODEL_WINDOWS];
};

static int note_kept(void *ctx, const struct pack_info *p)
{
    struct forgetting *f = ctx;
    int64_t span = window_span_ms(model_steps[f->step]);
    if (p->step_ms != model_steps[f->step])
        return 0;
    assert_true(p->until_ms > f->before_ms);
    for (int64_t w = p->from_ms / span; w < p->until_ms / span; w++)
        f->kept[w] = true;
    return 0;
}

/* Whole packs go; a window that no pack may hold any more is forgotten. Merged packs first, so that the model
 * needs to know nothing of packs. */
static void random_expiry(struct env *e, struct model *m)
{
    struct forgetting f = {.m = m, .step = (int)model_below(m, MODEL_STEPS)};
    uint32_t step = model_steps[f.step];
    size_t merged = 1;
    while (merged)
        assert_int_equal(cold_compact(e->cold, step, 2, NULL, NULL, &merged, NULL), OK);
    f.before_ms = (int64_t)model_below(m, 100) * window_span_ms(step);
    assert_int_equal(cold_expire(e->cold, step, f.before_ms, NULL), OK);
    cold_list(e->cold, note_kept, &f);
    for (int w = 0; w < MODEL_WINDOWS; w++)
        for (int series = 0; series < MODEL_SERIES && !f.kept[w]; series++)
            memset(m->w[f.step][series][w].covered, 0, sizeof m->w[f.step][series][w].covered);
}

static void random_operations_match_the_model(void **state)
{
    struct env *e = *state;
    uint64_t seed = (uint64_t)clock_mono_us(clock_system());
    printf("# SEED=%llu\n", (unsigned long long)seed);
    e->cache_bytes = 3000; /* a few footers */
    reopen(e);
    struct model *m = xmalloc(sizeof *m);
    model_init(m, seed);
    for (int i = 0; i < 150; i++) {
        uint32_t what = model_below(m, 20);
        size_t merged;
        if (what < 10)
            random_add(e, m);
        else if (what < 14)
            assert_int_equal(
                cold_compact(e->cold, model_steps[what % 2], 2 + what % 3, NULL, NULL, &merged, NULL), OK);
        else if (what < 15)
            random_expiry(e, m);
        else if (what < 16)
            reopen(e);
        check_model(e, m);
    }
    struct cold_verify_ctx v = {0};
    assert_int_equal(cold_verify(e->cold, &v, NULL), OK);
    assert_int_equal(count_files(e), stats(e).packs + (stats(e).generation ? 1 : 0));
    assert_int_equal(stats(e).corrupt_parts, 0);
    free(m);
}

/* Each on the real file system, on the simulated one, and on objects with and without conditional puts. */
#define ON(f, on)                                                                                            \
    {                                                                                                        \
#on ": " #f, f, setup_##on, teardown, NULL                                                           \
    }
#define EACH(f) ON(f, files), ON(f, sim), ON(f, objects), ON(f, plain)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(what_was_added_is_read_in_order),
        EACH(a_part_out_of_order_is_refused),
        EACH(a_merge_keeps_the_newer_of_equal_keys),
        EACH(a_merge_can_be_stopped),
        EACH(what_was_deleted_leaves_the_packs),
        EACH(parts_are_masked_before_they_become_one),
        cmocka_unit_test_setup_teardown(a_damaged_pack_is_left, setup_files, teardown),
        EACH(a_read_keeps_its_packs),
        EACH(other_blocks_stay_as_they_are),
        EACH(large_additions_are_cut_into_packs),
        EACH(random_operations_match_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
