/* The catalog in an SQLite file. application_id is "CrtC", user_version the schema:
 *
 *   1   series(id INTEGER PRIMARY KEY, step_ms, name, crc)   crc: CRC32C of id (u32le), step_ms (u32le), name
 *       summary(id = 1, rows)                                rows: how many there are
 *   2   ended(id INTEGER PRIMARY KEY, step_ms, pos, erased, crc)
 *       tombstones(series, pos, from_ms, until_ms, swept, crc, PRIMARY KEY of the first four)
 *                                                            crc: of the columns before it, i64le each
 *       summary(id = 1, rows, ended, tombstones)
 *
 * A file of schema 1 gets what it lacks when it is opened.
 *
 * SQLite notices damage to its trees but not to its values, and not that the last page of a tree is gone: crc
 * and rows are there for that. A lost row would let its id be given to another series. There is no unique
 * index on the name: the catalog itself refuses two ids for one name, when it inserts and when it loads, and
 * the index would hold every name a second time. WAL with synchronous=FULL: one fsync a
 * transaction, durable when COMMIT returns. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/fs.h"
#include "base/killpoint.h"
#include "base/mem.h"
#include "catalog/catalog_store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APPLICATION_ID 0x43727443
#define SCHEMA_VERSION 2
#define BUSY_WAIT_MS   5000

struct sqlite_store {
    struct catalog_store base;
    sqlite3 *db;
    sqlite3_stmt *insert, *name_of;
    struct deleted_statements {
        sqlite3_stmt *put_ended, *drop_ended, *drop_row, *put_tombstone, *drop_tombstone;
    } deleted;
    char path[];
};

static struct sqlite_store *down(struct catalog_store *s)
{
    return container_of(s, struct sqlite_store, base);
}

static int status_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_MISMATCH:
    case SQLITE_SCHEMA:
        return ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_LOCKED;
    case SQLITE_FULL:
        return ERR_NO_SPACE;
    default:
        return ERR_IO;
    }
}

static int db_err(struct sqlite_store *s, const char *doing, struct err *err)
{
    int code = sqlite3_extended_errcode(s->db);
    return err_set(err, status_of(code), "%s %s: %s (sqlite %d)", doing, s->path, sqlite3_errmsg(s->db),
                   code);
}

static int exec(struct sqlite_store *s, const char *sql, const char *doing, struct err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? OK : db_err(s, doing, err);
}

static int prepare(struct sqlite_store *s, const char *sql, sqlite3_stmt **out, struct err *err)
{
    if (sqlite3_prepare_v2(s->db, sql, -1, out, NULL) == SQLITE_OK)
        return OK;
    int rc = db_err(s, "open", err);
    if ((sqlite3_errcode(s->db) & 0xff) != SQLITE_ERROR)
        return rc;
    /* The statement is right, so the tables are not those of this schema. */
    return err_set(err, ERR_CORRUPT, "open %s: %s", s->path, sqlite3_errmsg(s->db));
}

/* A single number, such as a pragma's. */
static int ask(struct sqlite_store *s, const char *sql, int64_t *out, struct err *err)
{
    sqlite3_stmt *st;
    int rc = prepare(s, sql, &st, err);
    if (rc < 0)
        return rc;
    int step = sqlite3_step(st);
    if (step == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    else
        rc = step == SQLITE_DONE ? err_set(err, ERR_CORRUPT, "read %s: no answer to %s", s->path, sql)
                                 : db_err(s, "read", err);
    sqlite3_finalize(st);
    return rc;
}

static uint32_t row_crc(uint32_t id, uint32_t step_ms, const void *name, size_t len)
{
    uint8_t head[8];
    put_u32le(head, id);
    put_u32le(head + 4, step_ms);
    return crc32c(crc32c(0, head, sizeof head), name, len);
}

/* One row of the running statement: id, step_ms, name, crc. Ids must go up: with a damaged page SQLite can
 * give one row twice in the place of another, and both crc and count would still be right. */
static int pass_row(struct sqlite_store *s, sqlite3_stmt *st, int64_t *last, catalog_row_fn fn, void *ctx,
                    struct err *err)
{
    int64_t id = sqlite3_column_int64(st, 0), step = sqlite3_column_int64(st, 1);
    const char *name = (const char *)sqlite3_column_text(st, 2);
    int len = sqlite3_column_bytes(st, 2);
    if (id <= *last || id > UINT32_MAX || step < 1 || step > UINT32_MAX || !name ||
        sqlite3_column_int64(st, 3) != row_crc((uint32_t)id, (uint32_t)step, name, (size_t)len))
        return err_set(err, ERR_CORRUPT, "read %s: the row of series %lld is damaged", s->path,
                       (long long)id);
    *last = id;
    struct catalog_row row = {(uint32_t)id, (uint32_t)step, name, (uint32_t)len};
    int rc = fn(ctx, &row);
    if (rc < 0 && err && err->code == rc)
        err_prefix(err, "read %s", s->path);
    return rc;
}

static int sqlite_load(struct catalog_store *base, catalog_row_fn fn, void *ctx, struct err *err)
{
    struct sqlite_store *s = down(base);
    int64_t want, got = 0, last = 0;
    int rc = ask(s, "SELECT rows FROM summary WHERE id = 1", &want, err);
    if (rc < 0)
        return rc;
    sqlite3_stmt *st;
    rc = prepare(s, "SELECT id, step_ms, name, crc FROM series ORDER BY id", &st, err);
    if (rc < 0)
        return rc;
    int step;
    while ((step = sqlite3_step(st)) == SQLITE_ROW && (rc = pass_row(s, st, &last, fn, ctx, err)) == OK)
        got++;
    if (rc == OK && step != SQLITE_DONE)
        rc = db_err(s, "read", err);
    sqlite3_finalize(st);
    if (rc == OK && got != want)
        rc = err_set(err, ERR_CORRUPT, "read %s: %lld rows, but there should be %lld", s->path,
                     (long long)got, (long long)want);
    return rc;
}

/* A row with this id is there: with the same name that is fine. */
static int check_same(struct sqlite_store *s, const struct catalog_row *row, struct err *err)
{
    sqlite3_bind_int64(s->name_of, 1, row->id);
    int rc = OK;
    if (sqlite3_step(s->name_of) != SQLITE_ROW) {
        rc = db_err(s, "read", err);
    } else {
        const void *name = sqlite3_column_text(s->name_of, 0);
        int len = sqlite3_column_bytes(s->name_of, 0);
        if (!name || (uint32_t)len != row->name_len || memcmp(name, row->name, row->name_len) != 0)
            rc = err_set(err, ERR_CORRUPT, "write %s: series %u has another name there", s->path, row->id);
    }
    sqlite3_reset(s->name_of);
    return rc;
}

static int add_row(struct sqlite_store *s, const struct catalog_row *row, int64_t *added, struct err *err)
{
    sqlite3_bind_int64(s->insert, 1, row->id);
    sqlite3_bind_int64(s->insert, 2, row->step_ms);
    sqlite3_bind_text(s->insert, 3, row->name, (int)row->name_len, SQLITE_STATIC);
    sqlite3_bind_int64(s->insert, 4, row_crc(row->id, row->step_ms, row->name, row->name_len));
    int step = sqlite3_step(s->insert);
    int changes = sqlite3_changes(s->db);
    int rc = step == SQLITE_DONE ? OK : db_err(s, "write", err);
    sqlite3_reset(s->insert);
    sqlite3_clear_bindings(s->insert);
    if (rc == OK && changes == 0)
        return check_same(s, row, err);
    *added += changes;
    return rc;
}

static int add_all(struct sqlite_store *s, const struct catalog_row *rows, size_t n, struct err *err)
{
    int64_t added = 0;
    for (size_t i = 0; i < n; i++) {
        int rc = add_row(s, &rows[i], &added, err);
        if (rc < 0)
            return rc;
    }
    char sql[96];
    snprintf(sql, sizeof sql, "UPDATE summary SET rows = rows + %lld WHERE id = 1", (long long)added);
    return exec(s, sql, "write", err);
}

/* Runs COMMIT, or ROLLBACK if anything failed; the first error stays. */
static int end_transaction(struct sqlite_store *s, int rc, struct err *err)
{
    if (rc == OK)
        rc = exec(s, "COMMIT", "write", err);
    if (rc < 0 && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static int sqlite_add(struct catalog_store *base, const struct catalog_row *rows, size_t n, struct err *err)
{
    struct sqlite_store *s = down(base);
    int rc = exec(s, "BEGIN IMMEDIATE", "write", err);
    if (rc < 0)
        return rc;
    rc = add_all(s, rows, n, err);
    KILL_POINT("catalog.rows_added");
    rc = end_transaction(s, rc, err);
    KILL_POINT("catalog.committed");
    return rc;
}

/* --- what was deleted --- */

#define COLUMNS_MAX 5

static uint32_t columns_crc(const int64_t *v, size_t n)
{
    uint8_t bytes[8 * COLUMNS_MAX];
    for (size_t i = 0; i < n; i++)
        put_u64le(bytes + 8 * i, (uint64_t)v[i]);
    return crc32c(0, bytes, 8 * n);
}

/* A table of numbers whose last column is the crc of the n before it: hands each row out. */
typedef int (*numbers_fn)(void *ctx, const int64_t *v, struct err *err);
static int load_numbers(struct sqlite_store *s, const char *sql, const char *counted, size_t n, numbers_fn fn,
                        void *ctx, struct err *err)
{
    sqlite3_stmt *st;
    int64_t want, got = 0, v[COLUMNS_MAX];
    char count[64];
    snprintf(count, sizeof count, "SELECT %s FROM summary WHERE id = 1", counted);
    int step = SQLITE_DONE, rc = ask(s, count, &want, err);
    if (rc == OK)
        rc = prepare(s, sql, &st, err);
    if (rc < 0)
        return rc;
    for (; rc == OK && (step = sqlite3_step(st)) == SQLITE_ROW; got++) {
        for (size_t i = 0; i < n; i++)
            v[i] = sqlite3_column_int64(st, (int)i);
        rc = sqlite3_column_int64(st, (int)n) == columns_crc(v, n)
                 ? fn(ctx, v, err)
                 : err_set(err, ERR_CORRUPT, "read %s: a row of %s is damaged", s->path, counted);
    }
    if (rc == OK && step != SQLITE_DONE)
        rc = db_err(s, "read", err);
    sqlite3_finalize(st);
    if (rc == OK && got != want)
        rc = err_set(err, ERR_CORRUPT, "read %s: %lld rows of %s, but there should be %lld", s->path,
                     (long long)got, counted, (long long)want);
    return rc;
}

struct loading {
    catalog_ended_fn ended;
    catalog_tombstone_fn tombstone;
    void *ctx;
};

static int on_ended(void *ctx, const int64_t *v, struct err *err)
{
    const struct loading *l = ctx;
    if (v[0] < 1 || v[0] > UINT32_MAX || v[1] < 0 || v[1] > UINT32_MAX)
        return err_set(err, ERR_CORRUPT, "ended series %lld: no such thing", (long long)v[0]);
    struct catalog_ended e = {(uint32_t)v[0], (uint32_t)v[1], (uint64_t)v[2], v[3] != 0};
    return l->ended(l->ctx, &e);
}

static int on_tombstone(void *ctx, const int64_t *v, struct err *err)
{
    const struct loading *l = ctx;
    if (v[0] < 1 || v[0] > UINT32_MAX || !v[1] || v[2] >= v[3])
        return err_set(err, ERR_CORRUPT, "tombstone of series %lld: no such thing", (long long)v[0]);
    struct tombstone t = {(uint32_t)v[0], v[4] != 0, v[2], v[3], (uint64_t)v[1]};
    return l->tombstone(l->ctx, &t);
}

static int sqlite_load_deleted(struct catalog_store *base, catalog_ended_fn ended,
                               catalog_tombstone_fn tombstone, void *ctx, struct err *err)
{
    struct sqlite_store *s = down(base);
    struct loading l = {ended, tombstone, ctx};
    int rc = load_numbers(s, "SELECT id, step_ms, pos, erased, crc FROM ended ORDER BY id", "ended", 4,
                          on_ended, &l, err);
    if (rc == OK)
        rc = load_numbers(s,
                          "SELECT series, pos, from_ms, until_ms, swept, crc FROM tombstones"
                          " ORDER BY series, pos",
                          "tombstones", 5, on_tombstone, &l, err);
    return rc;
}

/* What a transaction changes in the summary. */
struct deltas {
    int64_t rows, ended, tombstones;
};

/* Runs a statement with these numbers; the rows it changed are added to *changed. */
static int run_numbers(struct sqlite_store *s, sqlite3_stmt *st, const int64_t *v, size_t n, int64_t *changed,
                       struct err *err)
{
    for (size_t i = 0; i < n; i++)
        sqlite3_bind_int64(st, (int)i + 1, v[i]);
    int rc = sqlite3_step(st) == SQLITE_DONE ? OK : db_err(s, "write", err);
    *changed += rc == OK ? sqlite3_changes(s->db) : 0;
    sqlite3_reset(st);
    return rc;
}

static int keep_ended(struct sqlite_store *s, const struct catalog_ended *e, struct deltas *d,
                      struct err *err)
{
    int64_t v[] = {e->id, e->step_ms, (int64_t)e->pos, e->erased, 0}, had = 0, gone = 0;
    v[4] = columns_crc(v, 4);
    int rc = run_numbers(s, s->deleted.drop_ended, v, 1, &had, err);
    if (rc == OK)
        rc = run_numbers(s, s->deleted.put_ended, v, 5, &d->ended, err);
    if (rc == OK && e->erased)
        rc = run_numbers(s, s->deleted.drop_row, v, 1, &gone, err);
    d->ended -= had;
    d->rows -= gone;
    return rc;
}

static int keep_change(struct sqlite_store *s, const struct tombstone_change *c, struct deltas *d,
                       struct err *err)
{
    const struct tombstone *t = &c->tombstone;
    int64_t v[] = {t->series, (int64_t)t->pos, t->from_ms, t->until_ms, t->swept, 0}, had = 0;
    v[5] = columns_crc(v, 5);
    int rc = run_numbers(s, s->deleted.drop_tombstone, v, 4, &had, err);
    if (rc == OK && !c->gone)
        rc = run_numbers(s, s->deleted.put_tombstone, v, 6, &d->tombstones, err);
    d->tombstones -= had;
    return rc;
}

static int keep_all(struct sqlite_store *s, const struct catalog_ended *ended, size_t nended,
                    const struct tombstone_change *changes, size_t nchanges, struct err *err)
{
    struct deltas d = {0};
    char sql[256];
    int rc = OK;
    for (size_t i = 0; i < nended && rc == OK; i++)
        rc = keep_ended(s, &ended[i], &d, err);
    for (size_t i = 0; i < nchanges && rc == OK; i++)
        rc = keep_change(s, &changes[i], &d, err);
    snprintf(sql, sizeof sql,
             "UPDATE summary SET rows = rows + %lld, ended = ended + %lld, tombstones = tombstones + %lld"
             " WHERE id = 1",
             (long long)d.rows, (long long)d.ended, (long long)d.tombstones);
    return rc == OK ? exec(s, sql, "write", err) : rc;
}

static int sqlite_keep_deleted(struct catalog_store *base, const struct catalog_ended *ended, size_t nended,
                               const struct tombstone_change *changes, size_t nchanges, struct err *err)
{
    struct sqlite_store *s = down(base);
    int rc = exec(s, "BEGIN IMMEDIATE", "write", err);
    return rc < 0 ? rc : end_transaction(s, keep_all(s, ended, nended, changes, nchanges, err), err);
}

/* Through connections of its own, so that flushes go on: in WAL mode a reader holds up no writer. All pages
 * in one step are of one moment. */
static int sqlite_copy(struct catalog_store *base, const char *path, struct err *err)
{
    struct sqlite_store *s = down(base);
    sqlite3 *from = NULL, *to = NULL;
    int code = sqlite3_open_v2(s->path, &from, SQLITE_OPEN_READONLY, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(from, BUSY_WAIT_MS);
        sqlite3_exec(to, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
        sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
        if (b)
            sqlite3_backup_step(b, -1);
        code = b ? sqlite3_backup_finish(b) : sqlite3_errcode(to);
    }
    sqlite3_close(to);
    sqlite3_close(from);
    if (code == SQLITE_OK)
        return OK;
    return err_set(err, status_of(code), "copy %s to %s: %s (sqlite %d)", s->path, path, sqlite3_errstr(code),
                   code);
}

static void sqlite_free(struct catalog_store *base)
{
    struct sqlite_store *s = down(base);
    sqlite3_finalize(s->insert);
    sqlite3_finalize(s->name_of);
    sqlite3_finalize(s->deleted.put_ended);
    sqlite3_finalize(s->deleted.drop_ended);
    sqlite3_finalize(s->deleted.drop_row);
    sqlite3_finalize(s->deleted.put_tombstone);
    sqlite3_finalize(s->deleted.drop_tombstone);
    sqlite3_close(s->db);
    free(s);
}

static int sync_parent(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? xstrndup(path, slash == path ? 1 : (size_t)(slash - path)) : xstrdup(".");
    int rc = fs_sync_dir(fs_posix(), dir, err);
    free(dir);
    return rc;
}

/* From `version`, 0 for an empty file. */
static int create_schema(struct sqlite_store *s, int64_t version, struct err *err)
{
    static const char *const steps[SCHEMA_VERSION] = {
        "CREATE TABLE series(id INTEGER PRIMARY KEY, step_ms INTEGER NOT NULL, name TEXT NOT NULL,"
        " crc INTEGER NOT NULL) STRICT;"
        "CREATE TABLE summary(id INTEGER PRIMARY KEY CHECK (id = 1), rows INTEGER NOT NULL) STRICT;"
        "INSERT INTO summary VALUES (1, 0)",
        "CREATE TABLE ended(id INTEGER PRIMARY KEY, step_ms INTEGER NOT NULL, pos INTEGER NOT NULL,"
        " erased INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;"
        "CREATE TABLE tombstones(series INTEGER NOT NULL, pos INTEGER NOT NULL, from_ms INTEGER NOT NULL,"
        " until_ms INTEGER NOT NULL, swept INTEGER NOT NULL, crc INTEGER NOT NULL,"
        " PRIMARY KEY (series, pos, from_ms, until_ms)) STRICT, WITHOUT ROWID;"
        "ALTER TABLE summary ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE summary ADD COLUMN tombstones INTEGER NOT NULL DEFAULT 0",
    };
    char pragmas[96];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
             SCHEMA_VERSION);
    int rc = exec(s, "BEGIN IMMEDIATE", "create", err);
    if (rc < 0)
        return rc;
    for (int64_t v = version; v < SCHEMA_VERSION && rc == OK; v++)
        rc = exec(s, steps[v], "create", err);
    if (rc == OK)
        rc = exec(s, pragmas, "create", err);
    rc = end_transaction(s, rc, err);
    return rc < 0 ? rc : sync_parent(s->path, err);
}

/* Ours and of this version, or empty and then made so. */
static int check_schema(struct sqlite_store *s, struct err *err)
{
    int64_t app, version, tables;
    int rc = ask(s, "PRAGMA application_id", &app, err);
    if (rc == OK)
        rc = ask(s, "PRAGMA user_version", &version, err);
    if (rc == OK)
        rc = ask(s, "SELECT count(*) FROM sqlite_master", &tables, err);
    if (rc < 0)
        return rc;
    if (app == 0 && version == 0 && tables == 0)
        return create_schema(s, 0, err);
    if (app != APPLICATION_ID)
        return err_set(err, ERR_INVALID, "open %s: an SQLite file, but not a Carat catalog", s->path);
    if (version > SCHEMA_VERSION)
        return err_set(err, ERR_UNSUPPORTED,
                       "open %s: written by a newer version of Carat (schema %lld, this one knows up to %d)",
                       s->path, (long long)version, SCHEMA_VERSION);
    if (version == 1)
        return create_schema(s, version, err);
    if (version != SCHEMA_VERSION)
        return err_set(err, ERR_CORRUPT, "open %s: there is no schema %lld", s->path, (long long)version);
    return OK;
}

static int set_up(struct sqlite_store *s, struct err *err)
{
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, BUSY_WAIT_MS);
    int rc = exec(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", "open", err);
    if (rc == OK)
        rc = check_schema(s, err);
    if (rc == OK)
        rc =
            prepare(s, "INSERT INTO series VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING", &s->insert, err);
    if (rc == OK)
        rc = prepare(s, "SELECT name FROM series WHERE id = ?", &s->name_of, err);
    if (rc == OK)
        rc = prepare(s, "INSERT INTO ended VALUES (?, ?, ?, ?, ?)", &s->deleted.put_ended, err);
    if (rc == OK)
        rc = prepare(s, "DELETE FROM ended WHERE id = ?", &s->deleted.drop_ended, err);
    if (rc == OK)
        rc = prepare(s, "DELETE FROM series WHERE id = ?", &s->deleted.drop_row, err);
    if (rc == OK)
        rc = prepare(s, "INSERT INTO tombstones VALUES (?, ?, ?, ?, ?, ?)", &s->deleted.put_tombstone, err);
    if (rc == OK)
        rc =
            prepare(s, "DELETE FROM tombstones WHERE series = ? AND pos = ? AND from_ms = ? AND until_ms = ?",
                    &s->deleted.drop_tombstone, err);
    return rc;
}

int catalog_store_sqlite_open(const char *path, struct catalog_store **out, struct err *err)
{
    static const struct catalog_store_ops ops = {
        .name = "sqlite",
        .load = sqlite_load,
        .add = sqlite_add,
        .free = sqlite_free,
        .copy = sqlite_copy,
        .load_deleted = sqlite_load_deleted,
        .keep_deleted = sqlite_keep_deleted,
    };
    size_t n = strlen(path) + 1;
    struct sqlite_store *s = xcalloc(1, sizeof *s + n);
    s->base.ops = &ops;
    memcpy(s->path, path, n);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
    int rc = sqlite3_open_v2(path, &s->db, flags, NULL) == SQLITE_OK ? OK : db_err(s, "open", err);
    if (rc == OK)
        rc = set_up(s, err);
    if (rc < 0) {
        sqlite_free(&s->base);
        return rc;
    }
    *out = &s->base;
    return OK;
}
