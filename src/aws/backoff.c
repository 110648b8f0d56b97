#include "aws/backoff.h"

#include <stdatomic.h>
#include <sys/random.h>

#define CUT_SHARE   (2.0 / 3)
#define CUT_EACH_MS 100

static uint64_t system_next(struct aws_random *r)
{
    /* splitmix64 over a counter that begins where the kernel says */
    static _Atomic uint64_t state;
    (void)r;
    uint64_t x = atomic_load(&state);
    if (!x) {
        uint64_t seed = 0;
        if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
            seed = 0x9e3779b97f4a7c15u;
        atomic_compare_exchange_strong(&state, &x, seed | 1);
    }
    x = atomic_fetch_add(&state, 0x9e3779b97f4a7c15u);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

struct aws_random *aws_random_system(void)
{
    static struct aws_random system = {system_next};
    return &system;
}

int64_t backoff_ms(unsigned attempt, int64_t base_ms, int64_t cap_ms, struct aws_random *random)
{
    int64_t most = base_ms;
    for (unsigned i = 1; i < attempt && most < cap_ms; i++)
        most *= 2;
    most = most < cap_ms ? most : cap_ms;
    return (int64_t)(random->next(random) % (uint64_t)(most + 1));
}

void parallel_limit_init(struct parallel_limit *p, unsigned max)
{
    *p = (struct parallel_limit){max, max, INT64_MIN / 2};
}

void parallel_limit_good(struct parallel_limit *p)
{
    p->limit += 1 / p->limit;
    p->limit = p->limit > p->max ? p->max : p->limit;
}

void parallel_limit_throttled(struct parallel_limit *p, int64_t now_ms)
{
    if (now_ms - p->cut_ms < CUT_EACH_MS)
        return;
    p->cut_ms = now_ms;
    p->limit = p->limit * CUT_SHARE < 1 ? 1 : p->limit * CUT_SHARE;
}
