/* Generations of the manifest as objects of their own.
 *
 * The newest counts. It is found in the list, and then by looking for the next ones by name: a list may be
 * behind (Swift's is, when its containers are busy), a look for one object is not. So that the look finds its
 * way, a replaced generation stays for keep_ms.
 *
 * A generation is stored as a new object. Where the store knows conditions, of two processes that store the
 * same one the second is refused. Where it does not, the object is looked for before and read after; that
 * tells most mistakes, but only one process may change such a tier. */
#include "cold/cold_objects_impl.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MANIFEST_MAX  (256u << 20)
#define MISSES        2  /* generations in a row that are not there: the end (skip_unknown leaves out one) */
#define TRIM_EACH     32 /* stored manifests */
#define LOAD_ATTEMPTS 4

/* --- loading --- */

struct largest {
    const struct cold_objects *s;
    uint64_t largest;
};

static int note_largest(void *ctx, const struct object_info *o)
{
    struct largest *l = ctx;
    uint64_t n;
    if (cold_objects_number(l->s, "manifest", o->name, &n) == 0 && n > l->largest)
        l->largest = n;
    return 0;
}

static int get_generation(struct cold_objects *s, uint64_t generation, struct buf *out, struct err *err)
{
    char name[OBJECT_NAME_MAX];
    uint64_t size;
    buf_clear(out);
    cold_objects_name(s, "manifest", generation, name);
    int rc = s->objects->ops->get(s->objects, name, 0, MANIFEST_MAX, out, &size, err);
    if (rc == OK && (size != out->len || out->len < 24 || get_u64le(out->data + 16) != generation))
        rc = err_set(err, ERR_CORRUPT, "object %s is not the manifest of that generation", name);
    return rc;
}

/* From a generation that was seen on to the last; its bytes are in `out`. */
static int follow(struct cold_objects *s, uint64_t *generation, struct buf *out, struct err *err)
{
    struct buf next = BUF_INIT;
    int rc = OK;
    for (uint64_t misses = 0; misses < MISSES;) {
        rc = get_generation(s, *generation + misses + 1, &next, err);
        if (rc != OK && rc != ERR_NOT_FOUND)
            break;
        if (rc == ERR_NOT_FOUND) {
            misses++;
            continue;
        }
        *generation += misses + 1;
        misses = 0;
        struct buf was = *out;
        *out = next;
        next = was;
    }
    buf_release(&next);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

static int load_newest(struct cold_objects *s, struct buf *out, struct err *err)
{
    char prefix[OBJECT_NAME_MAX];
    struct largest l = {s, 0};
    snprintf(prefix, sizeof prefix, "%smanifest/", s->prefix);
    int rc = s->objects->ops->list(s->objects, prefix, NULL, note_largest, &l, err);
    if (rc != OK)
        return rc;
    if (l.largest) {
        rc = get_generation(s, l.largest, out, err);
        if (rc == ERR_NOT_FOUND) /* removed meanwhile, or the list is far behind */
            return err_set(err, ERR_BUSY, "the list of manifests is behind what the store holds");
    }
    uint64_t generation = l.largest;
    if (rc == OK)
        rc = follow(s, &generation, out, err);
    if (rc == OK && !generation)
        rc = err_set(err, ERR_NOT_FOUND, "there is no manifest");
    return rc;
}

int objects_load_manifest(struct cold_store *store, struct buf *out, struct err *err)
{
    int rc = ERR_BUSY;
    for (int i = 0; i < LOAD_ATTEMPTS && rc == ERR_BUSY; i++)
        rc = load_newest(cold_objects_of(store), out, err);
    return rc;
}

/* --- storing --- */

/* Whether the object of this generation is these bytes: OK, ERR_LOCKED (it is another), or why that cannot be
 * told. */
static int compare(struct cold_objects *s, uint64_t generation, const void *p, size_t n, struct err *err)
{
    struct buf there = BUF_INIT;
    int rc = get_generation(s, generation, &there, err);
    if (rc == OK && (there.len != n || memcmp(there.data, p, n) != 0))
        rc = err_set(err, ERR_LOCKED, "another process has stored manifest %" PRIu64, generation);
    buf_release(&there);
    return rc;
}

/* After a put that did not end well: it is there, or there was no answer. Was it ours? */
static int resolve(struct cold_objects *s, uint64_t generation, const void *p, size_t n, int rc,
                   bool *unknown, struct err *err)
{
    struct err why = ERR_INIT;
    int found = compare(s, generation, p, n, &why);
    if (found == OK)
        return OK;
    if (found == ERR_LOCKED)
        return err_set(err, found, "%s", why.text);
    bool refused = rc == ERR_INVALID || rc == ERR_UNSUPPORTED;
    *unknown = found != ERR_NOT_FOUND || !refused; /* it may still be on its way */
    return rc < 0 ? rc : err_set(err, found, "%s", why.text);
}

static int store_new(struct cold_objects *s, uint64_t generation, const void *p, size_t n, bool *unknown,
                     struct err *err)
{
    char name[OBJECT_NAME_MAX];
    cold_objects_name(s, "manifest", generation, name);
    int rc = s->objects->ops->put(s->objects, name, p, n, OBJECT_PUT_NEW, err);
    return rc == OK ? OK : resolve(s, generation, p, n, rc, unknown, err);
}

static int store_plain(struct cold_objects *s, uint64_t generation, const void *p, size_t n, bool *unknown,
                       struct err *err)
{
    char name[OBJECT_NAME_MAX];
    int rc = compare(s, generation, p, n, err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    cold_objects_name(s, "manifest", generation, name);
    rc = s->objects->ops->put(s->objects, name, p, n, OBJECT_PUT_ANY, err);
    return resolve(s, generation, p, n, rc, unknown, err);
}

int objects_store_manifest(struct cold_store *store, uint64_t generation, const void *p, size_t n,
                           bool *unknown, struct err *err)
{
    struct cold_objects *s = cold_objects_of(store);
    struct err why = ERR_INIT;
    *unknown = false;
    int rc = s->conditional ? store_new(s, generation, p, n, unknown, err)
                            : store_plain(s, generation, p, n, unknown, err);
    if (rc == OK && ++s->stored % TRIM_EACH == 0 && objects_trim_manifests(s, &why) < 0)
        log_warn("cold", "old manifests not removed; tried again later", "why=\"%s\"", why.text);
    return rc;
}

/* --- old ones --- */

struct old_manifests {
    const struct cold_objects *s;
    uint64_t *v;
    size_t n;
    uint64_t before; /* the generation that comes before, in the list */
};

/* In the order of generations: one is old if the one that replaced it is. */
static int note_old(void *ctx, const struct object_info *o)
{
    struct old_manifests *l = ctx;
    uint64_t n;
    if (cold_objects_number(l->s, "manifest", o->name, &n) < 0)
        return 0;
    if (l->before && o->age_ms >= l->s->keep_ms) {
        l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
        l->v[l->n++] = l->before;
    }
    l->before = n;
    return 0;
}

int objects_trim_manifests(struct cold_objects *s, struct err *err)
{
    char name[OBJECT_NAME_MAX];
    struct old_manifests l = {.s = s};
    snprintf(name, sizeof name, "%smanifest/", s->prefix);
    int rc = s->objects->ops->list(s->objects, name, NULL, note_old, &l, err);
    for (size_t i = 0; i < l.n && rc == OK; i++) {
        cold_objects_name(s, "manifest", l.v[i], name);
        rc = s->objects->ops->remove(s->objects, name, err);
    }
    free(l.v);
    return rc;
}
