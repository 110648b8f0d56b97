#ifndef CARAT_READER_READER_IMPL_H
#define CARAT_READER_READER_IMPL_H

#include "reader/overlay.h"
#include "reader/reader.h"

struct reader {
    struct reader_options o;
    struct tombstones *tombstones; /* the catalog's */
    /* NULL without a registry */
    struct histogram *fetch_seconds;
    struct counter *series, *points, *incomplete;
};

/* Snaps the range to a grid and makes a column of missing values. ERR_LIMIT: over max_slots. */
int reader_make_column(uint32_t series, int64_t step_ms, int64_t from_ms, int64_t until_ms, size_t max_slots,
                       struct column *c, struct err *err) must_check;
/* The same in `values`, which has room for max_slots; NULL: malloc'ed. */
int reader_make_column_in(double *values, uint32_t series, int64_t step_ms, int64_t from_ms, int64_t until_ms,
                          size_t max_slots, struct column *c, struct err *err) must_check;
void reader_clear_column(struct column *c);
/* Fills it from the base archive, whose step the column has; returns how many points were found. */
uint64_t reader_fill_column(struct reader *r, struct column *c, struct read_report *report);
/* The parts of all windows that overlap the range, from warm and cold. */
void reader_read_warm(struct reader *r, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                      warm_part_fn fn, void *ctx, struct read_report *report);
/* What hot holds of a series that is not dead, sorted. Added to `out`, which the caller releases. */
void reader_read_hot(struct reader *r, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                     struct hot_copies *out, struct read_report *report);
/* The state of what is deleted of a series: what is read from the tiers between two equal answers was masked
 * by the same tombstones. Else it must be read again, or a value could come back that was long overwritten:
 * the one on top of it was taken away first. */
uint64_t reader_stamp(struct reader *r, uint32_t series);
/* So often; a series from which somebody deletes faster than it can be read is told as incomplete. */
#define READER_TRIES 16
void reader_tell_torn(struct read_report *report);

/* Times and counts an answer; begun_us from reader_begin. */
int64_t reader_begin(struct reader *r, struct read_report *report);
void reader_end(struct reader *r, int64_t begun_us, uint64_t points);
uint64_t reader_count_points(const struct column *c);

/* Beyond any time stamp there is, and far from overflow. */
#define TIME_LIMIT (INT64_MAX / 4)
static inline int64_t clamp_time(int64_t ts)
{
    return ts < -TIME_LIMIT ? -TIME_LIMIT : ts > TIME_LIMIT ? TIME_LIMIT : ts;
}

/* Called in time order for slots with something in them. */
typedef void (*rollup_slot_fn)(void *ctx, int64_t ts_ms, const struct rollup_slot *s);
/* Every slot of a coarse archive that starts in [from_ms, until_ms), both on its grid. */
void reader_walk_rollups(struct reader *r, uint32_t series, uint32_t base_step_ms, uint32_t step_ms,
                         int64_t from_ms, int64_t until_ms, rollup_slot_fn fn, void *ctx,
                         struct read_report *report);
/* Every point of the base archive, as a slot of its own. */
void reader_walk_base(struct reader *r, uint32_t series, uint32_t base_step_ms, int64_t from_ms,
                      int64_t until_ms, rollup_slot_fn fn, void *ctx, struct read_report *report);

/* Notes that a tier or a block could not be read. */
void report_add(struct read_report *report, const struct err *why);
/* Marks the report if hot is still being filled after a start. */
void reader_note_catching_up(struct reader *r, struct read_report *report);
/* Counts an answer if this read made it incomplete. */
void reader_count_incomplete(struct reader *r, bool before, const struct read_report *report);

#endif
