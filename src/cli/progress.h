/* Shows how far a backup or restore is, on one line of a terminal, and stops it when the user asks. */
#ifndef CARAT_CLI_PROGRESS_H
#define CARAT_CLI_PROGRESS_H

#include "backup/backup.h"

#include <stdbool.h>
#include <stdio.h>

struct progress {
    struct backup_io io; /* to be passed on */
    FILE *to;            /* NULL: nothing is shown */
    int64_t shown_ms;
    bool dirty; /* a line is there to be cleared */
};

/* Shows on `to` if it is a terminal and not `quiet`. From now on SIGINT and SIGTERM stop the run. */
void progress_begin(struct progress *p, FILE *to, bool quiet);
/* Clears the line. */
void progress_end(struct progress *p);

/* "1.2 GB" */
const char *progress_bytes(uint64_t bytes, char out[16]);

#endif
