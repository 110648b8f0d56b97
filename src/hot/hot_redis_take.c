/* Windows that leave: copies of those that are due, and their deletion once they are in warm.
 *
 * The deletion is a script, because it must look and delete in one step: a window goes only if its positions
 * are those it was copied with. */
#include "codec/codec.h"
#include "hot/hot_redis_impl.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK_WINDOWS 256  /* whole windows in one batch: half a megabyte */
#define LOOK_SERIES  4096 /* looked at in the index between two batches */
#define DELETE       1024 /* in one batch */

/* KEYS: window, the series' set. ARGV: its positions, its member of the set. 1: gone; -1: was not there. */
static const char delete_script[] = "local at = redis.call('GETRANGE', KEYS[1], 8, 23)\n"
                                    "if at == '' then redis.call('SREM', KEYS[2], ARGV[2]) return -1 end\n"
                                    "if at ~= ARGV[1] then return 0 end\n"
                                    "redis.call('DEL', KEYS[1])\n"
                                    "redis.call('SREM', KEYS[2], ARGV[2])\n"
                                    "return 1\n";

/* --- taking ----------------------------------------------------------------------------------------------
 */

static bool is_due(const struct hot_redis_win *w, const struct hot_due *due)
{
    if (w->state < HOT_REDIS_HELD)
        return false;
    if (due->all || w->lo <= due->unflushed_before)
        return true;
    int64_t span = window_span_ms(w->step_ms);
    /* As in hot_mem.c: neighbouring ids are spread evenly over the jitter. */
    int64_t jitter =
        (int64_t)((uint64_t)(w->series * 2654435769u) * (uint64_t)(span / 1000 * due->jitter_permille) >> 32);
    return w->start_ms + span + jitter <= due->closed_before_ms && w->hi <= due->settled_before;
}

/* Due windows into p->wins, from series *at on; stops after `budget` series or enough windows. */
static size_t find_due(struct hot_redis_part *p, const struct hot_due *due, uint32_t *at, size_t *budget,
                       bool *end)
{
    size_t n = 0;
    pthread_mutex_lock(&p->mtx);
    for (size_t i = 0; i<LOOK_SERIES && * budget> 0 && n < LOOK_WINDOWS; i++, --*budget) {
        uint32_t s = hot_redis_index_next(&p->index, *at);
        if (s == UINT32_MAX) {
            *end = true;
            break;
        }
        for (struct hot_redis_win *w = hot_redis_index_head(&p->index, s); w; w = w->next) {
            if (!is_due(w, due))
                continue;
            if (n == p->wins_cap) {
                p->wins_cap = p->wins_cap ? 2 * p->wins_cap : 1024;
                p->wins = xrealloc(p->wins, p->wins_cap * sizeof *p->wins);
            }
            p->wins[n++] = w;
        }
        *at = s + 1;
    }
    pthread_mutex_unlock(&p->mtx);
    return n;
}

struct taking {
    struct hot_redis_part *p;
    struct hot_redis_win **wins; /* NULL: strays */
    const struct hot_redis_stray *strays;
    struct hot_taken *out;
    int status;
    struct err err;
};

static void put_part(struct hot_taken *out, uint32_t series, uint32_t step_ms, int64_t window_ms,
                     const struct hot_redis_header *h, const struct slots *slots, uint64_t mark)
{
    if (out->n == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 256;
        out->parts = xrealloc(out->parts, out->cap * sizeof *out->parts);
        out->tokens = xrealloc(out->tokens, out->cap * sizeof *out->tokens);
    }
    size_t at = out->blocks.len;
    codec_encode(&(struct codec_in){slots->n, slots->present, slots->value}, &out->blocks);
    out->tokens[out->n] = (struct hot_token){mark, (uint32_t)slots_count(slots->present, slots->n)};
    out->parts[out->n++] = (struct part){
        .key = {series, step_ms, window_ms, h->hi},
        .lo = h->lo,
        .data = (const uint8_t *)at, /* an offset until the buffer stops moving: fix_pointers() */
        .size = out->blocks.len - at,
    };
}

static void fix_pointers(struct hot_taken *out)
{
    for (size_t i = 0; i < out->n; i++)
        out->parts[i].data = out->blocks.data + (uintptr_t)out->parts[i].data;
}

static void take_stray(struct taking *t, const struct hot_redis_stray *s, const redisReply *reply)
{
    struct hot_redis_header h;
    struct slots slots;
    struct err err;
    if (reply->type == REDIS_REPLY_STRING &&
        hot_redis_window_read((const uint8_t *)reply->str, reply->len, window_slots(s->key.step_ms), &h,
                              &slots, &err) == OK)
        put_part(t->out, s->series, s->key.step_ms, s->key.window_ms, &h, &slots, HOT_REDIS_STRAY_MARK);
}

static void on_window(void *ctx, size_t i, const redisReply *reply)
{
    struct taking *t = ctx;
    if (!t->wins) {
        take_stray(t, &t->strays[i], reply);
        return;
    }
    struct hot_redis_win *w = t->wins[i];
    struct hot_redis_seen seen;
    struct slots slots;
    hot_redis_seen_from(&seen, reply, &t->err);
    if (seen.status == OK)
        seen.status = hot_redis_window_read((const uint8_t *)reply->str, reply->len, window_slots(w->step_ms),
                                            &seen.header, &slots, &t->err);
    if (seen.status < 0 && seen.status != ERR_NOT_FOUND && seen.status != ERR_CORRUPT) {
        t->status = seen.status;
        return;
    }
    if (seen.status == ERR_CORRUPT)
        hot_redis_count(t->p->hot->corrupt_windows, 1);
    uint32_t series = w->series, step_ms = w->step_ms;
    int64_t start_ms = w->start_ms;
    uint64_t version = w->version;
    if (hot_redis_judge(t->p, w, &seen) && seen.status == OK) /* w may be gone now */
        put_part(t->out, series, step_ms, start_ms, &seen.header, &slots, version);
}

static int put_get(struct hot_redis_part *p, uint32_t series, uint32_t step_ms, int64_t window_ms,
                   unsigned partition, struct err *err)
{
    int rc = hot_redis_series_text(p->hot, series, step_ms, &p->series, err);
    if (rc != OK)
        return rc;
    hot_redis_window_key(p->hot, &p->series, window_ms, partition, &p->key);
    redis_batch_begin(&p->batch, redis_slot((const char *)p->key.data, p->key.len), 2);
    redis_batch_str(&p->batch, "GET");
    redis_batch_arg(&p->batch, p->key.data, p->key.len);
    return OK;
}

static int run_taking(struct taking *t, struct err *err)
{
    int rc = redis_cluster_exec(t->p->client, &t->p->batch, REDIS_STEADY, on_window, t, err);
    if (rc == OK && t->status != OK) {
        *err = t->err;
        rc = t->status;
    }
    return rc;
}

/* OK also if something was found to be lost: what is there was taken. 1: the cluster changed, nothing was. */
static int take_windows(struct hot_redis_part *p, size_t n, struct hot_taken *out, struct err *err)
{
    struct taking t = {.p = p, .wins = p->wins, .out = out, .err = ERR_INIT};
    int rc = OK;
    redis_batch_clear(&p->batch);
    for (size_t i = 0; i < n && rc == OK; i++)
        rc = put_get(p, p->wins[i]->series, p->wins[i]->step_ms, p->wins[i]->start_ms, p->number, err);
    return rc == OK && n ? run_taking(&t, err) : rc;
}

/* Those that are in the index after all were met since they were found: they are windows like others. */
static int take_strays(struct hot_redis_part *p, struct hot_taken *out, struct err *err)
{
    struct hot_redis_stray *strays = NULL;
    size_t n = 0;
    pthread_mutex_lock(&p->mtx);
    if (p->nstrays) {
        strays = xmalloc(p->nstrays * sizeof *strays);
        for (size_t i = 0; i < p->nstrays; i++)
            if (!hot_redis_index_find(&p->index, p->strays[i].series, p->strays[i].key.step_ms,
                                      p->strays[i].key.window_ms))
                strays[n++] = p->strays[i];
        p->nstrays = 0;
    }
    pthread_mutex_unlock(&p->mtx);
    struct taking t = {.p = p, .strays = strays, .out = out, .err = ERR_INIT};
    int rc = OK;
    redis_batch_clear(&p->batch);
    for (size_t i = 0; i < n && rc == OK; i++)
        rc = put_get(p, strays[i].series, strays[i].key.step_ms, strays[i].key.window_ms,
                     strays[i].key.partition, err);
    if (rc == OK && n)
        rc = run_taking(&t, err);
    free(strays);
    return rc;
}

/* Ready to be built on, or why not. */
static int settled(struct hot_redis_part *p, struct err *err)
{
    int rc = hot_redis_settle(p, err);
    return rc == 1 ? err_set(err, ERR_BUSY, "what Redis lost is to be applied again first") : rc;
}

int hot_redis_take(struct hot *h, unsigned partition, const struct hot_due *due, uint32_t *cursor,
                   size_t budget, struct hot_taken *out, struct err *err)
{
    struct hot_redis_part *p = &hot_redis_of(h)->parts[partition];
    uint32_t at = *cursor;
    bool end = false, strays = at == 0;
    int rc = OK;
    while (rc == OK && !end && budget > 0) {
        size_t n = out->n, blocks = out->blocks.len, left = budget;
        uint32_t before = at;
        turn_take(&p->io);
        rc = settled(p, err);
        if (rc == OK && strays)
            rc = take_strays(p, out, err);
        if (rc == OK)
            rc = take_windows(p, find_due(p, due, &at, &budget, &end), out, err);
        turn_give(&p->io);
        if (rc == 1) { /* once more, as if it had not been */
            out->n = n;
            out->blocks.len = blocks;
            at = before;
            budget = left;
            end = false;
            rc = OK;
        } else {
            strays = false;
        }
    }
    fix_pointers(out);
    if (rc != OK)
        out->n = 0;
    else
        *cursor = end ? 0 : at;
    return rc;
}

/* --- releasing -------------------------------------------------------------------------------------------
 */

struct releasing {
    struct hot_redis_part *p;
    const struct part *parts;
    const uint32_t *which; /* part by command */
    int8_t *gone;          /* by part: 1, 0, -1 as the script says; 2: it is not loaded there */
    int status;
    struct err err;
};

static void on_deleted(void *ctx, size_t i, const redisReply *reply)
{
    struct releasing *r = ctx;
    int8_t *gone = &r->gone[r->which[i]];
    if (reply->type == REDIS_REPLY_INTEGER)
        *gone = (int8_t)reply->integer;
    else if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0)
        *gone = 2;
    else if (reply->type == REDIS_REPLY_ERROR)
        r->status = redis_reply_error(reply, "delete a window", &r->err);
}

static const char *script_sha(void)
{
    static char text[2 * SHA_DIGEST_LENGTH + 1];
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&once);
    if (!text[0]) {
        uint8_t sha[SHA_DIGEST_LENGTH];
        SHA1((const uint8_t *)delete_script, sizeof delete_script - 1, sha);
        for (int i = 0; i < SHA_DIGEST_LENGTH; i++)
            snprintf(text + 2 * i, 3, "%02x", sha[i]);
    }
    pthread_mutex_unlock(&once);
    return text;
}

static int put_delete(struct hot_redis_part *p, const struct part *part, bool whole_script, struct err *err)
{
    uint8_t at[16];
    int rc = hot_redis_series_text(p->hot, part->key.series, part->key.step_ms, &p->series, err);
    if (rc != OK)
        return rc;
    hot_redis_window_key(p->hot, &p->series, part->key.window_ms, p->number, &p->key);
    put_u64be(at, part->lo);
    put_u64be(at + 8, part->key.hi);
    redis_batch_begin(&p->batch, redis_slot((const char *)p->key.data, p->key.len), 7);
    redis_batch_str(&p->batch, whole_script ? "EVAL" : "EVALSHA");
    redis_batch_str(&p->batch, whole_script ? delete_script : script_sha());
    redis_batch_str(&p->batch, "2");
    redis_batch_arg(&p->batch, p->key.data, p->key.len);
    hot_redis_set_key(p->hot, &p->series, &p->key);
    redis_batch_arg(&p->batch, p->key.data, p->key.len);
    redis_batch_arg(&p->batch, at, sizeof at);
    redis_batch_i64(&p->batch, hot_redis_member(part->key.window_ms, part->key.step_ms, p->number));
    return OK;
}

/* Deletes the parts whose `gone` is `wanted`. */
static int delete_those(struct releasing *r, size_t n, int8_t wanted, bool whole_script, struct err *err)
{
    struct hot_redis_part *p = r->p;
    uint32_t *which = xmalloc((n ? n : 1) * sizeof *which);
    int rc = OK;
    redis_batch_clear(&p->batch);
    for (size_t i = 0; i < n && rc == OK; i++)
        if (r->gone[i] == wanted) {
            which[p->batch.n] = (uint32_t)i;
            rc = put_delete(p, &r->parts[i], whole_script, err);
        }
    r->which = which;
    if (rc == OK && p->batch.n)
        rc = redis_cluster_exec(p->client, &p->batch, REDIS_STEADY, on_deleted, r, err);
    if (rc == OK && r->status != OK) {
        *err = r->err;
        rc = r->status;
    }
    free(which);
    return rc;
}

#define NOT_OURS 3 /* not the window that was taken, any more */
#define TO_GO    4

/* Marks those that are as they were taken. */
static void choose(struct hot_redis_part *p, const struct hot_taken *t, size_t from, size_t n, int8_t *gone)
{
    pthread_mutex_lock(&p->mtx);
    for (size_t i = 0; i < n; i++) {
        const struct part *part = &t->parts[from + i];
        uint64_t mark = t->tokens[from + i].mark;
        struct hot_redis_win *w =
            hot_redis_index_find(&p->index, part->key.series, part->key.step_ms, part->key.window_ms);
        bool same = mark == HOT_REDIS_STRAY_MARK ? !w : w && w->version == mark && w->state >= HOT_REDIS_HELD;
        gone[i] = same ? TO_GO : NOT_OURS;
        if (same && w)
            w->state = HOT_REDIS_LEAVING;
    }
    pthread_mutex_unlock(&p->mtx);
}

static size_t forget(struct hot_redis_part *p, const struct part *parts, size_t n, const int8_t *gone)
{
    size_t released = 0;
    pthread_mutex_lock(&p->mtx);
    for (size_t i = 0; i < n; i++) {
        const struct part_key *k = &parts[i].key;
        if (gone[i] != 1 && gone[i] != -1)
            continue;
        released++;
        struct hot_redis_win *w = hot_redis_index_find(&p->index, k->series, k->step_ms, k->window_ms);
        if (!w)
            continue;
        p->value_bytes -= hot_redis_value_bytes(window_slots(w->step_ms)) + HOT_REDIS_KEY_BYTES;
        hot_redis_index_remove(&p->index, w);
    }
    pthread_mutex_unlock(&p->mtx);
    return released;
}

static int release_some(struct hot_redis_part *p, const struct hot_taken *t, size_t from, size_t n,
                        size_t *released, struct err *err)
{
    int8_t gone[DELETE];
    struct releasing r = {.p = p, .parts = t->parts + from, .gone = gone, .err = ERR_INIT};
    int rc = settled(p, err);
    if (rc != OK)
        return rc;
    choose(p, t, from, n, gone);
    rc = delete_those(&r, n, TO_GO, false, err);
    if (rc == OK)
        rc = delete_those(&r, n, 2, true, err);
    *released += forget(p, t->parts + from, n, gone);
    return rc;
}

int hot_redis_release(struct hot *h, unsigned partition, const struct hot_taken *t, size_t *released,
                      struct err *err)
{
    struct hot_redis_part *p = &hot_redis_of(h)->parts[partition];
    int rc = OK;
    for (size_t from = 0; from < t->n && rc >= 0;) {
        size_t n = t->n - from < DELETE ? t->n - from : DELETE;
        turn_take(&p->io);
        rc = release_some(p, t, from, n, released, err);
        turn_give(&p->io);
        if (rc == OK)
            from += n; /* 1: the cluster changed; once more, which finds those that went gone */
    }
    return rc < 0 ? rc : OK;
}

int hot_redis_oldest(struct hot *h, unsigned partition, uint64_t *lo, struct err *err)
{
    struct hot_redis_part *p = &hot_redis_of(h)->parts[partition];
    pthread_mutex_lock(&p->mtx);
    *lo = p->hold_from == UINT64_MAX ? UINT64_MAX : p->hold_from + 1;
    for (uint32_t s = hot_redis_index_next(&p->index, 0); s != UINT32_MAX;
         s = hot_redis_index_next(&p->index, s + 1))
        for (struct hot_redis_win *w = hot_redis_index_head(&p->index, s); w; w = w->next)
            *lo = w->lo < *lo ? w->lo : *lo;
    pthread_mutex_unlock(&p->mtx);
    return OK;
}
