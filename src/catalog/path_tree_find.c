/* Globs over the path tree.
 *
 * Without ** the tree is taken level by level: the frontier holds the matches so far in order, and the
 * children of each, sorted, give the next frontier in order. Working on a whole frontier lets the hash slots
 * and nodes of a literal level be prefetched.
 *
 * With ** matches lie at several depths and can be reached in several ways, so the tree is walked in depth
 * with the set of pattern levels that each path so far has come to: every node is visited once. */
#include "base/mem.h"
#include "base/prefetch.h"
#include "catalog/path_tree.h"

#include <stdlib.h>
#include <string.h>

#define PREFETCH 16

static int label_cmp(const struct tree_label *a, const struct tree_label *b)
{
    int c = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
    return c ? c : (int)a->len - (int)b->len;
}

static const struct tree_label *label_of(const struct path_tree *t, uint32_t node)
{
    return &t->labels[tree_node(t, node)->label];
}

struct sort_item {
    uint64_t key; /* the label's bytes after the prefix all of them share, first byte on top */
    const struct tree_label *label;
    uint32_t node;
};

static int item_cmp(const void *a, const void *b)
{
    const struct sort_item *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return label_cmp(x->label, y->label);
}

static size_t common_prefix(const struct sort_item *v, size_t n)
{
    size_t len = v[0].label->len;
    for (size_t i = 1; i < n; i++) {
        const struct tree_label *l = v[i].label;
        size_t k = 0;
        while (k < len && k < l->len && l->text[k] == v[0].label->text[k])
            k++;
        len = k;
    }
    return len;
}

static uint64_t key_at(const struct tree_label *l, size_t from)
{
    uint64_t key = 0;
    for (size_t i = 0; i < 8; i++)
        key = key << 8 | (from + i < l->len ? (uint8_t)l->text[from + i] : 0);
    return key;
}

static void sort_many(const struct path_tree *t, uint32_t *v, size_t n)
{
    struct sort_item *items = xmalloc(n * sizeof *items);
    /* Lists run from the newest to the oldest: turned round they are often in order already. */
    for (size_t i = 0; i < n; i++)
        items[i] = (struct sort_item){0, label_of(t, v[n - 1 - i]), v[n - 1 - i]};
    size_t prefix = common_prefix(items, n);
    bool sorted = true;
    for (size_t i = 0; i < n; i++) {
        items[i].key = key_at(items[i].label, prefix);
        sorted = sorted && (i == 0 || item_cmp(&items[i - 1], &items[i]) < 0);
    }
    if (!sorted)
        qsort(items, n, sizeof *items, item_cmp);
    for (size_t i = 0; i < n; i++)
        v[i] = items[i].node;
    free(items);
}

/* Sorts siblings by label. */
static void sort_nodes(const struct path_tree *t, uint32_t *v, size_t n)
{
    if (n > 12) {
        sort_many(t, v, n);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        uint32_t node = v[i];
        size_t j = i;
        for (; j > 0 && label_cmp(label_of(t, v[j - 1]), label_of(t, node)) > 0; j--)
            v[j] = v[j - 1];
        v[j] = node;
    }
}

/* Answers of one glob by label: 0 not asked yet, 1 no, 2 yes. */
static bool matches(const struct path_tree *t, const struct glob *g, uint32_t label, uint8_t *memo)
{
    if (g->kind == GLOB_ANY || g->kind == GLOB_DEEP)
        return true;
    const struct tree_label *l = &t->labels[label];
    if (!memo)
        return glob_match(g, l->text, l->len);
    if (!memo[label])
        memo[label] = glob_match(g, l->text, l->len) ? 2 : 1;
    return memo[label] == 2;
}

static int over_limit(size_t limit, struct err *err)
{
    return err_set(err, ERR_LIMIT, "the pattern matches more than %zu nodes", limit);
}

struct step {
    const struct path_tree *t;
    const struct glob *g;
    const struct node_list *from;
    struct node_list *to;
    size_t limit; /* SIZE_MAX except in the last level */
};

#define LANES 32
#define AHEAD 8

/* A list of children is a chain of cache misses. Those of the next LANES nodes are walked abreast, up to
 * AHEAD children deep, so that their misses overlap. */
PREFETCH_INLINE void prefetch_children(const struct step *s, size_t i)
{
    const struct path_tree *t = s->t;
    uint32_t at[LANES];
    size_t n = s->from->n - i < LANES ? s->from->n - i : LANES;
    for (size_t k = 0; k < n; k++)
        __builtin_prefetch(tree_node(t, s->from->v[i + k]));
    for (size_t k = 0; k < n; k++) {
        at[k] = tree_node(t, s->from->v[i + k])->first_child;
        __builtin_prefetch(tree_node(t, at[k]));
    }
    for (unsigned depth = 1; depth < AHEAD; depth++)
        for (size_t k = 0; k < n; k++) {
            at[k] = at[k] ? tree_node(t, at[k])->next_sibling : 0;
            __builtin_prefetch(tree_node(t, at[k]));
        }
}

/* Tries every child. A memo pays only if labels can come up twice, under different parents. */
static void step_wildcard(const struct step *s)
{
    uint8_t *memo = s->from->n > 1 && s->g->kind == GLOB_PATTERN ? xcalloc(s->t->nlabels, 1) : NULL;
    for (size_t i = 0; i < s->from->n && s->to->n <= s->limit; i++) {
        if (i % LANES == 0)
            prefetch_children(s, i);
        size_t start = s->to->n;
        for (uint32_t c = tree_node(s->t, s->from->v[i])->first_child; c;) {
            const struct tree_node *n = tree_node(s->t, c);
            if (n->live && matches(s->t, s->g, n->label, memo))
                node_list_push(s->to, c);
            c = n->next_sibling;
        }
        if (s->to->n > start)
            sort_nodes(s->t, s->to->v + start, s->to->n - start);
    }
    free(memo);
}

PREFETCH_INLINE void prefetch_slot(const struct path_tree *t, uint32_t parent, uint32_t label)
{
    __builtin_prefetch(&t->children[tree_child_hash(parent, label) & t->children_mask]);
}

PREFETCH_INLINE void prefetch_slot_node(const struct path_tree *t, uint32_t parent, uint32_t label)
{
    uint32_t hash = tree_child_hash(parent, label), i = hash & t->children_mask;
    while (t->children[i].node && t->children[i].hash != hash)
        i = (i + 1) & t->children_mask;
    __builtin_prefetch(tree_node(t, t->children[i].node));
}

/* Looks the choices up, in their order, under every node of the frontier. */
static void step_choices(const struct step *s)
{
    uint32_t *labels = xmalloc(s->g->nchoices * sizeof *labels);
    size_t n = 0;
    for (size_t i = 0; i < s->g->nchoices; i++) {
        labels[n] = path_tree_label(s->t, glob_choice(s->g, i), s->g->choices[i].len);
        n += labels[n] != LABEL_NONE;
    }
    const uint32_t *v = s->from->v;
    size_t end = n ? s->from->n : 0;
    for (size_t i = 0; i < end && s->to->n <= s->limit; i++) {
        if (i + 2 * PREFETCH < end)
            prefetch_slot(s->t, v[i + 2 * PREFETCH], labels[0]);
        if (i + PREFETCH < end)
            prefetch_slot_node(s->t, v[i + PREFETCH], labels[0]);
        for (size_t k = 0; k < n; k++) {
            uint32_t child = path_tree_child(s->t, v[i], labels[k]);
            if (child && tree_node(s->t, child)->live)
                node_list_push(s->to, child);
        }
    }
    free(labels);
}

static int find_by_level(const struct path_tree *t, const struct glob *levels, size_t n, size_t limit,
                         struct node_list *out, struct err *err)
{
    struct node_list from = NODE_LIST_INIT, to = NODE_LIST_INIT;
    node_list_push(&from, 0);
    for (size_t i = 0; i < n && from.n; i++) {
        to.n = 0;
        struct step s = {t, &levels[i], &from, &to, limit && i == n - 1 ? limit : SIZE_MAX};
        if (levels[i].kind == GLOB_CHOICE)
            step_choices(&s);
        else if (levels[i].kind != GLOB_NEVER)
            step_wildcard(&s);
        struct node_list swap = from;
        from = to;
        to = swap;
    }
    int rc = limit && from.n > limit ? over_limit(limit, err) : OK;
    for (size_t i = 0; rc == OK && i < from.n; i++)
        node_list_push(out, from.v[i]);
    node_list_release(&from);
    node_list_release(&to);
    return rc;
}

/* A node on its way to be visited, with the levels that may match its children; bit `nlevels` says that
 * the node itself matches. */
struct visit {
    uint32_t node;
    uint64_t levels;
};

struct deep {
    const struct path_tree *t;
    const struct glob *levels;
    size_t nlevels;
    uint8_t **memo; /* by level */
    struct visit *stack;
    size_t n, cap;
    struct node_list passed; /* scratch */
};

static uint64_t advance(const struct deep *d, uint64_t levels, uint32_t label)
{
    uint64_t next = 0;
    for (; levels; levels &= levels - 1) {
        unsigned i = (unsigned)__builtin_ctzll(levels);
        if (!matches(d->t, &d->levels[i], label, d->memo[i]))
            continue;
        next |= 2ull << i;
        if (d->levels[i].kind == GLOB_DEEP)
            next |= 1ull << i;
    }
    return next;
}

static void push_children(struct deep *d, struct visit v)
{
    v.levels &= ~(1ull << d->nlevels);
    d->passed.n = 0;
    for (uint32_t c = v.levels ? tree_node(d->t, v.node)->first_child : 0; c;) {
        const struct tree_node *n = tree_node(d->t, c);
        if (n->live && advance(d, v.levels, n->label))
            node_list_push(&d->passed, c);
        c = n->next_sibling;
    }
    sort_nodes(d->t, d->passed.v, d->passed.n);
    if (d->n + d->passed.n > d->cap) {
        d->cap = (d->n + d->passed.n) * 2;
        d->stack = xrealloc(d->stack, d->cap * sizeof *d->stack);
    }
    for (size_t i = d->passed.n; i-- > 0;) {
        uint32_t c = d->passed.v[i];
        d->stack[d->n++] = (struct visit){c, advance(d, v.levels, tree_node(d->t, c)->label)};
    }
}

static int walk(struct deep *d, size_t limit, struct node_list *out, struct err *err)
{
    size_t found = 0;
    push_children(d, (struct visit){0, 1});
    while (d->n) {
        struct visit v = d->stack[--d->n];
        if (v.levels >> d->nlevels & 1) {
            if (limit && ++found > limit)
                return over_limit(limit, err);
            node_list_push(out, v.node);
        }
        push_children(d, v);
    }
    return OK;
}

static int find_deep(const struct path_tree *t, const struct glob *levels, size_t n, size_t limit,
                     struct node_list *out, struct err *err)
{
    if (n > PATTERN_DEEP_LEVELS)
        return err_set(err, ERR_LIMIT, "a pattern with ** may have %d levels, this one has %zu",
                       PATTERN_DEEP_LEVELS, n);
    uint8_t *memo[PATTERN_DEEP_LEVELS] = {NULL};
    struct deep d = {.t = t, .levels = levels, .nlevels = n, .memo = memo, .passed = NODE_LIST_INIT};
    for (size_t i = 0; i < n; i++)
        if (levels[i].kind == GLOB_PATTERN || levels[i].kind == GLOB_CHOICE)
            memo[i] = xcalloc(t->nlabels, 1);
    int rc = walk(&d, limit, out, err);
    for (size_t i = 0; i < n; i++)
        free(memo[i]);
    free(d.stack);
    node_list_release(&d.passed);
    return rc;
}

int path_tree_find(const struct path_tree *t, const struct glob *levels, size_t nlevels, size_t limit,
                   struct node_list *out, struct err *err)
{
    bool deep = false;
    for (size_t i = 0; i < nlevels; i++) {
        if (levels[i].kind == GLOB_NEVER)
            return OK;
        deep |= levels[i].kind == GLOB_DEEP;
    }
    return (deep ? find_deep : find_by_level)(t, levels, nlevels, limit, out, err);
}
