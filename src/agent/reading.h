/* One look at the machine, and the metrics two looks make, with the names mackerel-agent gives them. */
#ifndef CARAT_AGENT_READING_H
#define CARAT_AGENT_READING_H

#include "agent/proc.h"

#include <stdbool.h>

struct reading_fs {
    char name[PROC_NAME_MAX];
    uint64_t size_bytes, used_bytes;
};

/* What could not be read is marked absent and simply makes no metrics. */
struct reading {
    int64_t mono_us; /* when */
    bool has_load, has_cpu, has_memory;
    double load[3];
    struct proc_cpu cpu;
    struct proc_memory memory;
    struct proc_devices disks, interfaces;
    size_t nfs;
    struct reading_fs fs[PROC_DEVICES_MAX];
};

/* Looks now: files under proc_dir ("/proc"), and statvfs on the mounts they tell of. */
void reading_take(struct reading *r, const char *proc_dir, int64_t mono_us);

/* Name and finite value of each metric. `before` may be NULL: no rates then. Counters that went back (a
 * reboot, a device taken out and in) make no metric. Pure. */
typedef void (*reading_metric_fn)(void *ctx, const char *name, double value);
void reading_metrics(const struct reading *before, const struct reading *now, reading_metric_fn fn,
                     void *ctx);

#endif
