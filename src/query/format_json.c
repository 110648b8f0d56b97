/* JSON of /render. */
#include "base/digits.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/spare.h"
#include "query/format.h"
#include "query/format_points.h"
#include "query/pynum.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void put_tags(struct buf *b, const struct query_tags *t)
{
    buf_putc(b, '{');
    for (size_t i = 0; i < t->n; i++) {
        if (i)
            buf_puts(b, ", ");
        buf_json_string(b, t->v[i].name, strlen(t->v[i].name));
        buf_puts(b, ": ");
        buf_json_string(b, t->v[i].value, strlen(t->v[i].value));
    }
    buf_putc(b, '}');
}

static int64_t mod_floor(int64_t a, int64_t b)
{
    int64_t rest = a % b;
    return rest < 0 ? rest + b : rest;
}

/* Sets values_per_point so that the whole answer's range has at most max_points, and moves the start so that
 * the groups of points stay the same while the range moves on. graphite-web drops a value less than it moves
 * the start, so that each group begins one value before its time, and a whole group where the start needs no
 * moving. With values of a minute that is its habit, with those of a coarse archive it would be hours: there
 * groups begin at their time. */
static int thin_out(struct query_series *s, int64_t range_s, int64_t max_points, struct err *err)
{
    if (max_points == 1) {
        s->values_per_point = (int64_t)s->n;
        return OK;
    }
    if (!s->step_s)
        return err_set(err, ERR_INVALID, "%.100s has no step", s->name);
    double points = (double)range_s / (double)s->step_s;
    if ((double)max_points >= points)
        return OK;
    if (max_points == 0)
        return err_set(err, ERR_INVALID, "maxDataPoints must not be 0");
    int64_t run = (int64_t)ceil(points / (double)max_points), width = run * s->step_s;
    int64_t nudge = width + mod_floor(s->start_s, s->step_s) - mod_floor(s->start_s, width);
    if (s->counts)
        nudge %= width;
    s->start_s += nudge;
    int64_t lose = nudge / s->step_s - !s->counts;
    size_t drop = lose < 0 ? 0 : (size_t)lose;
    if (drop > s->n)
        return err_set(err, ERR_INVALID, "%.100s is too short for maxDataPoints", s->name);
    s->values += drop;
    if (s->counts) {
        s->sums += drop;
        s->counts += drop;
    }
    s->n -= drop;
    s->values_per_point = run;
    return OK;
}

static bool is_null(double v)
{
    return isnan(v); /* the missing value is one, too */
}

static bool has_points(const struct query_series *s, struct points p)
{
    while (p.i < p.n)
        if (!is_null(points_next(&p)))
            return true;
    return false;
}

/* Times of a series as text: all but the last four digits stay the same for hours. */
struct time_text {
    int64_t front;
    unsigned n;
    char digits[16];
};

static char *write_time(char *p, int64_t at, struct time_text *t)
{
    if (at < 10000 || at >= 1000000000000) {
        if (at < 0)
            *p++ = '-';
        return digits_put(p, at < 0 ? 0 - (uint64_t)at : (uint64_t)at);
    }
    int64_t front = at / 10000;
    uint32_t rest = (uint32_t)(at - front * 10000);
    if (front != t->front) {
        t->front = front;
        t->n = (unsigned)(digits_put(t->digits, (uint64_t)front) - t->digits);
    }
    memcpy(p, t->digits, 8);
    p += t->n;
    memcpy(p, digits_pair(rest / 100), 2);
    memcpy(p + 2, digits_pair(rest % 100), 2);
    return p + 4;
}

/* ", [value, time]" */
#define POINT_TEXT_MAX (PYNUM_TEXT_MAX + 32)
/* Points for which room is made at once: most of an answer is made of these. */
#define POINTS_AT_ONCE 128

static char *write_value(char *p, double v)
{
    if (isfinite(v))
        return pynum_put(p, v);
    const char *word = isnan(v) ? "null" : v > 0 ? "1e9999" : "-1e9999";
    size_t n = strlen(word);
    memcpy(p, word, n);
    return p + n;
}

/* A run of a series' points, to be written. */
struct run {
    const struct query_series *s;
    struct points points; /* from i on */
    size_t until;
    int64_t width; /* seconds between two */
    bool no_nulls;
};

static int64_t time_of(const struct run *r)
{
    return r->s->start_s + (int64_t)r->points.i * r->width;
}

static void put_points(struct buf *b, struct run *r, bool any)
{
    struct time_text text = {.front = -1};
    int64_t at = time_of(r);
    while (r->points.i < r->until) {
        char *start = (char *)buf_reserve(b, POINTS_AT_ONCE * POINT_TEXT_MAX), *to = start;
        for (int i = 0; i < POINTS_AT_ONCE && r->points.i < r->until; i++, at += r->width) {
            double v = points_next(&r->points);
            if (r->no_nulls && is_null(v))
                continue;
            if (any) {
                *to++ = ',';
                *to++ = ' ';
            }
            any = true;
            *to++ = '[';
            to = write_value(to, v);
            *to++ = ',';
            *to++ = ' ';
            to = write_time(to, at, &text);
            *to++ = ']';
        }
        b->len += (size_t)(to - start);
    }
}

/* constantLine("x"): the text in place of values. */
static void put_text_points(struct buf *b, struct run *r)
{
    bool any = false;
    while (r->points.i < r->until) {
        int64_t at = time_of(r);
        if (is_null(points_next(&r->points)) && r->no_nulls)
            continue;
        buf_puts(b, any ? ", [" : "[");
        any = true;
        buf_json_string(b, r->s->text, strlen(r->s->text));
        buf_puts(b, ", ");
        put_int(b, at);
        buf_putc(b, ']');
    }
}

/* {"spans": [{"from": 1763800020, "until": 1763900000, "step": 60, "tiers": ["hot", "warm"], "series": 1}]}
 */
static void put_meta(struct buf *b, const struct query_series *s)
{
    buf_puts(b, "{\"spans\": [");
    for (size_t i = 0; s->reads && i < s->reads->n; i++) {
        const struct query_read *r = &s->reads->v[i];
        buf_printf(b, "%s{\"from\": %lld, \"until\": %lld, \"step\": %.10g, \"tiers\": [", i ? ", " : "",
                   (long long)r->from_s, (long long)r->until_s, (double)r->step_ms / 1000);
        bool any = false;
        for (unsigned tier = 1; tier <= READ_COLD; tier <<= 1) {
            if (!(r->tiers & tier))
                continue;
            buf_printf(b, "%s\"%s\"", any ? ", " : "", read_tier_name(tier));
            any = true;
        }
        buf_printf(b, "], \"series\": %zu}", r->series);
    }
    buf_puts(b, "]}");
}

static void put_head(struct buf *b, const struct query_series *s, const struct format_options *o)
{
    buf_puts(b, ", {\"target\": ");
    put_name(b, s);
    buf_puts(b, ", \"tags\": ");
    put_tags(b, s->tags);
    if (o->meta) {
        buf_puts(b, ", \"meta\": ");
        put_meta(b, s);
    }
    buf_puts(b, ", \"datapoints\": [");
}

/* --- pieces: what can be written by itself --- */

#define PIECE_POINTS 8192
#define PIECE_BYTES  (PIECE_POINTS * 24) /* about */

/* Some series whole, or a part of one. */
struct piece {
    size_t first, end;  /* of the result's series */
    size_t from, until; /* of the series' points; until is SIZE_MAX if it is all of them */
};

struct json {
    struct query_result *r;
    struct format_options o;
    struct piece *v;
    size_t n, cap;
};

static void add_piece(struct json *j, const struct piece *p)
{
    if (j->n == j->cap) {
        j->cap = j->cap ? 2 * j->cap : 8;
        struct piece *v = arena_alloc(&j->r->arena, j->cap * sizeof *v);
        if (j->n)
            memcpy(v, j->v, j->n * sizeof *v);
        j->v = v;
    }
    j->v[j->n++] = *p;
}

/* The points that are shown: those up to the series' end. ERR_INVALID: it cannot be shown. */
static int run_init(struct run *r, const struct query_series *s, const struct format_options *o,
                    struct err *err)
{
    int rc = points_init(&r->points, s, err);
    if (rc < 0)
        return rc;
    r->s = s;
    r->no_nulls = o->no_null_points;
    r->width = s->step_s * s->values_per_point;
    if (!r->width || (r->width < 0 && s->n)) /* one that goes backwards is empty (summarize) */
        return err_set(err, ERR_INVALID, "%.100s has no step: its time range is too short", s->name);
    uint64_t shown = s->end_s < s->start_s ? 0 : (uint64_t)(s->end_s - s->start_s) / (uint64_t)r->width + 1;
    r->points.n = shown < r->points.n ? (size_t)shown : r->points.n;
    r->until = r->points.n;
    return OK;
}

/* A series of its own, or of many with few points several together. */
static int cut_series(struct json *j, size_t i, size_t *points, struct err *err)
{
    struct run r;
    int rc = run_init(&r, j->r->series[i], &j->o, err);
    if (rc < 0)
        return rc;
    if (r.until > PIECE_POINTS && !r.no_nulls && !r.s->text) {
        for (size_t from = 0; from < r.until; from += PIECE_POINTS)
            add_piece(j, &(struct piece){i, i + 1, from,
                                         r.until - from > PIECE_POINTS ? from + PIECE_POINTS : SIZE_MAX});
        *points = PIECE_POINTS;
    } else if (j->n && *points + r.until <= PIECE_POINTS) {
        j->v[j->n - 1].end = i + 1;
        *points += r.until;
    } else {
        add_piece(j, &(struct piece){i, i + 1, 0, SIZE_MAX});
        *points = r.until;
    }
    return OK;
}

static int json_init(struct json *j, struct query_result *r, const struct format_options *o, struct err *err)
{
    int64_t start = INT64_MAX, end = INT64_MIN;
    bool any = false;
    *j = (struct json){.r = r, .o = *o};
    for (size_t i = 0; i < r->n; i++) {
        start = r->series[i]->start_s < start ? r->series[i]->start_s : start;
        end = r->series[i]->end_s > end ? r->series[i]->end_s : end;
        any = any || r->series[i]->n;
    }
    size_t points = PIECE_POINTS;
    for (size_t i = 0; any && i < r->n; i++) { /* nothing but empty series is an empty answer */
        int rc = o->has_max_points ? thin_out(r->series[i], end - start, o->max_points, err) : OK;
        if (rc == OK)
            rc = cut_series(j, i, &points, err);
        if (rc < 0)
            return rc;
    }
    return OK;
}

static void put_part(struct buf *b, const struct json *j, size_t series, size_t from, size_t until)
{
    struct run r;
    if (run_init(&r, j->r->series[series], &j->o, NULL) < 0)
        return; /* json_init has seen to it */
    if (r.no_nulls && !has_points(r.s, r.points))
        return;
    if (from == 0)
        put_head(b, r.s, &j->o);
    r.points.i = from;
    r.until = until < r.until ? until : r.until;
    if (r.s->text)
        put_text_points(b, &r);
    else
        put_points(b, &r, from > 0);
    if (until == SIZE_MAX)
        buf_puts(b, "]}");
}

/* Each series begins with ", ", also the first of the answer. */
static void put_piece(struct buf *b, const struct json *j, const struct piece *p)
{
    for (size_t i = p->first; i < p->end; i++)
        put_part(b, j, i, p->from, p->until);
}

int format_json(struct query_result *r, const struct format_options *o, struct buf *out, struct err *err)
{
    struct json j;
    int rc = json_init(&j, r, o, err);
    if (rc < 0)
        return rc;
    size_t start = out->len;
    for (size_t i = 0; i < j.n; i++)
        put_piece(out, &j, &j.v[i]);
    if (out->len == start) {
        buf_puts(out, "[]");
        return OK;
    }
    memmove(out->data + start + 1, out->data + start + 2, out->len - start - 2);
    out->data[start] = '[';
    out->data[out->len - 1] = ']';
    return OK;
}

/* --- a stream: some pieces at a time, written by several threads --- */

#define AHEAD 8

/* Up to about 25 MB all pieces are written at the beginning: their length is known then, and what is sent
 * need not be in chunks, which take some clients as long to read as all the rest together. */
#define WHOLE_PIECES 128

struct json_stream {
    struct json j;
    struct query_result result;
    struct pool *helpers;
    struct spare *spare;
    struct buf *text; /* as many as are written at a time */
    size_t ahead;
    size_t next, ready, given; /* pieces: written so far; texts of them, and those that were handed out */
    _Atomic size_t taken;
    bool begun, ended;
};

static void write_pieces(void *ctx)
{
    struct json_stream *s = ctx;
    for (size_t i; (i = atomic_fetch_add(&s->taken, 1)) < s->ready;) {
        if (!s->text[i].data)
            s->text[i] = spare_take(s->spare);
        buf_clear(&s->text[i]);
        buf_reserve(&s->text[i], PIECE_BYTES);
        put_piece(&s->text[i], &s->j, &s->j.v[s->next + i]);
    }
}

static void write_some(struct json_stream *s)
{
    s->given = 0;
    s->ready = s->j.n - s->next < s->ahead ? s->j.n - s->next : s->ahead;
    atomic_store(&s->taken, 0);
    pool_run(s->helpers, s->ready ? (unsigned)s->ready - 1 : 0, write_pieces, s);
    s->next += s->ready;
}

bool json_stream_next(struct json_stream *s, const char **p, size_t *n)
{
    for (; s->given < s->ready || s->next < s->j.n; s->given++) {
        if (s->given == s->ready)
            write_some(s);
        struct buf *b = &s->text[s->given];
        if (!b->len)
            continue;
        *p = (const char *)b->data + !s->begun;
        *n = b->len - !s->begun;
        if (!s->begun)
            b->data[1] = '[';
        s->begun = true;
        s->given++;
        return true;
    }
    if (s->ended)
        return false;
    s->ended = true;
    *p = s->begun ? "]" : "[]";
    *n = strlen(*p);
    return true;
}

int json_stream_new(struct query_result *r, const struct format_options *o, struct pool *helpers,
                    struct spare *spare, struct json_stream **out, struct err *err)
{
    struct json_stream *s = xcalloc(1, sizeof *s);
    s->result = *r;
    s->helpers = helpers;
    s->spare = spare;
    int rc = json_init(&s->j, &s->result, o, err);
    *r = s->result; /* its arena may have grown */
    if (rc < 0) {
        free(s);
        return rc;
    }
    memset(r, 0, sizeof *r);
    s->ahead = s->j.n <= WHOLE_PIECES ? s->j.n : AHEAD;
    s->text = xcalloc(s->ahead + 1, sizeof *s->text);
    if (s->ahead == s->j.n)
        write_some(s);
    *out = s;
    return OK;
}

uint64_t json_stream_size(const struct json_stream *s)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->ready; i++)
        bytes += s->text[i].len;
    return s->ahead < s->j.n ? 0
           : bytes           ? bytes
                             : 2; /* one byte less at the beginning, one more at the end */
}

void json_stream_free(struct json_stream *s)
{
    if (!s)
        return;
    query_result_release(&s->result);
    for (size_t i = 0; i < s->ahead; i++)
        spare_give(s->spare, &s->text[i]);
    free(s->text);
    free(s);
}
