/* What every backend of the warm tier must do, and what only one of them can do wrong. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cold/cold_files.h"
#include "cold/warm_tiered.h"
#include "warm/dynamodb_item.h"
#include "warm/warm.h"
#include "warm/warm_dynamodb.h"
#include "warm/warm_fault.h"
#include "warm/warm_impl.h"
#include "warm/warm_key.h"
#include "warm/warm_mem.h"
#include "warm/warm_rocksdb.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MINUTE 60000u
#define SPAN   14400000ll /* of a window of one-minute steps */
#define GROUP  (WARM_GROUP_WINDOWS * SPAN)

static const char *self; /* this program, for tests that need a process of their own */

/* --- backends --- */

struct env {
    const struct backend *backend;
    char dir[64], db[80];
    struct metrics *metrics;
    struct warm *warm;
    struct warm *below; /* tiered: what it is made of */
    struct cold *cold;
    struct aws_credentials *credentials; /* dynamodb */
    struct aws_client *client;
    struct clock_fake clock;
    uint32_t series_end; /* of what was put */
    int64_t keep_ms;
};

struct backend {
    const char *name;
    struct warm *(*open)(struct env *);
    struct warm *(*reopen)(struct env *); /* after a sync: everything must be there */
    void (*damage)(struct env *, const struct part_key *);
    bool in_steps; /* a put of several parts is not one step */
};

static struct warm *mem_open(struct env *e)
{
    return warm_mem_new(e->metrics);
}

static struct warm *mem_reopen(struct env *e)
{
    warm_mem_cut(e->warm);
    return e->warm;
}

static void mem_damage(struct env *e, const struct part_key *key)
{
    assert_int_equal(warm_mem_damage(e->warm, key), 0);
}

static struct warm *rocks_open(struct env *e)
{
    struct warm_rocksdb_options o = {
        .dir = e->db, .metrics = e->metrics, .create = true, .write_buffer_bytes = 256 << 10};
    struct warm *w = NULL;
    struct err err = ERR_INIT;
    if (warm_rocksdb_open(&o, &w, &err) < 0)
        fail_msg("open: %s", err.text);
    return w;
}

static struct warm *rocks_reopen(struct env *e)
{
    warm_free(e->warm);
    return rocks_open(e);
}

/* Writes rubbish under a key behind the tier's back. */
static void rocks_damage(struct env *e, const struct part_key *key)
{
    assert_int_equal(warm_sync(e->warm, NULL), OK);
    warm_free(e->warm);
    uint8_t k[WARM_KEY_BYTES];
    warm_key_put(k, key);
    char *msg = NULL;
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_disable_auto_compactions(o, 1);
    rocksdb_t *db = rocksdb_open(o, e->db, &msg);
    assert_null(msg);
    rocksdb_writeoptions_t *wo = rocksdb_writeoptions_create();
    rocksdb_put(db, wo, (const char *)k, sizeof k, "\1\0\3abcdefg", 10, &msg);
    assert_null(msg);
    rocksdb_writeoptions_destroy(wo);
    rocksdb_close(db);
    rocksdb_options_destroy(o);
    e->warm = rocks_open(e);
}

static struct warm *fault_open(struct env *e)
{
    return warm_fault_new(warm_mem_new(e->metrics));
}

static struct warm *fault_reopen(struct env *e)
{
    struct warm *inner = warm_fault_unwrap(e->warm);
    warm_mem_cut(inner);
    return warm_fault_new(inner);
}

static void fault_damage(struct env *e, const struct part_key *key)
{
    assert_int_equal(warm_mem_damage(warm_fault_inner(e->warm), key), 0);
}

/* Nothing is in cold here: that is test_cold.c's and test_mover.c's. */
static struct warm *tiered_open(struct env *e)
{
    struct cold_files_options o = {.dir = e->db, .fs = fs_posix(), .create = true};
    struct err err = ERR_INIT;
    if (cold_files_open(&o, &e->cold, &err) < 0)
        fail_msg("open: %s", err.text);
    e->below = warm_mem_new(e->metrics);
    return warm_tiered_new(e->below, e->cold);
}

static struct warm *tiered_reopen(struct env *e)
{
    warm_mem_cut(e->below);
    return e->warm;
}

static void tiered_damage(struct env *e, const struct part_key *key)
{
    assert_int_equal(warm_mem_damage(e->below, key), 0);
}

static struct warm *cached_open(struct env *e)
{
    warm_free(tiered_open(e));
    return warm_tiered_cached_new(e->below, e->cold, 1 << 20, e->metrics);
}

static struct warm *cached_reopen(struct env *e)
{
    warm_free(e->warm);
    warm_mem_cut(e->below);
    return warm_tiered_cached_new(e->below, e->cold, 1 << 20, e->metrics);
}

/* What was read before is not read again, and so not found damaged. */
static void cached_damage(struct env *e, const struct part_key *key)
{
    tiered_damage(e, key);
    e->below->changed(e->below->changed_ctx, key->series, key->step_ms, 0);
}

static uint32_t series_end(void *ctx)
{
    return ((struct env *)ctx)->series_end;
}

static int64_t keep_ms(void *ctx, uint32_t step_ms)
{
    (void)step_ms;
    return ((struct env *)ctx)->keep_ms;
}

/* A table for each test; the service's address is in CARAT_DYNAMODB. */
static struct warm *dynamodb_open(struct env *e)
{
    struct err err = ERR_INIT;
    struct warm *w = NULL;
    if (!e->client) {
        e->credentials = aws_credentials_new(&(struct aws_credentials_options){.clock = clock_system()});
        struct aws_client_options c = {.service = "dynamodb",
                                       .region = "us-east-1",
                                       .endpoint = getenv("CARAT_DYNAMODB"),
                                       .credentials = e->credentials,
                                       .attempt_ms = 1000,
                                       .backoff_base_ms = 5,
                                       .backoff_cap_ms = 200,
                                       .metrics = e->metrics};
        if (aws_client_new(&c, &e->client, &err) < 0)
            fail_msg("client: %s", err.text);
        clock_fake_init(&e->clock, clock_wall_ms(clock_system()));
    }
    struct warm_dynamodb_options o = {.client = e->client,
                                      .table = strrchr(e->dir, '/') + 1,
                                      .identity = "tests",
                                      .create = true,
                                      .clock = &e->clock.base,
                                      .metrics = e->metrics,
                                      .series_end = series_end,
                                      .keep_ms = e->keep_ms ? keep_ms : NULL,
                                      .ctx = e};
    if (warm_dynamodb_open(&o, &w, &err) < 0)
        fail_msg("open: %s", err.text);
    return w;
}

static struct warm *dynamodb_reopen(struct env *e)
{
    warm_free(e->warm);
    return dynamodb_open(e);
}

static int dynamodb_run(struct env *e, const char *operation, const char *body)
{
    char target[80];
    struct err err = ERR_INIT;
    snprintf(target, sizeof target, "DynamoDB_20120810.%s", operation);
    struct aws_pair headers[] = {{"content-type", "application/x-amz-json-1.0"}, {"x-amz-target", target}};
    struct aws_call call = {.op = aws_operation(e->client, operation),
                            .method = "POST",
                            .path = "/",
                            .headers = headers,
                            .nheaders = 2,
                            .body = body,
                            .body_len = strlen(body)};
    int rc = aws_call(e->client, &call, &err);
    aws_call_release(&call);
    if (rc < 0)
        fail_msg("%s", err.text);
    return rc;
}

/* Rubbish under the key, in a part of the run 1..hi. */
static void dynamodb_damage(struct env *e, const struct part_key *key)
{
    struct dynamodb_key k = dynamodb_part_key(key, 1);
    struct buf body = BUF_INIT;
    buf_printf(&body, "{\"TableName\":\"%s\",\"Item\":{", strrchr(e->dir, '/') + 1);
    dynamodb_put_key(&body, &k);
    buf_puts(&body, ",\"v\":");
    dynamodb_put_binary(&body, "\1\0\3abcdefg", 10);
    buf_puts(&body, "}}");
    dynamodb_run(e, "PutItem", buf_str(&body));
    buf_release(&body);
}

static const struct backend backends[] = {
    {"mem", mem_open, mem_reopen, mem_damage, false},
    {"rocksdb", rocks_open, rocks_reopen, rocks_damage, false},
    {"fault", fault_open, fault_reopen, fault_damage, false},
    {"tiered", tiered_open, tiered_reopen, tiered_damage, false},
    {"cached", cached_open, cached_reopen, cached_damage, false},
    {"dynamodb", dynamodb_open, dynamodb_reopen, dynamodb_damage, true},
};

static void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *f; d && (f = readdir(d));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
        if (!strcmp(f->d_name, ".") || !strcmp(f->d_name, ".."))
            continue;
        if (unlink(path) < 0)
            remove_dir(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

static int make_dir(void **state)
{
    struct env *e = xcalloc(1, sizeof *e);
    const char *tmp = getenv("TMPDIR");
    snprintf(e->dir, sizeof e->dir, "%.40s/carat-warm-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(e->dir));
    snprintf(e->db, sizeof e->db, "%s/warm", e->dir);
    e->metrics = metrics_new();
    e->backend = *state;
    *state = e;
    return 0;
}

static int setup(void **state)
{
    make_dir(state);
    struct env *e = *state;
    e->warm = e->backend->open(e);
    return 0;
}

static int teardown(void **state)
{
    struct env *e = *state;
    warm_free(e->warm);
    warm_free(e->below);
    cold_free(e->cold);
    aws_client_free(e->client);
    aws_credentials_free(e->credentials);
    metrics_free(e->metrics);
    remove_dir(e->dir);
    free(e);
    return 0;
}

static void reopen(struct env *e)
{
    struct err err = ERR_INIT;
    if (warm_sync(e->warm, &err) < 0)
        fail_msg("sync: %s", err.text);
    e->warm = e->backend->reopen(e);
}

/* --- parts whose bytes tell what they are --- */

struct seen {
    struct part_key key;
    uint64_t lo;
    char text[64];
};

struct list {
    struct seen *v;
    size_t n, cap, stop_at;
};

static struct seen seen_make(uint32_t series, uint32_t step_ms, int64_t window, uint64_t lo, uint64_t hi)
{
    struct seen s = {{series, step_ms, window * window_span_ms(step_ms), hi}, lo, ""};
    snprintf(s.text, sizeof s.text, "%u/%u/%lld/%llu..%llu", series, step_ms, (long long)window,
             (unsigned long long)lo, (unsigned long long)hi);
    return s;
}

static struct part part_of(const struct seen *s)
{
    return (struct part){s->key, s->lo, (const uint8_t *)s->text, strlen(s->text)};
}

static void list_add(struct list *l, const struct seen *s)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->v = xrealloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = *s;
}

static int collect(void *ctx, const struct part *p)
{
    struct list *l = ctx;
    struct seen s = {p->key, p->lo, ""};
    assert_true(p->size < sizeof s.text);
    memcpy(s.text, p->data, p->size);
    list_add(l, &s);
    return l->n == l->stop_at ? 77 : 0;
}

static int put_some(struct env *e, const struct seen *s, size_t n, const struct part_key *remove,
                    size_t nremove, struct err *err)
{
    struct part parts[64];
    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++) {
        parts[i] = part_of(&s[i]);
        e->series_end = s[i].key.series >= e->series_end ? s[i].key.series + 1 : e->series_end;
    }
    int rc;
    do
        rc = warm_put(e->warm, parts, n, remove, nremove, err);
    while (rc == ERR_BUSY);
    return rc;
}

static void put(struct env *e, uint32_t series, int64_t window, uint64_t lo, uint64_t hi)
{
    struct err err = ERR_INIT;
    struct seen s = seen_make(series, MINUTE, window, lo, hi);
    if (put_some(e, &s, 1, NULL, 0, &err) < 0)
        fail_msg("put: %s", err.text);
}

static int read_range(struct env *e, struct list *l, uint32_t series, uint32_t step_ms, int64_t from_ms,
                      int64_t until_ms)
{
    struct err err = ERR_INIT;
    l->n = 0;
    int rc = warm_read(e->warm, series, step_ms, from_ms, until_ms, collect, l, &err);
    assert_int_equal(rc < 0 ? rc : 0, err.code);
    return rc;
}

/* "window:lo..hi window:lo..hi" of a read of one-minute data. */
static void check_read(struct env *e, uint32_t series, int64_t from_ms, int64_t until_ms, const char *want)
{
    struct list l = {0};
    struct buf got = BUF_INIT;
    assert_int_equal(read_range(e, &l, series, MINUTE, from_ms, until_ms), OK);
    for (size_t i = 0; i < l.n; i++) {
        struct seen same = seen_make(series, MINUTE, l.v[i].key.window_ms / SPAN, l.v[i].lo, l.v[i].key.hi);
        assert_string_equal(l.v[i].text, same.text);
        assert_int_equal(l.v[i].key.series, series);
        assert_int_equal(l.v[i].key.step_ms, MINUTE);
        buf_printf(&got, "%s%lld:%llu..%llu", i ? " " : "", (long long)(l.v[i].key.window_ms / SPAN),
                   (unsigned long long)l.v[i].lo, (unsigned long long)l.v[i].key.hi);
    }
    assert_string_equal(buf_str(&got), want);
    buf_release(&got);
    free(l.v);
}

/* --- every backend --- */

static void parts_come_in_order(void **state)
{
    struct env *e = *state;
    put(e, 7, 300, 1, 300);
    put(e, 7, 2, 5, 256);
    put(e, 7, 31, 1, 9);
    put(e, 7, 2, 5, 255);
    put(e, 7, 32, 2, 9);
    put(e, 7, 2, 5, 1ull << 40);
    put(e, 8, 2, 1, 2);
    put(e, 6, 33, 1, 2);
    for (int again = 0; again < 2; again++) {
        check_read(e, 7, INT64_MIN, INT64_MAX,
                   "2:5..255 2:5..256 2:5..1099511627776 31:1..9 32:2..9 300:1..300");
        check_read(e, 6, INT64_MIN, INT64_MAX, "33:1..2");
        check_read(e, 9, INT64_MIN, INT64_MAX, "");
        reopen(e);
    }
}

static void a_range_is_of_window_starts(void **state)
{
    struct env *e = *state;
    for (int w = 0; w < 100; w++)
        put(e, 1, w, 1, 2);
    check_read(e, 1, 0, 0, "");
    check_read(e, 1, 5 * SPAN, 4 * SPAN, "");
    check_read(e, 1, -SPAN, 1, "0:1..2");
    check_read(e, 1, 3 * SPAN, 5 * SPAN, "3:1..2 4:1..2");
    check_read(e, 1, 3 * SPAN + 1, 5 * SPAN + 1, "4:1..2 5:1..2");
    check_read(e, 1, 30 * SPAN, 34 * SPAN, "30:1..2 31:1..2 32:1..2 33:1..2");
    check_read(e, 1, 63 * SPAN, 64 * SPAN, "63:1..2");
    check_read(e, 1, 98 * SPAN, INT64_MAX, "98:1..2 99:1..2");
    check_read(e, 1, INT64_MAX - 1, INT64_MAX, "");
}

static void the_same_put_again_changes_nothing(void **state)
{
    struct env *e = *state;
    for (int again = 0; again < 3; again++) {
        put(e, 1, 1, 3, 9);
        put(e, 1, 1, 10, 12);
        check_read(e, 1, 0, INT64_MAX, "1:3..9 1:10..12");
        reopen(e);
    }
}

/* A replay from the middle of a part's run makes a part with the same end and fewer points. */
static void of_equal_keys_the_longer_run_stays(void **state)
{
    struct env *e = *state;
    put(e, 1, 1, 5, 9);
    put(e, 1, 1, 7, 9);
    check_read(e, 1, 0, INT64_MAX, "1:5..9");
    reopen(e);
    put(e, 1, 1, 6, 9);
    check_read(e, 1, 0, INT64_MAX, "1:5..9");
    put(e, 1, 1, 2, 9);
    reopen(e);
    check_read(e, 1, 0, INT64_MAX, "1:2..9");
}

static void a_removal_goes_with_the_put(void **state)
{
    struct env *e = *state;
    put(e, 1, 1, 1, 4);
    put(e, 1, 1, 5, 9);
    put(e, 1, 2, 1, 9);
    struct part_key remove[3] = {{1, MINUTE, SPAN, 4}, {1, MINUTE, SPAN, 9}, {1, MINUTE, SPAN, 5}};
    struct seen merged = seen_make(1, MINUTE, 1, 1, 9);
    struct err err = ERR_INIT;
    assert_int_equal(put_some(e, &merged, 1, remove, 3, &err), OK);
    check_read(e, 1, 0, INT64_MAX, "1:1..9 2:1..9");
    reopen(e);
    check_read(e, 1, 0, INT64_MAX, "1:1..9 2:1..9");
    /* A removal forgets the run, too: what is put afterwards is what is there. */
    merged = seen_make(1, MINUTE, 1, 4, 9);
    assert_int_equal(put_some(e, &merged, 1, &merged.key, 1, &err), OK);
    check_read(e, 1, 0, INT64_MAX, "1:4..9 2:1..9");
    assert_int_equal(put_some(e, NULL, 0, &merged.key, 1, &err), OK);
    reopen(e);
    check_read(e, 1, 0, INT64_MAX, "2:1..9");
    struct warm_stats s;
    warm_get_stats(e->warm, &s);
    assert_true(s.removes >= 1 || s.puts == 0);
}

static void a_bad_window_or_step_is_refused_whole(void **state)
{
    struct env *e = *state;
    struct seen good = seen_make(1, MINUTE, 1, 1, 2);
    struct part_key bad[] = {
        {1, MINUTE, -SPAN, 1}, {1, MINUTE, SPAN + 1, 1}, {1, 0, 0, 1}, {1, 999, 0, 1}, {1, 86400001, 0, 1}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = ERR_INIT;
        struct part parts[2] = {part_of(&good), {bad[i], 1, (const uint8_t *)"x", 1}};
        assert_int_equal(warm_put(e->warm, parts, 2, NULL, 0, &err), ERR_INVALID);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(warm_put(e->warm, parts, 1, &bad[i], 1, &err), ERR_INVALID);
    }
    check_read(e, 1, 0, INT64_MAX, "");
    assert_int_equal(warm_expire(e->warm, 0, 1, NULL), ERR_INVALID);
    assert_int_equal(warm_read(e->warm, 1, 0, 0, 1, collect, NULL, NULL), ERR_INVALID);
    assert_int_equal(warm_put(e->warm, NULL, 0, NULL, 0, NULL), OK);
}

static void the_callback_can_stop(void **state)
{
    struct env *e = *state;
    for (int w = 0; w < 80; w += 20)
        put(e, 1, w, 1, 2);
    struct list l = {.stop_at = 3};
    assert_int_equal(warm_read(e->warm, 1, MINUTE, 0, INT64_MAX, collect, &l, NULL), 77);
    assert_int_equal(l.n, 3);
    free(l.v);
}

static void many_series_keep_apart(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    enum { SERIES = 3000, WINDOWS = 3 };
    for (uint32_t first = 1; first <= SERIES; first += 20) {
        struct seen s[20 * WINDOWS];
        for (uint32_t i = 0; i < ARRAY_LEN(s); i++)
            s[i] = seen_make(first + i / WINDOWS, MINUTE, 31 + (int64_t)(i % WINDOWS) * 32, 1, 2);
        assert_int_equal(put_some(e, s, ARRAY_LEN(s), NULL, 0, &err), OK);
    }
    for (uint32_t series = 1; series <= SERIES; series += 7)
        check_read(e, series, 0, INT64_MAX, "31:1..2 63:1..2 95:1..2");
    check_read(e, SERIES + 1, 0, INT64_MAX, "");
    check_read(e, UINT32_MAX, 0, INT64_MAX, "");
    reopen(e);
    check_read(e, 1, 0, INT64_MAX, "31:1..2 63:1..2 95:1..2");
    check_read(e, SERIES, 0, INT64_MAX, "31:1..2 63:1..2 95:1..2");
}

static void expiry_takes_old_windows_only(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    struct list l = {0};
    struct seen other = seen_make(1, 1000, 0, 1, 2);
    assert_int_equal(put_some(e, &other, 1, NULL, 0, &err), OK);
    for (int w = 0; w < 100; w++) {
        put(e, 1, w, 1, 2);
        put(e, 2, w, 1, 2);
    }
    int64_t before[] = {-5, 0, GROUP - 1, GROUP, GROUP + 3 * SPAN + 1, 3 * GROUP - 1, 3 * GROUP};
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        assert_int_equal(warm_expire(e->warm, MINUTE, before[i], &err), OK);
        assert_int_equal(warm_expire(e->warm, MINUTE, before[i], &err), OK);
        for (uint32_t series = 1; series <= 2; series++) {
            int64_t kept = before[i] < 0 ? 0 : before[i] / SPAN; /* first window that must stay */
            assert_int_equal(read_range(e, &l, series, MINUTE, kept * SPAN, INT64_MAX), OK);
            assert_int_equal(l.n, 100 - kept);
            /* Whole groups are gone. */
            assert_int_equal(
                read_range(e, &l, series, MINUTE, 0, before[i] < 0 ? 0 : before[i] / GROUP * GROUP), OK);
            assert_int_equal(l.n, 0);
        }
        reopen(e);
    }
    assert_int_equal(read_range(e, &l, 1, 1000, 0, INT64_MAX), OK);
    assert_int_equal(l.n, 1);
    /* The space can be used again: late points may still come. */
    put(e, 1, 5, 1, 2);
    check_read(e, 1, 0, 10 * SPAN, "5:1..2");
    assert_int_equal(warm_expire(e->warm, MINUTE, INT64_MAX, &err), OK);
    check_read(e, 1, 0, INT64_MAX, "");
    free(l.v);
}

static void damage_is_skipped_and_told(void **state)
{
    struct env *e = *state;
    struct list l = {0};
    for (int w = 1; w < 5; w++)
        put(e, 1, w, 1, 2);
    e->backend->damage(e, &(struct part_key){1, MINUTE, 2 * SPAN, 2});
    struct err err = ERR_INIT;
    assert_int_equal(warm_read(e->warm, 1, MINUTE, 0, INT64_MAX, collect, &l, &err), ERR_CORRUPT);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_non_null(strstr(err.text, "series 1"));
    assert_int_equal(l.n, 3);
    assert_int_equal(l.v[1].key.window_ms, 3 * SPAN);
    check_read(e, 1, 3 * SPAN, INT64_MAX, "3:1..2 4:1..2");
    struct warm_stats s;
    warm_get_stats(e->warm, &s);
    assert_int_equal(s.corrupt_parts, 1);
    /* The same part put again heals it. */
    put(e, 1, 2, 1, 2);
    check_read(e, 1, 0, INT64_MAX, "1:1..2 2:1..2 3:1..2 4:1..2");
    free(l.v);
}

static void numbers_are_counted(void **state)
{
    struct env *e = *state;
    struct warm_stats s;
    for (int w = 0; w < 40; w++)
        put(e, 1, w, 1, 2);
    check_read(e, 1, 0, SPAN, "0:1..2");
    assert_int_equal(warm_sync(e->warm, NULL), OK);
    warm_get_stats(e->warm, &s);
    assert_int_equal(s.puts, 40);
    assert_int_equal(s.reads, 1);
    assert_int_equal(s.read_parts, 1);
    assert_true(s.stored_bytes > 0);
    struct buf out = BUF_INIT;
    metrics_render(e->metrics, &out);
    const char *want[] = {"carat_warm_puts_total 40\n",          "carat_warm_read_parts_total 1\n",
                          "carat_warm_corrupt_parts_total 0\n",  "carat_warm_put_seconds_count 40\n",
                          "carat_warm_sync_seconds_count 1\n",   "carat_warm_read_seconds_count 1\n",
                          "# TYPE carat_warm_stored_bytes gauge"};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        if (!strstr(buf_str(&out), want[i]))
            fail_msg("no \"%s\" in the metrics", want[i]);
    buf_release(&out);
}

/* "group/series/window:lo..hi ..." of a scan of one-minute data. */
static void check_scan(struct env *e, int64_t from_ms, int64_t until_ms, const char *want)
{
    struct list l = {0};
    struct buf got = BUF_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(warm_scan(e->warm, MINUTE, from_ms, until_ms, collect, &l, &err), OK);
    for (size_t i = 0; i < l.n; i++)
        buf_printf(&got, "%s%lld/%u/%lld:%llu..%llu", i ? " " : "", (long long)(l.v[i].key.window_ms / GROUP),
                   l.v[i].key.series, (long long)(l.v[i].key.window_ms / SPAN), (unsigned long long)l.v[i].lo,
                   (unsigned long long)l.v[i].key.hi);
    assert_string_equal(buf_str(&got), want);
    buf_release(&got);
    free(l.v);
}

static void a_scan_goes_group_by_group(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    struct seen other = seen_make(1, 1000, 0, 1, 2), later = seen_make(1, 300000, 0, 1, 2);
    assert_int_equal(put_some(e, &other, 1, NULL, 0, &err), OK);
    assert_int_equal(put_some(e, &later, 1, NULL, 0, &err), OK);
    check_scan(e, 0, INT64_MAX, "");
    put(e, 2, 1, 1, 4);
    put(e, 2, 1, 5, 300);
    put(e, 1, 3, 1, 2);
    put(e, 1, 40, 1, 2);
    put(e, 300, 0, 1, 2);
    put(e, 2, 33, 1, 2);
    put(e, 1, 500, 1, 2);
    for (int again = 0; again < 2; again++) {
        check_scan(e, INT64_MIN, INT64_MAX,
                   "0/1/3:1..2 0/2/1:1..4 0/2/1:5..300 0/300/0:1..2 1/1/40:1..2 1/2/33:1..2 15/1/500:1..2");
        check_scan(e, SPAN, 40 * SPAN, "0/1/3:1..2 0/2/1:1..4 0/2/1:5..300 1/2/33:1..2");
        check_scan(e, 4 * SPAN, 33 * SPAN, "");
        check_scan(e, 2 * GROUP, INT64_MAX, "15/1/500:1..2");
        check_scan(e, 5, 5, "");
        reopen(e);
    }
    struct list l = {.stop_at = 3};
    assert_int_equal(warm_scan(e->warm, MINUTE, 0, INT64_MAX, collect, &l, &err), 77);
    assert_int_equal(l.n, 3);
    free(l.v);
    assert_int_equal(warm_scan(e->warm, 1, 0, INT64_MAX, collect, NULL, &err), ERR_INVALID);
    e->backend->damage(e, &(struct part_key){2, MINUTE, SPAN, 4});
    l = (struct list){0};
    assert_int_equal(warm_scan(e->warm, MINUTE, 0, INT64_MAX, collect, &l, &err), ERR_CORRUPT);
    assert_int_equal(l.n, 6);
    free(l.v);
}

static int remove_while_scanning(void *ctx, const struct part *p)
{
    struct env *e = ctx;
    size_t removed;
    assert_int_equal(warm_remove_if(e->warm, p, 1, &removed, NULL), OK);
    assert_int_equal(removed, 1);
    return 0;
}

static void only_what_is_unchanged_is_removed(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    size_t removed = 99;
    put(e, 1, 1, 3, 9);
    put(e, 1, 2, 3, 9);
    put(e, 1, 3, 3, 9);
    struct seen s[4] = {seen_make(1, MINUTE, 1, 3, 9), seen_make(1, MINUTE, 2, 3, 9),
                        seen_make(1, MINUTE, 3, 3, 9), seen_make(1, MINUTE, 4, 3, 9)};
    struct part parts[4];
    for (int i = 0; i < 4; i++)
        parts[i] = part_of(&s[i]);
    put(e, 1, 2, 2, 9); /* the same key, a longer run */
    parts[2].data += 1; /* other bytes */
    parts[2].size -= 1;
    assert_int_equal(warm_remove_if(e->warm, parts, 4, &removed, &err), OK);
    assert_int_equal(removed, 1);
    check_read(e, 1, 0, INT64_MAX, "2:2..9 3:3..9");
    parts[1].lo = 2; /* the right run, the old bytes */
    assert_int_equal(warm_remove_if(e->warm, parts + 1, 1, &removed, &err), OK);
    assert_int_equal(removed, 0);
    reopen(e);
    check_read(e, 1, 0, INT64_MAX, "2:2..9 3:3..9");
    parts[0].key.window_ms++;
    assert_int_equal(warm_remove_if(e->warm, parts, 4, &removed, &err), ERR_INVALID);
    assert_int_equal(warm_remove_if(e->warm, NULL, 0, &removed, &err), OK);
    assert_int_equal(removed, 0);
    assert_int_equal(warm_scan(e->warm, MINUTE, 0, INT64_MAX, remove_while_scanning, e, &err), OK);
    check_read(e, 1, 0, INT64_MAX, "");
    /* A removal forgets the run: a shorter one may come. */
    put(e, 1, 2, 5, 9);
    reopen(e);
    check_read(e, 1, 0, INT64_MAX, "2:5..9");
}

/* --- random operations against a plain model --- */

struct rng {
    uint64_t s;
};

static uint32_t below(struct rng *r, uint32_t n)
{
    r->s = r->s * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((r->s >> 33) % n);
}

static const uint32_t model_steps[] = {1000, MINUTE, 300000};

struct model {
    struct list parts;
    int64_t expired_ms[ARRAY_LEN(model_steps)];
};

static struct part_key random_key(struct rng *r)
{
    uint32_t step = model_steps[below(r, ARRAY_LEN(model_steps))];
    return (struct part_key){1 + below(r, 4), step, (int64_t)below(r, 100) * window_span_ms(step),
                             1 + below(r, 6)};
}

static struct seen *model_find(struct model *m, const struct part_key *k)
{
    for (size_t i = 0; i < m->parts.n; i++) {
        struct part_key *p = &m->parts.v[i].key;
        if (p->series == k->series && p->step_ms == k->step_ms && p->window_ms == k->window_ms &&
            p->hi == k->hi)
            return &m->parts.v[i];
    }
    return NULL;
}

static void model_put(struct model *m, const struct seen *s)
{
    struct seen *old = model_find(m, &s->key);
    if (!old)
        list_add(&m->parts, s);
    else if (s->lo <= old->lo)
        *old = *s;
}

static void random_put(struct env *e, struct model *m, struct rng *r)
{
    struct seen s[20];
    struct part_key remove[10];
    uint32_t n = below(r, ARRAY_LEN(s) + 1), nremove = below(r, 4) ? 0 : below(r, ARRAY_LEN(remove) + 1);
    for (uint32_t i = 0; i < nremove; i++) {
        remove[i] = random_key(r);
        struct seen *old = model_find(m, &remove[i]);
        if (old)
            *old = m->parts.v[--m->parts.n];
    }
    for (uint32_t i = 0; i < n; i++) {
        struct part_key k = random_key(r);
        s[i] = seen_make(k.series, k.step_ms, k.window_ms / window_span_ms(k.step_ms),
                         1 + below(r, (uint32_t)k.hi), k.hi);
        model_put(m, &s[i]);
    }
    struct err err = ERR_INIT;
    if (put_some(e, s, n, remove, nremove, &err) < 0)
        fail_msg("put: %s", err.text);
}

static int by_key(const void *a, const void *b)
{
    const struct part_key *x = a, *y = b;
    if (x->window_ms != y->window_ms)
        return x->window_ms < y->window_ms ? -1 : 1;
    return x->hi < y->hi ? -1 : x->hi > y->hi;
}

/* What a read of [from, until) must give, windows that may have expired left out. */
static void model_read(struct model *m, size_t step, uint32_t series, int64_t from, int64_t until,
                       struct list *out)
{
    out->n = 0;
    if (from < m->expired_ms[step])
        from = m->expired_ms[step];
    for (size_t i = 0; i < m->parts.n; i++) {
        const struct seen *s = &m->parts.v[i];
        if (s->key.series == series && s->key.step_ms == model_steps[step] && s->key.window_ms >= from &&
            s->key.window_ms < until)
            list_add(out, s);
    }
    if (out->n)
        qsort(out->v, out->n, sizeof *out->v, by_key);
}

static void random_read(struct env *e, struct model *m, struct rng *r)
{
    struct list want = {0}, got = {0};
    size_t step = below(r, ARRAY_LEN(model_steps));
    int64_t span = window_span_ms(model_steps[step]);
    uint32_t series = 1 + below(r, 5);
    int64_t from = below(r, 110) * span - below(r, 2) * 5,
            until = from + (below(r, 3) ? below(r, 110) : 1) * span;
    model_read(m, step, series, from, until, &want);
    assert_int_equal(read_range(e, &got, series, model_steps[step], from, until), OK);
    size_t skip = 0;
    while (skip < got.n && got.v[skip].key.window_ms < m->expired_ms[step])
        skip++;
    assert_int_equal(got.n - skip, want.n);
    for (size_t i = 0; i < want.n; i++) {
        assert_int_equal(by_key(&got.v[skip + i], &want.v[i]), 0);
        assert_int_equal(got.v[skip + i].lo, want.v[i].lo);
        assert_string_equal(got.v[skip + i].text, want.v[i].text);
    }
    free(want.v);
    free(got.v);
}

static void random_expire(struct env *e, struct model *m, struct rng *r)
{
    size_t step = below(r, ARRAY_LEN(model_steps));
    int64_t span = window_span_ms(model_steps[step]), before = below(r, 80) * span + below(r, 2);
    struct err err = ERR_INIT;
    int rc;
    while ((rc = warm_expire(e->warm, model_steps[step], before, &err)) == ERR_BUSY)
        ;
    assert_int_equal(rc, OK);
    /* What is put into expired windows later is compared again. */
    size_t kept = 0;
    for (size_t i = 0; i < m->parts.n; i++)
        if (m->parts.v[i].key.step_ms != model_steps[step] || m->parts.v[i].key.window_ms + span > before)
            m->parts.v[kept++] = m->parts.v[i];
    m->parts.n = kept;
    if (before / span * span > m->expired_ms[step])
        m->expired_ms[step] = before / span * span;
}

static void random_operations_match_the_model(void **state)
{
    struct env *e = *state;
    const char *given = getenv("SEED");
    struct rng r = {given ? strtoull(given, NULL, 10) : (uint64_t)clock_mono_us(clock_system())};
    print_message("# SEED=%llu\n", (unsigned long long)r.s);
    struct model m = {0};
    for (int i = 0; i < 1500; i++) {
        uint32_t what = below(&r, 200);
        if (what < 90)
            random_put(e, &m, &r);
        else if (what < 194)
            random_read(e, &m, &r);
        else if (what < 196)
            random_expire(e, &m, &r);
        else if (what < 199)
            assert_int_equal(warm_sync(e->warm, NULL), OK);
        else
            reopen(e);
    }
    free(m.parts.v);
}

/* --- threads --- */

/* RocksDB as packaged is not instrumented: the thread sanitizer sees its memory but not its locks. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librocksdb.so\ncalled_from_lib:libstdc++.so\ncalled_from_lib:libzstd.so";
}

#define REPLACED 1500

static int count_parts(void *ctx, const struct part *p)
{
    struct seen same = seen_make(p->key.series, MINUTE, p->key.window_ms / SPAN, p->lo, p->key.hi);
    assert_int_equal(p->size, strlen(same.text));
    assert_memory_equal(p->data, same.text, p->size);
    ++*(unsigned *)ctx;
    return 0;
}

/* Replaces the part of a window again and again, each time in one step, in two groups at once. */
static void *replace_parts(void *arg)
{
    struct env *e = arg;
    for (uint64_t hi = 2; hi <= (e->backend->in_steps ? REPLACED / 10 : REPLACED); hi++) {
        struct seen s[2] = {seen_make(1, MINUTE, 1, 1, hi), seen_make(1, MINUTE, 40, 1, hi)};
        struct part parts[2] = {part_of(&s[0]), part_of(&s[1])};
        struct part_key old[2] = {s[0].key, s[1].key};
        old[0].hi = old[1].hi = hi - 1;
        int rc;
        do
            rc = warm_put(e->warm, parts, 2, old, 2, NULL);
        while (rc == ERR_BUSY);
        if (rc < 0 || (hi % 500 == 0 && warm_sync(e->warm, NULL) < 0))
            return arg;
    }
    return NULL;
}

/* Of each window what was put last is there, or what was put before, or both: never nothing. */
static void check_in_steps(struct env *e, uint64_t *least)
{
    struct list l = {0};
    uint64_t newest[2] = {0, 0};
    assert_int_equal(read_range(e, &l, 1, MINUTE, 0, INT64_MAX), OK);
    for (size_t i = 0; i < l.n; i++)
        newest[l.v[i].key.window_ms == 40 * SPAN] = l.v[i].key.hi;
    for (int w = 0; w < 2; w++) {
        assert_true(newest[w] >= least[w] && newest[w] > 0);
        least[w] = newest[w];
    }
    free(l.v);
}

static void a_read_sees_all_of_a_put_or_nothing(void **state)
{
    struct env *e = *state;
    uint64_t least[2] = {0, 0};
    put(e, 1, 1, 1, 1);
    put(e, 1, 40, 1, 1);
    pthread_t writer;
    void *failed;
    assert_int_equal(pthread_create(&writer, NULL, replace_parts, e), 0);
    unsigned n = 0;
    do {
        n = 2;
        if (e->backend->in_steps) {
            check_in_steps(e, least);
            continue;
        }
        n = 0;
        assert_int_equal(warm_read(e->warm, 1, MINUTE, 0, INT64_MAX, count_parts, &n, NULL), OK);
        assert_int_equal(n, 2);
    } while (pthread_tryjoin_np(writer, &failed) != 0);
    assert_null(failed);
}

/* --- mem and the fault wrapper --- */

static void a_cut_forgets_what_was_not_synced(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    put(e, 1, 1, 3, 4);
    put(e, 1, 2, 3, 4);
    assert_int_equal(warm_sync(e->warm, NULL), OK);
    struct part_key gone = {1, MINUTE, SPAN, 4};
    assert_int_equal(put_some(e, NULL, 0, &gone, 1, &err), OK);
    put(e, 1, 2, 1, 4);
    put(e, 1, 3, 3, 4);
    check_read(e, 1, 0, INT64_MAX, "2:1..4 3:3..4");
    warm_mem_cut(e->warm);
    check_read(e, 1, 0, INT64_MAX, "1:3..4 2:3..4");
    assert_int_equal(warm_expire(e->warm, MINUTE, 3 * SPAN, NULL), OK);
    check_read(e, 1, 0, INT64_MAX, "");
    warm_mem_cut(e->warm);
    check_read(e, 1, 0, INT64_MAX, "1:3..4 2:3..4");
}

static void faults_come_when_told(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    struct seen s = seen_make(1, MINUTE, 1, 1, 2);
    struct part p = part_of(&s);
    put(e, 1, 9, 1, 2);
    warm_fault_add(e->warm, &(struct warm_fault_rule){WARM_FAULT_PUT, 2, 2, ERR_BUSY, false, 0});
    assert_int_equal(warm_put(e->warm, &p, 1, NULL, 0, &err), OK);
    p.key.window_ms += SPAN;
    assert_int_equal(warm_put(e->warm, &p, 1, NULL, 0, &err), ERR_BUSY);
    assert_int_equal(warm_put(e->warm, &p, 1, NULL, 0, &err), ERR_BUSY);
    struct list l = {0};
    assert_int_equal(read_range(e, &l, 1, MINUTE, 0, 5 * SPAN), OK);
    assert_int_equal(l.n, 1);
    assert_int_equal(warm_put(e->warm, &p, 1, NULL, 0, &err), OK);
    assert_int_equal(warm_fault_calls(e->warm, WARM_FAULT_PUT), 5);
    warm_fault_clear(e->warm);
    /* The answer is lost, the work is done. */
    warm_fault_add(e->warm, &(struct warm_fault_rule){WARM_FAULT_PUT, 1, 1, ERR_TIMEOUT, true, 1});
    p.key.window_ms += SPAN;
    assert_int_equal(warm_put(e->warm, &p, 1, NULL, 0, &err), ERR_TIMEOUT);
    assert_int_equal(read_range(e, &l, 1, MINUTE, 0, 5 * SPAN), OK);
    assert_int_equal(l.n, 3);
    warm_fault_add(e->warm, &(struct warm_fault_rule){WARM_FAULT_READ, 1, 1, ERR_IO, false, 0});
    assert_int_equal(read_range(e, &l, 1, MINUTE, 0, 5 * SPAN), ERR_IO);
    assert_int_equal(l.n, 0);
    free(l.v);
}

static void a_failed_sync_is_final(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    struct seen s = seen_make(1, MINUTE, 1, 1, 2);
    struct part p = part_of(&s);
    put(e, 1, 1, 1, 2);
    warm_fault_add(e->warm, &(struct warm_fault_rule){WARM_FAULT_SYNC, 1, 1, ERR_IO, false, 0});
    assert_int_equal(warm_sync(e->warm, &err), ERR_IO);
    assert_int_equal(warm_sync(e->warm, &err), ERR_FAILED);
    assert_int_equal(warm_put(e->warm, &p, 1, NULL, 0, &err), ERR_FAILED);
    assert_int_equal(warm_expire(e->warm, MINUTE, INT64_MAX, &err), ERR_FAILED);
    check_read(e, 1, 0, INT64_MAX, "1:1..2");
    e->warm = fault_reopen(e);
    check_read(e, 1, 0, INT64_MAX, "");
    put(e, 1, 1, 1, 2);
    assert_int_equal(warm_sync(e->warm, &err), OK);
}

/* --- RocksDB --- */

/* Starts this program again as `--child what dir`; its output comes through *out (may be NULL). */
static pid_t start_child(struct env *e, const char *what, FILE **out)
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fd[1], 1);
        close(fd[0]);
        execl(self, self, "--child", what, e->dir, (char *)NULL);
        _exit(99);
    }
    close(fd[1]);
    if (out)
        *out = fdopen(fd[0], "r");
    else
        close(fd[0]);
    return pid;
}

static int child_status(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

#define KILL_SERIES 20

/* Puts batch after batch, each with one part of every series, and tells after which it has synced. */
static int child_puts(struct env *e)
{
    struct err err = ERR_INIT;
    for (uint64_t batch = 1;; batch++) {
        struct seen s[KILL_SERIES];
        for (uint32_t i = 0; i < KILL_SERIES; i++)
            s[i] = seen_make(i + 1, MINUTE, (int64_t)batch % 64, batch, batch);
        if (put_some(e, s, KILL_SERIES, NULL, 0, &err) < 0)
            return 1;
        if (batch % 37 == 0) {
            if (warm_sync(e->warm, &err) < 0)
                return 1;
            printf("%llu\n", (unsigned long long)batch);
            fflush(stdout);
        }
    }
}

static void kill_keeps_what_was_synced_and_no_half_batch(void **state)
{
    struct env *e = *state;
    for (int round = 1; round <= 3; round++) {
        FILE *out;
        pid_t pid = start_child(e, "puts", &out);
        unsigned long long synced = 0;
        for (int i = 0; i < 3 * round; i++)
            assert_int_equal(fscanf(out, "%llu", &synced), 1);
        kill(pid, SIGKILL);
        assert_int_equal(child_status(pid), 1000 + SIGKILL);
        while (fscanf(out, "%llu", &synced) == 1) /* told before the end */
            ;
        fclose(out);
        e->warm = rocks_open(e);
        struct list first = {0}, other = {0};
        assert_int_equal(read_range(e, &first, 1, MINUTE, 0, INT64_MAX), OK);
        assert_true(first.n >= synced);
        for (uint32_t series = 2; series <= KILL_SERIES; series++) {
            assert_int_equal(read_range(e, &other, series, MINUTE, 0, INT64_MAX), OK);
            assert_int_equal(other.n, first.n);
            for (size_t i = 0; i < first.n; i++)
                assert_int_equal(other.v[i].key.hi, first.v[i].key.hi);
        }
        uint64_t within = 0;
        for (size_t i = 0; i < first.n; i++)
            within += first.v[i].key.hi <= synced;
        assert_int_equal(within, synced);
        free(first.v);
        free(other.v);
        warm_free(e->warm);
        e->warm = NULL;
    }
}

static int expect(const char *what, bool good, const struct err *err)
{
    if (!good)
        fprintf(stderr, "%s: %s\n", what, err->text);
    return good ? 0 : 1;
}

/* The disk is full: no file may grow. */
static int child_full(struct env *e)
{
    struct err err = ERR_INIT;
    struct seen s = seen_make(1, MINUTE, 1, 1, 2);
    struct rlimit none = {0, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    put(e, 1, 1, 1, 2);
    if (expect("sync", warm_sync(e->warm, &err) == OK, &err))
        return 1;
    put(e, 1, 2, 1, 2);
    setrlimit(RLIMIT_FSIZE, &none);
    if (expect("full", warm_sync(e->warm, &err) == ERR_IO && strstr(err.text, e->db), &err))
        return 2;
    none.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &none);
    if (expect("again", warm_sync(e->warm, &err) == ERR_FAILED, &err))
        return 3;
    if (expect("put", put_some(e, &s, 1, NULL, 0, &err) == ERR_FAILED, &err))
        return 4;
    struct list l = {0};
    return read_range(e, &l, 1, MINUTE, 0, INT64_MAX) == OK && l.n == 2 ? 0 : 5;
}

/* A flush in the background fails while only puts are made: puts or the next sync must tell. */
static int child_background(struct env *e)
{
    struct err err = ERR_INIT;
    struct rlimit none = {0, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &none);
    for (uint64_t i = 1; i < 20000; i++) {
        struct seen s = seen_make((uint32_t)i, MINUTE, 1, 1, 2);
        struct part p = part_of(&s);
        int rc = warm_put(e->warm, &p, 1, NULL, 0, &err);
        if (rc == ERR_BUSY || rc == ERR_IO)
            break;
        if (expect("put", rc == OK, &err))
            return 1;
    }
    return expect("sync", warm_sync(e->warm, &err) < 0, &err) ? 2 : 0;
}

static void a_full_disk_is_told_and_final(void **state)
{
    struct env *e = *state;
    assert_int_equal(child_status(start_child(e, "full", NULL)), 0);
    e->warm = rocks_open(e);
    check_read(e, 1, 0, 2 * SPAN, "1:1..2");
}

static void a_disk_full_at_open_is_told(void **state)
{
    struct env *e = *state;
    static const unsigned sizes[] = {0, 20, 100, 1000, 6000, 20000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char what[64];
        snprintf(what, sizeof what, "full-at-open:%u", sizes[i]);
        int rc = child_status(start_child(e, what, NULL));
        if (rc != 0 && rc != -ERR_IO && rc != -ERR_NO_SPACE)
            fail_msg("with %u bytes the open ended as %d", sizes[i], rc);
    }
    e->warm = rocks_open(e);
    put(e, 1, 1, 1, 2);
    reopen(e);
    check_read(e, 1, 0, 2 * SPAN, "1:1..2");
}

static void a_background_fault_is_told(void **state)
{
    struct env *e = *state;
    assert_int_equal(child_status(start_child(e, "background", NULL)), 0);
}

static int child_main(const char *what, const char *dir)
{
    struct env e = {.backend = &backends[1]};
    /* "full-at-open:N": no file may grow past N bytes from the start. */
    if (!strncmp(what, "full-at-open:", 13)) {
        struct rlimit few = {strtoul(what + 13, NULL, 10), RLIM_INFINITY};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &few);
    }
    snprintf(e.dir, sizeof e.dir, "%s", dir);
    snprintf(e.db, sizeof e.db, "%s/warm", dir);
    struct warm_rocksdb_options o = {.dir = e.db, .create = true, .write_buffer_bytes = 64 << 10};
    int rc = warm_rocksdb_open(&o, &e.warm, NULL);
    if (rc < 0)
        _exit(-rc);
    /* _exit: as sudden as a crash, nothing is flushed on the way out. */
    if (!strcmp(what, "puts"))
        _exit(child_puts(&e));
    if (!strcmp(what, "full"))
        _exit(child_full(&e));
    if (!strcmp(what, "background"))
        _exit(child_background(&e));
    _exit(0);
}

static void a_second_opener_is_told(void **state)
{
    struct env *e = *state;
    e->warm = rocks_open(e);
    struct warm_rocksdb_options o = {.dir = e->db, .create = true};
    struct warm *w = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(warm_rocksdb_open(&o, &w, &err), ERR_LOCKED);
    assert_non_null(strstr(err.text, e->db));
    assert_int_equal(child_status(start_child(e, "open", NULL)), -ERR_LOCKED);
    put(e, 1, 1, 1, 2);
    check_read(e, 1, 0, INT64_MAX, "1:1..2");
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void only_its_own_format_is_opened(void **state)
{
    struct env *e = *state;
    struct warm_rocksdb_options o = {.dir = e->db};
    struct warm *w = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(warm_rocksdb_open(&o, &w, &err), ERR_NOT_FOUND);
    assert_int_equal(mkdir(e->db, 0750), 0);
    assert_int_equal(warm_rocksdb_open(&o, &w, &err), ERR_NOT_FOUND);
    warm_free(rocks_open(e));
    write_file(e->db, "carat.format", "carat-warm 2\n");
    assert_int_equal(warm_rocksdb_open(&o, &w, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "newer"));
    write_file(e->db, "carat.format", "?");
    assert_int_equal(warm_rocksdb_open(&o, &w, &err), ERR_CORRUPT);
    write_file(e->db, "carat.format", "");
    assert_int_equal(warm_rocksdb_open(&o, &w, &err), ERR_CORRUPT);
    char path[128];
    snprintf(path, sizeof path, "%s/carat.format", e->db);
    unlink(path);
    assert_int_equal(warm_rocksdb_open(&o, &w, &err), ERR_UNSUPPORTED);
    write_file(e->db, "carat.format", "carat-warm 1\n");
    assert_int_equal(warm_rocksdb_open(&o, &w, &err), OK);
    warm_free(w);
}

/* Inverts the first bytes of the only table file, where its first data block is. */
static void damage_table(const char *dir)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    int tables = 0;
    for (struct dirent *f; (f = readdir(d));) {
        if (!strstr(f->d_name, ".sst"))
            continue;
        char path[512], bytes[8];
        snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
        int fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, bytes, sizeof bytes, 40), sizeof bytes);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)~bytes[i];
        assert_int_equal(pwrite(fd, bytes, sizeof bytes, 40), sizeof bytes);
        close(fd);
        tables++;
    }
    closedir(d);
    assert_int_equal(tables, 1);
}

static void a_damaged_table_is_told_and_the_rest_served(void **state)
{
    struct env *e = *state;
    struct list l = {0};
    struct err err = ERR_INIT;
    e->warm = rocks_open(e);
    put(e, 1, 1, 1, 2);
    reopen(e);
    warm_free(e->warm);
    damage_table(e->db);
    e->warm = rocks_open(e);
    put(e, 1, 40, 1, 2); /* of another group, in another file */
    assert_int_equal(warm_read(e->warm, 1, MINUTE, 0, INT64_MAX, collect, &l, &err), ERR_CORRUPT);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.v[0].key.window_ms, 40 * SPAN);
    check_read(e, 1, 40 * SPAN, INT64_MAX, "40:1..2");
    free(l.v);
}

static void keys_round_trip_in_order(void **state)
{
    (void)state;
    struct part_key k[] = {{1, 1000, 0, 0},
                           {UINT32_MAX, 1000, 31 * 240000ll, UINT64_MAX},
                           {1, 1000, 32 * 240000ll, 0},
                           {1, MINUTE, 0, 1},
                           {1, MINUTE, 0, 256},
                           {1, MINUTE, 31 * SPAN, 1},
                           {2, MINUTE, 0, 1},
                           {256, MINUTE, 0, 1},
                           {1, MINUTE, warm_window_limit_ms(MINUTE) - SPAN, 1}};
    uint8_t last[WARM_KEY_BYTES] = {0}, bytes[WARM_KEY_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(k); i++) {
        struct part_key back;
        warm_key_put(bytes, &k[i]);
        assert_int_equal(warm_key_get(bytes, sizeof bytes, &back), 0);
        assert_memory_equal(&back, &k[i], sizeof back);
        assert_true(memcmp(last, bytes, sizeof bytes) < 0);
        memcpy(last, bytes, sizeof bytes);
    }
    assert_int_equal(warm_key_get(bytes, sizeof bytes - 1, &k[0]), -1);
    bytes[13] = WARM_GROUP_WINDOWS;
    assert_int_equal(warm_key_get(bytes, sizeof bytes, &k[0]), -1);
}

static void a_window_without_a_key_is_refused(void **state)
{
    struct env *e = *state;
    e->warm = rocks_open(e);
    struct err err = ERR_INIT;
    struct part p = {{1, MINUTE, warm_window_limit_ms(MINUTE), 2}, 1, (const uint8_t *)"x", 1};
    assert_int_equal(warm_put(e->warm, &p, 1, NULL, 0, &err), ERR_INVALID);
    check_read(e, 1, 0, INT64_MAX, "");
    put(e, 1, warm_window_limit_ms(MINUTE) / SPAN - 1, 1, UINT64_MAX);
    check_read(e, 1, 100 * SPAN, INT64_MAX, "137438953471:1..18446744073709551615");
}

/* Without a sync before: the snapshot has what was put, and nothing that comes later. */
static void a_snapshot_opens_as_a_tier(void **state)
{
    struct env *e = *state;
    struct err err = ERR_INIT;
    char dir[96];
    snprintf(dir, sizeof dir, "%s/snapshot", e->dir);
    put(e, 1, 1, 3, 9);
    if (warm_snapshot(e->warm, dir, &err) == ERR_UNSUPPORTED)
        return; /* a backend without files */
    put(e, 1, 2, 10, 12);
    struct warm *whole = e->warm;
    struct warm_rocksdb_options o = {.dir = dir};
    if (warm_rocksdb_open(&o, &e->warm, &err) < 0)
        fail_msg("%s", err.text);
    check_read(e, 1, 0, INT64_MAX, "1:3..9");
    warm_free(e->warm);
    e->warm = whole;
    check_read(e, 1, 0, INT64_MAX, "1:3..9 2:10..12");
    assert_true(warm_snapshot(e->warm, dir, &err) < 0); /* it is there */
}

#define CONFORMANCE(f)                                                                                       \
    {                                                                                                        \
#f, f, setup, teardown, NULL                                                                         \
    }
static const struct CMUnitTest conformance[] = {
    CONFORMANCE(parts_come_in_order),
    CONFORMANCE(a_range_is_of_window_starts),
    CONFORMANCE(the_same_put_again_changes_nothing),
    CONFORMANCE(of_equal_keys_the_longer_run_stays),
    CONFORMANCE(a_removal_goes_with_the_put),
    CONFORMANCE(a_bad_window_or_step_is_refused_whole),
    CONFORMANCE(the_callback_can_stop),
    CONFORMANCE(many_series_keep_apart),
    CONFORMANCE(expiry_takes_old_windows_only),
    CONFORMANCE(damage_is_skipped_and_told),
    CONFORMANCE(numbers_are_counted),
    CONFORMANCE(a_scan_goes_group_by_group),
    CONFORMANCE(only_what_is_unchanged_is_removed),
    CONFORMANCE(a_snapshot_opens_as_a_tier),
    CONFORMANCE(a_read_sees_all_of_a_put_or_nothing),
    CONFORMANCE(random_operations_match_the_model),
};

/* Opens by itself. */
#define ROCKSDB(f)                                                                                           \
    {                                                                                                        \
#f, f, make_dir, teardown, (void *)&backends[1]                                                      \
    }

static int run_conformance(const struct backend *b)
{
    struct CMUnitTest tests[ARRAY_LEN(conformance)];
    char names[ARRAY_LEN(conformance)][128];
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
        tests[i] = conformance[i];
        snprintf(names[i], sizeof names[i], "%s: %s", b->name, conformance[i].name);
        tests[i].name = names[i];
        tests[i].initial_state = (void *)b;
    }
    return _cmocka_run_group_tests(b->name, tests, ARRAY_LEN(tests), NULL, NULL);
}

int main(int argc, char **argv)
{
    self = "/proc/self/exe";
    if (argc == 4 && !strcmp(argv[1], "--child"))
        return child_main(argv[2], argv[3]);
    /* One group a run (TAP knows one plan a program): a backend's name, or "own" for the tests of one backend
     * alone. */
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        if (argc == 2 && !strcmp(argv[1], backends[i].name))
            return run_conformance(&backends[i]);
    const struct CMUnitTest others[] = {
        {"a_cut_forgets_what_was_not_synced", a_cut_forgets_what_was_not_synced, setup, teardown,
         (void *)&backends[0]},
        {"faults_come_when_told", faults_come_when_told, setup, teardown, (void *)&backends[2]},
        {"a_failed_sync_is_final", a_failed_sync_is_final, setup, teardown, (void *)&backends[2]},
        cmocka_unit_test(keys_round_trip_in_order),
        ROCKSDB(kill_keeps_what_was_synced_and_no_half_batch),
        ROCKSDB(a_full_disk_is_told_and_final),
        ROCKSDB(a_disk_full_at_open_is_told),
        ROCKSDB(a_background_fault_is_told),
        ROCKSDB(a_second_opener_is_told),
        ROCKSDB(only_its_own_format_is_opened),
        ROCKSDB(a_damaged_table_is_told_and_the_rest_served),
        ROCKSDB(a_window_without_a_key_is_refused),
    };
    return cmocka_run_group_tests(others, NULL, NULL);
}
