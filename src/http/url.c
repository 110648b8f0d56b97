#include "http/url.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t url_decode(const char *s, size_t n, bool plus_is_space, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%' && n - i > 2 && hex_digit(s[i + 1]) >= 0 && hex_digit(s[i + 2]) >= 0) {
            c = (char)(hex_digit(s[i + 1]) << 4 | hex_digit(s[i + 2]));
            i += 2;
        }
        out[len++] = c;
    }
    return len;
}

/* A decoded, NUL-terminated copy; NULL if it has a NUL byte itself. */
static const char *decoded(const char *s, size_t n, bool plus_is_space, struct arena *arena)
{
    char *p = arena_alloc(arena, n + 1);
    size_t len = url_decode(s, n, plus_is_space, p);
    p[len] = '\0';
    return memchr(p, '\0', len) ? NULL : p;
}

void http_pairs_add(struct http_pairs *p, struct arena *arena, const char *name, const char *value)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 8;
        struct http_pair *v = arena_alloc(arena, cap * sizeof *v);
        if (p->n)
            memcpy(v, p->v, p->n * sizeof *v);
        p->v = v;
        p->cap = cap;
    }
    p->v[p->n++] = (struct http_pair){name, value};
}

static int add_arg(const char *s, size_t n, struct arena *arena, struct http_pairs *args, struct err *err)
{
    const char *eq = memchr(s, '=', n);
    size_t name_len = eq ? (size_t)(eq - s) : n;
    const char *name = decoded(s, name_len, true, arena);
    const char *value = eq ? decoded(eq + 1, n - name_len - 1, true, arena) : "";
    if (!name || !value)
        return err_set(err, ERR_INVALID, "an argument has a NUL byte (%%00)");
    http_pairs_add(args, arena, name, value);
    return OK;
}

int url_parse_args(const char *s, size_t n, size_t max_args, struct arena *arena, struct http_pairs *args,
                   struct err *err)
{
    if (n == 0)
        return OK; /* s may be NULL then */
    const char *end = s + n;
    while (s < end) {
        const char *amp = memchr(s, '&', (size_t)(end - s));
        size_t len = amp ? (size_t)(amp - s) : (size_t)(end - s);
        if (len && args->n >= max_args)
            return err_set(err, ERR_INVALID, "more than %zu arguments", max_args);
        int rc = len ? add_arg(s, len, arena, args, err) : OK;
        if (rc)
            return rc;
        s += len + 1;
    }
    return OK;
}

int url_parse_path(const char *s, size_t n, struct arena *arena, struct url_path *out, struct err *err)
{
    out->n = 0;
    if (n == 0 || *s != '/')
        return err_set(err, ERR_INVALID, "the path does not start with a slash");
    if (n > 1 && s[n - 1] == '/')
        n--;
    const char *end = s + n;
    for (s++; s < end;) {
        const char *slash = memchr(s, '/', (size_t)(end - s));
        size_t len = slash ? (size_t)(slash - s) : (size_t)(end - s);
        if (out->n == URL_MAX_LEVELS)
            return err_set(err, ERR_INVALID, "the path has more than %d levels", URL_MAX_LEVELS);
        const char *level = decoded(s, len, false, arena);
        if (!level)
            return err_set(err, ERR_INVALID, "the path has a NUL byte (%%00)");
        out->level[out->n++] = level;
        s += len + 1;
    }
    return OK;
}
