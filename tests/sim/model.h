/* The plain model a simulated run is compared with: what was sent for each slot of each series, and how much
 * of that is promised to be readable still.
 *
 * A slot is a byte: how often it was written (a version, 1..127, going round), 0 if never. The value follows
 * from series, slot and version, so that 115 million points take 115 MB. */
#ifndef CARAT_TESTS_SIM_MODEL_H
#define CARAT_TESTS_SIM_MODEL_H

#include "model/retention.h"
#include "model/rollup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_STEP_MS 60000
#define MODEL_DAY_MS  86400000ll
#define MODEL_DAY     (MODEL_DAY_MS / MODEL_STEP_MS) /* slots */
#define MODEL_T0      (20666 * MODEL_DAY_MS)         /* slot 0: 2026-08-01 */
#define MODEL_GONE    0x80                           /* the base may have let go of it */

/* A coarse archive of a series: its slots from since_ms on are promised, and those before are not, because
 * the archive was made later, or kept less once. */
struct model_archive {
    uint32_t step_ms;
    int64_t since_ms; /* INT64_MAX: not made yet */
};

struct model_series {
    uint8_t *slot;
    bool written;
    size_t gone;    /* slots before this one that were written are marked MODEL_GONE */
    size_t lost;    /* the most `gone` has been: before this the base is not whole */
    uint64_t *torn; /* a bit a day: written to when the day's base was not all there any more */
    size_t narchives;
    struct model_archive archive[RETENTION_ARCHIVES];
};

struct model {
    unsigned nseries;
    size_t nslots;
    int64_t expired_ms; /* base windows before this may have been dropped */
    struct model_series *series;
};

struct model *model_new(unsigned nseries, size_t nslots);
void model_free(struct model *m);

static inline int64_t model_ms(size_t slot)
{
    return MODEL_T0 + (int64_t)slot * MODEL_STEP_MS;
}

/* By kind of series: constant, counter, hundredths, whole numbers, random bits, eighths, few, spikes. */
double model_value(unsigned series, size_t slot, unsigned version);
/* Whether the series' agent has something to send for this slot. */
bool model_has(unsigned series, size_t slot);

/* A write, of the next version or again of the one there is (1 if there is none). The version that was sent.
 */
unsigned model_write(struct model *m, unsigned series, size_t slot, bool again);

/* Rules came into force, or time went by: what they do not keep is promised no more. Archives that were not
 * there before are promised from model_rebuilt on; those there are when nothing was ever written, at once. */
void model_rules(struct model *m, unsigned series, const struct retention *r, int64_t now_ms);
void model_rebuilt(struct model *m, unsigned series);

/* Whether this is what the series' base must give; where MODEL_GONE is set it may be missing. */
bool model_base_is(const struct model *m, unsigned series, size_t slot, double got);

/* The coarse slots of a step from from_ms on, one for each of n. `promised`: it has to be exactly that. */
struct model_coarse {
    struct rollup_slot slot; /* the sum without its carry */
    double sum_abs;          /* of the values' absolutes: what a sum may be off by follows from it */
    bool promised;
};
void model_coarse(const struct model *m, unsigned series, uint32_t step_ms, int64_t from_ms, size_t n,
                  struct model_coarse *out);

#endif
