/* Globs: which names match, by the path tree. */
#include "catalog/catalog_impl.h"

#include "base/mem.h"
#include "base/prefetch.h"
#include "catalog/glob.h"

#include <stdlib.h>
#include <string.h>

/* Puts every series that is in the table by now into the tree, then takes out those that have ended. One that
 * is in both lists only passes through; a name that has another series by now keeps that. */
void catalog_index_new(struct catalog *c)
{
    catalog_lock_shared(c);
    bool none = c->unindexed.n == 0 && c->unlinked.n == 0;
    catalog_unlock(c);
    if (none)
        return;
    pthread_rwlock_wrlock(&c->tree_lock);
    struct id_list gone = catalog_take_list(c, &c->unlinked), new = catalog_take_list(c, &c->unindexed);
    size_t len;
    for (size_t i = 0; i < new.n; i++) {
        const char *name = catalog_name(c, new.v[i], &len);
        if (!catalog_has_ended(c, new.v[i]))
            path_tree_add(&c->tree, name, len, new.v[i]);
    }
    for (size_t i = 0; i < gone.n; i++) {
        const char *name = catalog_name(c, gone.v[i], &len);
        path_tree_remove(&c->tree, name, len, gone.v[i]);
    }
    pthread_rwlock_unlock(&c->tree_lock);
    free(new.v);
    free(gone.v);
}

/* What a find hands out once no lock is held: a series' path is its name, a bare branch's is kept here. */
struct found {
    uint32_t id;
    uint32_t branch_len; /* of its path in `paths`, in order; 0 for a series */
    bool branch;
};

struct findings {
    struct found *v;
    size_t n;
    struct buf paths;
};

static void keep_findings(const struct path_tree *t, const struct node_list *nodes, struct findings *f)
{
    f->v = xmalloc(nodes->n * sizeof *f->v);
    f->n = nodes->n;
    for (size_t i = 0; i < nodes->n; i++) {
        const struct tree_node *node = tree_node(t, nodes->v[i]);
        size_t before = f->paths.len;
        if (!node->series) {
            path_tree_path(t, nodes->v[i], &f->paths);
            buf_putc(&f->paths, '\0');
        }
        f->v[i] = (struct found){node->series, (uint32_t)(node->series ? 0 : f->paths.len - before - 1),
                                 tree_node_is_branch(node)};
    }
}

PREFETCH_INLINE void prefetch_name(struct catalog *c, const struct findings *f, size_t i)
{
    if (i + 32 < f->n)
        entries_prefetch(&c->entries, f->v[i + 32].id);
    if (i + 16 < f->n)
        __builtin_prefetch(catalog_name(c, f->v[i + 16].id, NULL));
}

static int report(struct catalog *c, const struct findings *f, catalog_node_fn fn, void *ctx)
{
    const char *path = (const char *)f->paths.data;
    for (size_t i = 0; i < f->n; i++) {
        prefetch_name(c, f, i);
        struct catalog_node node = {.id = f->v[i].id, .branch = f->v[i].branch};
        if (node.id) {
            node.path = catalog_name(c, node.id, &node.path_len);
        } else {
            node.path = path;
            node.path_len = f->v[i].branch_len;
            path += node.path_len + 1;
        }
        int rc = fn(ctx, &node);
        if (rc)
            return rc;
    }
    return OK;
}

static int find_levels(struct catalog *c, const struct glob *levels, size_t n, size_t limit,
                       struct findings *f, struct err *err)
{
    struct node_list nodes = NODE_LIST_INIT;
    catalog_index_new(c);
    pthread_rwlock_rdlock(&c->tree_lock);
    int rc = path_tree_find(&c->tree, levels, n, limit, &nodes, err);
    if (rc == OK)
        keep_findings(&c->tree, &nodes, f);
    pthread_rwlock_unlock(&c->tree_lock);
    node_list_release(&nodes);
    return rc;
}

static int compile_levels(const char *pattern, size_t len, struct glob *levels, size_t *n, struct err *err)
{
    for (const char *p = pattern, *end = pattern + len; p <= end;) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        dot = dot ? dot : end;
        int rc = glob_compile(&levels[*n], p, (size_t)(dot - p), (size_t)(p - pattern), err);
        if (rc < 0)
            return rc;
        ++*n;
        p = dot + 1;
    }
    return OK;
}

/* Longer ones would only be lists of names, which are better asked for one by one. */
#define PATTERN_MAX_BYTES 65536u

int catalog_find(struct catalog *c, const char *pattern, size_t len, size_t limit, catalog_node_fn fn,
                 void *ctx, struct err *err)
{
    if (len > PATTERN_MAX_BYTES)
        return err_set(err, ERR_INVALID, "pattern: %zu bytes, at most %u are allowed", len,
                       PATTERN_MAX_BYTES);
    size_t room = 1, n = 0;
    for (size_t i = 0; i < len; i++)
        room += pattern[i] == '.';
    struct glob *levels = xmalloc(room * sizeof *levels);
    struct findings f = {NULL, 0, BUF_INIT};
    int rc = compile_levels(pattern, len, levels, &n, err);
    if (rc == OK)
        rc = find_levels(c, levels, n, limit, &f, err);
    if (rc == OK)
        rc = report(c, &f, fn, ctx);
    for (size_t i = 0; i < n; i++)
        glob_release(&levels[i]);
    free(levels);
    free(f.v);
    buf_release(&f.paths);
    return rc;
}
