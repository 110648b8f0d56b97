#include "server/cold_check.h"

#include "server/server_impl.h"

#include <stdio.h>

struct checking {
    const struct verify_cold *to;
};

static int on_read(void *ctx, uint64_t bytes, uint64_t parts)
{
    const struct checking *k = ctx;
    return k->to->read(k->to->ctx, bytes, parts);
}

static void on_damage(void *ctx, const struct cold_damage *d)
{
    const struct checking *k = ctx;
    struct verify_item item = {.tier = "cold",
                               .pack = d->pack,
                               .step_ms = d->step_ms,
                               .series = d->in_page ? d->series : 0,
                               .window_ms = d->window_ms,
                               .until_ms = d->one_run ? d->until_ms : 0};
    snprintf(item.why, sizeof item.why, "%.150s", d->why.text);
    k->to->damaged(k->to->ctx, &item);
}

int cold_check(struct server *s, const struct verify_cold *to, struct err *err)
{
    struct checking k = {to};
    const struct cold_verify_ctx v = {.ctx = &k, .damage = on_damage, .read = on_read};
    int rc = cold_verify(s->cold, &v, err);
    return rc == ERR_CORRUPT ? OK : rc;
}

uint64_t cold_check_bytes(struct server *s)
{
    struct cold_stats st;
    cold_get_stats(s->cold, &st);
    return st.bytes;
}

/* --- healing --- */

struct healing {
    struct server *s;
    bool (*cancelled)(void *ctx);
    void *ctx;
    struct err *err;
    int rc;
};

/* Whether the archive can be made again from a base that is there from that time on. */
static bool is_rollup_of(struct server *s, uint32_t id, uint32_t step_ms, int64_t from_ms)
{
    const struct layout *l;
    if (!rules_layouts(s->rules, id, &l, NULL) || layout_is_base(l, step_ms, from_ms))
        return false;
    int64_t coarsest = layout_coarsest_ms(l), whole = layout_base_whole_ms(l, clock_wall_ms(s->clock));
    return layout_find(l, step_ms) && from_ms >= ceil_to(whole < 0 ? 0 : whole, coarsest) + coarsest;
}

/* cold_covered_fn */
static bool make_again(void *ctx, const struct cold_damage *d)
{
    struct healing *h = ctx;
    for (uint32_t id = d->series; id <= d->last_series; id++) {
        if (!catalog_step_ms(h->s->catalog, id))
            continue; /* no such series */
        if (!is_rollup_of(h->s, id, d->step_ms, d->from_ms))
            return false;
    }
    for (uint32_t id = d->series; id <= d->last_series && h->rc == OK; id++) {
        if (h->cancelled(h->ctx))
            return false;
        if (catalog_step_ms(h->s->catalog, id))
            h->rc = writer_rebuild(h->s->writer, id, d->from_ms, d->until_ms, NULL, NULL, h->err);
    }
    return h->rc == OK; /* ERR_CORRUPT: of a damaged base */
}

int cold_check_heal(struct server *s, uint64_t pack, bool (*cancelled)(void *ctx), void *ctx, bool *healed,
                    struct err *err)
{
    struct healing h = {s, cancelled, ctx, err, OK};
    int rc = cold_heal(s->cold, pack, make_again, &h, healed, err);
    return h.rc < 0 && h.rc != ERR_CORRUPT ? h.rc : rc;
}
