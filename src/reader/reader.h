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
#include "model/aggregation.h"
#include "model/column.h"
#include "model/layout.h"
#include "warm/warm.h"

struct reader;

struct reader_options {
    struct catalog *catalog; /* all borrowed */
    struct hot *hot;
    struct warm *warm;       /* may be NULL; masked by the catalog's tombstones (warm_masked.h) */
    struct metrics *metrics; /* may be NULL */
    /* Not OK while hot is still being filled from the stream after a start: reads are then marked incomplete
     * with *why. NULL: always complete. Cheap, any thread. */
    int (*complete)(void *ctx, struct err *why);
    void *complete_ctx;
    /* All may be NULL. `layouts` is what may be read of a series; without it what `archives` has been from
     * the beginning; without both only the base archive. Without `aggregation` average and 0.5. */
    retention_of_fn archives;
    layout_of_fn layouts;
    aggregation_of_fn aggregation;
    void *rules_ctx;
    /* Since when the base archive of a series has all its points: from there on what a deletion touched is
     * made from it. NULL: always. */
    int64_t (*base_since_ms)(void *ctx, uint32_t series);
    void *base_since_ctx;
};
struct reader *reader_new(const struct reader_options *o);
void reader_free(struct reader *r);

/* What could not be read. An answer with `incomplete` set must say so to the user. Begins as {0}; a read adds
 * to it and never clears it, so that the reads behind one answer may share one. */
struct read_report {
    bool incomplete;
    struct err why; /* the first reason */
    unsigned tiers; /* READ_HOT | READ_WARM | READ_COLD: where something was found */
};
#define READ_HOT  1u
#define READ_WARM 2u
#define READ_COLD 4u
/* Of one of them: "hot", "warm", "cold". */
const char *read_tier_name(unsigned tier);

/* Waits until every read that began before the call has ended: after it nothing goes by what `layouts` said
 * before the call. For seconds if a query takes so long. One caller at a time. */
void reader_quiesce(struct reader *r);

/* Values of one series for the slots that start in [from_ms, until_ms), on the series' own grid: points that
 * came while its step was another one are not among them. column->values is malloc'ed for the caller, NULL
 * when n is 0. max_slots bounds n (ERR_LIMIT). A tier that fails marks the report and the rest is still
 * delivered; the status is then OK. ERR_NOT_FOUND: no such series. Any thread. */
int reader_fetch(struct reader *r, uint32_t series, int64_t from_ms, int64_t until_ms, size_t max_slots,
                 struct column *column, struct read_report *report, struct err *err) must_check;

/* The same on the grid of an earlier step. ERR_INVALID: the series never had it. */
int reader_fetch_points(struct reader *r, uint32_t series, uint32_t step_ms, int64_t from_ms,
                        int64_t until_ms, size_t max_slots, struct column *column, struct read_report *report,
                        struct err *err) must_check;

/* The same from the archive with this step, a coarse one or the base, each slot as one value. Slots that hold
 * points not yet flushed are made from the base on the spot, so the answer is what the flush will store.
 * ERR_INVALID: the series has no archive of that step. */
int reader_fetch_archive(struct reader *r, uint32_t series, uint32_t step_ms, enum aggregation aggregation,
                         int64_t from_ms, int64_t until_ms, size_t max_slots, struct column *column,
                         struct read_report *report, struct err *err) must_check;

struct read_range {
    int64_t from_ms, until_ms;
    int64_t now_ms;                 /* retention is counted back from here */
    size_t max_slots;               /* ERR_LIMIT above */
    double *room;                   /* for max_slots values, becomes column->values; NULL: malloc'ed */
    int64_t max_step_ms;            /* 0: as fine as it is kept; else coarser archives will do, see below */
    enum aggregation consolidation; /* then: what the answer's slots will be put together by */
};
struct read_span {
    int64_t from_ms, until_ms;
    uint32_t step_ms; /* of the archive it was read from */
    unsigned tiers;   /* as in read_report */
};
#define READ_SPANS (LAYOUT_ERAS * (RETENTION_ARCHIVES + 1))
struct read_spans {
    size_t n;
    struct read_span span[READ_SPANS];
};
/* What the values of an answer's slots were made of, so that several can be put together as if from their
 * points. Both arrays are malloc'ed for the caller, as long as the column, NULL if its values are to be taken
 * as they are. */
struct read_sums {
    double *sum, *count;
    uint32_t points; /* base slots in a slot */
};

/* Step of the grid reader_fetch_planned will answer on; 0: no such series. It does not depend on until_ms. */
int64_t reader_planned_step_ms(struct reader *r, uint32_t series, const struct read_range *range);

/* Values from the best archives for the range, on one grid: the coarsest step among them. Finer spans are
 * aggregated from their points' true sums and counts by the series' rule; a coarse slot with a smaller share
 * of its points (those up to now) than xFilesFactor has no value. column->step_ms tells the grid. With only
 * the base archive it is reader_fetch, without what is older than it is kept.
 *
 * With max_step_ms the coarsest archive whose step is at most that is read where it gives what the finest one
 * would give after consolidation. For that the range must be kept in the base archive, and consolidation be
 * average, sum, min, max or last; or consolidation must be the series' rule. Values are then the slots'
 * points put together by it, slots with few points among them (xFilesFactor is the consolidation's), and
 * *sums is set. Where that archive has no slot, as before it was made for a changed rule, the finer ones are
 * asked. */
int reader_fetch_planned(struct reader *r, uint32_t series, const struct read_range *range,
                         struct column *column, struct read_spans *spans, struct read_sums *sums,
                         struct read_report *report, struct err *err) must_check;

/* The newest point of a series not older than since_ms. 0, or 1 if there is none. */
int reader_latest(struct reader *r, uint32_t series, int64_t since_ms, int64_t *ts_ms, double *value,
                  struct read_report *report, struct err *err) must_check;

#endif
