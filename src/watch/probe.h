/* The end-to-end probe: is what is posted stored, and can it be read back?
 *
 * It does what a user does, through the public doors: posts a point nobody else has (its value is the time in
 * microseconds) to POST /api/v0/services/carat/tsdb and asks /render until it is there. The far end is looked
 * at, too: points that were known when they were posted, days ago, are read again and compared; by then they
 * come from warm or from cold.
 *
 *   service.carat.probe.<node>       the newest probe, overwritten within a minute
 *   service.carat.probe_far.<node>   one point a day at 00:00 UTC, a function of its time (probe_far_value)
 *
 * One thread owns a probe; probe_stop may be called from any other. */
#ifndef CARAT_WATCH_PROBE_H
#define CARAT_WATCH_PROBE_H

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct probe;

struct probe_options {
    const char *url;     /* "http://127.0.0.1:8012"; copied, as all text here */
    const char *api_key; /* X-Api-Key; NULL: none. Never shown. */
    const char *node;    /* a level of the series' name: letters, digits, _ and - */
    bool direct;         /* ignore proxies of the environment: for our own address */
    int64_t timeout_ms;  /* of one probe as a whole */
    struct clock *clock;
};

/* ERR_INVALID: url, node or key cannot be used. */
int probe_new(const struct probe_options *o, struct probe **out, struct err *err) must_check;
void probe_free(struct probe *p);
/* What runs ends soon with ERR_CLOSED. */
void probe_stop(struct probe *p);

/* Where a probe failed. */
enum probe_step { PROBE_OK, PROBE_POST, PROBE_READ, PROBE_MISSING, PROBE_WRONG, PROBE_STEPS };
/* "ok", "post", "read", "missing", "wrong" */
const char *probe_step_name(enum probe_step step);

struct probe_result {
    enum probe_step step;
    double ack_seconds;  /* until the post was acknowledged */
    double read_seconds; /* until the point was read back, from the start */
};
/* One probe. OK with step PROBE_OK, or an error whose text says what happened at out->step:
 *   POST     the server could not be reached or did not acknowledge the point
 *   READ     the question for it was not answered
 *   MISSING  it was acknowledged, but is not there when the time is over */
int probe_near(struct probe *p, struct probe_result *out, struct err *err) must_check;

/* The value of the known point at a time. Pure. */
double probe_far_value(int64_t time_s);

/* Looks for the known points `days[i]` days ago (0: today's). What was not there before is posted (a first
 * run), and is missing if it is still not there at a later look. *worst: as above, WRONG for another value.
 */
int probe_far(struct probe *p, const unsigned *days, size_t n, enum probe_step *worst,
              struct err *err) must_check;

#endif
