#include "warm/warm_rocksdb.h"

#include "base/fs.h"
#include "base/killpoint.h"
#include "base/mem.h"
#include "warm/warm_impl.h"
#include "warm/warm_key.h"

#include <assert.h>
#include <limits.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_BYTES_DEFAULT  (64u << 20)
#define BUFFER_BYTES_DEFAULT (32u << 20)
#define BLOCK_BYTES          (32u << 10)
#define FILE_BYTES           (32u << 20)

#define FORMAT_FILE "carat.format"
#define FORMAT_WORD "carat-warm "
#define FORMAT      1

struct warm_rocksdb {
    struct warm base;
    char *dir;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *write;
    rocksdb_flushoptions_t *flush;
};

static struct warm_rocksdb *rocks_of(struct warm *w);

/* Takes RocksDB's message over. Its C API tells the kind of error only by how the text begins. */
static int rocks_err(struct err *err, const char *dir, const char *what, char *msg)
{
    int code = ERR_IO;
    if (!strncmp(msg, "Corruption", 10))
        code = ERR_CORRUPT;
    else if (!strncmp(msg, "Result incomplete", 17) || !strncmp(msg, "Operation timed out", 19))
        code = ERR_BUSY;
    else if (strstr(msg, "No space left") || strstr(msg, "quota exceeded"))
        code = ERR_NO_SPACE;
    err_set(err, code, "warm tier %s: %s: %s", dir, what, msg);
    rocksdb_free(msg);
    return code;
}

/* --- merging: of two values of one key the one with the smaller lo stays, see warm_put --- */

static char *merge_values(const uint8_t *key, size_t nkey, const char *existing, size_t nexisting,
                          const char *const *operands, const size_t *lengths, int n, unsigned char *success,
                          size_t *length)
{
    struct part_key k = {0};
    int known = warm_key_get(key, nkey, &k);
    const char *best = existing ? existing : operands[0];
    size_t nbest = existing ? nexisting : lengths[0];
    for (int i = existing ? 0 : 1; i < n; i++)
        if (known < 0 ||
            warm_replaces(&k, (const uint8_t *)best, nbest, (const uint8_t *)operands[i], lengths[i])) {
            best = operands[i];
            nbest = lengths[i];
        }
    char *copy = xmalloc(nbest ? nbest : 1);
    memcpy(copy, best, nbest);
    *length = nbest;
    *success = 1;
    return copy;
}

static char *full_merge(void *state, const char *key, size_t nkey, const char *existing, size_t nexisting,
                        const char *const *operands, const size_t *lengths, int n, unsigned char *success,
                        size_t *length)
{
    (void)state;
    return merge_values((const uint8_t *)key, nkey, existing, nexisting, operands, lengths, n, success,
                        length);
}

static char *partial_merge(void *state, const char *key, size_t nkey, const char *const *operands,
                           const size_t *lengths, int n, unsigned char *success, size_t *length)
{
    (void)state;
    return merge_values((const uint8_t *)key, nkey, NULL, 0, operands, lengths, n, success, length);
}

static void merge_free(void *state, const char *value, size_t n)
{
    (void)state;
    (void)n;
    free((void *)value);
}

static const char *merge_name(void *state)
{
    (void)state;
    return "carat.part"; /* stored: never changes */
}

static void merge_destroy(void *state)
{
    (void)state;
}

/* --- put --- */

static int check_window(const struct part_key *k, struct err *err)
{
    if (k->window_ms < warm_window_limit_ms(k->step_ms))
        return OK;
    return err_set(err, ERR_INVALID, "warm tier: window %lld of step %u ms is too far in the future",
                   (long long)k->window_ms, k->step_ms);
}

static int fill_batch(rocksdb_writebatch_t *b, const struct part *parts, size_t n,
                      const struct part_key *remove, size_t nremove, struct err *err)
{
    uint8_t key[WARM_KEY_BYTES];
    struct buf value = BUF_INIT;
    int rc = OK;
    for (size_t i = 0; i < nremove && rc == OK; i++) {
        rc = check_window(&remove[i], err);
        warm_key_put(key, &remove[i]);
        rocksdb_writebatch_delete(b, (const char *)key, sizeof key);
    }
    for (size_t i = 0; i < n && rc == OK; i++) {
        rc = check_window(&parts[i].key, err);
        warm_key_put(key, &parts[i].key);
        buf_clear(&value);
        part_encode(&parts[i], &value);
        rocksdb_writebatch_merge(b, (const char *)key, sizeof key, (const char *)value.data, value.len);
    }
    buf_release(&value);
    return rc;
}

static int write_batch(struct warm_rocksdb *r, rocksdb_writebatch_t *b, const char *what, struct err *err)
{
    char *msg = NULL;
    rocksdb_write(r->db, r->write, b, &msg);
    return msg ? rocks_err(err, r->dir, what, msg) : OK;
}

static int rocks_put(struct warm *w, const struct part *parts, size_t n, const struct part_key *remove,
                     size_t nremove, struct err *err)
{
    struct warm_rocksdb *r = rocks_of(w);
    rocksdb_writebatch_t *b = rocksdb_writebatch_create();
    int rc = fill_batch(b, parts, n, remove, nremove, err);
    if (rc == OK)
        rc = write_batch(r, b, "put", err);
    rocksdb_writebatch_destroy(b);
    return rc;
}

/* --- read --- */

/* One read of one series: a walk over the groups, skipping those that hold nothing of it. */
struct walk {
    struct warm_rocksdb *r;
    rocksdb_iterator_t *it;
    uint32_t series, step_ms;
    int64_t from_ms, until_ms; /* aligned; from_ms moves on */
    warm_part_fn fn;
    void *ctx;
    struct err damage;
};

static void seek(struct walk *k)
{
    struct part_key key = {k->series, k->step_ms, k->from_ms, 0};
    uint8_t bytes[WARM_KEY_BYTES];
    warm_key_put(bytes, &key);
    rocksdb_iter_seek(k->it, (const char *)bytes, sizeof bytes);
}

static void next_group(struct walk *k)
{
    int64_t group = warm_group_ms(k->step_ms);
    k->from_ms = floor_to(k->from_ms, group) + group;
}

/* After a step to a key that is not of this series and group: on to the group that may hold more. */
static void skip_to(struct walk *k, const struct part_key *at)
{
    int64_t group = warm_group_ms(k->step_ms), here = floor_to(k->from_ms, group);
    if (at->step_ms != k->step_ms) {
        k->from_ms = k->until_ms;
        return;
    }
    k->from_ms = floor_to(at->window_ms, group);
    if (k->from_ms == here || at->series > k->series)
        next_group(k);
}

/* The iterator ended: because of the bound, or of a fault. A damaged block costs the rest of its group. */
static int walk_ended(struct walk *k, struct err *err)
{
    char *msg = NULL;
    rocksdb_iter_get_error(k->it, &msg);
    if (!msg) {
        k->from_ms = k->until_ms;
        return OK;
    }
    if (strncmp(msg, "Corruption", 10) != 0)
        return rocks_err(err, k->r->dir, "read", msg);
    warm_damaged(&k->r->base, &k->damage, msg);
    rocksdb_free(msg);
    next_group(k);
    return OK;
}

/* Delivers the windows of one group from from_ms on and moves from_ms to the next group worth a look. */
static int walk_group(struct walk *k, struct err *err)
{
    for (seek(k); rocksdb_iter_valid(k->it); rocksdb_iter_next(k->it)) {
        size_t nkey, nvalue;
        const uint8_t *bytes = (const uint8_t *)rocksdb_iter_key(k->it, &nkey);
        struct part_key key;
        if (warm_key_get(bytes, nkey, &key) < 0) {
            warm_damaged(&k->r->base, &k->damage, "a key that is none of ours");
            continue;
        }
        if (key.step_ms != k->step_ms || key.series != k->series) {
            skip_to(k, &key);
            return OK;
        }
        const uint8_t *value = (const uint8_t *)rocksdb_iter_value(k->it, &nvalue);
        int rc = warm_deliver(&k->r->base, &key, value, nvalue, k->fn, k->ctx, &k->damage);
        if (rc != 0)
            return rc;
    }
    return walk_ended(k, err);
}

/* The iterator's bounds: everything between the first and the last key that may be delivered. */
struct bounds {
    uint8_t lower[WARM_KEY_BYTES], upper[WARM_KEY_BYTES + 1];
};

static void set_bounds(struct bounds *b, rocksdb_readoptions_t *o, const struct walk *k)
{
    struct part_key first = {k->series, k->step_ms, k->from_ms, 0};
    struct part_key last = {k->series, k->step_ms, k->until_ms - window_span_ms(k->step_ms), UINT64_MAX};
    warm_key_put(b->lower, &first);
    warm_key_put(b->upper, &last);
    b->upper[WARM_KEY_BYTES] = 0; /* exclusive: the byte string right after `last` */
    rocksdb_readoptions_set_iterate_lower_bound(o, (const char *)b->lower, sizeof b->lower);
    rocksdb_readoptions_set_iterate_upper_bound(o, (const char *)b->upper, sizeof b->upper);
}

static int rocks_read(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                      int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err)
{
    int64_t limit = warm_window_limit_ms(step_ms);
    struct walk k = {rocks_of(w), NULL, series, step_ms, from_window_ms, until_window_ms, fn, ctx, ERR_INIT};
    if (k.until_ms > limit)
        k.until_ms = limit;
    if (k.from_ms >= k.until_ms)
        return OK;
    struct bounds bounds;
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    set_bounds(&bounds, o, &k);
    bool one_window = k.until_ms - k.from_ms == window_span_ms(step_ms);
    rocksdb_readoptions_set_prefix_same_as_start(o, one_window);
    rocksdb_readoptions_set_total_order_seek(o, !one_window);
    k.it = rocksdb_create_iterator(k.r->db, o);
    int rc = 0;
    while (rc == 0 && k.from_ms < k.until_ms)
        rc = walk_group(&k, err);
    rocksdb_iter_destroy(k.it);
    rocksdb_readoptions_destroy(o);
    return rc == 0 && k.damage.code ? err_set(err, k.damage.code, "%s", k.damage.text) : rc;
}

/* --- scan and conditional removal, for the mover --- */

static void group_bounds(struct bounds *b, rocksdb_readoptions_t *o, uint32_t step_ms, int64_t from_ms,
                         int64_t until_ms)
{
    struct part_key first = {0, step_ms, floor_to(from_ms, warm_group_ms(step_ms)), 0};
    struct part_key last = {UINT32_MAX, step_ms, until_ms - window_span_ms(step_ms), UINT64_MAX};
    warm_key_put(b->lower, &first);
    warm_key_put(b->upper, &last);
    b->upper[WARM_KEY_BYTES] = 0;
    rocksdb_readoptions_set_iterate_lower_bound(o, (const char *)b->lower, sizeof b->lower);
    rocksdb_readoptions_set_iterate_upper_bound(o, (const char *)b->upper, sizeof b->upper);
    rocksdb_readoptions_set_fill_cache(o, 0);
    rocksdb_readoptions_set_total_order_seek(o, 1);
}

/* From the iterator's place to the end of the range, or to a fault. */
static int scan_on(struct walk *k, struct err *err)
{
    for (; rocksdb_iter_valid(k->it); rocksdb_iter_next(k->it)) {
        size_t nkey, nvalue;
        const uint8_t *bytes = (const uint8_t *)rocksdb_iter_key(k->it, &nkey);
        struct part_key key;
        if (warm_key_get(bytes, nkey, &key) < 0) {
            warm_damaged(&k->r->base, &k->damage, "a key that is none of ours");
            continue;
        }
        int64_t group = floor_to(key.window_ms, warm_group_ms(k->step_ms));
        k->from_ms = group > k->from_ms ? group : k->from_ms; /* groups come in order */
        if (key.window_ms >= k->from_ms && key.window_ms < k->until_ms) {
            const uint8_t *value = (const uint8_t *)rocksdb_iter_value(k->it, &nvalue);
            int rc = warm_deliver(&k->r->base, &key, value, nvalue, k->fn, k->ctx, &k->damage);
            if (rc != 0)
                return rc;
        }
    }
    return walk_ended(k, err);
}

static int rocks_scan(struct warm *w, uint32_t step_ms, int64_t from_window_ms, int64_t until_window_ms,
                      warm_part_fn fn, void *ctx, struct err *err)
{
    int64_t limit = warm_window_limit_ms(step_ms);
    struct walk k = {rocks_of(w), NULL, 0, step_ms, from_window_ms, until_window_ms, fn, ctx, ERR_INIT};
    if (k.until_ms > limit)
        k.until_ms = limit;
    if (k.from_ms >= k.until_ms)
        return OK;
    struct bounds bounds;
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    group_bounds(&bounds, o, step_ms, k.from_ms, k.until_ms);
    k.it = rocksdb_create_iterator(k.r->db, o);
    rocksdb_iter_seek_to_first(k.it);
    int rc = scan_on(&k, err);
    while (rc == 0 && k.from_ms < k.until_ms) { /* after damage: the next group */
        seek(&k);
        rc = scan_on(&k, err);
    }
    rocksdb_iter_destroy(k.it);
    rocksdb_readoptions_destroy(o);
    return rc == 0 && k.damage.code ? err_set(err, k.damage.code, "%s", k.damage.text) : rc;
}

/* Adds the removal of a part that is still as given. */
static int remove_one(struct warm_rocksdb *r, rocksdb_readoptions_t *o, rocksdb_writebatch_t *b,
                      const struct part *p, size_t *removed, struct err *err)
{
    if (p->key.window_ms >= warm_window_limit_ms(p->key.step_ms))
        return OK;
    uint8_t key[WARM_KEY_BYTES];
    warm_key_put(key, &p->key);
    size_t n = 0;
    char *msg = NULL, *value = rocksdb_get(r->db, o, (const char *)key, sizeof key, &n, &msg);
    if (msg)
        return rocks_err(err, r->dir, "get", msg);
    if (value && warm_is(p, (const uint8_t *)value, n)) {
        rocksdb_writebatch_delete(b, (const char *)key, sizeof key);
        ++*removed;
    }
    rocksdb_free(value);
    return OK;
}

static int rocks_remove_if(struct warm *w, const struct part *parts, size_t n, size_t *removed,
                           struct err *err)
{
    struct warm_rocksdb *r = rocks_of(w);
    rocksdb_writebatch_t *b = rocksdb_writebatch_create();
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(o, 0);
    int rc = OK;
    for (size_t i = 0; i < n && rc == OK; i++)
        rc = remove_one(r, o, b, &parts[i], removed, err);
    if (rc == OK && *removed)
        rc = write_batch(r, b, "remove", err);
    rocksdb_readoptions_destroy(o);
    rocksdb_writebatch_destroy(b);
    return rc;
}

/* --- expire --- */

/* False only if the range certainly holds no key. */
static bool range_used(struct warm_rocksdb *r, const uint8_t *from, const uint8_t *until)
{
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    rocksdb_readoptions_set_iterate_lower_bound(o, (const char *)from, WARM_GROUP_BYTES);
    rocksdb_readoptions_set_iterate_upper_bound(o, (const char *)until, WARM_GROUP_BYTES);
    rocksdb_readoptions_set_fill_cache(o, 0);
    rocksdb_readoptions_set_total_order_seek(o, 1);
    rocksdb_iterator_t *it = rocksdb_create_iterator(r->db, o);
    rocksdb_iter_seek_to_first(it);
    char *msg = NULL;
    rocksdb_iter_get_error(it, &msg);
    bool used = rocksdb_iter_valid(it) || msg;
    rocksdb_free(msg);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(o);
    return used;
}

/* The tombstone first: a file that goes may hold the removal of a key that an older file still has. */
static int drop_range(struct warm_rocksdb *r, const uint8_t *from, const uint8_t *until, struct err *err)
{
    rocksdb_writebatch_t *b = rocksdb_writebatch_create();
    rocksdb_writebatch_delete_range(b, (const char *)from, WARM_GROUP_BYTES, (const char *)until,
                                    WARM_GROUP_BYTES);
    int rc = write_batch(r, b, "expire", err);
    rocksdb_writebatch_destroy(b);
    KILL_POINT("expire.warm_marked");
    if (rc < 0)
        return rc;
    char *msg = NULL;
    rocksdb_delete_file_in_range(r->db, (const char *)from, WARM_GROUP_BYTES, (const char *)until,
                                 WARM_GROUP_BYTES, &msg);
    return msg ? rocks_err(err, r->dir, "expire", msg) : OK;
}

static int rocks_expire(struct warm *w, uint32_t step_ms, int64_t before_ms, struct err *err)
{
    struct warm_rocksdb *r = rocks_of(w);
    int64_t end = before_ms / warm_group_ms(step_ms);
    uint8_t from[WARM_GROUP_BYTES], until[WARM_GROUP_BYTES];
    warm_group_put(from, step_ms, 0);
    warm_group_put(until, step_ms, end < UINT32_MAX ? (uint32_t)end : UINT32_MAX);
    return end > 0 && range_used(r, from, until) ? drop_range(r, from, until, err) : OK;
}

/* --- the rest --- */

static int rocks_sync(struct warm *w, struct err *err)
{
    struct warm_rocksdb *r = rocks_of(w);
    char *msg = NULL;
    rocksdb_flush(r->db, r->flush, &msg);
    return msg ? rocks_err(err, r->dir, "flush", msg) : OK;
}

static int format_write(const char *dir, const char *path, struct err *err);

/* The tables are hard links: RocksDB never changes one. Without a log to copy (the stream is the log) it
 * flushes the memtables first. */
static int rocks_snapshot(struct warm *w, const char *dir, struct err *err)
{
    struct warm_rocksdb *r = rocks_of(w);
    char path[PATH_MAX], *msg = NULL;
    if (snprintf(path, sizeof path, "%s/" FORMAT_FILE, dir) >= (int)sizeof path)
        return err_set(err, ERR_INVALID, "warm tier: the path of its snapshot is too long");
    rocksdb_checkpoint_t *c = rocksdb_checkpoint_object_create(r->db, &msg);
    if (msg)
        return rocks_err(err, r->dir, "snapshot", msg);
    rocksdb_checkpoint_create(c, dir, 0, &msg);
    rocksdb_checkpoint_object_destroy(c);
    return msg ? rocks_err(err, r->dir, "snapshot", msg) : format_write(dir, path, err);
}

static void rocks_get_stats(struct warm *w, struct warm_stats *out)
{
    if (rocksdb_property_int(rocks_of(w)->db, "rocksdb.total-sst-files-size", &out->stored_bytes) != 0)
        out->stored_bytes = 0;
}

static void rocks_free(struct warm *w)
{
    struct warm_rocksdb *r = rocks_of(w);
    warm_clear(w);
    if (r->db)
        rocksdb_close(r->db);
    if (r->options)
        rocksdb_options_destroy(r->options);
    if (r->cache)
        rocksdb_cache_destroy(r->cache);
    if (r->write)
        rocksdb_writeoptions_destroy(r->write);
    if (r->flush)
        rocksdb_flushoptions_destroy(r->flush);
    free(r->dir);
    free(r);
}

static const struct warm_ops rocks_ops = {
    .name = "rocksdb",
    .put = rocks_put,
    .read = rocks_read,
    .scan = rocks_scan,
    .remove_if = rocks_remove_if,
    .expire = rocks_expire,
    .sync = rocks_sync,
    .get_stats = rocks_get_stats,
    .free = rocks_free,
    .snapshot = rocks_snapshot,
};

static struct warm_rocksdb *rocks_of(struct warm *w)
{
    assert(w->ops == &rocks_ops);
    return container_of(w, struct warm_rocksdb, base);
}

/* --- open --- */

static rocksdb_block_based_table_options_t *table_options(rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_block_based_options_set_block_size(t, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_block_based_options_set_filter_policy(
        t, rocksdb_filterpolicy_create_bloom_full(10)); /* takes over */
    rocksdb_block_based_options_set_whole_key_filtering(t, 0);
    /* Index blocks count against the cache too, so that memory has one bound. */
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    return t;
}

static void set_sizes(rocksdb_options_t *o, const struct warm_rocksdb_options *from)
{
    size_t buffer = from->write_buffer_bytes ? from->write_buffer_bytes : BUFFER_BYTES_DEFAULT;
    rocksdb_options_set_write_buffer_size(o, buffer);
    rocksdb_options_set_max_write_buffer_number(o, 3);
    rocksdb_options_set_target_file_size_base(o, FILE_BYTES);
    rocksdb_options_set_max_bytes_for_level_base(o, 4 * FILE_BYTES);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_max_open_files(o, 512);
    rocksdb_options_set_bytes_per_sync(o, 1 << 20);
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
    rocksdb_options_set_compression(o, rocksdb_zstd_compression);
    rocksdb_options_set_bottommost_compression(o, rocksdb_zstd_compression);
}

/* RocksDB's own log gets nothing but the options at open: where RocksDB is built with assertions (Debian's
 * is), a write to its log after one that failed aborts the process, so a full disk would. What it has to say
 * of errors comes with their status, and is logged here. */
static void set_logging(rocksdb_options_t *o)
{
    rocksdb_options_set_info_log_level(o, 4); /* fatal */
    rocksdb_options_set_keep_log_file_num(o, 2);
    rocksdb_options_set_max_manifest_file_size(o, 16 << 20);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
}

static void set_options(struct warm_rocksdb *r, const struct warm_rocksdb_options *from)
{
    r->options = rocksdb_options_create();
    r->cache = rocksdb_cache_create_lru(from->cache_bytes ? from->cache_bytes : CACHE_BYTES_DEFAULT);
    rocksdb_options_set_create_if_missing(r->options, from->create);
    set_sizes(r->options, from);
    set_logging(r->options);
    rocksdb_options_set_prefix_extractor(r->options,
                                         rocksdb_slicetransform_create_fixed_prefix(WARM_WINDOW_BYTES));
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(r->options, 0.05);
    rocksdb_block_based_table_options_t *t = table_options(r->cache);
    rocksdb_options_set_block_based_table_factory(r->options, t);
    rocksdb_block_based_options_destroy(t);
    rocksdb_options_set_merge_operator(
        r->options,
        rocksdb_mergeoperator_create(NULL, merge_destroy, full_merge, partial_merge, merge_free, merge_name));
    r->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(r->write, 1);     /* the stream is the log */
    rocksdb_writeoptions_set_no_slowdown(r->write, 1); /* ERR_BUSY instead of a writer that hangs */
    r->flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(r->flush, 1);
}

static int open_db(struct warm_rocksdb *r, struct err *err)
{
    char *msg = NULL;
    r->db = rocksdb_open(r->options, r->dir, &msg);
    if (!msg)
        return OK;
    if (!strncmp(msg, "IO error", 8) &&
        (strstr(msg, "lock hold by current process") || strstr(msg, "lock file"))) {
        rocksdb_free(msg);
        return err_set(err, ERR_LOCKED, "warm tier %s is in use by another process or opened twice", r->dir);
    }
    return rocks_err(err, r->dir, "open", msg);
}

/* The format file: "carat-warm 1\n", written before the database is made and read before it is opened, so
 * that an older program does not touch what it does not understand. */
static int format_read(const char *dir, const char *path, struct err *err)
{
    struct fs_file *f;
    int rc = fs_open(fs_posix(), path, FS_READ, &f, err);
    if (rc < 0)
        return rc;
    char text[64];
    size_t got = 0;
    rc = fs_pread(f, text, sizeof text - 1, 0, &got, err);
    fs_close(f);
    if (rc < 0)
        return rc;
    text[got] = 0;
    char *end;
    size_t word = strlen(FORMAT_WORD);
    unsigned long format = strncmp(text, FORMAT_WORD, word) ? 0 : strtoul(text + word, &end, 10);
    if (format == 0 || *end != '\n')
        return err_set(err, ERR_CORRUPT, "%s does not say which format the warm tier has", path);
    if (format > FORMAT)
        return err_set(err, ERR_UNSUPPORTED,
                       "warm tier %s has format %lu, this program reads up to %d; use a newer carat", dir,
                       format, FORMAT);
    return OK;
}

static int format_write(const char *dir, const char *path, struct err *err)
{
    struct fs *fs = fs_posix();
    struct fs_file *f;
    char tmp[PATH_MAX + 8], text[64];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    int n = snprintf(text, sizeof text, FORMAT_WORD "%d\n", FORMAT);
    int rc = fs_open(fs, tmp, FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc < 0)
        return rc;
    rc = fs_pwrite(f, text, (size_t)n, 0, err);
    if (rc == OK)
        rc = fs_datasync(f, err);
    fs_close(f);
    if (rc == OK)
        rc = fs_rename(fs, tmp, path, err);
    return rc == OK ? fs_sync_dir(fs, dir, err) : rc;
}

struct names {
    bool format, rocksdb;
};

static int note_name(void *ctx, const char *name)
{
    struct names *n = ctx;
    n->format |= !strcmp(name, FORMAT_FILE);
    n->rocksdb |= !strcmp(name, "CURRENT");
    return 0;
}

static int check_format(const struct warm_rocksdb_options *o, struct err *err)
{
    char path[PATH_MAX];
    struct names names = {false, false};
    if (snprintf(path, sizeof path, "%s/" FORMAT_FILE, o->dir) >= (int)sizeof path)
        return err_set(err, ERR_INVALID, "warm tier: the path of its directory is too long");
    int rc = o->create ? fs_mkdir(fs_posix(), o->dir, err) : OK;
    if (rc == OK)
        rc = fs_list(fs_posix(), o->dir, note_name, &names, err);
    if (!o->create && (rc == ERR_NOT_FOUND || (rc == OK && !names.format && !names.rocksdb)))
        return err_set(err, ERR_NOT_FOUND, "there is no warm tier in %s", o->dir);
    if (rc < 0)
        return rc;
    if (names.format)
        return format_read(o->dir, path, err);
    if (names.rocksdb)
        return err_set(err, ERR_UNSUPPORTED, "%s holds a RocksDB database that carat did not make (no %s)",
                       o->dir, FORMAT_FILE);
    return format_write(o->dir, path, err);
}

int warm_rocksdb_open(const struct warm_rocksdb_options *o, struct warm **out, struct err *err)
{
    int rc = check_format(o, err);
    if (rc < 0)
        return rc;
    struct warm_rocksdb *r = xcalloc(1, sizeof *r);
    warm_init(&r->base, &rocks_ops, NULL);
    r->dir = xstrdup(o->dir);
    set_options(r, o);
    rc = open_db(r, err);
    if (rc < 0) {
        rocks_free(&r->base);
        return rc;
    }
    warm_init(&r->base, &rocks_ops, o->metrics); /* only now: the gauge asks the database */
    *out = &r->base;
    return OK;
}
