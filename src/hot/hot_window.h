/* One open window of one series in memory.
 *
 * Slots are grouped by 16. The group written last is held raw (a store for each point, repeated ones
 * included); the others wait encoded in `closed`, one entry a group, ascending:
 *
 *   u8 group | u8 size of block | block (codec/codec.h, 16 slots or the rest of the window)
 *   u8 group + 128 | u8 size | u16 present | f64 for each slot
 *
 * A point for an older group is patched into its entry. While late points fill a group its entry is the
 * second kind, and each is one store; with its last slot it becomes the first. So any write order gives
 * the same content, late points cost a fraction of a microsecond, and a quiet series costs its header and
 * one raw group. */
#ifndef CARAT_HOT_HOT_WINDOW_H
#define CARAT_HOT_HOT_WINDOW_H

#include "base/buf.h"
#include "model/slots.h"

#include <stdint.h>

#define HOT_GROUP_SLOTS 16

struct hot_owin {
    struct hot_owin *next; /* the series' next older window */
    int64_t start_ms;
    uint64_t lo, hi; /* stream positions: first and last point applied */
    uint8_t *closed;
    uint32_t step_ms;
    uint32_t version; /* grows with every change */
    uint16_t nslots;
    uint16_t closed_size;
    uint16_t closed_cap;
    uint16_t open_present; /* one bit a slot of the open group */
    uint8_t open_group;
    double open[HOT_GROUP_SLOTS];
};

void hot_owin_init(struct hot_owin *w, int64_t start_ms, uint32_t step_ms, uint32_t nslots, uint64_t pos);
void hot_owin_release(struct hot_owin *w);

/* The path for any point that is not in the open group. */
void hot_owin_set_slow(struct hot_owin *w, uint32_t slot, double value, struct buf *scratch);

/* Applies one point that came with stream position `pos`. `scratch` is overwritten. */
static inline void hot_owin_set(struct hot_owin *w, uint32_t slot, double value, uint64_t pos,
                                struct buf *scratch)
{
    w->hi = pos > w->hi ? pos : w->hi;
    w->version++;
    if (slot / HOT_GROUP_SLOTS == w->open_group) {
        w->open[slot % HOT_GROUP_SLOTS] = value;
        w->open_present |= (uint16_t)(1u << (slot % HOT_GROUP_SLOTS));
    } else {
        hot_owin_set_slow(w, slot, value, scratch);
    }
}

/* Takes slots [from, until) out. True if nothing is left. */
bool hot_owin_erase(struct hot_owin *w, uint32_t from, uint32_t until, struct buf *scratch);

/* Everything in it, as slots. */
void hot_owin_load(const struct hot_owin *w, struct slots *out);

static inline size_t hot_owin_bytes(const struct hot_owin *w)
{
    return sizeof *w + w->closed_cap;
}

#endif
