/* The background check: verifies everything at a slow rate, again and again. */
#ifndef CARAT_SERVER_SCRUB_H
#define CARAT_SERVER_SCRUB_H

#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "writer/verify.h"

struct scrub;

struct scrub_options {
    int64_t interval_ms; /* from the start of one round to that of the next */
    struct clock *clock;
    struct metrics *metrics;
    /* One round; ends soon after scrub_stopping is true. */
    int (*round)(struct scrub *s, void *ctx, struct verify_result *result, struct err *err);
    void *ctx;
};

/* The first round begins after a tenth of the interval, at most an hour: not while the server catches up. */
int scrub_start(const struct scrub_options *o, struct scrub **out, struct err *err) must_check;
bool scrub_stopping(struct scrub *s);
void scrub_stop(struct scrub *s); /* and frees it; NULL is fine */

#endif
