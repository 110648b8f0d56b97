#include "base/metrics.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { COUNTER, GAUGE, GAUGE_FN, HISTOGRAM };

struct metric {
    struct metric *next;
    enum kind kind;
    char *name;
    char *labels; /* "" if none */
    const char *help;
    const char *type;
    struct counter *counter;
    struct gauge gauge;
    struct histogram *histogram;
    double (*fn)(void *);
    void *ctx;
};

struct metrics {
    pthread_mutex_t mtx;
    struct metric *first; /* sorted by name, then labels: one HELP line for each name */
};

struct metrics *metrics_new(void)
{
    struct metrics *m = xcalloc(1, sizeof *m);
    pthread_mutex_init(&m->mtx, NULL);
    return m;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    while (m->first) {
        struct metric *x = m->first;
        m->first = x->next;
        free(x->name);
        free(x->labels);
        free(x->counter);
        free(x->histogram);
        free(x);
    }
    pthread_mutex_destroy(&m->mtx);
    free(m);
}

static struct metric *get(struct metrics *m, enum kind kind, const char *type, const char *name,
                          const char *labels, const char *help)
{
    labels = labels ? labels : "";
    pthread_mutex_lock(&m->mtx);
    struct metric **at = &m->first;
    int cmp = -1;
    for (; *at; at = &(*at)->next) {
        cmp = strcmp((*at)->name, name);
        if (cmp == 0)
            cmp = strcmp((*at)->labels, labels);
        if (cmp >= 0)
            break;
    }
    struct metric *x = *at;
    if (!x || cmp != 0) {
        x = xcalloc(1, sizeof *x);
        x->kind = kind;
        x->type = type;
        x->name = xstrdup(name);
        x->labels = xstrdup(labels);
        x->help = help;
        if (kind == COUNTER) {
            x->counter = aligned_alloc(64, sizeof *x->counter);
            assert(x->counter);
            atomic_init(&x->counter->value, 0);
        } else if (kind == HISTOGRAM) {
            x->histogram = xcalloc(1, sizeof *x->histogram);
        }
        x->next = *at;
        *at = x;
    }
    assert(x->kind == kind);
    pthread_mutex_unlock(&m->mtx);
    return x;
}

struct counter *metrics_counter(struct metrics *m, const char *name, const char *labels, const char *help)
{
    return get(m, COUNTER, "counter", name, labels, help)->counter;
}

struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *labels, const char *help)
{
    return &get(m, GAUGE, "gauge", name, labels, help)->gauge;
}

void metrics_gauge_fn(struct metrics *m, const char *name, const char *labels, const char *help,
                      const char *type, double (*fn)(void *ctx), void *ctx)
{
    struct metric *x = get(m, GAUGE_FN, type, name, labels, help);
    pthread_mutex_lock(&m->mtx);
    x->fn = fn;
    x->ctx = ctx;
    pthread_mutex_unlock(&m->mtx);
}

struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *labels, const char *help)
{
    return get(m, HISTOGRAM, "histogram", name, labels, help)->histogram;
}

static void visit_histogram(const struct metric *x, metrics_visit_fn fn, void *ctx)
{
    char name[256], labels[256];
    const char *comma = *x->labels ? "," : "";
    uint64_t total = 0;
    snprintf(name, sizeof name, "%s_bucket", x->name);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        total += atomic_load_explicit(&x->histogram->bucket[i], memory_order_relaxed);
        if (i == HISTOGRAM_BUCKETS - 1)
            snprintf(labels, sizeof labels, "%s%sle=\"+Inf\"", x->labels, comma);
        else
            snprintf(labels, sizeof labels, "%s%sle=\"%g\"", x->labels, comma, (double)(1ull << i) / 1e6);
        fn(ctx, name, labels, (double)total);
    }
    snprintf(name, sizeof name, "%s_sum", x->name);
    fn(ctx, name, x->labels, (double)atomic_load_explicit(&x->histogram->sum_us, memory_order_relaxed) / 1e6);
    snprintf(name, sizeof name, "%s_count", x->name);
    fn(ctx, name, x->labels, (double)total);
}

static void visit_one(const struct metric *x, metrics_visit_fn fn, void *ctx)
{
    switch (x->kind) {
    case COUNTER:
        fn(ctx, x->name, x->labels, (double)counter_get(x->counter));
        break;
    case GAUGE:
        fn(ctx, x->name, x->labels, (double)atomic_load_explicit(&x->gauge.value, memory_order_relaxed));
        break;
    case GAUGE_FN:
        fn(ctx, x->name, x->labels, x->fn ? x->fn(x->ctx) : 0);
        break;
    case HISTOGRAM:
        visit_histogram(x, fn, ctx);
        break;
    }
}

void metrics_visit(struct metrics *m, metrics_visit_fn fn, void *ctx)
{
    pthread_mutex_lock(&m->mtx);
    for (const struct metric *x = m->first; x; x = x->next)
        visit_one(x, fn, ctx);
    pthread_mutex_unlock(&m->mtx);
}

void metrics_each(struct metrics *m, metrics_each_fn fn, void *ctx)
{
    pthread_mutex_lock(&m->mtx);
    for (struct metric *x = m->first; x; x = x->next) {
        struct metric_view v = {x->name, x->labels, !strcmp(x->type, "counter"), 0, x->histogram};
        if (x->kind == COUNTER)
            v.value = (double)counter_get(x->counter);
        else if (x->kind == GAUGE)
            v.value = (double)atomic_load_explicit(&x->gauge.value, memory_order_relaxed);
        else if (x->kind == GAUGE_FN)
            v.value = x->fn ? x->fn(x->ctx) : 0;
        fn(ctx, &v);
    }
    pthread_mutex_unlock(&m->mtx);
}

static void render_value(void *ctx, const char *name, const char *labels, double value)
{
    struct buf *out = ctx;
    if (*labels)
        buf_printf(out, "%s{%s} %.17g\n", name, labels, value);
    else
        buf_printf(out, "%s %.17g\n", name, value);
}

void metrics_render(struct metrics *m, struct buf *out)
{
    pthread_mutex_lock(&m->mtx);
    const char *last = "";
    for (const struct metric *x = m->first; x; x = x->next) {
        if (strcmp(last, x->name))
            buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", x->name, x->help, x->name, x->type);
        last = x->name;
        visit_one(x, render_value, out);
    }
    pthread_mutex_unlock(&m->mtx);
}
