/* The readers of /proc over any bytes: bounds hold, names are levels of a metric's name, paths end. */
#include "agent/proc.h"
#include "agent/reading.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *name)
{
    char copy[PROC_NAME_MAX];
    size_t n = strnlen(name, PROC_NAME_MAX);
    assert(n > 0 && n < PROC_NAME_MAX);
    memcpy(copy, name, n + 1);
    proc_sanitise(copy);
    assert(!strcmp(copy, name));
}

static void check_devices(const struct proc_devices *d)
{
    assert(d->n <= PROC_DEVICES_MAX);
    for (size_t i = 0; i < d->n; i++)
        check_name(d->v[i].name);
}

static void check_metric(void *ctx, const char *name, double value)
{
    assert(isfinite(value) && value >= 0 && strlen(name) > 3);
}

/* The same bytes as every file; the second half of them as the later reading. */
static void fill(struct reading *r, const char *s, size_t n, int64_t mono_us)
{
    struct proc_mounts *m = malloc(sizeof *m);
    memset(r, 0, sizeof *r);
    r->mono_us = mono_us;
    r->has_load = proc_parse_loadavg(s, n, r->load) == 0;
    r->has_cpu = proc_parse_stat(s, n, &r->cpu) == 0;
    r->has_memory = proc_parse_meminfo(s, n, &r->memory) == 0;
    proc_parse_diskstats(s, n, &r->disks);
    check_devices(&r->disks);
    proc_parse_net_dev(s, n, &r->interfaces);
    check_devices(&r->interfaces);
    proc_parse_mounts(s, n, m);
    assert(m->n <= PROC_DEVICES_MAX);
    for (size_t i = 0; i < m->n; i++) {
        check_name(m->v[i].name);
        assert(strnlen(m->v[i].path, PROC_PATH_MAX) < PROC_PATH_MAX && m->v[i].path[0]);
    }
    free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *s = (const char *)data;
    struct reading *before = malloc(sizeof *before), *now = malloc(sizeof *now);
    fill(before, s, size / 2, 1);
    fill(now, s + size / 2, size - size / 2, 60000001);
    reading_metrics(before, now, check_metric, NULL);
    fill(now, s, size, 60000001);
    reading_metrics(before, now, check_metric, NULL);
    free(before);
    free(now);
    return 0;
}
