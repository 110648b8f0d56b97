/* Threads that help with work which falls into pieces.
 *
 * Whoever has such work runs it itself, and helpers that have nothing to do join in: what is under way is
 * never more than the callers and the helpers together, and nobody waits for a helper that is busy. */
#ifndef CARAT_BASE_POOL_H
#define CARAT_BASE_POOL_H

#include "base/err.h"

struct pool;

int pool_new(unsigned helpers, const char *thread_name, struct pool **out, struct err *err) must_check;
/* After the last pool_run has returned; NULL is fine. */
void pool_free(struct pool *p);

/* Calls fn(ctx) here and on up to `most` helpers, at the same time; fn takes pieces of the work until there
 * are none. Returns when all calls have. With p NULL, here alone. Any thread, any number at once. */
void pool_run(struct pool *p, unsigned most, void (*fn)(void *ctx), void *ctx);

#endif
