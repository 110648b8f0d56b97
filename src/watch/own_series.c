#include "watch/own_series.h"

#include "base/hash.h"
#include "base/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "carat_"

/* What a metric had at the last round. The registry is sorted and only grows, so the order of the looks is
 * the same but for what came in between. */
struct before {
    uint64_t key; /* hash of name and labels */
    double value;
    uint64_t bucket[HISTOGRAM_BUCKETS], sum_us;
};

struct own_series {
    struct metrics *metrics;
    char *node;
    int64_t mono_ms; /* of the last round; 0: there was none */
    struct before *before;
    size_t n, cap;
    struct buf name;
    /* of the round under way */
    size_t at;
    double minutes; /* since the last one; 0: unknown */
    int64_t ts_ms;
    struct sample_batch *out;
};

struct own_series *own_series_new(struct metrics *m, const char *node)
{
    struct own_series *o = xcalloc(1, sizeof *o);
    o->metrics = m;
    o->node = xstrdup(node);
    return o;
}

void own_series_free(struct own_series *o)
{
    if (!o)
        return;
    free(o->node);
    free(o->before);
    buf_release(&o->name);
    free(o);
}

/* One level: what could end it or is not printable is replaced. */
static void put_level(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_putc(out, isalnum((unsigned char)text[i]) || strchr("_-", text[i]) ? text[i] : '_');
    if (!len)
        buf_putc(out, '_');
}

static size_t without(const char *name, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len > n && !memcmp(name + len - n, end, n) ? len - n : len;
}

void own_series_name(const char *node, const char *metric, const char *labels, struct buf *out)
{
    size_t len = strlen(metric), skip = strncmp(metric, PREFIX, strlen(PREFIX)) ? 0 : strlen(PREFIX);
    buf_puts(out, "carat.");
    put_level(out, node, strlen(node));
    buf_putc(out, '.');
    len = without(metric, len, "_total");
    len = without(metric, len, "_seconds"); /* the ending has the unit */
    put_level(out, metric + skip, len - skip);
    for (const char *p = strchr(labels, '"'); p; p = strchr(p + 1, '"')) {
        const char *end = strchr(++p, '"');
        if (!end)
            return;
        buf_putc(out, '.');
        put_level(out, p, (size_t)(end - p));
        p = end;
    }
}

static uint64_t key_of(const struct metric_view *v)
{
    return hash_bytes(v->name, strlen(v->name)) * 31 + hash_bytes(v->labels, strlen(v->labels));
}

/* The metric's entry; new ones are put in where they are met. *known is false for those. */
static struct before *entry(struct own_series *o, const struct metric_view *v, bool *known)
{
    uint64_t key = key_of(v);
    size_t i = o->at;
    *known = i < o->n && o->before[i].key == key;
    if (!*known) {
        if (o->n == o->cap) {
            o->cap = o->cap ? 2 * o->cap : 256;
            o->before = xrealloc(o->before, o->cap * sizeof *o->before);
        }
        memmove(o->before + i + 1, o->before + i, (o->n - i) * sizeof *o->before);
        o->n++;
        o->before[i] = (struct before){.key = key};
    }
    o->at++;
    return &o->before[i];
}

static void add(struct own_series *o, const struct metric_view *v, const char *ending, double value)
{
    buf_clear(&o->name);
    own_series_name(o->node, v->name, v->labels, &o->name);
    buf_puts(&o->name, ending);
    struct sample *s = sample_batch_add(o->out);
    *s = (struct sample){
        .name = arena_strndup(&o->out->names, (const char *)o->name.data, o->name.len),
        .name_len = (uint32_t)o->name.len,
        .hash = hash_bytes(o->name.data, o->name.len),
        .ts_ms = o->ts_ms,
        .value = value,
    };
}

/* Upper edge, in ms, of the bucket in which the share `q` of `n` observations is reached. */
static double percentile_ms(const uint64_t *bucket, uint64_t n, double q)
{
    uint64_t seen = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        if ((double)(seen += bucket[i]) >= q * (double)n)
            return (double)(1ull << i) / 1e3;
    return (double)(1ull << (HISTOGRAM_BUCKETS - 1)) / 1e3;
}

static void add_histogram(struct own_series *o, const struct metric_view *v, struct before *b, bool known)
{
    uint64_t bucket[HISTOGRAM_BUCKETS], n = 0;
    uint64_t sum_us = atomic_load_explicit(&v->histogram->sum_us, memory_order_relaxed);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t now = atomic_load_explicit(&v->histogram->bucket[i], memory_order_relaxed);
        bucket[i] = now - b->bucket[i];
        b->bucket[i] = now;
        n += bucket[i];
    }
    uint64_t us = sum_us - b->sum_us;
    b->sum_us = sum_us;
    if (!known || o->minutes <= 0)
        return;
    add(o, v, ".per_min", (double)n / o->minutes);
    add(o, v, ".busy_ratio", (double)us / 1e6 / (o->minutes * 60));
    if (!n)
        return;
    add(o, v, ".mean_ms", (double)us / 1e3 / (double)n);
    add(o, v, ".p50_ms", percentile_ms(bucket, n, 0.5));
    add(o, v, ".p99_ms", percentile_ms(bucket, n, 0.99));
}

static void take(void *ctx, const struct metric_view *v)
{
    struct own_series *o = ctx;
    bool known;
    struct before *b = entry(o, v, &known);
    if (v->histogram) {
        add_histogram(o, v, b, known);
        return;
    }
    double grown = v->value - b->value;
    b->value = v->value;
    size_t len = without(v->name, strlen(v->name), "_total");
    bool time = without(v->name, len, "_seconds") < len;
    if (!v->grows)
        add(o, v, time ? ".s" : "", v->value);
    else if (known && o->minutes > 0)
        add(o, v, time ? ".s_per_min" : ".per_min", (grown > 0 ? grown : 0) / o->minutes);
}

void own_series_collect(struct own_series *o, int64_t ts_ms, int64_t mono_ms, struct sample_batch *out)
{
    o->minutes = o->mono_ms ? (double)(mono_ms - o->mono_ms) / 60000.0 : 0;
    o->mono_ms = mono_ms;
    o->ts_ms = ts_ms;
    o->out = out;
    o->at = 0;
    metrics_each(o->metrics, take, o);
}
