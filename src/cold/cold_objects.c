#include "cold/cold_objects.h"

#include "base/mem.h"
#include "cold/cold_objects_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define KEEP_MS_DEFAULT   86400000
#define LINGER_MS_DEFAULT 600000
#define OWNER_MAX         4096
#define AHEAD_LEAST       (256u << 10)
#define AHEAD_MOST        (1u << 20)

/* A pack that is written, or read. */
struct object {
    struct cold_object base;
    uint64_t id;
    char name[OBJECT_NAME_MAX];
    /* written */
    struct buf part;              /* not yet sent */
    struct object_upload *upload; /* NULL: small as yet */
    /* read */
    uint64_t size, tail_from;
    struct buf tail; /* what there is from tail_from on; does not change once open */
    pthread_mutex_t mtx;
    /* under mtx: who reads in order gets larger pieces */
    uint64_t next, ahead_from;
    size_t ahead_want;
    struct buf ahead;
};

static const struct cold_store_ops objects_ops;

struct cold_objects *cold_objects_of(struct cold_store *s)
{
    assert(s->ops == &objects_ops);
    return container_of(s, struct cold_objects, base);
}

static struct object *object_of(struct cold_object *o)
{
    return container_of(o, struct object, base);
}

void cold_objects_name(const struct cold_objects *s, const char *kind, uint64_t number, char *out)
{
    snprintf(out, OBJECT_NAME_MAX, "%s%s/%016" PRIx64, s->prefix, kind, number);
}

int cold_objects_number(const struct cold_objects *s, const char *kind, const char *name, uint64_t *number)
{
    char want[OBJECT_NAME_MAX];
    int n = snprintf(want, sizeof want, "%s%s/", s->prefix, kind);
    if (strncmp(name, want, (size_t)n) != 0 || strlen(name) != (size_t)n + 16 ||
        strspn(name + n, "0123456789abcdef") != 16)
        return -1;
    *number = strtoull(name + n, NULL, 16);
    return 0;
}

static struct object *object_new(struct cold_objects *s, uint64_t id)
{
    struct object *o = xcalloc(1, sizeof *o);
    o->base.store = &s->base;
    o->id = id;
    cold_objects_name(s, "pack", id, o->name);
    pthread_mutex_init(&o->mtx, NULL);
    return o;
}

static void objects_close(struct cold_object *base)
{
    struct object *o = object_of(base);
    if (o->upload)
        o->upload->store->ops->upload_end(o->upload);
    buf_release(&o->part);
    buf_release(&o->tail);
    buf_release(&o->ahead);
    pthread_mutex_destroy(&o->mtx);
    free(o);
}

/* --- writing --- */

static int objects_create(struct cold_store *store, uint64_t id, struct cold_object **out, struct err *err)
{
    (void)err;
    *out = &object_new(cold_objects_of(store), id)->base;
    return OK;
}

static int send_part(struct cold_objects *s, struct object *o, struct err *err)
{
    const struct object_store_ops *ops = s->objects->ops;
    int rc = o->upload ? OK : ops->upload_begin(s->objects, o->name, &o->upload, err);
    if (rc == OK)
        rc = ops->upload_part(o->upload, o->part.data, o->part.len, err);
    buf_clear(&o->part);
    return rc;
}

static int objects_append(struct cold_object *base, const void *p, size_t n, struct err *err)
{
    struct object *o = object_of(base);
    struct cold_objects *s = cold_objects_of(base->store);
    const uint8_t *q = p;
    int rc = OK;
    while (n && rc == OK) {
        size_t room = s->objects->part_bytes - o->part.len, some = n < room ? n : room;
        buf_append(&o->part, q, some);
        q += some;
        n -= some;
        if (o->part.len == s->objects->part_bytes)
            rc = send_part(s, o, err);
    }
    return rc;
}

static int objects_finish(struct cold_object *base, struct err *err)
{
    struct object *o = object_of(base);
    struct cold_objects *s = cold_objects_of(base->store);
    if (!o->upload)
        return s->objects->ops->put(s->objects, o->name, o->part.data, o->part.len, OBJECT_PUT_ANY, err);
    int rc = o->part.len ? send_part(s, o, err) : OK;
    return rc < 0 ? rc : s->objects->ops->upload_complete(o->upload, err);
}

/* --- reading --- */

/* How many of the last bytes hold the footer, from those bytes; 0 if that cannot be told. */
static size_t footer_bytes(const struct object *o)
{
    uint64_t offset;
    uint32_t length;
    if (o->tail.len < PACK_TRAILER_BYTES || pack_trailer_get(o->tail.data + o->tail.len - PACK_TRAILER_BYTES,
                                                             o->size, &offset, &length, NULL) < 0)
        return 0;
    return (size_t)(o->size - offset);
}

static int fetch_tail(struct cold_objects *s, struct object *o, struct err *err)
{
    const struct object_store_ops *ops = s->objects->ops;
    int rc = ops->get_tail(s->objects, o->name, PACK_SUFFIX_BYTES, &o->tail, &o->size, err);
    size_t want = rc == OK ? footer_bytes(o) : 0;
    if (rc == OK && want > o->tail.len && want <= PACK_FOOTER_MAX + PACK_TRAILER_BYTES) {
        buf_clear(&o->tail);
        rc = ops->get_tail(s->objects, o->name, want, &o->tail, &o->size, err);
    }
    if (rc == OK && s->cache && want && want <= o->tail.len)
        tail_cache_put(s->cache, o->id, o->tail.data + o->tail.len - want, want, o->size);
    return rc;
}

static int objects_open(struct cold_store *store, uint64_t id, struct cold_object **out, uint64_t *size,
                        struct err *err)
{
    struct cold_objects *s = cold_objects_of(store);
    struct object *o = object_new(s, id);
    int rc = OK;
    if (!s->cache || !tail_cache_get(s->cache, id, &o->tail, &o->size))
        rc = fetch_tail(s, o, err);
    if (rc == OK && o->tail.len > o->size)
        rc = err_set(err, ERR_CORRUPT, "object %s: more than all of it was sent", o->name);
    if (rc < 0) {
        objects_close(&o->base);
        return rc;
    }
    o->tail_from = o->size - o->tail.len;
    o->base.suffix = o->tail.len;
    *size = o->size;
    *out = &o->base;
    return OK;
}

static int fetch(struct cold_objects *s, struct object *o, uint64_t from, size_t n, struct buf *out,
                 size_t least, struct err *err)
{
    uint64_t size = 0;
    int rc = s->objects->ops->get(s->objects, o->name, from, n, out, &size, err);
    if (rc == OK && (size != o->size || out->len < least))
        rc = err_set(err, ERR_CORRUPT, "object %s ends before byte %" PRIu64, o->name, from + least);
    return rc;
}

/* Under o->mtx: reads a larger piece and keeps it, for a reader that goes through all of the pack. */
static int read_ahead(struct cold_objects *s, struct object *o, void *p, size_t n, uint64_t off,
                      struct err *err)
{
    if (off < o->ahead_from || off + n > o->ahead_from + o->ahead.len) {
        size_t want = o->ahead_want ? o->ahead_want : AHEAD_LEAST;
        o->ahead_want = 2 * want < AHEAD_MOST ? 2 * want : AHEAD_MOST;
        want = want < n ? n : want;
        want = want > o->size - off ? (size_t)(o->size - off) : want;
        buf_clear(&o->ahead);
        o->ahead_from = off;
        int rc = fetch(s, o, off, want, &o->ahead, n, err);
        if (rc < 0) {
            buf_clear(&o->ahead);
            return rc;
        }
    }
    memcpy(p, o->ahead.data + (off - o->ahead_from), n);
    if (off + n >= o->tail_from)
        buf_release(&o->ahead); /* it was the last piece before the footer */
    return OK;
}

static int objects_read(struct cold_object *base, void *p, size_t n, uint64_t off, struct err *err)
{
    struct object *o = object_of(base);
    struct cold_objects *s = cold_objects_of(base->store);
    if (off > o->size || n > o->size - off)
        return err_set(err, ERR_CORRUPT, "object %s ends before byte %" PRIu64, o->name, off + n);
    if (off >= o->tail_from) {
        memcpy(p, o->tail.data + (off - o->tail_from), n);
        return OK;
    }
    pthread_mutex_lock(&o->mtx);
    bool in_order = off == o->next && off > 0;
    o->next = off + n;
    if (in_order) {
        int rc = read_ahead(s, o, p, n, off, err);
        pthread_mutex_unlock(&o->mtx);
        return rc;
    }
    o->ahead_want = 0;
    buf_release(&o->ahead);
    pthread_mutex_unlock(&o->mtx);
    struct buf bytes = BUF_INIT;
    int rc = fetch(s, o, off, n, &bytes, n, err);
    if (rc == OK)
        memcpy(p, bytes.data, n);
    buf_release(&bytes);
    return rc;
}

/* --- removing --- */

static int remove_now(struct cold_objects *s, uint64_t id, struct err *err)
{
    char name[OBJECT_NAME_MAX];
    cold_objects_name(s, "pack", id, name);
    if (s->cache)
        tail_cache_drop(s->cache, id);
    return s->objects->ops->remove(s->objects, name, err);
}

/* One that is due, taken out. */
static bool take_due(struct cold_objects *s, uint64_t *id)
{
    bool found = false;
    int64_t now = clock_mono_ms(s->clock);
    pthread_mutex_lock(&s->mtx);
    for (size_t i = 0; i < s->nremovals && !found; i++)
        if (s->removals[i].due_ms <= now) {
            *id = s->removals[i].id;
            s->removals[i] = s->removals[--s->nremovals];
            found = true;
        }
    pthread_mutex_unlock(&s->mtx);
    return found;
}

static void remove_later(struct cold_objects *s, uint64_t id, int64_t due_ms)
{
    pthread_mutex_lock(&s->mtx);
    if (s->nremovals == s->cap_removals) {
        s->cap_removals = s->cap_removals ? 2 * s->cap_removals : 16;
        s->removals = xrealloc(s->removals, s->cap_removals * sizeof *s->removals);
    }
    s->removals[s->nremovals++] = (struct removal){id, due_ms};
    pthread_mutex_unlock(&s->mtx);
}

/* What is never removed here, because the process ended, is at a later start: no manifest names it. */
static int objects_remove(struct cold_store *store, uint64_t id, struct err *err)
{
    struct cold_objects *s = cold_objects_of(store);
    remove_later(s, id, clock_mono_ms(s->clock) + s->linger_ms);
    while (take_due(s, &id)) {
        int rc = remove_now(s, id, err);
        if (rc < 0) {
            remove_later(s, id, clock_mono_ms(s->clock) + s->linger_ms);
            return rc;
        }
    }
    return OK;
}

struct listing {
    struct cold_objects *s;
    cold_name_fn fn;
    void *ctx;
    bool old_only;
};

static int list_one(void *ctx, const struct object_info *o)
{
    struct listing *l = ctx;
    uint64_t id;
    if (cold_objects_number(l->s, "pack", o->name, &id) < 0 || (l->old_only && o->age_ms < l->s->keep_ms))
        return 0;
    return l->fn(l->ctx, id);
}

/* With `clean` only what is old: what is young may be another process's, which is just about to switch to it.
 */
static int objects_list(struct cold_store *store, bool clean, cold_name_fn fn, void *ctx, struct err *err)
{
    struct cold_objects *s = cold_objects_of(store);
    struct listing l = {s, fn, ctx, clean};
    char prefix[OBJECT_NAME_MAX];
    size_t dropped = 0;
    snprintf(prefix, sizeof prefix, "%spack/", s->prefix);
    int rc = OK;
    if (clean)
        rc = s->objects->ops->drop_uploads(s->objects, prefix, s->keep_ms, &dropped, err);
    if (rc == OK && clean)
        rc = objects_trim_manifests(s, err);
    if (dropped)
        log_info("cold", "unfinished uploads given up", "uploads=%zu", dropped);
    return rc < 0 ? rc : s->objects->ops->list(s->objects, prefix, NULL, list_one, &l, err);
}

static void objects_free(struct cold_store *store)
{
    struct cold_objects *s = cold_objects_of(store);
    s->objects->ops->free(s->objects);
    tail_cache_free(s->cache);
    pthread_mutex_destroy(&s->mtx);
    free(s->removals);
    free(s->prefix);
    free(s);
}

/* An orphan at a start is old already: it goes at once, not after linger_ms. */
static int objects_remove_orphan(struct cold_store *store, uint64_t id, struct err *err)
{
    return remove_now(cold_objects_of(store), id, err);
}

static const struct cold_store_ops objects_ops = {
    .name = "objects",
    .create = objects_create,
    .append = objects_append,
    .finish = objects_finish,
    .open = objects_open,
    .read = objects_read,
    .close = objects_close,
    .remove = objects_remove,
    .remove_orphan = objects_remove_orphan,
    .list = objects_list,
    .load_manifest = objects_load_manifest,
    .store_manifest = objects_store_manifest,
    .free = objects_free,
};

/* --- opening --- */

static int read_owner(struct cold_objects *s, const char *name, struct buf *owner, struct err *err)
{
    buf_clear(owner);
    return s->objects->ops->get(s->objects, name, 0, OWNER_MAX, owner, NULL, err);
}

static int check_owner(struct cold_objects *s, const struct buf *owner, const char *identity, struct err *err)
{
    if (owner->len == strlen(identity) && !memcmp(owner->data, identity, owner->len))
        return OK;
    return err_set(err, ERR_INVALID,
                   "the objects under \"%s\" belong to another deployment (owner %.*s, this one is %s): "
                   "choose another bucket or prefix",
                   s->prefix, (int)(owner->len < 100 ? owner->len : 100), (const char *)owner->data,
                   identity);
}

/* Puts the name on the door, unless another's is there. The attempt to put it twice tells whether the store
 * knows conditions: some say that they do not, some ignore them. */
static int claim(struct cold_objects *s, const char *identity, bool read_only, struct err *err)
{
    const struct object_store_ops *ops = s->objects->ops;
    char name[OBJECT_NAME_MAX];
    struct buf owner = BUF_INIT;
    size_t n = strlen(identity);
    snprintf(name, sizeof name, "%sowner", s->prefix);
    int rc = read_owner(s, name, &owner, err);
    if (rc == ERR_NOT_FOUND && read_only) {
        buf_release(&owner);
        return OK;
    }
    if (rc == ERR_NOT_FOUND) {
        rc = ops->put(s->objects, name, identity, n, OBJECT_PUT_NEW, err);
        if (rc == ERR_UNSUPPORTED)
            rc = ops->put(s->objects, name, identity, n, OBJECT_PUT_ANY, err);
        if (rc == OK || rc == ERR_LOCKED)
            rc = read_owner(s, name, &owner, err);
    }
    if (rc == OK)
        rc = check_owner(s, &owner, identity, err);
    buf_release(&owner);
    if (rc < 0 || read_only)
        return rc;
    rc = ops->put(s->objects, name, identity, n, OBJECT_PUT_NEW, err);
    s->conditional = rc == ERR_LOCKED;
    s->base.skip_unknown = !s->conditional;
    return rc == OK || rc == ERR_LOCKED || rc == ERR_UNSUPPORTED ? OK : rc;
}

/* Larger than any that another process made before, and not what one makes at the same moment: ids begin with
 * the time of the start, in ms, and 20 random bits. */
static uint64_t first_id(struct clock *clock)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint32_t)clock_mono_us(clock);
    return (uint64_t)clock_wall_ms(clock) << 20 | (random & 0xfffff);
}

static int open_store(struct cold_objects *s, const struct cold_objects_options *o, struct err *err)
{
    int rc = OK;
    if (o->cache_dir)
        rc = tail_cache_open(&(struct tail_cache_options){o->fs, o->cache_dir, o->disk_cache_bytes},
                             &s->cache, err);
    return rc < 0 ? rc : claim(s, o->identity, o->cold.read_only, err);
}

int cold_objects_open(const struct cold_objects_options *o, struct cold **out, struct err *err)
{
    struct cold_objects *s = xcalloc(1, sizeof *s);
    s->base.ops = &objects_ops;
    s->base.shared = true;
    s->objects = o->objects;
    s->prefix = xstrdup(o->prefix ? o->prefix : "");
    s->clock = o->clock;
    s->keep_ms = o->keep_ms < 0 ? 0 : o->keep_ms ? o->keep_ms : KEEP_MS_DEFAULT;
    s->linger_ms = o->linger_ms < 0 ? 0 : o->linger_ms ? o->linger_ms : LINGER_MS_DEFAULT;
    pthread_mutex_init(&s->mtx, NULL);
    int rc = strlen(s->prefix) > OBJECT_NAME_MAX / 2
                 ? err_set(err, ERR_INVALID, "a prefix of %zu bytes is too long", strlen(s->prefix))
                 : open_store(s, o, err);
    if (rc < 0) {
        objects_free(&s->base);
        return rc;
    }
    if (!o->cold.read_only)
        log_info("cold", "object store", "store=%s conditional_put=%s", s->objects->ops->name,
                 s->conditional ? "yes" : "no");
    return cold_open(&s->base, &o->cold, first_id(o->clock), out, err);
}
