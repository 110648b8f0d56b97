#include "reader/reader.h"

#include "base/clock.h"
#include "base/mem.h"
#include "reader/overlay.h"
#include "reader/reader_impl.h"

#include <assert.h>
#include <stdlib.h>

struct reader *reader_new(const struct reader_options *o)
{
    assert(o->catalog && o->hot);
    struct reader *r = xcalloc(1, sizeof *r);
    r->o = *o;
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

/* Beyond any time stamp there is, and far from overflow. */
#define TIME_LIMIT (INT64_MAX / 4)

static int64_t clamp_time(int64_t ts)
{
    return ts < -TIME_LIMIT ? -TIME_LIMIT : ts > TIME_LIMIT ? TIME_LIMIT : ts;
}

/* Snaps the range to the series' grid and makes a column of missing values. */
static int make_column(struct reader *r, uint32_t series, int64_t from_ms, int64_t until_ms, size_t max_slots,
                       struct column *c, struct err *err)
{
    *c = (struct column){.series = series, .step_ms = catalog_step_ms(r->o.catalog, series)};
    if (c->step_ms == 0)
        return err_set(err, ERR_NOT_FOUND, "there is no series %u", series);
    c->start_ms = ceil_to(clamp_time(from_ms), c->step_ms);
    int64_t end = ceil_to(clamp_time(until_ms), c->step_ms);
    if (end <= c->start_ms)
        return OK;
    uint64_t n = (uint64_t)((end - c->start_ms) / c->step_ms);
    if (n > max_slots)
        return err_set(err, ERR_LIMIT,
                       "a series of %llu points was asked for, the limit is %zu; ask for less time",
                       (unsigned long long)n, max_slots);
    c->n = (size_t)n;
    c->values = xmalloc(c->n * sizeof *c->values);
    for (size_t i = 0; i < c->n; i++)
        c->values[i] = column_missing();
    return OK;
}

static int lay_part(void *ctx, const struct part *p)
{
    overlay_part(ctx, p);
    return 0;
}

static void fill_column(struct reader *r, struct column *c, struct read_report *report)
{
    struct hot_copies hot = {0};
    struct err why = ERR_INIT;
    int64_t end = c->start_ms + (int64_t)c->n * c->step_ms;
    uint32_t step = (uint32_t)c->step_ms;
    if (hot_read(r->o.hot, c->series, step, c->start_ms, end, hot_copies_add, &hot, &why) < 0)
        report_add(report, &why);
    hot_copies_sort(&hot);
    struct overlay o;
    overlay_init(&o, c, &hot);
    if (r->o.warm &&
        warm_read(r->o.warm, c->series, step, window_start(c->start_ms, step), end, lay_part, &o, &why) < 0)
        report_add(report, &why);
    overlay_finish(&o);
    if (o.damage.code)
        report_add(report, &o.damage);
    hot_copies_release(&hot);
}

static uint64_t count_points(const struct column *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += !column_is_missing(c->values[i]);
    return n;
}

int reader_fetch(struct reader *r, uint32_t series, int64_t from_ms, int64_t until_ms, size_t max_slots,
                 struct column *column, struct read_report *report, struct err *err)
{
    int64_t start = clock_mono_us(clock_system());
    bool before = report->incomplete;
    int rc = make_column(r, series, from_ms, until_ms, max_slots, column, err);
    if (rc < 0)
        return rc;
    reader_note_catching_up(r, report);
    if (column->n)
        fill_column(r, column, report);
    reader_count_incomplete(r, before, report);
    if (r->o.metrics) {
        histogram_observe_us(r->fetch_seconds, (uint64_t)(clock_mono_us(clock_system()) - start));
        counter_add(r->series, 1);
        counter_add(r->points, count_points(column));
    }
    return OK;
}
