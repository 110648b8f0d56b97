/* The parts of several packs as one sequence: the smallest key of those at the front of each. */
#include "base/mem.h"
#include "cold/cold_impl.h"

#include <inttypes.h>
#include <stdlib.h>

struct source {
    struct cold_merge *merge;
    struct cold_pack *pack;
    enum { SOURCE_CLOSED, SOURCE_OPEN, SOURCE_DONE } state;
    struct pack_cursor cursor;
    struct part head; /* while open */
};

struct cold_merge {
    struct cold *c;
    struct cold_range range;
    struct err damage;
    struct source *last; /* its head was delivered and must move on */
    size_t nopened;      /* sources are opened in order */
    size_t n;
    struct source sources[];
};

struct cold_merge *cold_merge_new(struct cold *c, struct cold_pack *const *packs, size_t n,
                                  const struct cold_range *r)
{
    struct cold_merge *m = xcalloc(1, sizeof *m + n * sizeof m->sources[0]);
    m->c = c;
    m->range = *r;
    m->n = n;
    for (size_t i = 0; i < n; i++) {
        m->sources[i].merge = m;
        m->sources[i].pack = packs[i];
    }
    return m;
}

const struct err *cold_merge_damage(const struct cold_merge *m)
{
    return &m->damage;
}

static void mark_damaged(struct cold *c, struct cold_pack *p)
{
    pthread_mutex_lock(&c->mtx);
    p->damaged = true;
    pthread_mutex_unlock(&c->mtx);
}

static void note_damage(void *ctx, const struct pack_damage *d, const struct err *why)
{
    struct source *s = ctx;
    struct err e = ERR_INIT;
    err_set(&e, why->code, "pack %016" PRIx64 ", from series %u, window %lld on: %s", s->pack->info.id,
            d->series, (long long)d->window_ms, why->text);
    if (cold_damaged(s->merge->c, &e, &s->merge->damage))
        mark_damaged(s->merge->c, s->pack);
}

static void source_close(struct source *s)
{
    if (s->state == SOURCE_OPEN) {
        pack_cursor_release(&s->cursor);
        cold_pack_release(s->merge->c, s->pack);
    }
    s->state = SOURCE_DONE;
}

static void source_advance(struct source *s)
{
    if (!pack_cursor_next(&s->cursor, &s->head))
        source_close(s);
}

static void source_open(struct source *s)
{
    struct cold_merge *m = s->merge;
    struct pack *pack;
    struct err why = ERR_INIT;
    if (cold_pack_acquire(m->c, s->pack, &pack, &why) < 0) {
        s->state = SOURCE_DONE;
        if (cold_damaged(m->c, &why, &m->damage))
            mark_damaged(m->c, s->pack);
        return;
    }
    struct pack_range r = {m->range.min_series, m->range.max_series, m->range.from_ms, m->range.until_ms};
    pack_cursor_init(&s->cursor, pack, &r, note_damage, s);
    s->state = SOURCE_OPEN;
    source_advance(s);
}

static bool before(const struct source *a, const struct source *b)
{
    const struct part_key *x = &a->head.key, *y = &b->head.key;
    if (x->series != y->series)
        return x->series < y->series;
    if (x->window_ms != y->window_ms)
        return x->window_ms < y->window_ms;
    if (x->hi != y->hi)
        return x->hi < y->hi;
    return a->pack->info.order < b->pack->info.order;
}

static struct source *smallest(struct cold_merge *m)
{
    struct source *best = NULL;
    for (size_t i = 0; i < m->nopened; i++)
        if (m->sources[i].state == SOURCE_OPEN && (!best || before(&m->sources[i], best)))
            best = &m->sources[i];
    return best;
}

/* Whether a pack that is not open yet may hold something before `best`. */
static bool must_open(const struct cold_merge *m, const struct source *best)
{
    if (m->nopened == m->n)
        return false;
    return !best || m->range.min_series != m->range.max_series ||
           m->sources[m->nopened].pack->info.from_ms <= best->head.key.window_ms;
}

int cold_merge_next(struct cold_merge *m, struct part *out)
{
    if (m->last)
        source_advance(m->last);
    struct source *best = smallest(m);
    while (must_open(m, best)) {
        source_open(&m->sources[m->nopened++]);
        best = smallest(m);
    }
    m->last = best;
    if (!best)
        return 0;
    *out = best->head;
    return 1;
}

void cold_merge_free(struct cold_merge *m)
{
    for (size_t i = 0; i < m->n; i++)
        source_close(&m->sources[i]);
    free(m);
}
