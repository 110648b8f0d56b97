/* Configuration: a table of known keys, filled from defaults, then a file, then the command line.
 *
 *   [section]          ; a comment starts with ; or # (in a line: after a space and ;)
 *   key = value        ; named "section.key" in the table, in --set and in messages
 *
 * Values are checked against their type when they are set, so getters cannot fail. What a user gets wrong
 * is ERR_INVALID with the place and, for an unknown key, the nearest known one. One thread fills it; after
 * that any thread may read. */
#ifndef CARAT_BASE_CONFIG_H
#define CARAT_BASE_CONFIG_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_type {
    CONFIG_STRING,
    CONFIG_BOOL,     /* true false yes no on off 1 0 */
    CONFIG_INT,      /* decimal, min..max of the key */
    CONFIG_SIZE,     /* bytes: 4096, 16K, 64M, 2G, 1T (powers of 1024) */
    CONFIG_DURATION, /* 500ms 60s 5min 24h 1d 4w 1y (365 d); a plain 0 */
    CONFIG_PATH      /* relative to the working directory */
};

struct config_key {
    const char *name; /* "section.key" */
    enum config_type type;
    const char *text; /* the default as a user would write it; "" is allowed for strings and paths */
    const char *doc;  /* one line */
    bool secret;      /* only from a file, never from --set; printed as (set) */
    int64_t min, max; /* of a CONFIG_INT; both 0: 0..2^31-1 */
};

struct config;

/* Keeps `keys` by reference. Asserts that every default is valid. */
struct config *config_new(const struct config_key *keys, size_t n);
void config_free(struct config *c);

/* ERR_NOT_FOUND: no such file. ERR_INVALID: the text names file and line; keys before it may be set. */
int config_load_file(struct config *c, const char *path, struct err *err) must_check;
/* "section.key=value", as after --set; wins over any file. Twice the same key: the last one counts. */
int config_set(struct config *c, const char *assignment, struct err *err) must_check;

/* What is in force, as a file that could be loaded again; each value says where it came from. */
void config_print(const struct config *c, struct buf *out);

/* An unknown name or one of another type is our bug: assert. Strings live as long as the config. */
const char *config_string(const struct config *c, const char *name); /* also paths */
bool config_bool(const struct config *c, const char *name);
int64_t config_int(const struct config *c, const char *name);
uint64_t config_size_bytes(const struct config *c, const char *name);
int64_t config_duration_ms(const struct config *c, const char *name);

/* The value forms, for command line options. 0, or -1 if `text` is none. */
int config_parse_size(const char *text, uint64_t *bytes);
int config_parse_duration(const char *text, int64_t *ms);

#endif
