/* When and how often something is tried again: full jitter, and a budget for retries. Pure; not thread-safe.
 */
#ifndef CARAT_AWS_BACKOFF_H
#define CARAT_AWS_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

/* Random numbers as an object, so that tests can choose them. Any thread, or one: the implementation says. */
struct aws_random {
    uint64_t (*next)(struct aws_random *);
};
/* Seeded by the kernel; for any thread. Never freed. */
struct aws_random *aws_random_system(void);

/* A wait between 0 and base_ms * 2^(attempt - 1), at most cap_ms; attempt counts from 1. Waits of many that
 * failed together are spread over all of that time, so that they do not come back together. */
int64_t backoff_ms(unsigned attempt, int64_t base_ms, int64_t cap_ms, struct aws_random *random);

/* Retries are paid for by successes: when a service is down for all, it is not asked several times for each
 * call. Full at the start. */
struct retry_budget {
    uint32_t tokens, max;
};
#define RETRY_COST   10 /* tokens */
#define RETRY_REFUND 1  /* for a success */
static inline bool retry_budget_take(struct retry_budget *b)
{
    if (b->tokens < RETRY_COST)
        return false;
    b->tokens -= RETRY_COST;
    return true;
}
static inline void retry_budget_refund(struct retry_budget *b)
{
    b->tokens = b->tokens + RETRY_REFUND < b->max ? b->tokens + RETRY_REFUND : b->max;
}

/* How many calls may be under way: one more for each such number of successes, a third less for a throttle,
 * at most once in a while. */
struct parallel_limit {
    double limit;
    unsigned max;
    int64_t cut_ms; /* the last time it was made smaller */
};
void parallel_limit_init(struct parallel_limit *p, unsigned max);
void parallel_limit_good(struct parallel_limit *p);
void parallel_limit_throttled(struct parallel_limit *p, int64_t now_ms);
static inline unsigned parallel_limit_now(const struct parallel_limit *p)
{
    return (unsigned)p->limit;
}

#endif
