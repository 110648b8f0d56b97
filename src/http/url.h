/* The pure part of HTTP addresses: percent decoding and name=value lists. No sockets, no globals. */
#ifndef CARAT_HTTP_URL_H
#define CARAT_HTTP_URL_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Decodes %XX, and '+' to a space where plus_is_space (query strings and forms, not paths). A '%' without
 * two hex digits after it is kept as it is. `out` needs n bytes and may be `s`; returns the length. The
 * result may hold NUL bytes. */
size_t url_decode(const char *s, size_t n, bool plus_is_space, char *out);

struct http_pair {
    const char *name, *value; /* decoded, NUL-terminated */
};
struct http_pairs {
    struct http_pair *v;
    size_t n, cap; /* grown in the arena they were added with */
};
void http_pairs_add(struct http_pairs *p, struct arena *arena, const char *name, const char *value);

/* Appends the arguments of "a=1&b=x+y&flag", in order; an argument without '=' has the value "". Empty
 * pieces are skipped. ERR_INVALID: a NUL byte, or more than max_args arguments in `args`. */
int url_parse_args(const char *s, size_t n, size_t max_args, struct arena *arena, struct http_pairs *args,
                   struct err *err) must_check;

#define URL_MAX_LEVELS 16

/* A path cut at its slashes, each level decoded: a slash written %2F stays inside its level. One slash at
 * the end is ignored. */
struct url_path {
    size_t n;
    const char *level[URL_MAX_LEVELS];
};
/* ERR_INVALID: it does not start with a slash, has a NUL byte or more than URL_MAX_LEVELS levels. */
int url_parse_path(const char *s, size_t n, struct arena *arena, struct url_path *out,
                   struct err *err) must_check;

#endif
