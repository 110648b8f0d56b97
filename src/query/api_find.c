/* /metrics/find, /metrics/expand and /metrics/index.json */
#include "base/mem.h"
#include "query/api_impl.h"
#include "query/binary.h"
#include "query/find.h"
#include "query/timespec.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* A node as graphite-web lists it: a path that is both a series and a branch comes twice. */
struct entry {
    const char *path, *name; /* the name is the path's last level */
    bool leaf;
};
struct entries {
    struct entry *v;
    size_t n;
};

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int by = strcmp(x->name, y->name);
    if (!by)
        by = strcmp(x->path, y->path);
    return by ? by : x->leaf - y->leaf;
}

static int by_path(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int by = strcmp(x->path, y->path);
    return by ? by : x->leaf - y->leaf;
}

static struct entries to_entries(const struct found_nodes *f, bool leaves_only)
{
    struct entries e = {arena_alloc(f->arena, 2 * f->n * sizeof *e.v), 0};
    for (size_t i = 0; i < f->n; i++) {
        const char *dot = strrchr(f->v[i].path, '.');
        struct entry one = {f->v[i].path, dot ? dot + 1 : f->v[i].path, false};
        if (f->v[i].branch && !leaves_only)
            e.v[e.n++] = one;
        one.leaf = true;
        if (f->v[i].id)
            e.v[e.n++] = one;
    }
    return e;
}

static void put_text(struct buf *b, const char *s)
{
    buf_json_string(b, s, strlen(s));
}

/* --- the formats of find --- */

struct find {
    struct arena arena;
    const char *query, *base; /* base: the query up to its last dot */
    int64_t wildcards, leaves_only, position, automatic_variants, local, now_s;
    struct entries e;
};

/* -1: what was found does not fit the format. */
typedef int (*find_format_fn)(const struct find *f, struct buf *b);

/* "%41+b" is "A b". */
static void put_unquoted(struct buf *b, const char *s)
{
    struct buf text = BUF_INIT;
    for (; *s; s++) {
        if (*s == '%' && isxdigit((unsigned char)s[1]) && isxdigit((unsigned char)s[2])) {
            char hex[3] = {s[1], s[2], '\0'};
            buf_putc(&text, (char)strtol(hex, NULL, 16));
            s += 2;
        } else {
            buf_putc(&text, *s == '+' ? ' ' : *s);
        }
    }
    buf_json_string(b, (const char *)text.data, text.len);
    buf_release(&text);
}

static void put_tree_node(struct buf *b, const struct find *f, const char *name, bool leaf, bool *first)
{
    buf_puts(b, *first ? "{\"text\": " : ", {\"text\": ");
    *first = false;
    put_unquoted(b, name);
    buf_puts(b, ", \"id\": \"");
    buf_json_escaped(b, f->base, strlen(f->base));
    buf_json_escaped(b, name, strlen(name));
    buf_puts(b, leaf ? "\", \"allowChildren\": 0, \"expandable\": 0, \"leaf\": 1}"
                     : "\", \"allowChildren\": 1, \"expandable\": 1, \"leaf\": 0}");
}

/* Names once each, branches first. */
static int put_treejson(const struct find *f, struct buf *b)
{
    bool first = true, any_branch = false;
    for (size_t i = 0; i < f->e.n; i++)
        any_branch = any_branch || !f->e.v[i].leaf;
    buf_putc(b, '[');
    if (f->e.n > 1 && f->wildcards)
        put_tree_node(b, f, "*", !any_branch, &first);
    for (int leaf = 0; leaf < 2; leaf++)
        for (size_t i = 0; i < f->e.n; i++)
            if (f->e.v[i].leaf == leaf && (!i || strcmp(f->e.v[i].name, f->e.v[i - 1].name)))
                put_tree_node(b, f, f->e.v[i].name, leaf, &first);
    buf_putc(b, ']');
    return 0;
}

static int put_completer(const struct find *f, struct buf *b)
{
    buf_puts(b, "{\"metrics\": [");
    for (size_t i = 0; i < f->e.n; i++) {
        const struct entry *e = &f->e.v[i];
        buf_puts(b, i ? ", {\"path\": \"" : "{\"path\": \"");
        buf_json_escaped(b, e->path, strlen(e->path));
        buf_puts(b, e->leaf ? "\", \"name\": " : ".\", \"name\": ");
        put_text(b, e->name);
        buf_puts(b, e->leaf ? ", \"is_leaf\": \"1\"}" : ", \"is_leaf\": \"0\"}");
    }
    if (f->e.n > 1 && f->wildcards)
        buf_puts(b, ", {\"name\": \"*\"}");
    buf_puts(b, "]}");
    return 0;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The level of a path at a position, from the end if negative; NULL if there is none. */
static const char *level_at(struct arena *a, const char *path, int64_t position)
{
    int64_t levels = 1;
    for (const char *p = path; *p; p++)
        levels += *p == '.';
    if (position < 0)
        position += levels;
    if (position < 0 || position >= levels)
        return NULL;
    const char *p = path;
    while (position--)
        p = strchr(p, '.') + 1;
    return arena_strndup(a, p, strcspn(p, "."));
}

static int put_nodelist(const struct find *f, struct buf *b)
{
    struct arena a = ARENA_INIT;
    const char **v = arena_alloc(&a, f->e.n * sizeof *v);
    size_t n = 0;
    for (size_t i = 0; i < f->e.n; i++)
        if ((v[n] = level_at(&a, f->e.v[i].path, f->position)))
            n++;
    bool all = n == f->e.n;
    qsort(v, n, sizeof *v, compare_texts);
    buf_puts(b, "{\"nodes\": [");
    for (size_t i = 0; i < n; i++) {
        if (i && !strcmp(v[i], v[i - 1]))
            continue;
        buf_puts(b, i ? ", " : "");
        put_text(b, v[i]);
    }
    buf_puts(b, "]}");
    arena_release(&a);
    return all ? 0 : -1;
}

static int put_json(const struct find *f, struct buf *b)
{
    if (f->e.n)
        qsort(f->e.v, f->e.n, sizeof *f->e.v, by_path);
    buf_putc(b, '[');
    for (size_t i = 0; i < f->e.n; i++) {
        buf_puts(b, i ? ", {\"path\": " : "{\"path\": ");
        put_text(b, f->e.v[i].path);
        buf_puts(b, f->e.v[i].leaf ? ", \"is_leaf\": true, \"intervals\": []}" : ", \"is_leaf\": false}");
    }
    buf_putc(b, ']');
    return 0;
}

/* As json, for other servers. The intervals say that a series may have points at any time up to now. */
static void put_binary(const struct find *f, struct buf *b, const struct binary_writer *w)
{
    w->begin(b);
    w->begin_list(b, f->e.n);
    for (size_t i = 0; i < f->e.n; i++) {
        const struct entry *e = &f->e.v[i];
        w->begin_map(b, e->leaf ? 3 : 2);
        w->text(b, "path");
        w->text(b, e->path);
        w->text(b, "is_leaf");
        w->boolean(b, e->leaf);
        if (e->leaf) {
            w->text(b, "intervals");
            w->begin_list(b, 1);
            w->begin_list(b, 2);
            w->number(b, 0);
            w->number(b, (double)f->now_s);
            w->end_list(b);
            w->end_list(b);
        }
        w->end_map(b);
    }
    w->end_list(b);
    w->end(b);
}

static int put_pickle(const struct find *f, struct buf *b)
{
    put_binary(f, b, &binary_pickle);
    return 0;
}

static int put_msgpack(const struct find *f, struct buf *b)
{
    put_binary(f, b, &binary_msgpack);
    return 0;
}

static const struct find_format {
    const char *name, *content_type;
    find_format_fn put;
} formats[] = {
    {"treejson", "application/json", put_treejson}, {"completer", "application/json", put_completer},
    {"nodelist", "application/json", put_nodelist}, {"json", "application/json", put_json},
    {"pickle", "application/pickle", put_pickle},   {"msgpack", "application/x-msgpack", put_msgpack},
};

/* --- the query --- */

/* a..b is completed as a*.b, and the last level as a prefix. */
static const char *completer_query(struct find *f, const char *query)
{
    struct buf b = BUF_INIT;
    for (const char *p = query; *p; p++) {
        if (p[0] == '.' && p[1] == '.') {
            buf_puts(&b, "*.");
            p++;
        } else {
            buf_putc(&b, *p);
        }
    }
    if (!b.len || b.data[b.len - 1] != '*')
        buf_putc(&b, '*');
    const char *out = arena_strndup(&f->arena, (char *)b.data, b.len);
    buf_release(&b);
    return out;
}

/* Levels with commas but without braces get braces. */
static const char *with_variants(struct find *f, const char *query)
{
    struct buf b = BUF_INIT;
    for (const char *p = query;; p++) {
        size_t n = strcspn(p, ".");
        bool wrap = memchr(p, ',', n) && !memchr(p, '{', n);
        buf_puts(&b, wrap ? "{" : "");
        buf_append(&b, p, n);
        buf_puts(&b, wrap ? "}" : "");
        p += n;
        if (!*p)
            break;
        buf_putc(&b, '.');
    }
    const char *out = arena_strndup(&f->arena, b.len ? (char *)b.data : "", b.len);
    buf_release(&b);
    return out;
}

static bool check_times(const struct api_request *r, struct api_reply *reply)
{
    static const char *const names[] = {"from", "until", "now"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *text = api_get(r, names[i]);
        int64_t t;
        struct err err = ERR_INIT;
        if (!text || !strcmp(text, "-1") || query_parse_time(text, NULL, r->now_s, &t, &err) == OK)
            continue;
        api_fail(reply, 400, "argument '%s': %s", names[i], err.text);
        return false;
    }
    return true;
}

static bool read_find(const struct api_request *r, struct find *f, struct api_reply *reply)
{
    const struct {
        const char *name;
        int64_t def, *out;
    } ints[] = {{"leavesOnly", 0, &f->leaves_only},
                {"wildcards", 0, &f->wildcards},
                {"position", -1, &f->position},
                {"automatic_variants", 0, &f->automatic_variants},
                {"local", 0, &f->local}};
    for (size_t i = 0; i < ARRAY_LEN(ints); i++) {
        if (!api_int(r, ints[i].name, ints[i].def, ints[i].out)) {
            api_fail(reply, 400, "argument '%s': expected a whole number, not '%.40s'", ints[i].name,
                     api_get(r, ints[i].name));
            return false;
        }
    }
    f->query = api_get(r, "query");
    if (!f->query || !*f->query) {
        api_fail(reply, 400, "argument 'query' is missing: expected a pattern such as servers.*.cpu");
        return false;
    }
    const char *dot = strrchr(f->query, '.');
    f->base = dot ? arena_strndup(&f->arena, f->query, (size_t)(dot - f->query) + 1) : "";
    return check_times(r, reply);
}

static const struct find_format *find_format(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (!strcmp(formats[i].name, name))
            return &formats[i];
    return NULL;
}

static size_t node_limit(const struct query_env *env)
{
    return env->limits.max_series ? env->limits.max_series : 100000;
}

static void find(const struct query_env *env, const struct api_request *r, struct find *f,
                 struct api_reply *reply)
{
    const char *name = api_get(r, "format");
    const struct find_format *format = find_format(name ? name : "treejson");
    struct err err = ERR_INIT;
    if (!format) {
        api_fail(
            reply, 400,
            "argument 'format': expected treejson, completer, nodelist, json, pickle or msgpack, not '%.40s'",
            name);
        return;
    }
    if (!read_find(r, f, reply))
        return;
    const char *query = f->query;
    if (format->put == put_completer) {
        query = completer_query(f, query);
        if (f->automatic_variants)
            query = with_variants(f, query);
    }
    struct found_nodes nodes = {.arena = &f->arena, .limit = node_limit(env)};
    if (find_nodes(env->source, query, &nodes, &err) < 0) {
        api_fail_err(reply, &err);
        return;
    }
    f->e = to_entries(&nodes, f->leaves_only);
    if (f->e.n)
        qsort(f->e.v, f->e.n, sizeof *f->e.v, by_name);
    reply->content_type = format->content_type;
    if (format->put(f, &reply->body) < 0)
        api_fail(reply, 400, "argument 'position': not all paths have level %lld", (long long)f->position);
    else if (format->put != put_pickle && format->put != put_msgpack)
        api_wrap_jsonp(reply, api_get(r, "jsonp"));
}

void api_find(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    struct find f = {.arena = ARENA_INIT, .now_s = r->now_s};
    find(env, r, &f, reply);
    arena_release(&f.arena);
}

/* --- expand --- */

static void put_paths(struct buf *b, const char **v, size_t n)
{
    if (n)
        qsort(v, n, sizeof *v, compare_texts);
    buf_putc(b, '[');
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (i && !strcmp(v[i], v[i - 1]))
            continue;
        buf_puts(b, first ? "" : ", ");
        first = false;
        put_text(b, v[i]);
    }
    buf_putc(b, ']');
}

static bool seen_before(const char *const *v, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!strcmp(v[k], v[i]))
            return true;
    return false;
}

static int expand_into(const struct query_env *env, const struct api_request *r, struct arena *a,
                       struct buf *b, int64_t by_expression, int64_t leaves_only, struct err *err)
{
    size_t n;
    const char *const *queries = api_list(r, "query", a, &n);
    struct found_nodes all = {.arena = a, .limit = node_limit(env)};
    bool first = true;
    buf_puts(b, by_expression ? "{\"results\": {" : "{\"results\": ");
    for (size_t i = 0; i <= n; i++) {
        int rc = i < n && !seen_before(queries, i) ? find_nodes(env->source, queries[i], &all, err) : OK;
        if (rc < 0)
            return rc;
        if (i < n ? !by_expression || seen_before(queries, i) : by_expression)
            continue;
        const char **paths = arena_alloc(a, all.n * sizeof *paths);
        size_t count = 0;
        for (size_t k = 0; k < all.n; k++)
            if (all.v[k].id || !leaves_only)
                paths[count++] = all.v[k].path;
        if (by_expression) {
            buf_puts(b, first ? "" : ", ");
            put_text(b, queries[i]);
            buf_puts(b, ": ");
            first = false;
            all.n = 0;
        }
        put_paths(b, paths, count);
    }
    buf_puts(b, by_expression ? "}}" : "}");
    return OK;
}

void api_expand(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    struct arena a = ARENA_INIT;
    struct err err = ERR_INIT;
    int64_t by_expression, leaves_only, local;
    if (!api_int(r, "groupByExpr", 0, &by_expression) || !api_int(r, "leavesOnly", 0, &leaves_only) ||
        !api_int(r, "local", 0, &local))
        api_fail(reply, 400, "groupByExpr, leavesOnly and local must be 0 or 1");
    else if (expand_into(env, r, &a, &reply->body, by_expression, leaves_only, &err) < 0)
        api_fail_err(reply, &err);
    api_wrap_jsonp(reply, api_get(r, "jsonp"));
    arena_release(&a);
}

/* --- index --- */

struct index {
    struct arena *arena;
    const char **v;
    size_t n, cap;
};

static int add_name(void *ctx, uint32_t id, const char *name, size_t len)
{
    struct index *x = ctx;
    if (memchr(name, ';', len))
        return 0;
    if (x->n == x->cap) {
        x->cap = x->cap ? 2 * x->cap : 64;
        x->v = xrealloc(x->v, x->cap * sizeof *x->v);
    }
    x->v[x->n++] = arena_strndup(x->arena, name, len);
    return 0;
}

void api_index(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    struct arena a = ARENA_INIT;
    struct index x = {&a, NULL, 0, 0};
    env->source->ops->each(env->source, false, add_name, &x);
    put_paths(&reply->body, x.v, x.n);
    free(x.v);
    arena_release(&a);
    api_wrap_jsonp(reply, api_get(r, "jsonp"));
}
