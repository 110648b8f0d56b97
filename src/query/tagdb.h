/* Series by their tags: what seriesByTag() and /tags/... ask. Answers come from a walk over the source's
 * tagged series. */
#ifndef CARAT_QUERY_TAGDB_H
#define CARAT_QUERY_TAGDB_H

#include "base/arena.h"
#include "query/source.h"

#include <stdbool.h>

/* Conditions tag=v, tag!=v, tag=~regex, tag!=~regex; a regex is anchored at the start. A series without the
 * tag has the empty value, but at least one condition must not hold for that. Calls fn for each series that
 * meets all of them. ERR_INVALID: a condition is none, or all of them hold for an empty value. */
int tagdb_find(struct query_source *s, const char *const *exprs, size_t n, struct arena *arena,
               query_name_fn fn, void *ctx, struct err *err) must_check;

/* The value of a tag in a series' name ("name" is the path); false if it has none. Borrowed from `name`. */
bool tagdb_value(const char *name, size_t len, const char *tag, const char **value, size_t *value_len);
/* i-th tag of a name, i = 0 being "name" itself; false past the last. */
bool tagdb_tag_at(const char *name, size_t len, size_t i, const char **tag, size_t *tag_len,
                  const char **value, size_t *value_len);
/* The tag a condition is about, into the arena; NULL if it is no condition. */
const char *tagdb_expr_tag(const char *expr, struct arena *arena);

#endif
