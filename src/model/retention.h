/* Retention rules: which resolution a series has and how long it is kept, from Graphite's own
 * storage-schemas.conf.
 *
 *   [servers]
 *   pattern = ^servers\.
 *   retentions = 10s:6h, 1m:30d, 1h:5y
 *
 * Sections are tried in order, the first whose pattern (a regular expression, searched for anywhere in the
 * whole name, tags included) matches counts. A retention is precision:duration. Each is a number and a unit:
 * any leading part of seconds, minutes, hours, days, weeks or years (365 days), so s, m, h, d, w, y for
 * short. A number alone is seconds as precision and points as duration (60:1440). '#' and ';' start comment
 * lines.
 *
 * Rules do not change once parsed; any number of threads may match at the same time. */
#ifndef CARAT_MODEL_RETENTION_H
#define CARAT_MODEL_RETENTION_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define RETENTION_ARCHIVES 8

struct retention_archive {
    uint32_t step_ms; /* STEP_MIN_MS..STEP_MAX_MS */
    int64_t keep_ms;  /* at least step_ms and a multiple of it */
};

/* Finest archive first; each coarser step is a multiple of the finer one and is kept longer. */
struct retention {
    const char *rule; /* name of the section, "default" if none matched; lives as long as the rules */
    size_t narchives; /* at least 1 */
    struct retention_archive archives[RETENTION_ARCHIVES];
};

/* The rules of a series by its id; NULL: it has only its base archive. What it returns lives as long as
 * whoever was given the function. Any thread; called for every window that is stored and every series that is
 * read. */
typedef const struct retention *(*retention_of_fn)(void *ctx, uint32_t series);

struct retention_rules;

/* `filename` is for messages only, which name it, the line and what is wrong. */
int retention_parse(const char *text, const char *filename, struct retention_rules **out,
                    struct err *err) must_check;
int retention_load(const char *path, struct retention_rules **out, struct err *err) must_check;
/* No sections: everything is kept at 60s:460d, 5m:2y, 1h:5y, 1d:30y. */
struct retention_rules *retention_default(void);
void retention_free(struct retention_rules *r);

/* Never NULL: what no section matches is kept like the default. Lives as long as the rules. */
const struct retention *retention_match(const struct retention_rules *r, const char *name, size_t len);

/* The i-th rule of all, the fallback last; NULL past it. */
const struct retention *retention_at(const struct retention_rules *r, size_t i);

/* The least time any series' finest archive is kept under these rules. */
int64_t retention_shortest_keep_ms(const struct retention_rules *r);

/* The archives of a series whose base step is in force already (a step never changes): archive 0 is the base
 * at that step, kept as long as the finest archive of `r` that is not finer; after it come those archives of
 * `r` whose step is a multiple of the one before. */
void retention_of_step(const struct retention *r, uint32_t base_step_ms, struct retention *out);

/* How long an archive's windows stay in the tiers: longer than points are accepted (keep_ms), so that a
 * roll-up slot at the border can still be made from all its points. Whoever expires uses this. */
int64_t retention_warm_keep_ms(const struct retention *r, size_t archive);

#endif
