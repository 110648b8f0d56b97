#include "hot/hot_fault.h"

#include "base/mem.h"
#include "hot/hot_impl.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define RULES_MAX 16

struct hot_fault {
    struct hot base;
    struct hot *inner;
    pthread_mutex_t mtx;
    /* under mtx */
    struct hot_fault_rule rules[RULES_MAX]; /* `first` counted from the beginning */
    size_t nrules;
    uint64_t calls[HOT_FAULT_OPS];
};

static struct hot_fault *fault_of(struct hot *h);

/* Counts the call and says what shall happen to it. */
static struct hot_fault_rule next_call(struct hot_fault *f, enum hot_fault_op op)
{
    struct hot_fault_rule r = {.op = op};
    pthread_mutex_lock(&f->mtx);
    uint64_t call = ++f->calls[op];
    for (size_t i = 0; i < f->nrules; i++)
        if (f->rules[i].op == op && call >= f->rules[i].first &&
            call - f->rules[i].first < f->rules[i].count) {
            r = f->rules[i];
            break;
        }
    pthread_mutex_unlock(&f->mtx);
    return r;
}

/* The result of a call that the rule applies to; `done` is what the inner tier said. */
static int outcome(const struct hot_fault_rule *r, int done, struct err *err)
{
    if (r->code == OK || done < 0)
        return done;
    return err_set(err, r->code, "injected fault: %s", status_name(r->code));
}

static bool skip(const struct hot_fault_rule *r)
{
    return r->code != OK && !r->after;
}

static int fault_apply(struct hot *h, unsigned partition, uint64_t pos, const struct hot_point *points,
                       size_t n, struct err *err)
{
    struct hot_fault *f = fault_of(h);
    struct hot_fault_rule r = next_call(f, HOT_FAULT_APPLY);
    return outcome(&r, skip(&r) ? OK : hot_apply(f->inner, partition, pos, points, n, err), err);
}

static int fault_read(struct hot *h, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                      hot_window_fn fn, void *ctx, struct err *err)
{
    struct hot_fault *f = fault_of(h);
    struct hot_fault_rule r = next_call(f, HOT_FAULT_READ);
    int rc = skip(&r) ? OK : hot_read(f->inner, series, step_ms, from_ms, until_ms, fn, ctx, err);
    return rc > 0 ? rc : outcome(&r, rc, err);
}

static int fault_take(struct hot *h, unsigned partition, const struct hot_due *due, uint32_t *cursor,
                      size_t budget, struct hot_taken *out, struct err *err)
{
    struct hot_fault *f = fault_of(h);
    struct hot_fault_rule r = next_call(f, HOT_FAULT_TAKE);
    return outcome(&r, skip(&r) ? OK : hot_take(f->inner, partition, due, cursor, budget, out, err), err);
}

static int fault_release(struct hot *h, unsigned partition, const struct hot_taken *t, size_t *released,
                         struct err *err)
{
    struct hot_fault *f = fault_of(h);
    struct hot_fault_rule r = next_call(f, HOT_FAULT_RELEASE);
    return outcome(&r, skip(&r) ? OK : hot_release(f->inner, partition, t, released, err), err);
}

static int fault_erase(struct hot *h, unsigned partition, uint32_t series, int64_t from_ms, int64_t until_ms,
                       struct err *err)
{
    struct hot_fault *f = fault_of(h);
    struct hot_fault_rule r = next_call(f, HOT_FAULT_ERASE);
    return outcome(&r, skip(&r) ? OK : hot_erase(f->inner, partition, series, from_ms, until_ms, err), err);
}

static int fault_oldest(struct hot *h, unsigned partition, uint64_t *lo, struct err *err)
{
    struct hot_fault *f = fault_of(h);
    struct hot_fault_rule r = next_call(f, HOT_FAULT_OLDEST);
    return outcome(&r, skip(&r) ? OK : hot_oldest(f->inner, partition, lo, err), err);
}

static void fault_get_stats(struct hot *h, struct hot_stats *out)
{
    hot_get_stats(fault_of(h)->inner, out);
}

static void fault_free(struct hot *h)
{
    struct hot_fault *f = fault_of(h);
    hot_free(f->inner);
    pthread_mutex_destroy(&f->mtx);
    free(f);
}

static const struct hot_ops fault_ops = {
    .name = "fault",
    .apply = fault_apply,
    .read = fault_read,
    .take = fault_take,
    .release = fault_release,
    .erase = fault_erase,
    .oldest = fault_oldest,
    .get_stats = fault_get_stats,
    .free = fault_free,
};

static struct hot_fault *fault_of(struct hot *h)
{
    assert(h->ops == &fault_ops);
    return container_of(h, struct hot_fault, base);
}

struct hot *hot_fault_new(struct hot *inner)
{
    struct hot_fault *f = xcalloc(1, sizeof *f);
    f->base.ops = &fault_ops;
    f->inner = inner;
    pthread_mutex_init(&f->mtx, NULL);
    return &f->base;
}

void hot_fault_add(struct hot *h, const struct hot_fault_rule *rule)
{
    struct hot_fault *f = fault_of(h);
    assert(rule->first > 0 && rule->op < HOT_FAULT_OPS);
    pthread_mutex_lock(&f->mtx);
    assert(f->nrules < RULES_MAX);
    f->rules[f->nrules] = *rule;
    f->rules[f->nrules++].first += f->calls[rule->op];
    pthread_mutex_unlock(&f->mtx);
}

void hot_fault_clear(struct hot *h)
{
    struct hot_fault *f = fault_of(h);
    pthread_mutex_lock(&f->mtx);
    f->nrules = 0;
    pthread_mutex_unlock(&f->mtx);
}

uint64_t hot_fault_calls(struct hot *h, enum hot_fault_op op)
{
    struct hot_fault *f = fault_of(h);
    pthread_mutex_lock(&f->mtx);
    uint64_t n = f->calls[op];
    pthread_mutex_unlock(&f->mtx);
    return n;
}
