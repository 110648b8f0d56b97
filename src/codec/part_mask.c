#include "codec/part_mask.h"

#include "codec/codec.h"
#include "codec/part_sum.h"
#include "codec/rollup_block.h"

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

enum part_mask part_mask_rollup(const struct tombstone *v, int64_t whole_from_ms, const struct part *p,
                                struct buf *block, struct part *out)
{
    struct rollup r;
    const struct rollup_slot none = ROLLUP_SLOT_INIT;
    uint32_t left = 0, taken = 0;
    *out = *p;
    if (p->key.series != v->series || block_is_codecs(p) ||
        rollup_block_decode(p->data, p->size, window_slots(p->key.step_ms), &r, NULL) < 0)
        return PART_LIVES;
    for (uint32_t i = 0; i < r.n; i++) {
        int64_t ts = p->key.window_ms + (int64_t)i * p->key.step_ms;
        if (!slot_get(r.present, i))
            continue;
        bool takes = tombstone_takes(v, whole_from_ms, ts, p->key.step_ms);
        if (takes)
            rollup_set(&r, i, &none);
        taken += takes;
        left += !takes;
    }
    if (!taken || !left)
        return taken ? PART_DEAD : PART_LIVES;
    buf_clear(block);
    rollup_block_encode(&r, block);
    out->data = block->data;
    out->size = block->len;
    return PART_CUT;
}
