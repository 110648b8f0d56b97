/* Commands on their way to Redis, encoded as they go over the wire (RESP arrays of bulk strings). One thread.
 */
#ifndef CARAT_REDIS_REDIS_BATCH_H
#define CARAT_REDIS_REDIS_BATCH_H

#include "base/buf.h"

#include <stdint.h>

struct redis_command {
    size_t at, len; /* of its bytes in the batch */
    uint16_t slot;
};

struct redis_batch {
    struct buf bytes;
    struct redis_command *v;
    size_t n, cap;
    unsigned args_due; /* of the command being added */
};
#define REDIS_BATCH_INIT                                                                                     \
    {                                                                                                        \
        BUF_INIT, NULL, 0, 0, 0                                                                              \
    }

void redis_batch_clear(struct redis_batch *b); /* keeps memory */
void redis_batch_release(struct redis_batch *b);

/* Begins a command of `argc` arguments, its name included; exactly so many redis_batch_arg*() follow. Every
 * key of the command is in `slot` (commands sent to a node of the caller's choice have none: 0). */
void redis_batch_begin(struct redis_batch *b, uint16_t slot, unsigned argc);
void redis_batch_arg(struct redis_batch *b, const void *p, size_t n);
void redis_batch_str(struct redis_batch *b, const char *s);
void redis_batch_i64(struct redis_batch *b, int64_t v); /* in decimal */
/* prefix and a number as one argument: "#12" */
void redis_batch_numbered(struct redis_batch *b, char prefix, uint32_t v);

#endif
