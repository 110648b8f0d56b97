/* How the points of a series are stored: what became of its rules over time.
 *
 * A rule (retention.h) says what is wanted; a layout says what is there. It has
 * - eras: the series' own steps, one after the other. A point belongs to the era its time stamp lies in,
 * whatever the time it arrives at, so applying the stream again puts it in the same place. Nearly every
 * series has one era;
 * - archives: the coarser steps for which roll-ups are kept, made from the eras that are finer.
 * Each says how long it is kept and since when it is whole: an archive that was added or is kept for longer
 * than before does not reach back as far as the rule does.
 *
 * Steps of eras and archives divide each other, any two of them. A later era begins where a window of the
 * coarser of the two steps does, so no window ever holds points and roll-ups both. doc/retention.md has the
 * reasons.
 *
 * Pure; layouts are plain values. */
#ifndef CARAT_MODEL_LAYOUT_H
#define CARAT_MODEL_LAYOUT_H

#include "model/retention.h"

#include <stdbool.h>

#define LAYOUT_ERAS 4
/* Points whose roll-ups took their place stay so long, because points of their time may still arrive. */
#define LAYOUT_LINGER_MS (2 * 86400000ll)
/* A time that never comes, and one before all; far from overflow. */
#define LAYOUT_NEVER (INT64_MAX / 4)
#define LAYOUT_EVER  (-LAYOUT_NEVER)

struct layout_era {
    uint32_t step_ms;
    int64_t from_ms;  /* until the next era's; the first has what is older, too */
    int64_t keep_ms;  /* 0: roll-ups have taken its place, it is not read any more */
    int64_t since_ms; /* whole from here on, as far as it is kept; LAYOUT_EVER: always */
};

struct layout_archive {
    uint32_t step_ms;
    int64_t keep_ms, since_ms;
};

struct layout {
    const char *rule; /* the section it comes from, as in struct retention */
    size_t neras;     /* at least 1; the last is that of new points */
    struct layout_era era[LAYOUT_ERAS];
    size_t narchives; /* of roll-ups, finest first */
    struct layout_archive archive[RETENTION_ARCHIVES];
};

/* What is stored of a series by its id, and, while a change of it is being built, what else has to be made
 * already
 * (*next, or NULL). False: no such series. What it hands out lives as long as whoever gave the function. Any
 * thread; `next` may be NULL. */
typedef bool (*layout_of_fn)(void *ctx, uint32_t series, const struct layout **now,
                             const struct layout **next);
/* The step of a series for points of that time; 0: no such series. Cheap: asked for every point. */
typedef uint32_t (*layout_step_fn)(void *ctx, uint32_t series, int64_t ts_ms);

/* A new series with this step: the archives of retention_of_step, all whole. */
void layout_make(const struct retention *r, uint32_t step_ms, struct layout *out);

/* The layout once everything was brought to the rule `r`, which was decided at one time (what has expired by
 * then does not count) and takes effect at another (LAYOUT_NEVER: for whoever prepares it). Archives and
 * keeps are those of `r`. The own step becomes that of `r` from layout_switch_ms on: the old points stay an
 * era, read until they expire if that is the coarser one, rolled up to the new step otherwise. Where that
 * cannot be (layout_why_not) the series keeps its step and gets the archives of retention_of_step. */
void layout_change(const struct layout *l, const struct retention *r, int64_t decided_ms, int64_t at_ms,
                   struct layout *out);

/* When points begin to have the step of `r`, if the change takes effect at at_ms. */
int64_t layout_switch_ms(const struct layout *l, const struct retention *r, int64_t at_ms);
/* NULL, or why the own step cannot become that of `r`. */
const char *layout_why_not(const struct layout *l, const struct retention *r, int64_t decided_ms);

/* What may be read under the rule `r` as long as the layout was not brought to it: nothing for longer than it
 * says. */
void layout_clip(const struct layout *l, const struct retention *r, struct layout *out);

/* The same steps with the same keeps: there is nothing to do to get from one to the other. */
bool layout_same(const struct layout *a, const struct layout *b);

/* The same in every respect, section and times included. */
bool layout_equal(const struct layout *a, const struct layout *b);

/* Number of the era of a time, and where it ends. */
size_t layout_era_at(const struct layout *l, int64_t ts_ms);
int64_t layout_era_from(const struct layout *l, size_t era); /* the first: LAYOUT_EVER */
int64_t layout_era_until(const struct layout *l, size_t era);
static inline uint32_t layout_step_ms(const struct layout *l)
{
    return l->era[l->neras - 1].step_ms;
}
/* The archive of this step, or NULL. */
const struct layout_archive *layout_find(const struct layout *l, uint32_t step_ms);
uint32_t layout_coarsest_ms(const struct layout *l);
int64_t layout_longest_keep_ms(const struct layout *l);

/* From when on era or archive are whole at the time now_ms: kept and made. */
int64_t layout_era_whole_ms(const struct layout *l, size_t era, int64_t now_ms);
int64_t layout_archive_whole_ms(const struct layout_archive *a, int64_t now_ms);
/* Since when every point is in the series' own step: that of its era. */
int64_t layout_base_whole_ms(const struct layout *l, int64_t now_ms);
/* The same for slots of a step: since when each has its roll-up, or points where these are not finer. */
int64_t layout_whole_ms(const struct layout *l, uint32_t step_ms, int64_t now_ms);

/* Whether the window of this step that starts then holds points and not roll-ups. */
bool layout_is_base(const struct layout *l, uint32_t step_ms, int64_t window_ms);

/* How long windows of this step must stay in the tiers: longer than they are read (retention_warm_keep_ms);
 * 0: the layout has none of this step. */
int64_t layout_store_keep_ms(const struct layout *l, uint32_t step_ms);
/* Windows of this step that start then or later are not dropped; 0 or less: none is. */
int64_t layout_drops_until(const struct layout *l, uint32_t step_ms, int64_t now_ms);
/* Whether the window that starts then is nobody's any more. */
bool layout_drops(const struct layout *l, uint32_t step_ms, int64_t window_ms, int64_t now_ms);

#endif
