#include "catalog/catalog_impl.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/prefetch.h"
#include "catalog/catalog_store.h"
#include "model/name.h"
#include "model/window.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SERIES_DEFAULT 100000000u
#define STEP_DEFAULT_MS    60000u
#define LOOKUP_CHUNK       64u /* names prefetched together; their lines must stay in the first-level cache */
#define INSERT_CHUNK       256u   /* new names under one exclusive lock */
#define FLUSH_CHUNK        65536u /* rows of one transaction */

void id_list_push(struct id_list *l, uint32_t id)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap + l->cap / 2 : 256;
        l->v = xrealloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = id;
}

static uint64_t memory_locked(struct catalog *c)
{
    return sizeof *c + name_table_bytes(&c->table) + name_arena_bytes(&c->names) +
           (uint64_t)catalog_count(c) * sizeof(struct entry) + ENTRY_PAGES * sizeof(struct entry *) +
           (c->pending.cap + c->unindexed.cap) * sizeof(uint32_t) + path_tree_bytes(&c->tree);
}

uint64_t catalog_memory_bytes(struct catalog *c)
{
    pthread_rwlock_rdlock(&c->tree_lock);
    catalog_lock_shared(c);
    uint64_t n = memory_locked(c);
    catalog_unlock(c);
    pthread_rwlock_unlock(&c->tree_lock);
    return n;
}

static const struct name_slot *find_locked(struct catalog *c, const char *name, size_t len, uint64_t hash)
{
    return name_table_find(&c->table, &c->names, name, len, hash);
}

static void raise_max_id(struct catalog *c, uint32_t id)
{
    if (id > atomic_load_explicit(&c->max_id, memory_order_relaxed))
        atomic_store_explicit(&c->max_id, id, memory_order_release);
}

/* A series as it is first seen. */
struct newcomer {
    uint32_t id, step_ms;
    const char *name;
    size_t len;
    uint64_t hash;
    bool define, stored;
};

/* Under the exclusive lock; neither id nor name may be there. False: no room for names. */
static bool insert_locked(struct catalog *c, const struct newcomer *s)
{
    uint32_t ref = name_arena_add(&c->names, s->name, s->len);
    if (ref == NAME_REF_FULL)
        return false;
    struct entry *e = entries_room(&c->entries, s->id);
    e->name = ref;
    e->name_len = (uint16_t)s->len;
    e->tagged = name_has_tags(s->name, s->len);
    atomic_store_explicit(&e->state, s->define ? ENTRY_DEFINE : ENTRY_KNOWN, memory_order_relaxed);
    atomic_store_explicit(&e->step_ms, s->step_ms, memory_order_release);
    name_table_insert(&c->table, s->hash, s->id, ref);
    raise_max_id(c, s->id);
    atomic_fetch_add_explicit(&c->count, 1, memory_order_relaxed);
    if (!e->tagged)
        id_list_push(&c->unindexed, s->id);
    if (c->store && !s->stored)
        id_list_push(&c->pending, s->id);
    return true;
}

static struct catalog_entry entry_of(const struct entry *e, uint32_t id)
{
    return (struct catalog_entry){.id = id,
                                  .step_ms = atomic_load_explicit(&e->step_ms, memory_order_relaxed),
                                  .define =
                                      atomic_load_explicit(&e->state, memory_order_relaxed) == ENTRY_DEFINE};
}

static struct catalog_entry entry_of_slot(struct catalog *c, const struct name_slot *slot)
{
    return slot ? entry_of(entries_get(&c->entries, slot->id), slot->id) : (struct catalog_entry){.id = 0};
}

/* Loads what the comparison will need. */
PREFETCH_INLINE void prefetch_entry(struct catalog *c, const struct name_slot *slot, size_t name_len)
{
    const char *name = name_at(&c->names, slot->name);
    __builtin_prefetch(name);
    __builtin_prefetch(name + name_len);
    entries_prefetch(&c->entries, slot->id);
}

/* Three passes, so that the cache misses of a chunk overlap: slots, then names and entries, then the
 * comparison. Returns how many are unknown. */
static size_t lookup_chunk(struct catalog *c, const struct sample *s, size_t n, struct catalog_entry *out)
{
    const struct name_slot *guess[LOOKUP_CHUNK];
    size_t unknown = 0;
    for (size_t i = 0; i < n; i++)
        name_table_prefetch(&c->table, s[i].hash);
    for (size_t i = 0; i < n; i++) {
        guess[i] = name_table_guess(&c->table, s[i].hash);
        if (guess[i])
            prefetch_entry(c, guess[i], s[i].name_len);
    }
    for (size_t i = 0; i < n; i++) {
        struct entry *e = guess[i] ? entries_get(&c->entries, guess[i]->id) : NULL;
        if (e && e->name_len == s[i].name_len &&
            !memcmp(name_at(&c->names, e->name), s[i].name, s[i].name_len))
            out[i] = entry_of(e, guess[i]->id);
        else
            out[i] = entry_of_slot(c, find_locked(c, s[i].name, s[i].name_len, s[i].hash));
        unknown += out[i].id == 0;
    }
    return unknown;
}

static uint32_t step_for(struct catalog *c, const char *name, size_t len)
{
    uint32_t step = c->step ? c->step(c->step_ctx, name, len) : STEP_DEFAULT_MS;
    assert(step >= STEP_MIN_MS && step <= STEP_MAX_MS);
    return step;
}

static bool full(struct catalog *c)
{
    return atomic_load_explicit(&c->count, memory_order_relaxed) >= c->max_series ||
           atomic_load_explicit(&c->max_id, memory_order_relaxed) == UINT32_MAX;
}

static void create_locked(struct catalog *c, const struct sample *s, uint32_t step, struct catalog_entry *out)
{
    *out = entry_of_slot(c, find_locked(c, s->name, s->name_len, s->hash)); /* another thread, or a repeat */
    if (out->id || full(c))
        return;
    if (c->admit && !c->admit(c->admit_ctx, s->name, s->name_len, false)) {
        out->over_quota = true;
        return;
    }
    struct newcomer new = {.id = atomic_load_explicit(&c->max_id, memory_order_relaxed) + 1,
                           .step_ms = step,
                           .name = s->name,
                           .len = s->name_len,
                           .hash = s->hash,
                           .define = true};
    if (insert_locked(c, &new))
        *out = (struct catalog_entry){.id = new.id, .step_ms = step, .define = true};
}

/* Under the lock. */
static void show_counts(struct catalog *c)
{
    if (!c->series_gauge)
        return;
    gauge_set(c->series_gauge, catalog_count(c));
    gauge_set(c->pending_gauge, (int64_t)c->pending.n);
}

/* The rules are asked outside the lock: they run regular expressions. */
static void create_chunk(struct catalog *c, const struct sample *s, const uint32_t *which, size_t n,
                         struct catalog_entry *out)
{
    uint32_t step[INSERT_CHUNK] = {0};
    bool was_full = full(c);
    for (size_t i = 0; i < n && !was_full; i++)
        step[i] = step_for(c, s[which[i]].name, s[which[i]].name_len);
    catalog_lock_exclusive(c);
    for (size_t i = 0; i < n; i++)
        name_table_prefetch(&c->table, s[which[i]].hash);
    for (size_t i = 0; i < n; i++)
        create_locked(c, &s[which[i]], step[i], &out[which[i]]);
    show_counts(c);
    catalog_unlock(c);
}

static int check_claim(struct catalog *c, const struct newcomer *s, struct err *err);

static bool is_shared(const struct catalog *c)
{
    return c->store && c->store->ops->assign;
}

/* Which of the names are still unknown, allowed, and not a repeat of one before: those to ask the store for.
 */
static size_t wanted_rows(struct catalog *c, const struct sample *s, const uint32_t *which, size_t n,
                          struct catalog_entry *out, struct catalog_row *rows)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        const struct sample *p = &s[which[i]];
        bool repeated = false;
        for (size_t r = 0; r < k && !repeated; r++)
            repeated = rows[r].name_len == p->name_len && !memcmp(rows[r].name, p->name, p->name_len);
        if (!repeated)
            rows[k++] = (struct catalog_row){0, step_for(c, p->name, p->name_len), p->name, p->name_len};
    }
    size_t kept = 0;
    catalog_lock_exclusive(c);
    for (size_t r = 0; r < k; r++) {
        bool known =
            find_locked(c, rows[r].name, rows[r].name_len, hash_bytes(rows[r].name, rows[r].name_len));
        if (!known && !full(c) &&
            (!c->admit || c->admit(c->admit_ctx, rows[r].name, rows[r].name_len, false)))
            rows[kept++] = rows[r];
    }
    catalog_unlock(c);
    return kept;
}

/* Rows the shared store has given ids to. One that contradicts what is known is left out: its points are
 * refused as unavailable, and following will tell what is wrong. */
static void insert_assigned(struct catalog *c, const struct catalog_row *rows, size_t n)
{
    struct err ignored;
    catalog_lock_exclusive(c);
    for (size_t i = 0; i < n; i++) {
        struct newcomer new = {.id = rows[i].id,
                               .step_ms = rows[i].step_ms,
                               .name = rows[i].name,
                               .len = rows[i].name_len,
                               .hash = hash_bytes(rows[i].name, rows[i].name_len),
                               .stored = true};
        if (check_claim(c, &new, &ignored) == OK)
            insert_locked(c, &new);
    }
    show_counts(c);
    catalog_unlock(c);
}

static void create_shared_chunk(struct catalog *c, const struct sample *s, const uint32_t *which, size_t n,
                                struct catalog_entry *out)
{
    struct catalog_row rows[INSERT_CHUNK];
    struct err ignored;
    bool was_full = full(c);
    size_t k = was_full ? 0 : wanted_rows(c, s, which, n, out, rows);
    int rc = k ? c->store->ops->assign(c->store, rows, k, &ignored) : OK;
    if (rc == OK)
        insert_assigned(c, rows, k);
    catalog_lock_shared(c);
    for (size_t i = 0; i < n; i++) {
        const struct sample *p = &s[which[i]];
        struct catalog_entry *e = &out[which[i]];
        *e = entry_of_slot(c, find_locked(c, p->name, p->name_len, p->hash));
        for (size_t r = 0; !e->id && r < k && !e->away; r++)
            e->away = rows[r].name_len == p->name_len && !memcmp(rows[r].name, p->name, p->name_len);
        e->over_quota = !e->id && !e->away && !was_full && c->admit;
    }
    catalog_unlock(c);
}

void catalog_resolve(struct catalog *c, const struct sample *samples, size_t n, struct catalog_entry *out)
{
    size_t unknown = 0;
    catalog_lock_shared(c);
    for (size_t i = 0; i < n; i += LOOKUP_CHUNK)
        unknown += lookup_chunk(c, samples + i, n - i < LOOKUP_CHUNK ? n - i : LOOKUP_CHUNK, out + i);
    catalog_unlock(c);
    uint32_t which[INSERT_CHUNK];
    for (size_t i = 0, k = 0; unknown; i++) {
        if (out[i].id)
            continue;
        which[k++] = (uint32_t)i;
        if (--unknown && k < INSERT_CHUNK)
            continue;
        (is_shared(c) ? create_shared_chunk : create_chunk)(c, samples, which, k, out);
        k = 0;
    }
}

void catalog_defs_durable(struct catalog *c, const uint32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct entry *e = entries_get(&c->entries, ids[i]);
        uint8_t define = ENTRY_DEFINE; /* one that has ended meanwhile stays so */
        if (e)
            atomic_compare_exchange_strong(&e->state, &define, ENTRY_KNOWN);
    }
}

/* A series that exists already, from the stream or the store: never refused, but counted. */
static int insert_known_locked(struct catalog *c, const struct newcomer *s, struct err *err)
{
    if (!insert_locked(c, s))
        return err_set(err, ERR_LIMIT, "no room for more series names");
    if (c->admit)
        c->admit(c->admit_ctx, s->name, s->len, true);
    return OK;
}

/* Checks an outside claim that `id` is `name` against what is known. OK: insert it; 1: known already. */
static int check_claim(struct catalog *c, const struct newcomer *s, struct err *err)
{
    if (s->id == 0 || s->len == 0 || s->len > NAME_MAX_BYTES || memchr(s->name, '\0', s->len))
        return err_set(err, ERR_CORRUPT, "definition of series %u: bad id or name", s->id);
    if (s->step_ms < STEP_MIN_MS || s->step_ms > STEP_MAX_MS)
        return err_set(err, ERR_CORRUPT, "definition of series %u: step of %u ms", s->id, s->step_ms);
    if (catalog_has_ended(c, s->id))
        return 1;
    const struct name_slot *slot = find_locked(c, s->name, s->len, s->hash);
    if (slot && slot->id == s->id)
        return 1;
    if (slot)
        return err_set(err, ERR_CORRUPT, "series %.*s is defined as %u, but known as %u",
                       (int)(s->len < 200 ? s->len : 200), s->name, s->id, slot->id);
    const struct entry *e = entries_get(&c->entries, s->id);
    if (e)
        return err_set(err, ERR_CORRUPT, "series %u is defined as %.*s, but known as %.200s", s->id,
                       (int)(s->len < 200 ? s->len : 200), s->name, name_at(&c->names, e->name));
    return OK;
}

/* The exclusive lock is taken only for what is new: the writer comes by with every definition it reads. */
static int take_over(struct catalog *c, const struct newcomer *s, struct err *err)
{
    catalog_lock_shared(c);
    int rc = check_claim(c, s, err);
    catalog_unlock(c);
    if (rc != OK)
        return rc < 0 ? rc : OK;
    catalog_lock_exclusive(c);
    rc = check_claim(c, s, err);
    if (rc == OK)
        rc = insert_known_locked(c, s, err);
    show_counts(c);
    catalog_unlock(c);
    return rc < 0 ? rc : OK;
}

int catalog_define(struct catalog *c, uint32_t id, uint32_t step_ms, const char *name, size_t name_len,
                   struct err *err)
{
    struct newcomer s = {.id = id,
                         .step_ms = step_ms,
                         .name = name,
                         .len = name_len,
                         .hash = hash_bytes(name, name_len),
                         .define = false};
    return take_over(c, &s, err);
}

void catalog_reserve(struct catalog *c, uint32_t id)
{
    catalog_lock_exclusive(c);
    raise_max_id(c, id);
    catalog_unlock(c);
}

struct catalog_entry catalog_lookup(struct catalog *c, const char *name, size_t name_len)
{
    uint64_t hash = hash_bytes(name, name_len);
    catalog_lock_shared(c);
    struct catalog_entry e = entry_of_slot(c, find_locked(c, name, name_len, hash));
    catalog_unlock(c);
    return e;
}

uint32_t catalog_step_ms(struct catalog *c, uint32_t id)
{
    const struct entry *e = entries_get(&c->entries, id);
    return e ? atomic_load_explicit(&e->step_ms, memory_order_relaxed) : 0;
}

const char *catalog_name(struct catalog *c, uint32_t id, size_t *len)
{
    const struct entry *e = entries_get_any(&c->entries, id);
    e = e && e->name_len ? e : NULL;
    if (len)
        *len = e ? e->name_len : 0;
    return e ? name_at(&c->names, e->name) : NULL;
}

uint32_t catalog_count(struct catalog *c)
{
    return atomic_load_explicit(&c->count, memory_order_relaxed);
}

uint32_t catalog_max_id(struct catalog *c)
{
    return atomic_load_explicit(&c->max_id, memory_order_acquire);
}

static int each(struct catalog *c, bool tagged_only, catalog_series_fn fn, void *ctx)
{
    uint32_t last = catalog_max_id(c);
    for (uint64_t id = 1; id <= last; id++) {
        if (!atomic_load_explicit(&c->entries.pages[id >> ENTRY_PAGE_BITS], memory_order_acquire)) {
            id |= ENTRY_PAGE - 1;
            continue;
        }
        const struct entry *e = entries_get(&c->entries, (uint32_t)id);
        uint32_t step_ms = e ? atomic_load_explicit(&e->step_ms, memory_order_relaxed) : 0;
        if (!step_ms || (tagged_only && !e->tagged))
            continue;
        int rc = fn(ctx, (uint32_t)id, step_ms, name_at(&c->names, e->name), e->name_len);
        if (rc)
            return rc;
    }
    return OK;
}

int catalog_each(struct catalog *c, catalog_series_fn fn, void *ctx)
{
    return each(c, false, fn, ctx);
}

int catalog_each_tagged(struct catalog *c, catalog_series_fn fn, void *ctx)
{
    return each(c, true, fn, ctx);
}

struct id_list catalog_take_list(struct catalog *c, struct id_list *l)
{
    catalog_lock_exclusive(c);
    struct id_list taken = *l;
    *l = (struct id_list){NULL, 0, 0};
    catalog_unlock(c);
    return taken;
}

/* --- deletion --- */

/* Under the exclusive lock. */
static void end_locked(struct catalog *c, const struct catalog_ended *one, bool stored)
{
    struct entry *e = entries_room(&c->entries, one->id);
    struct catalog_ended ended = *one;
    if (atomic_load_explicit(&e->state, memory_order_relaxed) == ENTRY_ENDED)
        return;
    uint32_t step_ms = atomic_load_explicit(&e->step_ms, memory_order_relaxed);
    if (step_ms) {
        const char *name = name_at(&c->names, e->name);
        name_table_remove(&c->table, &c->names, name, e->name_len, hash_bytes(name, e->name_len));
        atomic_fetch_sub_explicit(&c->count, 1, memory_order_relaxed);
        if (!e->tagged)
            id_list_push(&c->unlinked, one->id);
        if (c->leave)
            c->leave(c->admit_ctx, name, e->name_len);
        ended.step_ms = step_ms;
    }
    atomic_store_explicit(&e->state, ENTRY_ENDED, memory_order_release);
    atomic_store_explicit(&e->step_ms, 0, memory_order_release);
    raise_max_id(c, one->id);
    tombstones_drop_series(c->tombstones, one->id);
    ended_add(&c->ended, &ended, stored);
}

void catalog_end(struct catalog *c, const uint32_t *ids, size_t n, uint64_t pos)
{
    catalog_lock_exclusive(c);
    for (size_t i = 0; i < n; i++)
        end_locked(c, &(struct catalog_ended){.id = ids[i], .pos = pos}, false);
    show_counts(c);
    catalog_unlock(c);
}

bool catalog_keeps_deletions(struct catalog *c)
{
    return !c->store || c->store->ops->keep_deleted;
}

bool catalog_has_ended(struct catalog *c, uint32_t id)
{
    const struct entry *e = entries_get_any(&c->entries, id);
    return e && atomic_load_explicit(&e->state, memory_order_acquire) == ENTRY_ENDED;
}

struct catalog_ended *catalog_list_ended(struct catalog *c, size_t *n)
{
    catalog_lock_shared(c);
    struct catalog_ended *v = ended_list(&c->ended, n);
    catalog_unlock(c);
    return v;
}

size_t catalog_count_ended(struct catalog *c)
{
    catalog_lock_shared(c);
    size_t n = c->ended.n;
    catalog_unlock(c);
    return n;
}

void catalog_erased(struct catalog *c, const uint32_t *ids, size_t n)
{
    catalog_lock_exclusive(c);
    ended_erase(&c->ended, ids, n);
    catalog_unlock(c);
}

struct tombstones *catalog_tombstones(struct catalog *c)
{
    return c->tombstones;
}

struct loader {
    struct catalog *c;
    struct err *err;
};

static int load_row(void *ctx, const struct catalog_row *row)
{
    const struct loader *l = ctx;
    struct newcomer s = {.id = row->id,
                         .step_ms = row->step_ms,
                         .name = row->name,
                         .len = row->name_len,
                         .hash = hash_bytes(row->name, row->name_len),
                         .stored = true};
    if (catalog_has_ended(l->c, s.id))
        return OK;
    catalog_lock_exclusive(l->c);
    int rc = check_claim(l->c, &s, l->err);
    if (rc == 1)
        rc = err_set(l->err, ERR_CORRUPT, "series %u is there twice", s.id);
    else if (rc == OK)
        rc = insert_known_locked(l->c, &s, l->err);
    catalog_unlock(l->c);
    return rc;
}

/* As load_row, but what is known already is fine. */
static int follow_row(void *ctx, const struct catalog_row *row)
{
    const struct loader *l = ctx;
    struct newcomer s = {.id = row->id,
                         .step_ms = row->step_ms,
                         .name = row->name,
                         .len = row->name_len,
                         .hash = hash_bytes(row->name, row->name_len),
                         .stored = true};
    int rc = take_over(l->c, &s, l->err);
    catalog_lock_exclusive(l->c);
    if (rc == OK && row->id > l->c->followed)
        l->c->followed = row->id;
    catalog_unlock(l->c);
    return rc;
}

int catalog_follow(struct catalog *c, struct err *err)
{
    if (!is_shared(c))
        return OK;
    catalog_lock_shared(c);
    uint32_t after = c->followed;
    catalog_unlock(c);
    struct loader l = {c, err};
    return c->store->ops->since(c->store, after, follow_row, &l, err);
}

static int load_ended(void *ctx, const struct catalog_ended *e)
{
    const struct loader *l = ctx;
    catalog_lock_exclusive(l->c);
    end_locked(l->c, e, true);
    catalog_unlock(l->c);
    return OK;
}

static int load_tombstone(void *ctx, const struct tombstone *t)
{
    const struct loader *l = ctx;
    tombstones_load(l->c->tombstones, t);
    return OK;
}

/* What has ended first: the rows of such series may name others, too. */
static int load_all(struct catalog *c, struct err *err)
{
    const struct catalog_store_ops *ops = c->store->ops;
    struct loader l = {c, err};
    int rc = ops->load_deleted ? ops->load_deleted(c->store, load_ended, load_tombstone, &l, err) : OK;
    if (rc == OK) /* rows that come into a shared store meanwhile are followed later */
        rc = ops->load(c->store, is_shared(c) ? follow_row : load_row, &l, err);
    return rc;
}

static void init_metrics(struct catalog *c, struct metrics *m)
{
    if (!m)
        return;
    c->series_gauge = metrics_gauge(m, "carat_catalog_series", NULL, "Series known to the catalog.");
    c->bytes_gauge = metrics_gauge(m, "carat_catalog_memory_bytes", NULL,
                                   "Memory held by the catalog, as of its last flush.");
    c->pending_gauge = metrics_gauge(m, "carat_catalog_pending_definitions", NULL,
                                     "Definitions that are not in the catalog's store yet.");
}

static void update_metrics(struct catalog *c)
{
    if (!c->series_gauge)
        return;
    gauge_set(c->bytes_gauge, (int64_t)catalog_memory_bytes(c));
    catalog_lock_shared(c);
    show_counts(c);
    catalog_unlock(c);
}

int catalog_open(const struct catalog_options *o, struct catalog **out, struct err *err)
{
    struct catalog *c = xcalloc(1, sizeof *c);
    c->store = o->store;
    c->max_series = o->max_series ? o->max_series : MAX_SERIES_DEFAULT;
    c->step = o->step;
    c->step_ctx = o->step_ctx;
    c->admit = o->admit;
    c->leave = o->leave;
    c->admit_ctx = o->admit_ctx;
    c->tombstones = tombstones_new();
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    /* Else a stream of look-ups could keep new names waiting for ever. Nobody locks twice. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&c->lock, &attr);
    pthread_rwlock_init(&c->tree_lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    entries_init(&c->entries);
    name_table_init(&c->table);
    path_tree_init(&c->tree);
    init_metrics(c, o->metrics);
    int rc = c->store ? load_all(c, err) : OK;
    if (rc < 0) {
        catalog_free(c);
        return rc;
    }
    update_metrics(c);
    *out = c;
    return OK;
}

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    if (c->store)
        c->store->ops->free(c->store);
    entries_release(&c->entries);
    name_table_release(&c->table);
    name_arena_release(&c->names);
    path_tree_release(&c->tree);
    free(c->pending.v);
    free(c->unindexed.v);
    free(c->unlinked.v);
    ended_release(&c->ended);
    tombstones_free(c->tombstones);
    pthread_rwlock_destroy(&c->lock);
    pthread_rwlock_destroy(&c->tree_lock);
    free(c);
}

/* How many rows: one that has ended before it was ever stored needs none. */
static size_t fill_rows(struct catalog *c, const uint32_t *ids, size_t n, struct catalog_row *rows)
{
    size_t filled = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len;
        const char *name = catalog_name(c, ids[i], &len);
        uint32_t step_ms = catalog_step_ms(c, ids[i]);
        if (step_ms)
            rows[filled++] = (struct catalog_row){ids[i], step_ms, name, (uint32_t)len};
    }
    return filled;
}

/* Writes ids[0..n); *done tells how many are durable. */
static int write_pending(struct catalog *c, const struct id_list *l, size_t *done, struct err *err)
{
    struct catalog_row *rows = xmalloc((l->n < FLUSH_CHUNK ? l->n : FLUSH_CHUNK) * sizeof *rows);
    int rc = OK;
    while (rc == OK && *done < l->n) {
        size_t n = l->n - *done < FLUSH_CHUNK ? l->n - *done : FLUSH_CHUNK;
        rc = c->store->ops->add(c->store, rows, fill_rows(c, l->v + *done, n, rows), err);
        *done += rc == OK ? n : 0;
    }
    free(rows);
    return rc;
}

/* What has ended, and the tombstones. */
static int write_deleted(struct catalog *c, struct err *err)
{
    size_t n, m;
    catalog_lock_shared(c);
    struct catalog_ended *ended = ended_changes(&c->ended, &n);
    catalog_unlock(c);
    struct tombstone_change *changes = tombstones_changes(c->tombstones, &m);
    int rc = OK;
    if (n + m && !catalog_keeps_deletions(c))
        rc =
            err_set(err, ERR_UNSUPPORTED, "a catalog in %s cannot keep what is deleted", c->store->ops->name);
    else if (n + m && c->store)
        rc = c->store->ops->keep_deleted(c->store, ended, n, changes, m, err);
    if (rc == OK) {
        catalog_lock_exclusive(c);
        ended_changes_kept(&c->ended, n);
        catalog_unlock(c);
        tombstones_changes_kept(c->tombstones, m);
    }
    free(ended);
    free(changes);
    return rc;
}

/* The list of names is taken before, and written after what has ended: the store must never have a name for
 * two ids of which none has ended. */
int catalog_flush(struct catalog *c, struct err *err)
{
    catalog_index_new(c);
    struct id_list l = catalog_take_list(c, &c->pending);
    size_t done = 0;
    int rc = write_deleted(c, err);
    if (rc == OK)
        rc = l.n ? write_pending(c, &l, &done, err) : catalog_follow(c, err);
    if (done < l.n) { /* they wait for the next flush */
        catalog_lock_exclusive(c);
        for (size_t i = done; i < l.n; i++)
            id_list_push(&c->pending, l.v[i]);
        catalog_unlock(c);
    }
    free(l.v);
    update_metrics(c);
    return rc;
}

int catalog_copy(struct catalog *c, const char *path, struct err *err)
{
    if (!c->store || !c->store->ops->copy)
        return err_set(err, ERR_UNSUPPORTED, "a catalog that is not in a file cannot be copied");
    return c->store->ops->copy(c->store, path, err);
}
