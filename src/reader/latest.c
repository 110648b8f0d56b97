/* The newest point of a series.
 *
 * Window by window, the newest first: what hot and warm hold of it is merged and searched from the end.
 * Warm can be read in one direction only, so each round walks the parts from the oldest candidate
 * on and keeps those of the last window. Nearly always the first round finds a point, and hot has told it
 * where to begin. */
#include "reader/reader_impl.h"

#include "base/mem.h"
#include "reader/overlay.h"

#include <stdlib.h>

/* The parts of the newest window met so far. */
struct last_window {
    int64_t window_ms;
    struct part *parts; /* data is an offset into `bytes` until pinned */
    size_t n, cap;
    struct buf bytes;
};

static int keep_last(void *ctx, const struct part *p)
{
    struct last_window *l = ctx;
    if (l->n == 0 || p->key.window_ms != l->window_ms) {
        l->n = 0;
        buf_clear(&l->bytes);
        l->window_ms = p->key.window_ms;
    }
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 8;
        l->parts = xrealloc(l->parts, l->cap * sizeof *l->parts);
    }
    l->parts[l->n] = *p;
    l->parts[l->n++].data = (const uint8_t *)(uintptr_t)l->bytes.len;
    buf_append(&l->bytes, p->data, p->size);
    return 0;
}

struct search {
    struct reader *r;
    uint32_t series, step_ms;
    int64_t since_ms;
    int64_t from_window_ms, until_window_ms; /* windows that may hold the answer */
    struct hot_copies hot;                   /* sorted; those at and after until_window_ms are done with */
    struct last_window warm;
    struct read_report *report;
};

/* Time of the newest point of a window, or INT64_MIN. */
static int64_t newest_in(const struct hot_window *w, uint32_t step_ms)
{
    for (uint32_t slot = w->slots.n; slot-- > 0;)
        if (slot_get(w->slots.present, slot))
            return w->window_ms + (int64_t)slot * step_ms;
    return INT64_MIN;
}

/* Nothing older than hot's newest point can be the answer. */
static void begin_where_hot_has_points(struct search *s)
{
    for (size_t i = s->hot.n; i-- > 0;)
        if (newest_in(&s->hot.v[i], s->step_ms) >= s->since_ms) {
            s->from_window_ms = s->hot.v[i].window_ms;
            return;
        }
}

static void read_last_warm_window(struct search *s)
{
    s->warm.n = 0;
    reader_read_warm(s->r, s->series, s->step_ms, s->from_window_ms, s->until_window_ms, keep_last, &s->warm,
                     s->report);
    for (size_t i = 0; i < s->warm.n; i++)
        s->warm.parts[i].data = s->warm.bytes.data + (uintptr_t)s->warm.parts[i].data;
}

/* Merges what both tiers hold of one window; hot's are hot.v[first..n-1]. */
static void merge_window(struct search *s, int64_t window_ms, size_t first, double *values, struct column *c)
{
    uint32_t n = window_slots(s->step_ms);
    *c = (struct column){s->series, window_ms, s->step_ms, n, values};
    for (uint32_t i = 0; i < n; i++)
        values[i] = column_missing();
    struct hot_copies hot = {first < s->hot.n ? s->hot.v + first : NULL, s->hot.n - first, 0};
    struct overlay o;
    overlay_init(&o, c, &hot);
    if (s->warm.n && s->warm.window_ms == window_ms)
        for (size_t i = 0; i < s->warm.n; i++)
            overlay_part(&o, &s->warm.parts[i]);
    overlay_finish(&o);
    if (o.damage.code)
        report_add(s->report, &o.damage);
}

/* One round: the newest window left. 0 found, 1 look again, -1 there is none. */
static int search_window(struct search *s, int64_t *ts_ms, double *value)
{
    double values[WINDOW_SLOTS_MAX];
    struct column c;
    read_last_warm_window(s);
    if (s->warm.n == 0 && s->hot.n == 0)
        return -1;
    int64_t window = s->hot.n ? s->hot.v[s->hot.n - 1].window_ms : s->warm.window_ms;
    if (s->warm.n && s->warm.window_ms > window)
        window = s->warm.window_ms;
    size_t first = s->hot.n;
    while (first > 0 && s->hot.v[first - 1].window_ms == window)
        first--;
    merge_window(s, window, first, values, &c);
    for (size_t i = c.n; i-- > 0;) {
        int64_t ts = c.start_ms + (int64_t)i * c.step_ms;
        if (ts >= s->since_ms && !column_is_missing(values[i])) {
            *ts_ms = ts;
            *value = values[i];
            return 0;
        }
    }
    s->hot.n = first;
    s->until_window_ms = window;
    return 1;
}

/* In one era. */
static int search(struct reader *r, const struct layout *l, size_t era, uint32_t series, int64_t since_ms,
                  int64_t *ts_ms, double *value, struct read_report *report)
{
    uint32_t step = l->era[era].step_ms;
    int64_t from = layout_era_from(l, era), until = layout_era_until(l, era);
    from = from > since_ms ? from : since_ms;
    if (from >= until)
        return 1;
    struct search s = {r, series, step, from, window_start(from, step), until, {0}, {0}, report};
    int rc;
    reader_read_hot(r, series, step, from, until, &s.hot, report);
    begin_where_hot_has_points(&s);
    do
        rc = search_window(&s, ts_ms, value);
    while (rc > 0);
    hot_copies_release(&s.hot);
    free(s.warm.parts);
    buf_release(&s.warm.bytes);
    return rc < 0 ? 1 : OK;
}

static int latest(struct reader *r, const struct layout *l, uint32_t series, int64_t since_ms, int64_t *ts_ms,
                  double *value, struct read_report *report)
{
    unsigned tries = 0;
    uint64_t stamp;
    int rc;
    do {
        stamp = reader_stamp(r, series);
        rc = 1;
        for (size_t e = l->neras; e-- > 0 && rc == 1;)
            rc = search(r, l, e, series, since_ms < 0 ? 0 : since_ms, ts_ms, value, report);
    } while (reader_stamp(r, series) != stamp && ++tries < READER_TRIES);
    if (tries == READER_TRIES)
        reader_tell_torn(report);
    return rc;
}

int reader_latest(struct reader *r, uint32_t series, int64_t since_ms, int64_t *ts_ms, double *value,
                  struct read_report *report, struct err *err)
{
    struct layout l;
    unsigned phase = reader_enter(r);
    bool before = report->incomplete;
    int rc = reader_layout(r, series, &l, err);
    if (rc == OK) {
        reader_note_catching_up(r, report);
        rc = latest(r, &l, series, since_ms, ts_ms, value, report);
        reader_count_incomplete(r, before, report);
    }
    reader_leave(r, phase);
    return rc;
}
