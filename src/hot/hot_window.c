#include "hot/hot_window.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "codec/codec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The largest block of 16 slots is the raw one: format, presence and 128 bytes of values. */
#define BLOCK_MAX 255
#define RAW       0x80 /* of an entry's group */

_Static_assert(WINDOW_SLOTS_MAX / HOT_GROUP_SLOTS < RAW, "groups are told from the mark");

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

static unsigned entry_group(const struct hot_owin *w, size_t at)
{
    return w->closed[at] & ~RAW;
}

static bool entry_is_raw(const struct hot_owin *w, size_t at)
{
    return w->closed[at] & RAW;
}

static size_t entry_size(const struct hot_owin *w, size_t at)
{
    return 2u + w->closed[at + 1];
}

/* Offset of the entry of `group`, or of the first entry after it. */
static size_t entry_at(const struct hot_owin *w, unsigned group)
{
    size_t at = 0;
    while (at < w->closed_size && entry_group(w, at) < group)
        at += entry_size(w, at);
    return at;
}

static bool entry_is(const struct hot_owin *w, size_t at, unsigned group)
{
    return at < w->closed_size && entry_group(w, at) == group;
}

static uint16_t entry_decode(const struct hot_owin *w, size_t at, double *value)
{
    uint64_t present = 0;
    const uint8_t *p = w->closed + at + 2;
    if (entry_is_raw(w, at)) {
        memcpy(value, p + 2, w->closed[at + 1] - 2u);
        return get_u16le(p);
    }
    struct err err = ERR_INIT;
    int rc = codec_decode(p, w->closed[at + 1], group_slots(w, entry_group(w, at)), &present, value, &err);
    assert(rc == OK); /* our own memory: anything else is our bug */
    return (uint16_t)present;
}

/* Makes room for an entry with so many bytes in place of `old_size` at `at`. Where they go. */
static uint8_t *entry_room(struct hot_owin *w, size_t at, size_t old_size, uint8_t group, size_t bytes)
{
    assert(bytes <= BLOCK_MAX);
    size_t new_size = 2 + bytes, tail = w->closed_size - at - old_size;
    size_t size = at + new_size + tail;
    assert(size <= UINT16_MAX);
    if (size > w->closed_cap) {
        w->closed_cap = (uint16_t)((size + 31) & ~(size_t)31);
        w->closed = xrealloc(w->closed, w->closed_cap);
    }
    memmove(w->closed + at + new_size, w->closed + at + old_size, tail);
    w->closed[at] = group;
    w->closed[at + 1] = (uint8_t)bytes;
    w->closed_size = (uint16_t)size;
    return w->closed + at + 2;
}

static void entry_store(struct hot_owin *w, size_t at, size_t old_size, unsigned group, uint16_t present,
                        const double *value, struct buf *scratch)
{
    uint64_t bits = present;
    buf_clear(scratch);
    codec_encode(&(struct codec_in){group_slots(w, group), &bits, value}, scratch);
    memcpy(entry_room(w, at, old_size, (uint8_t)group, scratch->len), scratch->data, scratch->len);
}

static void entry_store_raw(struct hot_owin *w, size_t at, size_t old_size, unsigned group, uint16_t present,
                            const double *value)
{
    size_t size = group_slots(w, group) * sizeof *value;
    uint8_t *p = entry_room(w, at, old_size, (uint8_t)(group | RAW), 2 + size);
    put_u16le(p, present);
    memcpy(p + 2, value, size);
}

static void entry_remove(struct hot_owin *w, size_t at)
{
    size_t size = entry_size(w, at);
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

/* A group that late points are filling has most of them still to come: it is raw until it is full. */
static void patch_closed(struct hot_owin *w, unsigned group, unsigned i, double v, struct buf *scratch)
{
    double value[HOT_GROUP_SLOTS] = {0};
    uint16_t present = 0, full = (uint16_t)((1u << group_slots(w, group)) - 1);
    size_t at = entry_at(w, group), old_size = 0;
    if (entry_is(w, at, group)) {
        uint8_t *raw = entry_is_raw(w, at) ? w->closed + at + 2 : NULL;
        if (raw && (get_u16le(raw) | 1u << i) != full) {
            put_u16le(raw, (uint16_t)(get_u16le(raw) | 1u << i));
            memcpy(raw + 2 + i * sizeof v, &v, sizeof v);
            return;
        }
        present = entry_decode(w, at, value);
        old_size = entry_size(w, at);
    }
    value[i] = v;
    present |= (uint16_t)(1u << i);
    if (present == full)
        entry_store(w, at, old_size, group, present, value, scratch);
    else
        entry_store_raw(w, at, old_size, group, present, value);
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
        unsigned group = entry_group(w, at);
        uint16_t gone = group_bits(group, from, until), present = gone ? entry_decode(w, at, value) : 0;
        if (gone && !(present & ~gone)) {
            entry_remove(w, at);
            continue;
        }
        if (present & gone)
            entry_store(w, at, entry_size(w, at), group, (uint16_t)(present & ~gone), value, scratch);
        at += entry_size(w, at);
    }
    w->open_present &= (uint16_t)~group_bits(w->open_group, from, until);
    w->version++;
    return !w->closed_size && !w->open_present;
}

void hot_owin_load(const struct hot_owin *w, struct slots *out)
{
    slots_init(out, w->nslots);
    for (size_t at = 0; at < w->closed_size; at += entry_size(w, at)) {
        unsigned base = entry_group(w, at) * HOT_GROUP_SLOTS;
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
