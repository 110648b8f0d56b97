#include "model/layout.h"

#include "model/window.h"

#include <assert.h>
#include <string.h>

/* A step that would begin later than this is not changed at all. */
#define SWITCH_MAX_MS (400 * 86400000ll)

static bool divide(uint32_t a, uint32_t b)
{
    return a % b == 0 || b % a == 0;
}

static int64_t max_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool fits_eras(const struct layout *l, uint32_t step_ms)
{
    for (size_t i = 0; i < l->neras; i++)
        if (!divide(l->era[i].step_ms, step_ms))
            return false;
    return true;
}

/* --- looking at one --- */

size_t layout_era_at(const struct layout *l, int64_t ts_ms)
{
    size_t i = l->neras - 1;
    while (i > 0 && ts_ms < l->era[i].from_ms)
        i--;
    return i;
}

int64_t layout_era_from(const struct layout *l, size_t era)
{
    return era ? l->era[era].from_ms : LAYOUT_EVER;
}

int64_t layout_era_until(const struct layout *l, size_t era)
{
    return era + 1 < l->neras ? l->era[era + 1].from_ms : LAYOUT_NEVER;
}

const struct layout_archive *layout_find(const struct layout *l, uint32_t step_ms)
{
    for (size_t i = 0; i < l->narchives; i++)
        if (l->archive[i].step_ms == step_ms)
            return &l->archive[i];
    return NULL;
}

uint32_t layout_coarsest_ms(const struct layout *l)
{
    uint32_t step = l->narchives ? l->archive[l->narchives - 1].step_ms : 0;
    for (size_t i = 0; i < l->neras; i++)
        step = l->era[i].step_ms > step ? l->era[i].step_ms : step;
    return step;
}

int64_t layout_longest_keep_ms(const struct layout *l)
{
    int64_t keep = 0;
    for (size_t i = 0; i < l->narchives; i++)
        keep = max_of(keep, l->archive[i].keep_ms);
    for (size_t i = 0; i < l->neras; i++)
        keep = max_of(keep, l->era[i].keep_ms);
    return keep;
}

int64_t layout_era_whole_ms(const struct layout *l, size_t era, int64_t now_ms)
{
    const struct layout_era *e = &l->era[era];
    return e->keep_ms ? max_of(e->since_ms, now_ms - e->keep_ms) : LAYOUT_NEVER;
}

int64_t layout_archive_whole_ms(const struct layout_archive *a, int64_t now_ms)
{
    return max_of(a->since_ms, now_ms - a->keep_ms);
}

/* Since when every time has something that is whole: the archive (NULL: none) in eras finer than it, points
 * in the others. Eras not finer than `goal_ms` do not matter. */
static int64_t whole_with(const struct layout *l, const struct layout_archive *a, uint32_t goal_ms,
                          int64_t now_ms)
{
    for (size_t i = l->neras; i-- > 0;) {
        const struct layout_era *e = &l->era[i];
        if (e->step_ms >= goal_ms)
            continue;
        int64_t whole = a && e->step_ms < a->step_ms ? layout_archive_whole_ms(a, now_ms)
                                                     : layout_era_whole_ms(l, i, now_ms);
        int64_t from = layout_era_from(l, i), until = layout_era_until(l, i);
        if (whole > from)
            return whole < until ? whole : until;
    }
    return LAYOUT_EVER;
}

int64_t layout_base_whole_ms(const struct layout *l, int64_t now_ms)
{
    return whole_with(l, NULL, UINT32_MAX, now_ms);
}

int64_t layout_whole_ms(const struct layout *l, uint32_t step_ms, int64_t now_ms)
{
    return whole_with(l, layout_find(l, step_ms), UINT32_MAX, now_ms);
}

bool layout_is_base(const struct layout *l, uint32_t step_ms, int64_t window_ms)
{
    int64_t until = window_ms + window_span_ms(step_ms);
    for (size_t i = 0; i < l->neras; i++)
        if (l->era[i].step_ms == step_ms && layout_era_from(l, i) < until &&
            layout_era_until(l, i) > window_ms)
            return true;
    return false;
}

/* Windows outlive what may still be written into them (retention_warm_keep_ms). */
static int64_t margin_ms(const struct layout *l, uint32_t step_ms)
{
    return layout_coarsest_ms(l) + window_span_ms(step_ms);
}

static int64_t store_keep_ms(const struct layout_era *e)
{
    return e->keep_ms ? e->keep_ms : LAYOUT_LINGER_MS;
}

/* Of the eras or archives that have this step, the longest keep; -1: none. */
static int64_t keep_of(const struct layout *l, uint32_t step_ms)
{
    const struct layout_archive *a = layout_find(l, step_ms);
    int64_t keep = a ? a->keep_ms : -1;
    for (size_t i = 0; i < l->neras; i++)
        if (l->era[i].step_ms == step_ms)
            keep = max_of(keep, store_keep_ms(&l->era[i]));
    return keep;
}

int64_t layout_store_keep_ms(const struct layout *l, uint32_t step_ms)
{
    int64_t keep = keep_of(l, step_ms);
    return keep < 0 ? 0 : keep + margin_ms(l, step_ms);
}

int64_t layout_drops_until(const struct layout *l, uint32_t step_ms, int64_t now_ms)
{
    int64_t keep = layout_store_keep_ms(l, step_ms);
    return l->neras > 1 || !keep ? LAYOUT_NEVER : now_ms - keep - window_span_ms(step_ms) + 1;
}

bool layout_drops(const struct layout *l, uint32_t step_ms, int64_t window_ms, int64_t now_ms)
{
    int64_t span = window_span_ms(step_ms), keep = -1;
    const struct layout_archive *a = layout_find(l, step_ms);
    for (size_t i = 0; i < l->neras; i++) {
        const struct layout_era *e = &l->era[i];
        if (layout_era_from(l, i) >= window_ms + span || layout_era_until(l, i) <= window_ms)
            continue;
        if (e->step_ms == step_ms)
            keep = max_of(keep, store_keep_ms(e));
        else if (a && e->step_ms < step_ms)
            keep = max_of(keep, a->keep_ms);
    }
    return keep < 0 || window_ms + span <= now_ms - keep - margin_ms(l, step_ms);
}

bool layout_same(const struct layout *a, const struct layout *b)
{
    if (a->neras != b->neras || a->narchives != b->narchives)
        return false;
    for (size_t i = 0; i < a->neras; i++)
        if (a->era[i].step_ms != b->era[i].step_ms || a->era[i].keep_ms != b->era[i].keep_ms)
            return false;
    for (size_t i = 0; i < a->narchives; i++)
        if (a->archive[i].step_ms != b->archive[i].step_ms || a->archive[i].keep_ms != b->archive[i].keep_ms)
            return false;
    return true;
}

bool layout_equal(const struct layout *a, const struct layout *b)
{
    if (a->rule != b->rule || !layout_same(a, b))
        return false;
    for (size_t i = 0; i < a->neras; i++)
        if (a->era[i].from_ms != b->era[i].from_ms || a->era[i].since_ms != b->era[i].since_ms)
            return false;
    for (size_t i = 0; i < a->narchives; i++)
        if (a->archive[i].since_ms != b->archive[i].since_ms)
            return false;
    return true;
}

/* --- making one --- */

void layout_make(const struct retention *r, uint32_t step_ms, struct layout *out)
{
    struct retention own;
    retention_of_step(r, step_ms, &own);
    memset(out, 0, sizeof *out);
    out->rule = r->rule;
    out->neras = 1;
    out->era[0] = (struct layout_era){step_ms, LAYOUT_EVER, own.archives[0].keep_ms, LAYOUT_EVER};
    for (size_t i = 1; i < own.narchives; i++)
        out->archive[out->narchives++] =
            (struct layout_archive){own.archives[i].step_ms, own.archives[i].keep_ms, LAYOUT_EVER};
}

/* Eras of which nothing is kept any more. */
static void forget_eras(struct layout *l, const struct retention *r, int64_t now_ms)
{
    int64_t keep_ms = r->archives[r->narchives - 1].keep_ms;
    size_t gone = 0;
    while (gone + 1 < l->neras && l->era[gone + 1].from_ms <= now_ms - keep_ms)
        gone++;
    l->neras -= gone;
    memmove(l->era, l->era + gone, l->neras * sizeof l->era[0]);
    memset(l->era + l->neras, 0, gone * sizeof l->era[0]);
}

int64_t layout_switch_ms(const struct layout *l, const struct retention *r, int64_t at_ms)
{
    uint32_t own = layout_step_ms(l), wanted = r->archives[0].step_ms;
    if (at_ms >= LAYOUT_NEVER)
        return LAYOUT_NEVER;
    /* The span is a multiple of the step, and that one of the finer step. Nor may two eras overlap. */
    return ceil_to(max_of(at_ms, l->era[l->neras - 1].from_ms), window_span_ms(own > wanted ? own : wanted));
}

const char *layout_why_not(const struct layout *l, const struct retention *r, int64_t decided_ms)
{
    struct layout left = *l;
    if (r->archives[0].step_ms == layout_step_ms(l))
        return NULL;
    forget_eras(&left, r, decided_ms);
    for (size_t i = 0; i < r->narchives; i++)
        if (!fits_eras(&left, r->archives[i].step_ms))
            return "of two steps one must be a multiple of the other";
    if (left.neras == LAYOUT_ERAS)
        return "it was changed too often; wait until the oldest points have expired";
    if (layout_switch_ms(l, r, decided_ms) > decided_ms + SWITCH_MAX_MS)
        return "windows of that step begin too seldom";
    return NULL;
}

/* How long points of this step are kept beside the own step: not at all if that one's roll-ups are coarser.
 */
static int64_t keep_of_era(const struct retention *r, uint32_t own_ms, uint32_t step_ms)
{
    struct retention of;
    if (step_ms < own_ms)
        return 0;
    retention_of_step(r, step_ms, &of);
    return of.archives[0].keep_ms;
}

static void change_eras(const struct layout *l, const struct retention *r, bool to_new_step, int64_t at_ms,
                        struct layout *out)
{
    uint32_t own = to_new_step ? r->archives[0].step_ms : layout_step_ms(l);
    out->neras = l->neras;
    for (size_t i = 0; i < l->neras; i++) {
        struct layout_era *e = &out->era[i];
        *e = l->era[i];
        e->since_ms = layout_era_whole_ms(l, i, at_ms);
        e->keep_ms = keep_of_era(r, own, e->step_ms);
    }
    if (to_new_step)
        out->era[out->neras++] =
            (struct layout_era){own, layout_switch_ms(l, r, at_ms), r->archives[0].keep_ms, LAYOUT_EVER};
}

/* Since when an archive that the layout does not have can be made: from points, or from a finer archive. */
static int64_t made_since(const struct layout *l, uint32_t step_ms, int64_t at_ms)
{
    int64_t best = whole_with(l, NULL, step_ms, at_ms);
    for (size_t i = 0; i < l->narchives && l->archive[i].step_ms < step_ms; i++) {
        int64_t with = step_ms % l->archive[i].step_ms == 0 ? whole_with(l, &l->archive[i], step_ms, at_ms)
                                                            : LAYOUT_NEVER;
        best = with < best ? with : best;
    }
    return best <= LAYOUT_EVER || best >= LAYOUT_NEVER ? best : ceil_to(best, step_ms);
}

static void change_archives(const struct layout *l, const struct retention *r, int64_t at_ms,
                            struct layout *out)
{
    uint32_t finest = UINT32_MAX;
    for (size_t i = 0; i < out->neras; i++)
        finest = out->era[i].step_ms < finest ? out->era[i].step_ms : finest;
    for (size_t i = 0; i < r->narchives; i++) {
        uint32_t step = r->archives[i].step_ms;
        const struct layout_archive *had = layout_find(l, step);
        if (step <= finest || !fits_eras(out, step))
            continue;
        out->archive[out->narchives++] =
            (struct layout_archive){step, r->archives[i].keep_ms,
                                    had ? layout_archive_whole_ms(had, at_ms) : made_since(l, step, at_ms)};
    }
}

void layout_change(const struct layout *l, const struct retention *r, int64_t decided_ms, int64_t at_ms,
                   struct layout *out)
{
    struct retention own;
    struct layout before = *l;
    bool to_new_step = r->archives[0].step_ms != layout_step_ms(l) && !layout_why_not(l, r, decided_ms);
    if (!to_new_step) {
        retention_of_step(r, layout_step_ms(l), &own);
        r = &own;
    }
    memset(out, 0, sizeof *out);
    out->rule = r->rule;
    forget_eras(&before, r, decided_ms);
    change_eras(&before, r, to_new_step, at_ms, out);
    change_archives(&before, r, at_ms, out);
}

/* --- under another rule --- */

static int64_t limit_of(const struct retention *r, uint32_t step_ms)
{
    for (size_t i = 0; i < r->narchives; i++)
        if (r->archives[i].step_ms == step_ms)
            return r->archives[i].keep_ms;
    return r->archives[r->narchives - 1].keep_ms;
}

void layout_clip(const struct layout *l, const struct retention *r, struct layout *out)
{
    *out = *l;
    out->rule = r->rule;
    for (size_t i = 0; i < out->neras; i++) {
        int64_t limit = limit_of(r, out->era[i].step_ms);
        out->era[i].keep_ms = out->era[i].keep_ms < limit ? out->era[i].keep_ms : limit;
    }
    for (size_t i = 0; i < out->narchives; i++) {
        int64_t limit = limit_of(r, out->archive[i].step_ms);
        out->archive[i].keep_ms = out->archive[i].keep_ms < limit ? out->archive[i].keep_ms : limit;
    }
}
