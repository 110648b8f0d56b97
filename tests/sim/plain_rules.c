#include "sim/plain_rules.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SERIES 4096
#define PAGES       (1u << 20)
#define CLASSES_MAX 65535 /* combinations of rules and base step; 0 in a page means not looked up yet */
#define GENERATIONS 64

struct class {
    const struct retention *matched;
    uint32_t base_step_ms;
    const struct aggregation_rule *aggregation;
    struct retention retention; /* as it applies to that base step */
};

struct generation {
    struct retention_rules *retention;
    struct aggregation_rules *aggregation;
    pthread_mutex_t mtx;
    uint32_t nclasses; /* under mtx */
    _Atomic(uint16_t) *_Atomic pages[PAGES];
    struct class *_Atomic by_number[CLASSES_MAX + 1]; /* once set, a class never changes */
};

struct plain_rules {
    char *schemas_path, *aggregation_path;
    struct catalog *catalog;
    struct generation *_Atomic now;
    struct generation *all[GENERATIONS];
    unsigned n;
};

static void generation_free(struct generation *g)
{
    if (g->retention)
        retention_free(g->retention);
    if (g->aggregation)
        aggregation_rules_free(g->aggregation);
    for (uint32_t i = 1; i <= g->nclasses; i++)
        free(g->by_number[i]);
    for (uint32_t i = 0; i < PAGES; i++)
        free((void *)g->pages[i]);
    pthread_mutex_destroy(&g->mtx);
    free(g);
}

int plain_rules_reload(struct plain_rules *r, struct err *err)
{
    if (r->n == GENERATIONS)
        return err_set(err, ERR_LIMIT,
                       "the rules were reloaded %d times; restart the server to read them again",
                       GENERATIONS - 1);
    struct generation *g = xcalloc(1, sizeof *g);
    pthread_mutex_init(&g->mtx, NULL);
    int rc = OK;
    if (*r->schemas_path)
        rc = retention_load(r->schemas_path, &g->retention, err);
    else
        g->retention = retention_default();
    if (rc == OK && *r->aggregation_path)
        rc = aggregation_rules_load(r->aggregation_path, &g->aggregation, err);
    else if (rc == OK)
        g->aggregation = aggregation_rules_default();
    if (rc != OK) {
        generation_free(g);
        return rc;
    }
    r->all[r->n++] = g;
    atomic_store_explicit(&r->now, g, memory_order_release);
    return OK;
}

int plain_rules_new(const char *schemas_path, const char *aggregation_path, struct plain_rules **out,
                    struct err *err)
{
    struct plain_rules *r = xcalloc(1, sizeof *r);
    r->schemas_path = xstrdup(schemas_path);
    r->aggregation_path = xstrdup(aggregation_path);
    int rc = plain_rules_reload(r, err);
    if (rc != OK) {
        plain_rules_free(r);
        return rc;
    }
    *out = r;
    return OK;
}

void plain_rules_free(struct plain_rules *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < r->n; i++)
        generation_free(r->all[i]);
    free(r->schemas_path);
    free(r->aggregation_path);
    free(r);
}

void plain_rules_set_catalog(struct plain_rules *r, struct catalog *c)
{
    r->catalog = c;
}

static struct generation *generation_now(struct plain_rules *r)
{
    return atomic_load_explicit(&r->now, memory_order_acquire);
}

static _Atomic(uint16_t) *page_of(struct generation *g, uint32_t series)
{
    _Atomic(uint16_t) *page = atomic_load_explicit(&g->pages[series / PAGE_SERIES], memory_order_acquire);
    if (page)
        return page;
    _Atomic(uint16_t) *fresh = xcalloc(PAGE_SERIES, sizeof *fresh);
    if (atomic_compare_exchange_strong(&g->pages[series / PAGE_SERIES], &page, fresh))
        return fresh;
    free((void *)fresh);
    return page;
}

/* The number of the class for these rules and step, made if it is new. */
static uint32_t class_number(struct generation *g, const struct retention *matched, uint32_t step_ms,
                             const struct aggregation_rule *aggregation)
{
    pthread_mutex_lock(&g->mtx);
    uint32_t i = 1;
    for (; i <= g->nclasses; i++) {
        const struct class *c = g->by_number[i];
        if (c->matched == matched && c->base_step_ms == step_ms && c->aggregation == aggregation)
            break;
    }
    if (i > g->nclasses) {
        assert(
            i <=
            CLASSES_MAX); /* rules x steps x rules: files of thousands of sections are needed to come near */
        struct class *c = xcalloc(1, sizeof *c);
        *c = (struct class){.matched = matched, .base_step_ms = step_ms, .aggregation = aggregation};
        retention_of_step(matched, step_ms, &c->retention);
        atomic_store_explicit(&g->by_number[i], c, memory_order_release);
        g->nclasses = i;
    }
    pthread_mutex_unlock(&g->mtx);
    return i;
}

static const struct class *class_of(struct plain_rules *r, uint32_t series)
{
    struct generation *g = generation_now(r);
    _Atomic(uint16_t) *cell = &page_of(g, series)[series % PAGE_SERIES];
    uint32_t number = atomic_load_explicit(cell, memory_order_relaxed);
    if (!number) {
        size_t len;
        const char *name = catalog_name(r->catalog, series, &len);
        uint32_t step_ms = catalog_step_ms(r->catalog, series);
        if (!name || !step_ms)
            return NULL;
        number = class_number(g, retention_match(g->retention, name, len), step_ms,
                              aggregation_match(g->aggregation, name, len));
        atomic_store_explicit(cell, (uint16_t)number, memory_order_relaxed);
    }
    return atomic_load_explicit(&g->by_number[number], memory_order_acquire);
}

const struct retention *plain_rules_retention(void *ctx, uint32_t series)
{
    const struct class *c = class_of(ctx, series);
    return c ? &c->retention : NULL;
}

const struct aggregation_rule *plain_rules_aggregation(void *ctx, uint32_t series)
{
    const struct class *c = class_of(ctx, series);
    return c ? c->aggregation : NULL;
}

uint32_t plain_rules_step_ms(struct plain_rules *r, const char *name, size_t len)
{
    return retention_match(generation_now(r)->retention, name, len)->archives[0].step_ms;
}

int64_t plain_rules_keep_ms(struct plain_rules *r, const char *name, size_t len)
{
    return retention_match(generation_now(r)->retention, name, len)->archives[0].keep_ms;
}

int64_t plain_rules_shortest_keep_ms(struct plain_rules *r)
{
    return retention_shortest_keep_ms(generation_now(r)->retention);
}

struct steps {
    uint32_t *v;
    size_t n, cap;
};

static void add_step(struct steps *s, uint32_t step_ms)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i] == step_ms)
            return;
    if (s->n < s->cap)
        s->v[s->n++] = step_ms;
}

static int add_series_step(void *ctx, uint32_t id, uint32_t step_ms, const char *name, size_t len)
{
    add_step(ctx, step_ms);
    return 0;
}

size_t plain_rules_steps(void *ctx, uint32_t *steps_ms, size_t cap)
{
    struct plain_rules *r = ctx;
    struct steps s = {steps_ms, 0, cap};
    const struct retention *one;
    for (size_t i = 0; (one = retention_at(generation_now(r)->retention, i)); i++)
        for (size_t k = 0; k < one->narchives; k++)
            add_step(&s, one->archives[k].step_ms);
    catalog_each(r->catalog, add_series_step, &s);
    return s.n;
}

int64_t plain_rules_step_keep_ms(void *ctx, uint32_t step_ms)
{
    const struct retention_rules *rules = generation_now(ctx)->retention;
    const struct retention *one;
    int64_t longest = 0;
    for (size_t i = 0; (one = retention_at(rules, i)); i++)
        for (size_t k = 0; k < one->narchives; k++)
            if (one->archives[k].step_ms == step_ms && retention_warm_keep_ms(one, k) > longest)
                longest = retention_warm_keep_ms(one, k);
    return longest;
}
