/* Readers of what Linux tells about the machine: pure functions over the bytes of /proc files. Lines that
 * are not as expected are passed over; a list ends at its bound. Nothing is allocated. */
#ifndef CARAT_AGENT_PROC_H
#define CARAT_AGENT_PROC_H

#include <stddef.h>
#include <stdint.h>

#define PROC_DEVICES_MAX 256
#define PROC_NAME_MAX    64
#define PROC_PATH_MAX    256

/* Every byte that cannot be in a level of a metric's name becomes '_' ([A-Za-z0-9_-] stays). */
void proc_sanitise(char *name);

/* /proc/loadavg. 0, or -1 if it is not one. */
int proc_parse_loadavg(const char *s, size_t n, double load[3]);

enum proc_cpu_field {
    CPU_USER, /* includes guest, as the kernel counts */
    CPU_NICE,
    CPU_SYSTEM,
    CPU_IDLE,
    CPU_IOWAIT,
    CPU_IRQ,
    CPU_SOFTIRQ,
    CPU_STEAL,
    CPU_GUEST,
    CPU_FIELDS
};
/* /proc/stat: ticks since boot, all processors together. */
struct proc_cpu {
    uint64_t ticks[CPU_FIELDS];
    unsigned fields; /* how many this kernel has */
    unsigned cpus;
};
int proc_parse_stat(const char *s, size_t n, struct proc_cpu *out);

/* /proc/meminfo, in bytes. */
struct proc_memory {
    uint64_t total, available, swap_total, swap_free, swap_cached;
};
/* A kernel without MemAvailable: free + buffers + cached stand for it. -1 if the total is missing. */
int proc_parse_meminfo(const char *s, size_t n, struct proc_memory *out);

/* Two counters of a device; its name is sanitised. */
struct proc_counters {
    char name[PROC_NAME_MAX];
    uint64_t a, b;
};
struct proc_devices {
    size_t n;
    struct proc_counters v[PROC_DEVICES_MAX];
};
/* /proc/diskstats: reads and writes completed. Devices that never did anything are left out. */
void proc_parse_diskstats(const char *s, size_t n, struct proc_devices *out);
/* /proc/net/dev: bytes received and sent. The loopback and veth interfaces are left out. */
void proc_parse_net_dev(const char *s, size_t n, struct proc_devices *out);

/* /proc/mounts: file systems on a device under /dev, each device once (where it is mounted first). */
struct proc_mount {
    char name[PROC_NAME_MAX]; /* the device without /dev/, sanitised */
    char path[PROC_PATH_MAX]; /* the mount point, its octal escapes undone */
};
struct proc_mounts {
    size_t n;
    struct proc_mount v[PROC_DEVICES_MAX];
};
void proc_parse_mounts(const char *s, size_t n, struct proc_mounts *out);

#endif
