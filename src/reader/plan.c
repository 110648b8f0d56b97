#include "reader/plan.h"

#include "model/window.h"

/* The finest archive worth reading. */
static size_t finest_for(const struct retention *r, int64_t max_step_ms)
{
    size_t finest = 0;
    for (size_t i = 1; i < r->narchives; i++)
        if (max_step_ms >= r->archives[i].step_ms)
            finest = i;
    return finest;
}

/* From here on an archive is read instead of the next coarser one: on a slot of that one, so that no slot is
 * made of both. */
static int64_t border(const struct retention *r, size_t archive, int64_t now_ms)
{
    return ceil_to(now_ms - r->archives[archive].keep_ms, r->archives[archive + 1].step_ms);
}

static void cut_spans(const struct retention *r, int64_t now_ms, int64_t from_ms, int64_t until_ms,
                      size_t finest, struct plan *p)
{
    p->n = 0;
    for (size_t i = r->narchives; i-- > finest && from_ms < until_ms;) {
        int64_t end = i > finest ? border(r, i - 1, now_ms) : until_ms;
        end = end < until_ms ? end : until_ms;
        if (end <= from_ms)
            continue;
        p->span[p->n++] = (struct plan_span){from_ms, end, i};
        from_ms = end;
    }
}

void plan_make(const struct retention *r, int64_t now_ms, int64_t from_ms, int64_t until_ms,
               int64_t max_step_ms, struct plan *p)
{
    size_t finest = finest_for(r, max_step_ms);
    p->step_ms = r->archives[finest].step_ms;
    for (;;) {
        cut_spans(r, now_ms, from_ms, until_ms, finest, p);
        if (!p->n)
            return;
        p->step_ms = r->archives[p->span[0].archive].step_ms;
        int64_t from = ceil_to(from_ms, p->step_ms);
        if (from == from_ms)
            break;
        from_ms = from; /* the first span may be gone with it, and its step */
    }
    struct plan_span *last = &p->span[p->n - 1];
    last->until_ms = ceil_to(last->until_ms, p->step_ms);
}
