/* Backups the server makes itself: a kind of job, and the thread that starts one every backup.interval.
 *
 * Where they go is in the configuration alone (backup.dir): no HTTP client can make the server write files
 * somewhere. Each is a generation of the directory, as `carat backup DIR` makes them. */
#ifndef CARAT_SERVER_BACKUP_JOB_H
#define CARAT_SERVER_BACKUP_JOB_H

#include "server/jobs.h"

struct server;
struct backup_job;

/* Before the jobs. ERR_INVALID: backup.dir is inside data.dir. */
int backup_job_new(struct server *s, struct backup_job **out, struct err *err) must_check;
void backup_job_free(struct backup_job *b);

/* For struct job_kind; ctx is the struct server. */
int backup_job_parse(void *ctx, const json_t *request, void **args, struct err *err);
int backup_job_run(struct job *j, void *ctx, void *args, struct err *err);

/* Once jobs can be started; nothing if backup.dir or backup.interval says so. The first is due an interval
 * after the newest backup that is there, or at once. */
int backup_job_start(struct backup_job *b, struct err *err) must_check;
void backup_job_stop(struct backup_job *b); /* no further ones; one that runs goes on */

#endif
