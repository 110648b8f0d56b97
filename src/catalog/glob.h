/* One level of a Graphite glob: compiled once, matched against many labels.
 *
 *   web-01        literal
 *   *  ?          any run of bytes (also none), any one byte
 *   [a-z0] [!a]   one byte of a set or of its complement; a ']' or '-' that comes first is meant itself
 *   {a,b*,[cd]e}  one of the alternatives, which may hold wildcards
 *   **            alone in its level: one or more levels
 *
 * As in Graphite, nested braces and an empty alternative ({}, {a,}) match nothing at all, a space is an
 * ordinary byte, and so are a backslash and an unopened ']' or '}'. An unclosed '[' or '{' is refused. */
#ifndef CARAT_CATALOG_GLOB_H
#define CARAT_CATALOG_GLOB_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum glob_kind {
    GLOB_NEVER,  /* matches nothing */
    GLOB_CHOICE, /* exactly one of choices[], which are distinct and in byte order; a literal is one choice */
    GLOB_ANY,    /* every label */
    GLOB_DEEP,   /* ** */
    GLOB_PATTERN, /* ask glob_match */
};

struct glob_text {
    uint32_t off, len; /* into text */
};

struct glob {
    enum glob_kind kind;
    struct buf text; /* bytes of literals and choices */
    struct buf ops;  /* struct glob_op[] */
    struct buf sets; /* 256 bits each */
    struct glob_text *choices;
    size_t nchoices;
};

/* `at` is where the level starts in the whole pattern, for the position in the error. On failure there is
 * nothing to release. Borrows nothing. */
int glob_compile(struct glob *g, const char *level, size_t len, size_t at, struct err *err) must_check;
void glob_release(struct glob *g);

/* Time is at most proportional to pattern times label, whatever the pattern. A label longer than any name
 * (NAME_MAX_BYTES) does not match. GLOB_DEEP matches every label. Any thread. */
bool glob_match(const struct glob *g, const char *label, size_t len);

static inline const char *glob_choice(const struct glob *g, size_t i)
{
    return (const char *)g->text.data + g->choices[i].off;
}

#endif
