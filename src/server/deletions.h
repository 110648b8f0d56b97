/* Requests to delete series, or their points in a range of time: as a job, and at once (doc/deletion.md). */
#ifndef CARAT_SERVER_DELETIONS_H
#define CARAT_SERVER_DELETIONS_H

#include "base/buf.h"
#include "base/err.h"
#include "server/jobs.h"

struct server;

/* The kind "delete": {"series": GLOB or [GLOB...], "from": TIME, "to": TIME, "dryRun": true}. */
int deletion_job_parse(void *ctx, const json_t *request, void **args, struct err *err) must_check;
int deletion_job_run(struct job *j, void *ctx, void *args, struct err *err) must_check;
void deletion_job_free_args(void *args);

/* For http/api_delete.h: the same object as the body, for not too many series at once. The answer is JSON. */
int deletion_request(void *ctx, const char *body, size_t n, struct buf *json, struct err *err) must_check;
/* Whole series by their names; unknown ones are left out. ERR_INVALID: one is no name, and nothing is
 * deleted. */
int deletion_of_names(void *ctx, const char *const *names, size_t n, struct err *err) must_check;

#endif
