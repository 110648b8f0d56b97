/* Reads of coarse archives, and of several archives as one column. */
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
    size_t at; /* the column's slot that is being joined; its n: none */
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
    if (count >= f->x_files_factor * points_expected(f, f->at))
        f->column->values[f->at] =
            rollup_slot_value(&f->slot, f->method, (uint32_t)(f->column->step_ms / f->base_step_ms));
    f->at = f->column->n;
}

/* rollup_slot_fn */
static void join_slot(void *ctx, int64_t ts_ms, const struct rollup_slot *s)
{
    struct filling *f = ctx;
    size_t at = (size_t)((ts_ms - f->column->start_ms) / f->column->step_ms);
    if (at != f->at) {
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
    reader_end(r, begun, column);
    return OK;
}

/* Each span reports its own tiers. */
static void read_span(struct reader *r, struct filling *f, bool plain, struct read_span *s,
                      struct read_report *report)
{
    struct read_report own = {.incomplete = report->incomplete};
    if (plain)
        reader_fill_column(r, f->column, &own);
    else
        walk(r, f, s->step_ms, s->from_ms, s->until_ms, &own);
    s->tiers = own.tiers;
    report->tiers |= own.tiers;
    if (own.incomplete && !report->incomplete)
        report_add(report, &own.why);
}

int64_t reader_planned_step_ms(struct reader *r, uint32_t series, const struct read_range *range)
{
    struct retention archives;
    struct plan plan;
    if (archives_of(r, series, &archives, NULL) != OK)
        return 0;
    plan_make(&archives, clamp_time(range->now_ms), clamp_time(range->from_ms), clamp_time(range->until_ms),
              range->max_points, &plan);
    return plan.step_ms ? plan.step_ms : archives.archives[0].step_ms;
}

int reader_fetch_planned(struct reader *r, uint32_t series, const struct read_range *range,
                         struct column *column, struct read_spans *spans, struct read_report *report,
                         struct err *err)
{
    struct retention archives;
    struct plan plan;
    bool before = report->incomplete;
    int rc = archives_of(r, series, &archives, err);
    if (rc != OK)
        return rc;
    int64_t now = clamp_time(range->now_ms), from = clamp_time(range->from_ms),
            until = clamp_time(range->until_ms);
    plan_make(&archives, now, from, until, range->max_points, &plan);
    if (plan.n)
        from = plan.span[0].from_ms, until = plan.span[plan.n - 1].until_ms;
    rc = reader_make_column(series, plan.step_ms, from, plan.n ? until : from, range->max_slots, column, err);
    if (rc != OK)
        return rc;
    const struct aggregation_rule *rule = r->o.aggregation ? r->o.aggregation(r->o.rules_ctx, series) : NULL;
    rule = rule ? rule : &usual;
    struct filling f = {column, rule->method, rule->x_files_factor, archives.archives[0].step_ms,
                        now,    column->n,    ROLLUP_SLOT_INIT};
    int64_t begun = reader_begin(r, report);
    spans->n = plan.n;
    for (size_t i = 0; i < plan.n; i++) {
        const struct plan_span *s = &plan.span[i];
        spans->span[i] =
            (struct read_span){s->from_ms, s->until_ms, archives.archives[s->archive].step_ms, 0};
        read_span(r, &f, plan.step_ms == f.base_step_ms, &spans->span[i], report);
    }
    finish_slot(&f);
    reader_count_incomplete(r, before, report);
    reader_end(r, begun, column);
    return OK;
}
