/* Reading everything there is. */
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/part_sum.h"
#include "cold/cold_impl.h"

struct verifying {
    const struct cold_verify_ctx *v;
    struct cold_damage damage; /* the pack is filled in */
    uint64_t found;
};

static void tell(struct verifying *w, const struct err *why)
{
    w->damage.why = *why;
    w->found++;
    if (w->v->damage)
        w->v->damage(w->v->ctx, &w->damage);
}

static void tell_page(void *ctx, uint32_t series, int64_t window_ms, const struct err *why)
{
    struct verifying *w = ctx;
    w->damage.in_page = true;
    w->damage.series = series;
    w->damage.window_ms = window_ms;
    tell(w, why);
}

static void check_block(struct verifying *w, const struct part *p)
{
    struct slots s;
    struct err why = ERR_INIT;
    if (block_is_codecs(p) &&
        codec_decode(p->data, p->size, window_slots(p->key.step_ms), s.present, s.value, &why) < 0)
        tell_page(w, p->key.series, p->key.window_ms, &why);
}

static void check_pack(struct verifying *w, const struct pack *pack)
{
    struct pack_range all = {0, UINT32_MAX, 0, INT64_MAX};
    struct pack_cursor cursor;
    struct err why = ERR_INIT;
    struct part p;
    uint64_t parts = 0, before = w->found;
    if (pack_check_header(pack, &why) < 0)
        tell(w, &why);
    pack_cursor_init(&cursor, pack, &all, tell_page, w);
    for (; pack_cursor_next(&cursor, &p); parts++)
        check_block(w, &p);
    pack_cursor_release(&cursor);
    if (parts != pack->footer.parts && w->found == before) {
        err_set(&why, ERR_CORRUPT, "%llu parts where the footer says %llu", (unsigned long long)parts,
                (unsigned long long)pack->footer.parts);
        w->damage.in_page = false;
        tell(w, &why);
    }
}

static void verify_pack(struct cold *c, struct verifying *w, struct cold_pack *p)
{
    struct pack *pack;
    struct err why = ERR_INIT;
    w->damage = (struct cold_damage){.pack = p->info.id};
    if (w->v->pack)
        w->v->pack(w->v->ctx, &p->info);
    if (cold_pack_acquire(c, p, &pack, &why) < 0) {
        /* Beside a running server a pack may be replaced at any time. */
        if (why.code != ERR_NOT_FOUND || !c->o.read_only || cold_still_named(c, p->info.id))
            tell(w, &why);
        return;
    }
    check_pack(w, pack);
    cold_pack_release(c, p);
}

int cold_verify(struct cold *c, const struct cold_verify_ctx *v, struct err *err)
{
    struct verifying w = {.v = v};
    struct cold_snapshot *s = cold_snapshot_get(c);
    for (size_t i = 0; i < s->n; i++)
        verify_pack(c, &w, s->packs[i]);
    cold_snapshot_put(c, s);
    return w.found ? err_set(err, ERR_CORRUPT, "cold tier: %llu damaged places", (unsigned long long)w.found)
                   : OK;
}
