/* The mend step: windows made from all the stream still has, laid together with what warm has. */
#include "writer/replay_impl.h"

#include "base/killpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/rollup_block.h"
#include "model/batch.h"
#include "writer/merge.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY 256 /* records between two looks whether to go on */
/* Each damaged stretch of the stream ends a run of every window. This many parts a window, on average, are
 * kept before it is given up. */
#define RUNS_MAX 8

struct mending {
    const struct replay_options *o;
    struct replay_result *result;
    struct hot *hot;
    struct hot_point *scratch;
    const struct replay_window *window; /* of this pass, sorted, each once */
    size_t n;
    uint64_t *ids; /* a bit a series */
    uint32_t nids;
    uint64_t reach;         /* newest position gone over */
    int64_t whole_since_ms; /* older windows may have begun before what the stream still has */
    bool trimmed;           /* while it was read: what is older may have holes */
    struct hot_taken *taken;
    size_t ntaken, parts;
};

static int by_window(const void *a, const void *b)
{
    const struct replay_window *x = a, *y = b;
    if (x->series != y->series)
        return x->series < y->series ? -1 : 1;
    if (x->step_ms != y->step_ms)
        return x->step_ms < y->step_ms ? -1 : 1;
    return (x->window_ms > y->window_ms) - (x->window_ms < y->window_ms);
}

static bool wanted(void *ctx, uint32_t series, uint32_t step_ms, int64_t ts_ms)
{
    const struct mending *m = ctx;
    if (series >= m->nids || !slot_get(m->ids, series))
        return false;
    struct replay_window key = {series, step_ms, window_start(ts_ms, step_ms)};
    return bsearch(&key, m->window, m->n, sizeof key, by_window) != NULL;
}

/* --- from the stream --- */

/* Ends the run: what hot has becomes parts, and hot is empty again. */
static int end_run(struct mending *m, struct err *err)
{
    struct hot_due due = {.all = true};
    uint32_t cursor = 0;
    int rc;
    do {
        struct hot_taken t = HOT_TAKEN_INIT;
        rc = hot_take(m->hot, 0, &due, &cursor, SIZE_MAX, &t, err);
        if (rc == OK)
            rc = hot_release(m->hot, 0, &t, NULL, err);
        m->parts += t.n;
        m->taken = xrealloc(m->taken, (m->ntaken + 1) * sizeof *m->taken);
        m->taken[m->ntaken++] = t;
    } while (rc == OK && cursor != 0);
    if (rc == OK && m->parts > RUNS_MAX * m->n + 1024)
        rc = err_set(err, ERR_LIMIT,
                     "the stream is damaged in too many places to mend so many windows at once");
    return rc;
}

static int take_record(struct mending *m, const struct stream_record *rec, struct err *err)
{
    size_t n;
    int rc = replay_apply(m->o, m->hot, rec, wanted, m, m->scratch, &n, err);
    /* A part must not reach over points that are missing. */
    return rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED ? end_run(m, err) : rc;
}

static int look_around(const struct mending *m, const struct span *s, struct err *err)
{
    if (m->o->progress)
        m->o->progress(m->o->ctx, span_done(s), span_total(s));
    return replay_cancelled(m->o) ? err_set(err, ERR_CLOSED, "cancelled") : OK;
}

static int gather(struct mending *m, struct err *err)
{
    struct span s;
    int rc = span_open(&s, m->o, (struct stream_start){.from = STREAM_OLDEST}, 0, err);
    if (rc != OK)
        return rc;
    for (unsigned i = 0; i < m->o->lanes; i++)
        m->reach = s.end[i] > m->reach ? s.end[i] : m->reach;
    for (uint64_t i = 1; rc == OK; i++) {
        const struct stream_record *rec;
        rc = span_next(&s, &rec, err);
        if (rc == OK)
            rc = take_record(m, rec, err);
        else if (rc == ERR_CORRUPT)
            rc = end_run(m, err);
        if (rc == OK && i % LOOK_EVERY == 0)
            rc = look_around(m, &s, err);
    }
    if (rc == 1)
        rc = end_run(m, err);
    span_close(&s);
    return rc;
}

/* --- into warm --- */

struct piece {
    uint64_t lo, hi;
    struct slots slots;
};

/* All that is known of one window. */
struct pieces {
    struct piece *v;
    size_t n, cap;
    struct merge_keys stored, damaged;
    bool undecodable;
};

static int add_piece(struct pieces *p, const struct part *part)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 4;
        p->v = xrealloc(p->v, p->cap * sizeof *p->v);
    }
    struct piece *new = &p->v[p->n];
    struct err ignored;
    *new = (struct piece){.lo = part->lo, .hi = part->key.hi};
    slots_init(&new->slots, window_slots(part->key.step_ms));
    if (codec_decode(part->data, part->size, new->slots.n, new->slots.present, new->slots.value, &ignored) <
        0)
        return ERR_CORRUPT;
    p->n++;
    return OK;
}

static int on_stored(void *ctx, const struct part *part)
{
    struct pieces *p = ctx;
    if (add_piece(p, part) < 0)
        merge_keys_add(&p->damaged, &part->key);
    else
        merge_keys_add(&p->stored, &part->key);
    return 0;
}

static void on_damaged(void *ctx, const struct part_key *key, const char *why)
{
    struct pieces *p = ctx;
    merge_keys_add(&p->damaged, key);
}

static int by_hi(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    return (x->hi > y->hi) - (x->hi < y->hi);
}

/* Lays them over each other, the larger hi on top; the first piece holds the result. Pieces of the same hi
 * agree wherever both have a slot. */
static const struct piece *lay_together(struct pieces *p)
{
    qsort(p->v, p->n, sizeof *p->v, by_hi);
    struct piece *sum = &p->v[0];
    for (size_t i = 1; i < p->n; i++) {
        slots_overlay(&sum->slots, &p->v[i].slots);
        sum->lo = p->v[i].lo < sum->lo ? p->v[i].lo : sum->lo;
        sum->hi = p->v[i].hi;
    }
    return sum;
}

static bool has_hi(const struct merge_keys *k, uint64_t hi)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->v[i].hi == hi)
            return true;
    return false;
}

/* The damaged parts can go if all they can have held is in the run. */
static bool can_replace(const struct mending *m, const struct replay_window *w, const struct pieces *p)
{
    for (size_t i = 0; i < p->damaged.n; i++)
        if (p->damaged.v[i].hi > m->reach)
            return false;
    return !p->undecodable && w->window_ms >= m->whole_since_ms;
}

/* Whatever of it can be saved is put beside the damage, which stays. Not under the same key: that would hide
 * it. */
static int put_beside(struct mending *m, const struct part *const *fresh, size_t n, const struct pieces *p,
                      struct err *err)
{
    int rc = OK;
    m->result->left++;
    for (size_t i = 0; i < n && rc == OK; i++)
        if (!has_hi(&p->damaged, fresh[i]->key.hi))
            rc = warm_put(m->o->warm, fresh[i], 1, NULL, 0, err);
    return rc;
}

/* True if one stored part is all there is to say already. */
static bool nothing_new(const struct pieces *p, const struct piece *sum, const struct piece *stored)
{
    if (p->damaged.n || p->stored.n != 1 || stored->hi != sum->hi)
        return false;
    if (memcmp(stored->slots.present, sum->slots.present, sizeof sum->slots.present) != 0)
        return false;
    for (uint32_t i = 0; i < sum->slots.n; i++)
        if (slot_get(sum->slots.present, i) &&
            f64_bits(stored->slots.value[i]) != f64_bits(sum->slots.value[i]))
            return false;
    return true;
}

static int replace(struct mending *m, const struct replay_window *w, struct pieces *p, struct err *err)
{
    struct piece first = p->v[0]; /* a stored one, if there is any */
    const struct piece *sum = lay_together(p);
    if (nothing_new(p, sum, &first))
        return OK;
    struct buf block = BUF_INIT;
    struct merge_keys remove = {0};
    codec_encode(&(struct codec_in){sum->slots.n, sum->slots.present, sum->slots.value}, &block);
    struct part part = {{w->series, w->step_ms, w->window_ms, sum->hi}, sum->lo, block.data, block.len};
    /* What is stored under the new key is overwritten. */
    for (size_t i = 0; i < p->stored.n + p->damaged.n; i++) {
        const struct part_key *k = i < p->stored.n ? &p->stored.v[i] : &p->damaged.v[i - p->stored.n];
        if (k->hi != sum->hi)
            merge_keys_add(&remove, k);
    }
    KILL_POINT("mend.made");
    int rc = m->o->put ? m->o->put(m->o->ctx, &part, remove.v, remove.n, err)
                       : warm_put(m->o->warm, &part, 1, remove.v, remove.n, err);
    KILL_POINT("mend.put");
    m->result->mended += rc == OK;
    merge_keys_release(&remove);
    buf_release(&block);
    return rc;
}

/* Under the store lock. */
static int mend_window(struct mending *m, const struct replay_window *w, const struct part *const *fresh,
                       size_t n, struct pieces *p, struct err *err)
{
    struct err damage = ERR_INIT;
    if (m->trimmed && w->window_ms < m->whole_since_ms) {
        m->result->left++;
        return OK;
    }
    p->n = p->stored.n = p->damaged.n = 0;
    int rc = warm_check(m->o->warm, w->series, w->step_ms, w->window_ms, w->window_ms + 1, on_stored,
                        on_damaged, p, &damage);
    if (rc < 0 && rc != ERR_CORRUPT) {
        *err = damage;
        return rc;
    }
    p->undecodable = rc == ERR_CORRUPT && !p->damaged.n; /* damage without a key cannot be taken away */
    bool damaged = p->undecodable || p->damaged.n;
    if (damaged && (!n || !can_replace(m, w, p)))
        return put_beside(m, fresh, n, p, err);
    for (size_t i = 0; i < n; i++)
        if (add_piece(p, fresh[i]) < 0)
            return err_set(err, ERR_CORRUPT, "a block made from the stream does not decode");
    return p->n && n ? replace(m, w, p, err) : OK;
}

static int on_stored_rollup(void *ctx, const struct part *part)
{
    struct pieces *p = ctx;
    struct rollup r;
    if (rollup_block_decode(part->data, part->size, window_slots(part->key.step_ms), &r, NULL) < 0)
        merge_keys_add(&p->damaged, &part->key);
    return OK;
}

/* Damage that cannot be made good must go on to be told. */
static bool can_rebuild(const struct mending *m, const struct replay_window *w)
{
    const struct replay_options *o = m->o;
    return o->rebuild && (!o->base_since_ms || w->window_ms >= o->base_since_ms(o->ctx, w->series));
}

static int rebuild(struct mending *m, const struct replay_window *w, struct err *err)
{
    int rc =
        m->o->rebuild(m->o->ctx, w->series, w->window_ms, w->window_ms + window_span_ms(w->step_ms), err);
    KILL_POINT("mend.rebuilt");
    return rc;
}

/* Those that are damaged now; they go, if `drop`. */
static int damaged_rollups(struct mending *m, const struct replay_window *w, struct pieces *p, bool drop,
                           struct err *err)
{
    struct err damage = ERR_INIT;
    p->n = p->stored.n = p->damaged.n = 0;
    pthread_mutex_lock(m->o->store_lock);
    int rc = warm_check(m->o->warm, w->series, w->step_ms, w->window_ms, w->window_ms + 1, on_stored_rollup,
                        on_damaged, p, &damage);
    if (rc < 0 && rc != ERR_CORRUPT)
        *err = damage;
    else
        rc = drop && p->damaged.n ? warm_put(m->o->warm, NULL, 0, p->damaged.v, p->damaged.n, err) : OK;
    pthread_mutex_unlock(m->o->store_lock);
    return rc;
}

/* Damaged roll-ups are made again from the base, because the stream does not have them, and only then taken
 * away: killed in between, the damage is still there to be found. What was put under a damaged one's key is
 * whole again. */
static int mend_rollups(struct mending *m, const struct replay_window *w, struct pieces *p, struct err *err)
{
    int rc = damaged_rollups(m, w, p, false, err);
    if (rc != OK || !p->damaged.n)
        return rc;
    if (!can_rebuild(m, w)) {
        m->result->left++;
        return OK;
    }
    rc = rebuild(m, w, err);
    if (rc == ERR_CORRUPT) { /* made of what is left of the base: the damage still has to be told */
        m->result->left++;
        return OK;
    }
    if (rc == OK)
        rc = damaged_rollups(m, w, p, true, err);
    m->result->mended += rc == OK;
    return rc;
}

/* One window, and the roll-ups that depend on it. */
static int mend_one(struct mending *m, const struct replay_window *w, const struct part *const *fresh,
                    size_t n, struct pieces *p, struct err *err)
{
    uint64_t before = m->result->mended;
    uint32_t step_ms = catalog_step_ms(m->o->catalog, w->series);
    if (!step_ms)
        return OK; /* deleted meanwhile */
    if (m->o->is_base ? !m->o->is_base(m->o->ctx, w->series, w->step_ms, w->window_ms)
                      : w->step_ms != step_ms)
        return mend_rollups(m, w, p, err);
    pthread_mutex_lock(m->o->store_lock);
    int rc = mend_window(m, w, fresh, n, p, err);
    pthread_mutex_unlock(m->o->store_lock);
    if (rc != OK || !m->o->rebuild || m->result->mended == before)
        return rc;
    rc = rebuild(m, w, err);
    return rc == ERR_CORRUPT ? OK : rc; /* of the base beside it: told when that is looked at */
}

static int by_key(const void *a, const void *b)
{
    const struct part *x = *(const struct part *const *)a, *y = *(const struct part *const *)b;
    struct replay_window v = {x->key.series, x->key.step_ms, x->key.window_ms};
    struct replay_window w = {y->key.series, y->key.step_ms, y->key.window_ms};
    int c = by_window(&v, &w);
    return c ? c : (x->key.hi > y->key.hi) - (x->key.hi < y->key.hi);
}

static bool is_of(const struct part *part, const struct replay_window *w)
{
    return part->key.series == w->series && part->key.step_ms == w->step_ms &&
           part->key.window_ms == w->window_ms;
}

static int store_all(struct mending *m, struct err *err)
{
    const struct part **fresh = xmalloc((m->parts + 1) * sizeof(struct part *));
    struct pieces p = {0};
    size_t n = 0, at = 0;
    int rc = OK;
    for (size_t i = 0; i < m->ntaken; i++)
        for (size_t k = 0; k < m->taken[i].n; k++)
            fresh[n++] = &m->taken[i].parts[k];
    qsort(fresh, n, sizeof(struct part *), by_key);
    for (size_t i = 0; i < m->n && rc == OK; i++) {
        size_t first = at;
        while (at < n && is_of(fresh[at], &m->window[i]))
            at++;
        rc = mend_one(m, &m->window[i], fresh + first, at - first, &p, err);
    }
    merge_keys_release(&p.stored);
    merge_keys_release(&p.damaged);
    free(p.v);
    free(fresh);
    return rc;
}

/* --- passes --- */

static int mend_pass(const struct replay_options *o, const struct replay_window *windows, size_t n,
                     struct replay_result *out, struct err *err)
{
    struct mending m = {.o = o,
                        .result = out,
                        .hot = o->hot_new(1),
                        .scratch = xmalloc(BATCH_MAX_POINTS * sizeof *m.scratch),
                        .window = windows,
                        .n = n,
                        .nids = windows[n - 1].series + 1};
    m.ids = xcalloc(SLOTS_WORDS(m.nids), sizeof *m.ids);
    for (size_t i = 0; i < n; i++)
        slot_set(m.ids, windows[i].series);
    int64_t before = o->kept_since_ms(o->ctx);
    int rc = gather(&m, err);
    m.whole_since_ms = o->kept_since_ms(o->ctx);
    m.trimmed = m.whole_since_ms != before;
    if (rc == OK)
        rc = store_all(&m, err);
    for (size_t i = 0; i < m.ntaken; i++)
        hot_taken_release(&m.taken[i]);
    free(m.taken);
    free(m.ids);
    free(m.scratch);
    hot_free(m.hot);
    return rc;
}

int replay_mend(const struct replay_options *o, struct replay_window *windows, size_t n,
                struct replay_result *out, struct err *err)
{
    size_t max = replay_pass_windows(o), unique = 0;
    uint64_t before = out->mended;
    int rc = OK;
    qsort(windows, n, sizeof *windows, by_window);
    for (size_t i = 0; i < n; i++)
        if (!unique || by_window(&windows[unique - 1], &windows[i]) != 0)
            windows[unique++] = windows[i];
    tombstones_pin(catalog_tombstones(o->catalog));
    for (size_t i = 0; i < unique && rc == OK; i += max)
        rc = mend_pass(o, windows + i, unique - i < max ? unique - i : max, out, err);
    tombstones_unpin(catalog_tombstones(o->catalog));
    if (rc == OK && out->mended > before)
        rc = warm_sync(o->warm, err);
    KILL_POINT("mend.synced");
    return rc;
}
