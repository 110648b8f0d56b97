#include "warm/warm_fault.h"

#include "base/mem.h"
#include "warm/warm_impl.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define RULES_MAX 16

struct warm_fault {
    struct warm base;
    struct warm *inner;
    pthread_mutex_t mtx;
    /* under mtx */
    struct warm_fault_rule rules[RULES_MAX]; /* `first` counted from the beginning */
    size_t nrules;
    uint64_t calls[WARM_FAULT_OPS];
};

static struct warm_fault *fault_of(struct warm *w);

/* Counts the call and says what shall happen to it. */
static struct warm_fault_rule next_call(struct warm_fault *f, enum warm_fault_op op)
{
    struct warm_fault_rule r = {.op = op};
    pthread_mutex_lock(&f->mtx);
    uint64_t call = ++f->calls[op];
    for (size_t i = 0; i < f->nrules; i++)
        if (f->rules[i].op == op && call >= f->rules[i].first &&
            call - f->rules[i].first < f->rules[i].count) {
            r = f->rules[i];
            break;
        }
    pthread_mutex_unlock(&f->mtx);
    if (r.delay_ms)
        nanosleep(&(struct timespec){r.delay_ms / 1000, r.delay_ms % 1000 * 1000000l}, NULL);
    return r;
}

/* The result of a call that the rule applies to; `done` is what the inner tier said. */
static int outcome(const struct warm_fault_rule *r, int done, struct err *err)
{
    if (r->code == OK || done < 0)
        return done;
    return err_set(err, r->code, "injected fault: %s", status_name(r->code));
}

static bool skip(const struct warm_fault_rule *r)
{
    return r->code != OK && !r->after;
}

static int fault_put(struct warm *w, const struct part *parts, size_t n, const struct part_key *remove,
                     size_t nremove, struct err *err)
{
    struct warm_fault *f = fault_of(w);
    struct warm_fault_rule r = next_call(f, WARM_FAULT_PUT);
    return outcome(&r, skip(&r) ? OK : warm_put(f->inner, parts, n, remove, nremove, err), err);
}

static int fault_read(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                      int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err)
{
    struct warm_fault *f = fault_of(w);
    struct warm_fault_rule r = next_call(f, WARM_FAULT_READ);
    int rc = OK;
    if (!skip(&r))
        rc = warm_read(f->inner, series, step_ms, from_window_ms, until_window_ms, fn, ctx, err);
    return rc > 0 ? rc : outcome(&r, rc, err);
}

static int fault_scan(struct warm *w, uint32_t step_ms, int64_t from_window_ms, int64_t until_window_ms,
                      warm_part_fn fn, void *ctx, struct err *err)
{
    struct warm_fault *f = fault_of(w);
    struct warm_fault_rule r = next_call(f, WARM_FAULT_SCAN);
    int rc = OK;
    if (!skip(&r))
        rc = warm_scan(f->inner, step_ms, from_window_ms, until_window_ms, fn, ctx, err);
    return rc > 0 ? rc : outcome(&r, rc, err);
}

static int fault_remove_if(struct warm *w, const struct part *parts, size_t n, size_t *removed,
                           struct err *err)
{
    struct warm_fault *f = fault_of(w);
    struct warm_fault_rule r = next_call(f, WARM_FAULT_REMOVE);
    return outcome(&r, skip(&r) ? OK : warm_remove_if(f->inner, parts, n, removed, err), err);
}

static int fault_expire(struct warm *w, uint32_t step_ms, int64_t before_ms, struct err *err)
{
    struct warm_fault *f = fault_of(w);
    struct warm_fault_rule r = next_call(f, WARM_FAULT_EXPIRE);
    return outcome(&r, skip(&r) ? OK : warm_expire(f->inner, step_ms, before_ms, err), err);
}

static int fault_sync(struct warm *w, struct err *err)
{
    struct warm_fault *f = fault_of(w);
    struct warm_fault_rule r = next_call(f, WARM_FAULT_SYNC);
    return outcome(&r, skip(&r) ? OK : warm_sync(f->inner, err), err);
}

static void fault_get_stats(struct warm *w, struct warm_stats *out)
{
    warm_get_stats(fault_of(w)->inner, out);
}

static int fault_snapshot(struct warm *w, const char *dir, struct err *err)
{
    return warm_snapshot(fault_of(w)->inner, dir, err);
}

static void fault_free(struct warm *w)
{
    warm_free(warm_fault_unwrap(w));
}

static const struct warm_ops fault_ops = {
    .name = "fault",
    .put = fault_put,
    .read = fault_read,
    .scan = fault_scan,
    .remove_if = fault_remove_if,
    .expire = fault_expire,
    .sync = fault_sync,
    .get_stats = fault_get_stats,
    .free = fault_free,
    .snapshot = fault_snapshot,
};

static struct warm_fault *fault_of(struct warm *w)
{
    assert(w->ops == &fault_ops);
    return container_of(w, struct warm_fault, base);
}

struct warm *warm_fault_new(struct warm *inner)
{
    struct warm_fault *f = xcalloc(1, sizeof *f);
    warm_init(&f->base, &fault_ops, NULL);
    f->inner = inner;
    pthread_mutex_init(&f->mtx, NULL);
    return &f->base;
}

void warm_fault_add(struct warm *w, const struct warm_fault_rule *rule)
{
    struct warm_fault *f = fault_of(w);
    assert(rule->first > 0 && rule->op < WARM_FAULT_OPS);
    pthread_mutex_lock(&f->mtx);
    assert(f->nrules < RULES_MAX);
    f->rules[f->nrules] = *rule;
    f->rules[f->nrules++].first += f->calls[rule->op];
    pthread_mutex_unlock(&f->mtx);
}

void warm_fault_clear(struct warm *w)
{
    struct warm_fault *f = fault_of(w);
    pthread_mutex_lock(&f->mtx);
    f->nrules = 0;
    pthread_mutex_unlock(&f->mtx);
}

uint64_t warm_fault_calls(struct warm *w, enum warm_fault_op op)
{
    struct warm_fault *f = fault_of(w);
    pthread_mutex_lock(&f->mtx);
    uint64_t n = f->calls[op];
    pthread_mutex_unlock(&f->mtx);
    return n;
}

struct warm *warm_fault_inner(struct warm *w)
{
    return fault_of(w)->inner;
}

struct warm *warm_fault_unwrap(struct warm *w)
{
    struct warm_fault *f = fault_of(w);
    struct warm *inner = f->inner;
    warm_clear(w);
    pthread_mutex_destroy(&f->mtx);
    free(f);
    return inner;
}
