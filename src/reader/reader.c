#include "reader/reader.h"

#include "base/clock.h"
#include "base/mem.h"
#include "reader/overlay.h"
#include "reader/reader_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <time.h>

struct reader *reader_new(const struct reader_options *o)
{
    assert(o->catalog && o->hot);
    struct reader *r = xcalloc(1, sizeof *r);
    r->o = *o;
    r->tombstones = catalog_tombstones(o->catalog);
    struct metrics *m = o->metrics;
    if (!m)
        return r;
    r->fetch_seconds = metrics_histogram(m, "carat_reader_fetch_seconds", NULL,
                                         "Time of reading one series from all tiers.");
    r->series = metrics_counter(m, "carat_reader_series_total", NULL, "Series read.");
    r->points = metrics_counter(m, "carat_reader_points_total", NULL, "Points read.");
    r->incomplete = metrics_counter(m, "carat_reader_incomplete_total", NULL,
                                    "Reads of a series that could not reach everything.");
    return r;
}

void reader_free(struct reader *r)
{
    free(r);
}

void report_add(struct read_report *report, const struct err *why)
{
    if (!report->incomplete)
        report->why = *why;
    report->incomplete = true;
}

/* Before anything is read: what becomes complete meanwhile does not make this read complete. */
void reader_note_catching_up(struct reader *r, struct read_report *report)
{
    struct err why = ERR_INIT;
    if (r->o.complete && r->o.complete(r->o.complete_ctx, &why) < 0)
        report_add(report, &why);
}

void reader_count_incomplete(struct reader *r, bool before, const struct read_report *report)
{
    if (r->incomplete && report->incomplete && !before)
        counter_add(r->incomplete, 1);
}

const char *read_tier_name(unsigned tier)
{
    return tier == READ_HOT ? "hot" : tier == READ_WARM ? "warm" : "cold";
}

void reader_clear_column(struct column *c)
{
    for (size_t i = 0; i < c->n; i++)
        c->values[i] = column_missing();
}

int reader_make_column(uint32_t series, int64_t step_ms, int64_t from_ms, int64_t until_ms, size_t max_slots,
                       struct column *c, struct err *err)
{
    return reader_make_column_in(NULL, series, step_ms, from_ms, until_ms, max_slots, c, err);
}

int reader_make_column_in(double *values, uint32_t series, int64_t step_ms, int64_t from_ms, int64_t until_ms,
                          size_t max_slots, struct column *c, struct err *err)
{
    *c = (struct column){.series = series, .step_ms = step_ms, .values = values};
    c->start_ms = ceil_to(clamp_time(from_ms), step_ms);
    int64_t end = ceil_to(clamp_time(until_ms), step_ms);
    if (end <= c->start_ms)
        return OK;
    uint64_t n = (uint64_t)((end - c->start_ms) / step_ms);
    if (n > max_slots)
        return err_set(err, ERR_LIMIT,
                       "a series of %llu points was asked for, the limit is %zu; ask for less time",
                       (unsigned long long)n, max_slots);
    c->n = (size_t)n;
    if (!values)
        c->values = xmalloc(c->n * sizeof *c->values);
    reader_clear_column(c);
    return OK;
}

void reader_read_warm(struct reader *r, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                      warm_part_fn fn, void *ctx, struct read_report *report)
{
    struct err why = ERR_INIT;
    unsigned from = 0;
    if (r->o.warm && warm_read_told(r->o.warm, series, step_ms, window_start(from_ms, step_ms), until_ms, fn,
                                    ctx, &from, &why) < 0)
        report_add(report, &why);
    report->tiers |= (from & WARM_FROM_WARM ? READ_WARM : 0) | (from & WARM_FROM_COLD ? READ_COLD : 0);
}

static int lay_part(void *ctx, const struct part *p)
{
    overlay_part(ctx, p);
    return 0;
}

uint64_t reader_stamp(struct reader *r, uint32_t series)
{
    return tombstones_stamp(r->tombstones, series);
}

void reader_tell_torn(struct read_report *report)
{
    struct err why = ERR_INIT;
    err_set(&why, ERR_BUSY, "points of the series are being deleted; ask again");
    report_add(report, &why);
}

/* Between the moment a deletion counts and that in which hot has dropped its slots, they are still there. */
void reader_read_hot(struct reader *r, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                     struct hot_copies *out, struct read_report *report)
{
    struct err why = ERR_INIT;
    if (hot_read(r->o.hot, series, step_ms, from_ms, until_ms, hot_copies_add, out, &why) < 0)
        report_add(report, &why);
    for (size_t i = 0; i < out->n; i++) {
        struct part_key key = {series, step_ms, out->v[i].window_ms, out->v[i].hi};
        tombstones_mask(r->tombstones, &key, &out->v[i].slots);
    }
    hot_copies_sort(out);
}

static uint64_t fill_once(struct reader *r, struct column *c, struct read_report *report)
{
    struct hot_copies hot = {0};
    int64_t end = c->start_ms + (int64_t)c->n * c->step_ms;
    uint32_t step = (uint32_t)c->step_ms;
    reader_read_hot(r, c->series, step, c->start_ms, end, &hot, report);
    report->tiers |= hot.n ? READ_HOT : 0;
    struct overlay overlay;
    overlay_init(&overlay, c, &hot);
    reader_read_warm(r, c->series, step, c->start_ms, end, lay_part, &overlay, report);
    overlay_finish(&overlay);
    if (overlay.damage.code)
        report_add(report, &overlay.damage);
    hot_copies_release(&hot);
    return overlay.points;
}

uint64_t reader_fill_column(struct reader *r, struct column *c, struct read_report *report)
{
    for (unsigned tries = 0; tries < READER_TRIES; tries++) {
        uint64_t stamp = reader_stamp(r, c->series);
        uint64_t points = fill_once(r, c, report);
        if (reader_stamp(r, c->series) == stamp)
            return points;
        reader_clear_column(c);
    }
    reader_tell_torn(report);
    return 0;
}

uint64_t reader_count_points(const struct column *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += !column_is_missing(c->values[i]);
    return n;
}

int64_t reader_begin(struct reader *r, struct read_report *report)
{
    reader_note_catching_up(r, report);
    return r->o.metrics ? clock_mono_us(clock_system()) : 0;
}

void reader_end(struct reader *r, int64_t begun_us, uint64_t points)
{
    if (!r->o.metrics)
        return;
    histogram_observe_us(r->fetch_seconds, (uint64_t)(clock_mono_us(clock_system()) - begun_us));
    counter_add(r->series, 1);
    counter_add(r->points, points);
}

unsigned reader_enter(struct reader *r)
{
    unsigned phase = atomic_load(&r->phase) & 1;
    atomic_fetch_add(&r->active[phase], 1);
    return phase;
}

void reader_leave(struct reader *r, unsigned phase)
{
    atomic_fetch_sub(&r->active[phase], 1);
}

/* Twice: a read may have looked at the phase before it changed and be counted only after that. */
void reader_quiesce(struct reader *r)
{
    for (int i = 0; i < 2; i++) {
        unsigned before = atomic_fetch_add(&r->phase, 1) & 1;
        while (atomic_load(&r->active[before]))
            nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

int reader_layout(struct reader *r, uint32_t series, struct layout *out, struct err *err)
{
    static const struct retention base_only = {
        .rule = "none", .narchives = 1, .archives = {{STEP_MIN_MS, INT64_MAX / 8}}};
    const struct layout *now = NULL;
    uint32_t step = catalog_step_ms(r->o.catalog, series);
    if (step && r->o.layouts && r->o.layouts(r->o.rules_ctx, series, &now, NULL)) {
        *out = *now;
        return OK;
    }
    if (step == 0 || r->o.layouts)
        return err_set(err, ERR_NOT_FOUND, "there is no series %u", series);
    const struct retention *all = r->o.archives ? r->o.archives(r->o.rules_ctx, series) : NULL;
    layout_make(all ? all : &base_only, step, out);
    if (!all)
        out->narchives = 0;
    return OK;
}

uint64_t reader_fill_points(struct reader *r, const struct layout *l, struct column *c, int64_t from_ms,
                            struct read_report *report)
{
    uint64_t points = 0;
    int64_t end = c->start_ms + (int64_t)c->n * c->step_ms;
    for (size_t e = 0; e < l->neras; e++) {
        int64_t from = layout_era_from(l, e), until = layout_era_until(l, e);
        from = from > from_ms ? from : from_ms;
        from = from > c->start_ms ? ceil_to(from, c->step_ms) : c->start_ms;
        until = until < end ? until : end;
        if (l->era[e].step_ms != c->step_ms || from >= until)
            continue;
        struct column part = *c;
        part.start_ms = from;
        part.n = (size_t)((until - from) / c->step_ms);
        part.values += (from - c->start_ms) / c->step_ms;
        points += reader_fill_column(r, &part, report);
    }
    return points;
}

static int fetch_points(struct reader *r, uint32_t series, uint32_t step_ms, int64_t from_ms,
                        int64_t until_ms, size_t max_slots, struct column *column, struct read_report *report,
                        struct err *err)
{
    struct layout l;
    int rc = reader_layout(r, series, &l, err);
    bool before = report->incomplete, had = step_ms == 0;
    for (size_t i = 0; rc == OK && i < l.neras; i++)
        had |= l.era[i].step_ms == step_ms;
    if (rc == OK && !had)
        rc = err_set(err, ERR_INVALID, "series %u has no points with a step of %u ms", series, step_ms);
    if (rc == OK)
        rc = reader_make_column(series, step_ms ? step_ms : layout_step_ms(&l), from_ms, until_ms, max_slots,
                                column, err);
    if (rc < 0)
        return rc;
    int64_t begun = reader_begin(r, report);
    uint64_t points = reader_fill_points(r, &l, column, LAYOUT_EVER, report);
    reader_count_incomplete(r, before, report);
    reader_end(r, begun, points);
    return OK;
}

int reader_fetch_points(struct reader *r, uint32_t series, uint32_t step_ms, int64_t from_ms,
                        int64_t until_ms, size_t max_slots, struct column *column, struct read_report *report,
                        struct err *err)
{
    unsigned phase = reader_enter(r);
    int rc = fetch_points(r, series, step_ms, from_ms, until_ms, max_slots, column, report, err);
    reader_leave(r, phase);
    return rc;
}

int reader_fetch(struct reader *r, uint32_t series, int64_t from_ms, int64_t until_ms, size_t max_slots,
                 struct column *column, struct read_report *report, struct err *err)
{
    return reader_fetch_points(r, series, 0, from_ms, until_ms, max_slots, column, report, err);
}
