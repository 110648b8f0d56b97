/* How long queries take without the database: parsing, functions and formats over series in memory.
 *   bench_query [SERIES] [POINTS]     default 1000 series of 2880 one-minute points with two decimals */
#include "base/clock.h"
#include "query/format.h"
#include "query/query.h"

#include "unit/query_mem.h"

#include <math.h>
#include <stdio.h>

static int64_t now_us(void)
{
    return clock_mono_us(clock_system());
}

static void fill(struct mem_source *m, size_t series, size_t points)
{
    uint64_t r = 1;
    mem_init(m);
    for (size_t i = 0; i < series; i++) {
        char name[64];
        snprintf(name, sizeof name, "servers.web-%04zu.cpu.user", i);
        size_t at = mem_add(m, name, 60, 0);
        double v = (double)(i % 100);
        m->v[at].values = xmalloc(points * sizeof(double));
        m->v[at].n = points;
        for (size_t k = 0; k < points; k++) {
            r = r * 6364136223846793005ull + 1442695040888963407ull;
            v += (double)((int64_t)(r >> 33) % 21 - 10) / 100;
            m->v[at].values[k] = round(v * 100) / 100;
        }
    }
}

/* Time of the query and of writing its answer, best of three; the answer's size. */
static void measure(struct mem_source *m, size_t points, const char *target, const char *format)
{
    struct query_env env = {.source = &m->base};
    int64_t until = (int64_t)points * 60, run_us = INT64_MAX, write_us = INT64_MAX;
    struct query_request q = {
        .targets = &target, .ntargets = 1, .from_s = until / 2, .until_s = until - 60, .now_s = until};
    struct format_options o = {0};
    size_t bytes = 0, values = 0;
    for (int i = 0; i < 3; i++) {
        struct query_result r;
        struct err err = ERR_INIT;
        struct buf b = BUF_INIT;
        int64_t began = now_us();
        if (query_run(&env, &q, &r, &err) < 0) {
            fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
        int64_t ran = now_us();
        values = 0;
        for (size_t k = 0; k < r.n; k++)
            values += r.series[k]->n;
        if (format_find(format)->write(&r, &o, &b, &err) < 0)
            exit(1);
        int64_t wrote = now_us();
        run_us = ran - began < run_us ? ran - began : run_us;
        write_us = wrote - ran < write_us ? wrote - ran : write_us;
        bytes = b.len;
        buf_release(&b);
        query_result_release(&r);
    }
    printf("%-52s %-8s %9.2f ms %9.2f ms %10zu bytes %6.1f ns a value written\n", target, format,
           (double)run_us / 1000, (double)write_us / 1000, bytes,
           values ? (double)write_us * 1000 / (double)values : 0);
}

int main(int argc, char **argv)
{
    size_t series = argc > 1 ? (size_t)atol(argv[1]) : 1000, points = argc > 2 ? (size_t)atol(argv[2]) : 2880;
    struct mem_source m;
    static const char *const targets[] = {
        "servers.*.cpu.user",
        "sumSeries(servers.*.cpu.user)",
        "maxSeries(servers.*.cpu.user)",
        "groupByNode(servers.*.cpu.user,1,'sum')",
        "scale(servers.*.cpu.user,0.1)",
        "movingAverage(servers.*.cpu.user,60)",
        "movingMax(servers.*.cpu.user,60)",
        "movingMedian(servers.web-000*.cpu.user,60)",
        "summarize(servers.*.cpu.user,'1h','avg')",
        "percentileOfSeries(servers.*.cpu.user,95)",
        "aliasByNode(highestAverage(servers.*.cpu.user,10),1)",
    };
    fill(&m, series, points);
    printf("%zu series of %zu points, half of the range read\n%-61s %12s %12s\n", series, points, "", "query",
           "format");
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        measure(&m, points, targets[i], "json");
    measure(&m, points, targets[0], "raw");
    measure(&m, points, targets[0], "msgpack");
    mem_release(&m);
    return 0;
}
