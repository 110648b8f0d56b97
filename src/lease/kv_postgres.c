#include "lease/kv_postgres.h"

#include "base/mem.h"
#include "lease/kv_impl.h"
#include "pg/pg.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define STATEMENT_MS 3000 /* a lease is renewed sooner than it ends even if one answer does not come */

struct kv_pg {
    struct kv base;
    pthread_mutex_t mu; /* the connection */
    struct pg pg;
};

static struct kv_pg *down(struct kv *kv)
{
    return container_of(kv, struct kv_pg, base);
}

/* NULL after telling what failed. */
static PGresult *ask(struct kv *kv, const char *sql, int n, const char *const *values, const char *doing,
                     struct err *err)
{
    struct kv_pg *k = down(kv);
    PGresult *r = NULL;
    pthread_mutex_lock(&k->mu);
    if (pg_connected(&k->pg, err) == OK)
        r = pg_checked(&k->pg, PQexecParams(k->pg.conn, sql, n, NULL, values, NULL, NULL, 0), doing, err);
    pthread_mutex_unlock(&k->mu);
    return r;
}

static uint64_t number(const PGresult *r, int row, int column)
{
    return strtoull(PQgetvalue(r, row, column), NULL, 10);
}

static int pg_get(struct kv *kv, const char *key, struct buf *value, uint64_t *revision, struct err *err)
{
    PGresult *r =
        ask(kv, "SELECT value, revision FROM carat_keys WHERE key = $1", 1, &key, "read a key", err);
    if (!r)
        return ERR_IO;
    bool there = PQntuples(r) == 1;
    if (there) {
        buf_puts(value, PQgetvalue(r, 0, 0));
        *revision = number(r, 0, 1);
    }
    PQclear(r);
    return there ? OK : err_set(err, ERR_NOT_FOUND, "there is no key %s", key);
}

static int pg_put(struct kv *kv, const char *key, const char *value, uint64_t expected, uint64_t *revision,
                  struct err *err)
{
    char known[24];
    const char *values[] = {key, value, known};
    snprintf(known, sizeof known, "%" PRIu64, expected);
    PGresult *r = expected ? ask(kv,
                                 "UPDATE carat_keys SET value = $2, revision = nextval('carat_revisions'),"
                                 " changed = clock_timestamp() WHERE key = $1 AND revision = $3::bigint"
                                 " RETURNING revision",
                                 3, values, "write a key", err)
                           : ask(kv,
                                 "INSERT INTO carat_keys(key, value) VALUES ($1, $2)"
                                 " ON CONFLICT (key) DO NOTHING RETURNING revision",
                                 2, values, "write a key", err);
    if (!r)
        return ERR_IO;
    bool good = PQntuples(r) == 1;
    if (good)
        *revision = number(r, 0, 0);
    PQclear(r);
    return good ? OK : err_set(err, ERR_LOCKED, "key %s was changed by somebody else", key);
}

static int pg_remove(struct kv *kv, const char *key, struct err *err)
{
    PGresult *r = ask(kv, "DELETE FROM carat_keys WHERE key = $1", 1, &key, "remove a key", err);
    if (!r)
        return ERR_IO;
    PQclear(r);
    return OK;
}

static int pg_list(struct kv *kv, const char *prefix, kv_entry_fn fn, void *ctx, struct err *err)
{
    PGresult *r = ask(kv,
                      "SELECT key, value, revision,"
                      " (extract(epoch FROM clock_timestamp() - changed) * 1000)::bigint"
                      " FROM carat_keys WHERE starts_with(key, $1) ORDER BY key",
                      1, &prefix, "list keys", err);
    if (!r)
        return ERR_IO;
    int rc = OK;
    for (int i = 0; rc == OK && i < PQntuples(r); i++) {
        struct kv_entry e = {PQgetvalue(r, i, 0), PQgetvalue(r, i, 1), number(r, i, 2),
                             strtoll(PQgetvalue(r, i, 3), NULL, 10)};
        rc = fn(ctx, &e);
    }
    PQclear(r);
    return rc;
}

static void pg_free(struct kv *kv)
{
    struct kv_pg *k = down(kv);
    pg_release(&k->pg);
    pthread_mutex_destroy(&k->mu);
    free(k);
}

struct kv *kv_postgres_new(const char *conninfo, const char *password)
{
    static const struct kv_ops ops = {.name = "postgres",
                                      .get = pg_get,
                                      .put = pg_put,
                                      .remove = pg_remove,
                                      .list = pg_list,
                                      .free = pg_free};
    struct kv_pg *k = xcalloc(1, sizeof *k);
    k->base.ops = &ops;
    pthread_mutex_init(&k->mu, NULL);
    pg_init(&k->pg, conninfo, password, STATEMENT_MS);
    return &k->base;
}
