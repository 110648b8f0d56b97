#include "model/layout_diff.h"

#include <assert.h>

const char *layout_diff_name(enum layout_diff_kind k)
{
    static const char *const names[LAYOUT_DIFF_KINDS] = {"added",  "dropped", "shorter",
                                                         "longer", "step",    "rolledUp"};
    return names[k];
}

struct diffs {
    struct layout_diff *v;
    size_t n;
};

static void add(struct diffs *d, struct layout_diff one)
{
    assert(d->n < LAYOUT_DIFFS_MAX);
    d->v[d->n++] = one;
}

static void add_keep(struct diffs *d, uint32_t step_ms, bool points, int64_t was_ms, int64_t keep_ms)
{
    if (was_ms != keep_ms)
        add(d, (struct layout_diff){.kind = keep_ms < was_ms ? LAYOUT_SHORTER : LAYOUT_LONGER,
                                    .step_ms = step_ms,
                                    .points = points,
                                    .was_ms = was_ms,
                                    .keep_ms = keep_ms});
}

/* The era of the same step that began at the same time; NULL: it is new, or forgotten. */
static const struct layout_era *same_era(const struct layout *l, const struct layout_era *e)
{
    for (size_t i = 0; i < l->neras; i++)
        if (l->era[i].step_ms == e->step_ms && l->era[i].from_ms == e->from_ms)
            return &l->era[i];
    return NULL;
}

static void compare_eras(const struct layout *now, const struct layout *then, struct diffs *d)
{
    const struct layout_era *last = &then->era[then->neras - 1];
    if (!same_era(now, last))
        add(d, (struct layout_diff){.kind = LAYOUT_STEP,
                                    .step_ms = last->step_ms,
                                    .points = true,
                                    .was_ms = layout_step_ms(now),
                                    .keep_ms = last->keep_ms,
                                    .since_ms = last->from_ms});
    for (size_t i = 0; i < now->neras; i++) {
        const struct layout_era *was = &now->era[i], *is = same_era(then, was);
        if (is && was->keep_ms && !is->keep_ms)
            add(d,
                (struct layout_diff){
                    .kind = LAYOUT_ROLLED, .step_ms = is->step_ms, .points = true, .was_ms = was->keep_ms});
        else if (is)
            add_keep(d, is->step_ms, true, was->keep_ms, is->keep_ms);
    }
}

/* Else there is nothing to make it from yet: it comes with the new step. */
static bool has_finer(const struct layout *l, uint32_t step_ms)
{
    for (size_t i = 0; i < l->neras; i++)
        if (l->era[i].step_ms < step_ms)
            return true;
    return false;
}

static void compare_archives(const struct layout *now, const struct layout *then, struct diffs *d)
{
    for (size_t i = 0; i < then->narchives; i++) {
        const struct layout_archive *is = &then->archive[i], *was = layout_find(now, is->step_ms);
        if (was)
            add_keep(d, is->step_ms, false, was->keep_ms, is->keep_ms);
        else if (has_finer(now, is->step_ms))
            add(d, (struct layout_diff){.kind = LAYOUT_ADDED,
                                        .step_ms = is->step_ms,
                                        .keep_ms = is->keep_ms,
                                        .since_ms = is->since_ms});
    }
    for (size_t i = 0; i < now->narchives; i++)
        if (!layout_find(then, now->archive[i].step_ms))
            add(d, (struct layout_diff){.kind = LAYOUT_DROPPED,
                                        .step_ms = now->archive[i].step_ms,
                                        .was_ms = now->archive[i].keep_ms});
}

size_t layout_diff(const struct layout *now, const struct layout *then,
                   struct layout_diff out[LAYOUT_DIFFS_MAX])
{
    struct diffs d = {out, 0};
    compare_eras(now, then, &d);
    compare_archives(now, then, &d);
    return d.n;
}
