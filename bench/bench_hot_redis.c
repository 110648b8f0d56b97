/* Ways to write one cell and the position of each of many windows into a Redis Cluster, and the hot tier that
 * uses the best of them.
 *
 *   python3 tests/system/with_server.py redis build/bench/bench_hot_redis [series [rounds]]
 *
 * lua: a script over 100 windows of a host that compares the position, then sets cell and position. setrange:
 * two SETRANGE a window, nothing compared. bitfield: one BITFIELD a window, which answers with the old
 * position. apply: hot_apply() of records of 10,000 points. Redis' CPU is that of the masters, replication
 * included. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "hot/hot_redis.h"
#include "redis/redis_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST   100   /* series of a host */
#define RECORD 10000 /* points in a batch */
#define BYTES  (24 + 8 * 240)

static const char script[] = "local old = {} for i = 1, #KEYS do local k = KEYS[i] if redis.call('GETRANGE', "
                             "k, 16, 23) ~= ARGV[1] then "
                             "old[#old + 1] = i else redis.call('SETRANGE', k, ARGV[3], ARGV[3 + i]) "
                             "redis.call('SETRANGE', k, 16, ARGV[2]) "
                             "end end return old";

static struct redis_cluster *cluster;

static void die(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    exit(1);
}

static char *nodes(void)
{
    const char *all = getenv("CARAT_TEST_REDIS");
    if (!all) {
        fprintf(stderr, "run me by tests/system/with_server.py redis\n");
        exit(2);
    }
    return xstrndup(all, (size_t)(strchr(strchr(all, ':') + 1, ':') - all));
}

static void check_reply(void *ctx, size_t i, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "%s\n", reply->str);
        exit(1);
    }
    if (ctx && reply->type == REDIS_REPLY_STRING)
        for (const char *p = reply->str; (p = strstr(p, "used_cpu_")); p++)
            if (strncmp(p, "used_cpu_user:", 14) == 0 || strncmp(p, "used_cpu_sys:", 13) == 0)
                *(double *)ctx += strtod(strchr(p, ':') + 1, NULL);
}

static void run(struct redis_batch *b)
{
    struct err err = ERR_INIT;
    if (redis_cluster_exec(cluster, b, REDIS_FOLLOW, check_reply, NULL, &err) != OK)
        die("redis", &err);
    redis_batch_clear(b);
}

static double masters_cpu(void)
{
    unsigned masters[16];
    struct redis_batch b = REDIS_BATCH_INIT;
    struct err err = ERR_INIT;
    double cpu = 0;
    size_t n = redis_cluster_masters(cluster, masters, 16);
    redis_batch_begin(&b, 0, 2);
    redis_batch_str(&b, "INFO");
    redis_batch_str(&b, "cpu");
    for (size_t i = 0; i < n; i++)
        if (redis_cluster_exec_on(cluster, masters[i], &b, check_reply, &cpu, &err) != OK)
            die("redis", &err);
    redis_batch_release(&b);
    return cpu;
}

static size_t key_of(char key[96], uint32_t series)
{
    return (size_t)sprintf(key, "b:60000:{host.h%04u}.custom.metric.%02u:1756728000000/0", series / HOST,
                           series % HOST);
}

static void put(struct redis_batch *b, const char *way, uint32_t series, uint64_t pos)
{
    char key[96], text[32];
    size_t n = key_of(key, series);
    uint16_t slot = redis_slot(key, n);
    uint8_t cell[8], at[8], old[8];
    put_u64be(cell, 0x4045000000000000ull + series * 977 + pos);
    put_u64be(at, pos);
    put_u64be(old, pos - 1);
    snprintf(text, sizeof text, "%llu", (unsigned long long)(24 + 8 * (pos % 240)));
    if (strcmp(way, "make") == 0) {
        static const uint8_t zero[BYTES];
        redis_batch_begin(b, slot, 3);
        redis_batch_str(b, "SET");
        redis_batch_arg(b, key, n);
        redis_batch_arg(b, zero, sizeof zero);
    } else if (strcmp(way, "setrange") == 0) {
        for (int i = 0; i < 2; i++) {
            redis_batch_begin(b, slot, 4);
            redis_batch_str(b, "SETRANGE");
            redis_batch_arg(b, key, n);
            redis_batch_str(b, i ? "16" : text);
            redis_batch_arg(b, i ? at : cell, 8);
        }
    } else if (strcmp(way, "bitfield") == 0) {
        redis_batch_begin(b, slot, 10);
        redis_batch_str(b, "BITFIELD");
        redis_batch_arg(b, key, n);
        for (int i = 0; i < 2; i++) {
            redis_batch_str(b, "SET");
            redis_batch_str(b, "i64");
            redis_batch_numbered(b, '#', i ? 3 + (uint32_t)(pos % 240) : 2);
            redis_batch_i64(b, (int64_t)get_u64be(i ? cell : at));
        }
    } else if (series % HOST == 0) { /* lua: all of a host */
        redis_batch_begin(b, slot, 3 + HOST + 3 + HOST);
        redis_batch_str(b, "EVAL"); /* the text is short beside the keys */
        redis_batch_str(b, script);
        redis_batch_i64(b, HOST);
        for (uint32_t i = 0; i < HOST; i++)
            redis_batch_arg(b, key, key_of(key, series + i));
        redis_batch_arg(b, old, 8);
        redis_batch_arg(b, at, 8);
        redis_batch_str(b, text);
        for (uint32_t i = 0; i < HOST; i++)
            redis_batch_arg(b, cell, 8);
    }
}

static void report(const char *way, uint64_t cells, int64_t us, double cpu)
{
    printf("%-9s %6.3f M cells/s, masters' CPU %.2f us a cell\n", way, (double)cells / (double)us,
           cpu * 1e6 / (double)cells);
}

static void measure(const char *way, uint32_t series, uint64_t rounds)
{
    struct redis_batch b = REDIS_BATCH_INIT;
    for (uint32_t s = 0; s < series; s++)
        put(&b, "make", s, 1);
    run(&b);
    double cpu = masters_cpu();
    int64_t start = clock_mono_us(clock_system());
    for (uint64_t r = 1; r <= rounds; r++)
        for (uint32_t s = 0; s < series; s++) {
            put(&b, way, s, r);
            if ((s + 1) % RECORD == 0 || s + 1 == series)
                run(&b);
        }
    report(way, rounds * series, clock_mono_us(clock_system()) - start, masters_cpu() - cpu);
    redis_batch_release(&b);
}

static const char *name_of(void *ctx, uint32_t series, size_t *len)
{
    static _Thread_local char name[64];
    *len = (size_t)snprintf(name, sizeof name, "host.h%04u.custom.metric.%02u", series / HOST, series % HOST);
    return name;
}

static uint32_t series_of(void *ctx, const char *name, size_t len)
{
    return 0;
}

static void measure_apply(const char *at, uint32_t series, uint64_t rounds)
{
    const struct hot_redis_options o = {.nodes = at,
                                        .prefix = "a:",
                                        .host_levels = 2,
                                        .partitions = 1,
                                        .name_of = name_of,
                                        .series_of = series_of,
                                        .clock = clock_system()};
    struct hot_point *points = xcalloc(RECORD, sizeof *points);
    struct hot *h;
    struct err err = ERR_INIT;
    uint64_t pos = 0;
    if (hot_redis_open(&o, &h, &err) != OK)
        die("open", &err);
    double cpu = masters_cpu();
    int64_t start = clock_mono_us(clock_system());
    for (uint64_t r = 0; r <= rounds; r++) {
        if (r == 1) { /* the first round makes the windows */
            cpu = masters_cpu();
            start = clock_mono_us(clock_system());
        }
        for (uint32_t s = 0; s < series; s += RECORD) {
            size_t n = 0;
            for (uint32_t i = s; i < series && n < RECORD; i++)
                points[n++] =
                    (struct hot_point){1 + i, 60000, 1756728000000ll + (int64_t)r * 60000, (double)(i + r)};
            if (hot_apply(h, 0, ++pos, points, n, &err) != OK)
                die("apply", &err);
        }
    }
    report("apply", rounds * series, clock_mono_us(clock_system()) - start, masters_cpu() - cpu);
    hot_free(h);
    free(points);
}

int main(int argc, char **argv)
{
    uint32_t series = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 10;
    char *at = nodes();
    const struct redis_cluster_options o = {.nodes = at, .clock = clock_system()};
    struct err err = ERR_INIT;
    log_set_level(LOG_ERROR);
    if (redis_cluster_new(&o, &cluster, &err) != OK || redis_cluster_refresh(cluster, &err) != OK)
        die(at, &err);
    measure("lua", series, rounds);
    measure("setrange", series, rounds);
    measure("bitfield", series, rounds);
    measure_apply(at, series, rounds);
    redis_cluster_free(cluster);
    free(at);
    return 0;
}
