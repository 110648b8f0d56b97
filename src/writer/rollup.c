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
    m->archive = xcalloc(ROLLUP_ARCHIVES, sizeof *m->archive);
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
    free(m->archive);
    for (size_t e = 0; e < LAYOUT_ERAS; e++)
        free(m->base[e].column.values);
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

/* Points of another step than their time's are nobody's. */
static int lay_block(struct rollup_maker *m, const struct part_key *key, const uint8_t *data, size_t size)
{
    struct slots s;
    size_t era = layout_era_at(&m->layout, key->window_ms);
    if (m->layout.era[era].step_ms != key->step_ms)
        return OK;
    slots_init(&s, window_slots(key->step_ms));
    int rc = codec_decode(data, size, s.n, s.present, s.value, NULL);
    if (rc == OK)
        lay_slots(&m->base[era].column, key->window_ms, &s);
    return rc;
}

/* warm_part_fn. What cannot be decoded is not there; rollup_slot_replaces keeps the damage from spreading. */
static int lay_stored(void *ctx, const struct part *p)
{
    struct rollup_maker *m = ctx;
    if (lay_block(m, &p->key, p->data, p->size) == OK) {
        m->hi = p->key.hi > m->hi ? p->key.hi : m->hi;
        m->lo = p->lo < m->lo ? p->lo : m->lo;
        m->laid = true;
    } else {
        m->base_damaged = true;
    }
    return 0;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int load_era(struct rollup_maker *m, size_t era, int64_t from_ms, int64_t until_ms, struct err *err)
{
    uint32_t step = m->layout.era[era].step_ms;
    struct rollup_base *base = &m->base[era];
    struct column *c = &base->column;
    from_ms = later(from_ms, layout_era_from(&m->layout, era));
    until_ms = sooner(until_ms, layout_era_until(&m->layout, era));
    c->start_ms = from_ms;
    c->step_ms = step;
    c->n = until_ms > from_ms ? (size_t)((until_ms - from_ms) / step) : 0;
    if (!c->n)
        return OK;
    if (c->n > base->cap) {
        base->cap = c->n;
        c->values = xrealloc(c->values, c->n * sizeof *c->values);
    }
    for (size_t i = 0; i < c->n; i++)
        c->values[i] = column_missing();
    int64_t first = window_start(from_ms, step);
    int rc = warm_read(m->warm, m->series, step, first < 0 ? 0 : first, until_ms, lay_stored, m, err);
    m->base_damaged |= rc == ERR_CORRUPT;
    return rc == ERR_CORRUPT ? OK : rc;
}

static int load_stored_base(struct rollup_maker *m, int64_t from_ms, int64_t until_ms, struct err *err)
{
    int rc = OK;
    for (size_t e = 0; e < m->layout.neras && rc == OK; e++)
        rc = load_era(m, e, from_ms, until_ms, err);
    return rc;
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

/* Whether all points of the slot were there when it was made. */
static bool is_whole(const struct rollup_maker *m, const struct rollup_archive *a, int64_t ts_ms)
{
    int64_t until = ts_ms + a->step_ms;
    for (size_t e = layout_era_at(&m->layout, ts_ms); e < m->layout.neras; e++) {
        int64_t from = later(ts_ms, layout_era_from(&m->layout, e));
        if (from < until && m->layout.era[e].step_ms < a->step_ms && from < m->base[e].whole_from_ms)
            return false;
    }
    return true;
}

/* What of the tombstone lies in the slot: it takes the slot's place whatever was made, or cannot. */
static bool is_erased(struct rollup_maker *m, const struct rollup_archive *a, int64_t ts_ms,
                      const struct rollup *stored, uint32_t i)
{
    const struct tombstone *t = &m->erase;
    if (!t->series || ts_ms >= t->until_ms || ts_ms + a->step_ms <= t->from_ms)
        return false;
    bool takes = tombstone_takes(t, is_whole(m, a, ts_ms) ? INT64_MIN : INT64_MAX, ts_ms, a->step_ms);
    m->left += !takes && slot_get(stored->present, i);
    return takes;
}

/* What is stored with the made slots in it. */
static void lay_made(struct rollup_maker *m, const struct rollup_archive *w, struct rollup *r)
{
    uint64_t kept = 0;
    for (uint32_t i = 0; i < w->made.n; i++) {
        struct rollup_slot made, stored;
        int64_t ts = w->window_ms + (int64_t)i * w->step_ms;
        bool erased = is_erased(m, w, ts, r, i);
        if (!slot_get(w->made.present, i) && !erased)
            continue;
        rollup_get(&w->made, i, &made);
        rollup_get(r, i, &stored);
        if (erased || rollup_slot_replaces(&made, &stored) || is_whole(m, w, ts))
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

static int finish_window(struct rollup_maker *m, struct rollup_archive *w, struct flush_batch *b,
                         struct err *err)
{
    if (!w->open)
        return OK;
    w->open = false;
    struct part_key key = {m->series, w->step_ms, w->window_ms, m->hi};
    struct stored_window s = {.lo = m->lo, .replaced = &b->remove};
    size_t before = b->remove.n;
    rollup_init(&s.r, w->made.n);
    int rc = warm_read(m->warm, key.series, key.step_ms, key.window_ms, key.window_ms + 1, overlay_stored, &s,
                       err);
    struct rollup was = s.r;
    if (rc == OK || rc == ERR_CORRUPT)
        lay_made(m, w, &s.r);
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
    for (size_t k = 0; k < m->narchives && rc == OK; k++)
        rc = finish_window(m, &m->archive[k], b, err);
    return rc;
}

/* --- slots --- */

static int put_slot(struct rollup_maker *m, struct rollup_archive *w, int64_t ts_ms,
                    const struct rollup_slot *s, struct flush_batch *b, struct err *err)
{
    int64_t window = window_start(ts_ms, w->step_ms);
    if (!w->open || w->window_ms != window) {
        int rc = finish_window(m, w, b, err);
        if (rc != OK)
            return rc;
        w->open = true;
        w->window_ms = window;
        rollup_init(&w->made, window_slots(w->step_ms));
    }
    rollup_set(&w->made, window_slot(ts_ms, w->step_ms), s);
    return OK;
}

/* Makes the archive's slots that overlap [from_ms, until_ms) and were not made yet; the base columns cover
 * them. */
static int make_slots(struct rollup_maker *m, struct rollup_archive *w, int64_t from_ms, int64_t until_ms,
                      struct flush_batch *b, struct err *err)
{
    uint32_t step = w->step_ms;
    int64_t t = later(floor_to(from_ms, step), w->made_until_ms), end = ceil_to(until_ms, step);
    if (t >= end)
        return OK;
    w->made_until_ms = end;
    if (m->slots)
        counter_add(m->slots, (uint64_t)((end - t) / step));
    int rc = OK;
    for (; t < end && rc == OK; t += step) {
        struct rollup_slot s = ROLLUP_SLOT_INIT;
        for (size_t e = 0; e < m->layout.neras; e++)
            if (m->layout.era[e].step_ms < step)
                rollup_slot_add_column(&s, &m->base[e].column, t, t + step);
        if (s.field[ROLLUP_COUNT] > 0 || m->erase.series) /* else an empty slot changes nothing */
            rc = put_slot(m, w, t, &s, b, err);
    }
    return rc;
}

/* The archives that overlap with the times of one era: those that are coarser. */
static int make_in_era(struct rollup_maker *m, size_t era, int64_t from_ms, int64_t until_ms,
                       struct flush_batch *b, struct err *err)
{
    int rc = OK;
    for (size_t k = 0; k < m->narchives && rc == OK; k++)
        if (m->archive[k].step_ms > m->layout.era[era].step_ms)
            rc = make_slots(m, &m->archive[k], from_ms, until_ms, b, err);
    return rc;
}

static void add_archives(struct rollup_maker *m, const struct layout *l)
{
    for (size_t i = 0; i < l->narchives; i++) {
        size_t k = 0;
        while (k < m->narchives && m->archive[k].step_ms != l->archive[i].step_ms)
            k++;
        if (k < m->narchives)
            continue;
        struct rollup_archive *a = &m->archive[m->narchives++];
        a->step_ms = l->archive[i].step_ms;
        a->made_until_ms = INT64_MIN;
        a->open = false;
    }
}

/* False if the series has no coarse archive. */
static bool begin_series(struct rollup_maker *m, uint32_t series, uint32_t base_step_ms)
{
    const struct layout *now = NULL, *next = NULL;
    const struct retention *r = NULL;
    m->series = series;
    m->lo = UINT64_MAX;
    m->hi = 0;
    m->narchives = 0;
    m->base_damaged = false;
    m->erase.series = 0;
    m->left = 0;
    for (size_t e = 0; e < LAYOUT_ERAS; e++) {
        m->base[e].whole_from_ms = INT64_MAX;
        m->base[e].column.n = 0;
    }
    if (m->layouts && m->layouts(m->archives_ctx, series, &now, &next))
        m->layout = *now;
    else if (!m->layouts && m->archives && (r = m->archives(m->archives_ctx, series)))
        layout_make(r, base_step_ms, &m->layout);
    else
        return false;
    add_archives(m, &m->layout);
    if (next)
        add_archives(m, next);
    return m->narchives > 0;
}

/* The slots that overlap [*from_ms, *until_ms), of all archives that are coarser than the era: where the
 * first begins and the last ends. */
static void widen(const struct rollup_maker *m, size_t era, int64_t *from_ms, int64_t *until_ms)
{
    int64_t from = *from_ms, until = *until_ms;
    for (size_t k = 0; k < m->narchives; k++) {
        uint32_t step = m->archive[k].step_ms;
        if (step <= m->layout.era[era].step_ms)
            continue;
        *from_ms = sooner(*from_ms, floor_to(from, step));
        *until_ms = later(*until_ms, ceil_to(until, step));
    }
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
    if (x->window_ms != y->window_ms)
        return x->window_ms < y->window_ms ? -1 : 1;
    return (x->step_ms > y->step_ms) - (x->step_ms < y->step_ms);
}

/* The slots of a window, and which era it is of. */
static size_t reach_of(const struct rollup_maker *m, const struct turn *t, int64_t *from_ms,
                       int64_t *until_ms)
{
    size_t era = layout_era_at(&m->layout, t->window_ms);
    *from_ms = t->window_ms;
    *until_ms = t->window_ms + window_span_ms(t->step_ms);
    widen(m, era, from_ms, until_ms);
    return era;
}

/* How many of the n windows share coarse slots with the first, directly or through others, and are not too
 * many to be held at once. Where their slots begin and end. */
static size_t region_of(const struct rollup_maker *m, const struct turn *t, size_t n, int64_t *from_ms,
                        int64_t *until_ms)
{
    int64_t from, until;
    size_t i = 1;
    reach_of(m, t, from_ms, until_ms);
    for (; i < n && t[i].window_ms < *until_ms && (t[i].window_ms - *from_ms) / t->step_ms < REGION_SLOTS;
         i++) {
        reach_of(m, &t[i], &from, &until);
        *from_ms = sooner(*from_ms, from);
        *until_ms = later(*until_ms, until);
    }
    return i;
}

/* The stored base first: what the batch has was merged with it. Windows of other regions may touch this one.
 */
static int load_base(struct rollup_maker *m, const struct flush_batch *b, const struct turn *t, size_t n,
                     int64_t from_ms, int64_t until_ms, struct err *err)
{
    int rc = load_stored_base(m, from_ms, until_ms, err);
    for (size_t i = 0; i < n && rc == OK; i++) {
        if (t[i].window_ms + window_span_ms(t[i].step_ms) <= from_ms || t[i].window_ms >= until_ms)
            continue;
        const struct part *p = &b->parts[t[i].part];
        if (lay_block(m, &p->key, flush_batch_data(b, t[i].part), p->size) != OK)
            rc = err_set(err, ERR_CORRUPT, "a window that was just encoded cannot be decoded");
    }
    return rc;
}

/* One window's slots; nothing for one of another step than its time's. */
static int make_window(struct rollup_maker *m, const struct turn *t, struct flush_batch *b, struct err *err)
{
    size_t era = layout_era_at(&m->layout, t->window_ms);
    if (m->layout.era[era].step_ms != t->step_ms)
        return OK;
    return make_in_era(m, era, t->window_ms, t->window_ms + window_span_ms(t->step_ms), b, err);
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
        int64_t from, until;
        size_t some = region_of(m, t + i, n - i, &from, &until);
        rc = load_base(m, b, t, n, from, until, err);
        for (size_t j = i; j < i + some && rc == OK; j++)
            rc = make_window(m, &t[j], b, err);
        i += some;
    }
    return rc == OK ? finish_windows(m, b, err) : rc;
}

int rollup_add_parts(struct rollup_maker *m, struct flush_batch *b, struct err *err)
{
    size_t n = b->n;
    if ((!m->archives && !m->layouts) || !n)
        return OK;
    struct turn *t = xmalloc(n * sizeof *t);
    for (size_t i = 0; i < n; i++) {
        const struct part_key *k = &b->parts[i].key;
        t[i] = (struct turn){k->series, k->step_ms, k->window_ms, i};
    }
    qsort(t, n, sizeof *t, by_series_and_time);
    int rc = OK;
    for (size_t i = 0, j; i < n && rc == OK; i = j) {
        for (j = i + 1; j < n && t[j].series == t[i].series; j++)
            ;
        rc = add_series(m, b, t + i, j - i, err);
    }
    free(t);
    return rc;
}

/* --- from warm alone --- */

/* Region by region, each on the borders of the coarsest slots. */
static int rebuild_era(struct rollup_maker *m, struct flush_batch *b, size_t era, int64_t from_ms,
                       int64_t until_ms, struct err *err)
{
    uint32_t coarsest = layout_coarsest_ms(&m->layout);
    int64_t region = ceil_to((int64_t)REGION_SLOTS * m->layout.era[era].step_ms, coarsest);
    int rc = OK;
    for (int64_t t = from_ms; t < until_ms && rc == OK; t += region) {
        int64_t end = sooner(floor_to(t, coarsest) + region, until_ms), from = t, until = end;
        widen(m, era, &from, &until);
        m->laid = false;
        rc = load_stored_base(m, from, until, err);
        for (size_t e = 0; e < LAYOUT_ERAS && m->base_damaged; e++)
            m->base[e].whole_from_ms = INT64_MAX;
        if (rc == OK && (m->laid || m->erase.series))
            rc = make_in_era(m, era, t, end, b, err);
        t = floor_to(t, coarsest);
    }
    return rc;
}

/* Since when the points of each era are complete: not before whole_from_ms. */
static void note_whole(struct rollup_maker *m, int64_t whole_from_ms)
{
    for (size_t e = 0; e < m->layout.neras; e++)
        m->base[e].whole_from_ms = later(whole_from_ms, layout_era_whole_ms(&m->layout, e, m->now_ms));
}

/* Of eras that are complete from some time on only what is younger, unless something is to be erased. */
static int make_again(struct rollup_maker *m, struct flush_batch *b, int64_t from_ms, int64_t until_ms,
                      struct err *err)
{
    int rc = OK;
    for (size_t e = 0; e < m->layout.neras && rc == OK; e++) {
        int64_t from = later(from_ms < 0 ? 0 : from_ms, layout_era_from(&m->layout, e)),
                until = sooner(until_ms, layout_era_until(&m->layout, e));
        if (!m->erase.series)
            from = later(from, m->base[e].whole_from_ms);
        rc = rebuild_era(m, b, e, from, until, err);
    }
    return rc == OK ? finish_windows(m, b, err) : rc;
}

int rollup_rebuild(struct rollup_maker *m, struct flush_batch *b, uint32_t series, uint32_t base_step_ms,
                   int64_t from_ms, int64_t until_ms, int64_t whole_from_ms, struct err *err)
{
    if (!begin_series(m, series, base_step_ms))
        return OK;
    note_whole(m, whole_from_ms);
    return make_again(m, b, from_ms, until_ms, err);
}

int rollup_erase(struct rollup_maker *m, struct flush_batch *b, const struct tombstone *t,
                 uint32_t base_step_ms, int64_t from_ms, int64_t until_ms, int64_t whole_from_ms,
                 uint64_t *left, struct err *err)
{
    if (!begin_series(m, t->series, base_step_ms))
        return OK;
    assert(from_ms % layout_coarsest_ms(&m->layout) == 0 && until_ms % layout_coarsest_ms(&m->layout) == 0);
    note_whole(m, whole_from_ms);
    m->erase = *t;
    m->erase.from_ms = later(t->from_ms, from_ms);
    m->erase.until_ms = sooner(t->until_ms, until_ms);
    if (m->erase.from_ms >= m->erase.until_ms)
        return OK;
    int rc = make_again(m, b, m->erase.from_ms, m->erase.until_ms, err);
    *left += m->left;
    return rc;
}

/* --- from a finer archive --- */

struct joining {
    struct rollup_maker *m;
    uint32_t step_ms;
    int64_t from_ms, until_ms, window_ms;
    bool open;
    struct rollup finer; /* the window being read */
    struct rollup_archive *to;
    int64_t slot_ms;
    struct rollup_slot slot;
    struct flush_batch *b;
    struct err *err;
    int rc;
};

static void end_slot(struct joining *j)
{
    if (j->rc == OK && j->slot.field[ROLLUP_COUNT] > 0)
        j->rc = put_slot(j->m, j->to, j->slot_ms, &j->slot, j->b, j->err);
    j->slot = (struct rollup_slot)ROLLUP_SLOT_INIT;
}

static void join_window(struct joining *j)
{
    for (uint32_t i = 0; j->open && i < j->finer.n; i++) {
        int64_t ts = j->window_ms + (int64_t)i * j->step_ms, slot = floor_to(ts, j->to->step_ms);
        struct rollup_slot s;
        if (!slot_get(j->finer.present, i) || ts < j->from_ms || ts >= j->until_ms)
            continue;
        if (slot != j->slot_ms)
            end_slot(j);
        j->slot_ms = slot;
        rollup_get(&j->finer, i, &s);
        rollup_slot_join(&j->slot, &s);
    }
    j->open = false;
}

/* warm_part_fn */
static int join_stored(void *ctx, const struct part *p)
{
    struct joining *j = ctx;
    struct rollup one;
    if (!j->open || p->key.window_ms != j->window_ms) {
        join_window(j);
        j->open = true;
        j->window_ms = p->key.window_ms;
        rollup_init(&j->finer, window_slots(j->step_ms));
    }
    if (rollup_block_decode(p->data, p->size, j->finer.n, &one, NULL) == OK)
        rollup_overlay(&j->finer, &one);
    j->m->hi = p->key.hi > j->m->hi ? p->key.hi : j->m->hi;
    j->m->lo = p->lo < j->m->lo ? p->lo : j->m->lo;
    return j->rc;
}

int rollup_join(struct rollup_maker *m, struct flush_batch *b, uint32_t series, uint32_t finer_ms,
                uint32_t step_ms, int64_t from_ms, int64_t until_ms, struct err *err)
{
    struct joining j = {.m = m,
                        .step_ms = finer_ms,
                        .from_ms = from_ms,
                        .until_ms = until_ms,
                        .slot_ms = from_ms,
                        .b = b,
                        .err = err};
    if (!begin_series(m, series, finer_ms))
        return OK;
    for (size_t k = 0; k < m->narchives; k++)
        if (m->archive[k].step_ms == step_ms)
            j.to = &m->archive[k];
    if (!j.to)
        return err_set(err, ERR_INVALID, "series %u is not to have an archive of %u ms", series, step_ms);
    j.slot = (struct rollup_slot)ROLLUP_SLOT_INIT;
    int64_t first = window_start(from_ms, finer_ms);
    int rc = warm_read(m->warm, series, finer_ms, first < 0 ? 0 : first, until_ms, join_stored, &j, err);
    if (j.rc != OK)
        return j.rc;
    if (rc != OK && rc != ERR_CORRUPT)
        return rc;
    join_window(&j);
    end_slot(&j);
    return j.rc == OK ? finish_windows(m, b, err) : j.rc;
}
