/* The catalog at N series (default 1 million, 20k hosts): new names, known names, memory, finds, flush and
 * load. Usage: bench_catalog [series [directory for the SQLite file]] */
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/catalog_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 4000, METRICS = 50 };

struct names {
    struct sample *v;
    size_t n;
    struct arena text;
};

/* 50 series a host, as an agent sends them: 40 of cpu (4 cpus), 10 others. Names of about 45 bytes. */
static void metric_name(char *out, size_t size, unsigned host, unsigned m)
{
    static const char *const mode[] = {"user",    "system", "idle",  "iowait",     "irq",
                                       "softirq", "steal",  "guest", "percentage", "frequency"};
    static const char *const other[] = {"memory.main.used_bytes",     "memory.main.free_bytes",
                                        "memory.swap.used_bytes",     "loadavg.one_minute.value",
                                        "disk.sda1.read_bytes",       "disk.sda1.written_bytes",
                                        "filesystem.root.used_bytes", "interface.eth0.received_bytes",
                                        "interface.eth0.sent_bytes",  "processes.all.running"};
    if (m < 40)
        snprintf(out, size, "servers.web-frontend-%05u.cpu.cpu-%02u.%s", host, m / 10, mode[m % 10]);
    else
        snprintf(out, size, "servers.web-frontend-%05u.%s", host, other[m - 40]);
}

static struct names make_names(size_t n)
{
    struct names x = {xmalloc(n * sizeof *x.v), n, {NULL, 0, 1 << 20}};
    for (size_t i = 0; i < n; i++) {
        char name[128];
        metric_name(name, sizeof name, (unsigned)(i / METRICS), (unsigned)(i % METRICS));
        size_t len = strlen(name);
        x.v[i] = (struct sample){.name = arena_strndup(&x.text, name, len),
                                 .name_len = (uint32_t)len,
                                 .hash = hash_bytes(name, len)};
    }
    return x;
}

static double now(void)
{
    return (double)clock_mono_us(clock_system()) / 1e6;
}

/* Processor time of this thread: what others do on the machine matters less. */
static double busy(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Seconds for all names, and of the slowest batch. */
static double resolve_all(struct catalog *c, const struct names *x, double *slowest)
{
    static struct catalog_entry out[BATCH];
    double start = busy();
    *slowest = 0;
    for (size_t i = 0; i < x->n; i += BATCH) {
        double t = busy();
        catalog_resolve(c, x->v + i, x->n - i < BATCH ? x->n - i : BATCH, out);
        t = busy() - t;
        *slowest = t > *slowest ? t : *slowest;
    }
    return busy() - start;
}

/* The names in another order, laid out as a receive buffer would have them. `run` neighbours stay together.
 */
static struct names shuffled(const struct names *x, size_t run)
{
    struct names y = {xmalloc(x->n * sizeof *y.v), x->n, {NULL, 0, 1 << 20}};
    uint32_t *order = xmalloc((x->n / run + 1) * sizeof *order);
    size_t runs = x->n / run;
    uint64_t r = 88172645463325252ull;
    for (size_t i = 0; i < runs; i++)
        order[i] = (uint32_t)i;
    for (size_t i = runs; i > 1; i--) {
        r ^= r << 13, r ^= r >> 7, r ^= r << 17;
        uint32_t t = order[i - 1];
        order[i - 1] = order[r % i];
        order[r % i] = t;
    }
    y.n = 0;
    for (size_t i = 0; i < runs; i++)
        for (size_t k = 0; k < run; k++) {
            struct sample s = x->v[order[i] * run + k];
            s.name = arena_strndup(&y.text, s.name, s.name_len);
            y.v[y.n++] = s;
        }
    free(order);
    return y;
}

static void names_release(struct names *x)
{
    free(x->v);
    arena_release(&x->text);
}

static void show_resolve(struct catalog *c, const struct names *x, const char *what)
{
    double best = 1e9, slowest, worst = 0;
    for (int i = 0; i < 6; i++) {
        double t = resolve_all(c, x, &slowest);
        best = t < best ? t : best;
        worst = slowest > worst ? slowest : worst;
    }
    printf("%-34s %8.1f ns/sample   slowest batch %.2f ms\n", what, best * 1e9 / (double)x->n, worst * 1e3);
}

static int count_node(void *ctx, const struct catalog_node *node)
{
    ++*(size_t *)ctx;
    return 0;
}

static void show_find(struct catalog *c, const char *pattern)
{
    double best = 1e9;
    size_t found = 0;
    struct err err = ERR_INIT;
    for (int i = 0; i < 20; i++) {
        found = 0;
        double t = busy();
        if (catalog_find(c, pattern, strlen(pattern), 0, count_node, &found, &err) < 0)
            printf("%s\n", err.text);
        t = busy() - t;
        best = t < best ? t : best;
    }
    printf("find %-46s %8.2f ms  %8zu nodes\n", pattern, best * 1e3, found);
}

static void show_flush_and_load(struct catalog *c, const char *path)
{
    struct err err = ERR_INIT;
    double t = now();
    if (catalog_flush(c, &err) < 0)
        printf("%s\n", err.text);
    printf("%-34s %8.2f s\n", "flush to the store", now() - t);
    struct catalog_options o = {0};
    struct catalog *again;
    t = now();
    if (catalog_store_sqlite_open(path, &o.store, &err) < 0 || catalog_open(&o, &again, &err) < 0) {
        printf("%s\n", err.text);
        return;
    }
    printf("%-34s %8.2f s\n", "open from the store", now() - t);
    catalog_free(again);
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    struct err err = ERR_INIT;
    struct catalog_options o = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/bench_catalog.db", argc > 2 ? argv[2] : "/tmp");
    unlink(path);
    struct catalog *c;
    if (catalog_store_sqlite_open(path, &o.store, &err) < 0 || catalog_open(&o, &c, &err) < 0) {
        printf("%s\n", err.text);
        return 1;
    }
    struct names x = make_names(n);
    uint64_t before = resident_bytes();
    double slowest, t = resolve_all(c, &x, &slowest);
    printf("%-34s %8.1f ns/sample   slowest batch %.2f ms\n", "new names", t * 1e9 / (double)n,
           slowest * 1e3);
    size_t found = 0;
    t = busy();
    int rc = catalog_find(c, "servers.nosuch", 14, 0, count_node, &found, &err);
    printf("%-34s %8.1f ns/series %s\n", "into the tree (first find)", (busy() - t) * 1e9 / (double)n,
           rc < 0 ? err.text : "");
    show_resolve(c, &x, "known names, same order");
    struct names hosts = shuffled(&x, METRICS), mixed = shuffled(&x, 1);
    show_resolve(c, &hosts, "known names, hosts in random order");
    show_resolve(c, &mixed, "known names, random order");
    show_resolve(c, &x, "known names, same order");
    names_release(&hosts);
    names_release(&mixed);
    show_find(c, "servers.*.cpu.*.percentage");
    show_find(c, "servers.*");
    show_find(c, "servers.web-frontend-00?1*.cpu.cpu-0{0,1}.user");
    show_find(c, "servers.web-frontend-00017.**");
    show_find(c, "**.percentage");
    show_find(c, "**");
    show_flush_and_load(c, path);
    printf("%-34s %8.1f bytes/series, resident %.1f\n", "memory", (double)catalog_memory_bytes(c) / (double)n,
           (double)(resident_bytes() - before) / (double)n);
    catalog_free(c);
    names_release(&x);
    const char *suffix[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < ARRAY_LEN(suffix); i++) {
        char file[600];
        snprintf(file, sizeof file, "%s%s", path, suffix[i]);
        unlink(file);
    }
    return 0;
}
