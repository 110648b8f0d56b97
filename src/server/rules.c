#include "server/rules_impl.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- generations --- */

void generation_free(struct generation *g)
{
    for (uint32_t i = 1; i <= g->nclasses; i++)
        free(g->by_number[i]);
    for (uint32_t i = 0; i < RULES_PAGES; i++)
        free((void *)g->pages[i]);
    free(g->era);
    pthread_mutex_destroy(&g->mtx);
    free(g);
}

struct generation *generation_new(const struct rules *r)
{
    struct generation *g = xcalloc(1, sizeof *g);
    pthread_mutex_init(&g->mtx, NULL);
    g->n = r->history.n;
    g->era = xcalloc(g->n, sizeof *g->era);
    g->aggregation = r->aggregation;
    for (size_t i = 0; i < g->n; i++) {
        const struct rules_entry *e = &r->history.v[i];
        g->era[i] = (struct era){r->parsed[i], e->after_series, e->state, e->decided_ms, e->from_ms};
        g->steps_change |= i > 0 && rules_applied(e->state);
    }
    return g;
}

static const struct retention_rules *in_force(const struct generation *g)
{
    return g->era[g->n - 1].rules;
}

/* --- one series --- */

static size_t birth_of(const struct generation *g, uint32_t series)
{
    size_t i = g->n - 1;
    while (i > 0 && g->era[i].after_series >= series)
        i--;
    return i;
}

static void stored_layout(const struct generation *g, uint32_t series, uint32_t step_ms, const char *name,
                          size_t len, struct layout *out)
{
    size_t i = birth_of(g, series);
    layout_make(retention_match(g->era[i].rules, name, len), step_ms, out);
    for (i++; i < g->n; i++) {
        const struct era *e = &g->era[i];
        struct layout before = *out;
        if (rules_applied(e->state))
            layout_change(&before, retention_match(e->rules, name, len), e->decided_ms, e->from_ms, out);
    }
}

static void make_class(const struct generation *g, uint32_t series, uint32_t step_ms, const char *name,
                       size_t len, struct class *c)
{
    const struct era *last = &g->era[g->n - 1];
    const struct retention *rule = retention_match(last->rules, name, len);
    memset(c, 0, sizeof *c);
    c->aggregation = aggregation_match(g->aggregation, name, len);
    stored_layout(g, series, step_ms, name, len, &c->stored);
    layout_clip(&c->stored, rule, &c->read);
    c->has_next = last->state == RULES_BUILDING && last->after_series >= series;
    if (c->has_next)
        layout_change(&c->stored, rule, last->decided_ms, LAYOUT_NEVER, &c->next);
}

static bool same_class(const struct class *a, const struct class *b)
{
    return a->aggregation == b->aggregation && a->has_next == b->has_next &&
           layout_equal(&a->stored, &b->stored) && layout_equal(&a->read, &b->read) &&
           (!a->has_next || layout_equal(&a->next, &b->next));
}

/* The number of such a class, made if it is new. */
static uint32_t class_number(struct generation *g, const struct class *like)
{
    pthread_mutex_lock(&g->mtx);
    uint32_t i = 1;
    while (i <= g->nclasses && !same_class(g->by_number[i], like))
        i++;
    if (i > g->nclasses) {
        assert(i <= RULES_CLASSES_MAX); /* rules x steps x rules: files of thousands of sections are needed to
                                           come near */
        struct class *c = xmalloc(sizeof *c);
        *c = *like;
        atomic_store_explicit(&g->by_number[i], c, memory_order_release);
        g->nclasses = i;
    }
    pthread_mutex_unlock(&g->mtx);
    return i;
}

static _Atomic(uint16_t) *page_of(struct generation *g, uint32_t series)
{
    _Atomic(uint16_t) *page =
        atomic_load_explicit(&g->pages[series / RULES_PAGE_SERIES], memory_order_acquire);
    if (page)
        return page;
    _Atomic(uint16_t) *fresh = xcalloc(RULES_PAGE_SERIES, sizeof *fresh);
    if (atomic_compare_exchange_strong(&g->pages[series / RULES_PAGE_SERIES], &page, fresh))
        return fresh;
    free((void *)fresh);
    return page;
}

static const struct class *class_in(struct rules *r, struct generation *g, uint32_t series)
{
    _Atomic(uint16_t) *cell = &page_of(g, series)[series % RULES_PAGE_SERIES];
    uint32_t number = atomic_load_explicit(cell, memory_order_relaxed);
    if (!number) {
        size_t len;
        struct class c;
        const char *name = catalog_name(r->catalog, series, &len);
        uint32_t step_ms = catalog_step_ms(r->catalog, series);
        if (!name || !step_ms)
            return NULL;
        make_class(g, series, step_ms, name, len, &c);
        number = class_number(g, &c);
        atomic_store_explicit(cell, (uint16_t)number, memory_order_relaxed);
    }
    return atomic_load_explicit(&g->by_number[number], memory_order_acquire);
}

static const struct class *class_of(struct rules *r, uint32_t series)
{
    return class_in(r, generation_now(r), series);
}

bool rules_layouts(void *ctx, uint32_t series, const struct layout **now, const struct layout **next)
{
    const struct class *c = class_of(ctx, series);
    if (!c)
        return false;
    *now = &c->stored;
    if (next)
        *next = c->has_next ? &c->next : NULL;
    return true;
}

bool rules_read_layouts(void *ctx, uint32_t series, const struct layout **now, const struct layout **next)
{
    const struct class *c = class_of(ctx, series);
    if (!c)
        return false;
    *now = &c->read;
    if (next)
        *next = NULL;
    return true;
}

uint32_t rules_step_at(void *ctx, uint32_t series, int64_t ts_ms)
{
    struct rules *r = ctx;
    struct generation *g = generation_now(r);
    uint32_t step_ms = catalog_step_ms(r->catalog, series); /* 0: no such series, or it has ended */
    if (!g->steps_change || !step_ms)
        return step_ms;
    const struct class *c = class_in(r, g, series);
    return c ? c->stored.era[layout_era_at(&c->stored, ts_ms)].step_ms : 0;
}

const struct aggregation_rule *rules_aggregation(void *ctx, uint32_t series)
{
    const struct class *c = class_of(ctx, series);
    return c ? c->aggregation : NULL;
}

uint32_t rules_step_ms(struct rules *r, const char *name, size_t len)
{
    return retention_match(in_force(generation_now(r)), name, len)->archives[0].step_ms;
}

int64_t rules_keep_ms(struct rules *r, const char *name, size_t len)
{
    return retention_match(in_force(generation_now(r)), name, len)->archives[0].keep_ms;
}

int64_t rules_shortest_keep_ms(struct rules *r)
{
    return retention_shortest_keep_ms(in_force(generation_now(r)));
}

/* --- for the mover --- */

struct gathering {
    struct rules *r;
    struct generation *g;
};

static void note_step(struct rules *r, uint32_t step_ms, int64_t keep_ms)
{
    size_t i = 0;
    while (i < r->nsteps && r->steps[i].step_ms != step_ms)
        i++;
    if (i == RULES_STEPS_MAX)
        return;
    if (i == r->nsteps)
        r->steps[r->nsteps++] = (struct step_keep){step_ms, 0};
    if (keep_ms > r->steps[i].keep_ms)
        r->steps[i].keep_ms = keep_ms;
}

static void note_layout(struct rules *r, const struct layout *l)
{
    for (size_t i = 0; i < l->neras; i++)
        note_step(r, l->era[i].step_ms, layout_store_keep_ms(l, l->era[i].step_ms));
    for (size_t i = 0; i < l->narchives; i++)
        note_step(r, l->archive[i].step_ms, layout_store_keep_ms(l, l->archive[i].step_ms));
}

static int note_series(void *ctx, uint32_t id, uint32_t step_ms, const char *name, size_t len)
{
    struct gathering *n = ctx;
    const struct class *c = class_in(n->r, n->g, id);
    if (c)
        note_layout(n->r, &c->stored);
    if (c && c->has_next)
        note_layout(n->r, &c->next);
    note_step(n->r, step_ms, 0);
    return 0;
}

size_t rules_steps(void *ctx, uint32_t *steps_ms, size_t cap)
{
    struct rules *r = ctx;
    struct gathering n = {r, generation_now(r)};
    const struct retention *one;
    pthread_mutex_lock(&r->steps_mtx);
    r->nsteps = 0;
    r->steps_of = n.g;
    for (size_t i = 0; i < n.g->n; i++)
        for (size_t k = 0; (one = retention_at(n.g->era[i].rules, k)); k++)
            for (size_t a = 0; a < one->narchives; a++)
                note_step(r, one->archives[a].step_ms, 0);
    catalog_each(r->catalog, note_series, &n);
    size_t out = r->nsteps < cap ? r->nsteps : cap;
    for (size_t i = 0; i < out; i++)
        steps_ms[i] = r->steps[i].step_ms;
    pthread_mutex_unlock(&r->steps_mtx);
    return out;
}

/* The longest any rule in force wants: a series that is born meanwhile has only steps of these. */
static int64_t keep_of_rules(const struct generation *g, uint32_t step_ms)
{
    const struct retention *one;
    int64_t keep = 0;
    for (size_t k = 0; (one = retention_at(in_force(g), k)); k++)
        for (size_t a = 0; a < one->narchives; a++)
            if (one->archives[a].step_ms == step_ms && retention_warm_keep_ms(one, a) > keep)
                keep = retention_warm_keep_ms(one, a);
    return keep;
}

int64_t rules_step_keep_ms(void *ctx, uint32_t step_ms)
{
    struct rules *r = ctx;
    struct generation *g = generation_now(r);
    int64_t keep = 0;
    size_t i = 0;
    pthread_mutex_lock(&r->steps_mtx);
    while (i < r->nsteps && r->steps[i].step_ms != step_ms)
        i++;
    if (g == r->steps_of && i < r->nsteps) {
        keep = keep_of_rules(g, step_ms);
        keep = keep > r->steps[i].keep_ms ? keep : r->steps[i].keep_ms;
        keep = keep ? keep : RULES_DROP_NOW;
    }
    pthread_mutex_unlock(&r->steps_mtx);
    return keep;
}

/* --- what is to change --- */

bool rules_outlook(struct rules *r, const struct rules_candidate *c, uint32_t series, int64_t now_ms,
                   struct rules_outlook *out)
{
    struct generation *g = generation_now(r);
    const struct class *k = class_in(r, g, series);
    size_t len;
    const char *name = catalog_name(r->catalog, series, &len);
    if (!k || !name)
        return false;
    out->now = k->stored;
    out->wanted = retention_match(c ? c->retention : in_force(g), name, len);
    out->aggregation = k->aggregation;
    out->new_aggregation = c ? aggregation_match(c->aggregation, name, len) : k->aggregation;
    out->step_stays = layout_why_not(&out->now, out->wanted, now_ms);
    out->switch_ms = layout_switch_ms(&out->now, out->wanted, now_ms + r->o.max_future_ms);
    layout_change(&out->now, out->wanted, now_ms, now_ms + r->o.max_future_ms, &out->then);
    return true;
}
