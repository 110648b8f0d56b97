/* The find step: what the stream has against what a reader is given. */
#include "writer/replay_impl.h"

#include "base/log.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "model/batch.h"
#include "model/name.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY 64 /* records between two looks at the bounds */
#define TAKE       4096

struct finding {
    const struct replay_options *o;
    struct replay_result *result;
    struct hot *hot;
    struct hot_point *scratch;
    struct hot_taken taken;
    uint64_t *ids; /* a bit a series that is wanted; NULL: all */
    uint32_t nids;
    struct replay_window *wanting;
    size_t n, cap;
};

static bool wanted(void *ctx, uint32_t series, uint32_t step_ms, int64_t ts_ms)
{
    const struct finding *f = ctx;
    return !f->ids || (series < f->nids && slot_get(f->ids, series));
}

/* --- the series asked for --- */

static int mark_node(void *ctx, const struct catalog_node *node)
{
    struct finding *f = ctx;
    if (node->id && node->id < f->nids)
        slot_set(f->ids, node->id);
    return 0;
}

static int choose_series(struct finding *f, struct err *err)
{
    const char *name = f->o->series;
    if (!name)
        return OK;
    size_t len = strlen(name);
    f->nids = catalog_max_id(f->o->catalog) + 1;
    f->ids = xcalloc(SLOTS_WORDS(f->nids), sizeof *f->ids);
    int rc = OK;
    if (name_has_tags(name, len)) {
        struct catalog_node node = {.id = catalog_lookup(f->o->catalog, name, len).id};
        mark_node(f, &node);
    } else {
        rc = catalog_find(f->o->catalog, name, len, 0, mark_node, f, err);
    }
    if (rc == OK && slots_count(f->ids, f->nids) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "no series matches %.300s", name);
    return rc;
}

/* --- comparing --- */

static void add_wanting(struct finding *f, const struct part *p)
{
    f->result->wanting++;
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 256;
        f->wanting = xrealloc(f->wanting, f->cap * sizeof *f->wanting);
    }
    f->wanting[f->n++] = (struct replay_window){p->key.series, p->key.step_ms, p->key.window_ms};
}

static bool same(const struct slots *s, const struct column *c)
{
    if (c->n != s->n)
        return false;
    for (uint32_t i = 0; i < s->n; i++)
        if (slot_get(s->present, i) && f64_bits(s->value[i]) != f64_bits(c->values[i]))
            return false;
    return true;
}

/* Another value than the stream's is no proof: a later record may have it. But mending is right for any
 * window, so a false alarm only costs time. */
static int compare(struct finding *f, const struct part *p, struct err *err)
{
    struct slots s;
    struct column c = {0};
    slots_init(&s, window_slots(p->key.step_ms));
    int rc = codec_decode(p->data, p->size, s.n, s.present, s.value, err);
    if (rc != OK)
        return rc;
    f->result->compared++;
    int64_t until = p->key.window_ms + window_span_ms(p->key.step_ms);
    rc = f->o->read(f->o->ctx, p->key.series, p->key.window_ms, until, &c, err);
    if (rc == ERR_CORRUPT || (rc == OK && !same(&s, &c)))
        add_wanting(f, p);
    free(c.values);
    return rc == ERR_CORRUPT || rc == ERR_NOT_FOUND ? OK : rc;
}

static int mend_found(struct finding *f, struct err *err)
{
    int rc = f->n ? replay_mend(f->o, f->wanting, f->n, f->result, err) : OK;
    f->n = 0;
    return rc;
}

/* Compares and drops every window that was gathered. */
static int compare_all(struct finding *f, struct err *err)
{
    struct hot_due due = {.all = true};
    uint32_t cursor = 0;
    int rc = OK;
    do {
        rc = hot_take(f->hot, 0, &due, &cursor, TAKE, &f->taken, err);
        for (size_t i = 0; i < f->taken.n && rc == OK; i++)
            rc = compare(f, &f->taken.parts[i], err);
        if (rc == OK && replay_cancelled(f->o))
            rc = err_set(err, ERR_CLOSED, "cancelled");
        if (rc == OK)
            rc = hot_release(f->hot, 0, &f->taken, NULL, err);
    } while (rc == OK && cursor != 0);
    /* Hot keeps its memory for windows to come; begun anew, what it holds is what it needs. */
    hot_free(f->hot);
    f->hot = f->o->hot_new(1);
    if (rc == OK && f->n >= replay_pass_windows(f->o))
        rc = mend_found(f, err);
    return rc;
}

static bool is_full(const struct finding *f, const struct hot_stats *stats)
{
    uint64_t memory = f->o->memory_bytes ? f->o->memory_bytes : REPLAY_MEMORY;
    return stats->bytes >= memory || (f->o->max_windows && stats->windows >= f->o->max_windows);
}

/* Between records: not too much in memory, and somebody may have enough. */
static int look_around(struct finding *f, const struct span *s, struct err *err)
{
    struct hot_stats stats;
    if (f->o->progress)
        f->o->progress(f->o->ctx, span_done(s), span_total(s));
    if (replay_cancelled(f->o))
        return err_set(err, ERR_CLOSED, "cancelled");
    hot_get_stats(f->hot, &stats);
    return is_full(f, &stats) ? compare_all(f, err) : OK;
}

static int take_record(struct finding *f, const struct stream_record *rec, struct err *err)
{
    size_t n;
    int rc = replay_apply(f->o, f->hot, rec, wanted, f, f->scratch, &n, err);
    f->result->records++;
    f->result->points += n;
    if (rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED) {
        f->result->damaged_stretches++;
        return OK;
    }
    return rc;
}

static int find_all(struct finding *f, struct err *err)
{
    struct span s;
    int rc = span_open(&s, f->o, f->o->from, f->o->to_ms, err);
    if (rc != OK)
        return rc;
    for (uint64_t i = 1; rc == OK; i++) {
        const struct stream_record *rec;
        rc = span_next(&s, &rec, err);
        if (rc == OK)
            rc = take_record(f, rec, err);
        else if (rc == ERR_CORRUPT) {
            f->result->damaged_stretches++;
            rc = OK;
        }
        if (rc == OK && i % LOOK_EVERY == 0)
            rc = look_around(f, &s, err);
    }
    if (rc == 1)
        rc = compare_all(f, err);
    span_close(&s);
    return rc;
}

int replay_run(const struct replay_options *o, struct replay_result *out, struct err *err)
{
    *out = (struct replay_result){0};
    struct finding f = {.o = o,
                        .result = out,
                        .hot = o->hot_new(1),
                        .scratch = xmalloc(BATCH_MAX_POINTS * sizeof *f.scratch),
                        .taken = HOT_TAKEN_INIT};
    struct tombstones *t = catalog_tombstones(o->catalog);
    tombstones_pin(t); /* what is read may be older than they, and is compared or stored later */
    int rc = choose_series(&f, err);
    if (rc == OK)
        rc = find_all(&f, err);
    if (rc == OK)
        rc = mend_found(&f, err);
    tombstones_unpin(t);
    hot_free(f.hot);
    hot_taken_release(&f.taken);
    free(f.scratch);
    free(f.ids);
    free(f.wanting);
    return rc;
}
