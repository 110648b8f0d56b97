#include "cli/job.h"

#include "base/clock.h"
#include "base/err.h"
#include "cli/fetch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_FIRST_MS 50
#define POLL_MS       500
#define LINE_EVERY_MS 5000 /* where the line cannot be rewritten */
#define LOST_MAX      10   /* polls without an answer before it gives up */

void job_url(const char *url, const char *path, struct buf *out)
{
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    buf_append(out, url, n);
    buf_puts(out, path);
}

static const char *text_of(const json_t *job, const char *key)
{
    const char *s = json_string_value(json_object_get(job, key));
    return s ? s : "";
}

static void put_duration(struct buf *out, long long s)
{
    if (s >= 3600)
        buf_printf(out, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        buf_printf(out, "%lld:%02lld", s / 60, s % 60);
}

void job_describe(const json_t *job, struct buf *out)
{
    long long done = json_integer_value(json_object_get(job, "done"));
    long long total = json_integer_value(json_object_get(job, "total"));
    const json_t *left = json_object_get(job, "leftSeconds");
    buf_puts(out, text_of(job, "state"));
    if (total > 0)
        buf_printf(out, ", %lld of %lld %s (%.0f %%)", done, total, text_of(job, "unit"),
                   100.0 * (double)done / (double)total);
    if (left) {
        buf_puts(out, ", ");
        put_duration(out, json_integer_value(left));
        buf_puts(out, " left");
    }
}

/* What is shown of a job that goes on. */
struct progress {
    FILE *to;
    const char *command;
    bool tty;
    int64_t shown_ms;
    size_t width; /* of the line on the terminal */
};

static void show(struct progress *p, const json_t *job)
{
    struct buf line = BUF_INIT;
    int64_t now = clock_mono_ms(clock_system());
    if (!p->tty && p->shown_ms && now - p->shown_ms < LINE_EVERY_MS)
        return;
    p->shown_ms = now;
    buf_printf(&line, "carat %s: ", p->command);
    job_describe(job, &line);
    if (p->tty)
        fprintf(p->to, "\r%-*s", (int)p->width, buf_str(&line));
    else
        fprintf(p->to, "%s\n", buf_str(&line));
    p->width = line.len;
    fflush(p->to);
    buf_release(&line);
}

static void wipe(const struct progress *p)
{
    if (p->tty && p->width)
        fprintf(p->to, "\r%*s\r", (int)p->width, "");
}

static json_t *parse_job(struct fetched *got, struct err *err)
{
    json_t *job = json_loadb((const char *)got->body.data, got->body.len, 0, NULL);
    if (json_is_string(json_object_get(job, "state")) && json_is_integer(json_object_get(job, "id")))
        return job;
    json_decref(job);
    err_set(err, ERR_INVALID, "the answer is no job: is this a carat server?");
    return NULL;
}

/* The job as the server has it, or NULL with *err. */
static json_t *ask(const char *method, const char *url, const char *body, struct err *err)
{
    struct fetched got;
    json_t *job = NULL;
    if (fetch_send(method, url, body, &got, err) == OK)
        job = parse_job(&got, err);
    fetched_release(&got);
    return job;
}

static bool is_going_on(const json_t *job)
{
    const char *state = text_of(job, "state");
    return !strcmp(state, "queued") || !strcmp(state, "running");
}

static void pause_ms(int64_t ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Asks until the job has ended; takes the job and returns its last state. An answer may be missing now and
 * then. */
static json_t *wait_for_end(struct progress *p, const char *jobs_url, json_t *job, struct err *err)
{
    struct buf url = BUF_INIT;
    unsigned lost = 0;
    buf_printf(&url, "%s/%lld", jobs_url, (long long)json_integer_value(json_object_get(job, "id")));
    for (int64_t wait = POLL_FIRST_MS; is_going_on(job) && lost < LOST_MAX;
         wait = wait < POLL_MS ? 2 * wait : POLL_MS) {
        pause_ms(wait);
        json_t *now = ask("GET", buf_str(&url), NULL, err);
        lost = now ? 0 : err->code == ERR_INVALID ? LOST_MAX : lost + 1;
        if (now) {
            json_decref(job);
            job = now;
        }
        if (is_going_on(job))
            show(p, job);
    }
    buf_release(&url);
    wipe(p);
    if (!is_going_on(job))
        return job;
    json_decref(job);
    return NULL;
}

int job_follow(const struct cli_io *io, const char *command, const char *url, const json_t *request,
               json_t **job)
{
    struct buf jobs_url = BUF_INIT;
    struct err err = ERR_INIT;
    struct progress p = {io->err, command, fileno(io->err) >= 0 && isatty(fileno(io->err)), 0, 0};
    char *body = json_dumps(request, JSON_COMPACT);
    int code = CLI_FAILED;
    job_url(url, "/api/v1/jobs", &jobs_url);
    *job = ask("POST", buf_str(&jobs_url), body, &err);
    if (*job)
        *job = wait_for_end(&p, buf_str(&jobs_url), *job, &err);
    if (!*job)
        fprintf(io->err, "carat %s: %s\n", command, err.text);
    else if (!strcmp(text_of(*job, "state"), "done"))
        code = CLI_GOOD;
    if (*job)
        fprintf(code == CLI_GOOD ? io->out : io->err, "carat %s: %s: %s\n", command, text_of(*job, "state"),
                text_of(*job, "message"));
    free(body);
    buf_release(&jobs_url);
    return code;
}
