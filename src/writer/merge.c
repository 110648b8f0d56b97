#include "writer/merge.h"

#include "base/mem.h"
#include "codec/part_sum.h"

#include <stdlib.h>

void merge_keys_add(struct merge_keys *k, const struct part_key *key)
{
    if (k->n == k->cap) {
        k->cap = k->cap ? k->cap * 2 : 64;
        k->v = xrealloc(k->v, k->cap * sizeof *k->v);
    }
    k->v[k->n++] = *key;
}

void merge_keys_release(struct merge_keys *k)
{
    free(k->v);
    *k = (struct merge_keys){0};
}

struct merging {
    const struct part *fresh;
    bool fresh_in;       /* its turn by position has come */
    struct part_sum sum; /* everything of smaller or equal hi so far */
    struct merge_keys *replaced;
    size_t stored;
};

/* warm_part_fn: parts come with ascending hi; the fresh one takes its place among them. */
static int merge_stored(void *ctx, const struct part *p)
{
    struct merging *m = ctx;
    struct err ignored;
    m->stored++;
    if (!m->fresh_in && p->key.hi > m->fresh->key.hi) {
        m->fresh_in = true;
        if (part_sum_add(&m->sum, m->fresh, &ignored) != OK)
            return ERR_CORRUPT;
    }
    merge_keys_add(m->replaced, &p->key);
    return part_sum_add(&m->sum, p, &ignored);
}

int merge_with_stored(struct warm *warm, const struct part *p, struct part *out, bool *in_blocks,
                      struct buf *blocks, struct merge_keys *remove, struct err *err)
{
    size_t before = remove->n;
    struct merging m = {.fresh = p, .replaced = remove};
    part_sum_init(&m.sum, &p->key);
    *out = *p;
    *in_blocks = false;
    int rc = warm_read(warm, p->key.series, p->key.step_ms, p->key.window_ms, p->key.window_ms + 1,
                       merge_stored, &m, err);
    if (rc == OK && m.stored && !m.fresh_in)
        rc = part_sum_add(&m.sum, p, err);
    if (rc != OK || !m.stored) {
        remove->n = before;
        return rc == ERR_CORRUPT ? OK : rc;
    }
    size_t at = blocks->len;
    part_sum_encode(&m.sum, blocks);
    *out = (struct part){m.sum.key, m.sum.lo, (const uint8_t *)at, blocks->len - at};
    *in_blocks = true;
    /* A stored part under the same key is overwritten by the put and must not be removed after it. */
    for (size_t i = before; i < remove->n;)
        if (remove->v[i].hi == m.sum.key.hi)
            remove->v[i] = remove->v[--remove->n];
        else
            i++;
    return OK;
}
