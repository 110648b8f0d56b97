/* Objects by name: what a cold tier needs of an object service, and no more. Users: cold_objects.c.
 *
 * Objects are written whole or not at all, and never changed afterwards. Any thread. Names are plain ASCII
 * without spaces. What went to a service and got no answer may be there or not: the status is then neither OK
 * nor ERR_LOCKED, and the caller looks. */
#ifndef CARAT_COLD_OBJECT_STORE_H
#define CARAT_COLD_OBJECT_STORE_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object_store;
struct object_upload;

struct object_info {
    const char *name;
    uint64_t size;
    int64_t age_ms; /* since it was written, by the service's own clock */
};
/* By ascending name; non-zero stops and is returned. */
typedef int (*object_fn)(void *ctx, const struct object_info *o);

enum object_put {
    OBJECT_PUT_ANY, /* in place of what is there */
    OBJECT_PUT_NEW, /* ERR_LOCKED if there is one; ERR_UNSUPPORTED if the service does not know how to look */
};

struct object_store_ops {
    const char *name;
    /* Durable and readable when it returns OK. */
    int (*put)(struct object_store *, const char *name, const void *p, size_t n, enum object_put how,
               struct err *);
    /* Appends up to n bytes from `from` on, fewer only at the end; *size (may be NULL): of the whole object.
     */
    int (*get)(struct object_store *, const char *name, uint64_t from, size_t n, struct buf *out,
               uint64_t *size, struct err *);
    /* The same with the last n bytes. */
    int (*get_tail)(struct object_store *, const char *name, size_t n, struct buf *out, uint64_t *size,
                    struct err *);
    /* Those whose names begin with `prefix` and come after `after` (may be NULL). */
    int (*list)(struct object_store *, const char *prefix, const char *after, object_fn fn, void *ctx,
                struct err *);
    int (*remove)(struct object_store *, const char *name, struct err *); /* one that is not there is fine */
    /* A large object in parts, each but the last of at least part_bytes. Nothing is visible before complete.
     */
    int (*upload_begin)(struct object_store *, const char *name, struct object_upload **out, struct err *);
    int (*upload_part)(struct object_upload *, const void *p, size_t n, struct err *);
    int (*upload_complete)(struct object_upload *, struct err *);
    /* Frees it, in any state; what was not completed is given up. */
    void (*upload_end)(struct object_upload *);
    /* Gives up uploads that were begun longer than age_ms ago, by whomever; how many. */
    int (*drop_uploads)(struct object_store *, const char *prefix, int64_t age_ms, size_t *dropped,
                        struct err *);
    void (*free)(struct object_store *);
};

struct object_store {
    const struct object_store_ops *ops;
    size_t part_bytes; /* what is larger goes up in parts of this size */
};
struct object_upload {
    struct object_store *store;
};

#endif
