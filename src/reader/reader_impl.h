#ifndef CARAT_READER_READER_IMPL_H
#define CARAT_READER_READER_IMPL_H

#include "reader/overlay.h"
#include "reader/reader.h"

#include <stdatomic.h>

struct reader {
    struct reader_options o;
    struct tombstones *tombstones; /* the catalog's */
    /* reader_quiesce: reads under way, by the phase they began in */
    _Atomic unsigned phase, active[2];
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
/* Fills it with what is stored as points of its step, all of it in eras of that step; returns how many points
 * were found. */
uint64_t reader_fill_column(struct reader *r, struct column *c, struct read_report *report);
/* Fills it from those eras that have its step, from from_ms on. */
uint64_t reader_fill_points(struct reader *r, const struct layout *l, struct column *c, int64_t from_ms,
                            struct read_report *report);
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

/* Around all that goes by one layout; the phase is handed back. */
unsigned reader_enter(struct reader *r);
void reader_leave(struct reader *r, unsigned phase);
/* ERR_NOT_FOUND: no such series. */
int reader_layout(struct reader *r, uint32_t series, struct layout *out, struct err *err) must_check;
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
/* Every slot of this step that starts in [from_ms, until_ms), both on its grid: roll-ups where the layout has
 * them, else the points, each as a slot of its own. */
void reader_walk(struct reader *r, const struct layout *l, uint32_t series, uint32_t step_ms, int64_t from_ms,
                 int64_t until_ms, rollup_slot_fn fn, void *ctx, struct read_report *report);

/* Notes that a tier or a block could not be read. */
void report_add(struct read_report *report, const struct err *why);
/* Marks the report if hot is still being filled after a start. */
void reader_note_catching_up(struct reader *r, struct read_report *report);
/* Counts an answer if this read made it incomplete. */
void reader_count_incomplete(struct reader *r, bool before, const struct read_report *report);

#endif
