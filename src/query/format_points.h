/* What formats of text share: the values of a series as they are shown, and numbers and names as text. */
#ifndef CARAT_QUERY_FORMAT_POINTS_H
#define CARAT_QUERY_FORMAT_POINTS_H

#include "base/buf.h"
#include "query/agg.h"
#include "query/query.h"

/* The consolidated values of a series, one by one: points_next gives the one number i, and moves on. */
struct points {
    const struct query_series *s;
    agg_fn fn;
    bool zero;
    size_t n, i;
};
/* ERR_INVALID: the series is to be consolidated by something that is no such function. */
int points_init(struct points *p, const struct query_series *s, struct err *err) must_check;
double points_next(struct points *p);

/* A name as JSON. */
void put_name(struct buf *b, const struct query_series *s);
void put_int(struct buf *b, int64_t v);

#endif
