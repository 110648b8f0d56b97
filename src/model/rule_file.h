/* The form that Graphite's storage-schemas.conf and storage-aggregation.conf share: sections with a pattern
 * and keys of their own.
 *
 *   [name]
 *   pattern = <regular expression, searched for anywhere in the whole name, tags included>
 *   key = value
 *
 * Sections are tried in order, the first that matches counts. '#' and ';' start comment lines. Unknown,
 * repeated and missing keys are errors; messages begin with file and line. Used by retention.c and
 * aggregation.c. */
#ifndef CARAT_MODEL_RULE_FILE_H
#define CARAT_MODEL_RULE_FILE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* A piece of the text, and how messages show it. */
struct span {
    const char *p;
    size_t len;
};
#define SPAN_SHOW(s) (int)((s).len < 120 ? (s).len : 120), (s).p
struct span span_trim(struct span s);
/* Cuts what comes before the first `c` off s; all of it if there is no `c`. */
struct span span_cut(struct span *s, char c);
bool span_is(struct span s, const char *word);

struct rule_parser {
    const char *file;
    unsigned line;
    struct err *err;
};
/* "FILE:LINE: text", ERR_INVALID. */
int rule_bad(struct rule_parser *p, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Sections by number from 0, in the order of the file. What they say but for the pattern is the user's. */
struct rule_set;
struct rule_set *rule_set_new(const char *what); /* `what` names the rules in the log */
void rule_set_free(struct rule_set *s);
const char *rule_set_section(const struct rule_set *s, size_t i);
/* The first section whose pattern matches; -1: none. A pattern that backtracks without end on a name is taken
 * not to match it, and logged. Any thread. */
long rule_set_match(const struct rule_set *s, const char *name, size_t len);

/* What a kind of file adds. */
struct rule_keys {
    const char *known; /* "a and b", for messages */
    /* A section begins: number i is the last. */
    void (*begin)(void *ctx, const struct rule_set *s, size_t i);
    /* A key of the last section but pattern; 1: there is no such key. */
    int (*key)(void *ctx, struct rule_parser *p, const char *section, struct span key, struct span value);
    /* The last section, which began at that line, is over. May be NULL. */
    int (*end)(void *ctx, struct rule_parser *p, const char *section, unsigned line);
};
int rule_set_parse(struct rule_set *s, const char *text, const char *filename, const struct rule_keys *keys,
                   void *ctx, struct err *err) must_check;

struct buf;
/* The text of a file of at most 1 MiB. */
int rule_file_read(const char *path, struct buf *text, struct err *err) must_check;

#endif
