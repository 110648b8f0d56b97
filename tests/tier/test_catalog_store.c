/* What every catalog store must do; run against each of them. */
#include "base/hash.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/catalog_store.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* CARAT_TEST_SEED repeats a run. */
static void seed_random(void)
{
    const char *given = getenv("CARAT_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("# seed %u\n", seed);
    srand(seed);
}

/* A store under test. `reopen` closes it first; a store that keeps nothing returns itself. */
enum kind { MEM, MEM_SHARED, SQLITE, POSTGRES };
struct subject {
    enum kind kind;
    bool on_disk; /* SQLite */
    char dir[64], path[96];
    struct catalog_store *s;
};

static char postgres_dir[64], postgres_conninfo[128];

static void postgres(const char *verb)
{
    char command[512];
    snprintf(command, sizeof command, "%s/tests/servers/postgres.sh %s %s", getenv("CARAT_SOURCE_ROOT"), verb,
             postgres_dir);
    assert_int_equal(system(command), 0);
}

static int start_postgres(void **state)
{
    strcpy(postgres_dir, "/tmp/test_catalog_pg.XXXXXX");
    assert_non_null(mkdtemp(postgres_dir));
    assert_int_equal(chmod(postgres_dir, 0755), 0);
    snprintf(postgres_conninfo, sizeof postgres_conninfo, "host=%s dbname=carat user=carat", postgres_dir);
    postgres("start");
    return 0;
}

static int stop_postgres(void **state)
{
    char command[128];
    postgres("stop");
    snprintf(command, sizeof command, "rm -rf %s", postgres_dir);
    return system(command);
}

static void pg_sql(const char *text)
{
    PGconn *c = PQconnectdb(postgres_conninfo);
    PGresult *r = PQexec(c, text);
    ExecStatusType status = PQresultStatus(r);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s", PQerrorMessage(c));
    PQclear(r);
    PQfinish(c);
}

static void open_subject(struct subject *x)
{
    struct err err = ERR_INIT;
    int rc = OK;
    if (x->kind == MEM)
        x->s = catalog_store_mem_new();
    else if (x->kind == MEM_SHARED)
        x->s = catalog_store_mem_shared(NULL);
    else if (x->kind == SQLITE)
        rc = catalog_store_sqlite_open(x->path, &x->s, &err);
    else
        rc = catalog_store_postgres_open(postgres_conninfo, NULL, &x->s, &err);
    if (rc < 0)
        fail_msg("%s", err.text);
}

static void close_subject(struct subject *x)
{
    x->s->ops->free(x->s);
    x->s = NULL;
}

static void reopen(struct subject *x)
{
    if (x->kind == MEM || x->kind == MEM_SHARED)
        return;
    close_subject(x);
    open_subject(x);
}

static void make_dir(struct subject *x)
{
    strcpy(x->dir, "/tmp/test_catalog_store.XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    snprintf(x->path, sizeof x->path, "%s/catalog.db", x->dir);
}

static void remove_dir(struct subject *x)
{
    const char *suffix[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", x->path, suffix[i]);
        unlink(path);
    }
    rmdir(x->dir);
}

static int set_up_mem(void **state)
{
    struct subject *x = *state = xcalloc(1, sizeof *x);
    open_subject(x);
    return 0;
}

static int set_up_mem_shared(void **state)
{
    struct subject *x = *state = xcalloc(1, sizeof *x);
    x->kind = MEM_SHARED;
    open_subject(x);
    return 0;
}

static int set_up_postgres(void **state)
{
    struct subject *x = *state = xcalloc(1, sizeof *x);
    x->kind = POSTGRES;
    pg_sql("DROP TABLE IF EXISTS carat_series, carat_schema, carat_keys; DROP SEQUENCE IF EXISTS "
           "carat_revisions");
    open_subject(x);
    return 0;
}

static int set_up_sqlite(void **state)
{
    struct subject *x = *state = xcalloc(1, sizeof *x);
    x->kind = SQLITE;
    x->on_disk = true;
    make_dir(x);
    open_subject(x);
    return 0;
}

static int tear_down(void **state)
{
    struct subject *x = *state;
    if (x->s)
        close_subject(x);
    if (x->on_disk)
        remove_dir(x);
    free(x);
    return 0;
}

static struct catalog_row row(uint32_t id, const char *name)
{
    return (struct catalog_row){id, 60000, name, (uint32_t)strlen(name)};
}

static int add(struct subject *x, const struct catalog_row *rows, size_t n)
{
    struct err err = ERR_INIT;
    int rc = x->s->ops->add(x->s, rows, n, &err);
    if (rc < 0)
        assert_true(err.code == rc && err.text[0]);
    return rc;
}

static int print_row(void *ctx, const struct catalog_row *r)
{
    buf_printf(ctx, "%u/%u/%.*s ", r->id, r->step_ms, (int)r->name_len, r->name);
    return OK;
}

static void check_rows(struct subject *x, const char *want)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    if (x->s->ops->load(x->s, print_row, &b, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(buf_str(&b), want);
    buf_release(&b);
}

static void starts_empty(void **state)
{
    check_rows(*state, "");
    reopen(*state);
    check_rows(*state, "");
    assert_int_equal(add(*state, NULL, 0), OK);
}

static void rows_come_back_in_id_order(void **state)
{
    struct catalog_row rows[] = {row(7, "b.c"), row(3, "a;x=\xc3\xa9"), row(UINT32_MAX, "z")};
    rows[1].step_ms = 86400000;
    rows[2].name = "zz"; /* a name is not terminated */
    assert_int_equal(add(*state, rows, 3), OK);
    reopen(*state);
    check_rows(*state, "3/86400000/a;x=\xc3\xa9 7/60000/b.c 4294967295/60000/z ");
}

static void rows_may_be_added_again(void **state)
{
    struct catalog_row rows[] = {row(1, "a"), row(2, "b"), row(1, "a")};
    assert_int_equal(add(*state, rows, 3), OK);
    assert_int_equal(add(*state, rows, 2), OK);
    reopen(*state);
    assert_int_equal(add(*state, rows, 1), OK);
    check_rows(*state, "1/60000/a 2/60000/b ");
}

static void a_copy_has_the_rows_of_its_moment(void **state)
{
    struct subject *x = *state;
    struct catalog_row rows[] = {row(1, "a"), row(2, "b")};
    struct err err = ERR_INIT;
    char copy[sizeof x->path];
    snprintf(copy, sizeof copy, "%.80s/copy", x->dir);
    assert_int_equal(add(x, rows, 1), OK);
    assert_int_equal(x->s->ops->copy(x->s, copy, &err), OK);
    assert_int_equal(add(x, rows + 1, 1), OK);
    check_rows(x, "1/60000/a 2/60000/b ");
    close_subject(x);
    strcpy(x->path, copy);
    open_subject(x);
    check_rows(x, "1/60000/a ");
}

static void a_contradiction_adds_nothing(void **state)
{
    struct catalog_row first = row(5, "five"), more[] = {row(6, "six"), row(5, "fife"), row(7, "seven")};
    assert_int_equal(add(*state, &first, 1), OK);
    assert_int_equal(add(*state, more, 3), ERR_CORRUPT);
    struct catalog_row twice[] = {row(8, "a"), row(8, "b")};
    assert_int_equal(add(*state, twice, 2), ERR_CORRUPT);
    check_rows(*state, "5/60000/five ");
    reopen(*state);
    check_rows(*state, "5/60000/five ");
    assert_int_equal(add(*state, more, 1), OK); /* and the store still works */
    check_rows(*state, "5/60000/five 6/60000/six ");
}

static int stop_at_two(void *ctx, const struct catalog_row *r)
{
    return ++*(int *)ctx == 2 ? -77 : OK;
}

static void load_stops_where_told(void **state)
{
    struct subject *x = *state;
    struct catalog_row rows[] = {row(1, "a"), row(2, "b"), row(3, "c")};
    struct err err = ERR_INIT;
    int seen = 0;
    assert_int_equal(add(x, rows, 3), OK);
    assert_int_equal(x->s->ops->load(x->s, stop_at_two, &seen, &err), -77);
    assert_int_equal(seen, 2);
    check_rows(x, "1/60000/a 2/60000/b 3/60000/c ");
}

/* The model: a row by id, 0 if it is not there; the name follows from what `kind` says. */
enum { IDS = 200 };
struct model {
    uint8_t kind[IDS + 1];
};

static void name_of(uint32_t id, unsigned kind, char out[40])
{
    snprintf(out, 40, "n%u.%0*u", kind, (int)(id % 20 + 1), id);
}

static int check_row(void *ctx, const struct catalog_row *r)
{
    struct model *m = ctx;
    char want[40];
    name_of(r->id, m->kind[r->id], want);
    assert_true(strlen(want) == r->name_len && !memcmp(want, r->name, r->name_len));
    m->kind[r->id] = 0;
    return OK;
}

static void check_model(struct subject *x, struct model m)
{
    struct err err = ERR_INIT;
    assert_int_equal(x->s->ops->load(x->s, check_row, &m, &err), OK);
    for (int i = 0; i <= IDS; i++)
        assert_int_equal(m.kind[i], 0);
}

static void random_step(struct subject *x, struct model *m)
{
    struct model next = *m;
    struct catalog_row rows[8];
    char names[8][40];
    size_t n = (size_t)rand() % 8;
    bool bad = false;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)rand() % IDS + 1;
        unsigned kind = rand() % 10 == 0 ? 2 : 1;
        bad |= next.kind[id] && next.kind[id] != kind;
        next.kind[id] = next.kind[id] ? next.kind[id] : (uint8_t)kind;
        name_of(id, kind, names[i]);
        rows[i] = row(id, names[i]);
    }
    assert_int_equal(add(x, rows, n), bad ? ERR_CORRUPT : OK);
    if (!bad)
        *m = next;
}

static void random_operations_agree_with_a_model(void **state)
{
    seed_random();
    struct model m = {{0}};
    for (int i = 0; i < 150; i++) {
        random_step(*state, &m);
        if (rand() % 10 == 0)
            reopen(*state);
        if (rand() % 5 == 0)
            check_model(*state, m);
    }
    check_model(*state, m);
}

static void a_catalog_comes_back_as_it_was(void **state)
{
    struct subject *x = *state;
    if (x->kind != SQLITE && x->kind != POSTGRES)
        return;
    struct catalog *c;
    struct err err = ERR_INIT;
    assert_int_equal(catalog_open(&(struct catalog_options){.store = x->s}, &c, &err), OK);
    assert_int_equal(catalog_define(c, 9, 10000, "a.b.c", 5, &err), OK);
    assert_int_equal(catalog_flush(c, &err), OK);
    assert_int_equal(catalog_define(c, 10, 10000, "lost", 4, &err), OK); /* not flushed */
    catalog_free(c);
    open_subject(x);
    assert_int_equal(catalog_open(&(struct catalog_options){.store = x->s}, &c, &err), OK);
    assert_int_equal(catalog_count(c), 1);
    assert_int_equal(catalog_max_id(c), 9);
    struct catalog_entry e = catalog_lookup(c, "a.b.c", 5);
    assert_true(e.id == 9 && e.step_ms == 10000 && !e.define);
    catalog_free(c);
    x->s = NULL;
}

/* Shared stores. */

/* Another process' store over the same rows. */
static struct catalog_store *second_store(struct subject *x)
{
    struct catalog_store *s = NULL;
    struct err err = ERR_INIT;
    if (x->kind == MEM_SHARED)
        s = catalog_store_mem_shared(x->s);
    else if (catalog_store_postgres_open(postgres_conninfo, NULL, &s, &err) < 0)
        fail_msg("%s", err.text);
    return s;
}

static void names_get_one_id_whoever_asks(void **state)
{
    struct subject *x = *state;
    struct catalog_store *other = second_store(x);
    struct err err = ERR_INIT;
    struct catalog_row a[] = {row(0, "b"), row(0, "a\"\\{,}'"), row(0, "c d")},
                       b[] = {row(0, "c d"), row(0, "e")};
    b[0].step_ms = 1000; /* who comes first decides the step */
    assert_int_equal(x->s->ops->assign(x->s, a, 3, &err), OK);
    assert_int_equal(other->ops->assign(other, b, 2, &err), OK);
    assert_int_equal(b[0].id, a[2].id);
    assert_int_equal(b[0].step_ms, 60000);
    assert_true(a[0].id && a[1].id && b[1].id > a[0].id && a[0].id != a[1].id);
    struct buf rows = BUF_INIT;
    uint32_t newest = a[0].id > a[1].id ? a[0].id : a[1].id;
    newest = a[2].id > newest ? a[2].id : newest;
    assert_int_equal(x->s->ops->since(x->s, newest, print_row, &rows, &err), OK);
    assert_non_null(strstr(buf_str(&rows), "/60000/e "));
    assert_null(strstr(buf_str(&rows), "/b "));
    buf_release(&rows);
    other->ops->free(other);
}

enum { ASKERS = 4, ASKED = 400 };
struct asker {
    struct catalog *c;
    unsigned seed;
    uint32_t id[ASKED];
};

/* All ask for the same names, each in its own order, some of them twice in one batch. */
static void *ask_main(void *ctx)
{
    struct asker *a = ctx;
    for (int round = 0; round < 60; round++) {
        struct sample s[20];
        struct catalog_entry e[20];
        char name[20][32];
        int which[20];
        for (int i = 0; i < 20; i++) {
            which[i] = rand_r(&a->seed) % ASKED;
            int n = snprintf(name[i], sizeof name[i], "shared.name%d", which[i]);
            s[i] = (struct sample){
                .name = name[i], .name_len = (uint32_t)n, .hash = hash_bytes(name[i], (size_t)n)};
        }
        catalog_resolve(a->c, s, 20, e);
        for (int i = 0; i < 20; i++) {
            assert_true(e[i].id && !e[i].define && !e[i].away);
            assert_true(!a->id[which[i]] || a->id[which[i]] == e[i].id);
            a->id[which[i]] = e[i].id;
        }
    }
    return NULL;
}

static void processes_agree_on_every_id(void **state)
{
    struct subject *x = *state;
    struct asker *a = xcalloc(ASKERS, sizeof *a);
    pthread_t t[ASKERS];
    struct err err = ERR_INIT;
    for (int i = 0; i < ASKERS; i++) {
        a[i].seed = (unsigned)i + 1;
        assert_int_equal(catalog_open(&(struct catalog_options){.store = second_store(x)}, &a[i].c, &err),
                         OK);
    }
    for (int i = 0; i < ASKERS; i++)
        pthread_create(&t[i], NULL, ask_main, &a[i]);
    for (int i = 0; i < ASKERS; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < ASKERS; i++) {
        assert_int_equal(catalog_follow(a[i].c, &err), OK);
        assert_int_equal(catalog_count(a[i].c), catalog_count(a[0].c));
        for (int k = 0; k < ASKED; k++)
            assert_true(!a[0].id[k] || !a[i].id[k] || a[0].id[k] == a[i].id[k]);
    }
    for (int i = 0; i < ASKERS; i++)
        catalog_free(a[i].c);
    free(a);
}

static struct catalog_entry resolve_one(struct catalog *c, const char *name)
{
    struct sample s = {
        .name = name, .name_len = (uint32_t)strlen(name), .hash = hash_bytes(name, strlen(name))};
    struct catalog_entry e;
    catalog_resolve(c, &s, 1, &e);
    return e;
}

/* PostgreSQL only. */
static void known_series_go_on_while_the_store_is_away(void **state)
{
    struct subject *x = *state;
    struct catalog *c;
    struct err err = ERR_INIT;
    assert_int_equal(catalog_open(&(struct catalog_options){.store = x->s}, &c, &err), OK);
    x->s = NULL;
    uint32_t id = resolve_one(c, "known").id;
    assert_true(id != 0);
    postgres("kill");
    struct catalog_entry e = resolve_one(c, "new");
    assert_true(e.id == 0 && e.away && !e.over_quota);
    assert_int_equal(resolve_one(c, "known").id, id);
    assert_int_equal(catalog_follow(c, &err), ERR_IO);
    assert_non_null(strstr(err.text, "PostgreSQL"));
    postgres("start");
    for (int i = 0; i < 300 && !resolve_one(c, "new").id; i++)
        nanosleep(&(struct timespec){0, 100000000}, NULL);
    assert_true(resolve_one(c, "new").id > id);
    assert_int_equal(catalog_follow(c, &err), OK);
    catalog_free(c);
}

static void other_schemas_are_refused(void **state)
{
    struct subject *x = *state;
    struct err err = ERR_INIT;
    close_subject(x);
    pg_sql("UPDATE carat_schema SET version = 99");
    assert_int_equal(catalog_store_postgres_open(postgres_conninfo, NULL, &x->s, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "newer version of Carat"));
    assert_int_equal(catalog_store_postgres_open("nonsense=1", NULL, &x->s, &err), ERR_INVALID);
    assert_int_equal(catalog_store_postgres_open("host=/tmp password=hunter2", NULL, &x->s, &err),
                     ERR_INVALID);
    assert_null(strstr(err.text, "hunter2"));
    assert_int_equal(catalog_store_postgres_open("host=/nonexistent", "hunter2", &x->s, &err), ERR_IO);
    assert_null(strstr(err.text, "hunter2"));
    x->s = NULL;
}

/* --- what was deleted --- */

static int print_ended(void *ctx, const struct catalog_ended *e)
{
    buf_printf(ctx, "%u/%u/%llu%s ", e->id, e->step_ms, (unsigned long long)e->pos, e->erased ? "!" : "");
    return OK;
}

static int print_tombstone(void *ctx, const struct tombstone *t)
{
    buf_printf(ctx, "%u@%llu:%lld-%lld%s ", t->series, (unsigned long long)t->pos, (long long)t->from_ms,
               (long long)t->until_ms, t->swept ? "!" : "");
    return OK;
}

static void check_deleted(struct subject *x, const char *want)
{
    struct buf b = BUF_INIT;
    struct err err = ERR_INIT;
    if (x->s->ops->load_deleted(x->s, print_ended, print_tombstone, &b, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(buf_str(&b), want);
    buf_release(&b);
}

static void keep(struct subject *x, const struct catalog_ended *e, size_t n, const struct tombstone_change *c,
                 size_t m)
{
    struct err err = ERR_INIT;
    if (x->s->ops->keep_deleted(x->s, e, n, c, m, &err) < 0)
        fail_msg("%s", err.text);
}

static void what_was_deleted_is_kept_and_changed(void **state)
{
    struct catalog_row rows[] = {row(1, "a"), row(2, "b"), row(3, "c")};
    struct catalog_ended e[] = {{2, 60000, UINT64_MAX - 1, false}, {9, 0, 78, false}};
    struct tombstone_change c[] = {{{3, false, -5, INT64_MAX - 1, 80}, false},
                                   {{3, false, 100, 200, 81}, false},
                                   {{1, true, 0, 1, UINT64_MAX}, false}};
    assert_int_equal(add(*state, rows, 3), OK);
    check_deleted(*state, "");
    keep(*state, e, 2, c, 2);
    keep(*state, e, 2, c, 2); /* the same again */
    reopen(*state);
    check_deleted(*state, "2/60000/18446744073709551614 9/0/78 3@80:-5-9223372036854775806 3@81:100-200 ");
    check_rows(*state, "1/60000/a 2/60000/b 3/60000/c ");
    e[0].erased = e[1].erased = true;
    c[0].gone = true;
    c[1].tombstone.swept = true;
    keep(*state, e, 2, c, 3);
    keep(*state, e, 2, c, 3);
    reopen(*state);
    struct subject *x = *state;
    if (x->on_disk)
        check_deleted(x, "2/60000/18446744073709551614! 9/0/78! 1@18446744073709551615:0-1! 3@81:100-200! ");
    check_rows(*state, "1/60000/a 3/60000/c ");
    struct catalog_row again = row(4, "d");
    assert_int_equal(add(*state, &again, 1), OK);
    reopen(*state);
    check_rows(*state, "1/60000/a 3/60000/c 4/60000/d ");
}

/* SQLite only from here on. */

static void sql(struct subject *x, const char *text)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(x->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* Opens and loads; the status, and the text in err. */
static int try_load(struct subject *x, struct buf *rows, struct err *err)
{
    int rc = catalog_store_sqlite_open(x->path, &x->s, err);
    if (rc < 0)
        return rc;
    rc = x->s->ops->load_deleted(x->s, print_ended, print_tombstone, rows, err);
    buf_clear(rows);
    if (rc == OK)
        rc = x->s->ops->load(x->s, print_row, rows, err);
    close_subject(x);
    return rc;
}

static void check_refused(struct subject *x, int want, const char *words)
{
    struct err err = ERR_INIT;
    struct buf rows = BUF_INIT;
    int rc = try_load(x, &rows, &err);
    buf_release(&rows);
    if (rc != want || !strstr(err.text, x->path) || !strstr(err.text, words))
        fail_msg("want %d '%s', got %d '%s'", want, words, rc, err.text);
}

static void other_files_and_versions_are_refused(void **state)
{
    struct subject *x = *state;
    struct catalog_row r = row(1, "a");
    assert_int_equal(add(x, &r, 1), OK);
    close_subject(x);
    sql(x, "PRAGMA user_version = 3");
    check_refused(x, ERR_UNSUPPORTED, "newer version of Carat");
    sql(x, "PRAGMA user_version = 0");
    check_refused(x, ERR_CORRUPT, "schema");
    sql(x, "PRAGMA user_version = 2; PRAGMA application_id = 0");
    check_refused(x, ERR_INVALID, "not a Carat catalog");
    sql(x, "PRAGMA application_id = 0x43727443");
    open_subject(x);
    check_rows(x, "1/60000/a ");
    close_subject(x);
    FILE *f = fopen(x->path, "wb");
    for (int i = 0; i < 1000; i++)
        fputs("not a database. ", f);
    fclose(f);
    check_refused(x, ERR_CORRUPT, "not a database");
    struct err err = ERR_INIT;
    assert_int_equal(catalog_store_sqlite_open("/nonexistent/x.db", &x->s, &err), ERR_IO);
    assert_non_null(strstr(err.text, "/nonexistent/x.db"));
    x->s = NULL;
}

/* As the first version made it. */
static void a_file_of_schema_1_is_brought_up(void **state)
{
    struct subject *x = *state;
    struct catalog_row r = row(1, "a");
    assert_int_equal(add(x, &r, 1), OK);
    close_subject(x);
    sql(x, "DROP TABLE ended; DROP TABLE tombstones; ALTER TABLE summary DROP COLUMN ended;"
           "ALTER TABLE summary DROP COLUMN tombstones; PRAGMA user_version = 1");
    open_subject(x);
    check_rows(x, "1/60000/a ");
    check_deleted(x, "");
    struct catalog_ended e = {1, 60000, 5, false};
    keep(x, &e, 1, NULL, 0);
    reopen(x);
    check_deleted(x, "1/60000/5 ");
    check_rows(x, "1/60000/a ");
}

static void damage_to_what_was_deleted_is_noticed(void **state)
{
    struct subject *x = *state;
    struct catalog_ended e[] = {{1, 60000, 5, false}, {2, 60000, 6, false}};
    struct tombstone_change c = {{3, false, 100, 200, 81}, false};
    keep(x, e, 2, &c, 1);
    close_subject(x);
    sql(x, "UPDATE ended SET erased = 1 WHERE id = 2");
    check_refused(x, ERR_CORRUPT, "a row of ended is damaged");
    sql(x, "DELETE FROM ended WHERE id = 2");
    check_refused(x, ERR_CORRUPT, "1 rows of ended, but there should be 2");
    sql(x, "UPDATE summary SET ended = 1; UPDATE tombstones SET until_ms = 201");
    check_refused(x, ERR_CORRUPT, "a row of tombstones is damaged");
    sql(x, "DELETE FROM tombstones");
    check_refused(x, ERR_CORRUPT, "0 rows of tombstones, but there should be 1");
}

static void wrong_values_are_noticed(void **state)
{
    struct subject *x = *state;
    struct catalog_row rows[] = {row(1, "a"), row(2, "b"), row(3, "c")};
    assert_int_equal(add(x, rows, 3), OK);
    close_subject(x);
    sql(x, "UPDATE series SET name = 'bb' WHERE id = 2");
    check_refused(x, ERR_CORRUPT, "series 2 is damaged");
    sql(x, "UPDATE series SET name = 'b', step_ms = 10000 WHERE id = 2");
    check_refused(x, ERR_CORRUPT, "series 2 is damaged");
    sql(x, "DELETE FROM series WHERE id = 2");
    check_refused(x, ERR_CORRUPT, "2 rows, but there should be 3");
    sql(x, "DROP TABLE series");
    check_refused(x, ERR_CORRUPT, "series");
}

static void two_ids_for_one_name_are_noticed(void **state)
{
    struct subject *x = *state;
    struct catalog_row rows[] = {row(1, "a"), row(2, "a")};
    assert_int_equal(add(x, rows, 2), OK); /* the catalog never does that */
    struct catalog *c;
    struct err err = ERR_INIT;
    assert_int_equal(catalog_open(&(struct catalog_options){.store = x->s}, &c, &err), ERR_CORRUPT);
    x->s = NULL; /* taken over all the same */
    assert_non_null(strstr(err.text, x->path));
    assert_non_null(strstr(err.text, "known as 1"));
}

static struct buf read_all(const char *path)
{
    struct buf b = BUF_INIT;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    for (size_t n = 1; n;) {
        n = fread(buf_reserve(&b, 65536), 1, 65536, f);
        b.len += n;
    }
    fclose(f);
    return b;
}

static void write_all(const char *path, const struct buf *b)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->data, 1, b->len, f), b->len);
    fclose(f);
}

/* A leaf page whose second cell pointer is a copy of its first: one row twice, another gone. */
static void a_row_in_the_place_of_another_is_noticed(void **state)
{
    struct subject *x = *state;
    struct catalog_row rows[] = {row(1, "a"), row(2, "b"), row(3, "c")};
    assert_int_equal(add(x, rows, 3), OK);
    close_subject(x);
    struct buf whole = read_all(x->path);
    int changed = 0;
    for (size_t page = 4096; page < whole.len; page += 4096)
        if (whole.data[page] == 0x0d && whole.data[page + 4] == 3) { /* table leaf, three cells */
            memcpy(whole.data + page + 10, whole.data + page + 8, 2);
            changed++;
        }
    assert_int_equal(changed, 1);
    write_all(x->path, &whole);
    buf_release(&whole);
    check_refused(x, ERR_CORRUPT, "series 1 is damaged");
}

/* Whatever byte changes: the rows are the right ones, or there is an error. Never other rows. */
static void damage_never_changes_what_is_loaded(void **state)
{
    struct subject *x = *state;
    seed_random();
    for (uint32_t i = 1; i <= 300; i++) {
        char name[64];
        snprintf(name, sizeof name, "servers.host-%u.cpu.user", i);
        struct catalog_row r = row(i, name);
        assert_int_equal(add(x, &r, 1), OK);
    }
    close_subject(x); /* the last one to close folds the WAL into the file */
    struct buf whole = read_all(x->path), want = BUF_INIT, got = BUF_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(try_load(x, &want, &err), OK);
    int refused = 0;
    for (int i = 0; i < 400; i++) {
        size_t at = (size_t)rand() % (i % 4 ? whole.len : 512);
        uint8_t old = whole.data[at];
        whole.data[at] ^= (uint8_t)(rand() % 255 + 1);
        write_all(x->path, &whole);
        buf_clear(&got);
        int rc = try_load(x, &got, &err);
        if (rc < 0)
            refused++;
        else if (got.len != want.len || memcmp(got.data, want.data, got.len) != 0)
            fail_msg("byte %zu: other rows", at);
        whole.data[at] = old;
        remove_dir(x);
        assert_int_equal(mkdir(x->dir, 0700), 0);
    }
    assert_true(refused > 10);
    for (size_t n = whole.len; n > 512; n -= 512) { /* truncation */
        whole.len = n - 512;
        write_all(x->path, &whole);
        buf_clear(&got);
        assert_int_equal(try_load(x, &got, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.text, x->path));
    }
    buf_release(&whole);
    buf_release(&want);
    buf_release(&got);
}

#define SHARED(fn)                                                                                           \
    cmocka_unit_test_setup_teardown(fn, set_up_mem_shared, tear_down),                                       \
        cmocka_unit_test_setup_teardown(fn, set_up_postgres, tear_down)
#define ALL(fn)                                                                                              \
    cmocka_unit_test_setup_teardown(fn, set_up_mem, tear_down),                                              \
        cmocka_unit_test_setup_teardown(fn, set_up_sqlite, tear_down), SHARED(fn)
#define OWN(fn)                                                                                              \
    cmocka_unit_test_setup_teardown(fn, set_up_mem, tear_down),                                              \
        cmocka_unit_test_setup_teardown(fn, set_up_sqlite, tear_down)
#define PG(fn)   cmocka_unit_test_setup_teardown(fn, set_up_postgres, tear_down)
#define DISK(fn) cmocka_unit_test_setup_teardown(fn, set_up_sqlite, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(starts_empty),
        ALL(rows_come_back_in_id_order),
        ALL(rows_may_be_added_again),
        ALL(a_contradiction_adds_nothing),
        ALL(load_stops_where_told),
        ALL(random_operations_agree_with_a_model),
        ALL(a_catalog_comes_back_as_it_was),
        OWN(what_was_deleted_is_kept_and_changed),
        SHARED(names_get_one_id_whoever_asks),
        SHARED(processes_agree_on_every_id),
        PG(known_series_go_on_while_the_store_is_away),
        PG(other_schemas_are_refused),
        DISK(a_copy_has_the_rows_of_its_moment),
        DISK(other_files_and_versions_are_refused),
        DISK(a_file_of_schema_1_is_brought_up),
        DISK(damage_to_what_was_deleted_is_noticed),
        DISK(wrong_values_are_noticed),
        DISK(two_ids_for_one_name_are_noticed),
        DISK(a_row_in_the_place_of_another_is_noticed),
        DISK(damage_never_changes_what_is_loaded),
    };
    return cmocka_run_group_tests(tests, start_postgres, stop_postgres);
}
