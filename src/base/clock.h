/* Time as an object, so that tests can drive it. */
#ifndef CARAT_BASE_CLOCK_H
#define CARAT_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    /* Milliseconds since the epoch (wall) or since some fixed point (mono). Any thread. */
    int64_t (*wall_ms)(struct clock *);
    int64_t (*mono_us)(struct clock *);
};

/* The machine's own clocks; never freed. */
struct clock *clock_system(void);

static inline int64_t clock_wall_ms(struct clock *c)
{
    return c->wall_ms(c);
}
static inline int64_t clock_mono_us(struct clock *c)
{
    return c->mono_us(c);
}
static inline int64_t clock_mono_ms(struct clock *c)
{
    return c->mono_us(c) / 1000;
}

/* A clock that stands still until told. Setting it is safe from any thread. */
struct clock_fake {
    struct clock base;
    _Atomic int64_t now_ms;
};
void clock_fake_init(struct clock_fake *c, int64_t now_ms);

#endif
