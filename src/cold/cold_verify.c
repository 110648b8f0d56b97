/* Reading everything there is. */
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/part_sum.h"
#include "codec/rollup_block.h"
#include "cold/cold_impl.h"

#include <stdlib.h>

/* One pack. */
struct looking {
    const struct cold_look *look;
    struct cold_damage damage; /* the pack's own fields are filled in */
    uint64_t found;
    size_t page; /* up to this one it was told what was read */
    uint64_t parts, told;
};

static void tell(struct looking *w, const struct err *why)
{
    w->damage.why = *why;
    w->found++;
    w->look->damage(w->look->ctx, &w->damage);
}

static void tell_pack(struct looking *w, const struct pack_info *p, const struct err *why)
{
    w->damage = (struct cold_damage){.pack = p->id,
                                     .step_ms = p->step_ms,
                                     .series = p->min_series,
                                     .last_series = p->max_series,
                                     .window_ms = p->from_ms,
                                     .from_ms = p->from_ms,
                                     .until_ms = p->until_ms};
    tell(w, why);
}

static void tell_page(void *ctx, const struct pack_damage *d, const struct err *why)
{
    struct looking *w = ctx;
    w->damage.in_page = true;
    w->damage.one_run = !d->page;
    w->damage.series = d->series;
    w->damage.last_series = d->last_series;
    w->damage.window_ms = d->window_ms;
    w->damage.from_ms = d->from_ms;
    w->damage.until_ms = d->until_ms;
    tell(w, why);
}

/* The checksum held; does the block, too? Blocks that are neither kind are not ours to judge. */
static int check_block(const struct part *p, struct err *why)
{
    uint32_t n = window_slots(p->key.step_ms);
    union {
        struct slots slots;
        struct rollup rollup;
    } u;
    if (block_is_codecs(p))
        return codec_decode(p->data, p->size, n, u.slots.present, u.slots.value, why);
    return p->size && p->data[0] == ROLLUP_BLOCK_TAG
               ? rollup_block_decode(p->data, p->size, n, &u.rollup, why)
               : OK;
}

static int take_part(struct looking *w, const struct part *p, struct err *err)
{
    struct err why = ERR_INIT;
    if (check_block(p, &why) == OK)
        return w->look->good ? w->look->good(w->look->ctx, p, err) : OK;
    int64_t from = p->key.window_ms;
    tell_page(w,
              &(struct pack_damage){false, p->key.series, p->key.series, from, from,
                                    from + window_span_ms(p->key.step_ms)},
              &why);
    return OK;
}

/* Tells of the pages up to `page` and of the parts that came meanwhile. */
static int tell_read(struct looking *w, const struct pack *pack, size_t page, struct err *err)
{
    uint64_t bytes = 0;
    for (; w->page < page; w->page++)
        bytes += pack->footer.pages[w->page].length;
    int stop = w->look->read ? w->look->read(w->look->ctx, bytes, w->parts - w->told) : 0;
    w->told = w->parts;
    return stop ? err_set(err, ERR_CLOSED, "cold tier: stopped") : OK;
}

static int look_inside(struct looking *w, const struct pack *pack, const struct pack_info *info,
                       struct err *err)
{
    struct pack_range all = {0, UINT32_MAX, 0, INT64_MAX};
    struct pack_cursor cursor;
    struct err why = ERR_INIT;
    struct part p;
    int rc = OK;
    if (pack_check_header(pack, &why) < 0)
        tell_pack(w, info, &why);
    pack_cursor_init(&cursor, pack, &all, tell_page, w);
    while (rc == OK && pack_cursor_next(&cursor, &p)) {
        w->parts++;
        rc = take_part(w, &p, err);
        if (rc == OK && cursor.page > w->page + 1)
            rc = tell_read(w, pack, cursor.page - 1, err);
    }
    if (rc == OK)
        rc = tell_read(w, pack, cursor.page, err);
    pack_cursor_release(&cursor);
    if (rc == OK && w->parts != pack->footer.parts && !w->found) {
        err_set(&why, ERR_CORRUPT, "%llu parts where the footer says %llu", (unsigned long long)w->parts,
                (unsigned long long)pack->footer.parts);
        tell_pack(w, info, &why);
    }
    return rc;
}

int cold_look_at(struct cold *c, struct cold_pack *p, const struct cold_look *look, struct err *err)
{
    struct looking w = {.look = look, .damage = {.pack = p->info.id, .step_ms = p->info.step_ms}};
    struct pack *pack;
    struct err why = ERR_INIT;
    if (cold_pack_acquire(c, p, &pack, &why) < 0) {
        /* Beside a running server a pack may be replaced at any time. */
        if (why.code != ERR_NOT_FOUND || !c->o.read_only || cold_still_named(c, p->info.id))
            tell_pack(&w, &p->info, &why);
        return OK;
    }
    int rc = look_inside(&w, pack, &p->info, err);
    cold_pack_release(c, p);
    return rc;
}

/* --- all of them --- */

struct verifying {
    const struct cold_verify_ctx *v;
    uint64_t found;
};

static void count_damage(void *ctx, const struct cold_damage *d)
{
    struct verifying *w = ctx;
    w->found++;
    if (w->v->damage)
        w->v->damage(w->v->ctx, d);
}

static int count_read(void *ctx, uint64_t bytes, uint64_t parts)
{
    struct verifying *w = ctx;
    return w->v->read ? w->v->read(w->v->ctx, bytes, parts) : 0;
}

/* A pack is held while it is looked at and no longer: a slow scrub takes days, and what is replaced meanwhile
 * should go. Packs that come meanwhile were read back when they were written. */
static int verify_pack(struct cold *c, struct verifying *w, uint64_t id, struct err *err)
{
    const struct cold_look look = {.ctx = w, .damage = count_damage, .read = count_read};
    struct cold_snapshot *s = cold_snapshot_get(c);
    int rc = OK;
    for (size_t i = 0; i < s->n && rc == OK; i++) {
        if (s->packs[i]->info.id != id)
            continue;
        if (w->v->pack)
            w->v->pack(w->v->ctx, &s->packs[i]->info);
        rc = cold_look_at(c, s->packs[i], &look, err);
    }
    cold_snapshot_put(c, s);
    return rc;
}

int cold_verify(struct cold *c, const struct cold_verify_ctx *v, struct err *err)
{
    struct verifying w = {.v = v};
    struct cold_snapshot *s = cold_snapshot_get(c);
    size_t n = s->n;
    uint64_t *ids = xcalloc(n ? n : 1, sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = s->packs[i]->info.id;
    cold_snapshot_put(c, s);
    int rc = OK;
    for (size_t i = 0; i < n && rc == OK; i++)
        rc = verify_pack(c, &w, ids[i], err);
    free(ids);
    if (rc == OK && w.found)
        rc = err_set(err, ERR_CORRUPT, "cold tier: %llu damaged places", (unsigned long long)w.found);
    return rc;
}
