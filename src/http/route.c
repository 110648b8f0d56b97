#include "http/route.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void cut_pattern(struct route *r)
{
    char *s = r->text;
    assert(*s == '/');
    for (s++; *s;) {
        assert(r->pattern.n < URL_MAX_LEVELS);
        if (*s == ':')
            r->vars |= 1u << (31 - r->pattern.n);
        r->pattern.level[r->pattern.n++] = s;
        s += strcspn(s, "/");
        if (*s)
            *s++ = '\0';
    }
}

void route_add(struct route_table *t, const char *method, const char *pattern, http_handler_fn fn, void *ctx)
{
    struct route *r = xcalloc(1, sizeof *r);
    r->method = xstrdup(method);
    r->text = xstrdup(pattern);
    r->fn = fn;
    r->ctx = ctx;
    cut_pattern(r);
    r->next = t->first;
    t->first = r;
}

void route_table_release(struct route_table *t)
{
    while (t->first) {
        struct route *r = t->first;
        t->first = r->next;
        free(r->method);
        free(r->text);
        free(r);
    }
}

static bool path_matches(const struct route *r, const struct url_path *path)
{
    if (r->pattern.n != path->n)
        return false;
    for (size_t i = 0; i < path->n; i++) {
        bool var = *r->pattern.level[i] == ':';
        if (var ? !*path->level[i] : strcmp(r->pattern.level[i], path->level[i]) != 0)
            return false;
    }
    return true;
}

static void add_allowed(struct buf *allow, const char *method)
{
    if (strstr(buf_str(allow), method)) /* two patterns match: no method's name is within another's */
        return;
    if (allow->len)
        buf_puts(allow, ", ");
    buf_puts(allow, method);
    if (!strcmp(method, "GET"))
        buf_puts(allow, ", HEAD");
}

const struct route *route_find(const struct route_table *t, const char *method, const struct url_path *path,
                               struct buf *allow)
{
    const struct route *best = NULL;
    bool head = !strcmp(method, "HEAD");
    for (const struct route *r = t->first; r; r = r->next) {
        if (!path_matches(r, path))
            continue;
        if (!strcmp(r->method, head ? "GET" : method)) {
            if (!best || r->vars < best->vars)
                best = r;
        } else {
            add_allowed(allow, r->method);
        }
    }
    return best;
}
