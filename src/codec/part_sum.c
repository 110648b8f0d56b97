#include "codec/part_sum.h"

#include "codec/codec.h"

#include <assert.h>

void part_sum_init(struct part_sum *s, const struct part_key *window)
{
    slots_init(&s->slots, window_slots((int64_t)window->step_ms));
    s->key = *window;
    s->key.hi = 0;
    s->lo = UINT64_MAX;
    s->parts = 0;
}

int part_sum_add(struct part_sum *s, const struct part *p, struct err *err)
{
    struct slots one;
    slots_init(&one, s->slots.n);
    int rc = codec_decode(p->data, p->size, one.n, one.present, one.value, err);
    if (rc != OK)
        return rc;
    slots_overlay(&s->slots, &one);
    s->lo = p->lo < s->lo ? p->lo : s->lo;
    s->key.hi = p->key.hi > s->key.hi ? p->key.hi : s->key.hi;
    s->parts++;
    return OK;
}

void part_sum_encode(const struct part_sum *s, struct buf *out)
{
    assert(s->parts);
    codec_encode(&(struct codec_in){s->slots.n, s->slots.present, s->slots.value}, out);
}
