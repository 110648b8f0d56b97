/* The retention rules of a run, and what they promise. */
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/sim.h"

/* Coarser archives are each kept at least twice as long as the finer one. */
static void write_section(struct sim *s, FILE *f, const char *name, const char *pattern)
{
    static const char *const fine[] = {"", "5m", "10m"}, *const coarse[] = {"", "30m", "1h"};
    uint32_t parts[] = {16, 8, 4, 2, 1};
    uint32_t days = s->o.days / parts[sim_below(s, ARRAY_LEN(parts))];
    days = days < 2 ? 2 : days;
    const char *a = fine[sim_below(s, ARRAY_LEN(fine))], *b = coarse[sim_below(s, ARRAY_LEN(coarse))];
    fprintf(f, "[%s]\npattern = %s\nretentions = 60s:%ud", name, pattern, days);
    if (*a)
        fprintf(f, ", %s:%ud", a, days *= 2);
    if (*b)
        fprintf(f, ", %s:%ud", b, days *= 2);
    if (sim_below(s, 3))
        fprintf(f, ", 1d:%ud", days * 2);
    fprintf(f, "\n\n");
}

static void schemas_path(const struct sim *s, char path[128])
{
    snprintf(path, 128, "%s/storage-schemas.conf", s->dir);
}

static void write_file(struct sim *s)
{
    char path[128];
    schemas_path(s, path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    write_section(s, f, "even", "^sim\\.host[0-9]*[02468]\\.");
    write_section(s, f, "rest", ".*");
    assert_int_equal(fclose(f), 0);
}

void sim_rules_init(struct sim *s)
{
    snprintf(s->dir, sizeof s->dir, "/tmp/carat-sim-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    write_file(s);
}

void sim_rules_release(struct sim *s)
{
    char path[128];
    schemas_path(s, path);
    unlink(path);
    rmdir(s->dir);
}

/* --- callbacks, as the server has them --- */

static const struct retention *archives(void *ctx, uint32_t series)
{
    return plain_rules_retention(((struct sim *)ctx)->rules, series);
}

static const struct aggregation_rule *aggregation(void *ctx, uint32_t series)
{
    return plain_rules_aggregation(((struct sim *)ctx)->rules, series);
}

static uint32_t step(void *ctx, const char *name, size_t len)
{
    return plain_rules_step_ms(((struct sim *)ctx)->rules, name, len);
}

static int64_t oldest_ms(void *ctx, const char *name, size_t len, int64_t now_ms)
{
    return now_ms - plain_rules_keep_ms(((struct sim *)ctx)->rules, name, len);
}

static size_t steps(void *ctx, uint32_t *steps_ms, size_t cap)
{
    return plain_rules_steps(((struct sim *)ctx)->rules, steps_ms, cap);
}

/* The longest that a series with such an archive keeps it. The rules' own answer counts the rule for what no
 * other matches, too, and with that nothing would expire within a year. */
static int64_t longest_keep_ms(struct sim *s, uint32_t step_ms)
{
    int64_t longest = 0;
    for (unsigned i = 0; i < s->m->nseries; i++) {
        const struct retention *r = sim_retention(s, i);
        for (size_t k = 0; r && k < r->narchives; k++)
            if (r->archives[k].step_ms == step_ms && retention_warm_keep_ms(r, k) > longest)
                longest = retention_warm_keep_ms(r, k);
    }
    return longest;
}

static int64_t keep_ms(void *ctx, uint32_t step_ms)
{
    struct sim *s = ctx;
    int64_t keep = flush_gate_is_open(&s->gate) ? longest_keep_ms(s, step_ms) : 0;
    if (keep > 0 && step_ms == MODEL_STEP_MS && sim_now_ms(s) - keep > s->m->expired_ms)
        s->m->expired_ms = sim_now_ms(s) - keep;
    return keep;
}

struct world_options sim_rules_options(struct sim *s)
{
    return (struct world_options){
        .rules_ctx = s,
        .archives = archives,
        .aggregation = aggregation,
        .step = step,
        .oldest_ms = oldest_ms,
        .mover = {.steps = steps, .keep_ms = keep_ms, .ctx = s},
    };
}

/* --- a process --- */

void sim_rules_begin(struct sim *s)
{
    char path[128];
    struct err err = ERR_INIT;
    schemas_path(s, path);
    if (plain_rules_new(path, "", &s->rules, &err) != OK)
        sim_fail(s, "rules: %s", err.text);
}

void sim_rules_started(struct sim *s)
{
    plain_rules_set_catalog(s->rules, s->w->catalog);
    flush_gate_init(&s->gate, s->w->stream, s->w->writer, s->w->lanes, &s->w->clock.base);
}

void sim_rules_end(struct sim *s)
{
    flush_gate_release(&s->gate);
    plain_rules_free(s->rules);
}

/* --- promises --- */

const struct retention *sim_retention(struct sim *s, unsigned series)
{
    uint32_t id = sim_id(s, series);
    return id ? plain_rules_retention(s->rules, id) : NULL;
}

void sim_rules_note(struct sim *s)
{
    for (unsigned i = 0; i < s->m->nseries; i++) {
        const struct retention *r = sim_retention(s, i);
        if (r)
            model_rules(s->m, i, r, sim_now_ms(s));
    }
}

void sim_rules_change(struct sim *s)
{
    struct err err = ERR_INIT;
    sim_rules_note(s);
    write_file(s);
    flush_gate_close(&s->gate);
    int rc = plain_rules_reload(s->rules, &err);
    flush_gate_close(&s->gate);
    if (rc != OK)
        sim_fail(s, "reload: %s", err.text);
    sim_rules_note(s);
    s->unbuilt = true;
    s->did.reloads++;
    sim_log(s, "other rules");
}

/* From where the base is whole on: rules that keep less may have let go of it, and those that came after do
 * not know. */
static int rebuild_one(struct sim *s, unsigned series, struct err *err)
{
    int64_t from_ms = ceil_to(model_ms(s->m->series[series].lost), MODEL_DAY_MS);
    return writer_rebuild(s->w->writer, sim_id(s, series), from_ms, INT64_MAX, NULL, NULL, err);
}

void sim_rebuild(struct sim *s)
{
    struct err err = ERR_INIT;
    int rc = OK;
    sim_rules_note(s);
    for (unsigned i = 0; i < s->m->nseries && rc == OK; i++)
        rc = sim_id(s, i) ? rebuild_one(s, i, &err) : OK;
    if (rc == OK)
        rc = warm_sync(s->w->warm, &err);
    if (!sim_went_well(s, rc, &err, "rebuild"))
        return;
    for (unsigned i = 0; i < s->m->nseries; i++)
        if (sim_id(s, i))
            model_rebuilt(s->m, i);
    s->unbuilt = false;
    s->did.rebuilds++;
    sim_log(s, "rebuilt");
}
