#include "server/jobs.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/thread_name.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_CANCELLED };
static const char *const state_names[] = {"queued", "running", "done", "failed", "cancelled"};

struct job {
    struct jobs *jobs;
    struct job *older; /* all jobs, newest first */
    uint64_t id;
    const struct job_kind *kind;
    void *args;
    _Atomic bool cancelled;
    _Atomic uint64_t done, total;
    /* under mtx */
    enum job_state state;
    int64_t created_ms, started_ms, ended_ms; /* 0: not yet */
    char message[480];
    struct buf result;
};

struct jobs {
    struct jobs_options o;
    pthread_t thread;
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    /* under mtx */
    struct job *newest;
    uint64_t last_id;
    bool stopping, stopped;
};

/* --- for the running job --- */

bool job_cancelled(struct job *j)
{
    return atomic_load_explicit(&j->cancelled, memory_order_relaxed);
}

void job_progress(struct job *j, uint64_t done, uint64_t total)
{
    atomic_store_explicit(&j->total, total, memory_order_relaxed);
    atomic_store_explicit(&j->done, done < total ? done : total, memory_order_relaxed);
}

void job_message(struct job *j, const char *fmt, ...)
{
    va_list ap;
    pthread_mutex_lock(&j->jobs->mtx);
    va_start(ap, fmt);
    vsnprintf(j->message, sizeof j->message, fmt, ap);
    va_end(ap);
    pthread_mutex_unlock(&j->jobs->mtx);
}

void job_result(struct job *j, struct buf *json)
{
    pthread_mutex_lock(&j->jobs->mtx);
    buf_release(&j->result);
    j->result = *json;
    pthread_mutex_unlock(&j->jobs->mtx);
    *json = (struct buf)BUF_INIT;
}

/* --- the list, under mtx --- */

static void free_job(struct job *j)
{
    if (j->kind->free_args)
        j->kind->free_args(j->args);
    buf_release(&j->result);
    free(j);
}

static bool has_ended(const struct job *j)
{
    return j->state >= JOB_DONE;
}

static struct job *find(struct jobs *s, uint64_t id)
{
    struct job *j = s->newest;
    while (j && j->id != id)
        j = j->older;
    return j;
}

static struct job *oldest_queued(struct jobs *s)
{
    struct job *found = NULL;
    for (struct job *j = s->newest; j; j = j->older)
        if (j->state == JOB_QUEUED)
            found = j;
    return found;
}

static size_t count_queued(const struct jobs *s)
{
    size_t n = 0;
    for (const struct job *j = s->newest; j; j = j->older)
        n += j->state == JOB_QUEUED;
    return n;
}

/* Forgets the ended jobs beyond the bound. */
static void forget_old(struct jobs *s)
{
    size_t ended = 0;
    for (struct job **at = &s->newest; *at;) {
        struct job *j = *at;
        if (has_ended(j) && ++ended > JOBS_ENDED_MAX) {
            *at = j->older;
            free_job(j);
        } else {
            at = &j->older;
        }
    }
}

static void end_job(struct jobs *s, struct job *j, enum job_state state, const char *why)
{
    j->state = state;
    j->ended_ms = clock_wall_ms(s->o.clock);
    if (why)
        snprintf(j->message, sizeof j->message, "%s", why);
    log_info("jobs", "job ended", "id=%llu kind=%s state=%s why=\"%s\"", (unsigned long long)j->id,
             j->kind->name, state_names[state], j->message);
    pthread_cond_broadcast(&s->changed);
}

/* --- the thread --- */

static void run_job(struct jobs *s, struct job *j)
{
    struct err err = ERR_INIT;
    j->state = JOB_RUNNING;
    j->started_ms = clock_wall_ms(s->o.clock);
    pthread_mutex_unlock(&s->mtx);
    log_info("jobs", "job started", "id=%llu kind=%s", (unsigned long long)j->id, j->kind->name);
    int rc = j->kind->run(j, s->o.ctx, j->args, &err);
    pthread_mutex_lock(&s->mtx);
    if (rc == OK) {
        atomic_store(&j->done, atomic_load(&j->total));
        end_job(s, j, JOB_DONE, NULL);
    } else {
        end_job(s, j, job_cancelled(j) ? JOB_CANCELLED : JOB_FAILED,
                job_cancelled(j) ? "cancelled" : err.text);
    }
    forget_old(s);
}

static void *jobs_main(void *arg)
{
    struct jobs *s = arg;
    thread_name("carat-job");
    pthread_mutex_lock(&s->mtx);
    while (!s->stopping) {
        struct job *j = oldest_queued(s);
        if (j)
            run_job(s, j);
        else
            pthread_cond_wait(&s->changed, &s->mtx);
    }
    pthread_mutex_unlock(&s->mtx);
    return NULL;
}

int jobs_new(const struct jobs_options *o, struct jobs **out, struct err *err)
{
    struct jobs *s = xcalloc(1, sizeof *s);
    s->o = *o;
    pthread_mutex_init(&s->mtx, NULL);
    pthread_cond_init(&s->changed, NULL);
    int rc = pthread_create(&s->thread, NULL, jobs_main, s);
    if (rc) {
        s->stopped = true;
        jobs_free(s);
        return err_sys(err, ERR_FAILED, rc, "start the jobs' thread");
    }
    *out = s;
    return OK;
}

void jobs_stop(struct jobs *s)
{
    pthread_mutex_lock(&s->mtx);
    s->stopping = true;
    for (struct job *j = s->newest; j; j = j->older) {
        atomic_store(&j->cancelled, true);
        if (j->state == JOB_QUEUED)
            end_job(s, j, JOB_CANCELLED, "the server stops");
    }
    pthread_cond_broadcast(&s->changed);
    bool stopped = s->stopped;
    s->stopped = true;
    pthread_mutex_unlock(&s->mtx);
    if (!stopped)
        pthread_join(s->thread, NULL);
}

void jobs_free(struct jobs *s)
{
    if (!s)
        return;
    assert(s->stopped);
    while (s->newest) {
        struct job *j = s->newest;
        s->newest = j->older;
        free_job(j);
    }
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->mtx);
    free(s);
}

/* --- requests --- */

static const struct job_kind *find_kind(const struct jobs *s, const char *name)
{
    for (size_t i = 0; name && i < s->o.nkinds; i++)
        if (!strcmp(s->o.kinds[i].name, name))
            return &s->o.kinds[i];
    return NULL;
}

static int queue_job(struct jobs *s, const struct job_kind *kind, void *args, uint64_t *id, struct err *err)
{
    int rc = OK;
    pthread_mutex_lock(&s->mtx);
    if (s->stopping)
        rc = err_set(err, ERR_CLOSED, "the server is shutting down");
    else if (count_queued(s) >= JOBS_QUEUED_MAX)
        rc = err_set(err, ERR_BUSY, "%d jobs are waiting already", JOBS_QUEUED_MAX);
    if (rc == OK) {
        struct job *j = xcalloc(1, sizeof *j);
        j->jobs = s;
        j->id = *id = ++s->last_id;
        j->kind = kind;
        j->args = args;
        j->created_ms = clock_wall_ms(s->o.clock);
        j->older = s->newest;
        s->newest = j;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->mtx);
    return rc;
}

int jobs_start(struct jobs *s, const char *body, size_t n, uint64_t *id, struct err *err)
{
    json_error_t why;
    json_t *root = json_loadb(body, n, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(err, ERR_INVALID, "the body is no JSON object%s%.200s", root ? "" : ": ",
                       root ? "" : why.text);
    }
    const char *name = json_string_value(json_object_get(root, "kind"));
    const struct job_kind *kind = find_kind(s, name);
    void *args = NULL;
    int rc = OK;
    if (!kind)
        rc = err_set(err, ERR_INVALID, "there is no kind of job \"%.40s\"", name ? name : "");
    if (rc == OK && kind->parse)
        rc = kind->parse(s->o.ctx, root, &args, err);
    json_decref(root);
    if (rc != OK)
        return rc;
    rc = queue_job(s, kind, args, id, err);
    if (rc != OK && kind->free_args)
        kind->free_args(args);
    return rc;
}

bool jobs_pending(struct jobs *s, const char *kind)
{
    bool pending = false;
    pthread_mutex_lock(&s->mtx);
    for (const struct job *j = s->newest; j && !pending; j = j->older)
        pending = !has_ended(j) && !strcmp(j->kind->name, kind);
    pthread_mutex_unlock(&s->mtx);
    return pending;
}

int jobs_cancel(struct jobs *s, uint64_t id, struct err *err)
{
    int rc = OK;
    pthread_mutex_lock(&s->mtx);
    struct job *j = find(s, id);
    if (!j)
        rc = err_set(err, ERR_NOT_FOUND, "there is no job %llu", (unsigned long long)id);
    else if (!has_ended(j))
        atomic_store(&j->cancelled, true);
    if (j && j->state == JOB_QUEUED)
        end_job(s, j, JOB_CANCELLED, "cancelled");
    pthread_mutex_unlock(&s->mtx);
    return rc;
}

/* Seconds left if it goes on as it went; -1: not known. */
static int64_t estimate_s(const struct jobs *s, struct job *j, uint64_t done, uint64_t total)
{
    if (j->state != JOB_RUNNING || done == 0 || total < done)
        return -1;
    double passed_ms = (double)(clock_wall_ms(s->o.clock) - j->started_ms);
    return passed_ms < 0 ? -1 : (int64_t)(passed_ms / (double)done * (double)(total - done) / 1000 + 0.5);
}

static void put_time(struct buf *b, const char *name, int64_t ms)
{
    if (ms)
        buf_printf(b, ",\"%s\":%lld", name, (long long)ms);
}

static void put_job(const struct jobs *s, struct job *j, struct buf *b)
{
    uint64_t total = atomic_load(&j->total), done = atomic_load(&j->done);
    int64_t left_s = estimate_s(s, j, done, total);
    buf_printf(b,
               "{\"id\":%llu,\"kind\":\"%s\",\"state\":\"%s\",\"done\":%llu,\"total\":%llu,\"unit\":\"%s\"",
               (unsigned long long)j->id, j->kind->name, state_names[j->state], (unsigned long long)done,
               (unsigned long long)total, j->kind->unit);
    if (left_s >= 0)
        buf_printf(b, ",\"leftSeconds\":%lld", (long long)left_s);
    put_time(b, "createdMs", j->created_ms);
    put_time(b, "startedMs", j->started_ms);
    put_time(b, "endedMs", j->ended_ms);
    buf_puts(b, ",\"message\":");
    buf_json_string(b, j->message, strlen(j->message));
    if (j->result.len) {
        buf_puts(b, ",\"result\":");
        buf_append(b, j->result.data, j->result.len);
    }
    buf_putc(b, '}');
}

int jobs_show(struct jobs *s, uint64_t id, struct buf *json, struct err *err)
{
    pthread_mutex_lock(&s->mtx);
    struct job *j = find(s, id);
    if (j)
        put_job(s, j, json);
    pthread_mutex_unlock(&s->mtx);
    return j ? OK : err_set(err, ERR_NOT_FOUND, "there is no job %llu", (unsigned long long)id);
}

void jobs_list(struct jobs *s, struct buf *json)
{
    buf_puts(json, "{\"jobs\":[");
    pthread_mutex_lock(&s->mtx);
    for (struct job *j = s->newest; j; j = j->older) {
        put_job(s, j, json);
        if (j->older)
            buf_putc(json, ',');
    }
    pthread_mutex_unlock(&s->mtx);
    buf_puts(json, "]}");
}
