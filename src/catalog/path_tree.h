/* The paths of all series without tags as a tree of labels, for globs.
 *
 * A node is 24 bytes; children hang from their parent as a list (newest first) and are also found by one
 * hash over (parent, label), whose slots keep the hash: a probe that hits another node costs no cache miss.
 * Every distinct label is stored once. Node 0 is the root. Nodes never move and are never removed: one with
 * no series at or below it is not `live`, and no find sees it. No lock of its own: many readers or one
 * writer. */
#ifndef CARAT_CATALOG_PATH_TREE_H
#define CARAT_CATALOG_PATH_TREE_H

#include "base/arena.h"
#include "base/err.h"
#include "catalog/glob.h"

#include <stddef.h>
#include <stdint.h>

#define TREE_PAGE_BITS 18
#define TREE_PAGE      (1u << TREE_PAGE_BITS)
#define LABEL_NONE     UINT32_MAX

struct tree_node {
    uint32_t parent, label;
    uint32_t first_child, next_sibling; /* 0: none */
    uint32_t series;                    /* id of the series with exactly this path, 0: only a branch */
    uint32_t live;                      /* children that are live, and one for a series */
};
_Static_assert(sizeof(struct tree_node) == 24, "the budget per series counts on it");

struct tree_label {
    const char *text;
    uint32_t hash;
    uint16_t len;
};

struct tree_slot {
    uint32_t hash;
    uint32_t node; /* 0: empty */
};

struct path_tree {
    struct tree_node **pages;
    uint32_t npages, nodes;
    struct tree_slot *children; /* open addressing, node by (parent, label); at most 3/4 full */
    uint32_t children_mask;
    struct tree_label *labels;
    uint32_t nlabels, labels_cap;
    uint32_t *label_slots; /* label + 1 by text, 0: empty; at most 3/4 full */
    uint32_t label_mask;
    struct arena text;
};

void path_tree_init(struct path_tree *t);
void path_tree_release(struct path_tree *t);
/* A path has one series; it is 1 to NAME_MAX_BYTES bytes. One that has another already has this one then. */
void path_tree_add(struct path_tree *t, const char *path, size_t len, uint32_t series);
/* Nothing happens if the path has not this series. */
void path_tree_remove(struct path_tree *t, const char *path, size_t len, uint32_t series);
uint64_t path_tree_bytes(const struct path_tree *t);

/* Id of a label, LABEL_NONE if no path has it. */
uint32_t path_tree_label(const struct path_tree *t, const char *text, size_t len);
/* Child of a node, 0 if there is none. */
uint32_t path_tree_child(const struct path_tree *t, uint32_t parent, uint32_t label);

static inline struct tree_node *tree_node(const struct path_tree *t, uint32_t i)
{
    return &t->pages[i >> TREE_PAGE_BITS][i & (TREE_PAGE - 1)];
}
/* All 32 bits are kept in the slot, so a table may have up to 2^32 slots. */
static inline uint32_t tree_child_hash(uint32_t parent, uint32_t label)
{
    uint64_t x = ((uint64_t)parent << 32 | label) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)((x ^ x >> 29) * 0xbf58476d1ce4e5b9ull >> 32);
}

static inline bool tree_node_is_branch(const struct tree_node *n)
{
    return n->live > (n->series != 0);
}

/* Appends the path of a node. */
void path_tree_path(const struct path_tree *t, uint32_t node, struct buf *out);

struct node_list {
    uint32_t *v;
    size_t n, cap;
};
#define NODE_LIST_INIT                                                                                       \
    {                                                                                                        \
        NULL, 0, 0                                                                                           \
    }
void node_list_push(struct node_list *l, uint32_t node);
void node_list_release(struct node_list *l);

/* Longest pattern with a ** in it, in levels. */
#define PATTERN_DEEP_LEVELS 63

/* Appends the nodes that match, each once, sorted level by level in byte order. ERR_LIMIT: more than
 * `limit` nodes (0: no limit), or a pattern with ** and over PATTERN_DEEP_LEVELS levels. */
int path_tree_find(const struct path_tree *t, const struct glob *levels, size_t nlevels, size_t limit,
                   struct node_list *out, struct err *err) must_check;

#endif
