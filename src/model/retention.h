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

struct retention_rules;

/* `filename` is for messages only, which name it, the line and what is wrong. */
int retention_parse(const char *text, const char *filename, struct retention_rules **out,
                    struct err *err) must_check;
int retention_load(const char *path, struct retention_rules **out, struct err *err) must_check;
/* No sections: everything is kept at 60s:460d. */
struct retention_rules *retention_default(void);
void retention_free(struct retention_rules *r);

/* Never NULL: what no section matches is kept at 60s:460d. Lives as long as the rules. */
const struct retention *retention_match(const struct retention_rules *r, const char *name, size_t len);

#endif
