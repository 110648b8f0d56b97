/* Coarse archives: made from base windows on their way to warm, and again by a rebuild.
 *
 * Every slot that overlaps a changed base window is made from all base points of its span: those of the batch
 * and those warm has. Then it is laid over the stored coarse window, where it replaces the stored slot, and
 * the window goes into the same batch as the base parts: either both are stored or neither. A window whose
 * bits did not change is not stored again. doc/rollups.md has the reasons.
 *
 * What is read must not change before the batch is put: one thread at a time for a series. The writer holds
 * its flush lock from the merge to the put. */
#ifndef CARAT_WRITER_ROLLUP_H
#define CARAT_WRITER_ROLLUP_H

#include "base/metrics.h"
#include "model/retention.h"
#include "model/rollup.h"
#include "model/tombstones.h"
#include "writer/flush_batch.h"

/* The coarse window of one archive that is being made. */
struct rollup_window {
    bool open;
    int64_t window_ms;
    struct rollup made;
};

/* Owned by whoever holds the flush lock. */
struct rollup_maker {
    struct warm *warm;
    retention_of_fn archives; /* NULL: nothing is made */
    void *archives_ctx;
    struct counter *slots, *parts, *kept; /* may be NULL */
    /* of the series being worked on */
    uint32_t series;
    struct retention retention; /* archive 0 is the base at the series' own step */
    uint64_t lo, hi;            /* of the base parts */
    int64_t whole_from_ms;      /* slots from here on are made from a whole base and always replace */
    bool base_damaged;          /* some of it could not be read */
    struct tombstone erase;     /* what it takes goes even if nothing was made in its place; series 0: none */
    uint64_t left;              /* slots with something of it that stay: their base has expired */
    struct rollup_window *window; /* one an archive */
    int64_t made_until_ms[RETENTION_ARCHIVES];
    struct column base;
    size_t base_cap;
};
void rollup_maker_init(struct rollup_maker *m, struct warm *warm, struct metrics *metrics);
void rollup_maker_release(struct rollup_maker *m);

/* For the base parts in the batch (each one the whole of its window): adds the parts of their coarse
 * archives. */
int rollup_add_parts(struct rollup_maker *m, struct flush_batch *b, struct err *err) must_check;

/* Makes the coarse slots that touch [from_ms, until_ms) of one series from what warm has, and adds the parts
 * that changed. whole_from_ms: since when the base is complete. Where the base is damaged a slot that counts
 * fewer points than the stored one does not replace it, and m->base_damaged is set. */
int rollup_rebuild(struct rollup_maker *m, struct flush_batch *b, uint32_t series, uint32_t base_step_ms,
                   int64_t from_ms, int64_t until_ms, int64_t whole_from_ms, struct err *err) must_check;

/* Makes those again that a deletion touched, within [from_ms, until_ms), a whole number of the coarsest
 * slots. Those it takes are gone if nothing is left in them. *left is increased by the stored slots that may
 * still count dead points: the base they would be made from has expired, and not all of their time is
 * deleted. */
int rollup_erase(struct rollup_maker *m, struct flush_batch *b, const struct tombstone *t,
                 uint32_t base_step_ms, int64_t from_ms, int64_t until_ms, int64_t whole_from_ms,
                 uint64_t *left, struct err *err) must_check;

#endif
