/* Where the catalog is kept: SQLite (embedded), memory (tests), later PostgreSQL. */
#ifndef CARAT_CATALOG_CATALOG_STORE_H
#define CARAT_CATALOG_CATALOG_STORE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct catalog_store;

struct catalog_row {
    uint32_t id;
    uint32_t step_ms;
    const char *name; /* not necessarily NUL-terminated */
    uint32_t name_len;
};
typedef int (*catalog_row_fn)(void *ctx, const struct catalog_row *row);

struct catalog_store_ops {
    const char *name;
    /* Every row kept, in id order. */
    int (*load)(struct catalog_store *, catalog_row_fn fn, void *ctx, struct err *);
    /* All rows or none, durable on return. A row that is there already is no error. */
    int (*add)(struct catalog_store *, const struct catalog_row *rows, size_t n, struct err *);
    void (*free)(struct catalog_store *);
    /* Writes all rows of one moment to a new file `path`, from which a store of the same kind can be opened;
     * not synced. Any thread, at the same time as all others. May be NULL. */
    int (*copy)(struct catalog_store *, const char *path, struct err *);
};
struct catalog_store {
    const struct catalog_store_ops *ops;
};

/* `path` is created if missing; its user_version says which schema it has. */
int catalog_store_sqlite_open(const char *path, struct catalog_store **out, struct err *err) must_check;
struct catalog_store *catalog_store_mem_new(void);

#endif
