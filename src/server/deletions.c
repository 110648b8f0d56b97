#include "server/deletions.h"

#include "base/mem.h"
#include "model/name.h"
#include "server/server_impl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AT_ONCE_MAX    10000 /* series a request may delete while its client waits */
#define PATTERNS_MAX   1000
#define NAMES_SHOWN    20
#define COUNT_MS       10000 /* for the points of a dry run */
#define COUNT_SLOTS    65536 /* read at a time */
#define APPLIED_MS_MAX 30000 /* until readers see it: a job; a request: */
#define APPLIED_MS     2000
#define DAY_MS         86400000ll

struct request {
    char **patterns;
    size_t n;
    bool whole, dry_run;
    int64_t from_ms, until_ms;
};

/* What was found, and what became of it. */
struct found {
    uint32_t *ids; /* ascending */
    size_t n, cap;
    uint64_t points;     /* of a dry run */
    bool points_are_all; /* counted */
    int64_t exact_ms;    /* before it only roll-ups are kept of some series; 0: all is exact */
    struct deleter_result done;
};

/* --- the request --- */

void deletion_job_free_args(void *args)
{
    struct request *q = args;
    for (size_t i = 0; q && i < q->n; i++)
        free(q->patterns[i]);
    if (q)
        free(q->patterns);
    free(q);
}

static int take_pattern(struct request *q, const json_t *value, struct err *err)
{
    const char *text = json_string_value(value);
    if (!text || !*text)
        return err_set(err, ERR_INVALID, "series is a glob such as servers.web-1.**, or a list of them");
    q->patterns = xrealloc(q->patterns, (q->n + 1) * sizeof *q->patterns);
    q->patterns[q->n++] = xstrdup(text);
    return OK;
}

static int take_patterns(struct request *q, const json_t *value, struct err *err)
{
    size_t n = json_is_array(value) ? json_array_size(value) : 1;
    int rc = OK;
    if (!n || n > PATTERNS_MAX)
        return err_set(err, ERR_INVALID, "series: from 1 to %d globs are expected", PATTERNS_MAX);
    for (size_t i = 0; i < n && rc == OK; i++)
        rc = take_pattern(q, json_is_array(value) ? json_array_get(value, i) : value, err);
    return rc;
}

static int take_range(struct request *q, const json_t *object, int64_t now_ms, struct err *err)
{
    const json_t *from = json_object_get(object, "from"), *to = json_object_get(object, "to");
    int rc = OK;
    q->whole = !from && !to;
    q->until_ms = INT64_MAX / 4;
    if (from)
        rc = job_take_time(from, "from", now_ms, &q->from_ms, err);
    if (rc == OK && to)
        rc = job_take_time(to, "to", now_ms, &q->until_ms, err);
    if (rc == OK && q->from_ms >= q->until_ms)
        rc = err_set(err, ERR_INVALID, "from must be before to");
    return rc;
}

int deletion_job_parse(void *ctx, const json_t *object, void **args, struct err *err)
{
    struct server *s = ctx;
    struct request *q = xcalloc(1, sizeof *q);
    const json_t *dry = json_object_get(object, "dryRun");
    int rc = take_patterns(q, json_object_get(object, "series"), err);
    if (rc == OK)
        rc = take_range(q, object, clock_wall_ms(s->clock), err);
    if (rc == OK && dry && !json_is_boolean(dry))
        rc = err_set(err, ERR_INVALID, "dryRun is true or false");
    q->dry_run = json_is_true(dry);
    if (rc != OK) {
        deletion_job_free_args(q);
        return rc;
    }
    *args = q;
    return OK;
}

/* --- which series --- */

static void add_id(struct found *f, uint32_t id)
{
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 64;
        f->ids = xrealloc(f->ids, f->cap * sizeof *f->ids);
    }
    f->ids[f->n++] = id;
}

static int on_node(void *ctx, const struct catalog_node *node)
{
    if (node->id)
        add_id(ctx, node->id);
    return 0;
}

/* A name with tags is taken as it is: globs are about paths. */
static int find_pattern(struct server *s, struct found *f, const char *pattern, struct err *err)
{
    size_t len = strlen(pattern), canonical_len;
    struct arena arena = ARENA_INIT;
    const char *canonical;
    enum reject why;
    if (!name_has_tags(pattern, len))
        return catalog_find(s->catalog, pattern, len, 0, on_node, f, err);
    uint32_t id = 0;
    if (name_canonical(pattern, len, &arena, &canonical, &canonical_len, &why) == 0)
        id = catalog_lookup(s->catalog, canonical, canonical_len).id;
    if (id)
        add_id(f, id);
    arena_release(&arena);
    return OK;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort_found(struct found *f)
{
    size_t n = 0;
    if (f->n)
        qsort(f->ids, f->n, sizeof *f->ids, by_id);
    for (size_t i = 0; i < f->n; i++)
        if (!n || f->ids[n - 1] != f->ids[i])
            f->ids[n++] = f->ids[i];
    f->n = n;
}

/* Where some of a range lies before the time of which the base is kept, only roll-ups can be taken out, and
 * these only whole. */
static void note_exact(struct server *s, const struct request *q, struct found *f)
{
    for (size_t i = 0; i < f->n && !q->whole; i++) {
        int64_t since = writer_base_whole_from(s->writer, f->ids[i]);
        if (since != INT64_MAX && q->from_ms < since && since > f->exact_ms)
            f->exact_ms = since;
    }
}

static int find_all(struct server *s, const struct request *q, size_t limit, struct found *f, struct err *err)
{
    int rc = OK;
    for (size_t i = 0; i < q->n && rc == OK; i++)
        rc = find_pattern(s, f, q->patterns[i], err);
    sort_found(f);
    if (rc == OK && !f->n)
        rc = err_set(err, ERR_NOT_FOUND, "no series matches %.300s%s", q->patterns[0],
                     q->n > 1 ? ", nor the others" : "");
    if (rc == OK && f->n > limit)
        rc = err_set(err, ERR_INVALID,
                     "%zu series match, at most %zu are deleted at once; start a job of kind delete, or use "
                     "`carat delete`",
                     f->n, limit);
    if (rc == OK)
        note_exact(s, q, f);
    return rc;
}

/* --- counting --- */

struct who {
    struct server *s;
    struct job *job; /* NULL: a request */
};

static bool is_cancelled(void *ctx)
{
    const struct who *w = ctx;
    return w->job && job_cancelled(w->job);
}

static int count_era(struct server *s, const struct request *q, uint32_t id, const struct layout *l,
                     size_t era, uint64_t *points, struct err *err)
{
    int64_t step = l->era[era].step_ms, now = clock_wall_ms(s->clock);
    int64_t from = now - l->era[era].keep_ms, until = now + DAY_MS * 366;
    from = layout_era_from(l, era) > from ? layout_era_from(l, era) : from;
    until = layout_era_until(l, era) < until ? layout_era_until(l, era) : until;
    from = q->from_ms > from ? q->from_ms : from < 0 ? 0 : from;
    until = q->until_ms < until ? q->until_ms : until;
    int rc = OK;
    for (int64_t at = from; at < until && rc == OK; at += COUNT_SLOTS * step) {
        struct column c = {0};
        struct read_report report = {0};
        int64_t end = until - at < COUNT_SLOTS * step ? until : at + COUNT_SLOTS * step;
        rc = reader_fetch_points(s->reader, id, (uint32_t)step, at, end, COUNT_SLOTS + 1, &c, &report, err);
        for (size_t i = 0; i < c.n; i++)
            *points += !column_is_missing(c.values[i]);
        free(c.values);
    }
    return rc == ERR_NOT_FOUND ? OK : rc;
}

static int count_series(struct server *s, const struct request *q, uint32_t id, uint64_t *points,
                        struct err *err)
{
    const struct layout *l;
    int rc = OK;
    if (!rules_read_layouts(s->rules, id, &l, NULL))
        return OK;
    for (size_t e = 0; e < l->neras && rc == OK; e++)
        rc = count_era(s, q, id, l, e, points, err);
    return rc;
}

static int count_points(struct who *w, const struct request *q, struct found *f, struct err *err)
{
    int64_t end = clock_mono_ms(w->s->clock) + COUNT_MS;
    int rc = OK;
    size_t i = 0;
    for (; i < f->n && rc == OK && clock_mono_ms(w->s->clock) < end; i++) {
        rc = is_cancelled(w) ? err_set(err, ERR_CLOSED, "cancelled")
                             : count_series(w->s, q, f->ids[i], &f->points, err);
        if (w->job)
            job_progress(w->job, i + 1, f->n);
    }
    f->points_are_all = i == f->n;
    return rc;
}

/* --- deleting --- */

/* What is asked for afterwards shall not show it any more. It does anyway as soon as the writer is there. */
static void wait_applied(struct who *w, const struct deleter_result *done)
{
    int64_t end = clock_mono_ms(w->s->clock) + (w->job ? APPLIED_MS_MAX : APPLIED_MS);
    for (unsigned i = 0; i < w->s->lanes && i < STREAM_LANES_MAX; i++)
        while (writer_applied(w->s->writer, i) < done->pos[i] && clock_mono_ms(w->s->clock) < end &&
               !is_cancelled(w))
            nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static int delete_found(struct who *w, const struct request *q, struct found *f, struct err *err)
{
    if (!w->s->deleter)
        return err_set(err, ERR_UNSUPPORTED, "nothing can be deleted: that takes a process with all roles");
    struct deletion *v = xmalloc(f->n * sizeof *v);
    for (size_t i = 0; i < f->n; i++)
        v[i] = q->whole ? (struct deletion){f->ids[i], DELETION_FROM_ALL, DELETION_UNTIL_ALL}
                        : (struct deletion){f->ids[i], q->from_ms, q->until_ms};
    int rc = deleter_run(w->s->deleter, v, f->n, is_cancelled, w, &f->done, err);
    free(v);
    if (w->job)
        job_progress(w->job, f->done.series + f->done.ranges, f->n);
    if (rc == OK)
        wait_applied(w, &f->done);
    return rc;
}

static void put_result(struct server *s, const struct request *q, const struct found *f, struct buf *b)
{
    size_t shown = f->n < NAMES_SHOWN ? f->n : NAMES_SHOWN, put = 0;
    buf_printf(b, "{\"dryRun\":%s,\"series\":%zu,\"deletedSeries\":%llu,\"deletedRanges\":%llu",
               q->dry_run ? "true" : "false", f->n, (unsigned long long)f->done.series,
               (unsigned long long)f->done.ranges);
    if (q->dry_run)
        buf_printf(b, ",\"points\":%llu,\"pointsAreAll\":%s", (unsigned long long)f->points,
                   f->points_are_all ? "true" : "false");
    if (f->exact_ms)
        buf_printf(b, ",\"exactFrom\":%lld", (long long)(f->exact_ms / 1000));
    buf_puts(b, ",\"names\":[");
    for (size_t i = 0; i < shown; i++) {
        size_t len;
        const char *name = catalog_name(s->catalog, f->ids[i], &len);
        if (!name)
            continue;
        buf_puts(b, put++ ? "," : "");
        buf_json_string(b, name, len);
    }
    buf_puts(b, "]}");
}

static int run(struct who *w, const struct request *q, size_t limit, struct found *f, struct buf *json,
               struct err *err)
{
    int rc = find_all(w->s, q, limit, f, err);
    if (rc == OK)
        rc = q->dry_run ? count_points(w, q, f, err) : delete_found(w, q, f, err);
    put_result(w->s, q, f, json);
    return rc;
}

int deletion_job_run(struct job *j, void *ctx, void *args, struct err *err)
{
    struct who w = {ctx, j};
    const struct request *q = args;
    struct found f = {0};
    struct buf json = BUF_INIT;
    int rc = run(&w, q, SIZE_MAX, &f, &json, err);
    job_result(j, &json);
    if (rc == OK && q->dry_run)
        job_message(j, "%s%llu points of %zu series would be deleted%s", f.points_are_all ? "" : "more than ",
                    (unsigned long long)f.points, f.n, q->whole ? ", and the series" : "");
    else if (rc == OK && q->whole)
        job_message(j, "%llu series deleted", (unsigned long long)f.done.series);
    else if (rc == OK)
        job_message(j, "points of %llu series deleted", (unsigned long long)f.done.ranges);
    else if (f.done.series + f.done.ranges)
        err_prefix(err, "%llu of %zu series were done", (unsigned long long)(f.done.series + f.done.ranges),
                   f.n);
    free(f.ids);
    return rc;
}

int deletion_request(void *ctx, const char *body, size_t n, struct buf *json, struct err *err)
{
    struct who w = {ctx, NULL};
    struct found f = {0};
    json_error_t why;
    void *q = NULL;
    json_t *object = json_loadb(body, n, JSON_REJECT_DUPLICATES, &why);
    int rc = json_is_object(object) ? deletion_job_parse(ctx, object, &q, err)
                                    : err_set(err, ERR_INVALID, "the body is no JSON object: %s", why.text);
    if (rc == OK)
        rc = run(&w, q, AT_ONCE_MAX, &f, json, err);
    json_decref(object);
    deletion_job_free_args(q);
    free(f.ids);
    return rc;
}

int deletion_of_names(void *ctx, const char *const *names, size_t n, struct err *err)
{
    struct who w = {ctx, NULL};
    struct request q = {.whole = true};
    struct found f = {0};
    struct arena arena = ARENA_INIT;
    int rc = OK;
    for (size_t i = 0; i < n; i++) {
        const char *canonical;
        size_t len;
        enum reject why;
        if (name_canonical(names[i], strlen(names[i]), &arena, &canonical, &len, &why) < 0) {
            rc = err_set(err, ERR_INVALID, "'%.200s' is no series name", names[i]);
            break;
        }
        uint32_t id = catalog_lookup(w.s->catalog, canonical, len).id;
        if (id)
            add_id(&f, id);
    }
    sort_found(&f);
    if (rc == OK && f.n)
        rc = delete_found(&w, &q, &f, err);
    arena_release(&arena);
    free(f.ids);
    return rc;
}
