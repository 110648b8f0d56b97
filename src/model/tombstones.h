/* Tombstones: the ranges of series whose points were deleted, as long as something may still hold them.
 *
 * A tombstone of position P says: slots of the series that start in [from_ms, until_ms) are dead in every
 * part whose hi is below P. Parts with a larger hi were made by somebody who knew the tombstone, and hold no
 * dead slot (doc/deletion.md has the proof). So masking parts by this set makes them what they would be had
 * the dead points never come, and a masked part may be merged with others by the rule of model/part.h.
 *
 * Whole series that were deleted are not here: their ids have ended (catalog.h).
 *
 * One swept: no tier holds anything dead of it any more; it stays for what the stream still has from before
 * it. Any thread; everything is cheap, and for a series without tombstones takes no more than a look at a
 * hash table. */
#ifndef CARAT_MODEL_TOMBSTONES_H
#define CARAT_MODEL_TOMBSTONES_H

#include "model/part.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tombstone {
    uint32_t series;
    bool swept;
    int64_t from_ms, until_ms;
    uint64_t pos;
};

/* Whether the stored value of a coarse slot is not to be kept because of this tombstone: it holds something
 * of its range and can be made again from the base (not older than whole_from_ms, since when the base is
 * whole), or it lies in the range wholly. */
static inline bool tombstone_takes(const struct tombstone *v, int64_t whole_from_ms, int64_t slot_ms,
                                   int64_t step_ms)
{
    if (slot_ms >= v->until_ms || slot_ms + step_ms <= v->from_ms)
        return false;
    return slot_ms >= whole_from_ms || (v->from_ms <= slot_ms && v->until_ms >= slot_ms + step_ms);
}

struct tombstones;

struct tombstones *tombstones_new(void);
void tombstones_free(struct tombstones *t);

/* Adds those that are not there yet; what an added one covers (an older one whose range lies in its own)
 * goes. Published when it returns. */
void tombstones_add(struct tombstones *t, const struct tombstone *v, size_t n);
/* No tier holds anything of these any more. One that has gone meanwhile is left out. */
void tombstones_set_swept(struct tombstones *t, const struct tombstone *v, size_t n);
/* Nothing anywhere is older than these. False, and nothing happens, while somebody has it pinned. */
bool tombstones_remove(struct tombstones *t, const struct tombstone *v, size_t n);
/* All of a series: it has ended. */
void tombstones_drop_series(struct tombstones *t, uint32_t series);

/* Between the two none is removed: for who reads what is older than they are now and stores it later. */
void tombstones_pin(struct tombstones *t);
void tombstones_unpin(struct tombstones *t);

size_t tombstones_count(struct tombstones *t);
size_t tombstones_count_unswept(struct tombstones *t);
/* Larger than any point's position that could be dead; 0: there are none. */
uint64_t tombstones_newest_pos(struct tombstones *t);
/* A copy of all, by (series, pos), or of one series' (series 0: all); malloc'ed, NULL if there are none. */
struct tombstone *tombstones_list(struct tombstones *t, uint32_t series, size_t *n);

/* Changes whenever those of the series do; 0: there are none. What was read between two equal answers was
 * masked by the same tombstones. */
uint64_t tombstones_stamp(struct tombstones *t, uint32_t series);

/* Whether a point that was applied at `pos` to this slot is dead. */
bool tombstones_hit(struct tombstones *t, uint32_t series, int64_t slot_ms, uint64_t pos);
/* Whether a part may have dead slots. */
bool tombstones_touch(struct tombstones *t, const struct part_key *key);
/* Takes the dead slots out of a part's; how many there were. */
uint32_t tombstones_mask(struct tombstones *t, const struct part_key *key, struct slots *s);

/* For the store: what changed, in order. tombstones_changes copies what there is (malloc'ed, NULL: nothing);
 * tombstones_changes_kept says that the first n are kept now. One caller at a time. */
struct tombstone_change {
    struct tombstone tombstone;
    bool gone;
};
struct tombstone_change *tombstones_changes(struct tombstones *t, size_t *n);
void tombstones_changes_kept(struct tombstones *t, size_t n);
/* From the store at the start: no change. */
void tombstones_load(struct tombstones *t, const struct tombstone *v);

#endif
