/* Whether the server can give complete answers yet, for /readyz and for the APIs that read. */
#ifndef CARAT_HTTP_READINESS_H
#define CARAT_HTTP_READINESS_H

#include <stddef.h>

/* One thing that is waited for, in words: "partition 0: 120000 points of the stream not yet applied". */
struct readiness_wait {
    char text[160];
};

struct readiness {
    /* Fills up to `max` waits and returns how many; 0: ready. Called by any thread, for every read: cheap,
     * no blocking. NULL: always ready. */
    size_t (*waiting)(void *ctx, struct readiness_wait *out, size_t max);
    void *ctx;
};

#define READINESS_WAITS_MAX 16

static inline size_t readiness_waiting(const struct readiness *r, struct readiness_wait *out, size_t max)
{
    return r->waiting ? r->waiting(r->ctx, out, max) : 0;
}

#endif
