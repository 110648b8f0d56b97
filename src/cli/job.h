/* A job of a running server, started and followed over HTTP (doc/jobs.md). */
#ifndef CARAT_CLI_JOB_H
#define CARAT_CLI_JOB_H

#include "base/buf.h"
#include "cli/command.h"

#include <jansson.h>

#define DEFAULT_URL "http://127.0.0.1:8012"

/* "<url><path>" without doubled slashes. */
void job_url(const char *url, const char *path, struct buf *out);

/* Starts what `request` asks for and waits for its end, with the progress on io->err. Prints the job's
 * message, and why it failed. *job gets it as it ended, for json_decref; NULL if there was no answer. Returns
 * the exit code. `command` names the program part in messages. */
int job_follow(const struct cli_io *io, const char *command, const char *url, const json_t *request,
               json_t **job);

/* "running 12 of 40 bytes, 30 % ..., 1:05 left" */
void job_describe(const json_t *job, struct buf *out);

#endif
