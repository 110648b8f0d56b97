#include "catalog/path_tree.h"

#include "base/hash.h"
#include "base/mem.h"
#include "catalog/big.h"
#include "model/name.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_FIRST 1024u
#define PAGE_BYTES  (TREE_PAGE * sizeof(struct tree_node))

static size_t children_bytes(const struct path_tree *t)
{
    return ((size_t)t->children_mask + 1) * sizeof *t->children;
}

void path_tree_init(struct path_tree *t)
{
    memset(t, 0, sizeof *t);
    t->children_mask = t->label_mask = SLOTS_FIRST - 1;
    t->children = big_alloc(children_bytes(t));
    t->label_slots = xcalloc(SLOTS_FIRST, sizeof *t->label_slots);
    t->pages = xmalloc(sizeof *t->pages);
    t->pages[0] = big_alloc(PAGE_BYTES);
    t->npages = 1;
    t->nodes = 1; /* the root */
    *tree_node(t, 0) = (struct tree_node){.label = LABEL_NONE};
}

void path_tree_release(struct path_tree *t)
{
    for (uint32_t i = 0; i < t->npages; i++)
        big_free(t->pages[i], PAGE_BYTES);
    free(t->pages);
    big_free(t->children, children_bytes(t));
    free(t->labels);
    free(t->label_slots);
    arena_release(&t->text);
    memset(t, 0, sizeof *t);
}

uint64_t path_tree_bytes(const struct path_tree *t)
{
    /* The rest of the last page is not touched yet, and so not resident. */
    return (uint64_t)t->nodes * sizeof(struct tree_node) + t->npages * sizeof *t->pages + children_bytes(t) +
           ((uint64_t)t->label_mask + 1) * sizeof *t->label_slots +
           (uint64_t)t->labels_cap * sizeof *t->labels + t->text.used;
}

/* Slot of the label, or the empty slot where it belongs. */
static uint32_t *label_slot(const struct path_tree *t, const char *text, size_t len, uint32_t hash)
{
    for (uint32_t i = hash & t->label_mask;; i = (i + 1) & t->label_mask) {
        uint32_t *slot = &t->label_slots[i];
        if (!*slot)
            return slot;
        const struct tree_label *l = &t->labels[*slot - 1];
        if (l->hash == hash && l->len == len && !memcmp(l->text, text, len))
            return slot;
    }
}

uint32_t path_tree_label(const struct path_tree *t, const char *text, size_t len)
{
    uint32_t slot = *label_slot(t, text, len, (uint32_t)hash_bytes(text, len));
    return slot ? slot - 1 : LABEL_NONE;
}

static void grow_labels(struct path_tree *t)
{
    uint32_t mask = t->label_mask * 2 + 1;
    uint32_t *slots = xcalloc((size_t)mask + 1, sizeof *slots);
    for (uint32_t l = 0; l < t->nlabels; l++) {
        uint32_t i = t->labels[l].hash & mask;
        while (slots[i])
            i = (i + 1) & mask;
        slots[i] = l + 1;
    }
    free(t->label_slots);
    t->label_slots = slots;
    t->label_mask = mask;
}

static uint32_t intern(struct path_tree *t, const char *text, size_t len)
{
    uint32_t hash = (uint32_t)hash_bytes(text, len);
    uint32_t *slot = label_slot(t, text, len, hash);
    if (*slot)
        return *slot - 1;
    if (t->nlabels == t->labels_cap) {
        t->labels_cap = t->labels_cap ? t->labels_cap + t->labels_cap / 2 : 256;
        t->labels = xrealloc(t->labels, t->labels_cap * sizeof *t->labels);
    }
    uint32_t id = t->nlabels++;
    t->labels[id] = (struct tree_label){arena_strndup(&t->text, text, len), hash, (uint16_t)len};
    *slot = id + 1;
    if (t->nlabels > (uint64_t)(t->label_mask + 1) / 4 * 3)
        grow_labels(t);
    return id;
}

static struct tree_slot *child_slot(const struct path_tree *t, uint32_t parent, uint32_t label, uint32_t hash)
{
    for (uint32_t i = hash & t->children_mask;; i = (i + 1) & t->children_mask) {
        struct tree_slot *slot = &t->children[i];
        if (!slot->node)
            return slot;
        if (slot->hash != hash)
            continue;
        const struct tree_node *n = tree_node(t, slot->node);
        if (n->parent == parent && n->label == label)
            return slot;
    }
}

uint32_t path_tree_child(const struct path_tree *t, uint32_t parent, uint32_t label)
{
    return child_slot(t, parent, label, tree_child_hash(parent, label))->node;
}

static void grow_children(struct path_tree *t)
{
    struct tree_slot *old = t->children;
    size_t old_bytes = children_bytes(t), n = (size_t)t->children_mask + 1;
    uint32_t mask = t->children_mask = t->children_mask * 2 + 1;
    t->children = big_alloc(children_bytes(t));
    for (size_t k = 0; k < n; k++) {
        if (!old[k].node)
            continue;
        uint32_t i = old[k].hash & mask;
        while (t->children[i].node)
            i = (i + 1) & mask;
        t->children[i] = old[k];
    }
    big_free(old, old_bytes);
}

static uint32_t new_node(struct path_tree *t, uint32_t parent, uint32_t label)
{
    assert(t->nodes < UINT32_MAX);
    uint32_t id = t->nodes++;
    if (id >> TREE_PAGE_BITS == t->npages) {
        t->pages = xrealloc(t->pages, (t->npages + 1) * sizeof *t->pages);
        t->pages[t->npages++] = big_alloc(PAGE_BYTES);
    }
    struct tree_node *up = tree_node(t, parent);
    *tree_node(t, id) = (struct tree_node){parent, label, 0, up->first_child, 0, 0};
    up->first_child = id;
    return id;
}

static uint32_t child_or_new(struct path_tree *t, uint32_t parent, uint32_t label)
{
    uint32_t hash = tree_child_hash(parent, label);
    struct tree_slot *slot = child_slot(t, parent, label, hash);
    if (slot->node)
        return slot->node;
    uint32_t id = new_node(t, parent, label);
    *slot = (struct tree_slot){hash, id};
    if (t->nodes > (uint64_t)(t->children_mask + 1) / 4 * 3)
        grow_children(t);
    return id;
}

void path_tree_add(struct path_tree *t, const char *path, size_t len, uint32_t series)
{
    uint32_t node = 0;
    for (const char *p = path, *end = path + len; p <= end;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        dot = dot ? dot : end;
        node = child_or_new(t, node, intern(t, p, (size_t)(dot - p)));
        p = dot + 1;
    }
    bool had = tree_node(t, node)->series != 0;
    tree_node(t, node)->series = series;
    for (bool woke = !had; node && woke; node = tree_node(t, node)->parent)
        woke = tree_node(t, node)->live++ == 0;
}

void path_tree_remove(struct path_tree *t, const char *path, size_t len, uint32_t series)
{
    uint32_t node = 0;
    for (const char *p = path, *end = path + len; p <= end;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        dot = dot ? dot : end;
        uint32_t label = path_tree_label(t, p, (size_t)(dot - p));
        node = label == LABEL_NONE ? 0 : path_tree_child(t, node, label);
        if (!node)
            return;
        p = dot + 1;
    }
    if (tree_node(t, node)->series != series)
        return;
    tree_node(t, node)->series = 0;
    for (bool died = true; node && died; node = tree_node(t, node)->parent)
        died = --tree_node(t, node)->live == 0;
}

void path_tree_path(const struct path_tree *t, uint32_t node, struct buf *out)
{
    size_t len = 0;
    for (uint32_t n = node; n; n = tree_node(t, n)->parent)
        len += t->labels[tree_node(t, n)->label].len + 1u;
    if (!len)
        return;
    len--;
    uint8_t *p = buf_reserve(out, len) + len; /* filled from the end; no dot before the first label */
    for (uint32_t n = node; n; n = tree_node(t, n)->parent) {
        const struct tree_label *l = &t->labels[tree_node(t, n)->label];
        if (n != node)
            *--p = '.';
        p -= l->len;
        memcpy(p, l->text, l->len);
    }
    out->len += len;
}

void node_list_push(struct node_list *l, uint32_t node)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 64;
        l->v = xrealloc(l->v, l->cap * sizeof *l->v);
    }
    l->v[l->n++] = node;
}

void node_list_release(struct node_list *l)
{
    free(l->v);
    *l = (struct node_list)NODE_LIST_INIT;
}
