/* Reads of coarse archives, and of several archives as one column. */
#include "base/mem.h"
#include "model/window.h"
#include "reader/plan.h"
#include "reader/reader_impl.h"

#include <assert.h>

static const struct aggregation_rule usual = {"default", AGGREGATION_AVERAGE, 0.5};

/* A column that is filled by slots in time order, finer ones joined. */
struct filling {
    struct column *column;
    enum aggregation method;
    double x_files_factor;
    uint32_t base_step_ms;
    int64_t now_ms;
    struct read_sums *sums; /* NULL: not wanted */
    size_t at;              /* the column's slot that is being joined; its n: none */
    struct rollup_slot slot;
};

/* Of a slot that is not over yet, only the points until now can be there. */
static double points_expected(const struct filling *f, size_t i)
{
    int64_t start = f->column->start_ms + (int64_t)i * f->column->step_ms, end = start + f->column->step_ms;
    int64_t seen = f->now_ms < end ? f->now_ms : end;
    return seen <= start ? 1 : (double)ceil_to(seen - start, f->base_step_ms) / f->base_step_ms;
}

static void finish_slot(struct filling *f)
{
    if (f->at == f->column->n)
        return;
    double count = f->slot.field[ROLLUP_COUNT];
    if (f->sums) {
        f->sums->sum[f->at] = rollup_slot_sum(&f->slot);
        f->sums->count[f->at] = count;
    }
    if (count >= f->x_files_factor * points_expected(f, f->at))
        f->column->values[f->at] =
            rollup_slot_value(&f->slot, f->method, (uint32_t)(f->column->step_ms / f->base_step_ms));
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

/* The archives of a series; ERR_NOT_FOUND if there is no such series. */
static int archives_of(struct reader *r, uint32_t series, struct retention *out, struct err *err)
{
    static const struct retention base_only = {
        .rule = "none", .narchives = 1, .archives = {{STEP_MIN_MS, INT64_MAX / 8}}};
    uint32_t step = catalog_step_ms(r->o.catalog, series);
    if (step == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no series %u", series);
    const struct retention *all = r->o.archives ? r->o.archives(r->o.rules_ctx, series) : NULL;
    retention_of_step(all ? all : &base_only, step, out);
    if (!all)
        out->narchives = 1;
    return OK;
}

static void walk(struct reader *r, struct filling *f, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                 struct read_report *report)
{
    uint32_t series = f->column->series;
    if (step_ms == f->base_step_ms)
        reader_walk_base(r, series, step_ms, from_ms, until_ms, join_slot, f, report);
    else
        reader_walk_rollups(r, series, f->base_step_ms, step_ms, from_ms, until_ms, join_slot, f, report);
}

int reader_fetch_archive(struct reader *r, uint32_t series, uint32_t step_ms, enum aggregation aggregation,
                         int64_t from_ms, int64_t until_ms, size_t max_slots, struct column *column,
                         struct read_report *report, struct err *err)
{
    struct retention archives;
    bool before = report->incomplete, known = false;
    int rc = archives_of(r, series, &archives, err);
    for (size_t i = 0; rc == OK && i < archives.narchives; i++)
        known |= archives.archives[i].step_ms == step_ms;
    if (rc == OK && !known)
        rc = err_set(err, ERR_INVALID, "series %u has no archive with a step of %u ms", series, step_ms);
    if (rc == OK)
        rc = reader_make_column(series, step_ms, from_ms, until_ms, max_slots, column, err);
    if (rc != OK)
        return rc;
    int64_t begun = reader_begin(r, report);
    struct filling f = {.column = column,
                        .method = aggregation,
                        .base_step_ms = archives.archives[0].step_ms,
                        .at = column->n};
    if (column->n)
        walk(r, &f, step_ms, column->start_ms, column->start_ms + (int64_t)column->n * step_ms, report);
    finish_slot(&f);
    reader_count_incomplete(r, before, report);
    reader_end(r, begun, reader_count_points(column));
    return OK;
}

/* How a range is answered. */
struct answer {
    struct retention archives;
    struct plan fine, plan; /* without and with max_step_ms */
    enum aggregation method;
    double x_files_factor;
    bool sums;
};

/* Whether slots put together by the consolidation give what the finest archive's values would give. Where the
 * range is not kept in the base, those values are themselves made by the rule. */
static bool coarse_will_do(const struct answer *a, const struct aggregation_rule *rule,
                           const struct read_range *range)
{
    enum aggregation c = range->consolidation;
    bool composes = c == AGGREGATION_AVERAGE || c == AGGREGATION_SUM || c == AGGREGATION_MIN ||
                    c == AGGREGATION_MAX || c == AGGREGATION_LAST;
    return range->max_step_ms > 0 && composes &&
           (a->fine.step_ms == a->archives.archives[0].step_ms || c == rule->method);
}

static int find_answer(struct reader *r, uint32_t series, const struct read_range *range, struct answer *a,
                       struct err *err)
{
    int rc = archives_of(r, series, &a->archives, err);
    if (rc != OK)
        return rc;
    const struct aggregation_rule *rule = r->o.aggregation ? r->o.aggregation(r->o.rules_ctx, series) : NULL;
    rule = rule ? rule : &usual;
    int64_t now = clamp_time(range->now_ms), from = clamp_time(range->from_ms),
            until = clamp_time(range->until_ms), base = a->archives.archives[0].step_ms;
    plan_make(&a->archives, now, from, until, 0, &a->fine);
    a->plan = a->fine;
    a->method = rule->method;
    a->x_files_factor = rule->x_files_factor;
    a->sums = false;
    if (!coarse_will_do(a, rule, range))
        return OK;
    plan_make(&a->archives, now, from, until, range->max_step_ms, &a->plan);
    a->method = range->consolidation;
    a->x_files_factor = a->fine.step_ms == base ? 0 : rule->x_files_factor;
    a->sums = a->plan.step_ms > base;
    return OK;
}

int64_t reader_planned_step_ms(struct reader *r, uint32_t series, const struct read_range *range)
{
    struct answer a;
    if (find_answer(r, series, range, &a, NULL) != OK)
        return 0;
    return a.plan.step_ms;
}

/* Each span reports its own tiers. */
static uint64_t read_span(struct reader *r, struct filling *f, bool plain, struct read_span *s,
                          struct read_report *report)
{
    struct read_report own = {.incomplete = report->incomplete};
    uint64_t points = 0;
    if (plain)
        points = reader_fill_column(r, f->column, &own);
    else
        walk(r, f, s->step_ms, s->from_ms, s->until_ms, &own);
    s->tiers |= own.tiers;
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
        if (from < until)
            walk(r, f, a->archives.archives[s->archive].step_ms, from, until, &own);
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
    size_t near = (size_t)(8 * window_span_ms(f->base_step_ms) / c->step_ms) + 1;
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

int reader_fetch_planned(struct reader *r, uint32_t series, const struct read_range *range,
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
    uint32_t base_step_ms = a.archives.archives[0].step_ms;
    if (a.sums)
        make_sums(sums, column->n, (uint32_t)(plan->step_ms / base_step_ms));
    struct filling f = {column,
                        a.method,
                        a.x_files_factor,
                        base_step_ms,
                        clamp_time(range->now_ms),
                        a.sums ? sums : NULL,
                        column->n,
                        ROLLUP_SLOT_INIT};
    int64_t begun = reader_begin(r, report);
    bool plain = plan->step_ms == base_step_ms;
    uint64_t points = 0;
    spans->n = plan->n;
    for (size_t i = 0; i < plan->n; i++) {
        const struct plan_span *s = &plan->span[i];
        spans->span[i] =
            (struct read_span){s->from_ms, s->until_ms, a.archives.archives[s->archive].step_ms, 0};
        points += read_span(r, &f, plain, &spans->span[i], report);
    }
    finish_slot(&f);
    if (plan->step_ms > a.fine.step_ms)
        fill_gaps(r, &f, &a, spans, report);
    if (a.sums)
        clear_thinned(column, sums);
    reader_count_incomplete(r, before, report);
    reader_end(r, begun, plain ? points : reader_count_points(column));
    return OK;
}
