/* Roll-ups: what a coarse archive keeps of a slot's points, from which every aggregation can be answered,
 * also over several slots: sum, count, min, max and last, never an average.
 *
 * A coarse slot is made from all base points of its span together, in time order, and is then never added to:
 * a changed point means making it again. The same points give the same bits, whatever was stored or flushed
 * in between. doc/rollups.md tells why.
 *
 * A NaN is no measurement: it takes no part, and a slot of nothing but NaN is absent. (No door lets one in.)
 */
#ifndef CARAT_MODEL_ROLLUP_H
#define CARAT_MODEL_ROLLUP_H

#include "base/err.h"
#include "model/column.h"
#include "model/slots.h"

#include <stddef.h>

/* The order is that of the stored block (codec/rollup_block.h). */
enum rollup_field { ROLLUP_COUNT, ROLLUP_SUM, ROLLUP_MIN, ROLLUP_MAX, ROLLUP_LAST, ROLLUP_FIELDS };

/* One slot while it is being made; count 0: nothing in it. */
struct rollup_slot {
    double field[ROLLUP_FIELDS];
    double carry; /* what rounding took from the sum so far (Neumaier); used up by rollup_set */
};
#define ROLLUP_SLOT_INIT                                                                                     \
    {                                                                                                        \
        {0}, 0                                                                                               \
    }
/* Points, or finer slots, are added in time order. */
void rollup_slot_add(struct rollup_slot *s, double v);
void rollup_slot_join(struct rollup_slot *s, const struct rollup_slot *finer);
/* The sum with its carry. A NaN (overflow both ways) is always the same NaN. */
double rollup_slot_sum(const struct rollup_slot *s);

/* One window of a coarse archive. Fields of absent slots mean nothing. */
struct rollup {
    uint32_t n;
    uint64_t present[SLOTS_WORDS(WINDOW_SLOTS_MAX)]; /* bits at and after n are zero */
    double field[ROLLUP_FIELDS][WINDOW_SLOTS_MAX];
};
void rollup_init(struct rollup *r, uint32_t n);
/* Replaces slot i; one with count 0 makes it absent. */
void rollup_set(struct rollup *r, uint32_t i, const struct rollup_slot *s);
void rollup_get(const struct rollup *r, uint32_t i, struct rollup_slot *out);
/* Present slots of newer win, in all fields. Same n. */
void rollup_overlay(struct rollup *into, const struct rollup *newer);
/* Bit for bit, as far as slots are present. */
bool rollup_equal(const struct rollup *a, const struct rollup *b);

/* Makes the coarse slot [from_ms, from_ms + step_ms) from the base column's points in it. The column must
 * cover the slot; what is missing in it was never sent. */
void rollup_make_slot(struct rollup_slot *s, const struct column *base, int64_t from_ms, int64_t step_ms);

/* Adds the column's points in [from_ms, until_ms), as far as it has that time. */
void rollup_slot_add_column(struct rollup_slot *s, const struct column *base, int64_t from_ms,
                            int64_t until_ms);

/* Whether a slot made again replaces the stored one. Points are overwritten but never taken away, so a slot
 * that counts fewer was made from a base that is no longer whole (expired, damaged): the stored one knows
 * more. */
bool rollup_slot_replaces(const struct rollup_slot *made, const struct rollup_slot *stored);

/* How a slot becomes one value; the names of storage-aggregation.conf. */
enum aggregation {
    AGGREGATION_AVERAGE,
    AGGREGATION_SUM,
    AGGREGATION_MIN,
    AGGREGATION_MAX,
    AGGREGATION_LAST,
    AGGREGATION_COUNT,
    AGGREGATION_AVG_ZERO, /* sum over all slots there could be */
    AGGREGATION_KINDS
};
const char *aggregation_name(enum aggregation a);
/* ERR_INVALID says why a name is refused (median: a roll-up does not keep what it needs). */
int aggregation_parse(const char *name, size_t len, enum aggregation *out, struct err *err) must_check;

/* The slot's value, column_missing() if there is nothing in it. points_per_slot: base slots in the span. */
double rollup_slot_value(const struct rollup_slot *s, enum aggregation a, uint32_t points_per_slot);
double rollup_value(const struct rollup *r, uint32_t i, enum aggregation a, uint32_t points_per_slot);

#endif
