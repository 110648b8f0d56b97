/* What agents send: mostly new points, and what goes wrong with them. */
#include "base/err.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim/sim.h"

#define BATCH_POINTS 20000

static struct sim_point *points_add(struct sim_points *p)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 1024;
        p->v = xrealloc(p->v, p->cap * sizeof *p->v);
    }
    return &p->v[p->n++];
}

/* --- sending --- */

/* One batch to the door. Points that were not acknowledged are sent again after the restart, as agents do. */
static bool try_send(struct sim *s, const struct sim_point *p, size_t n)
{
    char name[64];
    for (size_t i = 0; i < n; i++) {
        sim_name(p[i].series, name);
        world_add(s->w, name, model_ms(p[i].slot) + sim_below(s, MODEL_STEP_MS),
                  model_value(p[i].series, p[i].slot, p[i].version));
    }
    struct err none = ERR_INIT;
    return sim_went_well(s, world_try_submit(s->w), &none, "submit");
}

void sim_send(struct sim *s)
{
    for (size_t i = 0; i < s->batch.n; i += BATCH_POINTS) {
        size_t n = s->batch.n - i < BATCH_POINTS ? s->batch.n - i : BATCH_POINTS;
        while (!try_send(s, s->batch.v + i, n))
            s->did.resent += n;
    }
    s->did.points += s->batch.n;
    s->batch.n = 0;
}

static void put(struct sim *s, unsigned series, size_t slot, bool again)
{
    struct sim_point *p = points_add(&s->batch);
    *p = (struct sim_point){series, (uint32_t)slot, (uint8_t)model_write(s->m, series, slot, again)};
}

/* --- the usual --- */

static bool is_cut_off(const struct sim *s, unsigned series)
{
    return s->outage.on && series / SIM_HOST_SERIES == s->outage.host;
}

void sim_usual_points(struct sim *s, size_t slots)
{
    for (size_t slot = s->slot - slots; slot < s->slot; slot++)
        for (unsigned i = 0; i < s->m->nseries; i++) {
            if (!model_has(i, slot))
                continue;
            if (is_cut_off(s, i))
                *points_add(&s->queue) = (struct sim_point){i, (uint32_t)slot, 0};
            else
                put(s, i, slot, true);
        }
}

/* --- the odd --- */

/* A slot that may still be sent: minutes to months old. */
static bool pick_slot(struct sim *s, unsigned series, size_t *slot)
{
    static const uint32_t ages[] = {60, 360, 3 * MODEL_DAY, 21 * MODEL_DAY, 0};
    const struct retention *r = sim_retention(s, series);
    size_t oldest = 0, age = ages[sim_below(s, ARRAY_LEN(ages))];
    if (!r)
        return false;
    if (s->slot > (size_t)(r->archives[0].keep_ms / MODEL_STEP_MS))
        oldest = s->slot - (size_t)(r->archives[0].keep_ms / MODEL_STEP_MS) + 1;
    if (age && s->slot > age && s->slot - age > oldest)
        oldest = s->slot - age;
    *slot = oldest + sim_below(s, (uint32_t)(s->slot - oldest));
    return *slot < s->slot;
}

/* Half of what is late was never sent, the other half was: with another value, or the same. */
static void late_points(struct sim *s, uint32_t n)
{
    for (; n; n--) {
        unsigned series = sim_below(s, s->m->nseries);
        size_t slot;
        if (!pick_slot(s, series, &slot))
            continue;
        bool again = sim_once_in(s, 3);
        uint64_t *what = !(s->m->series[series].slot[slot] & ~MODEL_GONE) ? &s->did.late
                         : again                                          ? &s->did.again
                                                                          : &s->did.rewrites;
        ++*what;
        put(s, series, slot, again);
    }
}

/* One host sends hours of some day once more, changed or not. */
static void burst(struct sim *s)
{
    unsigned host = sim_below(s, (s->m->nseries + SIM_HOST_SERIES - 1) / SIM_HOST_SERIES);
    bool again = sim_once_in(s, 2);
    for (unsigned i = host * SIM_HOST_SERIES; i < s->m->nseries && i < (host + 1) * SIM_HOST_SERIES; i++) {
        size_t slot;
        if (!pick_slot(s, i, &slot))
            continue;
        for (size_t end = slot + 30 + sim_below(s, 330); slot < end && slot < s->slot; slot++)
            if (!sim_once_in(s, 10)) {
                put(s, i, slot, again);
                s->did.again += again;
                s->did.rewrites += !again;
            }
    }
}

static void outage_goes_on(struct sim *s)
{
    if (!s->outage.on && !s->queue.n && sim_once_in(s, 60))
        s->outage = (struct sim_outage){sim_below(s, (s->m->nseries + SIM_HOST_SERIES - 1) / SIM_HOST_SERIES),
                                        s->slot + 30 + sim_below(s, 330), true};
    else if (s->outage.on && s->slot >= s->outage.until)
        s->outage.on = false;
}

/* Half the usual load on top, in any order, some of it twice. */
static void catch_up(struct sim *s, size_t slots)
{
    for (size_t n = slots * SIM_HOST_SERIES / 2; n && s->queue.n; n--) {
        size_t at = sim_below(s, (uint32_t)s->queue.n);
        struct sim_point p = s->queue.v[at];
        if (!sim_once_in(s, 8))
            s->queue.v[at] = s->queue.v[--s->queue.n];
        s->did.late++;
        put(s, p.series, p.slot, true);
    }
}

void sim_odd_points(struct sim *s, size_t slots)
{
    outage_goes_on(s);
    if (!s->outage.on)
        catch_up(s, slots);
    if (sim_every_days(s, 0.5, slots))
        late_points(s, 1 + sim_below(s, s->m->nseries));
    if (sim_every_days(s, 2, slots))
        burst(s);
}
