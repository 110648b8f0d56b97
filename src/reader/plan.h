/* Which archive answers which part of a read. Pure arithmetic. */
#ifndef CARAT_READER_PLAN_H
#define CARAT_READER_PLAN_H

#include "model/layout.h"

#include <stddef.h>
#include <stdint.h>

struct plan_span {
    int64_t from_ms, until_ms; /* multiples of the plan's step at both ends of the plan, of the coarser
                                * archive's step between two spans */
    size_t archive;            /* 0: the points themselves, else 1 + its index among the layout's archives */
    uint32_t step_ms;
};
#define PLAN_SPANS (LAYOUT_ERAS * (RETENTION_ARCHIVES + 1))

/* Spans without a gap, oldest first; so coarsest first, but for series whose own step was changed. */
struct plan {
    int64_t step_ms; /* of the one grid they share: that of the coarsest archive among them */
    size_t n;        /* 0: no slot starts in the range */
    struct plan_span span[PLAN_SPANS];
};

/* A plan for the slots that start in [from_ms, until_ms).
 *
 * Each part of the range is read from the finest step that is whole there (the coarsest keeps what is older
 * than all). With max_step_ms > 0 steps finer than needed are left out: the coarsest whose step is at most
 * max_step_ms is the finest that is used. Between eras the coarser span has the slot that lies in both. */
void plan_layout(const struct layout *l, int64_t now_ms, int64_t from_ms, int64_t until_ms,
                 int64_t max_step_ms, struct plan *out);
/* For a series that has been kept by this rule from the beginning. */
void plan_make(const struct retention *r, int64_t now_ms, int64_t from_ms, int64_t until_ms,
               int64_t max_step_ms, struct plan *out);

#endif
