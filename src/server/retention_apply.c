#include "server/retention_apply.h"

#include "base/killpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/window.h"
#include "warm/warm_key.h"

#include <stdlib.h>
#include <time.h>

#define STEPS_MAX   256
#define KEYS_MAX    512 /* removed in one put */
#define LOOK_EVERY  64  /* series between two looks whether to go on */
#define WAIT_MS     100
#define PAUSE_BYTES (1u << 20)

struct applying {
    const struct retention_apply *a;
    struct retention_applied *out;
    uint32_t last; /* series */
    uint32_t steps[STEPS_MAX];
    size_t nsteps;
    int64_t now_ms;
    /* the series and step being cleaned up */
    const struct layout *layout;
    struct part_key keys[KEYS_MAX];
    size_t nkeys;
    uint64_t bytes;
    uint64_t unpaused;
};

static bool cancelled(const struct applying *x)
{
    return x->a->cancelled && x->a->cancelled(x->a->ctx);
}

static int go_on(const struct applying *x, struct err *err)
{
    return cancelled(x) ? err_set(err, ERR_CLOSED,
                                  "interrupted; it is gone on with by the next start, or the next "
                                  "carat retention apply")
                        : OK;
}

static void stage(const struct applying *x, const char *what)
{
    log_info("retention", what, "series=%u", x->last);
    if (x->a->stage)
        x->a->stage(x->a->ctx, what);
}

static void progress(const struct applying *x, uint64_t done)
{
    if (x->a->progress)
        x->a->progress(x->a->ctx, done, 2 * (uint64_t)x->last);
}

static void sleep_ms(int64_t ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* --- build --- */

static int count_differing(void *ctx, uint32_t id, uint32_t step_ms, const char *name, size_t len)
{
    struct applying *x = ctx;
    struct rules_outlook look;
    if (rules_outlook(x->a->rules, NULL, id, x->now_ms, &look))
        x->out->series += !layout_same(&look.now, &look.then);
    return id % LOOK_EVERY == 0 && cancelled(x) ? 1 : 0;
}

static int build(struct applying *x, struct err *err)
{
    int rc = OK;
    stage(x, "building archives");
    for (uint32_t id = 1; id <= x->last && rc == OK; id++) {
        rc = go_on(x, err);
        if (rc == OK && !rules_applying(x->a->rules))
            rc = err_set(err, ERR_CLOSED, "other rules have come in force; apply them");
        if (rc == OK)
            rc = writer_build(x->a->writer, id, err);
        if (rc == ERR_CORRUPT) { /* the rest of the series was built; verify tells of the damage */
            log_warn("retention", "built without damaged points", "why=\"%s\"", err->text);
            rc = OK;
        }
        progress(x, id);
    }
    KILL_POINT("apply.built");
    /* The switch must not be on disk before what it counts on. */
    return rc == OK ? warm_sync(x->a->warm, err) : rc;
}

static int switch_over(struct applying *x, struct err *err)
{
    KILL_POINT("apply.synced");
    int rc = rules_apply_switch(x->a->rules, err);
    KILL_POINT("apply.switched");
    if (rc == OK)
        writer_quiesce(x->a->writer);
    return rc;
}

static int build_if_needed(struct applying *x, struct err *err)
{
    struct rules_status s;
    rules_get_status(x->a->rules, &s);
    if (s.state == RULES_DROPPING)
        return OK;
    catalog_each(x->a->catalog, count_differing, x);
    int rc = go_on(x, err);
    if (rc == OK && s.state == RULES_DONE && !x->out->series)
        return OK;
    if (rc == OK)
        rc = rules_apply_begin(x->a->rules, err);
    KILL_POINT("apply.begun");
    /* A flush under way may still go by the layouts of before. */
    writer_quiesce(x->a->writer);
    x->last = catalog_max_id(x->a->catalog);
    if (rc == OK)
        rc = build(x, err);
    return rc == OK ? switch_over(x, err) : rc;
}

/* --- drop: warm --- */

static int note_key(void *ctx, const struct part *p)
{
    struct applying *x = ctx;
    if (!layout_drops(x->layout, p->key.step_ms, p->key.window_ms, x->now_ms))
        return 0;
    x->keys[x->nkeys++] = p->key;
    x->bytes += p->size;
    return x->nkeys == KEYS_MAX;
}

/* Up to KEYS_MAX windows of a series and step. 1: there may be more. Under the store lock, or what is merged
 * with a late point could come back. */
static int drop_some(struct applying *x, uint32_t series, uint32_t step_ms, struct err *err)
{
    x->nkeys = 0;
    x->bytes = 0;
    pthread_mutex_lock(writer_store_lock(x->a->writer));
    int rc = warm_read(x->a->warm, series, step_ms, 0, LAYOUT_NEVER, note_key, x, err);
    bool more = rc == 1;
    if (more || rc == ERR_CORRUPT)
        rc = OK;
    if (rc == OK && x->nkeys)
        rc = warm_put(x->a->warm, NULL, 0, x->keys, x->nkeys, err);
    pthread_mutex_unlock(writer_store_lock(x->a->writer));
    if (rc == OK) {
        x->out->warm_windows += x->nkeys;
        x->out->warm_bytes += x->bytes;
    }
    return rc == OK && more ? 1 : rc;
}

static int drop_step(struct applying *x, uint32_t series, uint32_t step_ms, struct err *err)
{
    for (;;) {
        int rc = drop_some(x, series, step_ms, err);
        if (rc == ERR_BUSY)
            sleep_ms(WAIT_MS);
        else if (rc != 1)
            return rc;
        rc = go_on(x, err);
        if (rc != OK)
            return rc;
    }
}

static int drop_series(struct applying *x, uint32_t id, struct err *err)
{
    int rc = OK;
    if (!rules_layouts(x->a->rules, id, &x->layout, NULL))
        return OK;
    for (size_t i = 0; i < x->nsteps && rc == OK; i++)
        rc = drop_step(x, id, x->steps[i], err);
    return rc;
}

static int drop_from_warm(struct applying *x, struct err *err)
{
    int rc = OK;
    for (uint32_t id = 1; id <= x->last && rc == OK; id++) {
        rc = go_on(x, err);
        if (rc == OK)
            rc = drop_series(x, id, err);
        progress(x, (uint64_t)x->last + id);
    }
    return rc;
}

/* --- drop: whole steps --- */

static int drop_unused_steps(struct applying *x, struct err *err)
{
    int64_t future = x->now_ms + 2 * 366 * 86400000ll; /* nothing is stored from further ahead */
    size_t n = 0;
    int rc = OK;
    for (size_t i = 0; i < x->nsteps && rc == OK; i++) {
        uint32_t step = x->steps[i];
        if (rules_step_keep_ms(x->a->rules, step) != RULES_DROP_NOW) {
            x->steps[n++] = step;
            continue;
        }
        log_info("retention", "no series has an archive of this step any more", "step_ms=%u", step);
        rc = warm_expire(x->a->warm, step, future + warm_group_ms(step), err);
        if (rc == OK && x->a->cold)
            rc = cold_expire(x->a->cold, step, future + warm_group_ms(step), err);
    }
    x->nsteps = rc == OK ? n : x->nsteps;
    return rc;
}

/* --- drop: cold --- */

/* cold_rewrite's filter */
static enum part_mask drop_part(void *ctx, const struct part *p, struct buf *block, struct part *out)
{
    struct applying *x = ctx;
    const struct layout *l;
    *out = *p;
    return rules_layouts(x->a->rules, p->key.series, &l, NULL) &&
                   layout_drops(l, p->key.step_ms, p->key.window_ms, x->now_ms)
               ? PART_DEAD
               : PART_LIVES;
}

/* The series that may have windows of this step to drop. */
static size_t list_spans(const struct applying *x, uint32_t step_ms, struct cold_span **out)
{
    size_t n = 0, cap = 0;
    const struct layout *l;
    *out = NULL;
    for (uint32_t id = 1; id <= x->last; id++) {
        if (!rules_layouts(x->a->rules, id, &l, NULL))
            continue;
        int64_t until = layout_drops_until(l, step_ms, x->now_ms);
        if (until <= 0)
            continue;
        if (n == cap) {
            cap = cap ? 2 * cap : 256;
            *out = xrealloc(*out, cap * sizeof **out);
        }
        (*out)[n++] = (struct cold_span){id, 0, until};
    }
    return n;
}

static int pause_for(void *ctx, uint64_t bytes)
{
    struct applying *x = ctx;
    x->unpaused += bytes;
    if (x->a->bytes_per_s && x->unpaused >= PAUSE_BYTES) {
        sleep_ms((int64_t)(x->unpaused * 1000 / x->a->bytes_per_s));
        x->unpaused = 0;
    }
    return cancelled(x);
}

static int rewrite_step(struct applying *x, uint32_t step_ms, struct err *err)
{
    struct cold_span *spans;
    struct cold_rewrite r = {
        .step_ms = step_ms, .filter = drop_part, .ctx = x, .wait = pause_for, .wait_ctx = x};
    size_t rewritten = 0;
    r.n = list_spans(x, step_ms, &spans);
    r.spans = spans;
    int rc = r.n ? cold_rewrite(x->a->cold, &r, &rewritten, err) : OK;
    x->out->cold_packs += rewritten;
    free(spans);
    return rc;
}

static int drop_from_cold(struct applying *x, struct err *err)
{
    struct err first = ERR_INIT;
    int rc = OK;
    for (size_t i = 0; i < x->nsteps && x->a->cold && rc != ERR_CLOSED && rc != ERR_FAILED; i++) {
        struct err why = ERR_INIT;
        rc = rewrite_step(x, x->steps[i], &why);
        if (rc < 0 && first.code == OK)
            first = why;
    }
    if (rc == ERR_CLOSED && cancelled(x))
        return go_on(x, err);
    return first.code ? err_set(err, first.code, "%s", first.text) : OK;
}

/* Not beside the mover: it would merge what is being written again, or add what has just been dropped. */
static int drop_stored(struct applying *x, struct err *err)
{
    int rc = OK;
    while (x->a->mover && !mover_try_hold(x->a->mover)) {
        rc = go_on(x, err);
        if (rc != OK)
            return rc;
        sleep_ms(WAIT_MS);
    }
    rc = drop_unused_steps(x, err);
    KILL_POINT("apply.steps_dropped");
    if (rc == OK)
        rc = drop_from_warm(x, err);
    KILL_POINT("apply.warm_dropped");
    if (rc == OK)
        rc = drop_from_cold(x, err);
    KILL_POINT("apply.cold_dropped");
    if (x->a->mover)
        mover_release(x->a->mover);
    return rc;
}

/* A point that was accepted under rules that kept more may still have to become part of a roll-up that is
 * made from what is dropped now. What passed a door under them is in the stream after settle_ms. */
static int flush_old(struct applying *x, struct err *err)
{
    for (int64_t left = x->a->settle_ms; left > 0 && !cancelled(x); left -= WAIT_MS)
        sleep_ms(WAIT_MS);
    struct err why = ERR_INIT;
    int rc = writer_flush_all(x->a->writer, x->a->cancelled, x->a->ctx, &why);
    if (rc == ERR_CLOSED && cancelled(x))
        return go_on(x, err);
    return rc == OK ? OK : err_set(err, rc, "%s", why.text);
}

static int drop(struct applying *x, struct err *err)
{
    int rc = flush_old(x, err);
    reader_quiesce(x->a->reader);
    stage(x, "dropping what is not kept any more");
    x->last = catalog_max_id(x->a->catalog);
    x->now_ms = clock_wall_ms(x->a->clock);
    x->nsteps = rules_steps(x->a->rules, x->steps, STEPS_MAX);
    if (rc == OK)
        rc = drop_stored(x, err);
    /* What is gone must not come back with a crash once nobody looks for it any more. */
    return rc == OK ? warm_sync(x->a->warm, err) : rc;
}

int retention_apply_run(const struct retention_apply *a, struct retention_applied *out, struct err *err)
{
    *out = (struct retention_applied){0};
    struct applying x = {
        .a = a, .out = out, .last = catalog_max_id(a->catalog), .now_ms = clock_wall_ms(a->clock)};
    int rc = build_if_needed(&x, err);
    if (rc == OK)
        rc = drop(&x, err);
    return rc == OK ? rules_apply_end(a->rules, err) : rc;
}
