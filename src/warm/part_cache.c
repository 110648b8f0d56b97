#include "warm/part_cache.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* --- lists --- */

struct item {
    struct part part; /* its data is in `blocks`, one after the other */
    unsigned from;
};

struct part_list {
    _Atomic unsigned refs;
    struct item *v;
    size_t n, cap;
    struct buf blocks;
};

struct part_list *part_list_new(void)
{
    struct part_list *l = xcalloc(1, sizeof *l);
    atomic_init(&l->refs, 1);
    return l;
}

static void point_into_blocks(struct part_list *l)
{
    for (size_t i = 0, at = 0; l->blocks.data && i < l->n; at += l->v[i++].part.size)
        l->v[i].part.data = l->blocks.data + at;
}

void part_list_add(struct part_list *l, const struct part *p, unsigned from)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 8;
        l->v = xrealloc(l->v, l->cap * sizeof *l->v);
    }
    struct item *i = &l->v[l->n++];
    *i = (struct item){*p, from};
    uint8_t *before = l->blocks.data;
    buf_append(&l->blocks, p->data, p->size);
    if (l->blocks.data != before)
        point_into_blocks(l);
    else if (before)
        i->part.data = before + l->blocks.len - p->size;
}

void part_list_seal(struct part_list *l)
{
    if (!l->n)
        return;
    l->v = xrealloc(l->v, l->n * sizeof *l->v);
    l->cap = l->n;
    if (l->blocks.len) {
        l->blocks.data = xrealloc(l->blocks.data, l->blocks.len);
        l->blocks.cap = l->blocks.len;
    }
    point_into_blocks(l);
}

size_t part_list_n(const struct part_list *l)
{
    return l->n;
}

const struct part *part_list_at(const struct part_list *l, size_t i, unsigned *from)
{
    *from = l->v[i].from;
    return &l->v[i].part;
}

static void list_ref(struct part_list *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
}

void part_list_unref(struct part_list *l)
{
    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(l->v);
    buf_release(&l->blocks);
    free(l);
}

static size_t list_bytes(const struct part_list *l)
{
    return sizeof *l + l->cap * sizeof *l->v + l->blocks.cap;
}

/* --- the cache: shards by series, each a table of chains and a list by use --- */

#define SHARDS 16

struct entry {
    struct entry *chain;         /* of one slot of the table: all entries of a series' step are in one */
    struct entry *newer, *older; /* by use */
    struct part_cache_key key;
    uint64_t below;
    size_t bytes;
    struct part_list *list;
};

struct shard {
    pthread_mutex_t mtx;
    struct entry **table;
    size_t slots, n, bytes;
    struct entry *newest, *oldest;
    uint64_t forgets; /* how often something was forgotten: the ticket */
    uint64_t hits, misses, evicted;
};

struct part_cache {
    size_t shard_bytes;
    struct metrics *metrics;
    struct shard shards[SHARDS];
};

static uint64_t hash_mix(uint64_t x) /* splitmix64 finaliser (Steele, Lea, Flood 2014) */
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static uint64_t hash_of(uint32_t series, uint32_t step_ms)
{
    return hash_mix((uint64_t)series << 32 | step_ms);
}

static struct shard *shard_of(struct part_cache *c, uint32_t series)
{
    return &c->shards[hash_mix(series) % SHARDS];
}

static struct entry **slot_of(struct shard *s, uint32_t series, uint32_t step_ms)
{
    return &s->table[hash_of(series, step_ms) & (s->slots - 1)];
}

static void grow(struct shard *s)
{
    size_t before = s->slots;
    struct entry **old = s->table;
    s->slots *= 2;
    s->table = xcalloc(s->slots, sizeof(struct entry *));
    for (size_t i = 0; i < before; i++)
        for (struct entry *e = old[i], *next; e; e = next) {
            next = e->chain;
            struct entry **to = slot_of(s, e->key.series, e->key.step_ms);
            e->chain = *to;
            *to = e;
        }
    free(old);
}

static void unlink_use(struct shard *s, struct entry *e)
{
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
}

static void link_newest(struct shard *s, struct entry *e)
{
    e->newer = NULL;
    e->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
}

/* `at` is what points to it in its chain. */
static void drop(struct shard *s, struct entry **at)
{
    struct entry *e = *at;
    *at = e->chain;
    unlink_use(s, e);
    s->bytes -= e->bytes;
    s->n--;
    part_list_unref(e->list);
    free(e);
}

static struct entry **find(struct shard *s, const struct part_cache_key *key)
{
    struct entry **at = slot_of(s, key->series, key->step_ms);
    while (*at && memcmp(&(*at)->key, key, sizeof *key))
        at = &(*at)->chain;
    return at;
}

static void evict(struct shard *s, size_t bytes)
{
    while (s->oldest && s->bytes > bytes) {
        drop(s, find(s, &s->oldest->key));
        s->evicted++;
    }
}

struct part_list *part_cache_find(struct part_cache *c, const struct part_cache_key *key, uint64_t below,
                                  uint64_t *ticket)
{
    struct shard *s = shard_of(c, key->series);
    struct part_list *l = NULL;
    pthread_mutex_lock(&s->mtx);
    *ticket = s->forgets;
    struct entry **at = find(s, key);
    if (*at && (*at)->below == below) {
        unlink_use(s, *at);
        link_newest(s, *at);
        l = (*at)->list;
        list_ref(l);
        s->hits++;
    } else {
        s->misses++;
    }
    pthread_mutex_unlock(&s->mtx);
    return l;
}

void part_cache_add(struct part_cache *c, const struct part_cache_key *key, uint64_t below, uint64_t ticket,
                    struct part_list *l)
{
    size_t bytes = sizeof(struct entry) + list_bytes(l);
    struct shard *s = shard_of(c, key->series);
    if (bytes > c->shard_bytes / 8)
        return;
    struct entry *e = xmalloc(sizeof *e);
    *e = (struct entry){.key = *key, .below = below, .bytes = bytes, .list = l};
    pthread_mutex_lock(&s->mtx);
    if (s->forgets == ticket) {
        struct entry **at = find(s, key);
        if (*at)
            drop(s, at);
        if (s->n == s->slots)
            grow(s);
        at = slot_of(s, key->series, key->step_ms);
        e->chain = *at;
        *at = e;
        link_newest(s, e);
        s->bytes += bytes;
        s->n++;
        list_ref(l);
        evict(s, c->shard_bytes);
        e = NULL;
    }
    pthread_mutex_unlock(&s->mtx);
    free(e);
}

static double metric_of(struct part_cache *c, size_t offset)
{
    struct part_cache_stats s;
    uint64_t v;
    part_cache_get_stats(c, &s);
    memcpy(&v, (const char *)&s + offset, sizeof v);
    return (double)v;
}

static double hits(void *ctx)
{
    return metric_of(ctx, offsetof(struct part_cache_stats, hits));
}
static double misses(void *ctx)
{
    return metric_of(ctx, offsetof(struct part_cache_stats, misses));
}
static double evicted(void *ctx)
{
    return metric_of(ctx, offsetof(struct part_cache_stats, evicted));
}
static double bytes_held(void *ctx)
{
    return metric_of(ctx, offsetof(struct part_cache_stats, bytes));
}

/* With c NULL they are taken out. */
static void register_metrics(struct metrics *m, struct part_cache *c)
{
    metrics_gauge_fn(m, "carat_read_cache_hits_total", NULL, "Reads of windows that were in the read cache.",
                     "counter", c ? hits : NULL, c);
    metrics_gauge_fn(m, "carat_read_cache_misses_total", NULL, "Reads of windows that were not.", "counter",
                     c ? misses : NULL, c);
    metrics_gauge_fn(m, "carat_read_cache_evicted_total", NULL,
                     "Entries dropped from the read cache for want of room.", "counter", c ? evicted : NULL,
                     c);
    metrics_gauge_fn(m, "carat_read_cache_bytes", NULL, "Memory of the read cache.", "gauge",
                     c ? bytes_held : NULL, c);
}

struct part_cache *part_cache_new(size_t bytes, struct metrics *m)
{
    struct part_cache *c = xcalloc(1, sizeof *c);
    c->shard_bytes = bytes / SHARDS;
    c->metrics = m;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_init(&s->mtx, NULL);
        s->slots = 64;
        s->table = xcalloc(s->slots, sizeof(struct entry *));
    }
    if (m)
        register_metrics(m, c);
    return c;
}

void part_cache_free(struct part_cache *c)
{
    if (!c)
        return;
    if (c->metrics)
        register_metrics(c->metrics, NULL);
    for (size_t i = 0; i < SHARDS; i++) {
        evict(&c->shards[i], 0);
        pthread_mutex_destroy(&c->shards[i].mtx);
        free(c->shards[i].table);
    }
    free(c);
}

void part_cache_forget_before(struct part_cache *c, uint32_t step_ms, int64_t before_ms)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_lock(&s->mtx);
        s->forgets++;
        for (struct entry *e = s->newest, *older; e; e = older) {
            older = e->older;
            if (e->key.step_ms == step_ms && e->key.from_window_ms < before_ms)
                drop(s, find(s, &e->key));
        }
        pthread_mutex_unlock(&s->mtx);
    }
}

void part_cache_forget(struct part_cache *c, uint32_t series, uint32_t step_ms)
{
    struct shard *s = shard_of(c, series);
    pthread_mutex_lock(&s->mtx);
    s->forgets++;
    for (struct entry **at = slot_of(s, series, step_ms); *at;)
        if ((*at)->key.series == series && (*at)->key.step_ms == step_ms)
            drop(s, at);
        else
            at = &(*at)->chain;
    pthread_mutex_unlock(&s->mtx);
}

void part_cache_get_stats(struct part_cache *c, struct part_cache_stats *out)
{
    *out = (struct part_cache_stats){0};
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_lock(&s->mtx);
        out->hits += s->hits;
        out->misses += s->misses;
        out->evicted += s->evicted;
        out->bytes += s->bytes;
        out->entries += s->n;
        pthread_mutex_unlock(&s->mtx);
    }
}
