/* Graphite's time forms:
 * https://graphite.readthedocs.io/en/latest/render_api.html#from-until
 * epoch seconds, now, -1h, now-2d, 14:30_20261122, noon_yesterday, 11/20/2026, nov20, friday+30min, ... */
#ifndef CARAT_QUERY_TIMESPEC_H
#define CARAT_QUERY_TIMESPEC_H

#include "base/err.h"
#include "query/zone.h"

#include <stdint.h>

/* A moment; `zone` NULL is UTC. ERR_INVALID says which part is not understood. */
int query_parse_time(const char *text, const struct query_zone *zone, int64_t now_s, int64_t *out_s,
                     struct err *err) must_check;

/* "1h", "-30min", "+1d12h": seconds. A text without a sign is positive, an empty one 0. */
int query_parse_interval(const char *text, int64_t *out_s, struct err *err) must_check;

enum query_unit { UNIT_SECONDS, UNIT_MINUTES, UNIT_HOURS, UNIT_DAYS, UNIT_WEEKS, UNIT_MONTHS, UNIT_YEARS };
/* The unit a word begins with: "s...", "min...", "h", "d", "w", "mon", "y"; -1 if none. */
int query_unit_of(const char *word);

#endif
