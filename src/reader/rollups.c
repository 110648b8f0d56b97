/* Coarse archives: what is stored, and over it the slots whose points are still in hot or of which points
 * were deleted.
 *
 * The order makes it whole. Hot tells first which slots it has points of; those are made from the base, hot
 * and warm together, as the flush would make them. Then the stored windows are read. A window that left hot
 * before it was asked had its coarse parts put in the same step as its base part, so they are seen; one that
 * leaves later had its slots made here. */
#include "reader/reader_impl.h"

#include "base/mem.h"
#include "codec/rollup_block.h"
#include "reader/overlay.h"

#include <assert.h>
#include <stdlib.h>

/* Base slots held at a time, as far as one coarse slot is not longer. */
#define PIECE_SLOTS 65536

struct made_slot {
    int64_t ts_ms;
    struct rollup_slot slot;
};

struct walk {
    struct reader *r;
    const struct layout *layout;
    uint32_t series, step_ms;
    int64_t from_ms, until_ms;
    rollup_slot_fn fn;
    void *ctx;
    struct read_report *report;
    struct made_slot *made; /* from hot and base, by time */
    size_t nmade, cap, next;
    uint64_t *dead; /* a bit for each slot whose stored value does not count; NULL: all count */
    bool open;      /* `window` is being read */
    int64_t window_ms;
    struct rollup window;
};

/* A bit for each slot of the walk that hot has a point of. */
static void mark_touched(const struct walk *w, uint32_t base_step_ms, const struct hot_window *h,
                         uint64_t *touched)
{
    for (uint32_t i = 0; i < h->slots.n; i++) {
        int64_t ts = h->window_ms + (int64_t)i * base_step_ms;
        if (slot_get(h->slots.present, i) && ts >= w->from_ms && ts < w->until_ms)
            slot_set(touched, (size_t)((ts - w->from_ms) / w->step_ms));
    }
}

/* The part of [*from_ms, *until_ms) that lies in an era; false: none. */
static bool clip_to_era(const struct layout *l, size_t era, int64_t *from_ms, int64_t *until_ms)
{
    int64_t from = layout_era_from(l, era), until = layout_era_until(l, era);
    *from_ms = *from_ms > from ? *from_ms : from;
    *until_ms = *until_ms < until ? *until_ms : until;
    return *from_ms < *until_ms;
}

static void add_points(struct walk *w, size_t era, struct made_slot *made, size_t n, int64_t from_ms,
                       int64_t until_ms)
{
    struct column c;
    int64_t from = from_ms, until = until_ms;
    if (!clip_to_era(w->layout, era, &from, &until))
        return;
    int rc = reader_make_column(w->series, w->layout->era[era].step_ms, from, until, SIZE_MAX, &c, NULL);
    assert(rc == OK);
    reader_fill_column(w->r, &c, w->report);
    for (size_t i = 0; i < n; i++)
        rollup_slot_add_column(&made[i].slot, &c, made[i].ts_ms, made[i].ts_ms + w->step_ms);
    free(c.values);
}

static void make_piece(struct walk *w, int64_t from_ms, int64_t until_ms)
{
    size_t n = (size_t)((until_ms - from_ms) / w->step_ms);
    while (w->nmade + n > w->cap) {
        w->cap = w->cap ? w->cap * 2 : 64;
        w->made = xrealloc(w->made, w->cap * sizeof *w->made);
    }
    struct made_slot *made = &w->made[w->nmade];
    for (size_t i = 0; i < n; i++)
        made[i] = (struct made_slot){from_ms + (int64_t)i * w->step_ms, ROLLUP_SLOT_INIT};
    for (size_t e = 0; e < w->layout->neras; e++)
        add_points(w, e, made, n, from_ms, until_ms);
    w->nmade += n;
}

static uint32_t finest_step(const struct layout *l)
{
    uint32_t step = UINT32_MAX;
    for (size_t i = 0; i < l->neras; i++)
        step = l->era[i].step_ms < step ? l->era[i].step_ms : step;
    return step;
}

static void make_touched(struct walk *w, const uint64_t *touched, size_t n)
{
    size_t piece = PIECE_SLOTS / (w->step_ms / finest_step(w->layout));
    for (size_t i = 0, j; i < n; i = j) {
        j = i + 1;
        if (!slot_get(touched, i))
            continue;
        while (j < n && j - i < piece && slot_get(touched, j))
            j++;
        make_piece(w, w->from_ms + (int64_t)i * w->step_ms, w->from_ms + (int64_t)j * w->step_ms);
    }
}

static void mark_era(struct walk *w, size_t era, uint64_t *touched)
{
    struct hot_copies hot = {0};
    int64_t from = w->from_ms, until = w->until_ms;
    uint32_t step = w->layout->era[era].step_ms;
    if (!clip_to_era(w->layout, era, &from, &until))
        return;
    reader_read_hot(w->r, w->series, step, from, until, &hot, w->report);
    for (size_t i = 0; i < hot.n; i++)
        mark_touched(w, step, &hot.v[i], touched);
    hot_copies_release(&hot);
}

/* A bit for each slot that holds something of a tombstone's range. Its stored value may still be that of the
 * dead points. It counts only where it cannot be made again, and not all of the slot is dead. */
static void mark_deleted(struct walk *w, const struct tombstone *v, uint64_t *touched)
{
    const struct reader_options *o = &w->r->o;
    int64_t whole = o->base_since_ms ? o->base_since_ms(o->base_since_ctx, w->series) : INT64_MIN;
    int64_t from = v->from_ms > w->from_ms ? v->from_ms : w->from_ms,
            until = v->until_ms < w->until_ms ? v->until_ms : w->until_ms;
    for (int64_t ts = floor_to(from, w->step_ms); ts < until; ts += w->step_ms) {
        size_t i = (size_t)((ts - w->from_ms) / w->step_ms);
        slot_set(touched, i);
        if (tombstone_takes(v, whole, ts, w->step_ms))
            slot_set(w->dead, i);
    }
}

static bool is_unswept(const struct tombstone *v, const struct walk *w)
{
    return !v->swept && v->from_ms < w->until_ms && v->until_ms > w->from_ms;
}

/* After hot was looked at: a deletion counts before hot drops the slots. */
static void mark_all_deleted(struct walk *w, uint64_t *touched, size_t n)
{
    size_t count = 0;
    struct tombstone *all = tombstones_list(w->r->tombstones, w->series, &count);
    for (size_t i = 0; i < count; i++)
        if (is_unswept(&all[i], w)) {
            w->dead = w->dead ? w->dead : xcalloc(SLOTS_WORDS(n), sizeof *w->dead);
            mark_deleted(w, &all[i], touched);
        }
    free(all);
}

static void make_from_base(struct walk *w)
{
    size_t n = (size_t)((w->until_ms - w->from_ms) / w->step_ms);
    if (!n)
        return;
    uint64_t *touched = xcalloc(SLOTS_WORDS(n), sizeof *touched);
    for (size_t e = 0; e < w->layout->neras; e++)
        mark_era(w, e, touched);
    mark_all_deleted(w, touched, n);
    make_touched(w, touched, n);
    free(touched);
}

static void give(struct walk *w, int64_t ts_ms, const struct rollup_slot *s)
{
    if (s->field[ROLLUP_COUNT] > 0)
        w->fn(w->ctx, ts_ms, s);
}

static void give_made_before(struct walk *w, int64_t ts_ms)
{
    for (; w->next < w->nmade && w->made[w->next].ts_ms < ts_ms; w->next++)
        give(w, w->made[w->next].ts_ms, &w->made[w->next].slot);
}

static void give_window(struct walk *w)
{
    for (uint32_t i = 0; i < w->window.n && w->open; i++) {
        int64_t ts = w->window_ms + (int64_t)i * w->step_ms;
        struct rollup_slot s;
        if (!slot_get(w->window.present, i) || ts < w->from_ms || ts >= w->until_ms)
            continue;
        give_made_before(w, ts);
        rollup_get(&w->window, i, &s);
        if (w->next < w->nmade && w->made[w->next].ts_ms == ts) {
            const struct rollup_slot *made = &w->made[w->next++].slot;
            bool dead = w->dead && slot_get(w->dead, (size_t)((ts - w->from_ms) / w->step_ms));
            s = dead || rollup_slot_replaces(made, &s) ? *made : s;
        }
        give(w, ts, &s);
    }
    w->open = false;
}

/* warm_part_fn */
static int read_part(void *ctx, const struct part *p)
{
    struct walk *w = ctx;
    struct rollup one;
    struct err err = ERR_INIT;
    if (!w->open || p->key.window_ms != w->window_ms) {
        give_window(w);
        w->open = true;
        w->window_ms = p->key.window_ms;
        rollup_init(&w->window, window_slots(w->step_ms));
    }
    if (rollup_block_decode(p->data, p->size, w->window.n, &one, &err) == OK) {
        rollup_overlay(&w->window, &one);
    } else {
        err_prefix(&err, "roll-up of series %u, step %u ms, window %lld", p->key.series, p->key.step_ms,
                   (long long)p->key.window_ms);
        report_add(w->report, &err);
    }
    return 0;
}

/* Where every era is finer than the step. */
static void walk_rollups(struct walk *w)
{
    make_from_base(w);
    reader_read_warm(w->r, w->series, w->step_ms, w->from_ms, w->until_ms, read_part, w, w->report);
    give_window(w);
    give_made_before(w, INT64_MAX);
    free(w->made);
    free(w->dead);
    w->made = NULL;
    w->dead = NULL;
    w->nmade = w->cap = w->next = 0;
}

static void walk_points(const struct walk *w, uint32_t base_step_ms)
{
    for (int64_t at = w->from_ms; at < w->until_ms;) {
        struct column c;
        int64_t end = w->until_ms - at > (int64_t)PIECE_SLOTS * base_step_ms
                          ? at + (int64_t)PIECE_SLOTS * base_step_ms
                          : w->until_ms;
        int rc = reader_make_column(w->series, base_step_ms, at, end, SIZE_MAX, &c, NULL);
        assert(rc == OK);
        if (c.n)
            reader_fill_column(w->r, &c, w->report);
        for (size_t i = 0; i < c.n; i++) {
            struct rollup_slot s = ROLLUP_SLOT_INIT;
            rollup_slot_add(&s, c.values[i]);
            if (s.field[ROLLUP_COUNT] > 0)
                w->fn(w->ctx, c.start_ms + (int64_t)i * base_step_ms, &s);
        }
        free(c.values);
        at = end;
    }
}

void reader_walk(struct reader *r, const struct layout *l, uint32_t series, uint32_t step_ms, int64_t from_ms,
                 int64_t until_ms, rollup_slot_fn fn, void *ctx, struct read_report *report)
{
    bool archive = layout_find(l, step_ms) != NULL;
    struct walk w = {
        .r = r, .layout = l, .series = series, .step_ms = step_ms, .fn = fn, .ctx = ctx, .report = report};
    for (size_t e = 0; e < l->neras; e++) {
        w.from_ms = from_ms;
        w.until_ms = until_ms;
        if (!clip_to_era(l, e, &w.from_ms, &w.until_ms))
            continue;
        if (!archive || l->era[e].step_ms >= step_ms) {
            walk_points(&w, l->era[e].step_ms);
            continue;
        }
        /* A slot may lie in several eras that are finer: they are gone over together. */
        for (; e + 1 < l->neras && l->era[e + 1].step_ms < step_ms; e++)
            w.until_ms = layout_era_until(l, e + 1) < until_ms ? layout_era_until(l, e + 1) : until_ms;
        walk_rollups(&w);
    }
}
