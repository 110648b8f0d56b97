#include "watch/stages.h"

#include "base/mem.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The threads of each stage, and the histogram that tells how long they were busy. */
static const struct {
    const char *thread; /* the name starts with it */
    const char *stage;
    const char *busy; /* NULL: nobody counts it */
} known[] = {
    {"carat-graphite", "ingest", NULL},
    {"MHD-", "http", NULL},
    {"carat-accept", "http", NULL},
    {"carat-sync", "stream", "carat_stream_sync_seconds"},
    {"carat-lane", "writer", "carat_writer_apply_seconds"},
    {"carat-flush", "flush", "carat_writer_flush_seconds"},
    {"carat-keep", "checkpoint", "carat_writer_checkpoint_seconds"},
    {"carat-mover", "mover", NULL},
    {"carat-query", "query", "carat_query_duration_seconds"},
    {"carat-job", "jobs", NULL},
    {"carat-scrub", "scrub", NULL},
    {"carat-watch", "watch", NULL},
    {"carat-probe", "watch", NULL},
    {"carat-agent", "agent", NULL},
    {"rocksdb", "rocksdb", NULL},
    {"", "other", NULL},
};
#define KNOWN ARRAY_LEN(known)

struct task {
    long id;
    size_t stage;
    uint64_t cpu_ns, wait_ns; /* as of the last look */
    bool seen;
};

struct stage {
    uint64_t cpu_ns, wait_ns; /* of all its threads, also of those that ended */
    uint64_t last_cpu_ns, last_busy_us;
    double cpu_ratio;
};

struct reading { /* what a function of the registry is to show */
    struct stages *s;
    size_t stage;
};

struct stages {
    struct metrics *metrics;
    struct reading reading[KNOWN];
    pthread_mutex_t mtx; /* for those who read `stage` while a look changes it */
    struct stage stage[KNOWN];
    struct task *tasks;
    size_t n, cap;
};

static size_t stage_index(const char *name)
{
    size_t i = 0;
    while (strncmp(name, known[i].thread, strlen(known[i].thread)) != 0)
        i++;
    for (size_t first = 0; first < i; first++)
        if (!strcmp(known[first].stage, known[i].stage))
            return first;
    return i;
}

const char *stage_of_thread(const char *name)
{
    return known[stage_index(name)].stage;
}

static double locked(const struct reading *r, double (*pick)(const struct stage *))
{
    pthread_mutex_lock(&r->s->mtx);
    double v = pick(&r->s->stage[r->stage]);
    pthread_mutex_unlock(&r->s->mtx);
    return v;
}
static double pick_cpu(const struct stage *s)
{
    return (double)s->cpu_ns / 1e9;
}
static double pick_wait(const struct stage *s)
{
    return (double)s->wait_ns / 1e9;
}
static double pick_ratio(const struct stage *s)
{
    return s->cpu_ratio;
}
static double cpu_seconds(void *ctx)
{
    return locked(ctx, pick_cpu);
}
static double wait_seconds(void *ctx)
{
    return locked(ctx, pick_wait);
}
static double cpu_ratio(void *ctx)
{
    return locked(ctx, pick_ratio);
}

struct stages *stages_new(struct metrics *m)
{
    struct stages *s = xcalloc(1, sizeof *s);
    s->metrics = m;
    pthread_mutex_init(&s->mtx, NULL);
    for (size_t i = 0; i < KNOWN; i++) {
        char labels[64];
        if (stage_index(known[i].thread) != i)
            continue; /* a second kind of thread of an earlier stage */
        s->reading[i] = (struct reading){s, i};
        snprintf(labels, sizeof labels, "stage=\"%s\"", known[i].stage);
        metrics_gauge_fn(m, "carat_stage_cpu_seconds_total", labels, "CPU time of a stage's threads.",
                         "counter", cpu_seconds, &s->reading[i]);
        metrics_gauge_fn(m, "carat_stage_core_wait_seconds_total", labels,
                         "Time a stage's threads were ready and waited for a core.", "counter", wait_seconds,
                         &s->reading[i]);
        if (known[i].busy)
            metrics_gauge_fn(m, "carat_stage_cpu_ratio", labels,
                             "CPU time by busy time of a stage: near 1 is CPU bound, near 0 I/O bound.",
                             "gauge", cpu_ratio, &s->reading[i]);
    }
    return s;
}

void stages_free(struct stages *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->mtx);
    free(s->tasks);
    free(s);
}

static struct task *task_of(struct stages *s, long id, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->tasks[i].id == id)
            return &s->tasks[i];
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 64;
        s->tasks = xrealloc(s->tasks, s->cap * sizeof *s->tasks);
    }
    s->tasks[s->n] = (struct task){.id = id, .stage = stage_index(name)};
    return &s->tasks[s->n++];
}

/* First line of a small file, without its newline. */
static bool read_line(const char *dir, const char *id, const char *file, char *out, size_t size)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s/%s", dir, id, file);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool ok = fgets(out, (int)size, f) != NULL;
    fclose(f);
    if (ok)
        out[strcspn(out, "\n")] = '\0';
    return ok;
}

static void look_at(struct stages *s, const char *dir, const char *id)
{
    char name[64], text[128];
    unsigned long long cpu, wait;
    if (!read_line(dir, id, "comm", name, sizeof name) ||
        !read_line(dir, id, "schedstat", text, sizeof text) || sscanf(text, "%llu %llu", &cpu, &wait) != 2)
        return; /* it ended meanwhile */
    struct task *t = task_of(s, strtol(id, NULL, 10), name);
    if (cpu < t->cpu_ns || wait < t->wait_ns || stage_index(name) != t->stage)
        *t = (struct task){.id = t->id, .stage = stage_index(name)}; /* a new thread with an old number */
    s->stage[t->stage].cpu_ns += cpu - t->cpu_ns;
    s->stage[t->stage].wait_ns += wait - t->wait_ns;
    t->cpu_ns = cpu;
    t->wait_ns = wait;
    t->seen = true;
}

static void forget_ended(struct stages *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->tasks[i].seen)
            s->tasks[n++] = s->tasks[i];
    s->n = n;
}

struct busy {
    uint64_t us[KNOWN];
};

static void take_busy(void *ctx, const struct metric_view *v)
{
    struct busy *b = ctx;
    for (size_t i = 0; v->histogram && i < KNOWN; i++)
        if (known[i].busy && !strcmp(known[i].busy, v->name))
            b->us[i] += atomic_load_explicit(&v->histogram->sum_us, memory_order_relaxed);
}

/* Over the time since the last look; a stage that did nothing keeps its ratio. */
static void set_ratios(struct stages *s, const struct busy *b)
{
    for (size_t i = 0; i < KNOWN; i++) {
        struct stage *g = &s->stage[i];
        uint64_t busy_us = b->us[i] - g->last_busy_us, cpu_us = (g->cpu_ns - g->last_cpu_ns) / 1000;
        if (known[i].busy && busy_us)
            g->cpu_ratio = cpu_us < busy_us ? (double)cpu_us / (double)busy_us : 1;
        g->last_busy_us = b->us[i];
        g->last_cpu_ns = g->cpu_ns;
    }
}

void stages_look(struct stages *s, const char *proc_dir)
{
    const char *path = proc_dir ? proc_dir : "/proc/self/task";
    struct busy busy = {{0}};
    metrics_each(s->metrics, take_busy,
                 &busy); /* before the lock: the registry's own comes first everywhere */
    DIR *d = opendir(path);
    if (!d)
        return;
    pthread_mutex_lock(&s->mtx);
    for (size_t i = 0; i < s->n; i++)
        s->tasks[i].seen = false;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            look_at(s, path, e->d_name);
    forget_ended(s);
    set_ratios(s, &busy);
    pthread_mutex_unlock(&s->mtx);
    closedir(d);
}
