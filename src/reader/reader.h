/* The reader: one answer from all tiers.
 *
 * It reads hot before warm: a window on its way from hot to warm is then seen in one of them or in
 * both, never in neither; the part with the larger stream position wins (model/part.h). */
#ifndef CARAT_READER_READER_H
#define CARAT_READER_READER_H

#include "base/err.h"
#include "base/metrics.h"
#include "catalog/catalog.h"
#include "hot/hot.h"
#include "model/column.h"
#include "warm/warm.h"

struct reader;

struct reader_options {
    struct catalog *catalog; /* all borrowed */
    struct hot *hot;
    struct warm *warm;       /* may be NULL */
    struct metrics *metrics; /* may be NULL */
    /* Not OK while hot is still being filled from the stream after a start: reads are then marked incomplete
     * with *why. NULL: always complete. Cheap, any thread. */
    int (*complete)(void *ctx, struct err *why);
    void *complete_ctx;
};
struct reader *reader_new(const struct reader_options *o);
void reader_free(struct reader *r);

/* What could not be read. An answer with `incomplete` set must say so to the user. Begins as {0}; a read adds
 * to it and never clears it, so that the reads behind one answer may share one. */
struct read_report {
    bool incomplete;
    struct err why; /* the first reason */
};

/* Values of one series for the slots that start in [from_ms, until_ms), on the series' own grid.
 * column->values is malloc'ed for the caller, NULL when n is 0. max_slots bounds n (ERR_LIMIT).
 * A tier that fails marks the report and the rest is still delivered; the status is then OK.
 * ERR_NOT_FOUND: no such series. Any thread. */
int reader_fetch(struct reader *r, uint32_t series, int64_t from_ms, int64_t until_ms, size_t max_slots,
                 struct column *column, struct read_report *report, struct err *err) must_check;

/* The newest point of a series not older than since_ms. 0, or 1 if there is none. */
int reader_latest(struct reader *r, uint32_t series, int64_t since_ms, int64_t *ts_ms, double *value,
                  struct read_report *report, struct err *err) must_check;

#endif
