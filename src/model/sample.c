#include "model/sample.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *help;
} rejects[REJECT_KINDS] = {
    [REJECT_SYNTAX] = {"syntax", "not of the form the protocol asks for"},
    [REJECT_NAME] = {"bad_name",
                     "the name is empty, has an empty level, a forbidden byte or a malformed tag"},
    [REJECT_NAME_TOO_LONG] = {"name_too_long", "the name is longer than 1024 bytes"},
    [REJECT_LINE_TOO_LONG] = {"line_too_long", "the line is longer than the listener takes"},
    [REJECT_VALUE] = {"bad_value", "the value is not a number"},
    [REJECT_NOT_FINITE] = {"not_finite", "the value is NaN or infinite"},
    [REJECT_TIME] = {"bad_time", "the time stamp is not a number of seconds since 1970, or is negative"},
    [REJECT_FUTURE] = {"future",
                       "the time stamp is too far in the future (seconds are expected, not milliseconds)"},
    [REJECT_TOO_OLD] = {"too_old", "the time stamp is older than the retention of the series"},
    [REJECT_SERIES_LIMIT] = {"series_limit", "the series is new and catalog.max_series is reached"},
    [REJECT_SERIES_QUOTA] = {"series_quota", "the series is new and the quota of its prefix is reached"},
    [REJECT_UNAVAILABLE] = {"unavailable", "the stream does not accept points; see the server's log"},
};

const char *reject_name(enum reject r)
{
    return rejects[r].name;
}

const char *reject_help(enum reject r)
{
    return rejects[r].help;
}

struct sample *sample_batch_add(struct sample_batch *b)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 256;
        b->v = xrealloc(b->v, b->cap * sizeof *b->v);
    }
    return &b->v[b->n++];
}

void sample_batch_clear(struct sample_batch *b)
{
    b->n = 0;
    arena_reset(&b->names);
    memset(b->rejected, 0, sizeof b->rejected);
}

void sample_batch_release(struct sample_batch *b)
{
    free(b->v);
    arena_release(&b->names);
    *b = (struct sample_batch)SAMPLE_BATCH_INIT;
}
