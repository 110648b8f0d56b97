#include "cold/object_mem.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PART_BYTES_DEFAULT (8u << 20)

struct object {
    struct object *next;
    char *name;
    struct buf bytes;
    int64_t written_ms;
    bool listed; /* as of the last settle */
};

struct object_bucket {
    pthread_mutex_t mtx;
    /* under mtx */
    struct object *first;  /* by name */
    struct object *unseen; /* removed, still listed */
    int64_t now_ms;
    struct upload *uploads;
    uint64_t ops, fail_from, fail_until;
    int fail_code;
    bool fail_after;
};

struct mem_store {
    struct object_store base;
    struct object_bucket *bucket;
    struct object_mem_options o;
};

struct upload {
    struct object_upload base;
    struct upload *next;
    char *name;
    struct buf bytes;
    int64_t begun_ms;
    bool dropped, done, short_part;
};

static const struct object_store_ops mem_ops;

static struct mem_store *of(struct object_store *s)
{
    assert(s->ops == &mem_ops);
    return container_of(s, struct mem_store, base);
}

static void lock(struct mem_store *s)
{
    pthread_mutex_lock(&s->bucket->mtx);
}

static int unlock(struct mem_store *s, int rc)
{
    pthread_mutex_unlock(&s->bucket->mtx);
    return rc;
}

/* --- faults --- */

/* Under mtx, at the beginning of an operation: whether it is not to happen. */
static bool fails(struct mem_store *s, bool *after)
{
    struct object_bucket *b = s->bucket;
    b->ops++;
    bool now = b->fail_from && b->ops >= b->fail_from && b->ops < b->fail_until;
    *after = now && b->fail_after;
    return now && !b->fail_after;
}

static int failed(struct mem_store *s, const char *name, struct err *err)
{
    return err_set(err, s->bucket->fail_code, "object %s: as the test wants it", name);
}

/* --- the list --- */

static struct object **find(struct object_bucket *b, const char *name)
{
    struct object **at = &b->first;
    while (*at && strcmp((*at)->name, name) < 0)
        at = &(*at)->next;
    return at;
}

static struct object *get_object(struct object_bucket *b, const char *name)
{
    struct object *o = *find(b, name);
    return o && !strcmp(o->name, name) ? o : NULL;
}

static void object_free(struct object *o)
{
    buf_release(&o->bytes);
    free(o->name);
    free(o);
}

/* Takes `bytes` over. */
static void set_object(struct object_bucket *b, const char *name, struct buf bytes)
{
    struct object **at = find(b, name), *o = *at;
    if (!o || strcmp(o->name, name) != 0) {
        o = xcalloc(1, sizeof *o);
        o->name = xstrdup(name);
        o->next = *at;
        *at = o;
    }
    buf_release(&o->bytes);
    o->bytes = bytes;
    o->written_ms = b->now_ms;
}

/* --- operations --- */

static int mem_put(struct object_store *base, const char *name, const void *p, size_t n, enum object_put how,
                   struct err *err)
{
    struct mem_store *s = of(base);
    bool after;
    lock(s);
    if (fails(s, &after))
        return unlock(s, failed(s, name, err));
    if (how == OBJECT_PUT_NEW && !s->o.conditional)
        return unlock(s, err_set(err, ERR_UNSUPPORTED, "object %s: no conditions here", name));
    if (how == OBJECT_PUT_NEW && get_object(s->bucket, name))
        return unlock(s, err_set(err, ERR_LOCKED, "object %s is there", name));
    struct buf bytes = BUF_INIT;
    buf_append(&bytes, p, n);
    set_object(s->bucket, name, bytes);
    return unlock(s, after ? failed(s, name, err) : OK);
}

static int read_object(struct object_store *base, const char *name, uint64_t from, bool tail, size_t n,
                       struct buf *out, uint64_t *size, struct err *err)
{
    struct mem_store *s = of(base);
    bool after;
    lock(s);
    if (fails(s, &after) || after)
        return unlock(s, failed(s, name, err));
    struct object *o = get_object(s->bucket, name);
    if (!o)
        return unlock(s, err_set(err, ERR_NOT_FOUND, "object %s is not there", name));
    if (tail)
        from = o->bytes.len > n ? o->bytes.len - n : 0;
    if (from < o->bytes.len)
        buf_append(out, o->bytes.data + from, n < o->bytes.len - from ? n : o->bytes.len - from);
    if (size)
        *size = o->bytes.len;
    return unlock(s, OK);
}

static int mem_get(struct object_store *base, const char *name, uint64_t from, size_t n, struct buf *out,
                   uint64_t *size, struct err *err)
{
    return read_object(base, name, from, false, n, out, size, err);
}

static int mem_get_tail(struct object_store *base, const char *name, size_t n, struct buf *out,
                        uint64_t *size, struct err *err)
{
    return read_object(base, name, 0, true, n, out, size, err);
}

static bool has_prefix(const char *name, const char *prefix)
{
    return !strncmp(name, prefix, strlen(prefix));
}

struct listed {
    char *name;
    uint64_t size;
    int64_t age_ms;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

/* Copies, so that fn may do everything. */
static size_t copy_list(struct mem_store *s, const char *prefix, const char *after, struct listed **out)
{
    struct object_bucket *b = s->bucket;
    struct object *lists[] = {b->first, s->o.list_is_behind ? b->unseen : NULL};
    struct listed *v = NULL;
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (struct object *o = lists[i]; o; o = o->next) {
            if (!has_prefix(o->name, prefix) || (after && strcmp(o->name, after) <= 0) ||
                (s->o.list_is_behind && !o->listed))
                continue;
            v = xrealloc(v, (n + 1) * sizeof *v);
            v[n++] = (struct listed){xstrdup(o->name), o->bytes.len, b->now_ms - o->written_ms};
        }
    if (n > 1)
        qsort(v, n, sizeof *v, by_name);
    *out = v;
    return n;
}

static int mem_list(struct object_store *base, const char *prefix, const char *after, object_fn fn, void *ctx,
                    struct err *err)
{
    struct mem_store *s = of(base);
    struct listed *v;
    bool too_late;
    lock(s);
    if (fails(s, &too_late) || too_late)
        return unlock(s, failed(s, prefix, err));
    size_t n = copy_list(s, prefix, after, &v);
    unlock(s, OK);
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        if (rc == 0)
            rc = fn(ctx, &(struct object_info){v[i].name, v[i].size, v[i].age_ms});
        free(v[i].name);
    }
    free(v);
    return rc;
}

static int mem_remove(struct object_store *base, const char *name, struct err *err)
{
    struct mem_store *s = of(base);
    bool after;
    lock(s);
    if (fails(s, &after))
        return unlock(s, failed(s, name, err));
    struct object **at = find(s->bucket, name), *o = *at;
    if (o && !strcmp(o->name, name)) {
        *at = o->next;
        o->next = s->bucket->unseen;
        s->bucket->unseen = o;
    }
    return unlock(s, after ? failed(s, name, err) : OK);
}

/* --- uploads --- */

static struct upload *upload_of(struct object_upload *u)
{
    return container_of(u, struct upload, base);
}

static int mem_begin(struct object_store *base, const char *name, struct object_upload **out, struct err *err)
{
    struct mem_store *s = of(base);
    bool after;
    lock(s);
    if (fails(s, &after) || after)
        return unlock(s, failed(s, name, err));
    struct upload *u = xcalloc(1, sizeof *u);
    u->base.store = base;
    u->name = xstrdup(name);
    u->begun_ms = s->bucket->now_ms;
    u->next = s->bucket->uploads;
    s->bucket->uploads = u;
    *out = &u->base;
    return unlock(s, OK);
}

static int mem_part(struct object_upload *up, const void *p, size_t n, struct err *err)
{
    struct upload *u = upload_of(up);
    struct mem_store *s = of(up->store);
    bool after;
    lock(s);
    if (fails(s, &after) || after)
        return unlock(s, failed(s, u->name, err));
    if (u->dropped || u->short_part)
        return unlock(s, err_set(err, ERR_INVALID, "object %s: %s", u->name,
                                 u->dropped ? "no such upload" : "too small a part"));
    u->short_part = n < s->base.part_bytes;
    buf_append(&u->bytes, p, n);
    return unlock(s, OK);
}

static int mem_complete(struct object_upload *up, struct err *err)
{
    struct upload *u = upload_of(up);
    struct mem_store *s = of(up->store);
    bool after;
    lock(s);
    if (fails(s, &after))
        return unlock(s, failed(s, u->name, err));
    if (u->dropped)
        return unlock(s, err_set(err, ERR_INVALID, "object %s: no such upload", u->name));
    set_object(s->bucket, u->name, u->bytes);
    u->bytes = (struct buf)BUF_INIT;
    u->done = true;
    return unlock(s, after ? failed(s, u->name, err) : OK);
}

/* A process that was killed leaves its uploads: here they stay if the service does not answer. */
static void mem_end(struct object_upload *up)
{
    struct upload *u = upload_of(up);
    struct mem_store *s = of(up->store);
    bool after;
    lock(s);
    if (u->done || u->dropped || !fails(s, &after)) {
        struct upload **at = &s->bucket->uploads;
        while (*at != u)
            at = &(*at)->next;
        *at = u->next;
        buf_release(&u->bytes);
        free(u->name);
        free(u);
    }
    unlock(s, OK);
}

static int mem_drop_uploads(struct object_store *base, const char *prefix, int64_t age_ms, size_t *dropped,
                            struct err *err)
{
    struct mem_store *s = of(base);
    bool after;
    *dropped = 0;
    lock(s);
    if (fails(s, &after) || after)
        return unlock(s, failed(s, prefix, err));
    for (struct upload *u = s->bucket->uploads; u; u = u->next)
        if (!u->dropped && has_prefix(u->name, prefix) && s->bucket->now_ms - u->begun_ms >= age_ms) {
            u->dropped = true;
            ++*dropped;
        }
    return unlock(s, OK);
}

static void mem_free(struct object_store *base)
{
    free(of(base));
}

static const struct object_store_ops mem_ops = {
    .name = "mem",
    .put = mem_put,
    .get = mem_get,
    .get_tail = mem_get_tail,
    .list = mem_list,
    .remove = mem_remove,
    .upload_begin = mem_begin,
    .upload_part = mem_part,
    .upload_complete = mem_complete,
    .upload_end = mem_end,
    .drop_uploads = mem_drop_uploads,
    .free = mem_free,
};

struct object_store *object_mem_new(struct object_bucket *b, const struct object_mem_options *o)
{
    struct mem_store *s = xcalloc(1, sizeof *s);
    s->base.ops = &mem_ops;
    s->base.part_bytes = o->part_bytes ? o->part_bytes : PART_BYTES_DEFAULT;
    s->bucket = b;
    s->o = *o;
    return &s->base;
}

/* --- the bucket --- */

struct object_bucket *object_bucket_new(void)
{
    struct object_bucket *b = xcalloc(1, sizeof *b);
    pthread_mutex_init(&b->mtx, NULL);
    return b;
}

static void free_objects(struct object **first)
{
    while (*first) {
        struct object *o = *first;
        *first = o->next;
        object_free(o);
    }
}

void object_bucket_free(struct object_bucket *b)
{
    free_objects(&b->first);
    free_objects(&b->unseen);
    while (b->uploads) {
        struct upload *u = b->uploads;
        b->uploads = u->next;
        buf_release(&u->bytes);
        free(u->name);
        free(u);
    }
    pthread_mutex_destroy(&b->mtx);
    free(b);
}

void object_bucket_fail(struct object_bucket *b, uint64_t nth, uint64_t times, int code, bool after)
{
    pthread_mutex_lock(&b->mtx);
    b->fail_from = b->ops + nth;
    b->fail_until = times > UINT64_MAX - b->fail_from ? UINT64_MAX : b->fail_from + times;
    b->fail_code = code;
    b->fail_after = after;
    pthread_mutex_unlock(&b->mtx);
}

void object_bucket_mend(struct object_bucket *b)
{
    pthread_mutex_lock(&b->mtx);
    b->fail_from = 0;
    pthread_mutex_unlock(&b->mtx);
}

uint64_t object_bucket_ops(struct object_bucket *b)
{
    pthread_mutex_lock(&b->mtx);
    uint64_t n = b->ops;
    pthread_mutex_unlock(&b->mtx);
    return n;
}

void object_bucket_pass(struct object_bucket *b, int64_t ms)
{
    pthread_mutex_lock(&b->mtx);
    b->now_ms += ms;
    pthread_mutex_unlock(&b->mtx);
}

void object_bucket_settle(struct object_bucket *b)
{
    pthread_mutex_lock(&b->mtx);
    for (struct object *o = b->first; o; o = o->next)
        o->listed = true;
    free_objects(&b->unseen);
    pthread_mutex_unlock(&b->mtx);
}

size_t object_bucket_count(struct object_bucket *b, const char *prefix)
{
    size_t n = 0;
    pthread_mutex_lock(&b->mtx);
    for (struct object *o = b->first; o; o = o->next)
        n += has_prefix(o->name, prefix);
    pthread_mutex_unlock(&b->mtx);
    return n;
}

size_t object_bucket_uploads(struct object_bucket *b)
{
    size_t n = 0;
    pthread_mutex_lock(&b->mtx);
    for (struct upload *u = b->uploads; u; u = u->next)
        n += !u->dropped;
    pthread_mutex_unlock(&b->mtx);
    return n;
}

int object_bucket_damage(struct object_bucket *b, const char *name, uint64_t at)
{
    pthread_mutex_lock(&b->mtx);
    struct object *o = get_object(b, name);
    bool there = o && at < o->bytes.len;
    if (there)
        o->bytes.data[at] ^= 1;
    pthread_mutex_unlock(&b->mtx);
    return there ? 0 : -1;
}
