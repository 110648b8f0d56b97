/* What a wire format parses into: named points, not yet known to the catalog. */
#ifndef CARAT_MODEL_SAMPLE_H
#define CARAT_MODEL_SAMPLE_H

#include "base/arena.h"

#include <stddef.h>
#include <stdint.h>

/* One named point. `name` is canonical (model/name.h) and borrowed: from the bytes
 * that were parsed, or from the batch's arena when it had to be rewritten. */
struct sample {
    const char *name;
    uint32_t name_len;
    uint64_t hash; /* hash_bytes(name, name_len) */
    int64_t ts_ms; /* as sent, not floored to a step; may be out of any bound */
    double value;  /* finite */
};

/* Why an input point was refused; each has a counter carat_points_rejected_total{reason=...}. */
enum reject {
    REJECT_SYNTAX,        /* not the fields the format asks for */
    REJECT_NAME,          /* empty, bad byte, empty path level or bad tag */
    REJECT_NAME_TOO_LONG, /* over NAME_MAX_BYTES */
    REJECT_LINE_TOO_LONG, /* a line over the listener's bound */
    REJECT_VALUE,         /* not a number */
    REJECT_NOT_FINITE,    /* NaN or an infinity */
    REJECT_TIME,          /* not a time stamp, or negative */
    REJECT_FUTURE,        /* further ahead than ingest.max_future (milliseconds sent as seconds land here) */
    REJECT_TOO_OLD,       /* older than the series' retention */
    REJECT_SERIES_LIMIT,  /* a new series beyond catalog.max_series */
    REJECT_SERIES_QUOTA,  /* a new series beyond a quota of limits.quotas */
    REJECT_UNAVAILABLE,   /* the stream gave up; the point was not stored */
    REJECT_KINDS
};
/* "syntax", "name", ...: the label of the counter. */
const char *reject_name(enum reject r);
/* One sentence for people: what is wrong and what is expected. */
const char *reject_help(enum reject r);

/* Samples of one read or one request. Owned by one thread. */
struct sample_batch {
    struct sample *v;
    size_t n, cap;
    struct arena names; /* rewritten names */
    uint64_t rejected[REJECT_KINDS];
};

#define SAMPLE_BATCH_INIT                                                                                    \
    {                                                                                                        \
        NULL, 0, 0, ARENA_INIT,                                                                              \
        {                                                                                                    \
            0                                                                                                \
        }                                                                                                    \
    }

/* Room for one more sample at the end; the caller fills it. */
struct sample *sample_batch_add(struct sample_batch *b);
void sample_batch_clear(struct sample_batch *b); /* keeps memory */
void sample_batch_release(struct sample_batch *b);

#endif
