#include "reader/plan.h"

#include "model/window.h"

/* What an era can be read from. */
struct source {
    size_t archive; /* as in plan_span */
    uint32_t step_ms;
    int64_t whole_ms;
};

/* Finest first. */
static size_t sources_of(const struct layout *l, size_t era, int64_t now_ms, struct source *out)
{
    size_t n = 0;
    out[n++] = (struct source){0, l->era[era].step_ms, layout_era_whole_ms(l, era, now_ms)};
    for (size_t i = 0; i < l->narchives; i++)
        if (l->archive[i].step_ms > l->era[era].step_ms)
            out[n++] = (struct source){i + 1, l->archive[i].step_ms,
                                       layout_archive_whole_ms(&l->archive[i], now_ms)};
    return n;
}

/* The finest source worth reading. */
static size_t finest_for(const struct source *s, size_t n, int64_t max_step_ms)
{
    size_t finest = 0;
    for (size_t i = 1; i < n; i++)
        if (max_step_ms >= s[i].step_ms)
            finest = i;
    return finest;
}

/* The spans of one era. From a border on a source is read instead of the next coarser one: on a slot of that
 * one, so that no slot is made of both. */
static void cut_era(const struct source *s, size_t n, size_t finest, int64_t from_ms, int64_t until_ms,
                    struct plan *p)
{
    for (size_t i = n; i-- > finest && from_ms < until_ms;) {
        int64_t end = i > finest ? ceil_to(s[i - 1].whole_ms, s[i].step_ms) : until_ms;
        end = end < until_ms ? end : until_ms;
        if (end <= from_ms)
            continue;
        p->span[p->n++] = (struct plan_span){from_ms, end, s[i].archive, s[i].step_ms};
        from_ms = end;
    }
}

static void cut_spans(const struct layout *l, int64_t now_ms, int64_t from_ms, int64_t until_ms,
                      int64_t max_step_ms, struct plan *p)
{
    p->n = 0;
    for (size_t e = 0; e < l->neras; e++) {
        struct source s[RETENTION_ARCHIVES + 1];
        size_t n = sources_of(l, e, now_ms, s), finest = finest_for(s, n, max_step_ms);
        int64_t from = layout_era_from(l, e), until = layout_era_until(l, e);
        cut_era(s, n, finest, from > from_ms ? from : from_ms, until < until_ms ? until : until_ms, p);
    }
}

static uint32_t coarsest_of(const struct plan *p)
{
    uint32_t step = 0;
    for (size_t i = 0; i < p->n; i++)
        step = p->span[i].step_ms > step ? p->span[i].step_ms : step;
    return step;
}

/* Where eras meet, a slot may lie in both: the coarser span takes it whole. One step may go on over the
 * border. */
static void add_span(struct plan *p, size_t *n, struct plan_span b)
{
    while (*n) {
        struct plan_span *a = &p->span[*n - 1];
        int64_t at = a->step_ms > b.step_ms ? ceil_to(b.from_ms, a->step_ms) : floor_to(b.from_ms, b.step_ms);
        if (at > a->from_ms) {
            a->until_ms = b.from_ms = at < b.until_ms ? at : b.until_ms;
            break;
        }
        b.from_ms = a->from_ms;
        --*n;
    }
    if (*n && p->span[*n - 1].step_ms == b.step_ms && p->span[*n - 1].archive == b.archive)
        p->span[*n - 1].until_ms = b.until_ms;
    else if (b.from_ms < b.until_ms)
        p->span[(*n)++] = b;
}

static void settle_borders(struct plan *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        add_span(p, &n, p->span[i]);
    p->n = n;
}

void plan_layout(const struct layout *l, int64_t now_ms, int64_t from_ms, int64_t until_ms,
                 int64_t max_step_ms, struct plan *p)
{
    struct source s[RETENTION_ARCHIVES + 1];
    size_t n = sources_of(l, l->neras - 1, now_ms, s);
    p->step_ms = s[finest_for(s, n, max_step_ms)].step_ms;
    for (;;) {
        cut_spans(l, now_ms, from_ms, until_ms, max_step_ms, p);
        settle_borders(p);
        if (!p->n)
            return;
        p->step_ms = coarsest_of(p);
        int64_t from = ceil_to(from_ms, p->step_ms);
        if (from == from_ms)
            break;
        from_ms = from; /* the first span may be gone with it, and its step */
    }
    struct plan_span *last = &p->span[p->n - 1];
    last->until_ms = ceil_to(last->until_ms, p->step_ms);
}

void plan_make(const struct retention *r, int64_t now_ms, int64_t from_ms, int64_t until_ms,
               int64_t max_step_ms, struct plan *p)
{
    struct layout l;
    layout_make(r, r->archives[0].step_ms, &l);
    plan_layout(&l, now_ms, from_ms, until_ms, max_step_ms, p);
}
