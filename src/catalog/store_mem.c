/* Rows in memory, for tests and as the reference for the other stores. */
#include "base/mem.h"
#include "catalog/catalog_store.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct mem_store {
    struct catalog_store base;
    struct catalog_row *rows; /* by id; names are ours */
    size_t n, cap;
};

static struct mem_store *down(struct catalog_store *s)
{
    return container_of(s, struct mem_store, base);
}

/* Where the id is, or belongs. */
static size_t position(const struct mem_store *m, uint32_t id)
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

static int mem_load(struct catalog_store *s, catalog_row_fn fn, void *ctx, struct err *err)
{
    struct mem_store *m = down(s);
    for (size_t i = 0; i < m->n; i++) {
        int rc = fn(ctx, &m->rows[i]);
        if (rc)
            return rc;
    }
    return OK;
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
static int check(struct mem_store *m, const struct catalog_row *sorted, size_t n, struct err *err)
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

static void insert(struct mem_store *m, const struct catalog_row *row)
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
    struct mem_store *m = down(s);
    struct catalog_row *sorted = xmalloc(n * sizeof *sorted);
    if (n)
        memcpy(sorted, rows, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, cmp_id);
    int rc = check(m, sorted, n, err);
    free(sorted);
    for (size_t i = 0; rc == OK && i < n; i++)
        insert(m, &rows[i]);
    return rc;
}

static void mem_free(struct catalog_store *s)
{
    struct mem_store *m = down(s);
    for (size_t i = 0; i < m->n; i++)
        free((char *)m->rows[i].name);
    free(m->rows);
    free(m);
}

struct catalog_store *catalog_store_mem_new(void)
{
    static const struct catalog_store_ops ops = {
        .name = "mem",
        .load = mem_load,
        .add = mem_add,
        .free = mem_free,
    };
    struct mem_store *m = xcalloc(1, sizeof *m);
    m->base.ops = &ops;
    return &m->base;
}
