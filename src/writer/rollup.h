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
#include "model/layout.h"
#include "model/rollup.h"
#include "model/tombstones.h"
#include "writer/flush_batch.h"

/* An archive that is being made, and the window of it that is open. */
struct rollup_archive {
    uint32_t step_ms;
    int64_t made_until_ms;
    bool open;
    int64_t window_ms;
    struct rollup made;
};

/* The points of one era, for the slots being made. */
struct rollup_base {
    struct column column;
    size_t cap;
    int64_t whole_from_ms; /* slots from here on are made from all their points and always replace */
};

/* Owned by whoever holds the flush lock. */
struct rollup_maker {
    struct warm *warm;
    /* What is kept of a series; `layouts` goes before `archives`. Both NULL: nothing is made. While a change
     * of the layout is being built the archives of both are made. */
    retention_of_fn archives;
    layout_of_fn layouts;
    void *archives_ctx;
    int64_t now_ms; /* from which a rebuild counts back what is kept; 0: whole_from_ms says it alone */
    struct counter *slots, *parts, *kept; /* may be NULL */
    /* of the series being worked on */
    uint32_t series;
    struct layout layout;
    struct rollup_archive *archive; /* ROLLUP_ARCHIVES of them, finest first */
    size_t narchives;
    struct rollup_base base[LAYOUT_ERAS];
    uint64_t lo, hi;        /* of the parts it is made from */
    bool laid;              /* some were there */
    bool base_damaged;      /* some could not be read */
    struct tombstone erase; /* what it takes goes even if nothing was made in its place; series 0: none */
    uint64_t left;          /* slots with something of it that stay: their base has expired */
};
#define ROLLUP_ARCHIVES (2 * RETENTION_ARCHIVES)
void rollup_maker_init(struct rollup_maker *m, struct warm *warm, struct metrics *metrics);
void rollup_maker_release(struct rollup_maker *m);

/* For the base parts in the batch (each one the whole of its window): adds the parts of their coarse
 * archives. */
int rollup_add_parts(struct rollup_maker *m, struct flush_batch *b, struct err *err) must_check;

/* Makes the coarse slots that touch [from_ms, until_ms) of one series from what warm has, and adds the parts
 * that changed. whole_from_ms: since when the points are complete (the layout may say later); older ones are
 * left. Where they are damaged a slot that counts fewer of them than the stored one does not replace it, and
 * m->base_damaged is set. base_step_ms counts only without layouts. */
int rollup_rebuild(struct rollup_maker *m, struct flush_batch *b, uint32_t series, uint32_t base_step_ms,
                   int64_t from_ms, int64_t until_ms, int64_t whole_from_ms, struct err *err) must_check;

/* Makes those again that a deletion touched, within [from_ms, until_ms), a whole number of the coarsest
 * slots. Those it takes are gone if nothing is left in them. *left is increased by the stored slots that may
 * still count dead points: the base they would be made from has expired, and not all of their time is
 * deleted. */
int rollup_erase(struct rollup_maker *m, struct flush_batch *b, const struct tombstone *t,
                 uint32_t base_step_ms, int64_t from_ms, int64_t until_ms, int64_t whole_from_ms,
                 uint64_t *left, struct err *err) must_check;

/* Makes the slots of one archive in [from_ms, until_ms) from a finer archive, where the points are gone; both
 * times on its grid. Only slots that have nothing better are changed. */
int rollup_join(struct rollup_maker *m, struct flush_batch *b, uint32_t series, uint32_t finer_ms,
                uint32_t step_ms, int64_t from_ms, int64_t until_ms, struct err *err) must_check;

#endif
