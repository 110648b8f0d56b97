/* Which retention rules have been in force, and how far stored data follows them.
 *
 * What is stored of a series is not told by the rules of today alone: its layout (model/layout.h) is made by
 * going from the rules it was born under through all that were applied since. So their texts are kept, in a
 * small file that is written whole each time. doc/retention.md has its bytes. */
#ifndef CARAT_SERVER_RULES_HISTORY_H
#define CARAT_SERVER_RULES_HISTORY_H

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"

#include <stddef.h>
#include <stdint.h>

#define RULES_HISTORY_MAX 256
#define RULES_TEXT_MAX    (1u << 20)

enum rules_state {
    RULES_SEEN,      /* new series were born under them; older ones do not follow them */
    RULES_BUILDING,  /* being applied: what has to be added is being made, nothing reads it yet */
    RULES_DROPPING,  /* all series follow them; what is nobody's any more is being removed */
    RULES_DONE,      /* that too */
    RULES_ABANDONED, /* as SEEN, but some of it was made */
    RULES_STATES
};
const char *rules_state_name(enum rules_state s);

struct rules_entry {
    enum rules_state state;
    char *text;                  /* of storage-schemas.conf; NULL: the shipped default */
    uint32_t after_series;       /* series with larger ids were born under these, or later ones */
    int64_t decided_ms, from_ms; /* if applied: see layout_change */
};

struct rules_history {
    struct rules_entry *v; /* oldest first */
    size_t n, cap;
};

void rules_history_release(struct rules_history *h);
/* `text` is copied. */
void rules_history_add(struct rules_history *h, const char *text, uint32_t after_series,
                       enum rules_state state);

void rules_history_encode(const struct rules_history *h, struct buf *out);
/* ERR_CORRUPT, ERR_UNSUPPORTED: *out is empty then. */
int rules_history_decode(const uint8_t *p, size_t n, struct rules_history *out, struct err *err) must_check;

/* Durable when it returns OK; else the old file or the new one is there, whole. */
int rules_history_store(const struct rules_history *h, struct fs *fs, const char *path,
                        struct err *err) must_check;
/* ERR_NOT_FOUND: there is no such file. */
int rules_history_load(struct fs *fs, const char *path, struct rules_history *out,
                       struct err *err) must_check;

#endif
