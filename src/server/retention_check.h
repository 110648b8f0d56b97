/* What applying rules would change in stored data: asked before anything is done. */
#ifndef CARAT_SERVER_RETENTION_CHECK_H
#define CARAT_SERVER_RETENTION_CHECK_H

#include "server/rules.h"
#include "warm/warm.h"

struct retention_check {
    struct rules *rules; /* all borrowed */
    struct catalog *catalog;
    struct warm *warm; /* with cold below it: what would go is counted there; NULL: it is not */
    struct clock *clock;
    bool (*cancelled)(void *ctx); /* both may be NULL */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};

struct retention_checked {
    uint64_t series,
        changing; /* all; those with a change (not: that stay, though the rule wants another step) */
    uint64_t windows, bytes; /* that would go */
};

/* Reads the rules' files as they are now, without putting them in force, and appends what they would change
 * (doc/jobs.md) as a JSON object. Bad rules: ERR_INVALID with file and line. ERR_CLOSED: cancelled. */
int retention_check_run(const struct retention_check *c, struct buf *json, struct retention_checked *out,
                        struct err *err) must_check;

#endif
