/* The server's metrics as series of its own: what /metrics shows now, kept as history.
 *
 *   carat_hot_bytes                              carat.<node>.hot_bytes
 *   carat_probe_last_seconds                     carat.<node>.probe_last.s
 *   carat_points_received_total{door="udp"}      carat.<node>.points_received.udp.per_min    increase in a
 * minute carat_writer_apply_seconds (histogram)
 * carat.<node>.writer_apply.{per_min,mean_ms,p50_ms,p99_ms,busy_ratio}
 *
 *   carat_process_cpu_seconds_total{mode="user"} carat.<node>.process_cpu.user.s_per_min
 *
 * A counter becomes its increase since the last round, as a rate per minute, so that a restart shows no
 * negative step and no total has to be differentiated by whoever draws it. A histogram becomes its
 * distribution since the last round: how many, their mean, two percentiles (the upper edge of the bucket, so
 * at most a factor of two too high) and the share of the time that was spent in it: busy_ratio is the
 * concurrency of that stage (batches per minute x mean duration in ms / 60,000). One owner. */
#ifndef CARAT_WATCH_OWN_SERIES_H
#define CARAT_WATCH_OWN_SERIES_H

#include "base/buf.h"
#include "base/metrics.h"
#include "model/sample.h"

#include <stdint.h>

struct own_series;

/* `node` is a level of the names; bytes that would cut a level become '_'. */
struct own_series *own_series_new(struct metrics *m, const char *node);
void own_series_free(struct own_series *o);

/* Adds a sample for every metric to `out`, with the time ts_ms. mono_ms is the time of the look: what grows
 * is told from the second round on. */
void own_series_collect(struct own_series *o, int64_t ts_ms, int64_t mono_ms, struct sample_batch *out);

/* Appends the name of a metric's series, without the ending that tells which number of it. Pure. */
void own_series_name(const char *node, const char *metric, const char *labels, struct buf *out);

#endif
