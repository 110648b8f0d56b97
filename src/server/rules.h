/* The retention and aggregation rules in force, and what they and those before them make of each series.
 *
 * Two things are told apart. The *rules in force* are those of the files as they were last read: new series
 * are born under them, and nothing is read for longer than they say. The *layout* of a series
 * (model/layout.h) is how its points are stored: it follows the rules it was born under and those that were
 * applied since, which is a job of its own (retention_apply.h). A history in a file remembers them all
 * (rules_history.h).
 *
 * Layouts are made once a series and then remembered by its id, since the writer asks for every window and
 * the reader for every read. A change makes a new generation; older ones stay until the end, because any
 * thread may be using them. Any thread, but for what is said to be one at a time. */
#ifndef CARAT_SERVER_RULES_H
#define CARAT_SERVER_RULES_H

#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "catalog/catalog.h"
#include "model/aggregation.h"
#include "model/layout.h"
#include "server/rules_history.h"

struct rules;

struct rules_options {
    const char *schemas_path, *aggregation_path; /* NULL or empty: the shipped defaults */
    const char *history_path;                    /* NULL: nothing is remembered */
    struct fs *fs;                               /* of the history */
    struct clock *clock;
    int64_t max_future_ms; /* no point is accepted from further ahead */
    bool as_is;            /* what is stored is taken for what the rules in force say, whatever was before */
};

/* Reads the files and the history. Errors name file and line. */
int rules_new(const struct rules_options *o, struct rules **out, struct err *err) must_check;
void rules_free(struct rules *r);
/* Before anything that asks for a series. */
void rules_set_catalog(struct rules *r, struct catalog *c);
/* Puts the files' rules in force if they are not those of the last time. Once all series are known, and
 * before new ones are made. */
int rules_begin(struct rules *r, struct err *err) must_check;
/* Reads the files again and puts them in force. On an error the rules in force stay. ERR_LIMIT after so many
 * changes that only a restart helps. What was being applied is given up if the files say something else. */
int rules_reload(struct rules *r, struct err *err) must_check;

/* --- what is asked all the time; ctx is the struct rules --- */

/* layout_of_fn: as it is stored, and what is being built. For who writes. */
bool rules_layouts(void *ctx, uint32_t series, const struct layout **now, const struct layout **next);
/* layout_of_fn: what of it may be read under the rules in force. *next: NULL. */
bool rules_read_layouts(void *ctx, uint32_t series, const struct layout **now, const struct layout **next);
uint32_t rules_step_at(void *ctx, uint32_t series, int64_t ts_ms);
const struct aggregation_rule *rules_aggregation(void *ctx, uint32_t series);

/* By name, for series that have no id yet. */
uint32_t rules_step_ms(struct rules *r, const char *name, size_t len);
int64_t rules_keep_ms(struct rules *r, const char *name, size_t len);
/* No series keeps its points for less. */
int64_t rules_shortest_keep_ms(struct rules *r);

/* Every step that stored windows may have; and, after that, how long windows of one of them stay. 0: nothing
 * says when they may go. RULES_DROP_NOW: no series has any, nor will one that is born. */
#define RULES_DROP_NOW 1
size_t rules_steps(void *ctx, uint32_t *steps_ms, size_t cap);
int64_t rules_step_keep_ms(void *ctx, uint32_t step_ms);

/* --- what is to change --- */

/* Rules that are not in force: those of the files as they are now. */
struct rules_candidate {
    struct retention_rules *retention;
    struct aggregation_rules *aggregation;
    char *text; /* of the first; NULL: the default */
};
int rules_read_files(struct rules *r, struct rules_candidate *out, struct err *err) must_check;
void rules_candidate_release(struct rules_candidate *c);

/* What a series' layout is and what it would be, now, under these rules. False: no such series. */
struct rules_outlook {
    struct layout now, then;
    const struct retention *wanted; /* the rule, as it is written */
    const char *step_stays;         /* NULL, or why its step cannot become the wanted one */
    int64_t switch_ms;              /* when the new step would begin */
    const struct aggregation_rule *aggregation, *new_aggregation;
};
bool rules_outlook(struct rules *r, const struct rules_candidate *c, uint32_t series, int64_t now_ms,
                   struct rules_outlook *out);

/* How far the rules in force are applied. RULES_DONE: wholly. `other`: the files' rules of now, compared with
 * those in force; may be NULL. */
struct rules_status {
    enum rules_state state;
    bool leftovers; /* earlier ones were applied, but what they drop is not all gone */
    int64_t decided_ms, from_ms;
};
void rules_get_status(struct rules *r, struct rules_status *out);

/* The steps of applying the rules in force, each durable before it counts; one caller at a time. In between:
 * see retention_apply.h. ERR_CLOSED: others have come in force meanwhile. */
int rules_apply_begin(struct rules *r, struct err *err) must_check;
int rules_apply_switch(struct rules *r, struct err *err) must_check; /* all series follow them from here on */
int rules_apply_end(struct rules *r, struct err *err) must_check;
/* In between no switch comes: a copy of all data with the history is of one kind. */
void rules_hold(void *ctx);
void rules_release(void *ctx);
/* Whether what rules_apply_begin began still is what is being applied. */
bool rules_applying(struct rules *r);

#endif
