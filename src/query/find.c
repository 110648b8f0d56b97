#include "query/find.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { VARIANTS_MAX = 4096 };

struct search {
    struct query_source *source;
    struct found_nodes *out;
    bool trailing_dot;
    unsigned variants;
    struct err *err;
};

static int add_node(void *ctx, const struct query_node *node)
{
    struct search *s = ctx;
    struct found_nodes *f = s->out;
    if (s->trailing_dot && !node->branch)
        return 0;
    if (f->limit && f->n == f->limit)
        return err_set(s->err, ERR_LIMIT, "the pattern matches more than %zu names", f->limit);
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 16;
        struct found_node *v = arena_alloc(f->arena, cap * sizeof *v);
        if (f->n)
            memcpy(v, f->v, f->n * sizeof *v);
        f->v = v;
        f->cap = cap;
    }
    char *path = arena_alloc(f->arena, node->len + 2);
    memcpy(path, node->path, node->len);
    memcpy(path + node->len, s->trailing_dot ? "." : "", s->trailing_dot ? 2 : 1);
    f->v[f->n++] = (struct found_node){path, s->trailing_dot ? 0 : node->id, node->branch};
    return 0;
}

/* The innermost braces of a level that has others around them; false if none are nested. */
static bool nested_braces(const char *p, size_t *open, size_t *close)
{
    size_t depth = 0, at = 0;
    for (size_t i = 0; p[i]; i++) {
        if (p[i] == '.')
            depth = 0;
        if (p[i] == '{') {
            depth++;
            at = i;
        }
        if (p[i] == '}' && depth) {
            if (depth > 1) {
                *open = at;
                *close = i;
                return true;
            }
            depth--;
        }
    }
    return false;
}

/* "**." at the start of a level, after offset `from`. */
static const char *inner_globstar(const char *p, size_t from)
{
    for (const char *at = p + from; (at = strstr(at, "**.")); at++)
        if (at == p || at[-1] == '.')
            return at;
    return NULL;
}

static int find_variants(struct search *s, const char *pattern, size_t globstars_from);

static int find_without(struct search *s, const char *pattern, const char *from, const char *to,
                        const char *with, size_t with_len, size_t globstars_from)
{
    size_t head = (size_t)(from - pattern), tail = strlen(to);
    char *copy = arena_alloc(s->out->arena, head + with_len + tail + 1);
    memcpy(copy, pattern, head);
    memcpy(copy + head, with, with_len);
    memcpy(copy + head + with_len, to, tail + 1);
    return find_variants(s, copy, globstars_from);
}

static int find_variants(struct search *s, const char *pattern, size_t globstars_from)
{
    size_t open, close;
    if (++s->variants > VARIANTS_MAX)
        return err_set(s->err, ERR_LIMIT, "the pattern has more than %d variants", VARIANTS_MAX);
    if (nested_braces(pattern, &open, &close)) {
        const char *p = pattern + open + 1, *end = pattern + close;
        for (;;) {
            size_t n = strcspn(p, ",}");
            int rc = find_without(s, pattern, pattern + open, end + 1, p, n, globstars_from);
            p += n + 1;
            if (rc != 0 || p > end)
                return rc;
        }
    }
    const char *star = inner_globstar(pattern, globstars_from);
    if (star) {
        int rc = find_without(s, pattern, star, star + 3, "", 0, (size_t)(star - pattern));
        return rc ? rc : find_variants(s, pattern, (size_t)(star - pattern) + 3);
    }
    int rc = s->source->ops->find(s->source, pattern, strlen(pattern), 0, add_node, s, s->err);
    return rc == ERR_INVALID ? 0 : rc;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct found_node *)a)->path, ((const struct found_node *)b)->path);
}

int find_nodes(struct query_source *src, const char *pattern, struct found_nodes *out, struct err *err)
{
    size_t n = 0;
    char *clean = arena_alloc(out->arena, strlen(pattern) + 1);
    for (const char *p = pattern; *p; p++)
        if (*p != '\\' && !(*p == '.' && (!n || clean[n - 1] == '.')))
            clean[n++] = *p;
    bool trailing_dot = n > 1 && clean[n - 1] == '.';
    clean[trailing_dot ? n - 1 : n] = '\0';
    struct search s = {src, out, trailing_dot, 0, err};
    struct query_node root = {"", 0, 0, true};
    int rc = *clean ? find_variants(&s, clean, 0) : add_node(&s, &root);
    if (rc < 0)
        return rc;
    if (out->n)
        qsort(out->v, out->n, sizeof *out->v, by_path);
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++)
        if (!kept || strcmp(out->v[i].path, out->v[kept - 1].path))
            out->v[kept++] = out->v[i];
    out->n = kept;
    return OK;
}
