/* The server watches itself: its metrics become series, and a probe tells whether points come through.
 *
 * Two threads. One looks at the metrics every interval and submits them like any door does; the other probes
 * through the public doors (probe.h). Neither holds up anything: what cannot be stored at once is counted and
 * forgotten, since the next look is near. */
#ifndef CARAT_WATCH_WATCH_H
#define CARAT_WATCH_WATCH_H

#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "catalog/catalog.h"
#include "ingest/sink.h"
#include "watch/probe.h"

#define WATCH_FAR_MAX 4

struct watch;

struct watch_options {
    struct metrics *metrics; /* all borrowed */
    struct sink *sink;
    struct clock *clock;
    const char *node;           /* copied */
    int64_t interval_ms;        /* between two looks at the metrics */
    int64_t probe_interval_ms;  /* 0: no probe */
    int64_t far_interval_ms;    /* between two looks at the known points */
    struct probe_options probe; /* its clock and node are those above */
    unsigned far_days[WATCH_FAR_MAX];
    size_t nfar;
};

/* *out is for watch_stop and watch_free also after a failure. */
int watch_start(const struct watch_options *o, struct watch **out, struct err *err) must_check;
/* Nothing is submitted or probed afterwards. NULL is fine, here and below. */
void watch_stop(struct watch *w);
/* After the stream is closed: until then what was submitted refers to it. The metrics it registered must not
 * be shown any more. */
void watch_free(struct watch *w);

#endif
