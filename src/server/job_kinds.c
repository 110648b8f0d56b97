/* The kinds of jobs, and the scrub: what a request asks for, and the parts of the server the work needs. */
#include "server/server_impl.h"

#include "base/log.h"
#include "base/mem.h"
#include "catalog/catalog_store.h"
#include "hot/hot_mem.h"
#include "server/backup_job.h"
#include "server/cold_check.h"
#include "server/deletions.h"
#include "writer/replay.h"
#include "writer/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* Clocks of senders may be ahead by this much; points ahead by more may be missed when a window is made
 * again. */
#define AHEAD_MS 600000

/* What the callbacks of a run need; `job` or `scrub` is who runs. */
struct work {
    struct server *s;
    struct job *job;
    struct scrub *scrub;
};

/* --- what replay and verify ask of the server --- */

static uint64_t on_applied(void *ctx, unsigned lane)
{
    struct work *w = ctx;
    return writer_applied(w->s->writer, lane);
}

/* The step of points of that time, and since when they are all there; false: no such series. */
static bool points_at(const struct work *w, uint32_t series, int64_t ts_ms, uint32_t *step_ms,
                      int64_t *whole_ms)
{
    const struct layout *l;
    if (!rules_read_layouts(w->s->rules, series, &l, NULL))
        return false;
    size_t era = layout_era_at(l, ts_ms);
    *step_ms = l->era[era].step_ms;
    *whole_ms = layout_era_whole_ms(l, era, clock_wall_ms(w->s->clock));
    return true;
}

static int on_read(void *ctx, uint32_t series, int64_t from_ms, int64_t until_ms, struct column *out,
                   struct err *err)
{
    struct work *w = ctx;
    struct read_report report = {0};
    uint32_t step;
    int64_t whole;
    if (!points_at(w, series, from_ms, &step, &whole) || from_ms < whole)
        return err_set(err, ERR_NOT_FOUND, "older than the retention");
    int rc = reader_fetch_points(w->s->reader, series, step, from_ms, until_ms, WINDOW_SLOTS_MAX + 1, out,
                                 &report, err);
    if (rc == OK && report.incomplete) {
        *err = report.why;
        rc = report.why.code;
    }
    return rc;
}

static int64_t on_base_since(void *ctx, uint32_t series)
{
    struct work *w = ctx;
    const struct layout *l;
    if (!rules_layouts(w->s->rules, series, &l, NULL))
        return INT64_MAX;
    return layout_base_whole_ms(l, clock_wall_ms(w->s->clock));
}

static uint32_t on_step_at(void *ctx, uint32_t series, int64_t ts_ms)
{
    struct work *w = ctx;
    return rules_step_at(w->s->rules, series, ts_ms);
}

static bool on_is_base(void *ctx, uint32_t series, uint32_t step_ms, int64_t window_ms)
{
    struct work *w = ctx;
    const struct layout *l;
    return rules_layouts(w->s->rules, series, &l, NULL) && layout_is_base(l, step_ms, window_ms);
}

static int on_put(void *ctx, const struct part *p, const struct part_key *remove, size_t nremove,
                  struct err *err)
{
    struct work *w = ctx;
    return writer_put(w->s->writer, p, remove, nremove, err);
}

static int on_rebuild(void *ctx, uint32_t series, int64_t from_ms, int64_t until_ms, struct err *err)
{
    struct work *w = ctx;
    return writer_rebuild(w->s->writer, series, from_ms, until_ms, NULL, NULL, err);
}

static int on_cold(void *ctx, const struct verify_cold *to, struct err *err)
{
    struct work *w = ctx;
    return cold_check(w->s, to, err);
}

static uint64_t on_cold_bytes(void *ctx)
{
    struct work *w = ctx;
    return cold_check_bytes(w->s);
}

static bool on_cancelled(void *ctx)
{
    struct work *w = ctx;
    return w->job ? job_cancelled(w->job) : scrub_stopping(w->scrub);
}

static int on_cold_heal(void *ctx, uint64_t pack, bool *healed, struct err *err)
{
    struct work *w = ctx;
    return cold_check_heal(w->s, pack, on_cancelled, ctx, healed, err);
}

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct work *w = ctx;
    if (w->job)
        job_progress(w->job, done, total);
}

static int on_rows(void *ctx, catalog_row_fn fn, void *fn_ctx, struct err *err)
{
    struct work *w = ctx;
    char path[PATH_MAX];
    struct catalog_store *store;
    int rc = catalog_store_sqlite_open(data_dir_path(&w->s->dir, "catalog/catalog.db", path), &store, err);
    if (rc != OK)
        return rc;
    rc = store->ops->load(store, fn, fn_ctx, err);
    store->ops->free(store);
    return rc;
}

static size_t add_step(uint32_t *steps, size_t n, uint32_t step_ms)
{
    for (size_t i = 0; i < n; i++)
        if (steps[i] == step_ms)
            return n;
    steps[n] = step_ms;
    return n + 1;
}

static size_t on_steps(void *ctx, uint32_t series, uint32_t *out)
{
    struct work *w = ctx;
    const struct layout *l, *next;
    if (!rules_layouts(w->s->rules, series, &l, &next))
        return 0;
    size_t n = 0;
    for (size_t i = 0; i < l->neras; i++)
        n = add_step(out, n, l->era[i].step_ms);
    for (size_t i = 0; i < l->narchives; i++)
        n = add_step(out, n, l->archive[i].step_ms);
    for (size_t i = 0; next && i < next->narchives; i++)
        n = add_step(out, n, next->archive[i].step_ms);
    return n;
}

/* When the oldest record that is kept was appended, in the lane where that is latest; 0 if there is none. */
static int64_t oldest_kept_ms(struct server *s)
{
    int64_t oldest = 0;
    for (unsigned i = 0; i < s->lanes; i++) {
        struct stream_reader *reader;
        struct stream_record rec;
        struct err ignored;
        struct stream_start start = {.from = STREAM_OLDEST};
        if (stream_reader_open(s->stream, i, start, &reader, &ignored) != OK)
            return INT64_MAX;
        if (stream_reader_next(reader, &rec, 0, &ignored) == OK && rec.appended_ms > oldest)
            oldest = rec.appended_ms;
        stream_reader_close(reader);
    }
    return oldest;
}

/* From when on the stream has every point that arrived. Nothing was ever trimmed if the directory is younger
 * than what the stream keeps and the first record came soon after it was made (a copied directory looks
 * younger than its records). */
static int64_t on_kept_since(void *ctx)
{
    struct server *s = ((struct work *)ctx)->s;
    char path[PATH_MAX];
    struct stat st;
    int64_t oldest = oldest_kept_ms(s), now = clock_wall_ms(s->clock);
    if (stat(data_dir_path(&s->dir, "FORMAT", path), &st) == 0) {
        int64_t made = st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
        if (now - made < config_duration_ms(s->config, "stream.keep") && oldest >= made &&
            oldest - made < AHEAD_MS)
            return INT64_MIN;
    }
    return oldest > INT64_MAX - AHEAD_MS ? INT64_MAX : oldest + AHEAD_MS;
}

static struct replay_options replay_options(struct work *w)
{
    struct server *s = w->s;
    return (struct replay_options){
        .catalog = s->catalog,
        .stream = s->stream,
        .lanes = s->lanes,
        .warm = s->warm,
        .clock = s->clock,
        .memory_bytes = config_size_bytes(s->config, "replay.memory"),
        .store_lock = writer_store_lock(s->writer),
        .hot_new = hot_mem_new,
        .applied = on_applied,
        .read = on_read,
        .base_since_ms = on_base_since,
        .put = on_put,
        .rebuild = on_rebuild,
        .step_at = on_step_at,
        .is_base = on_is_base,
        .cancelled = on_cancelled,
        .progress = on_progress,
        .kept_since_ms = on_kept_since,
        .ctx = w,
    };
}

static struct verify_options verify_options(struct work *w)
{
    struct server *s = w->s;
    return (struct verify_options){
        .catalog = s->catalog,
        .stream = s->stream,
        .lanes = s->lanes,
        .warm = s->warm_store,
        .clock = s->clock,
        .cold = on_cold,
        .cold_bytes = on_cold_bytes,
        .cold_heal = on_cold_heal,
        .rows = on_rows,
        .steps = on_steps,
        .is_base = on_is_base,
        .cancelled = on_cancelled,
        .progress = on_progress,
        .ctx = w,
    };
}

/* --- replay --- */

struct replay_args {
    struct stream_start from;
    int64_t to_ms;
    char *series;
};

/* Seconds since the epoch, 2026-11-22T10:00:00Z, now, or a duration before now: -90min. */
static int parse_time(const char *text, int64_t now_ms, int64_t *out)
{
    struct tm tm = {0};
    int64_t ago;
    char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (end && !*end) {
        *out = (int64_t)timegm(&tm) * 1000;
        return 0;
    }
    if (!strcmp(text, "now")) {
        *out = now_ms;
        return 0;
    }
    if (text[0] == '-' && config_parse_duration(text + 1, &ago) == 0) {
        *out = now_ms - ago;
        return 0;
    }
    size_t n = strlen(text);
    if (n == 0 || n > 12 || strspn(text, "0123456789") != n)
        return -1;
    *out = strtoll(text, NULL, 10) * 1000;
    return 0;
}

/* A time as JSON has it: a number or a string. */
int job_take_time(const json_t *value, const char *what, int64_t now_ms, int64_t *out, struct err *err)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        json_integer_value(value) < 1000000000000) {
        *out = json_integer_value(value) * 1000;
        return OK;
    }
    const char *text = json_string_value(value);
    if (text && parse_time(text, now_ms, out) == 0)
        return OK;
    return err_set(err, ERR_INVALID,
                   "%s %.60s: expected seconds since 1970, 2026-11-22T10:00:00Z, now, or -90min", what,
                   text ? text : "");
}

static int take_from(const json_t *value, int64_t now_ms, struct stream_start *out, struct err *err)
{
    const char *text = json_string_value(value);
    if (!value)
        return err_set(err, ERR_INVALID, "from is missing: a time, oldest, or pos:N");
    if (text && !strcmp(text, "oldest")) {
        *out = (struct stream_start){.from = STREAM_OLDEST};
        return OK;
    }
    if (text && !strncmp(text, "pos:", 4) && text[4] && strspn(text + 4, "0123456789") == strlen(text + 4)) {
        *out = (struct stream_start){.from = STREAM_POSITION, .from_pos = strtoull(text + 4, NULL, 10)};
        return OK;
    }
    *out = (struct stream_start){.from = STREAM_TIME};
    return job_take_time(value, "from", now_ms, &out->from_ms, err);
}

static void free_replay_args(void *args)
{
    struct replay_args *a = args;
    if (a)
        free(a->series);
    free(a);
}

/* What replay and rebuild have in common: an optional end and an optional glob (malloc'ed). */
static int take_to_and_series(const json_t *request, int64_t now_ms, int64_t *to_ms, char **series,
                              struct err *err)
{
    const json_t *to = json_object_get(request, "to"), *glob = json_object_get(request, "series");
    int rc = to ? job_take_time(to, "to", now_ms, to_ms, err) : OK;
    if (rc == OK && glob && !json_is_string(glob))
        rc = err_set(err, ERR_INVALID, "series is a glob, as a string");
    if (rc == OK && glob)
        *series = xstrdup(json_string_value(glob));
    return rc;
}

static int parse_replay(void *ctx, const json_t *request, void **args, struct err *err)
{
    struct server *s = ctx;
    struct replay_args *a = xcalloc(1, sizeof *a);
    int64_t now = clock_wall_ms(s->clock);
    int rc = take_from(json_object_get(request, "from"), now, &a->from, err);
    if (rc == OK)
        rc = take_to_and_series(request, now, &a->to_ms, &a->series, err);
    if (rc != OK) {
        free_replay_args(a);
        return rc;
    }
    *args = a;
    return OK;
}

static void replay_result_json(const struct replay_result *r, struct buf *b)
{
    buf_printf(b,
               "{\"records\":%llu,\"points\":%llu,\"damagedStretches\":%llu,\"windows\":%llu,"
               "\"wanting\":%llu,\"mended\":%llu,\"left\":%llu}",
               (unsigned long long)r->records, (unsigned long long)r->points,
               (unsigned long long)r->damaged_stretches, (unsigned long long)r->compared,
               (unsigned long long)r->wanting, (unsigned long long)r->mended, (unsigned long long)r->left);
}

static int run_replay(struct job *j, void *ctx, void *args, struct err *err)
{
    struct work w = {.s = ctx, .job = j};
    const struct replay_args *a = args;
    struct replay_options o = replay_options(&w);
    struct replay_result r;
    struct buf json = BUF_INIT;
    o.from = a->from;
    o.to_ms = a->to_ms;
    o.series = a->series;
    int rc = replay_run(&o, &r, err);
    replay_result_json(&r, &json);
    job_result(j, &json);
    if (rc == OK)
        job_message(j, "%llu windows compared with the stream, %llu made again",
                    (unsigned long long)r.compared, (unsigned long long)r.mended);
    if (rc == OK && (r.left || r.damaged_stretches))
        rc = err_set(
            err, ERR_CORRUPT,
            "%llu windows stay damaged, %llu stretches of the stream are damaged; %llu windows made again",
            (unsigned long long)r.left, (unsigned long long)r.damaged_stretches,
            (unsigned long long)r.mended);
    return rc;
}

/* --- verify --- */

struct verify_args {
    bool repair;
};

static int parse_verify(void *ctx, const json_t *request, void **args, struct err *err)
{
    const json_t *repair = json_object_get(request, "repair");
    if (repair && !json_is_boolean(repair))
        return err_set(err, ERR_INVALID, "repair is true or false");
    struct verify_args *a = xcalloc(1, sizeof *a);
    a->repair = json_is_true(repair);
    *args = a;
    return OK;
}

static void put_item(struct server *s, const struct verify_item *i, struct buf *b)
{
    size_t len = 0;
    const char *name = i->series ? catalog_name(s->catalog, i->series, &len) : NULL;
    buf_printf(b, "{\"tier\":\"%s\"", i->tier);
    if (name) {
        buf_puts(b, ",\"series\":");
        buf_json_string(b, name, len);
    }
    if (i->step_ms)
        buf_printf(b, ",\"stepSeconds\":%g,\"window\":%lld", i->step_ms / 1000.0,
                   (long long)(i->window_ms < 0 ? -1 : i->window_ms / 1000));
    if (!strcmp(i->tier, "cold"))
        buf_printf(b, ",\"pack\":\"%016llx\"", (unsigned long long)i->pack);
    if (!strcmp(i->tier, "stream"))
        buf_printf(b, ",\"partition\":%u,\"afterPosition\":%llu", i->lane, (unsigned long long)i->pos);
    buf_printf(b, ",\"repaired\":%s,\"why\":", i->repaired ? "true" : "false");
    buf_json_string(b, i->why, strlen(i->why));
    buf_putc(b, '}');
}

static void verify_result_json(struct server *s, const struct verify_result *r, struct buf *b)
{
    buf_printf(b,
               "{\"bytes\":%llu,\"names\":%llu,\"records\":%llu,\"series\":%llu,\"parts\":%llu,"
               "\"damaged\":%llu,\"repaired\":%llu,\"items\":[",
               (unsigned long long)r->bytes, (unsigned long long)r->rows, (unsigned long long)r->records,
               (unsigned long long)r->series, (unsigned long long)r->parts, (unsigned long long)r->damaged,
               (unsigned long long)r->repaired);
    for (size_t i = 0; i < r->n; i++) {
        if (i)
            buf_putc(b, ',');
        put_item(s, &r->items[i], b);
    }
    buf_puts(b, "]}");
}

static int verify(struct work *w, bool repair, uint64_t bytes_per_s, struct verify_result *r, struct err *err)
{
    struct verify_options o = verify_options(w);
    struct replay_options mend = replay_options(w);
    o.bytes_per_s = bytes_per_s;
    o.repair = repair ? &mend : NULL;
    return verify_run(&o, r, err);
}

static int run_verify(struct job *j, void *ctx, void *args, struct err *err)
{
    struct work w = {.s = ctx, .job = j};
    const struct verify_args *a = args;
    struct verify_result r;
    struct buf json = BUF_INIT;
    int rc = verify(&w, a->repair, 0, &r, err);
    verify_result_json(ctx, &r, &json);
    job_result(j, &json);
    if (rc == OK && r.damaged > r.repaired)
        rc = err_set(err, ERR_CORRUPT, "%llu damaged, %llu of them repaired", (unsigned long long)r.damaged,
                     (unsigned long long)r.repaired);
    else if (rc == OK)
        job_message(j, "%llu parts and %llu records are good, %llu were repaired",
                    (unsigned long long)r.parts, (unsigned long long)r.records,
                    (unsigned long long)r.repaired);
    verify_result_release(&r);
    return rc;
}

/* --- the scrub --- */

static int scrub_round(struct scrub *scrub, void *ctx, struct verify_result *r, struct err *err)
{
    struct server *s = ctx;
    struct work w = {.s = s, .scrub = scrub};
    return verify(&w, true, config_size_bytes(s->config, "scrub.rate"), r, err);
}

/* --- rebuild --- */

struct rebuild_args {
    int64_t from_ms, to_ms;
    char *series; /* a glob, NULL: all */
};

static void free_rebuild_args(void *args)
{
    struct rebuild_args *a = args;
    if (a)
        free(a->series);
    free(a);
}

static int parse_rebuild(void *ctx, const json_t *request, void **args, struct err *err)
{
    struct server *s = ctx;
    struct rebuild_args *a = xcalloc(1, sizeof *a);
    int64_t now = clock_wall_ms(s->clock);
    const json_t *from = json_object_get(request, "from");
    a->to_ms = INT64_MAX / 4;
    int rc = from ? job_take_time(from, "from", now, &a->from_ms, err) : OK;
    if (rc == OK)
        rc = take_to_and_series(request, now, &a->to_ms, &a->series, err);
    if (rc != OK) {
        free_rebuild_args(a);
        return rc;
    }
    *args = a;
    return OK;
}

static int rebuild_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct job *j = ctx;
    job_progress(j, done, total);
    return job_cancelled(j) ? ERR_CLOSED : OK;
}

struct rebuild_some {
    struct server *s;
    struct job *job;
    const struct rebuild_args *args;
    uint64_t done;
    struct err damage;
};

static int rebuild_node(void *ctx, const struct catalog_node *node)
{
    struct rebuild_some *r = ctx;
    if (!node->id)
        return OK;
    struct err why = ERR_INIT;
    int rc = writer_rebuild(r->s->writer, node->id, r->args->from_ms, r->args->to_ms, NULL, NULL, &why);
    if (rc != OK && r->damage.code == OK)
        r->damage = why;
    rc = rc == ERR_CORRUPT ? OK : rc; /* the others can still be made */
    return rc == OK ? rebuild_progress(r->job, ++r->done, 0) : rc;
}

static int rebuild_chosen(struct job *j, struct server *s, const struct rebuild_args *a, struct err *err)
{
    if (!a->series)
        return writer_rebuild(s->writer, 0, a->from_ms, a->to_ms, rebuild_progress, j, err);
    struct rebuild_some some = {s, j, a, 0, ERR_INIT};
    int rc = catalog_find(s->catalog, a->series, strlen(a->series), 0, rebuild_node, &some, err);
    if (some.damage.code)
        return err_set(err, some.damage.code, "%s", some.damage.text);
    if (rc == OK && !some.done)
        return err_set(err, ERR_NOT_FOUND, "no series matches %.100s", a->series);
    return rc;
}

/* Makes coarse archives again from the base, e.g. after rules gained an archive. Nothing in the stream would
 * make them once more after a crash, so they are durable before the job says that it is done. */
static int run_rebuild(struct job *j, void *ctx, void *args, struct err *err)
{
    struct server *s = ctx;
    struct err why = ERR_INIT;
    int rc = rebuild_chosen(j, s, args, err);
    int synced = warm_sync(s->warm, &why);
    return rc == OK && synced != OK ? err_set(err, synced, "%s", why.text) : rc;
}

static const struct job_kind kinds[] = {
    {"replay", "seconds of stream", parse_replay, run_replay, free_replay_args},
    {"verify", "bytes", parse_verify, run_verify, free},
    {"rebuild", "series", parse_rebuild, run_rebuild, free_rebuild_args},
    {"backup", "bytes", backup_job_parse, backup_job_run, NULL},
    {"delete", "series", deletion_job_parse, deletion_job_run, deletion_job_free_args},
    {"retention-check", "series", NULL, retention_check_job, NULL},
    {"retention-apply", "series", retention_apply_parse, retention_apply_job, NULL},
};

int jobs_open(struct server *s, struct err *err)
{
    struct jobs_options o = {.kinds = kinds, .nkinds = ARRAY_LEN(kinds), .ctx = s, .clock = s->clock};
    int rc = jobs_new(&o, &s->jobs, err);
    if (rc == OK)
        rc = retention_resume(s, err);
    int64_t interval = config_duration_ms(s->config, "scrub.interval");
    if (rc != OK || interval == 0)
        return rc;
    struct scrub_options scrub = {
        .interval_ms = interval, .clock = s->clock, .metrics = s->metrics, .round = scrub_round, .ctx = s};
    return scrub_start(&scrub, &s->scrub, err);
}

void jobs_close(struct server *s)
{
    scrub_stop(s->scrub);
    s->scrub = NULL;
    if (s->jobs)
        jobs_stop(s->jobs);
}
