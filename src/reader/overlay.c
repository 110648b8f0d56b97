#include "reader/overlay.h"

#include "base/mem.h"
#include "codec/codec.h"

#include <stdlib.h>

int hot_copies_add(void *ctx, const struct hot_window *w)
{
    struct hot_copies *c = ctx;
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 2;
        c->v = xrealloc(c->v, c->cap * sizeof *c->v);
    }
    c->v[c->n++] = *w;
    return 0;
}

static int by_window_and_hi(const void *a, const void *b)
{
    const struct hot_window *x = a, *y = b;
    if (x->window_ms != y->window_ms)
        return x->window_ms < y->window_ms ? -1 : 1;
    return x->hi < y->hi ? -1 : x->hi > y->hi;
}

void hot_copies_sort(struct hot_copies *c)
{
    if (c->n > 1)
        qsort(c->v, c->n, sizeof *c->v, by_window_and_hi);
}

void hot_copies_release(struct hot_copies *c)
{
    free(c->v);
    *c = (struct hot_copies){0};
}

void overlay_init(struct overlay *o, struct column *column, const struct hot_copies *hot)
{
    *o = (struct overlay){
        .column = column,
        .window_slots = window_slots(column->step_ms),
        .hot = hot,
        .last_window_ms = INT64_MIN,
    };
}

/* The column's index of a window's first slot; the window may begin before the column. */
static int64_t first_index(const struct overlay *o, int64_t window_ms)
{
    return (window_ms - o->column->start_ms) / o->column->step_ms;
}

static void lay_slots(struct overlay *o, int64_t window_ms, const struct slots *s)
{
    int64_t at = first_index(o, window_ms), n = (int64_t)o->column->n;
    o->points += slots_count(s->present, s->n);
    for (uint32_t w = 0; w < SLOTS_WORDS(s->n); w++)
        for (uint64_t bits = s->present[w]; bits; bits &= bits - 1) {
            uint32_t slot = w * 64 + (uint32_t)__builtin_ctzll(bits);
            if (at + slot >= 0 && at + slot < n)
                o->column->values[at + slot] = s->value[slot];
        }
}

/* Hot wins a tie: at the same position both hold the same, or hot more. */
static void lay_hot_before(struct overlay *o, const struct part_key *key)
{
    while (o->next < o->hot->n) {
        const struct hot_window *w = &o->hot->v[o->next];
        if (w->window_ms > key->window_ms || (w->window_ms == key->window_ms && w->hi >= key->hi))
            return;
        lay_slots(o, w->window_ms, &w->slots);
        o->next++;
    }
}

/* The usual case: the only part of a window that lies whole in the column is decoded to where it belongs. */
static int decode_in_place(struct overlay *o, const struct part *p, double *values, struct err *err)
{
    uint64_t present[SLOTS_WORDS(WINDOW_SLOTS_MAX)];
    int rc = codec_decode(p->data, p->size, o->window_slots, present, values, err);
    if (rc == OK)
        o->points += slots_count(present, o->window_slots);
    for (uint32_t i = 0; rc < 0 && i < o->window_slots; i++)
        values[i] = column_missing();
    return rc;
}

static int decode_aside(struct overlay *o, const struct part *p, struct err *err)
{
    struct slots s;
    slots_init(&s, o->window_slots);
    int rc = codec_decode(p->data, p->size, s.n, s.present, s.value, err);
    if (rc == OK)
        lay_slots(o, p->key.window_ms, &s);
    return rc;
}

void overlay_part(struct overlay *o, const struct part *p)
{
    size_t hot_before = o->next;
    lay_hot_before(o, &p->key);
    bool untouched = p->key.window_ms != o->last_window_ms &&
                     (o->next == hot_before || o->hot->v[o->next - 1].window_ms != p->key.window_ms);
    int64_t at = first_index(o, p->key.window_ms);
    bool whole = p->key.window_ms >= o->column->start_ms && at + o->window_slots <= (int64_t)o->column->n;
    struct err err = ERR_INIT;
    int rc =
        untouched && whole ? decode_in_place(o, p, o->column->values + at, &err) : decode_aside(o, p, &err);
    o->last_window_ms = p->key.window_ms;
    if (rc < 0 && o->damage.code == OK)
        err_set(&o->damage, rc, "block of series %u, step %u ms, window %lld: %s", p->key.series,
                p->key.step_ms, (long long)p->key.window_ms, err.text);
}

void overlay_finish(struct overlay *o)
{
    for (; o->next < o->hot->n; o->next++)
        lay_slots(o, o->hot->v[o->next].window_ms, &o->hot->v[o->next].slots);
}
