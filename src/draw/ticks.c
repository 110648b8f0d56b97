#include "draw/ticks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MINUTE 60
#define HOUR   3600
#define DAY    86400

/* Without a prefix up to 9999; a number that needs one is at least 1 of it. */
static void value_label(double v, double step, int binary, char out[24])
{
    static const char *const prefix[] = {"", "k", "M", "G", "T", "P", "E"};
    double base = binary ? 1024 : 1000, scale = 1;
    size_t i = 0;
    while (i < 6 && fabs(v) / scale >= (binary ? base : 10 * base)) {
        scale *= base;
        i++;
    }
    if (i == 0 && fabs(v) >= base && fmod(v, base) == 0 && v != 0) {
        scale = base;
        i = 1;
    }
    int digits = 0;
    for (double s = step / scale; digits < 6 && fabs(s - round(s)) > 1e-6 * fabs(s); s *= 10)
        digits++;
    snprintf(out, 24, fabs(v) < 1e-300 ? "0" : "%.*f%s%s%s", digits, v / scale, i ? " " : "", prefix[i],
             i && binary ? "i" : "");
}

static double nice_step(double range, size_t want)
{
    double raw = range / (double)(want ? want : 1), p = pow(10, floor(log10(raw))), f = raw / p;
    return (f <= 1 ? 1 : f <= 2 ? 2 : f <= 5 ? 5 : 10) * p;
}

void ticks_values(double *lo, double *hi, size_t want, int binary, struct ticks *out)
{
    want = want < TICKS_MAX / 3 ? want : TICKS_MAX / 3;
    if (*hi - *lo <= fabs(*hi) * 1e-12) { /* a flat line is in the middle */
        double pad = *hi != 0 ? fabs(*hi) * 0.1 : 1;
        *lo -= pad;
        *hi += pad;
    }
    double step = nice_step(*hi - *lo, want);
    *lo = floor(*lo / step) * step;
    *hi = ceil(*hi / step) * step;
    out->n = 0;
    for (size_t i = 0; out->n < TICKS_MAX; i++) {
        double v = *lo + (double)i * step;
        if (v > *hi + step / 2)
            break;
        out->at[out->n] = fabs(v) < step * 1e-9 ? 0 : v;
        value_label(out->at[out->n], step, binary, out->label[out->n]);
        out->n++;
    }
}

static const struct {
    int64_t step_s;
    const char *format;
} time_steps[] = {
    {1, "%H:%M:%S"},     {5, "%H:%M:%S"},       {15, "%H:%M:%S"},       {30, "%H:%M:%S"},
    {MINUTE, "%H:%M"},   {5 * MINUTE, "%H:%M"}, {15 * MINUTE, "%H:%M"}, {30 * MINUTE, "%H:%M"},
    {HOUR, "%H:%M"},     {2 * HOUR, "%H:%M"},   {6 * HOUR, "%d %H:%M"}, {12 * HOUR, "%d %H:%M"},
    {DAY, "%b %d"},      {2 * DAY, "%b %d"},    {7 * DAY, "%b %d"},     {30 * DAY, "%b %Y"},
    {91 * DAY, "%b %Y"}, {365 * DAY, "%Y"},     {5 * 365 * DAY, "%Y"},  {20 * 365 * (int64_t)DAY, "%Y"},
};

static void add_time(struct ticks *out, int64_t t, int64_t offset_s, const char *format)
{
    time_t local = (time_t)(t + offset_s);
    struct tm tm;
    gmtime_r(&local, &tm);
    out->at[out->n] = (double)t;
    strftime(out->label[out->n], sizeof out->label[0], format, &tm);
    out->n++;
}

/* The first of a month, months apart. */
static void month_ticks(int64_t from_s, int64_t until_s, int64_t offset_s, int months, const char *format,
                        struct ticks *out)
{
    time_t local = (time_t)(from_s + offset_s);
    struct tm tm;
    gmtime_r(&local, &tm);
    int64_t month = ((int64_t)tm.tm_year * 12 + tm.tm_mon) / months * months;
    for (; out->n < TICKS_MAX; month += months) {
        struct tm first = {.tm_year = (int)(month / 12), .tm_mon = (int)(month % 12), .tm_mday = 1};
        int64_t t = (int64_t)timegm(&first) - offset_s;
        if (t > until_s)
            return;
        if (t >= from_s)
            add_time(out, t, offset_s, format);
    }
}

void ticks_times(int64_t from_s, int64_t until_s, int64_t offset_s, size_t want, struct ticks *out)
{
    size_t i = 0, last = sizeof time_steps / sizeof *time_steps - 1;
    want = want && want < TICKS_MAX / 2 ? want : TICKS_MAX / 2;
    while (i < last && (until_s - from_s) / time_steps[i].step_s > (int64_t)want)
        i++;
    int64_t step = time_steps[i].step_s;
    out->n = 0;
    if (step >= 30 * DAY) {
        month_ticks(from_s, until_s, offset_s, (int)(step / (30 * DAY)), time_steps[i].format, out);
        return;
    }
    int64_t t = from_s + offset_s, rest = (t % step + step) % step;
    for (t += rest ? step - rest : 0; t - offset_s <= until_s && out->n < TICKS_MAX; t += step)
        add_time(out, t - offset_s, offset_s, time_steps[i].format);
}
