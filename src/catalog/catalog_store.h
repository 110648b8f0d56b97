/* Where the catalog is kept: SQLite (embedded), PostgreSQL (shared by many processes), memory (tests). */
#ifndef CARAT_CATALOG_CATALOG_STORE_H
#define CARAT_CATALOG_CATALOG_STORE_H

#include "base/err.h"
#include "model/tombstones.h"

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

/* An id that has ended: its series was deleted. It stays known for ever, so that nobody takes it for one
 * whose definition is still to come. */
struct catalog_ended {
    uint32_t id;
    uint32_t step_ms; /* of the series; 0 if that was not known */
    uint64_t pos;     /* of the deletion in the stream */
    bool erased;      /* nothing of it is stored anywhere; its row is gone */
};
typedef int (*catalog_ended_fn)(void *ctx, const struct catalog_ended *e);
typedef int (*catalog_tombstone_fn)(void *ctx, const struct tombstone *t);

struct catalog_store_ops {
    const char *name;
    /* Every row kept, in id order. */
    int (*load)(struct catalog_store *, catalog_row_fn fn, void *ctx, struct err *);
    /* All rows or none, durable on return. A row that is there already is no error. */
    int (*add)(struct catalog_store *, const struct catalog_row *rows, size_t n, struct err *);
    void (*free)(struct catalog_store *);
    /* What was deleted; both or neither. First the ended ids, in order, then the tombstones. */
    int (*load_deleted)(struct catalog_store *, catalog_ended_fn, catalog_tombstone_fn, void *ctx,
                        struct err *);
    /* All or nothing, durable on return: adds ended ids or replaces what is known of them (the row of one
     * that is erased goes), and does what the changes say. The same again is no error. */
    int (*keep_deleted)(struct catalog_store *, const struct catalog_ended *ended, size_t nended,
                        const struct tombstone_change *changes, size_t nchanges, struct err *);
    /* Writes all rows of one moment to a new file `path`, from which a store of the same kind can be opened;
     * not synced. Any thread, at the same time as all others. May be NULL. */
    int (*copy)(struct catalog_store *, const char *path, struct err *);

    /* A store that several processes share has these two, and hands out the ids itself; else both are NULL.
     *
     * assign: sets id and step_ms of every row to what the store has; names it has not get a new id and the
     * row's step_ms, durable on return. Names are distinct. After an error the ids are not to be used. */
    int (*assign)(struct catalog_store *, struct catalog_row *rows, size_t n, struct err *);
    /* Every row with an id above `after`, in id order. Whoever has been given a row here has been given all
     * rows with smaller ids: none of them appears later. Any thread, as assign. */
    int (*since)(struct catalog_store *, uint32_t after, catalog_row_fn fn, void *ctx, struct err *);
};
struct catalog_store {
    const struct catalog_store_ops *ops;
};

/* `path` is created if missing; its user_version says which schema it has. */
int catalog_store_sqlite_open(const char *path, struct catalog_store **out, struct err *err) must_check;
struct catalog_store *catalog_store_mem_new(void);
/* The same as a shared store: assign and since work on the rows in memory. Each call gives another store over
 * the same rows, as another process would have it; `of` NULL: new rows. The rows live as long as any of them.
 */
struct catalog_store *catalog_store_mem_shared(struct catalog_store *of);
/* `conninfo` as libpq takes it, without a password: that is `password` (NULL: none, or libpq's own places).
 * Tables are made, or brought up to date. ERR_IO: not reachable now. */
int catalog_store_postgres_open(const char *conninfo, const char *password, struct catalog_store **out,
                                struct err *err) must_check;

#endif
