#include "hot/hot_window.h"

#include "base/mem.h"
#include "codec/codec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The largest block of 16 slots is the raw one: format, presence and 128 bytes of values. */
#define BLOCK_MAX 255

void hot_owin_init(struct hot_owin *w, int64_t start_ms, uint32_t step_ms, uint32_t nslots, uint64_t pos)
{
    memset(w, 0, offsetof(struct hot_owin, open));
    w->start_ms = start_ms;
    w->step_ms = step_ms;
    w->nslots = (uint16_t)nslots;
    w->lo = w->hi = pos;
}

void hot_owin_release(struct hot_owin *w)
{
    free(w->closed);
    w->closed = NULL;
    w->closed_size = w->closed_cap = 0;
}

static uint32_t group_slots(const struct hot_owin *w, unsigned group)
{
    uint32_t left = w->nslots - group * HOT_GROUP_SLOTS;
    return left < HOT_GROUP_SLOTS ? left : HOT_GROUP_SLOTS;
}

/* Offset of the entry of `group`, or of the first entry after it. */
static size_t entry_at(const struct hot_owin *w, unsigned group)
{
    size_t at = 0;
    while (at < w->closed_size && w->closed[at] < group)
        at += 2u + w->closed[at + 1];
    return at;
}

static bool entry_is(const struct hot_owin *w, size_t at, unsigned group)
{
    return at < w->closed_size && w->closed[at] == group;
}

static uint16_t entry_decode(const struct hot_owin *w, size_t at, double *value)
{
    uint64_t present = 0;
    struct err err = ERR_INIT;
    int rc = codec_decode(w->closed + at + 2, w->closed[at + 1], group_slots(w, w->closed[at]), &present,
                          value, &err);
    assert(rc == OK); /* our own memory: anything else is our bug */
    return (uint16_t)present;
}

/* Puts an entry in place of `old_size` bytes at `at`. */
static void entry_store(struct hot_owin *w, size_t at, size_t old_size, unsigned group, uint16_t present,
                        const double *value, struct buf *scratch)
{
    uint64_t bits = present;
    buf_clear(scratch);
    codec_encode(&(struct codec_in){group_slots(w, group), &bits, value}, scratch);
    assert(scratch->len <= BLOCK_MAX);
    size_t new_size = 2 + scratch->len, tail = w->closed_size - at - old_size;
    size_t size = at + new_size + tail;
    assert(size <= UINT16_MAX);
    if (size > w->closed_cap) {
        w->closed_cap = (uint16_t)((size + 31) & ~(size_t)31);
        w->closed = xrealloc(w->closed, w->closed_cap);
    }
    memmove(w->closed + at + new_size, w->closed + at + old_size, tail);
    w->closed[at] = (uint8_t)group;
    w->closed[at + 1] = (uint8_t)scratch->len;
    memcpy(w->closed + at + 2, scratch->data, scratch->len);
    w->closed_size = (uint16_t)size;
}

static void entry_remove(struct hot_owin *w, size_t at)
{
    size_t size = 2u + w->closed[at + 1];
    memmove(w->closed + at, w->closed + at + size, w->closed_size - at - size);
    w->closed_size = (uint16_t)(w->closed_size - size);
}

static void close_open_group(struct hot_owin *w, struct buf *scratch)
{
    if (w->open_present)
        entry_store(w, entry_at(w, w->open_group), 0, w->open_group, w->open_present, w->open, scratch);
    w->open_present = 0;
}

/* Moves on to `group`. Its entry, if it has one, becomes the raw group again: a group is never in both. */
static void open_group(struct hot_owin *w, unsigned group, struct buf *scratch)
{
    close_open_group(w, scratch);
    w->open_group = (uint8_t)group;
    size_t at = entry_at(w, group);
    if (!entry_is(w, at, group))
        return;
    w->open_present = entry_decode(w, at, w->open);
    entry_remove(w, at);
}

static void patch_closed(struct hot_owin *w, unsigned group, unsigned i, double v, struct buf *scratch)
{
    double value[HOT_GROUP_SLOTS] = {0};
    uint16_t present = 0;
    size_t at = entry_at(w, group), old_size = 0;
    if (entry_is(w, at, group)) {
        present = entry_decode(w, at, value);
        old_size = 2u + w->closed[at + 1];
    }
    value[i] = v;
    entry_store(w, at, old_size, group, present | (uint16_t)(1u << i), value, scratch);
}

void hot_owin_set_slow(struct hot_owin *w, uint32_t slot, double value, struct buf *scratch)
{
    assert(slot < w->nslots);
    unsigned group = slot / HOT_GROUP_SLOTS, i = slot % HOT_GROUP_SLOTS;
    if (group < w->open_group && w->open_present) {
        patch_closed(w, group, i, value, scratch);
        return;
    }
    open_group(w, group, scratch);
    w->open[i] = value;
    w->open_present |= (uint16_t)(1u << i);
}

/* The bits of a group's slots that lie in [from, until). */
static uint16_t group_bits(unsigned group, uint32_t from, uint32_t until)
{
    uint32_t first = group * HOT_GROUP_SLOTS, bits = 0;
    for (uint32_t i = 0; i < HOT_GROUP_SLOTS; i++)
        bits |= (uint32_t)(first + i >= from && first + i < until) << i;
    return (uint16_t)bits;
}

bool hot_owin_erase(struct hot_owin *w, uint32_t from, uint32_t until, struct buf *scratch)
{
    double value[HOT_GROUP_SLOTS];
    for (size_t at = 0; at < w->closed_size;) {
        unsigned group = w->closed[at];
        uint16_t gone = group_bits(group, from, until), present = gone ? entry_decode(w, at, value) : 0;
        if (gone && !(present & ~gone)) {
            entry_remove(w, at);
            continue;
        }
        if (present & gone)
            entry_store(w, at, 2u + w->closed[at + 1], group, (uint16_t)(present & ~gone), value, scratch);
        at += 2u + w->closed[at + 1];
    }
    w->open_present &= (uint16_t)~group_bits(w->open_group, from, until);
    w->version++;
    return !w->closed_size && !w->open_present;
}

void hot_owin_load(const struct hot_owin *w, struct slots *out)
{
    slots_init(out, w->nslots);
    for (size_t at = 0; at < w->closed_size; at += 2u + w->closed[at + 1]) {
        unsigned base = w->closed[at] * HOT_GROUP_SLOTS;
        uint64_t bits = entry_decode(w, at, out->value + base);
        out->present[base / 64] |= bits << (base % 64);
    }
    unsigned base = w->open_group * HOT_GROUP_SLOTS;
    for (unsigned i = 0; i < HOT_GROUP_SLOTS; i++)
        if (w->open_present >> i & 1) {
            out->value[base + i] = w->open[i];
            slot_set(out->present, base + i);
        }
}
