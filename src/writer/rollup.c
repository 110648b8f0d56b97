#include "writer/rollup.h"

#include "base/killpoint.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/rollup_block.h"

#include <assert.h>
#include <stdlib.h>

/* Base slots held at a time, as far as one coarse slot is not longer. */
#define REGION_SLOTS 65536

void rollup_maker_init(struct rollup_maker *m, struct warm *warm, struct metrics *metrics)
{
    *m = (struct rollup_maker){.warm = warm};
    m->window = xcalloc(RETENTION_ARCHIVES, sizeof *m->window);
    if (!metrics)
        return;
    m->slots = metrics_counter(metrics, "carat_rollup_slots_total", NULL, "Slots of coarse archives made.");
    m->parts =
        metrics_counter(metrics, "carat_rollup_parts_total", NULL, "Windows of coarse archives stored.");
    m->kept = metrics_counter(metrics, "carat_rollup_slots_kept_total", NULL,
                              "Slots kept as stored: the base no longer has all their points.");
}

void rollup_maker_release(struct rollup_maker *m)
{
    free(m->window);
    free(m->base.values);
    *m = (struct rollup_maker){0};
}

/* --- the base of a span --- */

static void lay_slots(struct column *c, int64_t window_ms, const struct slots *s)
{
    int64_t at = (window_ms - c->start_ms) / c->step_ms, n = (int64_t)c->n;
    for (uint32_t w = 0; w < SLOTS_WORDS(s->n); w++)
        for (uint64_t bits = s->present[w]; bits; bits &= bits - 1) {
            int64_t i = at + w * 64 + __builtin_ctzll(bits);
            if (i >= 0 && i < n)
                c->values[i] = s->value[i - at];
        }
}

static int lay_block(struct rollup_maker *m, const struct part_key *key, const uint8_t *data, size_t size)
{
    struct slots s;
    slots_init(&s, window_slots(key->step_ms));
    int rc = codec_decode(data, size, s.n, s.present, s.value, NULL);
    if (rc == OK)
        lay_slots(&m->base, key->window_ms, &s);
    return rc;
}

/* warm_part_fn. What cannot be decoded is not there; rollup_slot_replaces keeps the damage from spreading. */
static int lay_stored(void *ctx, const struct part *p)
{
    struct rollup_maker *m = ctx;
    if (lay_block(m, &p->key, p->data, p->size) == OK) {
        m->hi = p->key.hi > m->hi ? p->key.hi : m->hi;
        m->lo = p->lo < m->lo ? p->lo : m->lo;
    } else {
        m->base_damaged = true;
    }
    return 0;
}

static int load_stored_base(struct rollup_maker *m, int64_t from_ms, int64_t until_ms, struct err *err)
{
    uint32_t step = m->retention.archives[0].step_ms;
    struct column *c = &m->base;
    c->start_ms = from_ms;
    c->step_ms = step;
    c->n = (size_t)((until_ms - from_ms) / step);
    if (c->n > m->base_cap) {
        m->base_cap = c->n;
        c->values = xrealloc(c->values, c->n * sizeof *c->values);
    }
    for (size_t i = 0; i < c->n; i++)
        c->values[i] = column_missing();
    int64_t first = window_start(from_ms, step);
    int rc = warm_read(m->warm, m->series, step, first < 0 ? 0 : first, until_ms, lay_stored, m, err);
    m->base_damaged |= rc == ERR_CORRUPT;
    return rc == ERR_CORRUPT ? OK : rc;
}

/* --- a coarse window: made slots over stored ones --- */

struct stored_window {
    struct rollup r;
    size_t parts;
    uint64_t lo, hi;
    struct merge_keys *replaced;
};

static int overlay_stored(void *ctx, const struct part *p)
{
    struct stored_window *s = ctx;
    struct rollup one;
    if (rollup_block_decode(p->data, p->size, s->r.n, &one, NULL) != OK)
        return 0; /* stays for the scrubber, as damage does in merge.c */
    rollup_overlay(&s->r, &one);
    s->lo = p->lo < s->lo ? p->lo : s->lo;
    s->hi = p->key.hi > s->hi ? p->key.hi : s->hi;
    s->parts++;
    merge_keys_add(s->replaced, &p->key);
    return 0;
}

/* What of the tombstone lies in the slot: it takes the slot's place whatever was made, or cannot. */
static bool is_erased(struct rollup_maker *m, int64_t ts_ms, uint32_t step_ms, const struct rollup *stored,
                      uint32_t i)
{
    const struct tombstone *t = &m->erase;
    if (!t->series || ts_ms >= t->until_ms || ts_ms + step_ms <= t->from_ms)
        return false;
    bool takes = tombstone_takes(t, m->whole_from_ms, ts_ms, step_ms);
    m->left += !takes && slot_get(stored->present, i);
    return takes;
}

/* What is stored with the made slots in it. */
static void lay_made(struct rollup_maker *m, const struct rollup_window *w, uint32_t step_ms,
                     struct rollup *r)
{
    uint64_t kept = 0;
    for (uint32_t i = 0; i < w->made.n; i++) {
        struct rollup_slot made, stored;
        int64_t ts = w->window_ms + (int64_t)i * step_ms;
        bool erased = is_erased(m, ts, step_ms, r, i);
        if (!slot_get(w->made.present, i) && !erased)
            continue;
        rollup_get(&w->made, i, &made);
        rollup_get(r, i, &stored);
        if (erased || ts >= m->whole_from_ms || rollup_slot_replaces(&made, &stored))
            rollup_set(r, i, &made);
        else
            kept++;
    }
    if (m->kept)
        counter_add(m->kept, kept);
}

static void add_part(struct rollup_maker *m, struct flush_batch *b, const struct part_key *key, uint64_t lo,
                     const struct rollup *r)
{
    size_t at = b->blocks.len;
    rollup_block_encode(r, &b->blocks);
    flush_batch_reserve(b);
    b->in_blocks[b->n] = true;
    b->parts[b->n++] = (struct part){*key, lo, (const uint8_t *)at, b->blocks.len - at};
    if (m->parts)
        counter_add(m->parts, 1);
}

static int finish_window(struct rollup_maker *m, size_t archive, struct flush_batch *b, struct err *err)
{
    struct rollup_window *w = &m->window[archive];
    if (!w->open)
        return OK;
    w->open = false;
    struct part_key key = {m->series, m->retention.archives[archive].step_ms, w->window_ms, m->hi};
    struct stored_window s = {.lo = m->lo, .replaced = &b->remove};
    size_t before = b->remove.n;
    rollup_init(&s.r, w->made.n);
    int rc = warm_read(m->warm, key.series, key.step_ms, key.window_ms, key.window_ms + 1, overlay_stored, &s,
                       err);
    struct rollup was = s.r;
    if (rc == OK || rc == ERR_CORRUPT)
        lay_made(m, w, key.step_ms, &s.r);
    bool changed = !rollup_equal(&was, &s.r);
    if ((rc != OK && rc != ERR_CORRUPT) || !changed) {
        b->remove.n = before;
        return rc == ERR_CORRUPT ? OK : rc;
    }
    /* Other content must have another key, above all that were there. */
    if (s.parts && s.hi >= key.hi)
        key.hi = s.hi + 1;
    add_part(m, b, &key, s.lo, &s.r);
    KILL_POINT("rollup.window_made");
    return OK;
}

static int finish_windows(struct rollup_maker *m, struct flush_batch *b, struct err *err)
{
    int rc = OK;
    for (size_t k = 1; k < m->retention.narchives && rc == OK; k++)
        rc = finish_window(m, k, b, err);
    return rc;
}

/* --- slots --- */

/* Makes the archive's slots that overlap [from_ms, until_ms) and were not made yet; the base column covers
 * them. */
static int make_slots(struct rollup_maker *m, size_t archive, int64_t from_ms, int64_t until_ms,
                      struct flush_batch *b, struct err *err)
{
    uint32_t step = m->retention.archives[archive].step_ms;
    struct rollup_window *w = &m->window[archive];
    int64_t t = floor_to(from_ms, step), end = ceil_to(until_ms, step);
    t = t > m->made_until_ms[archive] ? t : m->made_until_ms[archive];
    if (t >= end)
        return OK;
    m->made_until_ms[archive] = end;
    if (m->slots)
        counter_add(m->slots, (uint64_t)((end - t) / step));
    for (; t < end; t += step) {
        int64_t window = window_start(t, step);
        if (!w->open || w->window_ms != window) {
            int rc = finish_window(m, archive, b, err);
            if (rc != OK)
                return rc;
            w->open = true;
            w->window_ms = window;
            rollup_init(&w->made, window_slots(step));
        }
        struct rollup_slot s;
        rollup_make_slot(&s, &m->base, t, step);
        rollup_set(&w->made, window_slot(t, step), &s);
    }
    return OK;
}

/* False if the series has no coarse archive. */
static bool begin_series(struct rollup_maker *m, uint32_t series, uint32_t base_step_ms)
{
    const struct retention *r = m->archives ? m->archives(m->archives_ctx, series) : NULL;
    if (!r)
        return false;
    retention_of_step(r, base_step_ms, &m->retention);
    m->series = series;
    m->lo = UINT64_MAX;
    m->hi = 0;
    m->whole_from_ms = INT64_MAX;
    m->base_damaged = false;
    m->erase.series = 0;
    m->left = 0;
    for (size_t k = 0; k < RETENTION_ARCHIVES; k++) {
        m->window[k].open = false;
        m->made_until_ms[k] = INT64_MIN;
    }
    return m->retention.narchives > 1;
}

static uint32_t coarsest_step(const struct rollup_maker *m)
{
    return m->retention.archives[m->retention.narchives - 1].step_ms;
}

/* --- from a batch --- */

/* Which parts of the batch, in order of series and time. */
struct turn {
    uint32_t series, step_ms;
    int64_t window_ms;
    size_t part;
};

static int by_series_and_time(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;
    if (x->series != y->series)
        return x->series < y->series ? -1 : 1;
    if (x->step_ms != y->step_ms)
        return x->step_ms < y->step_ms ? -1 : 1;
    return (x->window_ms > y->window_ms) - (x->window_ms < y->window_ms);
}

/* How many of the n windows share coarse slots with the first, directly or through others, and are not too
 * many to be held at once. *until_ms: where their slots end. */
static size_t region_of(const struct rollup_maker *m, const struct turn *t, size_t n, int64_t *until_ms)
{
    int64_t coarsest = coarsest_step(m), span = window_span_ms(t->step_ms),
            from = floor_to(t->window_ms, coarsest);
    size_t i = 0;
    do {
        *until_ms = ceil_to(t[i].window_ms + span, coarsest);
        i++;
    } while (i < n && t[i].window_ms < *until_ms && (t[i].window_ms - from) / t->step_ms < REGION_SLOTS);
    return i;
}

/* The stored base first: what the batch has was merged with it. Windows of other regions may touch this one.
 */
static int load_base(struct rollup_maker *m, const struct flush_batch *b, const struct turn *t, size_t n,
                     int64_t from_ms, int64_t until_ms, struct err *err)
{
    int64_t span = window_span_ms(t->step_ms);
    int rc = load_stored_base(m, from_ms, until_ms, err);
    for (size_t i = 0; i < n && rc == OK; i++) {
        if (t[i].window_ms + span <= from_ms || t[i].window_ms >= until_ms)
            continue;
        const struct part *p = &b->parts[t[i].part];
        if (lay_block(m, &p->key, flush_batch_data(b, t[i].part), p->size) != OK)
            rc = err_set(err, ERR_CORRUPT, "a window that was just encoded cannot be decoded");
    }
    return rc;
}

static int add_series(struct rollup_maker *m, struct flush_batch *b, const struct turn *t, size_t n,
                      struct err *err)
{
    if (!begin_series(m, t->series, t->step_ms))
        return OK;
    for (size_t i = 0; i < n; i++) {
        const struct part *p = &b->parts[t[i].part];
        m->hi = p->key.hi > m->hi ? p->key.hi : m->hi;
        m->lo = p->lo < m->lo ? p->lo : m->lo;
    }
    int rc = OK;
    for (size_t i = 0; i < n && rc == OK;) {
        int64_t until, from = floor_to(t[i].window_ms, coarsest_step(m));
        size_t some = region_of(m, t + i, n - i, &until);
        rc = load_base(m, b, t, n, from, until, err);
        for (size_t j = i; j < i + some; j++)
            for (size_t k = 1; k < m->retention.narchives && rc == OK; k++)
                rc = make_slots(m, k, t[j].window_ms, t[j].window_ms + window_span_ms(t->step_ms), b, err);
        i += some;
    }
    return rc == OK ? finish_windows(m, b, err) : rc;
}

int rollup_add_parts(struct rollup_maker *m, struct flush_batch *b, struct err *err)
{
    size_t n = b->n;
    if (!m->archives || !n)
        return OK;
    struct turn *t = xmalloc(n * sizeof *t);
    for (size_t i = 0; i < n; i++) {
        const struct part_key *k = &b->parts[i].key;
        t[i] = (struct turn){k->series, k->step_ms, k->window_ms, i};
    }
    qsort(t, n, sizeof *t, by_series_and_time);
    int rc = OK;
    for (size_t i = 0, j; i < n && rc == OK; i = j) {
        for (j = i + 1; j < n && t[j].series == t[i].series && t[j].step_ms == t[i].step_ms; j++)
            ;
        rc = add_series(m, b, t + i, j - i, err);
    }
    free(t);
    return rc;
}

/* --- from warm alone --- */

static int make_again(struct rollup_maker *m, struct flush_batch *b, uint32_t base_step_ms, int64_t from_ms,
                      int64_t until_ms, struct err *err)
{
    int64_t coarsest = coarsest_step(m), region = ceil_to((int64_t)REGION_SLOTS * base_step_ms, coarsest);
    int64_t from = floor_to(from_ms < 0 ? 0 : from_ms, coarsest);
    int64_t until = ceil_to(until_ms, coarsest);
    int rc = OK;
    for (int64_t t = from; t < until && rc == OK; t += region) {
        int64_t end = t + region < until ? t + region : until;
        rc = load_stored_base(m, t, end, err);
        if (m->base_damaged)
            m->whole_from_ms = INT64_MAX;
        for (size_t k = 1; k < m->retention.narchives && rc == OK; k++)
            rc = make_slots(m, k, t, end, b, err);
    }
    return rc == OK ? finish_windows(m, b, err) : rc;
}

int rollup_rebuild(struct rollup_maker *m, struct flush_batch *b, uint32_t series, uint32_t base_step_ms,
                   int64_t from_ms, int64_t until_ms, int64_t whole_from_ms, struct err *err)
{
    if (!begin_series(m, series, base_step_ms))
        return OK;
    m->whole_from_ms = whole_from_ms;
    return make_again(m, b, base_step_ms, from_ms, until_ms, err);
}

int rollup_erase(struct rollup_maker *m, struct flush_batch *b, const struct tombstone *t,
                 uint32_t base_step_ms, int64_t from_ms, int64_t until_ms, int64_t whole_from_ms,
                 uint64_t *left, struct err *err)
{
    if (!begin_series(m, t->series, base_step_ms))
        return OK;
    assert(from_ms % coarsest_step(m) == 0 && until_ms % coarsest_step(m) == 0);
    m->whole_from_ms = whole_from_ms;
    m->erase = *t;
    m->erase.from_ms = t->from_ms > from_ms ? t->from_ms : from_ms;
    m->erase.until_ms = t->until_ms < until_ms ? t->until_ms : until_ms;
    if (m->erase.from_ms >= m->erase.until_ms)
        return OK;
    int rc = make_again(m, b, base_step_ms, m->erase.from_ms, m->erase.until_ms, err);
    *left += m->left;
    return rc;
}
