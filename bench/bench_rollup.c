/* What coarse archives cost: flushes days of one-minute windows into RocksDB in a new directory, with the
 * default archives, in batches as the writer makes them: bench_rollup DIR [SERIES [DAYS]] Then reads a month
 * of one series from the base and from the coarse archives. */
#include "base/mem.h"
#include "codec/codec.h"
#include "hot/hot_mem.h"
#include "reader/reader.h"
#include "warm/warm_rocksdb.h"
#include "writer/rollup.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STEP  60000
#define SPAN  14400000ll
#define DAY   86400000ll
#define T0    (20454 * DAY) /* a 1st of January: the year's window of the 1 d archive grows from empty */
#define BATCH 256

/* Of this thread's processor time: other work on the machine does not count. */
static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void must(int rc, const struct err *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

struct bench {
    uint32_t series;
    int days;
    struct warm *warm;
    struct rollup_maker maker;
    struct flush_batch batch;
    struct retention retention;
    double *last; /* of each series */
    uint64_t random;
    int64_t merge_us, rollup_us, put_us;
    uint64_t windows, base_bytes;
    uint64_t parts[RETENTION_ARCHIVES], bytes[RETENTION_ARCHIVES];
};

static const struct retention *archives(void *ctx, uint32_t series)
{
    return &((struct bench *)ctx)->retention;
}

static double noise(struct bench *b)
{
    b->random = b->random * 6364136223846793005ull + 1442695040888963407ull;
    return (double)((int64_t)(b->random >> 33) % 2001 - 1000) / 1000;
}

/* A quarter each: never changing, a wandering gauge of two decimals, whole counts, memory in pages. */
static double next_value(struct bench *b, uint32_t id)
{
    double *v = &b->last[id];
    switch (id % 4) {
    case 0:
        return 16;
    case 1:
        *v = fabs(round((*v + noise(b)) * 100) / 100);
        return *v;
    case 2:
        return floor((noise(b) + 1) * 100);
    default:
        *v += floor(noise(b) * 500) * 4096;
        return *v + 4e9;
    }
}

static void make_block(struct bench *b, uint32_t id, struct buf *out)
{
    struct slots s;
    slots_init(&s, 240);
    for (uint32_t i = 0; i < s.n; i++) {
        slot_set(s.present, i);
        s.value[i] = next_value(b, id);
    }
    codec_encode(&(struct codec_in){s.n, s.present, s.value}, out);
}

static void count_parts(struct bench *b)
{
    for (size_t i = 0; i < b->batch.n; i++)
        for (size_t k = 0; k < b->retention.narchives; k++)
            if (b->batch.parts[i].key.step_ms == b->retention.archives[k].step_ms) {
                b->parts[k]++;
                b->bytes[k] += b->batch.parts[i].size;
            }
}

static void flush_some(struct bench *b, const struct part *fresh, size_t n)
{
    struct err err = ERR_INIT;
    struct flush_batch *t = &b->batch;
    int64_t start = now_us();
    flush_batch_clear(t);
    for (size_t i = 0; i < n; i++) {
        flush_batch_reserve(t);
        must(merge_with_stored(b->warm, &fresh[i], &t->parts[i], &t->in_blocks[i], &t->blocks, &t->remove,
                               &err),
             &err);
        t->n++;
    }
    int64_t merged = now_us();
    must(rollup_add_parts(&b->maker, t, &err), &err);
    int64_t made = now_us();
    count_parts(b);
    must(flush_batch_put(t, b->warm, &err), &err);
    b->merge_us += merged - start;
    b->rollup_us += made - merged;
    b->put_us += now_us() - made;
    b->windows += n;
}

static void flush_window(struct bench *b, int64_t window_ms, uint64_t pos)
{
    struct part fresh[BATCH];
    struct buf blocks = BUF_INIT;
    for (uint32_t id = 1; id <= b->series;) {
        size_t n = 0;
        buf_clear(&blocks);
        for (; id <= b->series && n < BATCH; id++, n++) {
            size_t at = blocks.len;
            make_block(b, id, &blocks);
            fresh[n] = (struct part){{id, STEP, window_ms, pos}, pos, (const uint8_t *)at, blocks.len - at};
        }
        for (size_t i = 0; i < n; i++)
            fresh[i].data = blocks.data + (uintptr_t)fresh[i].data;
        flush_some(b, fresh, n);
    }
    buf_release(&blocks);
    struct err err = ERR_INIT;
    must(warm_sync(b->warm, &err), &err); /* hours pass between two windows of a series */
}

static void report_flush(struct bench *b)
{
    double w = (double)b->windows;
    int64_t all = b->merge_us + b->rollup_us + b->put_us;
    printf("%" PRIu64
           " base windows: look %.1f us, roll-ups %.1f us, put %.1f us a window; roll-ups are %.0f %%\n",
           b->windows, (double)b->merge_us / w, (double)b->rollup_us / w, (double)b->put_us / w,
           100.0 * (double)b->rollup_us / (double)all);
    for (size_t k = 0; k < b->retention.narchives; k++)
        printf("step %5u s: %7" PRIu64 " parts put, %6.0f bytes each, %6.0f bytes written a base window\n",
               b->retention.archives[k].step_ms / 1000, b->parts[k],
               b->parts[k] ? (double)b->bytes[k] / (double)b->parts[k] : 0, (double)b->bytes[k] / w);
}

struct sizes {
    uint64_t parts, bytes;
};

static int add_size(void *ctx, const struct part *p)
{
    struct sizes *s = ctx;
    s->parts++;
    s->bytes += p->size;
    return 0;
}

/* What stays: without the parts that were replaced. */
static void report_stored(struct bench *b)
{
    struct err err = ERR_INIT;
    for (size_t k = 0; k < b->retention.narchives; k++) {
        uint32_t step = b->retention.archives[k].step_ms;
        struct sizes s = {0, 0};
        for (uint32_t id = 1; id <= b->series; id++)
            must(warm_read(b->warm, id, step, window_start(T0, step), T0 + b->days * DAY, add_size, &s, &err),
                 &err);
        double slots = (double)b->series * b->days * (double)DAY / step;
        printf("step %5u s: %7" PRIu64 " parts stored, %.0f bytes a series and day, %.2f bytes a slot\n",
               step / 1000, s.parts, (double)s.bytes / b->series / b->days, (double)s.bytes / slots);
    }
}

static void report_reads(struct bench *b)
{
    struct err err = ERR_INIT;
    struct catalog *catalog;
    must(catalog_open(&(struct catalog_options){0}, &catalog, &err), &err);
    must(catalog_define(catalog, 1, STEP, "a", 1, &err), &err);
    struct hot *hot = hot_mem_new(1);
    struct reader *r = reader_new(&(struct reader_options){
        .catalog = catalog, .hot = hot, .warm = b->warm, .archives = archives, .rules_ctx = b});
    for (size_t k = 0; k < b->retention.narchives; k++) {
        int64_t start = now_us();
        size_t n = 0;
        for (int i = 0; i < 200; i++) {
            struct column c;
            struct read_report report = {0};
            must(reader_fetch_archive(r, 1, b->retention.archives[k].step_ms, AGGREGATION_AVERAGE, T0,
                                      T0 + b->days * DAY, 1u << 24, &c, &report, &err),
                 &err);
            n = c.n;
            free(c.values);
        }
        printf("step %5u s: %d days read in %.0f us, %zu slots\n", b->retention.archives[k].step_ms / 1000,
               b->days, (double)(now_us() - start) / 200, n);
    }
    reader_free(r);
    hot_free(hot);
    catalog_free(catalog);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_rollup DIR [SERIES [DAYS]]\n");
        return 2;
    }
    struct bench b = {.series = argc > 2 ? (uint32_t)atoi(argv[2]) : 1000,
                      .days = argc > 3 ? atoi(argv[3]) : 30};
    struct err err = ERR_INIT;
    must(warm_rocksdb_open(
             &(struct warm_rocksdb_options){.dir = argv[1], .create = true, .cache_bytes = 64 << 20}, &b.warm,
             &err),
         &err);
    struct retention_rules *rules = retention_default();
    b.retention = *retention_match(rules, "a", 1);
    retention_free(rules);
    b.retention.rule = "default";
    b.last = xcalloc(b.series + 1, sizeof *b.last);
    rollup_maker_init(&b.maker, b.warm, NULL);
    b.maker.archives = archives;
    b.maker.archives_ctx = &b;
    for (int64_t w = T0; w < T0 + b.days * DAY; w += SPAN)
        flush_window(&b, w, (uint64_t)(w / SPAN));
    report_flush(&b);
    report_stored(&b);
    report_reads(&b);
    flush_batch_release(&b.batch);
    rollup_maker_release(&b.maker);
    free(b.last);
    warm_free(b.warm);
    return 0;
}
