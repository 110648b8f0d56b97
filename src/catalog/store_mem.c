/* Rows in memory, for tests and as the reference for the other stores. */
#include "base/mem.h"
#include "catalog/catalog_store.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct mem_rows {
    pthread_mutex_t mtx;
    unsigned stores;
    struct catalog_row *rows; /* by id; names are ours */
    size_t n, cap;
    struct catalog_ended *ended; /* by id */
    size_t nended;
    struct tombstone *tombstones;
    size_t ntombstones;
};

struct mem_store {
    struct catalog_store base;
    struct mem_rows *rows;
};

/* The rows, locked. */
static struct mem_rows *lock(struct catalog_store *s)
{
    struct mem_rows *m = container_of(s, struct mem_store, base)->rows;
    pthread_mutex_lock(&m->mtx);
    return m;
}

static int unlock(struct mem_rows *m, int rc)
{
    pthread_mutex_unlock(&m->mtx);
    return rc;
}

/* Where the id is, or belongs. */
static size_t position(const struct mem_rows *m, uint32_t id)
{
    size_t lo = 0, hi = m->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (m->rows[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* No lock is held while fn runs: it may ask the store. */
static int mem_since(struct catalog_store *s, uint32_t after, catalog_row_fn fn, void *ctx, struct err *err)
{
    for (;;) {
        struct mem_rows *m = lock(s);
        size_t at = position(m, after + 1);
        struct catalog_row row = at < m->n ? m->rows[at] : (struct catalog_row){0};
        unlock(m, OK);
        int rc = row.id ? fn(ctx, &row) : OK;
        if (rc || !row.id || row.id == UINT32_MAX)
            return rc;
        after = row.id;
    }
}

static int mem_load(struct catalog_store *s, catalog_row_fn fn, void *ctx, struct err *err)
{
    return mem_since(s, 0, fn, ctx, err);
}

static bool same_name(const struct catalog_row *a, const struct catalog_row *b)
{
    return a->name_len == b->name_len && memcmp(a->name, b->name, a->name_len) == 0;
}

static int cmp_id(const void *a, const void *b)
{
    uint32_t x = ((const struct catalog_row *)a)->id, y = ((const struct catalog_row *)b)->id;
    return (x > y) - (x < y);
}

/* The rows must agree with what is kept and with each other before anything is changed. */
static int check(struct mem_rows *m, const struct catalog_row *sorted, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = position(m, sorted[i].id);
        const struct catalog_row *kept = at < m->n && m->rows[at].id == sorted[i].id ? &m->rows[at]
                                         : i && sorted[i - 1].id == sorted[i].id     ? &sorted[i - 1]
                                                                                     : NULL;
        if (kept && !same_name(kept, &sorted[i]))
            return err_set(err, ERR_CORRUPT, "series %u has another name in the store", sorted[i].id);
    }
    return OK;
}

static void insert(struct mem_rows *m, const struct catalog_row *row)
{
    size_t at = position(m, row->id);
    if (at < m->n && m->rows[at].id == row->id)
        return;
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 64;
        m->rows = xrealloc(m->rows, m->cap * sizeof *m->rows);
    }
    memmove(m->rows + at + 1, m->rows + at, (m->n - at) * sizeof *m->rows);
    m->rows[at] = *row;
    m->rows[at].name = xstrndup(row->name, row->name_len);
    m->n++;
}

static int mem_add(struct catalog_store *s, const struct catalog_row *rows, size_t n, struct err *err)
{
    struct mem_rows *m = lock(s);
    struct catalog_row *sorted = xmalloc(n * sizeof *sorted);
    if (n)
        memcpy(sorted, rows, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, cmp_id);
    int rc = check(m, sorted, n, err);
    free(sorted);
    for (size_t i = 0; rc == OK && i < n; i++)
        insert(m, &rows[i]);
    return unlock(m, rc);
}

static void assign_one(struct mem_rows *m, struct catalog_row *row)
{
    for (size_t i = 0; i < m->n; i++)
        if (same_name(&m->rows[i], row)) {
            row->id = m->rows[i].id;
            row->step_ms = m->rows[i].step_ms;
            return;
        }
    row->id = m->n ? m->rows[m->n - 1].id + 1 : 1;
    insert(m, row);
}

static int mem_assign(struct catalog_store *s, struct catalog_row *rows, size_t n, struct err *err)
{
    struct mem_rows *m = lock(s);
    for (size_t i = 0; i < n; i++)
        assign_one(m, &rows[i]);
    return unlock(m, OK);
}

/* Not while they change. */
static int mem_load_deleted(struct catalog_store *s, catalog_ended_fn ended, catalog_tombstone_fn tombstone,
                            void *ctx, struct err *err)
{
    struct mem_rows *m = container_of(s, struct mem_store, base)->rows;
    int rc = OK;
    for (size_t i = 0; i < m->nended && rc == OK; i++)
        rc = ended(ctx, &m->ended[i]);
    for (size_t i = 0; i < m->ntombstones && rc == OK; i++)
        rc = tombstone(ctx, &m->tombstones[i]);
    return rc;
}

static void remove_row(struct mem_rows *m, uint32_t id)
{
    size_t at = position(m, id);
    if (at == m->n || m->rows[at].id != id)
        return;
    free((char *)m->rows[at].name);
    memmove(m->rows + at, m->rows + at + 1, (m->n - at - 1) * sizeof *m->rows);
    m->n--;
}

static void keep_ended(struct mem_rows *m, const struct catalog_ended *e)
{
    size_t at = 0;
    while (at < m->nended && m->ended[at].id < e->id)
        at++;
    if (at == m->nended || m->ended[at].id != e->id) {
        m->ended = xrealloc(m->ended, (m->nended + 1) * sizeof *m->ended);
        memmove(m->ended + at + 1, m->ended + at, (m->nended - at) * sizeof *m->ended);
        m->nended++;
    }
    m->ended[at] = *e;
    if (e->erased)
        remove_row(m, e->id);
}

static bool is_same_tombstone(const struct tombstone *a, const struct tombstone *b)
{
    return a->series == b->series && a->pos == b->pos && a->from_ms == b->from_ms &&
           a->until_ms == b->until_ms;
}

static void keep_change(struct mem_rows *m, const struct tombstone_change *c)
{
    size_t at = 0;
    while (at < m->ntombstones && !is_same_tombstone(&m->tombstones[at], &c->tombstone))
        at++;
    if (c->gone) {
        if (at < m->ntombstones)
            m->tombstones[at] = m->tombstones[--m->ntombstones];
        return;
    }
    if (at == m->ntombstones)
        m->tombstones = xrealloc(m->tombstones, ++m->ntombstones * sizeof *m->tombstones);
    m->tombstones[at] = c->tombstone;
}

static int mem_keep_deleted(struct catalog_store *s, const struct catalog_ended *ended, size_t nended,
                            const struct tombstone_change *changes, size_t nchanges, struct err *err)
{
    struct mem_rows *m = lock(s);
    for (size_t i = 0; i < nended; i++)
        keep_ended(m, &ended[i]);
    for (size_t i = 0; i < nchanges; i++)
        keep_change(m, &changes[i]);
    return unlock(m, OK);
}

static void mem_free(struct catalog_store *s)
{
    struct mem_rows *m = lock(s);
    bool last = --m->stores == 0;
    unlock(m, OK);
    free(container_of(s, struct mem_store, base));
    if (!last)
        return;
    free(m->ended);
    free(m->tombstones);
    for (size_t i = 0; i < m->n; i++)
        free((char *)m->rows[i].name);
    free(m->rows);
    pthread_mutex_destroy(&m->mtx);
    free(m);
}

static struct catalog_store *store_over(struct mem_rows *rows, const struct catalog_store_ops *ops)
{
    struct mem_store *s = xcalloc(1, sizeof *s);
    s->base.ops = ops;
    s->rows = rows;
    if (!rows) {
        s->rows = xcalloc(1, sizeof *s->rows);
        pthread_mutex_init(&s->rows->mtx, NULL);
    }
    struct mem_rows *m = lock(&s->base);
    m->stores++;
    unlock(m, OK);
    return &s->base;
}

struct catalog_store *catalog_store_mem_new(void)
{
    static const struct catalog_store_ops ops = {
        .name = "mem",
        .load = mem_load,
        .add = mem_add,
        .free = mem_free,
        .load_deleted = mem_load_deleted,
        .keep_deleted = mem_keep_deleted,
    };
    return store_over(NULL, &ops);
}

struct catalog_store *catalog_store_mem_shared(struct catalog_store *of)
{
    static const struct catalog_store_ops ops = {
        .name = "mem-shared",
        .load = mem_load,
        .add = mem_add,
        .free = mem_free,
        .assign = mem_assign,
        .since = mem_since,
    };
    return store_over(of ? container_of(of, struct mem_store, base)->rows : NULL, &ops);
}
