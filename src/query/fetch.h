/* Reading what a path or a seriesByTag() call names. */
#ifndef CARAT_QUERY_FETCH_H
#define CARAT_QUERY_FETCH_H

#include "query/eval.h"

/* Announces that `path` will be read in the scope's time range. Like graphite-web, which reads ahead what it
 * finds in positional arguments, fetch_path gives nothing for a path that was not announced. */
void fetch_announce(struct query *q, const struct scope *scope, const char *path);
/* Fresh series, sorted by name. */
struct list *fetch_path(struct call *c, const char *path);

#endif
