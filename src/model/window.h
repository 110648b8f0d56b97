/* Steps, slots and windows.
 *
 * A series has a step; a time stamp is floored to it and so has a slot. A window is a
 * fixed, epoch-aligned run of slots, the unit in which points move between tiers. */
#ifndef CARAT_MODEL_WINDOW_H
#define CARAT_MODEL_WINDOW_H

#include <stdint.h>

#define STEP_MIN_MS      1000
#define STEP_MAX_MS      86400000
#define WINDOW_SLOTS_MAX 366

/* 60 s: 4 h, 5 min: 1 d, 1 h: 7 d, 1 d: 365 d, any other step: 240 slots. These spans
 * are part of the stored keys: they never change. */
int64_t window_span_ms(int64_t step_ms);

/* Largest multiple of `unit` that is <= ts; right for negative ts too. */
static inline int64_t floor_to(int64_t ts, int64_t unit)
{
    int64_t r = ts % unit;
    return ts - (r < 0 ? r + unit : r);
}
static inline int64_t ceil_to(int64_t ts, int64_t unit)
{
    return floor_to(ts + unit - 1, unit);
}

/* Start of the window that holds ts. */
static inline int64_t window_start(int64_t ts_ms, int64_t step_ms)
{
    return floor_to(ts_ms, window_span_ms(step_ms));
}
static inline uint32_t window_slots(int64_t step_ms)
{
    return (uint32_t)(window_span_ms(step_ms) / step_ms);
}
static inline uint32_t window_slot(int64_t ts_ms, int64_t step_ms)
{
    return (uint32_t)((ts_ms - window_start(ts_ms, step_ms)) / step_ms);
}

#endif
