/* Block codecs: points a second in and out, bytes a point, by kind of data and block size.
 *
 * Recorded data (host.txt.gz, nab.txt) is taken from $CARAT_TEST_DATA. One thread, its CPU time; the best of
 * several rounds over more points than the first-level cache holds. */
#include "base/mem.h"
#include "codec/codec.h"
#include "model/slots.h"
#include "unit/test_codec_data.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS_LIMIT 16384
#define POINTS      (1u << 18) /* of a generated data set, at least */
#define ROUNDS      5

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}
static double uniform(void)
{
    return (double)(rnd() >> 11) * 0x1p-53;
}

/* Time this thread ran: other work on the machine does not count. */
static int64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

/* Full blocks, one after the other; the last of a recorded series may be shorter. */
struct blocks {
    struct series_values values;
    uint32_t *slots;
    size_t n, cap;
};

static void blocks_end(struct blocks *b, uint32_t slots)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 1024;
        b->slots = xrealloc(b->slots, b->cap * sizeof *b->slots);
    }
    b->slots[b->n++] = slots;
}

enum kind { CONSTANTS, COUNTERS, DECIMALS, RATES, PAGES, DOUBLES, MIX, SHARES, KINDS };
static const char *const kind_names[] = {"constants", "counters",     "two decimals", "k/60 rates",
                                         "pages",     "true doubles", "mix",          "CPU shares"};

/* A new series of n points. */
static void add_series(struct series_values *s, enum kind kind, uint32_t n)
{
    static const double constants[] = {0, 0, 1, 100, 25276502016, 0.25, 44.83};
    double constant = constants[rnd() % ARRAY_LEN(constants)], level = floor(uniform() * 1e6);
    double rate = uniform() * 1e3, gauge = uniform() * 100, scale = uniform() * 100;
    for (uint32_t i = 0; i < n; i++) {
        level += floor(rate * (0.8 + 0.4 * uniform()));
        gauge = fmin(100, fmax(0, gauge + 4 * uniform() - 2));
        switch (kind) {
        case CONSTANTS:
            series_values_add(s, constant);
            break;
        case COUNTERS:
            series_values_add(s, level);
            break;
        case DECIMALS:
            series_values_add(s, round(gauge * 100) / 100);
            break;
        case RATES:
            series_values_add(s, floor(rate * (30 + 60 * uniform())) / 60);
            break;
        case PAGES:
            series_values_add(s, 4096 * floor(1e6 + gauge * 100));
            break;
        case SHARES:
            series_values_add(s, 100.0 * floor(gauge * 60 + 1) / floor(5995 + 10 * uniform()));
            break;
        default:
            series_values_add(s, scale * (0.5 + uniform()));
        }
    }
}

static void generate(struct blocks *b, enum kind kind, uint32_t slots)
{
    static const enum kind mixture[] = {CONSTANTS, COUNTERS, DECIMALS, RATES, PAGES,
                                        CONSTANTS, COUNTERS, DECIMALS, RATES, DOUBLES};
    for (uint32_t i = 0; b->values.n < POINTS; i++) {
        add_series(&b->values, kind == MIX ? mixture[i % ARRAY_LEN(mixture)] : kind, slots);
        blocks_end(b, slots);
    }
}

static void cut(struct blocks *b, const struct recording *r, uint32_t slots)
{
    for (size_t s = 0; s < r->n; s++)
        for (size_t at = 0, n; at < r->series[s].n; at += n) {
            n = r->series[s].n - at < slots ? r->series[s].n - at : slots;
            for (size_t i = 0; i < n; i++)
                series_values_add(&b->values, r->series[s].value[at + i]);
            blocks_end(b, (uint32_t)n);
        }
}

struct result {
    double encode, decode, bits; /* million points a second; bits a point */
    size_t formats[CODEC_FORMATS_MAX];
};

static void run_encode(const struct blocks *b, const uint64_t *all, struct buf *out, uint32_t *end)
{
    buf_clear(out);
    size_t at = 0;
    for (size_t i = 0; i < b->n; at += b->slots[i++]) {
        struct codec_in in = {b->slots[i], all, b->values.value + at};
        uint64_t last[SLOTS_WORDS(SLOTS_LIMIT)];
        if (in.n % 64) {
            memcpy(last, all, SLOTS_WORDS(in.n) * 8);
            last[in.n / 64] = (1ull << in.n % 64) - 1;
            in.present = last;
        }
        codec_encode(&in, out);
        end[i] = (uint32_t)out->len;
    }
}

static void run_decode(const struct blocks *b, const struct buf *in, const uint32_t *end)
{
    static double value[SLOTS_LIMIT];
    uint64_t present[SLOTS_WORDS(SLOTS_LIMIT)];
    uint32_t start = 0;
    for (size_t i = 0; i < b->n; start = end[i++])
        if (codec_decode(in->data + start, end[i] - start, b->slots[i], present, value, NULL) < 0)
            abort();
}

static struct result run(const struct blocks *b)
{
    struct result r = {0};
    struct buf out = BUF_INIT;
    uint64_t all[SLOTS_WORDS(SLOTS_LIMIT)];
    uint32_t *end = xmalloc(b->n * sizeof *end);
    memset(all, 0xff, sizeof all);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t t0 = cpu_us();
        run_encode(b, all, &out, end);
        int64_t t1 = cpu_us();
        run_decode(b, &out, end);
        int64_t t2 = cpu_us();
        r.encode = fmax(r.encode, (double)b->values.n / (double)(t1 - t0 + 1));
        r.decode = fmax(r.decode, (double)b->values.n / (double)(t2 - t1 + 1));
    }
    r.bits = (double)out.len * 8 / (double)b->values.n;
    for (size_t i = 0; i < b->n; i++)
        r.formats[out.data[i ? end[i - 1] : 0] % CODEC_FORMATS_MAX]++;
    buf_release(&out);
    free(end);
    return r;
}

static void report(const char *name, struct blocks *b, uint32_t slots)
{
    struct result r = run(b);
    printf("%-14s %6u %10zu %9.1f %9.1f %9.3f %8.2f  ", name, slots, b->values.n, r.encode, r.decode,
           r.bits / 8, r.bits);
    for (unsigned f = 0; f < CODEC_FORMATS_MAX; f++)
        if (r.formats[f])
            printf(" %s %.0f%%", codec_format_name(f), 100.0 * (double)r.formats[f] / (double)b->n);
    printf("\n");
    free(b->values.value);
    free(b->slots);
}

int main(void)
{
    static const uint32_t sizes[] = {16, 60, 240, 1440};
    static const char *const files[] = {"host.txt.gz", "nab.txt"};
    printf("%-14s %6s %10s %9s %9s %9s %8s   %s\n", "data", "slots", "points", "enc M/s", "dec M/s",
           "bytes/pt", "bits/pt", "blocks by format");
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
            struct blocks b = {0};
            generate(&b, (enum kind)kind, sizes[s]);
            report(kind_names[kind], &b, sizes[s]);
        }
    for (size_t f = 0; f < ARRAY_LEN(files); f++) {
        struct recording *r = recording_load(files[f]);
        for (size_t s = 0; r && s < ARRAY_LEN(sizes); s++) {
            struct blocks b = {0};
            cut(&b, r, sizes[s]);
            report(files[f], &b, sizes[s]);
        }
        recording_free(r);
    }
    return 0;
}
