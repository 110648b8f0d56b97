/* Time zones, read from the system's database (TZif files, RFC 8536). A zone does not change once loaded: any
 * thread. NULL stands for UTC everywhere. */
#ifndef CARAT_QUERY_ZONE_H
#define CARAT_QUERY_ZONE_H

#include <stdbool.h>
#include <stdint.h>

struct query_zone;

/* "Europe/Prague". NULL if there is no such zone. */
struct query_zone *query_zone_load(const char *name);
void query_zone_free(struct query_zone *z);

/* Seconds to add to UTC at that moment. */
int64_t query_zone_offset(const struct query_zone *z, int64_t utc_s);
/* Whether that moment is in daylight saving time. */
bool query_zone_dst(const struct query_zone *z, int64_t utc_s);
/* The moment of a local wall-clock time, given as if it were UTC. A time that happens twice is the one in
 * standard time; one that is skipped is taken with the offset before the gap. */
int64_t query_zone_to_utc(const struct query_zone *z, int64_t wall_s);

#endif
