/* /tags/...: answers from a walk over the tagged series. */
#include "base/mem.h"
#include "model/name.h"
#include "query/api_impl.h"
#include "query/regex.h"
#include "query/tagdb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { COMPLETIONS = 100 }; /* graphite-web's TAGDB_AUTOCOMPLETE_LIMIT */

/* Distinct texts with how often each came. */
struct tally_entry {
    const char *text;
    size_t count;
};
struct tally {
    struct arena arena;
    struct tally_entry *v;
    size_t n, cap;
};

static void tally_add(struct tally *t, const char *text, size_t len)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->v = xrealloc(t->v, t->cap * sizeof *t->v);
    }
    t->v[t->n++] = (struct tally_entry){arena_strndup(&t->arena, text, len), 1};
}

static int by_text(const void *a, const void *b)
{
    return strcmp(((const struct tally_entry *)a)->text, ((const struct tally_entry *)b)->text);
}

static void tally_settle(struct tally *t)
{
    size_t n = 0;
    if (t->n)
        qsort(t->v, t->n, sizeof *t->v, by_text);
    for (size_t i = 0; i < t->n; i++) {
        if (n && !strcmp(t->v[n - 1].text, t->v[i].text))
            t->v[n - 1].count += t->v[i].count;
        else
            t->v[n++] = t->v[i];
    }
    t->n = n;
}

static void tally_release(struct tally *t)
{
    free(t->v);
    arena_release(&t->arena);
}

/* What is collected from each series. */
struct walk {
    struct tally tally;
    const char *tag; /* its values; NULL: the names of all tags */
    const char *prefix;
    const char *const *skip; /* tags not to name */
    size_t nskip;
};

static bool is_skipped(const struct walk *w, const char *tag, size_t len)
{
    for (size_t i = 0; i < w->nskip; i++)
        if (strlen(w->skip[i]) == len && !memcmp(w->skip[i], tag, len))
            return true;
    return false;
}

static bool has_prefix(const struct walk *w, const char *s, size_t len)
{
    size_t n = w->prefix ? strlen(w->prefix) : 0;
    return len >= n && (!n || !memcmp(s, w->prefix, n));
}

static int visit(void *ctx, uint32_t id, const char *name, size_t len)
{
    struct walk *w = ctx;
    const char *tag, *value;
    size_t tag_len, value_len;
    if (w->tag) {
        if (tagdb_value(name, len, w->tag, &value, &value_len) && has_prefix(w, value, value_len))
            tally_add(&w->tally, value, value_len);
        return 0;
    }
    for (size_t i = 0; tagdb_tag_at(name, len, i, &tag, &tag_len, &value, &value_len); i++)
        if (has_prefix(w, tag, tag_len) && !is_skipped(w, tag, tag_len))
            tally_add(&w->tally, tag, tag_len);
    return 0;
}

/* Leaves what a filter argument matches; false after an error reply. */
static bool apply_filter(const struct api_request *r, struct tally *t, struct api_reply *reply)
{
    const char *filter = api_get(r, "filter");
    struct regex *regex;
    struct err err = ERR_INIT;
    if (!filter || !*filter)
        return true;
    struct buf anchored = BUF_INIT;
    buf_printf(&anchored, *filter == '^' ? "%s" : "^(%s)", filter);
    int rc = regex_new(buf_str(&anchored), &regex, &err);
    buf_release(&anchored);
    if (rc < 0) {
        api_fail_err(reply, &err);
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        if (regex_search(regex, t->v[i].text))
            t->v[n++] = t->v[i];
    t->n = n;
    regex_free(regex);
    return true;
}

/* Cuts to the limit argument. For a negative one graphite-web lists all; of completions it leaves out as many
 * at the end, and gives none at all if they come from conditions. */
static bool apply_limit(const struct api_request *r, struct tally *t, bool completing,
                        struct api_reply *reply)
{
    int64_t limit = completing ? COMPLETIONS : -1;
    const char *text = api_get(r, "limit");
    if (text && (*text || completing) && !api_int(r, "limit", limit, &limit)) {
        api_fail(reply, 400, "argument 'limit': expected a whole number, not '%.40s'", text);
        return false;
    }
    if (limit < 0 && completing) {
        bool found = api_get(r, "expr") || api_get(r, "expr[]");
        limit = found || (uint64_t)-limit > t->n ? 0 : (int64_t)t->n + limit;
    }
    if (limit >= 0 && (size_t)limit < t->n)
        t->n = (size_t)limit;
    return true;
}

static void put_text(struct buf *b, const char *s)
{
    buf_json_string(b, s, strlen(s));
}

static void put_texts(struct buf *b, const struct tally *t)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < t->n; i++) {
        buf_puts(b, i ? ", " : "");
        put_text(b, t->v[i].text);
    }
    buf_putc(b, ']');
}

/* --- /tags and /tags/TAG --- */

static void list_tags(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    struct walk w = {.tally = {.arena = ARENA_INIT}};
    env->source->ops->each(env->source, true, visit, &w);
    tally_settle(&w.tally);
    if (apply_filter(r, &w.tally, reply) && apply_limit(r, &w.tally, false, reply)) {
        buf_putc(&reply->body, '[');
        for (size_t i = 0; i < w.tally.n; i++) {
            buf_puts(&reply->body, i ? ", {\"tag\": " : "{\"tag\": ");
            put_text(&reply->body, w.tally.v[i].text);
            buf_putc(&reply->body, '}');
        }
        buf_putc(&reply->body, ']');
    }
    tally_release(&w.tally);
}

static void show_tag(const struct query_env *env, const struct api_request *r, const char *tag,
                     struct api_reply *reply)
{
    struct walk w = {.tally = {.arena = ARENA_INIT}, .tag = tag};
    struct buf *b = &reply->body;
    env->source->ops->each(env->source, true, visit, &w);
    tally_settle(&w.tally);
    if (!w.tally.n) {
        buf_puts(b, "null");
    } else if (apply_filter(r, &w.tally, reply) && apply_limit(r, &w.tally, false, reply)) {
        buf_puts(b, "{\"tag\": ");
        put_text(b, tag);
        buf_puts(b, ", \"values\": [");
        for (size_t i = 0; i < w.tally.n; i++) {
            buf_puts(b, i ? ", {\"value\": " : "{\"value\": ");
            put_text(b, w.tally.v[i].text);
            buf_printf(b, ", \"count\": %zu}", w.tally.v[i].count);
        }
        buf_puts(b, "]}");
    }
    tally_release(&w.tally);
}

/* --- finding --- */

static int add_series(void *ctx, uint32_t id, const char *name, size_t len)
{
    tally_add(ctx, name, len);
    return 0;
}

static void find_series(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    struct tally t = {.arena = ARENA_INIT};
    struct err err = ERR_INIT;
    size_t n;
    const char *const *exprs = api_list(r, "expr", &t.arena, &n);
    if (!n) {
        api_fail(reply, 400, "argument 'expr' is missing: expected a condition such as host=web-1");
    } else if (tagdb_find(env->source, exprs, n, &t.arena, add_series, &t, &err) < 0) {
        api_fail_err(reply, &err);
    } else {
        tally_settle(&t);
        put_texts(&reply->body, &t);
    }
    tally_release(&t);
}

static const char *not_empty(struct arena *a, const char *tag)
{
    size_t n = strlen(tag);
    char *expr = arena_alloc(a, n + 3);
    memcpy(expr, tag, n);
    memcpy(expr + n, "!=", 3);
    return expr;
}

/* Names or values among the series that meet the conditions. */
static void complete(const struct query_env *env, const struct api_request *r, struct walk *w,
                     struct api_reply *reply)
{
    struct arena *a = &w->tally.arena;
    struct err err = ERR_INIT;
    size_t n;
    const char *const *given = api_list(r, "expr", a, &n);
    const char **exprs = arena_alloc(a, (n + 1) * sizeof *exprs),
               **skip = arena_alloc(a, (n + 1) * sizeof *skip);
    for (size_t i = 0; i < n; i++) {
        exprs[i] = given[i];
        skip[i] = tagdb_expr_tag(given[i], a);
        if (skip[i])
            continue;
        api_fail(reply, 400, "argument 'expr': '%.100s' is no tag condition", given[i]);
        return;
    }
    w->skip = skip;
    w->nskip = w->tag ? 0 : n;
    int rc = OK;
    if (!n) {
        env->source->ops->each(env->source, true, visit, w);
    } else {
        if (w->tag) /* the series must have it: one condition that an empty value does not meet */
            exprs[n++] = not_empty(a, w->tag);
        rc = tagdb_find(env->source, exprs, n, a, visit, w, &err);
    }
    if (rc < 0) {
        api_fail_err(reply, &err);
        return;
    }
    tally_settle(&w->tally);
    if (apply_limit(r, &w->tally, true, reply))
        put_texts(&reply->body, &w->tally);
}

static void complete_tags(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    struct walk w = {.tally = {.arena = ARENA_INIT}, .prefix = api_get(r, "tagPrefix")};
    complete(env, r, &w, reply);
    tally_release(&w.tally);
}

static void complete_values(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    struct walk w = {
        .tally = {.arena = ARENA_INIT}, .tag = api_get(r, "tag"), .prefix = api_get(r, "valuePrefix")};
    if (w.tag && *w.tag)
        complete(env, r, &w, reply);
    else
        api_fail(reply, 400, "argument 'tag' is missing");
    tally_release(&w.tally);
}

/* --- registering: a series is known by its points; these only tell its canonical name --- */

static bool put_canonical(struct buf *b, const char *path, struct arena *a)
{
    const char *out;
    size_t len;
    enum reject why;
    if (name_canonical(path, strlen(path), a, &out, &len, &why) < 0)
        return false;
    /* a tag "name" is the name itself */
    const char *tag = memmem(out, len, ";name=", 6);
    buf_putc(b, '"');
    buf_json_escaped(b, out, tag ? (size_t)(tag - out) : len);
    if (tag) {
        const char *end = memchr(tag + 1, ';', (size_t)(out + len - tag - 1));
        if (end)
            buf_json_escaped(b, end, (size_t)(out + len - end));
    }
    buf_putc(b, '"');
    return true;
}

static void tag_series(const struct api_request *r, bool multi, struct api_reply *reply)
{
    struct arena a = ARENA_INIT;
    size_t n;
    const char *const *paths = api_list(r, "path", &a, &n);
    if (strcmp(r->method, "POST")) {
        api_fail(reply, 405, "expected POST");
    } else if (!n || !*paths[0]) {
        api_fail(reply, 400, "argument 'path' is missing");
    } else {
        buf_puts(&reply->body, multi ? "[" : "");
        for (size_t i = multi ? 0 : n - 1; i < n; i++) {
            buf_puts(&reply->body, multi && i ? ", " : "");
            if (put_canonical(&reply->body, paths[i], &a))
                continue;
            api_fail(reply, 400, "'%.200s' is no series name", paths[i]);
            break;
        }
        if (multi && reply->status == 200)
            buf_putc(&reply->body, ']');
    }
    arena_release(&a);
}

void api_tags(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    const char *rest = r->path + strlen("/tags");
    rest += *rest == '/';
    if (!*rest)
        list_tags(env, r, reply);
    else if (!strcmp(rest, "findSeries"))
        find_series(env, r, reply);
    else if (!strcmp(rest, "autoComplete/tags"))
        complete_tags(env, r, reply);
    else if (!strcmp(rest, "autoComplete/values"))
        complete_values(env, r, reply);
    else if (!strcmp(rest, "tagSeries"))
        tag_series(r, false, reply);
    else if (!strcmp(rest, "tagMultiSeries"))
        tag_series(r, true, reply);
    else if (!strcmp(rest, "delSeries"))
        api_fail(reply, 405, "expected POST"); /* which http/api_delete.h answers */
    else
        show_tag(env, r, rest, reply);
}
