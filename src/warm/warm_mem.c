#include "warm/warm_mem.h"

#include "base/mem.h"
#include "model/window.h"
#include "warm/warm_impl.h"
#include "warm/warm_key.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct part_key key;
    struct buf value; /* part_encode() */
};

struct entries {
    struct entry *v;
    size_t n, cap;
};

struct warm_mem {
    struct warm base;
    pthread_mutex_t mtx;
    /* under mtx */
    struct entries live; /* sorted */
    struct entries undo; /* what the keys touched since the last sync held before, oldest first; an empty
                            value means nothing */
    uint64_t bytes;
};

static struct warm_mem *mem_of(struct warm *w);

static int cmp_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int key_cmp(const struct part_key *a, const struct part_key *b)
{
    int c = cmp_u64(a->step_ms, b->step_ms);
    if (!c)
        c = cmp_u64(a->series, b->series);
    if (!c)
        c = cmp_u64((uint64_t)a->window_ms, (uint64_t)b->window_ms);
    return c ? c : cmp_u64(a->hi, b->hi);
}

/* First entry that is not before the key. */
static size_t lower_bound(const struct entries *e, const struct part_key *key)
{
    size_t lo = 0, hi = e->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (key_cmp(&e->v[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void insert(struct entries *e, size_t at, struct entry x)
{
    if (e->n == e->cap) {
        e->cap = e->cap ? 2 * e->cap : 64;
        e->v = xrealloc(e->v, e->cap * sizeof *e->v);
    }
    memmove(e->v + at + 1, e->v + at, (e->n - at) * sizeof *e->v);
    e->v[at] = x;
    e->n++;
}

static struct entry take_out(struct entries *e, size_t at)
{
    struct entry x = e->v[at];
    e->n--;
    memmove(e->v + at, e->v + at + 1, (e->n - at) * sizeof *e->v);
    return x;
}

static void clear(struct entries *e)
{
    for (size_t i = 0; i < e->n; i++)
        buf_release(&e->v[i].value);
    e->n = 0;
}

/* Makes `value` (taken over; empty: nothing) what the key holds and returns what it held. */
static struct buf exchange(struct warm_mem *m, const struct part_key *key, struct buf value)
{
    size_t at = lower_bound(&m->live, key);
    bool found = at < m->live.n && key_cmp(&m->live.v[at].key, key) == 0;
    struct buf old = BUF_INIT;
    m->bytes += value.len;
    if (found && value.len) {
        old = m->live.v[at].value;
        m->live.v[at].value = value;
    } else if (found) {
        old = take_out(&m->live, at).value;
    } else if (value.len) {
        insert(&m->live, at, (struct entry){*key, value});
    }
    m->bytes -= old.len;
    return old;
}

static void set(struct warm_mem *m, const struct part_key *key, struct buf value)
{
    struct buf old = exchange(m, key, value);
    insert(&m->undo, m->undo.n, (struct entry){*key, old});
}

static void put_one(struct warm_mem *m, const struct part *p)
{
    struct buf value = BUF_INIT;
    part_encode(p, &value);
    size_t at = lower_bound(&m->live, &p->key);
    if (at < m->live.n && key_cmp(&m->live.v[at].key, &p->key) == 0) {
        const struct buf *old = &m->live.v[at].value;
        if (!warm_replaces(&p->key, old->data, old->len, value.data, value.len)) {
            buf_release(&value);
            return;
        }
    }
    set(m, &p->key, value);
}

static int mem_put(struct warm *w, const struct part *parts, size_t n, const struct part_key *remove,
                   size_t nremove, struct err *err)
{
    (void)err;
    struct warm_mem *m = mem_of(w);
    pthread_mutex_lock(&m->mtx);
    for (size_t i = 0; i < nremove; i++)
        set(m, &remove[i], (struct buf)BUF_INIT);
    for (size_t i = 0; i < n; i++)
        put_one(m, &parts[i]);
    pthread_mutex_unlock(&m->mtx);
    return OK;
}

/* Copies of the entries with from <= key < until: fn is called without the lock. */
static void copy_range(struct warm_mem *m, const struct part_key *from, const struct part_key *until,
                       struct entries *out)
{
    pthread_mutex_lock(&m->mtx);
    for (size_t i = lower_bound(&m->live, from); i < m->live.n && key_cmp(&m->live.v[i].key, until) < 0;
         i++) {
        struct entry x = {m->live.v[i].key, BUF_INIT};
        buf_append(&x.value, m->live.v[i].value.data, m->live.v[i].value.len);
        insert(out, out->n, x);
    }
    pthread_mutex_unlock(&m->mtx);
}

static int mem_read(struct warm *w, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                    int64_t until_window_ms, warm_part_fn fn, void *ctx, struct err *err)
{
    struct part_key from = {series, step_ms, from_window_ms, 0};
    struct part_key until = {series, step_ms, until_window_ms, 0};
    struct entries found = {NULL, 0, 0};
    struct err damage = ERR_INIT;
    copy_range(mem_of(w), &from, &until, &found);
    int rc = 0;
    for (size_t i = 0; i < found.n && rc == 0; i++)
        rc = warm_deliver(w, &found.v[i].key, found.v[i].value.data, found.v[i].value.len, fn, ctx, &damage);
    clear(&found);
    free(found.v);
    return rc == 0 && damage.code ? err_set(err, damage.code, "%s", damage.text) : rc;
}

struct scanned {
    struct entries *found;
    int64_t from_ms, until_ms;
};

/* Copies what one step has from the oldest group with anything in [from_ms, until_ms); moves from_ms behind
 * that group. The live entries are by series first, the copies are of one group: so they come in order. */
static void copy_group(struct warm_mem *m, uint32_t step_ms, struct scanned *s)
{
    int64_t group = warm_group_ms(step_ms), first = INT64_MAX;
    size_t begin = lower_bound(&m->live, &(struct part_key){.step_ms = step_ms}), end = begin;
    for (; end < m->live.n && m->live.v[end].key.step_ms == step_ms; end++) {
        int64_t window = m->live.v[end].key.window_ms;
        if (window >= s->from_ms && window < s->until_ms && window < first)
            first = window;
    }
    if (first == INT64_MAX) {
        s->from_ms = s->until_ms;
        return;
    }
    int64_t stop = floor_to(first, group) + group;
    for (size_t i = begin; i < end; i++) {
        int64_t window = m->live.v[i].key.window_ms;
        if (window < first || window >= stop || window >= s->until_ms)
            continue;
        struct entry x = {m->live.v[i].key, BUF_INIT};
        buf_append(&x.value, m->live.v[i].value.data, m->live.v[i].value.len);
        insert(s->found, s->found->n, x);
    }
    s->from_ms = stop;
}

static int mem_scan(struct warm *w, uint32_t step_ms, int64_t from_window_ms, int64_t until_window_ms,
                    warm_part_fn fn, void *ctx, struct err *err)
{
    struct warm_mem *m = mem_of(w);
    struct entries found = {NULL, 0, 0};
    struct scanned s = {&found, from_window_ms, until_window_ms};
    struct err damage = ERR_INIT;
    int rc = 0;
    while (rc == 0 && s.from_ms < s.until_ms) {
        pthread_mutex_lock(&m->mtx);
        copy_group(m, step_ms, &s);
        pthread_mutex_unlock(&m->mtx);
        for (size_t i = 0; i < found.n && rc == 0; i++)
            rc = warm_deliver(w, &found.v[i].key, found.v[i].value.data, found.v[i].value.len, fn, ctx,
                              &damage);
        clear(&found);
    }
    free(found.v);
    return rc == 0 && damage.code ? err_set(err, damage.code, "%s", damage.text) : rc;
}

static bool holds(const struct warm_mem *m, const struct part *p)
{
    size_t at = lower_bound(&m->live, &p->key);
    if (at == m->live.n || key_cmp(&m->live.v[at].key, &p->key) != 0)
        return false;
    return warm_is(p, m->live.v[at].value.data, m->live.v[at].value.len);
}

static int mem_remove_if(struct warm *w, const struct part *parts, size_t n, size_t *removed, struct err *err)
{
    (void)err;
    struct warm_mem *m = mem_of(w);
    pthread_mutex_lock(&m->mtx);
    for (size_t i = 0; i < n; i++)
        if (holds(m, &parts[i])) {
            set(m, &parts[i].key, (struct buf)BUF_INIT);
            ++*removed;
        }
    pthread_mutex_unlock(&m->mtx);
    return OK;
}

static int mem_expire(struct warm *w, uint32_t step_ms, int64_t before_ms, struct err *err)
{
    (void)err;
    struct warm_mem *m = mem_of(w);
    int64_t span = window_span_ms(step_ms);
    pthread_mutex_lock(&m->mtx);
    size_t i = lower_bound(&m->live, &(struct part_key){.step_ms = step_ms});
    while (i < m->live.n && m->live.v[i].key.step_ms == step_ms) {
        struct part_key key = m->live.v[i].key;
        if (key.window_ms <= before_ms - span)
            set(m, &key, (struct buf)BUF_INIT);
        else
            i++;
    }
    pthread_mutex_unlock(&m->mtx);
    return OK;
}

static int mem_sync(struct warm *w, struct err *err)
{
    (void)err;
    struct warm_mem *m = mem_of(w);
    pthread_mutex_lock(&m->mtx);
    clear(&m->undo);
    pthread_mutex_unlock(&m->mtx);
    return OK;
}

static void mem_get_stats(struct warm *w, struct warm_stats *out)
{
    struct warm_mem *m = mem_of(w);
    pthread_mutex_lock(&m->mtx);
    out->stored_bytes = m->bytes;
    pthread_mutex_unlock(&m->mtx);
}

static void mem_free(struct warm *w)
{
    struct warm_mem *m = mem_of(w);
    warm_clear(w);
    clear(&m->live);
    clear(&m->undo);
    free(m->live.v);
    free(m->undo.v);
    pthread_mutex_destroy(&m->mtx);
    free(m);
}

static const struct warm_ops mem_ops = {
    .name = "mem",
    .put = mem_put,
    .read = mem_read,
    .scan = mem_scan,
    .remove_if = mem_remove_if,
    .expire = mem_expire,
    .sync = mem_sync,
    .get_stats = mem_get_stats,
    .free = mem_free,
};

static struct warm_mem *mem_of(struct warm *w)
{
    assert(w->ops == &mem_ops);
    return container_of(w, struct warm_mem, base);
}

struct warm *warm_mem_new(struct metrics *m)
{
    struct warm_mem *w = xcalloc(1, sizeof *w);
    warm_init(&w->base, &mem_ops, m);
    pthread_mutex_init(&w->mtx, NULL);
    return &w->base;
}

void warm_mem_cut(struct warm *w)
{
    struct warm_mem *m = mem_of(w);
    pthread_mutex_lock(&m->mtx);
    while (m->undo.n) {
        struct entry x = m->undo.v[--m->undo.n];
        struct buf now = exchange(m, &x.key, x.value);
        buf_release(&now);
    }
    pthread_mutex_unlock(&m->mtx);
}

int warm_mem_damage(struct warm *w, const struct part_key *key)
{
    struct warm_mem *m = mem_of(w);
    pthread_mutex_lock(&m->mtx);
    size_t at = lower_bound(&m->live, key);
    bool found = at < m->live.n && key_cmp(&m->live.v[at].key, key) == 0;
    if (found)
        m->live.v[at].value.data[m->live.v[at].value.len / 2] ^= 1;
    pthread_mutex_unlock(&m->mtx);
    return found ? 0 : -1;
}
