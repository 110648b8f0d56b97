#include "query/tagdb.h"

#include "query/regex.h"

#include <string.h>

struct condition {
    const char *tag, *value;
    bool negated, matches_empty;
    struct regex *regex; /* NULL: equality */
};

struct search {
    struct condition *v;
    size_t n;
    struct arena *arena;
    query_name_fn fn;
    void *ctx;
};

/* "tag", then = or !=, then perhaps ~: as Python's ^([^;!=]+)(!?=~?)([^;]*)$ */
static int parse_condition(const char *text, struct arena *arena, struct condition *c)
{
    size_t n = strcspn(text, ";!=");
    const char *p = text + n;
    memset(c, 0, sizeof *c);
    c->negated = *p == '!';
    p += c->negated;
    if (!n || *p != '=' || strchr(p, ';'))
        return -1;
    p++;
    c->tag = arena_strndup(arena, text, n);
    c->value = *p == '~' ? p + 1 : p;
    return *p == '~';
}

const char *tagdb_expr_tag(const char *expr, struct arena *arena)
{
    struct condition c;
    return parse_condition(expr, arena, &c) < 0 ? NULL : c.tag;
}

static int compile_condition(const char *text, struct arena *arena, struct condition *c, struct err *err)
{
    int is_regex = parse_condition(text, arena, c);
    if (is_regex < 0)
        return err_set(
            err, ERR_INVALID,
            "'%.100s' is no tag condition: expected tag=value, tag!=value, tag=~regex or tag!=~regex", text);
    if (!is_regex) {
        c->matches_empty = !*c->value != c->negated;
        return OK;
    }
    const char *pattern = c->value;
    if (*pattern != '^') {
        size_t n = strlen(pattern);
        char *anchored = arena_alloc(arena, n + 4);
        memcpy(anchored, "^(", 2);
        memcpy(anchored + 2, pattern, n);
        memcpy(anchored + 2 + n, ")", 2);
        pattern = anchored;
    }
    int rc = regex_new(pattern, &c->regex, err);
    if (rc == OK)
        c->matches_empty = regex_match(c->regex, "") != c->negated;
    return rc;
}

bool tagdb_tag_at(const char *name, size_t len, size_t i, const char **tag, size_t *tag_len,
                  const char **value, size_t *value_len)
{
    const char *end = name + len, *p = memchr(name, ';', len);
    if (!p)
        p = end;
    if (i == 0) {
        while (name < p && *name == '~')
            name++;
        *tag = "name";
        *tag_len = 4;
        *value = name;
        *value_len = (size_t)(p - name);
        return true;
    }
    while (p < end && --i) {
        p = memchr(p + 1, ';', (size_t)(end - p - 1));
        if (!p)
            return false;
    }
    if (p >= end)
        return false;
    const char *next = memchr(p + 1, ';', (size_t)(end - p - 1));
    if (!next)
        next = end;
    const char *equal = memchr(p + 1, '=', (size_t)(next - p - 1));
    if (!equal)
        return false;
    *tag = p + 1;
    *tag_len = (size_t)(equal - p - 1);
    *value = equal + 1;
    *value_len = (size_t)(next - equal - 1);
    return true;
}

bool tagdb_value(const char *name, size_t len, const char *tag, const char **value, size_t *value_len)
{
    const char *t;
    size_t n, want = strlen(tag);
    for (size_t i = 0; tagdb_tag_at(name, len, i, &t, &n, value, value_len); i++)
        if (n == want && !memcmp(t, tag, n))
            return true;
    return false;
}

/* As graphite-web: a condition that an empty value would not meet also asks for the tag to be there. */
static bool holds(const struct condition *c, const char *name, size_t len)
{
    const char *value;
    size_t n;
    char text[1025];
    if (!tagdb_value(name, len, c->tag, &value, &n)) {
        if (!c->matches_empty)
            return false;
        value = "";
        n = 0;
    }
    if (!c->regex)
        return (n == strlen(c->value) && !memcmp(value, c->value, n)) != c->negated;
    if (n >= sizeof text)
        return false;
    memcpy(text, value, n);
    text[n] = '\0';
    return regex_match(c->regex, text) != c->negated;
}

static int on_series(void *ctx, uint32_t id, const char *name, size_t len)
{
    struct search *s = ctx;
    for (size_t i = 0; i < s->n; i++)
        if (!holds(&s->v[i], name, len))
            return 0;
    return s->fn(s->ctx, id, name, len);
}

int tagdb_find(struct query_source *src, const char *const *exprs, size_t n, struct arena *arena,
               query_name_fn fn, void *ctx, struct err *err)
{
    struct search s = {.v = arena_alloc(arena, n * sizeof *s.v), .arena = arena, .fn = fn, .ctx = ctx};
    bool selective = false;
    int rc = OK;
    memset(s.v, 0, n * sizeof *s.v);
    for (; s.n < n && rc == OK; s.n++) {
        rc = compile_condition(exprs[s.n], arena, &s.v[s.n], err);
        selective = selective || !s.v[s.n].matches_empty;
    }
    if (rc == OK && !selective)
        rc = err_set(err, ERR_INVALID, "at least one tag condition must not hold for an empty value");
    if (rc == OK)
        rc = src->ops->each(src, true, on_series, &s);
    for (size_t i = 0; i < s.n; i++)
        regex_free(s.v[i].regex);
    return rc;
}
