#include "writer/merge.h"

#include "base/mem.h"
#include "codec/codec.h"

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
    bool fresh_in;      /* its turn by position has come */
    struct slots slots; /* everything of smaller or equal hi so far */
    struct part sum;
    struct merge_keys *replaced;
    size_t stored;
};

static int overlay_part(struct merging *m, const struct part *p, struct err *err)
{
    struct slots s;
    slots_init(&s, m->slots.n);
    int rc = codec_decode(p->data, p->size, s.n, s.present, s.value, err);
    if (rc != OK)
        return rc;
    slots_overlay(&m->slots, &s);
    m->sum.lo = p->lo < m->sum.lo ? p->lo : m->sum.lo;
    m->sum.key.hi = p->key.hi > m->sum.key.hi ? p->key.hi : m->sum.key.hi;
    return OK;
}

/* warm_part_fn: parts come with ascending hi; the fresh one takes its place among them. */
static int merge_stored(void *ctx, const struct part *p)
{
    struct merging *m = ctx;
    struct err ignored;
    m->stored++;
    if (!m->fresh_in && p->key.hi > m->fresh->key.hi) {
        m->fresh_in = true;
        if (overlay_part(m, m->fresh, &ignored) != OK)
            return ERR_CORRUPT;
    }
    merge_keys_add(m->replaced, &p->key);
    return overlay_part(m, p, &ignored);
}

int merge_with_stored(struct warm *warm, const struct part *p, struct part *out, bool *in_blocks,
                      struct buf *blocks, struct merge_keys *remove, struct err *err)
{
    size_t before = remove->n;
    struct merging m = {.fresh = p, .sum = *p, .replaced = remove};
    slots_init(&m.slots, window_slots((int64_t)p->key.step_ms));
    *out = *p;
    *in_blocks = false;
    int rc = warm_read(warm, p->key.series, p->key.step_ms, p->key.window_ms, p->key.window_ms + 1,
                       merge_stored, &m, err);
    if (rc == OK && m.stored && !m.fresh_in)
        rc = overlay_part(&m, p, err);
    if (rc != OK || !m.stored) {
        remove->n = before;
        return rc == ERR_CORRUPT ? OK : rc;
    }
    size_t at = blocks->len;
    codec_encode(&(struct codec_in){m.slots.n, m.slots.present, m.slots.value}, blocks);
    m.sum.data = (const uint8_t *)at;
    m.sum.size = blocks->len - at;
    *out = m.sum;
    *in_blocks = true;
    /* A stored part under the same key is overwritten by the put and must not be removed after it. */
    for (size_t i = before; i < remove->n;)
        if (remove->v[i].hi == m.sum.key.hi)
            remove->v[i] = remove->v[--remove->n];
        else
            i++;
    return OK;
}
