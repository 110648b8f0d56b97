/* Where the marks of an axis go. Pure. */
#ifndef CARAT_DRAW_TICKS_H
#define CARAT_DRAW_TICKS_H

#include <stddef.h>
#include <stdint.h>

#define TICKS_MAX 32

struct ticks {
    size_t n;
    double at[TICKS_MAX];
    char label[TICKS_MAX][24];
};

/* About `want` marks at multiples of 1, 2 or 5 times a power of ten that cover lo..hi; lo and hi are widened
 * to the outermost ones. Labels have a prefix for large numbers: 1.5 k, 20 M (binary: Ki, Mi). lo <= hi,
 * finite. */
void ticks_values(double *lo, double *hi, size_t want, int binary, struct ticks *out);

/* About `want` marks at whole minutes, hours, days, months between two times; offset_s is what local time is
 * ahead of UTC. Labels say as much of the time as the distance needs. from_s < until_s. */
void ticks_times(int64_t from_s, int64_t until_s, int64_t offset_s, size_t want, struct ticks *out);

#endif
