/* What /render answered, as the client holds it. */
#ifndef CARAT_CLI_ANSWER_H
#define CARAT_CLI_ANSWER_H

#include "base/buf.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct answer_series {
    char *name;
    size_t n;
    int64_t *time_s; /* seconds since the epoch, as sent: ascending */
    double *value;   /* NaN where there is no point */
};

struct answer {
    struct answer_series *series;
    size_t n;
};

/* Reads [{"target":"...","datapoints":[[value,seconds],...]},...]. ERR_INVALID if it is something else;
 * the answer is empty then. Release it with answer_release. */
int answer_parse(const char *json, size_t len, struct answer *out, struct err *err) must_check;
void answer_release(struct answer *a);

/* Lines "name,time,value" with the time in UTC; an absent value is empty. */
void answer_format_csv(const struct answer *a, struct buf *out);

/* Rows of times, a column for each series; columns that do not fit `width` go into a further table. Rows
 * in which no series of the table has a point are left out. */
void answer_format_table(const struct answer *a, size_t width, struct buf *out);

/* "2026-11-22 10:00:00" */
void answer_format_time(int64_t time_s, char out[32]);

#endif
