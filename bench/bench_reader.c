/* How long the warm tier and the reader take, over RocksDB in a new directory:
 *   bench_reader DIR [SERIES]
 * Puts a day of one-minute points of every series window by window, looking first whether there is
 * something to merge with, as the flusher does; then reads a day of one series at a time. */
#include "base/clock.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "hot/hot_mem.h"
#include "reader/reader.h"
#include "warm/warm_rocksdb.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define STEP    60000
#define SPAN    14400000ll
#define WINDOWS 7
#define BATCH   1024
#define READS   20000

struct bench {
    uint32_t series;
    struct warm *warm;
    struct catalog *catalog;
    struct reader *reader;
};

static int64_t now_us(void)
{
    return clock_mono_us(clock_system());
}

static void must(int rc, const struct err *err)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

/* A gauge that wanders, with two decimals. */
static void make_block(uint32_t series, int window, struct buf *out)
{
    struct slots s;
    slots_init(&s, 240);
    uint64_t r = series * 2654435761ull + (uint64_t)window;
    double v = (double)(series % 1000);
    for (uint32_t i = 0; i < s.n; i++) {
        r = r * 6364136223846793005ull + 1442695040888963407ull;
        v += (double)((int64_t)(r >> 33) % 21 - 10) / 100;
        slot_set(s.present, i);
        s.value[i] = round(v * 100) / 100;
    }
    codec_encode(&(struct codec_in){s.n, s.present, s.value}, out);
}

static int nothing(void *ctx, const struct part *p)
{
    (void)p;
    ++*(uint64_t *)ctx;
    return 0;
}

static void put_window(struct bench *b, int window, int64_t *look_us, int64_t *put_us, uint64_t *bytes)
{
    struct err err = ERR_INIT;
    struct part parts[BATCH];
    size_t offset[BATCH], n = 0;
    struct buf blocks = BUF_INIT;
    uint64_t found = 0;
    for (uint32_t id = 1; id <= b->series; id++) {
        parts[n] =
            (struct part){{id, STEP, (1000 + window) * SPAN, (uint64_t)window * b->series + id}, 1, NULL, 0};
        offset[n] = blocks.len;
        make_block(id, window, &blocks);
        parts[n].size = blocks.len - offset[n];
        int64_t start = now_us();
        must(warm_read(b->warm, id, STEP, parts[n].key.window_ms, parts[n].key.window_ms + 1, nothing, &found,
                       &err),
             &err);
        *look_us += now_us() - start;
        if (++n < BATCH && id < b->series)
            continue;
        for (size_t i = 0; i < n; i++)
            parts[i].data = blocks.data + offset[i];
        *bytes += blocks.len;
        start = now_us();
        int rc;
        while ((rc = warm_put(b->warm, parts, n, NULL, 0, &err)) == ERR_BUSY)
            ;
        must(rc, &err);
        *put_us += now_us() - start;
        n = 0;
        buf_clear(&blocks);
    }
    buf_release(&blocks);
}

static void read_days(struct bench *b, const char *what, uint32_t among)
{
    struct err err = ERR_INIT;
    uint64_t r = 1, points = 0;
    int64_t start = now_us();
    for (int i = 0; i < READS; i++) {
        r = r * 6364136223846793005ull + 1442695040888963407ull;
        struct read_report report = {0};
        struct column c;
        int64_t from = 1000 * SPAN + (int64_t)(i % 200) * STEP;
        must(reader_fetch(b->reader, 1 + (uint32_t)((r >> 33) % among), from, from + 86400000, 1440, &c,
                          &report, &err),
             &err);
        points += c.n;
        free(c.values);
    }
    double us = (double)(now_us() - start);
    printf("read a day, %-24s %8.1f us a series, %.1f ns a point\n", what, us / READS,
           us * 1000 / (double)points);
}

static void read_latest(struct bench *b)
{
    struct err err = ERR_INIT;
    int64_t start = now_us(), ts;
    double v;
    for (int i = 0; i < READS; i++) {
        struct read_report report = {0};
        must(reader_latest(b->reader, 1 + (uint32_t)i % 1000, 1000 * SPAN, &ts, &v, &report, &err), &err);
    }
    printf("latest, from warm                     %8.1f us a series\n", (double)(now_us() - start) / READS);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_reader DIR [SERIES]\n");
        return 2;
    }
    struct err err = ERR_INIT;
    struct bench b = {.series = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 100000};
    must(warm_rocksdb_open(&(struct warm_rocksdb_options){.dir = argv[1], .create = true}, &b.warm, &err),
         &err);
    must(catalog_open(&(struct catalog_options){0}, &b.catalog, &err), &err);
    char name[32];
    for (uint32_t id = 1; id <= b.series; id++)
        must(catalog_define(b.catalog, id, STEP, name, (size_t)snprintf(name, sizeof name, "bench.s%u", id),
                            &err),
             &err);
    struct hot *hot = hot_mem_new(1);
    b.reader = reader_new(&(struct reader_options){.catalog = b.catalog, .hot = hot, .warm = b.warm});
    int64_t look = 0, put = 0;
    uint64_t bytes = 0;
    for (int w = 0; w < WINDOWS; w++)
        put_window(&b, w, &look, &put, &bytes);
    double parts = (double)b.series * WINDOWS;
    int64_t start = now_us();
    must(warm_sync(b.warm, &err), &err);
    struct warm_stats stats;
    warm_get_stats(b.warm, &stats);
    printf("look for something to merge with      %8.2f us a part\n", (double)look / parts);
    printf("put, %u a batch                     %8.2f us a part, %.1f MB/s of blocks\n", BATCH,
           (double)put / parts, (double)bytes / (double)put);
    printf("sync                                  %8.1f ms\n", (double)(now_us() - start) / 1000);
    printf("stored                                %8.1f bytes a part (blocks %.1f)\n",
           (double)stats.stored_bytes / parts, (double)bytes / parts);
    read_days(&b, "any series", b.series);
    read_days(&b, "1000 series, cached", 1000);
    read_latest(&b);
    reader_free(b.reader);
    hot_free(hot);
    catalog_free(b.catalog);
    warm_free(b.warm);
    return 0;
}
