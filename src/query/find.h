/* Nodes of the name tree by graphite-web's patterns. */
#ifndef CARAT_QUERY_FIND_H
#define CARAT_QUERY_FIND_H

#include "base/arena.h"
#include "query/source.h"

struct found_node {
    const char *path; /* in the arena */
    uint32_t id;      /* 0: only a branch */
    bool branch;
};
struct found_nodes {
    struct found_node *v;
    size_t n, cap;
    size_t limit; /* 0: none */
    struct arena *arena;
};

/* Adds the nodes that match, sorted by path, each once. On top of what a source does: `**` before other
 * levels also matches no level at all, alternatives may be nested, backslashes are ignored, a pattern that
 * ends in a dot names branches, and a malformed pattern matches nothing. ERR_LIMIT: more than out->limit. */
int find_nodes(struct query_source *s, const char *pattern, struct found_nodes *out,
               struct err *err) must_check;

#endif
