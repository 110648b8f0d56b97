/* Where queries get names and values from: the catalog and the reader, or a table in memory for tests. */
#ifndef CARAT_QUERY_SOURCE_H
#define CARAT_QUERY_SOURCE_H

#include "base/err.h"
#include "model/column.h"
#include "reader/reader.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct query_source {
    const struct query_source_ops *ops;
};

/* One node of the tree of untagged names. Borrowed during the call. */
struct query_node {
    const char *path; /* NUL-terminated */
    size_t len;
    uint32_t id; /* 0: only a branch */
    bool branch;
};
/* A non-zero result stops the walk and is returned from it. */
typedef int (*query_node_fn)(void *ctx, const struct query_node *node);
typedef int (*query_name_fn)(void *ctx, uint32_t id, const char *name, size_t len);

struct query_source_ops {
    /* As catalog_find. */
    int (*find)(struct query_source *s, const char *pattern, size_t len, size_t limit, query_node_fn fn,
                void *ctx, struct err *err);
    /* Every series, or only those with tags; any order. */
    int (*each)(struct query_source *s, bool tagged, query_name_fn fn, void *ctx);
    /* Exact canonical name; 0 if unknown. */
    uint32_t (*lookup)(struct query_source *s, const char *name, size_t len);
    /* Step of the answer to a fetch of this range: coarser where the range reaches back beyond what the
     * finest archive keeps. 0: no such series. */
    int64_t (*step_ms)(struct query_source *s, uint32_t id, const struct read_range *range);
    /* As reader_fetch_planned. */
    int (*fetch)(struct query_source *s, uint32_t id, const struct read_range *range, struct column *column,
                 struct read_spans *spans, struct read_sums *sums, struct read_report *report,
                 struct err *err);
};

struct catalog;
struct reader;
struct query_source *query_source_new(struct catalog *c, struct reader *r); /* both borrowed */
void query_source_free(struct query_source *s);

#endif
