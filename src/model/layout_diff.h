/* What a change of a layout means, in words a person asks for: pure, for `carat retention check`. */
#ifndef CARAT_MODEL_LAYOUT_DIFF_H
#define CARAT_MODEL_LAYOUT_DIFF_H

#include "model/layout.h"

enum layout_diff_kind {
    LAYOUT_ADDED,   /* roll-ups of this step will be made, from since_ms on */
    LAYOUT_DROPPED, /* its roll-ups go */
    LAYOUT_SHORTER, /* kept for keep_ms and no longer was_ms: what is older goes */
    LAYOUT_LONGER,  /* kept for keep_ms from now on; what is older than was_ms is gone already */
    LAYOUT_STEP,    /* new points get this step from since_ms on; was_ms: the step until then */
    LAYOUT_ROLLED,  /* points of this step go: roll-ups to the new, coarser step take their place */
    LAYOUT_DIFF_KINDS
};
const char *layout_diff_name(enum layout_diff_kind k);

struct layout_diff {
    enum layout_diff_kind kind;
    uint32_t step_ms;
    bool points; /* the series' own points, not an archive */
    int64_t was_ms, keep_ms, since_ms;
};
#define LAYOUT_DIFFS_MAX (2 * (LAYOUT_ERAS + RETENTION_ARCHIVES) + 1)

/* From `now` to `then`, by kind and step; how many. */
size_t layout_diff(const struct layout *now, const struct layout *then,
                   struct layout_diff out[LAYOUT_DIFFS_MAX]);

#endif
