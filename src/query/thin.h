/* Which targets may be read from coarse archives when their series will be put together to fewer points
 * (maxDataPoints): those in which nothing comes between reading and that consolidation but names, colours,
 * choices by name, and consolidateBy. */
#ifndef CARAT_QUERY_THIN_H
#define CARAT_QUERY_THIN_H

#include "model/rollup.h"
#include "query/ast.h"

struct thinning {
    int64_t max_points; /* 0: the finest archive is needed */
    enum aggregation consolidation;
};

/* max_points of the result is 0 or the one given. */
struct thinning thin_target(const struct ast *target, int64_t max_points);

#endif
