/* A source of series in memory, for the tests of queries: values by second, every name's tree searched by
 * brute force. Kept in a header because unit tests, fuzz targets and benchmarks are single files. */
#ifndef QUERY_MEM_H
#define QUERY_MEM_H

#include "base/mem.h"
#include "query/source.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mem_series {
    char *name;
    int64_t step_s, start_s;
    size_t n;
    double *values;
};
struct mem_source {
    struct query_source base;
    struct mem_series *v;
    size_t n;
    bool broken;       /* reads are incomplete */
    unsigned delay_us; /* of each read */
};

static struct mem_source *mem_of(struct query_source *s)
{
    return container_of(s, struct mem_source, base);
}

/* --- Graphite's globs, as catalog.h describes them --- */

static bool mem_level(const char *p, const char *pe, const char *s, const char *se);

static bool mem_set(const char **p, const char *pe, char c, bool *in)
{
    const char *q = *p + 1;
    bool negated = q < pe && *q == '!', first = true;
    *in = false;
    for (q += negated; q < pe && (*q != ']' || first); q++, first = false) {
        char lo = *q, hi = lo;
        if (q + 2 < pe && q[1] == '-' && q[2] != ']') {
            hi = q[2];
            q += 2;
        }
        *in = *in || (c >= lo && c <= hi);
    }
    if (q >= pe)
        return false;
    *in = *in != negated;
    *p = q + 1;
    return true;
}

static bool mem_braces(const char *p, const char *pe, const char *s, const char *se)
{
    const char *close = memchr(p, '}', (size_t)(pe - p));
    if (!close)
        return false;
    for (const char *alt = p + 1; alt <= close;) {
        const char *end = alt;
        while (end < close && *end != ',')
            end++;
        char joined[1024];
        size_t n = (size_t)(end - alt), tail = (size_t)(pe - close - 1);
        if (n + tail < sizeof joined) {
            memcpy(joined, alt, n);
            memcpy(joined + n, close + 1, tail);
            if (mem_level(joined, joined + n + tail, s, se))
                return true;
        }
        alt = end + 1;
    }
    return false;
}

static bool mem_level(const char *p, const char *pe, const char *s, const char *se)
{
    while (p < pe) {
        if (*p == '*') {
            while (p + 1 < pe && p[1] == '*')
                p++;
            for (const char *t = s; t <= se; t++)
                if (mem_level(p + 1, pe, t, se))
                    return true;
            return false;
        }
        if (*p == '{')
            return mem_braces(p, pe, s, se);
        if (s == se)
            return false;
        bool in = true;
        if (*p == '[') {
            if (!mem_set(&p, pe, *s, &in))
                return false;
        } else {
            in = *p == '?' || *p == *s;
            p++;
        }
        if (!in)
            return false;
        s++;
    }
    return s == se;
}

static bool mem_path(const char *p, const char *s)
{
    const char *pe = strchrnul(p, '.'), *se = strchrnul(s, '.');
    if (pe - p == 2 && !memcmp(p, "**", 2)) {
        for (const char *t = s; *t; t++) /* one level or more */
            if (*t == '.' && *pe && mem_path(pe + 1, t + 1))
                return true;
        return !*pe;
    }
    if (!mem_level(p, pe, s, se))
        return false;
    return *pe && *se ? mem_path(pe + 1, se + 1) : !*pe && !*se;
}

static int mem_find(struct query_source *src, const char *pattern, size_t len, size_t limit, query_node_fn fn,
                    void *ctx, struct err *err)
{
    struct mem_source *m = mem_of(src);
    for (size_t i = 0; i < m->n; i++) {
        const char *name = m->v[i].name;
        if (strchr(name, ';'))
            continue;
        for (const char *end = strchr(name, '.');; end = end ? strchr(end + 1, '.') : NULL) {
            size_t n = end ? (size_t)(end - name) : strlen(name);
            char *path = xstrndup(name, n);
            struct query_node node = {path, n, end ? 0 : (uint32_t)i + 1, end != NULL};
            int rc = mem_path(pattern, path) ? fn(ctx, &node) : 0;
            free(path);
            if (rc)
                return rc;
            if (!end)
                break;
        }
    }
    return 0;
}

static int mem_each(struct query_source *src, bool tagged, query_name_fn fn, void *ctx)
{
    struct mem_source *m = mem_of(src);
    for (size_t i = 0; i < m->n; i++) {
        int rc = !tagged || strchr(m->v[i].name, ';')
                     ? fn(ctx, (uint32_t)i + 1, m->v[i].name, strlen(m->v[i].name))
                     : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static uint32_t mem_lookup(struct query_source *src, const char *name, size_t len)
{
    struct mem_source *m = mem_of(src);
    for (size_t i = 0; i < m->n; i++)
        if (strlen(m->v[i].name) == len && !memcmp(m->v[i].name, name, len))
            return (uint32_t)i + 1;
    return 0;
}

/* There is one coarser archive, of five slots each. */
static int64_t mem_step_ms(struct query_source *src, uint32_t id, const struct read_range *range)
{
    int64_t step_ms = mem_of(src)->v[id - 1].step_s * 1000;
    return range->max_step_ms >= 5 * step_ms ? 5 * step_ms : step_ms;
}

static void mem_fill(const struct mem_series *s, struct column *c, struct read_sums *sums)
{
    size_t n = (size_t)(c->step_ms / 1000 / s->step_s);
    for (size_t i = 0; i < c->n; i++) {
        double sum = 0, count = 0, last = column_missing();
        for (size_t k = 0; k < n; k++) {
            int64_t t = c->start_ms / 1000 + (int64_t)(i * n + k) * s->step_s,
                    at = (t - s->start_s) / s->step_s;
            if (t < s->start_s || at >= (int64_t)s->n || column_is_missing(s->values[at]))
                continue;
            last = s->values[at];
            sum += last;
            count++;
        }
        c->values[i] = n == 1 || !count ? last : sum / count;
        if (n > 1) {
            sums->sum[i] = sum;
            sums->count[i] = count;
        }
    }
}

static int mem_fetch(struct query_source *src, uint32_t id, const struct read_range *range, struct column *c,
                     struct read_spans *spans, struct read_sums *sums, struct read_report *report,
                     struct err *err)
{
    int64_t from_ms = range->from_ms, until_ms = range->until_ms;
    struct mem_series *s = &mem_of(src)->v[id - 1];
    if (mem_of(src)->broken) {
        report->incomplete = true;
        err_set(&report->why, ERR_IO, "the disk is on fire");
    }
    if (mem_of(src)->delay_us)
        usleep(mem_of(src)->delay_us);
    memset(c, 0, sizeof *c);
    *sums = (struct read_sums){0};
    c->series = id;
    c->step_ms = mem_step_ms(src, id, range);
    c->start_ms = (from_ms + c->step_ms - 1) / c->step_ms * c->step_ms;
    c->n = until_ms > c->start_ms ? (size_t)((until_ms - c->start_ms + c->step_ms - 1) / c->step_ms) : 0;
    spans->n = 1;
    spans->span[0] = (struct read_span){c->start_ms, c->start_ms + (int64_t)c->n * c->step_ms,
                                        (uint32_t)c->step_ms, READ_WARM};
    c->values = range->room;
    if (!c->n)
        return OK;
    if (c->n > range->max_slots)
        return err_set(err, ERR_LIMIT, "too many slots");
    c->values = range->room ? range->room : xmalloc(c->n * sizeof *c->values);
    sums->points = (uint32_t)(c->step_ms / 1000 / s->step_s);
    if (sums->points > 1) {
        sums->sum = xmalloc(c->n * sizeof *sums->sum);
        sums->count = xmalloc(c->n * sizeof *sums->count);
    }
    mem_fill(s, c, sums);
    return OK;
}

static const struct query_source_ops mem_ops = {mem_find, mem_each, mem_lookup, mem_step_ms, mem_fetch};

static inline void mem_init(struct mem_source *m)
{
    memset(m, 0, sizeof *m);
    m->base.ops = &mem_ops;
}

/* A series without points yet; its index. */
static inline size_t mem_add(struct mem_source *m, const char *name, int64_t step_s, int64_t start_s)
{
    m->v = xrealloc(m->v, (m->n + 1) * sizeof *m->v);
    m->v[m->n] = (struct mem_series){xstrdup(name), step_s, start_s, 0, NULL};
    return m->n++;
}

/* Sets the point of a time not before the series' start. */
static inline void mem_set_point(struct mem_source *m, size_t i, int64_t at_s, double v)
{
    struct mem_series *s = &m->v[i];
    size_t slot = (size_t)((at_s - s->start_s) / s->step_s);
    if (slot >= s->n) {
        s->values = xrealloc(s->values, (slot + 1) * sizeof *s->values);
        while (s->n <= slot)
            s->values[s->n++] = column_missing();
    }
    s->values[slot] = v;
}

static inline void mem_release(struct mem_source *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free(m->v[i].name);
        free(m->v[i].values);
    }
    free(m->v);
    mem_init(m);
}

#endif
