/* Reads of coarse archives, and of several archives as one column. */
#include "base/mem.h"
#include "model/window.h"
#include "reader/plan.h"
#include "reader/reader_impl.h"

static const struct aggregation_rule usual = {"default", AGGREGATION_AVERAGE, 0.5};

/* A column that is filled by slots in time order, finer ones joined. */
struct filling {
    struct column *column;
    const struct layout *layout;
    enum aggregation method;
    double x_files_factor;
    int64_t now_ms;
    struct read_sums *sums; /* NULL: not wanted */
    size_t at;              /* the column's slot that is being joined; its n: none */
    struct rollup_slot slot;
};

/* How many points a slot has if none is missing. Where the own step was changed the coarser of that time's
 * and today's counts: points that were right when they came are not too few now, and one that is sent as
 * seldom as the new step has it was not too seldom before. */
static double points_in(const struct layout *l, int64_t from_ms, int64_t until_ms)
{
    double n = 0;
    for (size_t e = layout_era_at(l, from_ms); e < l->neras && from_ms < until_ms; e++) {
        uint32_t step = l->era[e].step_ms > layout_step_ms(l) ? l->era[e].step_ms : layout_step_ms(l);
        int64_t end = layout_era_until(l, e) < until_ms ? layout_era_until(l, e) : until_ms;
        n += (double)ceil_to(end - from_ms, step) / step;
        from_ms = end;
    }
    return n;
}

/* Of a slot that is not over yet, only the points until now can be there. */
static double points_expected(const struct filling *f, size_t i)
{
    int64_t start = f->column->start_ms + (int64_t)i * f->column->step_ms, end = start + f->column->step_ms;
    int64_t seen = f->now_ms < end ? f->now_ms : end;
    return seen <= start ? 1 : points_in(f->layout, start, seen);
}

static void finish_slot(struct filling *f)
{
    if (f->at == f->column->n)
        return;
    double count = f->slot.field[ROLLUP_COUNT];
    int64_t start = f->column->start_ms + (int64_t)f->at * f->column->step_ms;
    if (f->sums) {
        f->sums->sum[f->at] = rollup_slot_sum(&f->slot);
        f->sums->count[f->at] = count;
    }
    if (count >= f->x_files_factor * points_expected(f, f->at))
        f->column->values[f->at] = rollup_slot_value(
            &f->slot, f->method, (uint32_t)points_in(f->layout, start, start + f->column->step_ms));
    f->at = f->column->n;
}

/* rollup_slot_fn. Of what comes again for a slot that is finished, nothing is taken: see fill_gaps. */
static void join_slot(void *ctx, int64_t ts_ms, const struct rollup_slot *s)
{
    struct filling *f = ctx;
    size_t at = (size_t)((ts_ms - f->column->start_ms) / f->column->step_ms);
    if (at != f->at) {
        if (f->sums && f->sums->count[at] > 0)
            return;
        finish_slot(f);
        f->at = at;
        f->slot = (struct rollup_slot)ROLLUP_SLOT_INIT;
    }
    rollup_slot_join(&f->slot, s);
}

static bool has_step(const struct layout *l, uint32_t step_ms)
{
    return step_ms == layout_step_ms(l) || layout_find(l, step_ms);
}

static int fetch_archive(struct reader *r, uint32_t series, uint32_t step_ms, enum aggregation aggregation,
                         int64_t from_ms, int64_t until_ms, size_t max_slots, struct column *column,
                         struct read_report *report, struct err *err)
{
    struct layout l;
    bool before = report->incomplete;
    int rc = reader_layout(r, series, &l, err);
    if (rc == OK && !has_step(&l, step_ms))
        rc = err_set(err, ERR_INVALID, "series %u has no archive with a step of %u ms", series, step_ms);
    if (rc == OK)
        rc = reader_make_column(series, step_ms, from_ms, until_ms, max_slots, column, err);
    if (rc != OK)
        return rc;
    int64_t begun = reader_begin(r, report);
    struct filling f = {.column = column, .layout = &l, .method = aggregation, .at = column->n};
    if (column->n)
        reader_walk(r, &l, series, step_ms, column->start_ms, column->start_ms + (int64_t)column->n * step_ms,
                    join_slot, &f, report);
    finish_slot(&f);
    reader_count_incomplete(r, before, report);
    reader_end(r, begun, reader_count_points(column));
    return OK;
}

int reader_fetch_archive(struct reader *r, uint32_t series, uint32_t step_ms, enum aggregation aggregation,
                         int64_t from_ms, int64_t until_ms, size_t max_slots, struct column *column,
                         struct read_report *report, struct err *err)
{
    unsigned phase = reader_enter(r);
    int rc =
        fetch_archive(r, series, step_ms, aggregation, from_ms, until_ms, max_slots, column, report, err);
    reader_leave(r, phase);
    return rc;
}

/* How a range is answered. */
struct answer {
    struct layout layout;
    struct plan fine, plan; /* without and with max_step_ms */
    enum aggregation method;
    double x_files_factor;
    bool sums;
};

/* Nothing but points, on their own grid. */
static bool is_plain(const struct layout *l, const struct plan *p)
{
    if (!p->n)
        return p->step_ms == layout_step_ms(l);
    for (size_t i = 0; i < p->n; i++)
        if (p->span[i].archive || p->span[i].step_ms != p->step_ms)
            return false;
    return true;
}

/* Whether slots put together by the consolidation give what the finest archive's values would give. Where the
 * range is not kept in the base, those values are themselves made by the rule. */
static bool coarse_will_do(const struct answer *a, const struct aggregation_rule *rule,
                           const struct read_range *range)
{
    enum aggregation c = range->consolidation;
    bool composes = c == AGGREGATION_AVERAGE || c == AGGREGATION_SUM || c == AGGREGATION_MIN ||
                    c == AGGREGATION_MAX || c == AGGREGATION_LAST;
    return range->max_step_ms > 0 && composes && (is_plain(&a->layout, &a->fine) || c == rule->method);
}

static int find_answer(struct reader *r, uint32_t series, const struct read_range *range, struct answer *a,
                       struct err *err)
{
    int rc = reader_layout(r, series, &a->layout, err);
    if (rc != OK)
        return rc;
    const struct aggregation_rule *rule = r->o.aggregation ? r->o.aggregation(r->o.rules_ctx, series) : NULL;
    rule = rule ? rule : &usual;
    int64_t now = clamp_time(range->now_ms), from = clamp_time(range->from_ms),
            until = clamp_time(range->until_ms);
    plan_layout(&a->layout, now, from, until, 0, &a->fine);
    a->plan = a->fine;
    a->method = rule->method;
    a->x_files_factor = rule->x_files_factor;
    a->sums = false;
    if (!coarse_will_do(a, rule, range))
        return OK;
    plan_layout(&a->layout, now, from, until, range->max_step_ms, &a->plan);
    a->method = range->consolidation;
    a->x_files_factor = is_plain(&a->layout, &a->fine) ? 0 : rule->x_files_factor;
    a->sums = !is_plain(&a->layout, &a->plan);
    return OK;
}

int64_t reader_planned_step_ms(struct reader *r, uint32_t series, const struct read_range *range)
{
    struct answer a;
    unsigned phase = reader_enter(r);
    int rc = find_answer(r, series, range, &a, NULL);
    reader_leave(r, phase);
    return rc == OK ? a.plan.step_ms : 0;
}

/* Since when what the span is read from may be read at all. */
static int64_t kept_from(const struct filling *f, const struct plan_span *s)
{
    const struct layout *l = f->layout;
    int64_t keep = s->archive ? l->archive[s->archive - 1].keep_ms : layout_longest_keep_ms(l);
    for (size_t e = 0; e < l->neras && !s->archive; e++)
        if (l->era[e].step_ms == s->step_ms)
            keep = l->era[e].keep_ms;
    return ceil_to(f->now_ms - keep, s->step_ms);
}

static uint64_t fill_points(struct reader *r, const struct filling *f, const struct plan_span *s,
                            int64_t from_ms, struct read_report *report)
{
    struct column part = *f->column;
    part.start_ms = s->from_ms;
    part.n = (size_t)((s->until_ms - s->from_ms) / s->step_ms);
    part.values += (s->from_ms - f->column->start_ms) / s->step_ms;
    return reader_fill_points(r, f->layout, &part, from_ms, report);
}

/* Points on their own grid are given as they are. Each span reports its own tiers. */
static uint64_t read_span(struct reader *r, struct filling *f, const struct plan_span *s,
                          struct read_span *out, struct read_report *report)
{
    struct read_report own = {.incomplete = report->incomplete};
    int64_t kept = kept_from(f, s), from = s->from_ms > kept ? s->from_ms : kept;
    uint64_t points = 0;
    *out = (struct read_span){s->from_ms, s->until_ms, s->step_ms, 0};
    if (!f->sums && !s->archive && s->step_ms == f->column->step_ms)
        points = fill_points(r, f, s, from, &own);
    else if (from < s->until_ms)
        reader_walk(r, f->layout, f->column->series, s->step_ms, from, s->until_ms, join_slot, f, &own);
    out->tiers = own.tiers;
    report->tiers |= own.tiers;
    if (own.incomplete && !report->incomplete)
        report_add(report, &own.why);
    return points;
}

/* What the finer archives have of [from_ms, until_ms), for slots that are still empty. */
static void read_finer(struct reader *r, struct filling *f, const struct answer *a, int64_t from_ms,
                       int64_t until_ms, struct read_spans *spans, struct read_report *report)
{
    struct read_report own = {.incomplete = report->incomplete};
    for (size_t i = 0; i < a->fine.n; i++) {
        const struct plan_span *s = &a->fine.span[i];
        int64_t from = s->from_ms > from_ms ? s->from_ms : from_ms;
        int64_t until = i + 1 < a->fine.n && s->until_ms < until_ms ? s->until_ms : until_ms;
        int64_t kept = kept_from(f, s);
        from = from > kept ? from : kept;
        if (from < until)
            reader_walk(r, f->layout, f->column->series, s->step_ms, from, until, join_slot, f, &own);
    }
    finish_slot(f);
    for (size_t i = 0; i < spans->n; i++)
        if (spans->span[i].from_ms < until_ms && spans->span[i].until_ms > from_ms)
            spans->span[i].tiers |= own.tiers;
    report->tiers |= own.tiers;
    if (own.incomplete && !report->incomplete)
        report_add(report, &own.why);
}

/* A slot that the coarse archive lacks may be none of nothing: the archive may be younger than the base and
 * not be rebuilt yet. Gaps with less than `near` between them are one read. */
static void fill_gaps(struct reader *r, struct filling *f, const struct answer *a, struct read_spans *spans,
                      struct read_report *report)
{
    const struct column *c = f->column;
    size_t near = (size_t)(8 * window_span_ms(layout_step_ms(f->layout)) / c->step_ms) + 1;
    for (size_t i = 0, end; i < c->n; i = end) {
        end = i + 1;
        if (f->sums->count[i] > 0)
            continue;
        for (size_t k = end; k < c->n && k < end + near; k++)
            if (!(f->sums->count[k] > 0))
                end = k + 1;
        read_finer(r, f, a, c->start_ms + (int64_t)i * c->step_ms, c->start_ms + (int64_t)end * c->step_ms,
                   spans, report);
    }
}

/* What has no value has no points either. */
static void clear_thinned(const struct column *c, struct read_sums *s)
{
    for (size_t i = 0; i < c->n; i++)
        if (column_is_missing(c->values[i]))
            s->sum[i] = s->count[i] = 0;
}

static void make_sums(struct read_sums *s, size_t n, uint32_t points)
{
    s->sum = xcalloc(n ? n : 1, sizeof *s->sum);
    s->count = xcalloc(n ? n : 1, sizeof *s->count);
    s->points = points;
}

/* How many points a slot of the answer has, where the step was changed of the coarser. */
static uint32_t points_per_slot(const struct answer *a)
{
    uint32_t step = layout_step_ms(&a->layout);
    for (size_t e = 0; e + 1 < a->layout.neras; e++)
        if (a->plan.n && layout_era_until(&a->layout, e) > a->plan.span[0].from_ms &&
            a->layout.era[e].step_ms > step)
            step = a->layout.era[e].step_ms;
    return (uint32_t)(a->plan.step_ms / step);
}

static int fetch_planned(struct reader *r, uint32_t series, const struct read_range *range,
                         struct column *column, struct read_spans *spans, struct read_sums *sums,
                         struct read_report *report, struct err *err)
{
    struct answer a;
    bool before = report->incomplete;
    *sums = (struct read_sums){0};
    int rc = find_answer(r, series, range, &a, err);
    if (rc != OK)
        return rc;
    const struct plan *plan = &a.plan;
    int64_t from = clamp_time(range->from_ms), until = from;
    if (plan->n)
        from = plan->span[0].from_ms, until = plan->span[plan->n - 1].until_ms;
    rc =
        reader_make_column_in(range->room, series, plan->step_ms, from, until, range->max_slots, column, err);
    if (rc != OK)
        return rc;
    if (a.sums)
        make_sums(sums, column->n, points_per_slot(&a));
    struct filling f = {column,
                        &a.layout,
                        a.method,
                        a.x_files_factor,
                        clamp_time(range->now_ms),
                        a.sums ? sums : NULL,
                        column->n,
                        ROLLUP_SLOT_INIT};
    int64_t begun = reader_begin(r, report);
    uint64_t points = 0;
    spans->n = plan->n;
    for (size_t i = 0; i < plan->n; i++)
        points += read_span(r, &f, &plan->span[i], &spans->span[i], report);
    finish_slot(&f);
    if (a.sums && plan->step_ms > a.fine.step_ms)
        fill_gaps(r, &f, &a, spans, report);
    if (a.sums)
        clear_thinned(column, sums);
    reader_count_incomplete(r, before, report);
    reader_end(r, begun, is_plain(&a.layout, plan) ? points : reader_count_points(column));
    return OK;
}

int reader_fetch_planned(struct reader *r, uint32_t series, const struct read_range *range,
                         struct column *column, struct read_spans *spans, struct read_sums *sums,
                         struct read_report *report, struct err *err)
{
    unsigned phase = reader_enter(r);
    int rc = fetch_planned(r, series, range, column, spans, sums, report, err);
    reader_leave(r, phase);
    return rc;
}
