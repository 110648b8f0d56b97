#include "model/tombstones.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BUCKETS_FIRST 64u

/* Those of one series, by position. */
struct list {
    struct list *next; /* of the bucket */
    uint32_t series;
    uint32_t n, cap;
    uint64_t stamp;
    struct tombstone *v;
};

struct tombstones {
    _Atomic size_t nlists; /* 0 answers most questions without the lock */
    _Atomic uint64_t newest_pos;
    pthread_rwlock_t lock;
    /* under lock */
    struct list **buckets;
    uint32_t mask;
    size_t count, unswept;
    uint64_t next_stamp;
    unsigned pins;
    struct tombstone_change *changes;
    size_t nchanges, cap_changes;
};

struct tombstones *tombstones_new(void)
{
    struct tombstones *t = xcalloc(1, sizeof *t);
    t->mask = BUCKETS_FIRST - 1;
    t->buckets = xcalloc(BUCKETS_FIRST, sizeof(struct list *));
    pthread_rwlock_init(&t->lock, NULL);
    return t;
}

static void list_free(struct list *l)
{
    free(l->v);
    free(l);
}

void tombstones_free(struct tombstones *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i <= t->mask; i++)
        while (t->buckets[i]) {
            struct list *next = t->buckets[i]->next;
            list_free(t->buckets[i]);
            t->buckets[i] = next;
        }
    free(t->buckets);
    free(t->changes);
    pthread_rwlock_destroy(&t->lock);
    free(t);
}

/* --- the table, under the lock --- */

static uint32_t bucket_of(uint32_t series, uint32_t mask)
{
    return (series * 2654435769u >> 7) & mask;
}

static struct list **find(struct tombstones *t, uint32_t series)
{
    struct list **at = &t->buckets[bucket_of(series, t->mask)];
    while (*at && (*at)->series != series)
        at = &(*at)->next;
    return at;
}

static void grow(struct tombstones *t)
{
    uint32_t mask = t->mask * 2 + 1;
    struct list **buckets = xcalloc((size_t)mask + 1, sizeof(struct list *));
    for (uint32_t i = 0; i <= t->mask; i++)
        for (struct list *l = t->buckets[i], *next; l; l = next) {
            next = l->next;
            l->next = buckets[bucket_of(l->series, mask)];
            buckets[bucket_of(l->series, mask)] = l;
        }
    free(t->buckets);
    t->buckets = buckets;
    t->mask = mask;
}

static struct list *find_or_make(struct tombstones *t, uint32_t series)
{
    struct list **at = find(t, series);
    if (*at)
        return *at;
    if (atomic_load(&t->nlists) > t->mask) {
        grow(t);
        at = find(t, series);
    }
    struct list *l = xcalloc(1, sizeof *l);
    l->series = series;
    *at = l;
    atomic_fetch_add(&t->nlists, 1);
    return l;
}

static void note_change(struct tombstones *t, const struct tombstone *v, bool gone)
{
    if (t->nchanges == t->cap_changes) {
        t->cap_changes = t->cap_changes ? 2 * t->cap_changes : 64;
        t->changes = xrealloc(t->changes, t->cap_changes * sizeof *t->changes);
    }
    t->changes[t->nchanges++] = (struct tombstone_change){*v, gone};
}

static void take_out(struct tombstones *t, struct list *l, uint32_t i)
{
    t->count--;
    t->unswept -= !l->v[i].swept;
    memmove(l->v + i, l->v + i + 1, (l->n - i - 1) * sizeof *l->v);
    l->n--;
    l->stamp = ++t->next_stamp;
}

static void drop_if_empty(struct tombstones *t, uint32_t series)
{
    struct list **at = find(t, series), *l = *at;
    if (!l || l->n)
        return;
    *at = l->next;
    list_free(l);
    if (atomic_fetch_sub(&t->nlists, 1) == 1)
        atomic_store(&t->newest_pos, 0);
}

static bool covers(const struct tombstone *a, const struct tombstone *b)
{
    return a->pos >= b->pos && a->from_ms <= b->from_ms && a->until_ms >= b->until_ms;
}

static bool same(const struct tombstone *a, const struct tombstone *b)
{
    return a->pos == b->pos && a->from_ms == b->from_ms && a->until_ms == b->until_ms;
}

static void insert(struct tombstones *t, const struct tombstone *v, bool changed)
{
    assert(v->series && v->from_ms < v->until_ms && v->pos);
    struct list *l = find_or_make(t, v->series);
    uint32_t at = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (covers(&l->v[i], v))
            return;
    for (uint32_t i = l->n; i-- > 0;)
        if (covers(v, &l->v[i])) {
            if (changed)
                note_change(t, &l->v[i], true);
            take_out(t, l, i);
        }
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 2;
        l->v = xrealloc(l->v, l->cap * sizeof *l->v);
    }
    while (at < l->n && l->v[at].pos <= v->pos)
        at++;
    memmove(l->v + at + 1, l->v + at, (l->n - at) * sizeof *l->v);
    l->v[at] = *v;
    l->n++;
    l->stamp = ++t->next_stamp;
    t->count++;
    t->unswept += !v->swept;
    if (v->pos > atomic_load(&t->newest_pos))
        atomic_store(&t->newest_pos, v->pos);
    if (changed)
        note_change(t, v, false);
}

/* --- changes --- */

void tombstones_add(struct tombstones *t, const struct tombstone *v, size_t n)
{
    pthread_rwlock_wrlock(&t->lock);
    for (size_t i = 0; i < n; i++)
        insert(t, &v[i], true);
    pthread_rwlock_unlock(&t->lock);
}

void tombstones_load(struct tombstones *t, const struct tombstone *v)
{
    pthread_rwlock_wrlock(&t->lock);
    insert(t, v, false);
    pthread_rwlock_unlock(&t->lock);
}

/* Its place in its series' list, or NULL. */
static struct tombstone *place_of(struct tombstones *t, const struct tombstone *v, struct list **list)
{
    struct list *l = *find(t, v->series);
    *list = l;
    for (uint32_t i = 0; l && i < l->n; i++)
        if (same(&l->v[i], v))
            return &l->v[i];
    return NULL;
}

void tombstones_set_swept(struct tombstones *t, const struct tombstone *v, size_t n)
{
    pthread_rwlock_wrlock(&t->lock);
    for (size_t i = 0; i < n; i++) {
        struct list *l;
        struct tombstone *at = place_of(t, &v[i], &l);
        if (!at || at->swept)
            continue;
        at->swept = true;
        t->unswept--;
        l->stamp = ++t->next_stamp;
        note_change(t, at, false);
    }
    pthread_rwlock_unlock(&t->lock);
}

bool tombstones_remove(struct tombstones *t, const struct tombstone *v, size_t n)
{
    pthread_rwlock_wrlock(&t->lock);
    bool may = t->pins == 0;
    for (size_t i = 0; may && i < n; i++) {
        struct list *l;
        struct tombstone *at = place_of(t, &v[i], &l);
        if (!at)
            continue;
        note_change(t, at, true);
        take_out(t, l, (uint32_t)(at - l->v));
        drop_if_empty(t, v[i].series);
    }
    pthread_rwlock_unlock(&t->lock);
    return may;
}

void tombstones_drop_series(struct tombstones *t, uint32_t series)
{
    if (!atomic_load(&t->nlists))
        return;
    pthread_rwlock_wrlock(&t->lock);
    struct list *l = *find(t, series);
    while (l && l->n) {
        note_change(t, &l->v[l->n - 1], true);
        take_out(t, l, l->n - 1);
    }
    drop_if_empty(t, series);
    pthread_rwlock_unlock(&t->lock);
}

void tombstones_pin(struct tombstones *t)
{
    pthread_rwlock_wrlock(&t->lock);
    t->pins++;
    pthread_rwlock_unlock(&t->lock);
}

void tombstones_unpin(struct tombstones *t)
{
    pthread_rwlock_wrlock(&t->lock);
    assert(t->pins);
    t->pins--;
    pthread_rwlock_unlock(&t->lock);
}

struct tombstone_change *tombstones_changes(struct tombstones *t, size_t *n)
{
    struct tombstone_change *out = NULL;
    pthread_rwlock_rdlock(&t->lock);
    *n = t->nchanges;
    if (*n) {
        out = xmalloc(*n * sizeof *out);
        memcpy(out, t->changes, *n * sizeof *out);
    }
    pthread_rwlock_unlock(&t->lock);
    return out;
}

void tombstones_changes_kept(struct tombstones *t, size_t n)
{
    pthread_rwlock_wrlock(&t->lock);
    assert(n <= t->nchanges);
    if (n) /* else there may be no list at all */
        memmove(t->changes, t->changes + n, (t->nchanges - n) * sizeof *t->changes);
    t->nchanges -= n;
    pthread_rwlock_unlock(&t->lock);
}

/* --- questions --- */

size_t tombstones_count(struct tombstones *t)
{
    pthread_rwlock_rdlock(&t->lock);
    size_t n = t->count;
    pthread_rwlock_unlock(&t->lock);
    return n;
}

size_t tombstones_count_unswept(struct tombstones *t)
{
    pthread_rwlock_rdlock(&t->lock);
    size_t n = t->unswept;
    pthread_rwlock_unlock(&t->lock);
    return n;
}

uint64_t tombstones_newest_pos(struct tombstones *t)
{
    return atomic_load(&t->newest_pos);
}

static int by_series_and_pos(const void *a, const void *b)
{
    const struct tombstone *x = a, *y = b;
    if (x->series != y->series)
        return x->series < y->series ? -1 : 1;
    if (x->pos != y->pos)
        return x->pos < y->pos ? -1 : 1;
    return (x->from_ms > y->from_ms) - (x->from_ms < y->from_ms);
}

static void copy_list(const struct list *l, struct tombstone *out, size_t *n)
{
    if (l)
        memcpy(out + *n, l->v, l->n * sizeof *out);
    *n += l ? l->n : 0;
}

struct tombstone *tombstones_list(struct tombstones *t, uint32_t series, size_t *n)
{
    *n = 0;
    if (!atomic_load(&t->nlists))
        return NULL;
    pthread_rwlock_rdlock(&t->lock);
    const struct list *one = series ? *find(t, series) : NULL;
    size_t room = !series ? t->count : one ? one->n : 0;
    struct tombstone *out = room ? xmalloc(room * sizeof *out) : NULL;
    if (one)
        copy_list(one, out, n);
    for (uint32_t i = 0; !series && i <= t->mask; i++)
        for (const struct list *l = t->buckets[i]; l; l = l->next)
            copy_list(l, out, n);
    pthread_rwlock_unlock(&t->lock);
    if (out)
        qsort(out, *n, sizeof *out, by_series_and_pos);
    return out;
}

/* Those of a series under the shared lock, which is held if there are any. */
static const struct list *look(struct tombstones *t, uint32_t series)
{
    if (!atomic_load(&t->nlists))
        return NULL;
    pthread_rwlock_rdlock(&t->lock);
    const struct list *l = *find(t, series);
    if (!l)
        pthread_rwlock_unlock(&t->lock);
    return l;
}

uint64_t tombstones_stamp(struct tombstones *t, uint32_t series)
{
    const struct list *l = look(t, series);
    if (!l)
        return 0;
    uint64_t stamp = l->stamp;
    pthread_rwlock_unlock(&t->lock);
    return stamp;
}

bool tombstones_hit(struct tombstones *t, uint32_t series, int64_t slot_ms, uint64_t pos)
{
    const struct list *l = look(t, series);
    if (!l)
        return false;
    bool hit = false;
    for (uint32_t i = l->n; i-- > 0 && l->v[i].pos > pos && !hit;)
        hit = slot_ms >= l->v[i].from_ms && slot_ms < l->v[i].until_ms;
    pthread_rwlock_unlock(&t->lock);
    return hit;
}

static bool overlaps(const struct tombstone *v, const struct part_key *key, int64_t end_ms)
{
    return v->from_ms < end_ms && v->until_ms > key->window_ms;
}

bool tombstones_touch(struct tombstones *t, const struct part_key *key)
{
    const struct list *l = look(t, key->series);
    if (!l)
        return false;
    bool touch = false;
    int64_t end = key->window_ms + window_span_ms(key->step_ms);
    for (uint32_t i = l->n; i-- > 0 && l->v[i].pos > key->hi && !touch;)
        touch = overlaps(&l->v[i], key, end);
    pthread_rwlock_unlock(&t->lock);
    return touch;
}

static uint32_t mask_one(const struct tombstone *v, const struct part_key *key, struct slots *s)
{
    uint32_t n = 0;
    for (uint32_t w = 0; w < SLOTS_WORDS(s->n); w++)
        for (uint64_t bits = s->present[w]; bits; bits &= bits - 1) {
            uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);
            int64_t at = key->window_ms + (int64_t)i * key->step_ms;
            if (at < v->from_ms || at >= v->until_ms)
                continue;
            s->present[w] &= ~(1ull << (i % 64));
            n++;
        }
    return n;
}

uint32_t tombstones_mask(struct tombstones *t, const struct part_key *key, struct slots *s)
{
    const struct list *l = look(t, key->series);
    if (!l)
        return 0;
    uint32_t n = 0;
    int64_t end = key->window_ms + window_span_ms(key->step_ms);
    for (uint32_t i = l->n; i-- > 0 && l->v[i].pos > key->hi;)
        if (overlaps(&l->v[i], key, end))
            n += mask_one(&l->v[i], key, s);
    pthread_rwlock_unlock(&t->lock);
    return n;
}
