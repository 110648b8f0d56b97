#include "server/backup_job.h"

#include "backup/backup.h"
#include "backup/snapshots.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread_name.h"
#include "server/server_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RETRY_MS 300000 /* after a failure, or sooner if the interval is shorter */
#define LOOK_MS  1000   /* an interval is no shorter than this */

struct backup_job {
    struct server *s;
    const char *dir; /* "": none */
    unsigned keep;
    int64_t interval_ms; /* 0: only when asked */
    struct counter *made, *failed, *copied_bytes;
    struct gauge *newest_seconds;
    pthread_t thread;
    bool started;
    pthread_mutex_t mtx;
    pthread_cond_t wake;
    /* under mtx */
    bool stopping;
    int64_t next_ms; /* wall clock */
};

/* --- the job --- */

int backup_job_parse(void *ctx, const json_t *request, void **args, struct err *err)
{
    struct server *s = ctx;
    (void)request;
    *args = NULL;
    return *s->backup_job->dir
               ? OK
               : err_set(err, ERR_INVALID, "backup.dir is not set: the server has no place for backups");
}

struct watching {
    struct job *job;
    _Atomic bool cancel;
};

static void on_progress(void *ctx, const struct backup_progress *p)
{
    struct watching *w = ctx;
    job_progress(w->job, p->bytes, p->bytes_all);
    if (job_cancelled(w->job))
        atomic_store(&w->cancel, true);
}

static void result_json(const struct backup_result *r, struct buf *b)
{
    buf_printf(b,
               "{\"generation\":%" PRIu64 ",\"timeMs\":%" PRId64 ",\"files\":%" PRIu64 ",\"bytes\":%" PRIu64
               ",\"copiedFiles\":%" PRIu64 ",\"copiedBytes\":%" PRIu64 "}",
               r->generation, r->time_ms, r->files, r->bytes, r->copied_files, r->copied_bytes);
}

static void note_end(struct backup_job *b, int rc, const struct backup_result *r)
{
    bool again = rc < 0 && rc != ERR_CLOSED && b->interval_ms > RETRY_MS;
    pthread_mutex_lock(&b->mtx);
    b->next_ms = clock_wall_ms(b->s->clock) + (again ? RETRY_MS : b->interval_ms);
    pthread_mutex_unlock(&b->mtx);
    counter_add(rc == OK ? b->made : b->failed, 1);
    counter_add(b->copied_bytes, r->copied_bytes);
    if (rc == OK)
        gauge_set(b->newest_seconds, r->time_ms / 1000);
}

int backup_job_run(struct job *j, void *ctx, void *args, struct err *err)
{
    struct server *s = ctx;
    struct backup_job *b = s->backup_job;
    struct watching w = {.job = j};
    const struct backup_io io = {.progress = on_progress, .ctx = &w, .cancel = &w.cancel};
    struct backup_result r = {0};
    struct buf json = BUF_INIT;
    (void)args;
    int rc = snapshots_backup(s->snapshots, b->dir, b->keep, &io, &r, err);
    note_end(b, rc, &r);
    result_json(&r, &json);
    job_result(j, &json);
    if (rc == OK)
        job_message(j, "generation %" PRIu64 ": %" PRIu64 " files, %" PRIu64 " copied with %" PRIu64 " bytes",
                    r.generation, r.files, r.copied_files, r.copied_bytes);
    return rc;
}

/* --- the schedule --- */

/* True if it is time to stop. */
static bool sleep_ms(struct backup_job *b, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    pthread_mutex_lock(&b->mtx);
    while (!b->stopping && pthread_cond_timedwait(&b->wake, &b->mtx, &until) != ETIMEDOUT)
        ;
    bool stop = b->stopping;
    pthread_mutex_unlock(&b->mtx);
    return stop;
}

/* The next one is due an interval later, unless the end of this one says otherwise. */
static bool is_due(struct backup_job *b)
{
    int64_t now = clock_wall_ms(b->s->clock);
    pthread_mutex_lock(&b->mtx);
    bool due = now >= b->next_ms && !jobs_pending(b->s->jobs, "backup");
    if (due)
        b->next_ms = now + b->interval_ms;
    pthread_mutex_unlock(&b->mtx);
    return due;
}

static void begin(struct backup_job *b)
{
    static const char request[] = "{\"kind\":\"backup\"}";
    struct backup_result none = {0};
    struct err err = ERR_INIT;
    uint64_t id;
    int rc = jobs_start(b->s->jobs, request, strlen(request), &id, &err);
    if (rc == OK || rc == ERR_CLOSED)
        return; /* begun, or the server stops */
    log_warn("backup", "not started, trying again", "why=\"%s\"", err.text);
    note_end(b, rc, &none);
}

static void *schedule_main(void *arg)
{
    struct backup_job *b = arg;
    thread_name("carat-backup");
    while (!sleep_ms(b, LOOK_MS))
        if (is_due(b))
            begin(b);
    return NULL;
}

/* --- life --- */

static void find_newest(struct backup_job *b)
{
    struct err why = ERR_INIT;
    int64_t time_ms = 0;
    int rc = backup_newest(b->dir, &time_ms, &why);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        log_warn("backup", "cannot tell when the last backup was made; making one now", "dir=%s why=\"%s\"",
                 b->dir, why.text);
    gauge_set(b->newest_seconds, time_ms / 1000);
    b->next_ms = time_ms ? time_ms + b->interval_ms : 0;
}

int backup_job_new(struct server *s, struct backup_job **out, struct err *err)
{
    struct backup_job *b = xcalloc(1, sizeof *b);
    b->s = s;
    b->dir = config_string(s->config, "backup.dir");
    b->keep = (unsigned)config_int(s->config, "backup.keep");
    b->interval_ms = config_duration_ms(s->config, "backup.interval");
    b->made = metrics_counter(s->metrics, "carat_backups_total", NULL, "Backups the server made.");
    b->failed = metrics_counter(s->metrics, "carat_backup_failures_total", NULL,
                                "Backups of the server that failed or were cancelled.");
    b->copied_bytes = metrics_counter(s->metrics, "carat_backup_copied_bytes_total", NULL,
                                      "Bytes the server's backups copied, because they were new.");
    b->newest_seconds = metrics_gauge(s->metrics, "carat_backup_newest_timestamp_seconds", NULL,
                                      "When the newest backup in backup.dir was made; 0: there is none.");
    pthread_mutex_init(&b->mtx, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->wake, &attr);
    pthread_condattr_destroy(&attr);
    *out = b;
    if (!*b->dir)
        return OK;
    int rc = backup_refuse_inside(s->dir.path, b->dir, err);
    if (rc < 0)
        return err_prefix(err, "backup.dir");
    find_newest(b);
    return OK;
}

int backup_job_start(struct backup_job *b, struct err *err)
{
    if (!*b->dir || !b->interval_ms)
        return OK;
    int rc = pthread_create(&b->thread, NULL, schedule_main, b);
    b->started = rc == 0;
    return rc ? err_sys(err, ERR_FAILED, rc, "start the thread of backups") : OK;
}

void backup_job_stop(struct backup_job *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->mtx);
    b->stopping = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->mtx);
    if (b->started)
        pthread_join(b->thread, NULL);
    b->started = false;
}

void backup_job_free(struct backup_job *b)
{
    if (!b)
        return;
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->mtx);
    free(b);
}
