/* Which prefixes have the most series: where a flood of names comes from. */
#ifndef CARAT_HTTP_CARDINALITY_H
#define CARAT_HTTP_CARDINALITY_H

#include "base/buf.h"
#include "base/clock.h"
#include "catalog/catalog.h"

#define CARDINALITY_DEPTH_MAX 16
#define CARDINALITY_TOP_MAX   1000

struct cardinality_options {
    unsigned depth; /* levels of the path, 1..CARDINALITY_DEPTH_MAX */
    unsigned top;   /* prefixes shown at each depth, 1..CARDINALITY_TOP_MAX */
    int64_t max_ms; /* after so long the answer is of what was counted until then */
    size_t max_prefixes;
};

/* Appends {"series":N,"counted":N,"complete":true,"depths":[{"depth":1,"prefixes":N,
 * "top":[{"prefix":"servers","series":N},...]},...]}. Tags are no part of a prefix. */
void cardinality_json(struct catalog *c, struct clock *clock, const struct cardinality_options *o,
                      struct buf *out);

#endif
