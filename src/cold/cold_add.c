/* New packs: parts in, finished and verified packs out, and the switch to them. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/killpoint.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/part_sum.h"
#include "cold/cold_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A part of the open window; its block is at `at` in `blocks`. */
struct waiting {
    struct part part;
    size_t at;
};

struct cold_build {
    struct cold *c;
    uint32_t step_ms;
    struct cold_snapshot *others; /* packs that may hold more of a window, but for `replaced` */
    struct cold_pack *const *replaced;
    size_t nreplaced;
    cold_wait_fn wait;
    void *wait_ctx;
    bool broken; /* a call failed */
    /* the window whose parts are being collected */
    struct waiting *window;
    size_t nwindow, cap_window;
    struct buf blocks;
    struct buf cut; /* blocks without their dead slots */
    struct buf sum;
    /* the pack that is being written */
    struct cold_object *object; /* NULL: none */
    struct pack_writer writer;
    uint64_t id;
    uint32_t check; /* of every part that went in */
    /* finished ones */
    struct pack_info *packs;
    uint32_t *checks;
    size_t n, cap;
};

struct cold_build *cold_build_new(struct cold *c, uint32_t step_ms, struct cold_pack *const *replaced,
                                  size_t nreplaced, cold_wait_fn wait, void *ctx)
{
    struct cold_build *b = xcalloc(1, sizeof *b);
    b->c = c;
    b->step_ms = step_ms;
    b->others = cold_snapshot_get(c);
    b->replaced = replaced;
    b->nreplaced = nreplaced;
    b->wait = wait;
    b->wait_ctx = ctx;
    return b;
}

static uint32_t check_part(uint32_t crc, const struct part *p)
{
    uint8_t k[40];
    put_u32le(k, p->key.series);
    put_u32le(k + 4, p->key.step_ms);
    put_u64le(k + 8, (uint64_t)p->key.window_ms);
    put_u64le(k + 16, p->key.hi);
    put_u64le(k + 24, p->lo);
    put_u64le(k + 32, p->size);
    return crc32c(crc32c(crc, k, sizeof k), p->data, p->size);
}

/* --- writing --- */

static int write_on(void *ctx, const void *p, size_t n, struct err *err)
{
    struct cold_build *b = ctx;
    int rc = b->c->store->ops->append(b->object, p, n, err);
    if (rc == OK && b->wait && b->wait(b->wait_ctx, n))
        rc = err_set(err, ERR_CLOSED, "cold tier: stopped");
    return rc;
}

static int open_pack(struct cold_build *b, struct err *err)
{
    int rc = cold_next_id(b->c, &b->id, err);
    if (rc == OK)
        rc = b->c->store->ops->create(b->c->store, b->id, &b->object, err);
    if (rc == OK) {
        pack_writer_init(&b->writer, b->step_ms, write_on, b);
        b->check = 0;
    }
    return rc;
}

static void note_pack(struct cold_build *b)
{
    const struct pack_footer *f = &b->writer.footer;
    int64_t span = window_span_ms(b->step_ms);
    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 8;
        b->packs = xrealloc(b->packs, b->cap * sizeof *b->packs);
        b->checks = xrealloc(b->checks, b->cap * sizeof *b->checks);
    }
    b->checks[b->n] = b->check;
    b->packs[b->n++] = (struct pack_info){
        .id = b->id,
        .step_ms = b->step_ms,
        .min_series = f->min_series,
        .max_series = f->max_series,
        .from_ms = (int64_t)f->first * span,
        .until_ms = (int64_t)f->last * span + span,
        .bytes = b->writer.written,
        .parts = f->parts,
        .points = f->points,
        .block_bytes = f->block_bytes,
    };
}

static void close_object(struct cold_build *b)
{
    b->c->store->ops->close(b->object);
    b->object = NULL;
    pack_writer_release(&b->writer);
}

static int close_pack(struct cold_build *b, struct err *err)
{
    int rc = pack_writer_finish(&b->writer, err);
    if (rc == OK)
        rc = b->c->store->ops->finish(b->object, err);
    if (rc == OK)
        note_pack(b);
    else
        b->broken = true;
    if (rc == OK)
        close_object(b);
    return rc;
}

static uint32_t count_points(const struct part *p, uint32_t slots)
{
    struct slots s;
    if (!block_is_codecs(p) || codec_decode(p->data, p->size, slots, s.present, s.value, NULL) < 0)
        return 0;
    return (uint32_t)slots_count(s.present, slots);
}

static int emit(struct cold_build *b, const struct part *p, struct err *err)
{
    int rc = b->object ? OK : open_pack(b, err);
    if (rc == OK)
        rc = pack_writer_add(&b->writer, p, count_points(p, window_slots(b->step_ms)), err);
    if (rc < 0)
        return rc;
    b->check = check_part(b->check, p);
    return pack_writer_bytes(&b->writer) >= b->c->o.pack_bytes ? close_pack(b, err) : OK;
}

/* --- windows --- */

/* Of two with one key the one from the longer run, else the newer: as in warm_put. */
static int emit_each(struct cold_build *b, struct err *err)
{
    size_t keep = 0;
    for (size_t i = 1; i < b->nwindow; i++) {
        const struct part *old = &b->window[keep].part, *p = &b->window[i].part;
        if (p->key.hi != old->key.hi)
            b->window[++keep] = b->window[i];
        else if (p->lo <= old->lo)
            b->window[keep] = b->window[i];
    }
    int rc = OK;
    for (size_t i = 0; i <= keep && rc == OK; i++)
        rc = emit(b, &b->window[i].part, err);
    return rc;
}

static bool is_replaced(const struct cold_build *b, const struct cold_pack *p)
{
    for (size_t i = 0; i < b->nreplaced; i++)
        if (b->replaced[i] == p)
            return true;
    return false;
}

/* Whether no other pack may hold a part of this window. Only then may its parts become one: of P1, Q, P2 by
 * ascending hi, with Q elsewhere, the sum of P1 and P2 would hide what Q has written over P1. */
static bool is_whole(const struct cold_build *b, const struct part_key *k)
{
    const struct cold_snapshot *s = b->others;
    for (size_t i = cold_snapshot_step(s, b->step_ms); i < s->n; i++) {
        const struct pack_info *p = &s->packs[i]->info;
        if (p->step_ms != b->step_ms || p->from_ms > k->window_ms)
            break;
        if (p->until_ms > k->window_ms && p->min_series <= k->series && p->max_series >= k->series &&
            !is_replaced(b, s->packs[i]))
            return false;
    }
    return true;
}

static bool sum_up(struct cold_build *b, struct part *out)
{
    struct part_sum sum;
    struct err ignored;
    part_sum_init(&sum, &b->window[0].part.key);
    for (size_t i = 0; i < b->nwindow; i++)
        if (!block_is_codecs(&b->window[i].part) || part_sum_add(&sum, &b->window[i].part, &ignored) < 0)
            return false;
    buf_clear(&b->sum);
    part_sum_encode(&sum, &b->sum);
    *out = (struct part){sum.key, sum.lo, b->sum.data, b->sum.len};
    return true;
}

/* Deleted points must not get under a larger hi, where no tombstone reaches them. Not before all parts of the
 * window were seen: a tombstone is there before the first part beyond its position. */
static void mask_window(struct cold_build *b)
{
    struct tombstones *t = b->c->o.tombstones;
    struct buf block = BUF_INIT;
    size_t n = 0;
    for (size_t i = 0; t && i < b->nwindow; i++) {
        struct part lives;
        enum part_mask what = part_mask(t, &b->window[i].part, &block, &lives);
        if (what == PART_DEAD)
            continue;
        b->window[n] = b->window[i];
        if (what == PART_CUT) {
            b->window[n].part.size = lives.size;
            b->window[n].part.data = NULL; /* in `cut` once that does not move any more */
            b->window[n].at = b->cut.len;
            buf_append(&b->cut, lives.data, lives.size);
        }
        n++;
    }
    b->nwindow = t ? n : b->nwindow;
    for (size_t i = 0; t && i < n; i++)
        if (!b->window[i].part.data)
            b->window[i].part.data = b->cut.data + b->window[i].at;
    buf_release(&block);
}

static int close_window(struct cold_build *b, struct err *err)
{
    for (size_t i = 0; i < b->nwindow; i++)
        b->window[i].part.data = b->blocks.data + b->window[i].at;
    mask_window(b);
    if (!b->nwindow)
        return OK;
    struct part sum;
    bool summed = b->nwindow > 1 && is_whole(b, &b->window[0].part.key) && sum_up(b, &sum);
    int rc = summed ? emit(b, &sum, err) : emit_each(b, err);
    b->nwindow = 0;
    buf_clear(&b->blocks);
    buf_clear(&b->cut);
    return rc;
}

static int key_order(const struct part_key *a, const struct part_key *b)
{
    if (a->series != b->series)
        return a->series < b->series ? -1 : 1;
    if (a->window_ms != b->window_ms)
        return a->window_ms < b->window_ms ? -2 : 2;
    return a->hi < b->hi ? -3 : a->hi > b->hi ? 3 : 0;
}

static int take(struct cold_build *b, const struct part *p, struct err *err)
{
    int64_t span = window_span_ms(b->step_ms);
    if (p->key.step_ms != b->step_ms || p->key.window_ms < 0 || p->key.window_ms % span ||
        p->size > PACK_BLOCK_MAX || p->lo > p->key.hi)
        return err_set(err, ERR_INVALID, "cold tier: a part that fits no pack of step %u ms", b->step_ms);
    if (b->nwindow) {
        int order = key_order(&b->window[b->nwindow - 1].part.key, &p->key);
        if (order > 0)
            return err_set(err, ERR_INVALID, "cold tier: series %u out of order", p->key.series);
        int rc = order == -1 || order == -2 ? close_window(b, err) : OK;
        if (rc < 0)
            return rc;
    }
    if (b->nwindow == b->cap_window) {
        b->cap_window = b->cap_window ? 2 * b->cap_window : 8;
        b->window = xrealloc(b->window, b->cap_window * sizeof *b->window);
    }
    b->window[b->nwindow++] = (struct waiting){*p, b->blocks.len};
    buf_append(&b->blocks, p->data, p->size);
    return OK;
}

int cold_build_part(struct cold_build *b, const struct part *p, struct err *err)
{
    assert(!b->broken);
    int rc = take(b, p, err);
    b->broken |= rc < 0;
    return rc;
}

/* --- reading back --- */

static void note_damage(void *ctx, const struct pack_damage *d, const struct err *why)
{
    struct err *first = ctx;
    if (first->code == OK)
        err_set(first, why->code, "series %u, window %lld: %s", d->series, (long long)d->window_ms,
                why->text);
}

static int source_read(void *ctx, void *p, size_t n, uint64_t off, struct err *err)
{
    struct cold_object *o = ctx;
    return o->store->ops->read(o, p, n, off, err);
}

static int read_back(const struct pack *pack, const struct pack_info *info, uint32_t want, struct err *err)
{
    struct pack_range all = {0, UINT32_MAX, 0, INT64_MAX};
    struct pack_cursor cursor;
    struct err damage = ERR_INIT;
    struct part p;
    uint32_t check = 0;
    uint64_t parts = 0;
    pack_cursor_init(&cursor, pack, &all, note_damage, &damage);
    for (; pack_cursor_next(&cursor, &p); parts++)
        check = check_part(check, &p);
    pack_cursor_release(&cursor);
    if (damage.code)
        return err_set(err, damage.code, "%s", damage.text);
    return check == want && parts == info->parts
               ? OK
               : err_set(err, ERR_CORRUPT, "its parts are not those written");
}

static int verify(struct cold_build *b, size_t i, struct err *err)
{
    const struct cold_store_ops *ops = b->c->store->ops;
    struct cold_object *o;
    struct pack pack;
    struct pack_source source = {NULL, source_read, 0, 0};
    int rc = ops->open(b->c->store, b->packs[i].id, &o, &source.size, err);
    if (rc < 0)
        return rc;
    source.ctx = o;
    source.suffix = o->suffix;
    rc = pack_open(&source, &pack, err);
    if (rc == OK) {
        rc = pack_check_header(&pack, err);
        if (rc == OK)
            rc = read_back(&pack, &b->packs[i], b->checks[i], err);
        pack_release(&pack);
    }
    ops->close(o);
    if (rc < 0 && err)
        err_prefix(err, "new pack %016" PRIx64 " read back", b->packs[i].id);
    return rc;
}

int cold_build_finish(struct cold_build *b, uint64_t order, const struct pack_info **packs, size_t *n,
                      struct err *err)
{
    assert(!b->broken);
    int rc = close_window(b, err);
    if (rc == OK && b->object)
        rc = close_pack(b, err);
    for (size_t i = 0; i < b->n && rc == OK; i++) {
        b->packs[i].order = order;
        rc = verify(b, i, err);
    }
    KILL_POINT("cold.read_back");
    b->broken |= rc < 0;
    *packs = b->packs;
    *n = b->n;
    return rc;
}

void cold_build_free(struct cold_build *b, bool keep)
{
    struct err ignored;
    bool open = b->object != NULL;
    if (open)
        close_object(b);
    for (size_t i = 0; i < b->n && !keep; i++)
        (void)!b->c->store->ops->remove(b->c->store, b->packs[i].id, &ignored);
    if (open)
        (void)!b->c->store->ops->remove(b->c->store, b->id, &ignored);
    cold_snapshot_put(b->c, b->others);
    free(b->window);
    free(b->packs);
    free(b->checks);
    buf_release(&b->blocks);
    buf_release(&b->cut);
    buf_release(&b->sum);
    free(b);
}

/* --- cold.h --- */

struct cold_add {
    struct cold *c;
    struct cold_build *build;
};

int cold_add_begin(struct cold *c, uint32_t step_ms, struct cold_add **out, struct err *err)
{
    if (step_ms < STEP_MIN_MS || step_ms > STEP_MAX_MS)
        return err_set(err, ERR_INVALID, "cold tier: a step of %u ms is not between %d and %d", step_ms,
                       STEP_MIN_MS, STEP_MAX_MS);
    struct cold_add *a = xcalloc(1, sizeof *a);
    a->c = c;
    a->build = cold_build_new(c, step_ms, NULL, 0, NULL, NULL);
    *out = a;
    return OK;
}

int cold_add_part(struct cold_add *a, const struct part *p, struct err *err)
{
    return cold_build_part(a->build, p, err);
}

static void count_added(struct cold *c, const struct pack_info *packs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cold_count(&c->added_parts, c->metrics.added_parts, packs[i].parts);
        cold_count(&c->added_bytes, c->metrics.added_bytes, packs[i].bytes);
    }
}

int cold_add_commit(struct cold_add *a, struct err *err)
{
    struct cold *c = a->c;
    const struct pack_info *packs;
    size_t n;
    int64_t begin = clock_mono_us(clock_system());
    int rc = cold_build_finish(a->build, cold_next_order(c), &packs, &n, err);
    if (rc == OK && n)
        rc = cold_switch(c, NULL, 0, packs, n, err);
    if (rc == OK)
        count_added(c, packs, n);
    if (c->metrics.add_seconds)
        histogram_observe_us(c->metrics.add_seconds, (uint64_t)(clock_mono_us(clock_system()) - begin));
    /* After a switch that ended half way the packs may be named by the manifest on disk. */
    cold_build_free(a->build, rc == OK || rc == ERR_FAILED);
    free(a);
    return rc;
}

void cold_add_abort(struct cold_add *a)
{
    cold_build_free(a->build, false);
    free(a);
}
