#include "codec/part_mask.h"

#include "codec/codec.h"
#include "codec/part_sum.h"

enum part_mask part_mask(struct tombstones *t, const struct part *p, struct buf *block, struct part *out)
{
    *out = *p;
    if (!t || !tombstones_touch(t, &p->key) || !block_is_codecs(p))
        return PART_LIVES;
    struct slots s;
    slots_init(&s, window_slots(p->key.step_ms));
    if (codec_decode(p->data, p->size, s.n, s.present, s.value, NULL) < 0 || !tombstones_mask(t, &p->key, &s))
        return PART_LIVES;
    if (!slots_count(s.present, s.n))
        return PART_DEAD;
    buf_clear(block);
    codec_encode(&(struct codec_in){s.n, s.present, s.value}, block);
    out->data = block->data;
    out->size = block->len;
    return PART_CUT;
}
