#include "catalog/ended.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void ended_release(struct ended *e)
{
    free(e->v);
    free(e->changes);
    *e = (struct ended){0};
}

static void push(struct catalog_ended **v, size_t *n, size_t *cap, const struct catalog_ended *one)
{
    if (*n == *cap) {
        *cap = *cap ? 2 * *cap : 64;
        *v = xrealloc(*v, *cap * sizeof **v);
    }
    (*v)[(*n)++] = *one;
}

void ended_add(struct ended *e, const struct catalog_ended *one, bool stored)
{
    if (!one->erased)
        push(&e->v, &e->n, &e->cap, one);
    if (!stored)
        push(&e->changes, &e->nchanges, &e->cap_changes, one);
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void ended_erase(struct ended *e, const uint32_t *ids, size_t n)
{
    uint32_t *sorted = xmalloc((n + 1) * sizeof *sorted);
    size_t kept = 0;
    if (n)
        memcpy(sorted, ids, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_id);
    for (size_t i = 0; i < e->n; i++) {
        struct catalog_ended one = e->v[i];
        if (!bsearch(&one.id, sorted, n, sizeof *sorted, by_id)) {
            e->v[kept++] = one;
            continue;
        }
        one.erased = true;
        push(&e->changes, &e->nchanges, &e->cap_changes, &one);
    }
    e->n = kept;
    free(sorted);
}

static struct catalog_ended *copy(const struct catalog_ended *v, size_t n)
{
    if (!n)
        return NULL;
    struct catalog_ended *out = xmalloc(n * sizeof *out);
    memcpy(out, v, n * sizeof *out);
    return out;
}

struct catalog_ended *ended_list(const struct ended *e, size_t *n)
{
    *n = e->n;
    return copy(e->v, e->n);
}

struct catalog_ended *ended_changes(const struct ended *e, size_t *n)
{
    *n = e->nchanges;
    return copy(e->changes, e->nchanges);
}

void ended_changes_kept(struct ended *e, size_t n)
{
    assert(n <= e->nchanges);
    if (n == 0)
        return; /* there may be no list at all */
    memmove(e->changes, e->changes + n, (e->nchanges - n) * sizeof *e->changes);
    e->nchanges -= n;
}
