#include "server/retention_check.h"

#include "base/mem.h"
#include "model/layout_diff.h"
#include "model/window.h"

#include <stdlib.h>
#include <string.h>

#define GROUPS_MAX   1000 /* told one by one; more are only counted */
#define EXAMPLES_MAX 3
#define STEPS_MAX    32
#define LOOK_EVERY   256

/* Windows of one step that would go. */
struct going {
    uint32_t step_ms;
    uint64_t windows, bytes;
    int64_t from_ms, until_ms;
};

/* Series with the same change. */
struct group {
    struct rules_outlook look; /* of the first */
    uint64_t series;
    uint32_t example[EXAMPLES_MAX];
    struct going going[STEPS_MAX];
    size_t ngoing;
};

struct checking {
    const struct retention_check *c;
    struct rules_candidate files;
    struct retention_checked *out;
    struct group *groups;
    size_t n, cap;
    uint64_t more; /* series beyond GROUPS_MAX */
    uint32_t last;
    int64_t now_ms;
    /* the windows being counted */
    const struct layout *then;
    struct going *going;
    int64_t last_window_ms;
    struct err *err;
};

static bool changes(const struct rules_outlook *l)
{
    return !layout_same(&l->now, &l->then) || l->aggregation->method != l->new_aggregation->method ||
           l->aggregation->x_files_factor != l->new_aggregation->x_files_factor;
}

static bool alike(const struct rules_outlook *a, const struct rules_outlook *b)
{
    return a->wanted == b->wanted && a->aggregation == b->aggregation &&
           a->new_aggregation == b->new_aggregation && a->step_stays == b->step_stays &&
           layout_same(&a->now, &b->now) && layout_same(&a->then, &b->then);
}

/* NULL: there are too many. */
static struct group *group_of(struct checking *x, const struct rules_outlook *look)
{
    for (size_t i = 0; i < x->n; i++)
        if (alike(&x->groups[i].look, look))
            return &x->groups[i];
    if (x->n == GROUPS_MAX)
        return NULL;
    if (x->n == x->cap) {
        x->cap = x->cap ? 2 * x->cap : 16;
        x->groups = xrealloc(x->groups, x->cap * sizeof *x->groups);
    }
    struct group *g = &x->groups[x->n++];
    memset(g, 0, sizeof *g);
    g->look = *look;
    return g;
}

/* --- what would go --- */

static int count_part(void *ctx, const struct part *p)
{
    struct checking *x = ctx;
    int64_t end = p->key.window_ms + window_span_ms(p->key.step_ms);
    if (!layout_drops(x->then, p->key.step_ms, p->key.window_ms, x->now_ms))
        return 0;
    if (p->key.window_ms != x->last_window_ms) {
        x->going->windows++;
        x->out->windows++;
    }
    x->last_window_ms = p->key.window_ms;
    x->going->bytes += p->size;
    x->out->bytes += p->size;
    if (!x->going->until_ms || p->key.window_ms < x->going->from_ms)
        x->going->from_ms = p->key.window_ms;
    x->going->until_ms = end > x->going->until_ms ? end : x->going->until_ms;
    return 0;
}

static struct going *going_of(struct group *g, uint32_t step_ms)
{
    for (size_t i = 0; i < g->ngoing; i++)
        if (g->going[i].step_ms == step_ms)
            return &g->going[i];
    g->going[g->ngoing] = (struct going){.step_ms = step_ms};
    return &g->going[g->ngoing++];
}

static int count_step(struct checking *x, struct group *g, uint32_t series, uint32_t step_ms, struct err *err)
{
    if (!x->c->warm)
        return OK;
    x->going = going_of(g, step_ms);
    x->last_window_ms = -1;
    int rc = warm_read(x->c->warm, series, step_ms, 0, LAYOUT_NEVER, count_part, x, err);
    return rc == ERR_CORRUPT ? OK : rc;
}

static int count_going(struct checking *x, struct group *g, uint32_t series, const struct rules_outlook *look,
                       struct err *err)
{
    struct layout_diff d[LAYOUT_DIFFS_MAX];
    size_t n = layout_diff(&look->now, &look->then, d);
    int rc = OK;
    x->then = &look->then;
    for (size_t i = 0; i < n && rc == OK; i++)
        if (d[i].kind == LAYOUT_DROPPED || d[i].kind == LAYOUT_SHORTER || d[i].kind == LAYOUT_ROLLED)
            rc = count_step(x, g, series, d[i].step_ms, err);
    return rc;
}

static int look_at(void *ctx, uint32_t id, uint32_t step_ms, const char *name, size_t len)
{
    struct checking *x = ctx;
    struct rules_outlook look;
    if (id % LOOK_EVERY == 0 && x->c->progress)
        x->c->progress(x->c->ctx, id, x->last);
    if (id % LOOK_EVERY == 0 && x->c->cancelled && x->c->cancelled(x->c->ctx))
        return err_set(x->err, ERR_CLOSED, "cancelled");
    if (!rules_outlook(x->c->rules, &x->files, id, x->now_ms, &look))
        return OK;
    x->out->series++;
    x->out->changing += changes(&look);
    if (!changes(&look) && !look.step_stays)
        return OK;
    struct group *g = group_of(x, &look);
    if (!g) {
        x->more++;
        return OK;
    }
    if (g->series < EXAMPLES_MAX)
        g->example[g->series] = id;
    g->series++;
    return count_going(x, g, id, &look, x->err);
}

/* --- as JSON; times in seconds --- */

static void put_archives(struct buf *b, const char *key, const struct layout *l)
{
    buf_printf(b, "\"%s\":[", key);
    for (size_t i = 0; i < l->neras; i++) {
        buf_printf(b, "%s{\"step\":%u,\"keep\":%lld,\"points\":true", i ? "," : "", l->era[i].step_ms / 1000,
                   (long long)l->era[i].keep_ms / 1000);
        if (i)
            buf_printf(b, ",\"from\":%lld", (long long)l->era[i].from_ms / 1000);
        buf_putc(b, '}');
    }
    for (size_t i = 0; i < l->narchives; i++)
        buf_printf(b, ",{\"step\":%u,\"keep\":%lld}", l->archive[i].step_ms / 1000,
                   (long long)l->archive[i].keep_ms / 1000);
    buf_putc(b, ']');
}

static void put_change(struct buf *b, const struct group *g, const struct layout_diff *d)
{
    buf_printf(b, "{\"what\":\"%s\",\"step\":%u", layout_diff_name(d->kind), d->step_ms / 1000);
    if (d->keep_ms)
        buf_printf(b, ",\"keep\":%lld", (long long)d->keep_ms / 1000);
    if (d->was_ms)
        buf_printf(b, ",\"%s\":%lld", d->kind == LAYOUT_STEP ? "wasStep" : "wasKeep",
                   (long long)d->was_ms / 1000);
    if ((d->kind == LAYOUT_ADDED || d->kind == LAYOUT_STEP) && d->since_ms > 0)
        buf_printf(b, ",\"since\":%lld", (long long)d->since_ms / 1000);
    bool goes = d->kind == LAYOUT_DROPPED || d->kind == LAYOUT_SHORTER || d->kind == LAYOUT_ROLLED;
    for (size_t i = 0; i < g->ngoing && goes; i++) {
        const struct going *w = &g->going[i];
        if (w->step_ms != d->step_ms)
            continue;
        buf_printf(b, ",\"windows\":%llu,\"bytes\":%llu", (unsigned long long)w->windows,
                   (unsigned long long)w->bytes);
        if (w->windows)
            buf_printf(b, ",\"from\":%lld,\"until\":%lld", (long long)w->from_ms / 1000,
                       (long long)w->until_ms / 1000);
    }
    buf_putc(b, '}');
}

static void put_aggregation(struct buf *b, const char *key, const struct aggregation_rule *r)
{
    buf_printf(b, ",\"%s\":{\"method\":\"%s\",\"xFilesFactor\":%g}", key, aggregation_name(r->method),
               r->x_files_factor);
}

static void put_examples(const struct checking *x, const struct group *g, struct buf *b)
{
    buf_puts(b, ",\"examples\":[");
    for (size_t i = 0; i < EXAMPLES_MAX && i < g->series; i++) {
        size_t len;
        const char *name = catalog_name(x->c->catalog, g->example[i], &len);
        if (i)
            buf_putc(b, ',');
        buf_json_string(b, name ? name : "", name ? len : 0);
    }
    buf_putc(b, ']');
}

static void put_group(const struct checking *x, const struct group *g, struct buf *b)
{
    struct layout_diff d[LAYOUT_DIFFS_MAX];
    size_t n = layout_diff(&g->look.now, &g->look.then, d);
    buf_puts(b, "{\"rule\":");
    buf_json_string(b, g->look.wanted->rule, strlen(g->look.wanted->rule));
    buf_printf(b, ",\"series\":%llu", (unsigned long long)g->series);
    put_examples(x, g, b);
    buf_putc(b, ',');
    put_archives(b, "now", &g->look.now);
    buf_putc(b, ',');
    put_archives(b, "then", &g->look.then);
    buf_puts(b, ",\"changes\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(b, ',');
        put_change(b, g, &d[i]);
    }
    buf_putc(b, ']');
    if (g->look.step_stays) {
        buf_printf(b,
                   ",\"stepStays\":{\"step\":%u,\"wanted\":%u,\"why\":", layout_step_ms(&g->look.now) / 1000,
                   g->look.wanted->archives[0].step_ms / 1000);
        buf_json_string(b, g->look.step_stays, strlen(g->look.step_stays));
        buf_putc(b, '}');
    }
    if (g->look.aggregation->method != g->look.new_aggregation->method ||
        g->look.aggregation->x_files_factor != g->look.new_aggregation->x_files_factor) {
        put_aggregation(b, "aggregation", g->look.aggregation);
        put_aggregation(b, "newAggregation", g->look.new_aggregation);
    }
    buf_putc(b, '}');
}

static void put_all(const struct checking *x, struct buf *b)
{
    struct rules_status s;
    rules_get_status(x->c->rules, &s);
    buf_printf(b,
               "{\"state\":\"%s\",\"unfinished\":%s,\"series\":%llu,\"changing\":%llu,\"windows\":%llu,"
               "\"bytes\":%llu",
               rules_state_name(s.state),
               s.state == RULES_BUILDING || s.state == RULES_DROPPING || s.leftovers ? "true" : "false",
               (unsigned long long)x->out->series, (unsigned long long)x->out->changing,
               (unsigned long long)x->out->windows, (unsigned long long)x->out->bytes);
    buf_printf(b, ",\"notShown\":%llu,\"groups\":[", (unsigned long long)x->more);
    for (size_t i = 0; i < x->n; i++) {
        if (i)
            buf_putc(b, ',');
        put_group(x, &x->groups[i], b);
    }
    buf_puts(b, "]}");
}

int retention_check_run(const struct retention_check *c, struct buf *json, struct retention_checked *out,
                        struct err *err)
{
    struct checking x = {.c = c,
                         .out = out,
                         .last = catalog_max_id(c->catalog),
                         .now_ms = clock_wall_ms(c->clock),
                         .err = err};
    *out = (struct retention_checked){0};
    int rc = rules_read_files(c->rules, &x.files, err);
    if (rc != OK)
        return rc;
    rc = catalog_each(c->catalog, look_at, &x);
    if (rc == OK)
        put_all(&x, json);
    rules_candidate_release(&x.files);
    free(x.groups);
    return rc;
}
