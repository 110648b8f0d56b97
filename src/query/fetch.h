/* Reading what a path or a seriesByTag() call names. */
#ifndef CARAT_QUERY_FETCH_H
#define CARAT_QUERY_FETCH_H

#include "query/load.h"

/* Announces that `path` will be read in the scope's time range. Like graphite-web, which reads ahead what it
 * finds in positional arguments, fetch_path gives nothing for a path that was not announced. */
void fetch_announce(struct query *q, const struct scope *scope, const char *path);
/* Fresh series, sorted by name. */
struct list *fetch_path(struct call *c, const char *path);

/* The same, perhaps without values yet (`deferred`): for a function that goes on with fetch_each or fetch_now
 * before it looks at any. */
struct list *fetch_deferred(struct call *c, const char *path);
/* Reads what is not read yet. False after a failure. */
bool fetch_now(struct query *q, struct list *l);
/* Reads a list whose series are all deferred without keeping them. */
void fetch_each(struct query *q, const struct list *l, load_fn fn, void *ctx);

#endif
