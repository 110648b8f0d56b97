/* What is read, compared with the model. */
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim/sim.h"

static const enum aggregation fields[ROLLUP_FIELDS] = {
    [ROLLUP_COUNT] = AGGREGATION_COUNT, [ROLLUP_SUM] = AGGREGATION_SUM,   [ROLLUP_MIN] = AGGREGATION_MIN,
    [ROLLUP_MAX] = AGGREGATION_MAX,     [ROLLUP_LAST] = AGGREGATION_LAST,
};

/* The slots [from, until) of a series. */
struct range {
    unsigned series;
    uint32_t id;
    size_t from, until;
};

static void done(struct sim *s, struct column *c, const struct read_report *report, const char *what)
{
    if (report->incomplete)
        sim_fail(s, "%s: the answer is incomplete: %s", what, report->why.text);
    s->did.read += c->n;
    free(c->values);
}

static void check_base(struct sim *s, const struct range *r)
{
    struct column c;
    struct read_report report = {0};
    struct err err = ERR_INIT;
    int rc =
        reader_fetch(s->w->reader, r->id, model_ms(r->from), model_ms(r->until), SIZE_MAX, &c, &report, &err);
    if (rc != OK || c.n != r->until - r->from || c.start_ms != model_ms(r->from))
        sim_fail(s, "series %u: %s", r->series, err.text);
    for (size_t i = 0; i < c.n; i++)
        if (!model_base_is(s->m, r->series, r->from + i, c.values[i])) {
            uint8_t state = s->m->series[r->series].slot[r->from + i];
            sim_fail(s, "series %u (id %u) slot %zu (day %.2f): read %.17g, version %u%s is %.17g", r->series,
                     r->id, r->from + i, (double)(r->from + i) / MODEL_DAY, c.values[i], state & ~MODEL_GONE,
                     state & MODEL_GONE ? " (old)" : "",
                     model_value(r->series, r->from + i, state & ~MODEL_GONE));
        }
    done(s, &c, &report, "base");
}

static bool is_right(const struct model_coarse *want, enum rollup_field f, double got)
{
    if (!want->slot.field[ROLLUP_COUNT])
        return column_is_missing(got);
    if (column_is_missing(got))
        return false;
    return fabs(got - want->slot.field[f]) <= (f == ROLLUP_SUM ? 1e-15 * want->sum_abs : 0);
}

static void check_field(struct sim *s, const struct range *r, uint32_t step_ms, enum rollup_field f,
                        const struct model_coarse *want, size_t n)
{
    struct column c;
    struct read_report report = {0};
    struct err err = ERR_INIT;
    int64_t from_ms = floor_to(model_ms(r->from), step_ms);
    int rc = reader_fetch_archive(s->w->reader, r->id, step_ms, fields[f], from_ms, model_ms(r->until),
                                  SIZE_MAX, &c, &report, &err);
    if (rc != OK || c.n != n || c.start_ms != from_ms)
        sim_fail(s, "series %u step %u: %s", r->series, step_ms, err.text);
    for (size_t i = 0; i < n; i++)
        if (want[i].promised && !is_right(&want[i], f, c.values[i]))
            sim_fail(s, "series %u (id %u) step %u s, day %.3f, %s: read %.17g, is %.17g of %g points",
                     r->series, r->id, step_ms / 1000,
                     (double)(from_ms - MODEL_T0 + (int64_t)i * step_ms) / MODEL_DAY_MS,
                     aggregation_name(fields[f]), c.values[i], want[i].slot.field[f],
                     want[i].slot.field[ROLLUP_COUNT]);
    done(s, &c, &report, "archive");
}

static void check_archive(struct sim *s, const struct range *r, uint32_t step_ms)
{
    int64_t from_ms = floor_to(model_ms(r->from), step_ms), until_ms = ceil_to(model_ms(r->until), step_ms);
    size_t n = (size_t)((until_ms - from_ms) / step_ms);
    struct model_coarse *want = xmalloc(n * sizeof *want);
    model_coarse(s->m, r->series, step_ms, from_ms, n, want);
    for (int f = 0; f < ROLLUP_FIELDS; f++)
        check_field(s, r, step_ms, (enum rollup_field)f, want, n);
    free(want);
}

static void check_range(struct sim *s, unsigned series, size_t from, size_t until)
{
    struct range r = {series, sim_id(s, series), from, until};
    const struct retention *kept = sim_retention(s, series);
    if (!kept || from >= until)
        return;
    check_base(s, &r);
    for (size_t k = 1; k < kept->narchives; k++)
        check_archive(s, &r, kept->archives[k].step_ms);
}

static void begin(struct sim *s, int64_t *begun_us)
{
    *begun_us = clock_mono_us(clock_system());
    sim_rules_note(s);
    s->did.checks++;
}

void sim_check_all(struct sim *s)
{
    int64_t begun_us;
    begin(s, &begun_us);
    for (unsigned i = 0; i < s->m->nseries; i++)
        check_range(s, i, 0, s->slot);
    s->did.check_s += (double)(clock_mono_us(clock_system()) - begun_us) / 1e6;
}

void sim_check_some(struct sim *s)
{
    int64_t begun_us;
    begin(s, &begun_us);
    size_t from = s->slot > MODEL_DAY ? s->slot - MODEL_DAY : 0;
    for (unsigned i = 0; i < s->m->nseries; i++)
        check_range(s, i, from, s->slot);
    unsigned series = sim_below(s, s->m->nseries);
    from = sim_below(s, (uint32_t)s->slot);
    check_range(s, series, from, s->slot - from < 10 * MODEL_DAY ? s->slot : from + 10 * MODEL_DAY);
    s->did.check_s += (double)(clock_mono_us(clock_system()) - begun_us) / 1e6;
}
