/* The warm tier in a table of the DynamoDB API. See doc/dynamodb.md.
 *
 * A part is an item, readable and durable when a put returns; a sync has nothing left to do. What makes it
 * different from other backends:
 *
 * - A put of several parts is not one step. New parts are stored before replaced ones are removed, so a read
 *   between sees both, which by the rule of model/part.h is the same; after an error some parts may be there,
 * and the same put again completes it.
 * - Several processes may use one table; remove_if looks and removes in one step even so.
 * - A scan asks for each series of the catalog. It is meant for groups of windows that a mark says have
 *   something. */
#ifndef CARAT_WARM_WARM_DYNAMODB_H
#define CARAT_WARM_WARM_DYNAMODB_H

#include "aws/client.h"
#include "warm/warm.h"

#include <stdbool.h>

struct warm_dynamodb_options {
    struct aws_client *client; /* of the service "dynamodb"; borrowed */
    const char *table;
    const char *identity; /* of this deployment: a table of another is refused */
    bool create;          /* make the table if it is missing */
    struct clock *clock;
    struct metrics *metrics; /* may be NULL */
    /* Series ids are below this; called by scans and expiry. */
    uint32_t (*series_end)(void *ctx);
    /* How long data of a step is kept; 0 or less, or no function: for ever. */
    int64_t (*keep_ms)(void *ctx, uint32_t step_ms);
    void *ctx;
};

/* ERR_INVALID: the table has other keys, or belongs to another deployment. ERR_NOT_FOUND: there is none, and
 * it is not to be made. If the service does not answer, the tier opens all the same; each call tries again
 * until it does. */
int warm_dynamodb_open(const struct warm_dynamodb_options *o, struct warm **out, struct err *err) must_check;

struct warm_dynamodb_stats {
    uint64_t read_units_milli, write_units_milli; /* consumed capacity, thousandths */
    uint64_t items_written, items_removed, items_unprocessed, items_expired;
};
void warm_dynamodb_get_stats(struct warm *w, struct warm_dynamodb_stats *out);

#endif
