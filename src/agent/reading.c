#include "agent/reading.h"

#include "base/buf.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1u << 20)

/* A whole file of /proc; empty if it cannot be read. */
static void read_file(struct buf *b, const char *dir, const char *name)
{
    char path[512];
    buf_clear(b);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    while (b->len < FILE_BYTES_MAX) {
        ssize_t got = read(fd, buf_reserve(b, 16384), 16384);
        if (got <= 0)
            break;
        b->len += (size_t)got;
    }
    close(fd);
}

static void take_filesystems(struct reading *r, const struct proc_mounts *mounts)
{
    r->nfs = 0;
    for (size_t i = 0; i < mounts->n; i++) {
        struct statvfs v;
        if (statvfs(mounts->v[i].path, &v) < 0 || v.f_blocks == 0)
            continue;
        struct reading_fs *f = &r->fs[r->nfs++];
        memcpy(f->name, mounts->v[i].name, sizeof f->name);
        f->size_bytes = (uint64_t)v.f_blocks * v.f_frsize;
        f->used_bytes = (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize;
    }
}

void reading_take(struct reading *r, const char *proc_dir, int64_t mono_us)
{
    struct buf b = BUF_INIT;
    struct proc_mounts mounts;
    r->mono_us = mono_us;
    read_file(&b, proc_dir, "loadavg");
    r->has_load = proc_parse_loadavg(buf_str(&b), b.len, r->load) == 0;
    read_file(&b, proc_dir, "stat");
    r->has_cpu = proc_parse_stat(buf_str(&b), b.len, &r->cpu) == 0;
    read_file(&b, proc_dir, "meminfo");
    r->has_memory = proc_parse_meminfo(buf_str(&b), b.len, &r->memory) == 0;
    read_file(&b, proc_dir, "diskstats");
    proc_parse_diskstats(buf_str(&b), b.len, &r->disks);
    read_file(&b, proc_dir, "net/dev");
    proc_parse_net_dev(buf_str(&b), b.len, &r->interfaces);
    read_file(&b, proc_dir, "mounts");
    proc_parse_mounts(buf_str(&b), b.len, &mounts);
    take_filesystems(r, &mounts);
    buf_release(&b);
}

struct out {
    reading_metric_fn fn;
    void *ctx;
};

static void put(struct out *o, const char *group, const char *device, const char *metric, double value)
{
    char name[PROC_NAME_MAX + 64];
    snprintf(name, sizeof name, "%s%s%s%s%s", group, *device ? "." : "", device, *metric ? "." : "", metric);
    if (isfinite(value))
        o->fn(o->ctx, name, value);
}

/* Per cent of one processor's time, so the sum is 100 times the number of processors. Guest time is within
 * user (and is shown apart); iowait may go back, which the kernel documents, and counts as nothing. */
static void put_cpu(struct out *o, const struct proc_cpu *a, const struct proc_cpu *b)
{
    static const char *const names[CPU_FIELDS] = {"user", "nice",    "system", "idle", "iowait",
                                                  "irq",  "softirq", "steal",  "guest"};
    double diff[CPU_FIELDS] = {0}, total = 0;
    unsigned fields = a->fields < b->fields ? a->fields : b->fields;
    for (unsigned i = 0; i < fields; i++)
        diff[i] = b->ticks[i] > a->ticks[i] ? (double)(b->ticks[i] - a->ticks[i]) : 0;
    for (unsigned i = 0; i < fields && i < CPU_GUEST; i++)
        total += diff[i];
    diff[CPU_USER] = diff[CPU_USER] > diff[CPU_GUEST] ? diff[CPU_USER] - diff[CPU_GUEST] : 0;
    for (unsigned i = 0; i < fields && total > 0; i++)
        put(o, "cpu", names[i], "percentage", diff[i] * b->cpus * 100 / total);
}

static void put_memory(struct out *o, const struct proc_memory *m)
{
    put(o, "memory", "total", "", (double)m->total);
    put(o, "memory", "available", "", (double)m->available);
    put(o, "memory", "used", "", m->total > m->available ? (double)(m->total - m->available) : 0);
    put(o, "memory", "swap_total", "", (double)m->swap_total);
    put(o, "memory", "swap_cached", "", (double)m->swap_cached);
    put(o, "memory", "swap_used", "",
        m->swap_total > m->swap_free ? (double)(m->swap_total - m->swap_free) : 0);
}

static const struct proc_counters *find_device(const struct proc_devices *d, const char *name)
{
    for (size_t i = 0; i < d->n; i++)
        if (!strcmp(d->v[i].name, name))
            return &d->v[i];
    return NULL;
}

static void put_rates(struct out *o, const char *group, const char *name_a, const char *name_b,
                      const struct proc_devices *before, const struct proc_devices *now, double seconds)
{
    for (size_t i = 0; i < now->n; i++) {
        const struct proc_counters *n = &now->v[i], *b = find_device(before, n->name);
        if (b && n->a >= b->a)
            put(o, group, n->name, name_a, (double)(n->a - b->a) / seconds);
        if (b && n->b >= b->b)
            put(o, group, n->name, name_b, (double)(n->b - b->b) / seconds);
    }
}

void reading_metrics(const struct reading *before, const struct reading *now, reading_metric_fn fn, void *ctx)
{
    struct out o = {fn, ctx};
    static const char *const loads[] = {"loadavg1", "loadavg5", "loadavg15"};
    for (size_t i = 0; now->has_load && i < 3; i++)
        put(&o, loads[i], "", "", now->load[i]);
    if (now->has_memory)
        put_memory(&o, &now->memory);
    for (size_t i = 0; i < now->nfs; i++) {
        put(&o, "filesystem", now->fs[i].name, "size", (double)now->fs[i].size_bytes);
        put(&o, "filesystem", now->fs[i].name, "used", (double)now->fs[i].used_bytes);
    }
    double seconds = before ? (double)(now->mono_us - before->mono_us) / 1e6 : 0;
    if (seconds <= 0)
        return;
    if (before->has_cpu && now->has_cpu)
        put_cpu(&o, &before->cpu, &now->cpu);
    put_rates(&o, "disk", "reads.delta", "writes.delta", &before->disks, &now->disks, seconds);
    put_rates(&o, "interface", "rxBytes.delta", "txBytes.delta", &before->interfaces, &now->interfaces,
              seconds);
}
