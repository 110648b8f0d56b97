/* What the cold tier stores and how long it takes, beside warm with the same parts:
 *   bench_cold DIR [SERIES [FILE | walk]]
 * Cuts recorded series (shared/data, or $CARAT_TEST_DATA) into windows of 240 points, SERIES times 32 windows
 * (one group), puts them into RocksDB in a new directory, has the mover take all of them, and reads. */
#include "base/clock.h"
#include "base/mem.h"
#include "codec/codec.h"
#include "cold/cold_files.h"
#include "cold/warm_tiered.h"
#include "mover/mover.h"
#include "unit/test_codec_data.h"
#include "warm/warm_key.h"
#include "warm/warm_rocksdb.h"

#include <inttypes.h>
#include <math.h>

#define STEP    60000u
#define SPAN    14400000ll
#define SLOTS   240
#define WINDOWS 32
#define READS   5000

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

/* A gauge that wanders, with two decimals: nothing repeats. */
static void make_walk(uint32_t id, int w, struct slots *s)
{
    uint64_t r = id * 2654435761ull + (uint64_t)w;
    double v = (double)(id % 1000);
    for (uint32_t i = 0; i < SLOTS; i++) {
        r = r * 6364136223846793005ull + 1442695040888963407ull;
        v += (double)((int64_t)(r >> 33) % 21 - 10) / 100;
        s->value[i] = round(v * 100) / 100;
    }
}

/* Window `w` of made-up series `id`: some recorded series, begun at some place. */
static void make_block(const struct recording *r, uint32_t id, int w, struct buf *out)
{
    struct slots s;
    slots_init(&s, SLOTS);
    for (uint32_t i = 0; i < SLOTS; i++)
        slot_set(s.present, i);
    if (r) {
        const struct series_values *v = &r->series[id % r->n];
        size_t at = (id / r->n * 977 + (size_t)w * SLOTS) % v->n;
        for (uint32_t i = 0; i < SLOTS; i++)
            s.value[i] = v->value[(at + i) % v->n];
    } else {
        make_walk(id, w, &s);
    }
    codec_encode(&(struct codec_in){s.n, s.present, s.value}, out);
}

static uint64_t fill(struct warm *warm, const struct recording *r, uint32_t series)
{
    struct err err = ERR_INIT;
    struct buf block = BUF_INIT;
    uint64_t bytes = 0;
    for (int w = 0; w < WINDOWS; w++)
        for (uint32_t id = 1; id <= series; id++) {
            buf_clear(&block);
            make_block(r, id, w, &block);
            bytes += block.len;
            uint64_t hi = ((uint64_t)w * SLOTS + SLOTS) * 40 + id % 40;
            struct part p = {{id, STEP, w * SPAN, hi}, hi - SLOTS * 40 + 1, block.data, block.len};
            int rc;
            while ((rc = warm_put(warm, &p, 1, NULL, 0, &err)) == ERR_BUSY)
                ;
            must(rc, &err);
        }
    must(warm_sync(warm, &err), &err);
    buf_release(&block);
    return bytes;
}

static int count_part(void *ctx, const struct part *p)
{
    *(uint64_t *)ctx += p->size;
    return 0;
}

static void read_some(struct warm *w, const char *what, uint32_t series)
{
    struct err err = ERR_INIT;
    uint64_t r = 1, bytes = 0;
    int64_t start = now_us();
    for (int i = 0; i < READS; i++) {
        r = r * 6364136223846793005ull + 1442695040888963407ull;
        must(
            warm_read(w, 1 + (uint32_t)(r >> 33) % series, STEP, 0, WINDOWS * SPAN, count_part, &bytes, &err),
            &err);
    }
    printf("read a group of one series, %-20s %8.1f us, %" PRIu64 " bytes\n", what,
           (double)(now_us() - start) / READS, bytes / READS);
}

static size_t one_step(void *ctx, uint32_t *steps_ms, size_t cap)
{
    (void)ctx;
    (void)cap;
    steps_ms[0] = STEP;
    return 1;
}

static void move(struct warm *warm, struct cold *cold, uint64_t block_bytes, uint64_t warm_bytes)
{
    struct err err = ERR_INIT;
    struct clock_fake clock;
    clock_fake_init(&clock, 100 * WINDOWS * SPAN);
    struct mover_options o = {.warm = warm, .cold = cold, .clock = &clock.base, .steps = one_step};
    struct mover *m = mover_new(&o);
    int64_t start = now_us();
    must(mover_round(m, &err), &err);
    double s = (double)(now_us() - start) / 1e6;
    struct mover_stats ms;
    struct cold_stats cs;
    mover_get_stats(m, &ms);
    cold_get_stats(cold, &cs);
    printf("moved %" PRIu64 " parts in %.2f s (%.1f us a part), %" PRIu64 " slices, %" PRIu64 " packs\n",
           ms.moved_parts, s, s * 1e6 / (double)ms.moved_parts, ms.moved_slices, cs.packs);
    printf("cold %10" PRIu64 " bytes, %6.1f a part, %.3f a point; %.3f of warm, %.3f of the blocks alone\n",
           cs.bytes, (double)cs.bytes / (double)cs.parts, (double)cs.bytes / (double)cs.points,
           (double)cs.bytes / (double)warm_bytes, (double)cs.bytes / (double)block_bytes);
    mover_stop(m);
    mover_free(m);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_cold DIR [SERIES [FILE | walk]]\n");
        return 2;
    }
    struct err err = ERR_INIT;
    uint32_t series = argc > 2 ? (uint32_t)atoi(argv[2]) : 10000;
    bool walk = argc > 3 && !strcmp(argv[3], "walk");
    struct recording *r = walk ? NULL : recording_load(argc > 3 ? argv[3] : "host.txt.gz");
    size_t shortest = SIZE_MAX;
    for (size_t i = 0; r && i < r->n; i++)
        shortest = r->series[i].n < shortest ? r->series[i].n : shortest;
    if (!r && !walk) {
        fprintf(stderr, "no recorded data\n");
        return 1;
    }
    char path[4096];
    must(fs_mkdir(fs_posix(), argv[1], &err), &err);
    snprintf(path, sizeof path, "%s/warm", argv[1]);
    struct warm *warm;
    must(warm_rocksdb_open(
             &(struct warm_rocksdb_options){.dir = path, .create = true, .write_buffer_bytes = 4 << 20},
             &warm, &err),
         &err);
    snprintf(path, sizeof path, "%s/cold", argv[1]);
    struct cold *cold;
    must(cold_files_open(&(struct cold_files_options){.dir = path, .fs = fs_posix(), .create = true}, &cold,
                         &err),
         &err);
    uint64_t blocks = fill(warm, r, series);
    struct warm_stats ws;
    warm_get_stats(warm, &ws);
    printf("%u series x %d windows of %d points, %zu recorded series of %zu points or more\n", series,
           WINDOWS, SLOTS, r ? r->n : 0, r ? shortest : 0);
    printf("warm %10" PRIu64 " bytes, %6.1f a part; the blocks alone %.1f\n", ws.stored_bytes,
           (double)ws.stored_bytes / (double)ws.puts, (double)blocks / (double)ws.puts);
    struct warm *both = warm_tiered_new(warm, cold);
    read_some(both, "from warm", series);
    move(warm, cold, blocks, ws.stored_bytes);
    read_some(both, "from cold", series);
    warm_free(both);
    cold_free(cold);
    warm_free(warm);
    recording_free(r);
    return 0;
}
