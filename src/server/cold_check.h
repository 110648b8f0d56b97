/* What verify and scrub do with the cold tier: look at every pack, and heal one whose damage can be made
 * again. */
#ifndef CARAT_SERVER_COLD_CHECK_H
#define CARAT_SERVER_COLD_CHECK_H

#include "base/err.h"
#include "writer/verify.h"

#include <stdbool.h>

struct server;

/* verify_options.cold and .cold_bytes. */
int cold_check(struct server *s, const struct verify_cold *to, struct err *err) must_check;
uint64_t cold_check_bytes(struct server *s);

/* Makes the roll-ups that were in damaged places of a pack again, into warm, and if that was all that is
 * damaged writes the pack again without them. Points stay as they are, reads go on to tell of them: only a
 * backup has them. `cancelled` may end it, with *healed false. */
int cold_check_heal(struct server *s, uint64_t pack, bool (*cancelled)(void *ctx), void *ctx, bool *healed,
                    struct err *err) must_check;

#endif
