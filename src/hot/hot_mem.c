/* Series table of the embedded hot tier.
 *
 * A shard a partition: pages of list heads by series id, windows newest first. The partition's writer
 * applies and the flusher takes, both under the shard's mutex, in slices short enough (SLICE points or
 * series) that a query does not wait for a whole batch. */
#include "hot/hot_mem.h"

#include "base/mem.h"
#include "base/prefetch.h"
#include "codec/codec.h"
#include "hot/hot_impl.h"
#include "hot/hot_window.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PAGE_SERIES 4096
#define PAGES       (1u << 20) /* 4 billion ids */
#define SLICE       2048
#define SLAB        256

struct slab {
    struct slab *next;
    struct hot_owin windows[SLAB];
};

struct shard {
    pthread_mutex_t mtx;
    _Atomic unsigned waiting; /* readers at the door: the writer lets them in between slices */
    /* under mtx */
    struct hot_owin **pages[PAGES];
    uint32_t npages; /* pages at and after this one are NULL */
    struct hot_owin *free_windows;
    struct slab *slabs;
    struct buf scratch;
    uint64_t series, windows, closed_bytes, slab_bytes, late_points;
};

struct hot_mem {
    struct hot base;
    unsigned nshards;
    struct shard *shards[];
};

static struct hot_mem *down(struct hot *h)
{
    return container_of(h, struct hot_mem, base);
}

static struct shard *shard_of(struct hot *h, unsigned partition)
{
    assert(partition < down(h)->nshards);
    return down(h)->shards[partition];
}

static void lock_for_reading(struct shard *s)
{
    atomic_fetch_add(&s->waiting, 1);
    pthread_mutex_lock(&s->mtx);
    atomic_fetch_sub(&s->waiting, 1);
}

/* glibc's mutex is not fair: without this a busy writer takes it again before a reader wakes. */
static void lock_for_writing(struct shard *s)
{
    for (int i = 0; i < 100 && atomic_load_explicit(&s->waiting, memory_order_relaxed); i++)
        sched_yield();
    pthread_mutex_lock(&s->mtx);
}

static struct hot_owin *window_new(struct shard *s)
{
    if (!s->free_windows) {
        struct slab *slab = xmalloc(sizeof *slab);
        slab->next = s->slabs;
        s->slabs = slab;
        s->slab_bytes += sizeof *slab;
        for (int i = SLAB - 1; i >= 0; i--) {
            slab->windows[i].next = s->free_windows;
            s->free_windows = &slab->windows[i];
        }
    }
    struct hot_owin *w = s->free_windows;
    s->free_windows = w->next;
    s->windows++;
    return w;
}

static void window_free(struct shard *s, struct hot_owin *w)
{
    s->closed_bytes -= w->closed_cap;
    hot_owin_release(w);
    w->next = s->free_windows;
    s->free_windows = w;
    s->windows--;
}

static struct hot_owin **head_of(struct shard *s, uint32_t series)
{
    uint32_t page = series / PAGE_SERIES;
    return page < s->npages && s->pages[page] ? &s->pages[page][series % PAGE_SERIES] : NULL;
}

static struct hot_owin **head_create(struct shard *s, uint32_t series)
{
    uint32_t page = series / PAGE_SERIES;
    if (page >= s->npages)
        s->npages = page + 1;
    if (!s->pages[page])
        s->pages[page] = xcalloc(PAGE_SERIES, sizeof(struct hot_owin *));
    return &s->pages[page][series % PAGE_SERIES];
}

/* The window of this start, made if it is missing; the list stays newest first. */
static struct hot_owin *window_find_or_make(struct shard *s, struct hot_owin **head,
                                            const struct hot_point *p, uint64_t pos)
{
    int64_t start = window_start(p->ts_ms, p->step_ms);
    struct hot_owin **at = head;
    while (*at && ((*at)->start_ms > start || ((*at)->start_ms == start && (*at)->step_ms != p->step_ms)))
        at = &(*at)->next;
    if (*at && (*at)->start_ms == start && (*at)->step_ms == p->step_ms)
        return *at;
    if (!*head)
        s->series++;
    struct hot_owin *w = window_new(s);
    hot_owin_init(w, start, p->step_ms, window_slots(p->step_ms), pos);
    w->next = *at;
    *at = w;
    return w;
}

static inline bool window_holds(const struct hot_owin *w, const struct hot_point *p)
{
    return w && w->step_ms == p->step_ms && p->ts_ms >= w->start_ms &&
           p->ts_ms - w->start_ms < (int64_t)w->nslots * w->step_ms;
}

static void apply_one(struct shard *s, const struct hot_point *p, uint64_t pos)
{
    struct hot_owin **head = head_create(s, p->series);
    struct hot_owin *w = *head;
    if (!window_holds(w, p)) {
        w = window_find_or_make(s, head, p, pos);
        s->late_points += w != *head;
    }
    if (pos < w->lo)
        w->lo = pos;
    uint16_t cap = w->closed_cap;
    hot_owin_set(w, (uint32_t)((uint64_t)(p->ts_ms - w->start_ms) / w->step_ms), p->value, pos, &s->scratch);
    s->closed_bytes += (uint64_t)w->closed_cap - cap;
}

/* Two misses a point without this: the list head, then the window. */
PREFETCH_INLINE void prefetch(struct shard *s, const struct hot_point *points, size_t i, size_t n)
{
    if (i + 16 < n) {
        struct hot_owin **head = head_of(s, points[i + 16].series);
        if (head)
            __builtin_prefetch(head);
    }
    if (i + 8 < n) {
        struct hot_owin **head = head_of(s, points[i + 8].series);
        if (head && *head) {
            __builtin_prefetch(*head, 1);
            __builtin_prefetch((char *)*head + 64, 1);
            __builtin_prefetch((char *)*head + 128, 1);
        }
    }
}

static int mem_apply(struct hot *h, unsigned partition, uint64_t pos, const struct hot_point *points,
                     size_t n, struct err *err)
{
    struct shard *s = shard_of(h, partition);
    for (size_t from = 0; from < n; from += SLICE) {
        size_t until = n - from < SLICE ? n : from + SLICE;
        lock_for_writing(s);
        for (size_t i = from; i < until; i++) {
            prefetch(s, points, i, until);
            apply_one(s, &points[i], pos);
        }
        pthread_mutex_unlock(&s->mtx);
    }
    return OK;
}

static int read_shard(struct shard *s, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                      hot_window_fn fn, void *ctx)
{
    int rc = OK;
    lock_for_reading(s);
    struct hot_owin **head = head_of(s, series);
    for (struct hot_owin *w = head ? *head : NULL; w && rc == OK; w = w->next) {
        int64_t end = w->start_ms + (int64_t)w->nslots * w->step_ms;
        if (w->step_ms != step_ms || w->start_ms >= until_ms || end <= from_ms)
            continue;
        struct hot_window view = {.window_ms = w->start_ms, .lo = w->lo, .hi = w->hi};
        hot_owin_load(w, &view.slots);
        rc = fn(ctx, &view);
    }
    pthread_mutex_unlock(&s->mtx);
    return rc;
}

static int mem_read(struct hot *h, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                    hot_window_fn fn, void *ctx, struct err *err)
{
    int rc = OK;
    for (unsigned i = 0; i < down(h)->nshards && rc == OK; i++)
        rc = read_shard(down(h)->shards[i], series, step_ms, from_ms, until_ms, fn, ctx);
    return rc;
}

static bool is_due(const struct hot_owin *w, uint32_t series, const struct hot_due *due)
{
    if (due->all || w->lo <= due->unflushed_before)
        return true;
    int64_t span = (int64_t)w->nslots * w->step_ms;
    /* Multiplicative hashing (Knuth, TAOCP 6.4) spreads neighbouring ids evenly over the jitter. */
    int64_t jitter =
        (int64_t)((uint64_t)(series * 2654435769u) * (uint64_t)(span / 1000 * due->jitter_permille) >> 32);
    return w->start_ms + span + jitter <= due->closed_before_ms && w->hi <= due->settled_before;
}

static void take_window(const struct hot_owin *w, uint32_t series, struct hot_taken *out)
{
    struct slots slots;
    hot_owin_load(w, &slots);
    if (out->n == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 256;
        out->parts = xrealloc(out->parts, out->cap * sizeof *out->parts);
        out->tokens = xrealloc(out->tokens, out->cap * sizeof *out->tokens);
    }
    size_t at = out->blocks.len;
    codec_encode(&(struct codec_in){slots.n, slots.present, slots.value}, &out->blocks);
    out->tokens[out->n] = (struct hot_token){w->version, (uint32_t)slots_count(slots.present, slots.n)};
    out->parts[out->n++] = (struct part){
        .key = {series, w->step_ms, w->start_ms, w->hi},
        .lo = w->lo,
        .data = (const uint8_t *)at, /* an offset until the buffer stops moving: fix_pointers() */
        .size = out->blocks.len - at,
    };
}

static void fix_pointers(struct hot_taken *out)
{
    for (size_t i = 0; i < out->n; i++)
        out->parts[i].data = out->blocks.data + (uintptr_t)out->parts[i].data;
}

static int mem_take(struct hot *h, unsigned partition, const struct hot_due *due, uint32_t *cursor,
                    size_t budget, struct hot_taken *out, struct err *err)
{
    struct shard *s = shard_of(h, partition);
    uint32_t at = *cursor;
    bool end = false;
    while (budget > 0 && !end) {
        lock_for_writing(s);
        for (int i = 0; i < SLICE && budget > 0; i++, at++, budget--) {
            end = at / PAGE_SERIES >= s->npages;
            if (end)
                break;
            if (!s->pages[at / PAGE_SERIES]) {
                at |= PAGE_SERIES - 1; /* the loop's at++ goes on to the next page */
                continue;
            }
            for (struct hot_owin *w = s->pages[at / PAGE_SERIES][at % PAGE_SERIES]; w; w = w->next)
                if (is_due(w, at, due))
                    take_window(w, at, out);
        }
        pthread_mutex_unlock(&s->mtx);
    }
    fix_pointers(out);
    *cursor = end ? 0 : at;
    return OK;
}

static bool release_one(struct shard *s, const struct part_key *k, uint64_t token)
{
    struct hot_owin **head = head_of(s, k->series);
    for (struct hot_owin **at = head; at && *at; at = &(*at)->next) {
        struct hot_owin *w = *at;
        if (w->start_ms != k->window_ms || w->step_ms != k->step_ms)
            continue;
        if (w->version != (uint32_t)token || w->hi != k->hi)
            return false;
        *at = w->next;
        window_free(s, w);
        s->series -= !*head;
        return true;
    }
    return false;
}

static int mem_release(struct hot *h, unsigned partition, const struct hot_taken *t, size_t *released,
                       struct err *err)
{
    struct shard *s = shard_of(h, partition);
    for (size_t from = 0; from < t->n; from += SLICE) {
        lock_for_writing(s);
        for (size_t i = from; i < t->n && i < from + SLICE; i++)
            *released += release_one(s, &t->parts[i].key, t->tokens[i].mark);
        pthread_mutex_unlock(&s->mtx);
    }
    return OK;
}

static uint32_t slot_at_or_after(const struct hot_owin *w, int64_t ts_ms)
{
    if (ts_ms <= w->start_ms)
        return 0;
    uint64_t slot = ((uint64_t)ts_ms - (uint64_t)w->start_ms + w->step_ms - 1) / w->step_ms;
    return slot < w->nslots ? (uint32_t)slot : w->nslots;
}

static int mem_erase(struct hot *h, unsigned partition, uint32_t series, int64_t from_ms, int64_t until_ms,
                     struct err *err)
{
    struct shard *s = shard_of(h, partition);
    lock_for_writing(s);
    struct hot_owin **head = head_of(s, series);
    bool any = head && *head;
    for (struct hot_owin **at = head; at && *at;) {
        struct hot_owin *w = *at;
        uint32_t from = slot_at_or_after(w, from_ms), until = slot_at_or_after(w, until_ms);
        uint16_t cap = w->closed_cap;
        bool empty = from < until && hot_owin_erase(w, from, until, &s->scratch);
        s->closed_bytes += (uint64_t)w->closed_cap - cap;
        if (empty) {
            *at = w->next;
            window_free(s, w);
        } else {
            at = &w->next;
        }
    }
    s->series -= any && !*head;
    pthread_mutex_unlock(&s->mtx);
    return OK;
}

static int mem_oldest(struct hot *h, unsigned partition, uint64_t *lo, struct err *err)
{
    struct shard *s = shard_of(h, partition);
    *lo = UINT64_MAX;
    bool end = false;
    for (uint32_t page = 0; !end; page++) {
        lock_for_writing(s);
        end = page >= s->npages;
        for (uint32_t i = 0; !end && s->pages[page] && i < PAGE_SERIES; i++)
            for (struct hot_owin *w = s->pages[page][i]; w; w = w->next)
                *lo = w->lo < *lo ? w->lo : *lo;
        pthread_mutex_unlock(&s->mtx);
    }
    return OK;
}

static void mem_get_stats(struct hot *h, struct hot_stats *out)
{
    *out = (struct hot_stats){0};
    for (unsigned i = 0; i < down(h)->nshards; i++) {
        struct shard *s = down(h)->shards[i];
        lock_for_reading(s);
        out->series += s->series;
        out->windows += s->windows;
        out->bytes += s->slab_bytes + s->closed_bytes + (uint64_t)s->npages * PAGE_SERIES * sizeof(void *);
        out->held_bytes += s->windows * sizeof(struct hot_owin) + s->closed_bytes;
        out->late_points += s->late_points;
        pthread_mutex_unlock(&s->mtx);
    }
}

static void shard_free(struct shard *s)
{
    for (uint32_t page = 0; page < s->npages; page++) {
        for (uint32_t i = 0; s->pages[page] && i < PAGE_SERIES; i++)
            for (struct hot_owin *w = s->pages[page][i]; w; w = w->next)
                hot_owin_release(w);
        free(s->pages[page]);
    }
    while (s->slabs) {
        struct slab *next = s->slabs->next;
        free(s->slabs);
        s->slabs = next;
    }
    buf_release(&s->scratch);
    pthread_mutex_destroy(&s->mtx);
    free(s);
}

static void mem_free(struct hot *h)
{
    for (unsigned i = 0; i < down(h)->nshards; i++)
        shard_free(down(h)->shards[i]);
    free(down(h));
}

struct hot *hot_mem_new(unsigned partitions)
{
    static const struct hot_ops ops = {
        .name = "memory",
        .apply = mem_apply,
        .read = mem_read,
        .take = mem_take,
        .release = mem_release,
        .erase = mem_erase,
        .oldest = mem_oldest,
        .get_stats = mem_get_stats,
        .free = mem_free,
    };
    assert(partitions > 0);
    struct hot_mem *m = xcalloc(1, sizeof *m + partitions * sizeof *m->shards);
    m->base.ops = &ops;
    m->nshards = partitions;
    for (unsigned i = 0; i < partitions; i++) {
        m->shards[i] = xcalloc(1, sizeof *m->shards[i]);
        pthread_mutex_init(&m->shards[i]->mtx, NULL);
    }
    return &m->base;
}
