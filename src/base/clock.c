#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static int64_t system_wall_ms(struct clock *c)
{
    (void)c;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t system_mono_us(struct clock *c)
{
    (void)c;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct clock *clock_system(void)
{
    static struct clock system = {system_wall_ms, system_mono_us};
    return &system;
}

static int64_t fake_wall_ms(struct clock *c)
{
    return atomic_load(&((struct clock_fake *)c)->now_ms);
}

static int64_t fake_mono_us(struct clock *c)
{
    return fake_wall_ms(c) * 1000;
}

void clock_fake_init(struct clock_fake *c, int64_t now_ms)
{
    c->base = (struct clock){fake_wall_ms, fake_mono_us};
    atomic_init(&c->now_ms, now_ms);
}
