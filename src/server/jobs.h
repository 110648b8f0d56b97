/* Long work inside the server, one job at a time on a thread of its own, started and watched over HTTP.
 *
 *   queued -> running -> done | failed | cancelled       (a queued job may be cancelled at once)
 *
 * The queue and the list of ended jobs are bounded. All functions may be called from any thread. */
#ifndef CARAT_SERVER_JOBS_H
#define CARAT_SERVER_JOBS_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOBS_QUEUED_MAX 16
#define JOBS_ENDED_MAX  64

struct job;
struct jobs;

struct job_kind {
    const char *name;
    const char *unit; /* what progress counts: "bytes" */
    /* Checks the request's JSON object and makes *args of it (may be NULL). ERR_INVALID: told to who asked.
     */
    int (*parse)(void *ctx, const json_t *request, void **args, struct err *err);
    /* Does the work, on the jobs' thread; ends soon after job_cancelled is true. Not OK: the job has failed,
     * for the reason in *err, or was cancelled. */
    int (*run)(struct job *j, void *ctx, void *args, struct err *err);
    void (*free_args)(void *args);
};

struct jobs_options {
    const struct job_kind *kinds; /* borrowed, as all here */
    size_t nkinds;
    void *ctx; /* of the kinds */
    struct clock *clock;
};

int jobs_new(const struct jobs_options *o, struct jobs **out, struct err *err) must_check;
/* Cancels everything and waits for the thread. Nothing is started afterwards (ERR_CLOSED). */
void jobs_stop(struct jobs *s);
void jobs_free(struct jobs *s); /* stopped; NULL is fine */

/* `body` is {"kind": "...", ...}. ERR_INVALID; ERR_BUSY: the queue is full. */
int jobs_start(struct jobs *s, const char *body, size_t n, uint64_t *id, struct err *err) must_check;
/* ERR_NOT_FOUND. A job that has ended is left as it is. */
int jobs_cancel(struct jobs *s, uint64_t id, struct err *err) must_check;
/* Whether a job of this kind waits or runs. */
bool jobs_pending(struct jobs *s, const char *kind);
/* Appends a JSON object (doc/jobs.md), or for the list {"jobs":[...]}, newest first. ERR_NOT_FOUND. */
int jobs_show(struct jobs *s, uint64_t id, struct buf *json, struct err *err) must_check;
void jobs_list(struct jobs *s, struct buf *json);

/* For the running job. */
bool job_cancelled(struct job *j);
void job_progress(struct job *j, uint64_t done, uint64_t total);
void job_message(struct job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes the bytes of `json`, a JSON value. */
void job_result(struct job *j, struct buf *json);

#endif
