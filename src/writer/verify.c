#include "writer/verify.h"

#include "base/log.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "codec/rollup_block.h"
#include "model/batch.h"
#include "model/deletion.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Nothing is accepted from further ahead. A bound matters: past a damaged block warm looks group by group. */
#define FUTURE_MS (366 * 86400000ll)

#define REPAIR_WINDOWS_MAX 262144
#define PAUSE_MS           100
#define LOOK_EVERY         64

struct verifying {
    const struct verify_options *o;
    struct verify_result *r;
    int64_t started_ms;
    uint64_t expected; /* bytes */
    struct log_limit log;
    /* of the series that is read */
    uint32_t series, step_ms;
    int64_t last_window_ms; /* that is damaged; -1: none */
    struct err *err;
};

/* --- what was found --- */

static const char *name_of(const struct verifying *v, uint32_t series)
{
    const char *name = series ? catalog_name(v->o->catalog, series, NULL) : NULL;
    return name ? name : "";
}

static void add_item(struct verifying *v, const struct verify_item *item)
{
    struct verify_result *r = v->r;
    r->damaged++;
    if (r->n < VERIFY_ITEMS_MAX) {
        if (r->n == 0)
            r->items = xmalloc(VERIFY_ITEMS_MAX * sizeof *r->items);
        r->items[r->n++] = *item;
    }
    if (log_allowed(&v->log, NULL))
        log_error("verify", "damage found",
                  "tier=%s series=%.300s step_ms=%u window_ms=%lld lane=%u after_pos=%llu why=\"%s\"",
                  item->tier, name_of(v, item->series), item->step_ms, (long long)item->window_ms, item->lane,
                  (unsigned long long)item->pos, item->why);
}

static void add_window(struct verify_windows *w, uint32_t series, uint32_t step_ms, int64_t window_ms)
{
    if (w->n == REPAIR_WINDOWS_MAX)
        return;
    if (w->n == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 64;
        w->v = xrealloc(w->v, w->cap * sizeof *w->v);
    }
    w->v[w->n++] = (struct replay_window){series, step_ms, window_ms};
}

/* --- pace --- */

static int check_cancelled(const struct verifying *v, struct err *err)
{
    return v->o->cancelled && v->o->cancelled(v->o->ctx) ? err_set(err, ERR_CLOSED, "cancelled") : OK;
}

/* Tells how far it is, and waits as long as it is ahead of its rate. */
static int keep_pace(struct verifying *v, struct err *err)
{
    if (v->o->progress)
        v->o->progress(v->o->ctx, v->r->bytes, v->r->bytes < v->expected ? v->expected : v->r->bytes + 1);
    for (;;) {
        int rc = check_cancelled(v, err);
        if (rc != OK || !v->o->bytes_per_s)
            return rc;
        double due_ms = (double)v->r->bytes / (double)v->o->bytes_per_s * 1000;
        if ((double)(clock_mono_ms(v->o->clock) - v->started_ms) >= due_ms)
            return OK;
        nanosleep(&(struct timespec){0, PAUSE_MS * 1000000}, NULL);
    }
}

/* --- the catalog --- */

static int check_row(void *ctx, const struct catalog_row *row)
{
    struct verifying *v = ctx;
    struct verify_item item = {.tier = "catalog", .series = row->id};
    v->r->rows++;
    v->r->bytes += row->name_len;
    if (!catalog_has_ended(v->o->catalog, row->id) &&
        catalog_lookup(v->o->catalog, row->name, row->name_len).id != row->id) {
        snprintf(item.why, sizeof item.why, "series %u is %.*s in the store only", row->id,
                 (int)(row->name_len < 100 ? row->name_len : 100), row->name);
        add_item(v, &item);
    }
    return v->r->rows % 4096 ? 0 : check_cancelled(v, v->err);
}

static int check_catalog(struct verifying *v, struct err *err)
{
    if (!v->o->rows)
        return OK;
    int rc = v->o->rows(v->o->ctx, check_row, v, err);
    if (rc != ERR_CORRUPT && rc != ERR_IO)
        return rc;
    struct verify_item item = {.tier = "catalog"};
    snprintf(item.why, sizeof item.why, "%.150s", err->text);
    add_item(v, &item);
    return OK;
}

/* --- the stream --- */

static void add_stretch(struct verifying *v, unsigned lane, const struct stream_record *before,
                        const struct err *why)
{
    struct verify_item item = {
        .tier = "stream", .lane = lane, .pos = before->pos, .window_ms = before->appended_ms};
    snprintf(item.why, sizeof item.why, "%.150s", why->text);
    add_item(v, &item);
}

static void check_record(struct verifying *v, unsigned lane, const struct stream_record *rec)
{
    struct batch b;
    struct deletion_record d;
    struct err why = ERR_INIT;
    v->r->records++;
    v->r->bytes += rec->size;
    if ((deletion_is_record(rec->payload, rec->size) ? deletion_open(&d, rec->payload, rec->size, &why)
                                                     : batch_open(&b, rec->payload, rec->size, &why)) != OK)
        add_stretch(v, lane, rec, &why);
}

static int check_lane(struct verifying *v, unsigned lane, struct err *err)
{
    uint64_t end = stream_synced_pos(v->o->stream, lane);
    struct stream_record rec = {0}, last = {0};
    struct stream_reader *reader;
    int rc =
        stream_reader_open(v->o->stream, lane, (struct stream_start){.from = STREAM_OLDEST}, &reader, err);
    if (rc != OK)
        return rc;
    for (uint64_t i = 1; rc == OK && last.pos < end; i++) {
        struct err why = ERR_INIT;
        rc = stream_reader_next(reader, &rec, 0, &why);
        if (rc == ERR_CORRUPT) {
            add_stretch(v, lane, &last, &why);
            rc = OK;
        } else if (rc == OK) {
            check_record(v, lane, &rec);
            last = rec;
        } else if (rc < 0) {
            *err = why;
        }
        if (rc == OK && i % LOOK_EVERY == 0)
            rc = keep_pace(v, err);
    }
    stream_reader_close(reader);
    return rc == 1 ? OK : rc;
}

static int check_stream(struct verifying *v, struct err *err)
{
    int rc = OK;
    for (unsigned i = 0; i < v->o->lanes && rc == OK; i++)
        rc = check_lane(v, i, err);
    return rc;
}

/* --- warm --- */

static void on_damaged(void *ctx, const struct part_key *key, const char *why)
{
    struct verifying *v = ctx;
    if (key->window_ms == v->last_window_ms)
        return;
    v->last_window_ms = key->window_ms;
    struct verify_item item = {
        .tier = "warm", .series = key->series, .step_ms = key->step_ms, .window_ms = key->window_ms};
    snprintf(item.why, sizeof item.why, "%.150s", why);
    add_item(v, &item);
    add_window(&v->r->windows, key->series, key->step_ms, key->window_ms);
}

/* The checksum held; does the block, too? */
static int on_part(void *ctx, const struct part *p)
{
    struct verifying *v = ctx;
    union {
        struct slots slots;
        struct rollup rollup;
    } u;
    struct err why = ERR_INIT;
    uint32_t n = window_slots(p->key.step_ms);
    uint32_t step_ms = catalog_step_ms(v->o->catalog, p->key.series);
    bool is_rollup = v->o->is_base
                         ? !v->o->is_base(v->o->ctx, p->key.series, p->key.step_ms, p->key.window_ms)
                         : p->key.step_ms != step_ms;
    if (!step_ms)
        return 0; /* deleted meanwhile */
    v->r->parts++;
    v->r->bytes += p->size;
    slots_init(&u.slots, n);
    if ((is_rollup ? rollup_block_decode(p->data, p->size, n, &u.rollup, &why)
                   : codec_decode(p->data, p->size, n, u.slots.present, u.slots.value, &why)) != OK)
        on_damaged(v, &p->key, why.text);
    return 0;
}

static int check_range(struct verifying *v, int64_t from_ms, int64_t until_ms, struct err *err)
{
    uint64_t before = v->r->damaged;
    struct err why = ERR_INIT;
    v->last_window_ms = -1;
    int rc = warm_check(v->o->warm, v->series, v->step_ms, from_ms, until_ms, on_part, on_damaged, v, &why);
    if (rc == ERR_CORRUPT && v->r->damaged == before) {
        /* A block of the store: which windows it had cannot be told. */
        struct verify_item item = {
            .tier = "warm", .series = v->series, .step_ms = v->step_ms, .window_ms = -1};
        snprintf(item.why, sizeof item.why, "%.150s", why.text);
        add_item(v, &item);
    }
    if (rc == OK || rc == ERR_CORRUPT)
        return OK;
    *err = why;
    return rc;
}

static int check_series(void *ctx, uint32_t id, uint32_t step_ms, const char *name, size_t name_len)
{
    struct verifying *v = ctx;
    uint32_t steps[VERIFY_STEPS_MAX] = {step_ms};
    size_t n = v->o->steps ? v->o->steps(v->o->ctx, id, steps) : 1;
    int rc = OK;
    v->r->series++;
    v->series = id;
    for (size_t i = 0; i < n && rc == OK; i++) {
        v->step_ms = steps[i];
        rc = check_range(v, 0, clock_wall_ms(v->o->clock) + FUTURE_MS, v->err);
    }
    return rc == OK && v->r->series % LOOK_EVERY == 0 ? keep_pace(v, v->err) : rc;
}

/* --- cold --- */

static int on_cold_read(void *ctx, uint64_t bytes, uint64_t parts)
{
    struct verifying *v = ctx;
    v->r->bytes += bytes;
    v->r->parts += parts;
    return keep_pace(v, v->err);
}

/* Points that the stream still has can be put beside the damage. */
static void on_cold_damaged(void *ctx, const struct verify_item *item)
{
    struct verifying *v = ctx;
    add_item(v, item);
    if (item->step_ms != catalog_step_ms(v->o->catalog, item->series))
        return;
    for (int64_t w = item->window_ms; w < item->until_ms; w += window_span_ms(item->step_ms))
        add_window(&v->r->cold_windows, item->series, item->step_ms, w);
}

static int check_cold(struct verifying *v, struct err *err)
{
    return v->o->cold ? v->o->cold(v->o->ctx, &(struct verify_cold){v, on_cold_read, on_cold_damaged}, err)
                      : OK;
}

/* --- repair --- */

/* Looks again at what was damaged and has been mended, or has not. */
static int look_again(struct verifying *v, struct err *err)
{
    struct verify_result again = {0}, *found = v->r;
    int rc = OK;
    for (size_t i = 0; i < found->windows.n && rc == OK; i++) {
        const struct replay_window *w = &found->windows.v[i];
        uint64_t before = again.damaged;
        v->r = &again;
        v->series = w->series;
        v->step_ms = w->step_ms;
        rc = check_range(v, w->window_ms, w->window_ms + 1, err);
        v->r = found;
        if (rc != OK || again.damaged > before)
            continue;
        found->repaired++;
        for (size_t k = 0; k < found->n; k++) {
            struct verify_item *item = &found->items[k];
            item->repaired |= !strcmp(item->tier, "warm") && item->series == w->series &&
                              item->step_ms == w->step_ms && item->window_ms == w->window_ms;
        }
    }
    verify_result_release(&again);
    return rc;
}

static int repair_warm(struct verifying *v, struct err *err)
{
    struct replay_result mended = {0};
    struct verify_windows *w = &v->r->windows;
    int rc = w->n ? replay_mend(v->o->repair, w->v, w->n, &mended, err) : OK;
    return rc == OK && w->n ? look_again(v, err) : rc;
}

/* Items of one pack lie together, as they were found. */
static int repair_cold(struct verifying *v, struct err *err)
{
    struct replay_result mended = {0};
    struct verify_windows *w = &v->r->cold_windows;
    int rc = w->n ? replay_mend(v->o->repair, w->v, w->n, &mended, err) : OK;
    bool healed = false;
    const struct verify_item *last = NULL;
    for (size_t i = 0; i < v->r->n && rc == OK; i++) {
        struct verify_item *item = &v->r->items[i];
        if (strcmp(item->tier, "cold") != 0 || !v->o->cold_heal)
            continue;
        if (!last || last->pack != item->pack)
            rc = v->o->cold_heal(v->o->ctx, item->pack, &healed, err);
        item->repaired = rc == OK && healed;
        v->r->repaired += item->repaired;
        last = item;
    }
    return rc;
}

static int repair(struct verifying *v, struct err *err)
{
    if (!v->o->repair)
        return OK;
    int rc = repair_warm(v, err);
    return rc == OK ? repair_cold(v, err) : rc;
}

int verify_run(const struct verify_options *o, struct verify_result *out, struct err *err)
{
    *out = (struct verify_result){0};
    struct warm_stats warm;
    struct stream_stats stream;
    warm_get_stats(o->warm, &warm);
    stream_get_stats(o->stream, &stream);
    struct verifying v = {.o = o,
                          .r = out,
                          .started_ms = clock_mono_ms(o->clock),
                          .expected = warm.stored_bytes + stream.stored_bytes +
                                      (o->cold_bytes ? o->cold_bytes(o->ctx) : 0),
                          .err = err};
    int rc = check_catalog(&v, err);
    if (rc == OK)
        rc = check_stream(&v, err);
    if (rc == OK)
        rc = catalog_each(o->catalog, check_series, &v);
    if (rc == OK)
        rc = check_cold(&v, err);
    if (rc == OK)
        rc = repair(&v, err);
    return rc;
}

void verify_result_release(struct verify_result *r)
{
    free(r->items);
    free(r->windows.v);
    free(r->cold_windows.v);
    *r = (struct verify_result){0};
}
