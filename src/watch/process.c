#include "watch/process.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A number of /proc/self/status, which has lines as "VmRSS:     1234 kB". */
static double status_number(const char *key)
{
    char line[256];
    double v = 0;
    FILE *f = fopen("/proc/self/status", "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)) && sscanf(line + strlen(key), ": %lf", &v) == 1)
            break;
    fclose(f);
    return v;
}

static double resident_bytes(void *ctx)
{
    return status_number("VmRSS") * 1024;
}

static double threads(void *ctx)
{
    return status_number("Threads");
}

static double heap_bytes(void *ctx)
{
    struct mallinfo2 m = mallinfo2();
    return (double)(m.uordblks + m.hblkhd);
}

static double heap_free_bytes(void *ctx)
{
    return (double)mallinfo2().fordblks;
}

static double open_files(void *ctx)
{
    DIR *d = opendir("/proc/self/fd");
    int n = -1; /* the directory itself */
    if (!d)
        return 0;
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static struct rusage usage(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u;
}

static double minor_faults(void *ctx)
{
    return (double)usage().ru_minflt;
}
static double major_faults(void *ctx)
{
    return (double)usage().ru_majflt;
}
static double waits(void *ctx)
{
    return (double)usage().ru_nvcsw;
}
static double preemptions(void *ctx)
{
    return (double)usage().ru_nivcsw;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}
static double user_seconds(void *ctx)
{
    return seconds(usage().ru_utime);
}
static double system_seconds(void *ctx)
{
    return seconds(usage().ru_stime);
}

void process_metrics_register(struct metrics *m)
{
    static const struct {
        const char *name, *labels, *help, *type;
        double (*fn)(void *ctx);
    } list[] = {
        {"carat_process_resident_bytes", NULL, "Memory of the process.", "gauge", resident_bytes},
        {"carat_process_heap_bytes", NULL, "Memory the allocator has given out.", "gauge", heap_bytes},
        {"carat_process_heap_free_bytes", NULL, "Memory the allocator keeps for later.", "gauge",
         heap_free_bytes},
        {"carat_process_open_files", NULL, "Open file descriptors.", "gauge", open_files},
        {"carat_process_threads", NULL, "Threads.", "gauge", threads},
        {"carat_process_page_faults_total", "kind=\"minor\"", "Page faults.", "counter", minor_faults},
        {"carat_process_page_faults_total", "kind=\"major\"", "Page faults.", "counter", major_faults},
        {"carat_process_switches_total", "kind=\"wait\"", "Times a thread left its core.", "counter", waits},
        {"carat_process_switches_total", "kind=\"preempted\"", "Times a thread left its core.", "counter",
         preemptions},
        {"carat_process_cpu_seconds_total", "mode=\"user\"", "CPU time of the process.", "counter",
         user_seconds},
        {"carat_process_cpu_seconds_total", "mode=\"system\"", "CPU time of the process.", "counter",
         system_seconds},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        metrics_gauge_fn(m, list[i].name, list[i].labels, list[i].help, list[i].type, list[i].fn, NULL);
}
