#include "query/timespec.h"

#include "base/mem.h"
#include "query/civil.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 128 };
/* Years 1 to 9999, as Python's datetime. */
static const int64_t first_s = -62135596800, last_s = 253402300799;

int query_unit_of(const char *w)
{
    static const struct {
        const char *prefix;
        enum query_unit unit;
    } units[] = {{"s", UNIT_SECONDS}, {"min", UNIT_MINUTES}, {"h", UNIT_HOURS}, {"d", UNIT_DAYS},
                 {"w", UNIT_WEEKS},   {"mon", UNIT_MONTHS},  {"y", UNIT_YEARS}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (!strncmp(w, units[i].prefix, strlen(units[i].prefix)))
            return (int)units[i].unit;
    return -1;
}

int query_parse_interval(const char *text, int64_t *out_s, struct err *err)
{
    static const int64_t seconds[] = {1, 60, 3600, 86400, 604800, 30 * 86400, 365 * 86400};
    const int64_t limit = 86400ll * 999999999; /* Python's timedelta */
    const char *p = text;
    int sign = 1;
    *out_s = 0;
    if (!*p)
        return OK;
    if (*p == '+' || *p == '-')
        sign = *p++ == '-' ? -1 : 1;
    else if (!isdigit((unsigned char)*p))
        return err_set(err, ERR_INVALID, "'%.60s' is no interval: expected something like '10min' or '-1d'",
                       text);
    int64_t sum = 0;
    while (*p) {
        if (!isdigit((unsigned char)*p))
            return err_set(err, ERR_INVALID, "'%.60s' is no interval: expected a number at '%.20s'", text, p);
        char *end;
        int64_t count = strtoll(p, &end, 10);
        int unit = query_unit_of(end);
        if (unit < 0)
            return err_set(err, ERR_INVALID,
                           "'%.60s' is no interval: expected s, min, h, d, w, mon or y at '%.20s'", text,
                           end);
        for (p = end; isalpha((unsigned char)*p);)
            p++;
        if (count > limit / seconds[unit] || (sum += count * seconds[unit]) > limit)
            return err_set(err, ERR_INVALID, "the interval '%.60s' is too long", text);
    }
    *out_s = sign * sum;
    return OK;
}

/* Lower case, without blanks, commas and underscores; -1 if too long. */
static int squeeze(const char *text, char out[TEXT_MAX])
{
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        if (strchr("_, ", *p) || ((p == text || !p[1]) && isspace((unsigned char)*p)))
            continue;
        if (n == TEXT_MAX - 1)
            return -1;
        out[n++] = (char)tolower((unsigned char)*p);
    }
    out[n] = '\0';
    return 0;
}

static bool all_digits(const char *s)
{
    if (!*s)
        return false;
    while (isdigit((unsigned char)*s))
        s++;
    return !*s;
}

/* A decimal number of at most `len` bytes that must all be digits; -1 if it is none. */
static int small_number(const char *s, size_t len)
{
    int v = 0;
    if (!len || len > 6)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)s[i]))
            return -1;
        v = v * 10 + s[i] - '0';
    }
    return v;
}

/* What is being read: the time of day and what is left of the text for the day. */
struct reference {
    const char *p;
    int hour, minute;
};

/* "6am", "06pm": the hour before the word. */
static int read_half_day(struct reference *r, const char *word, int add)
{
    const char *at = strstr(r->p, word);
    if (!at || at == r->p || at - r->p > 2)
        return 0;
    r->hour = small_number(r->p, (size_t)(at - r->p));
    if (r->hour < 0)
        return -1;
    r->hour = add ? (r->hour + 12) % 24 : r->hour;
    r->p = at + 2;
    return 0;
}

static int read_clock(struct reference *r)
{
    const char *colon = strchr(r->p, ':');
    if (colon && colon > r->p && colon - r->p < 3) {
        size_t digits = strnlen(colon + 1, 2);
        r->hour = small_number(r->p, (size_t)(colon - r->p));
        r->minute = small_number(colon + 1, digits);
        if (r->hour < 0 || r->minute < 0)
            return -1;
        r->p = colon + 1 + digits;
        if (!strncmp(r->p, "am", 2)) {
            r->p += 2;
        } else if (!strncmp(r->p, "pm", 2)) {
            r->hour = (r->hour + 12) % 24;
            r->p += 2;
        }
    }
    if (read_half_day(r, "am", 0) < 0 || read_half_day(r, "pm", 1) < 0)
        return -1;
    static const struct {
        const char *word;
        int hour;
    } named[] = {{"noon", 12}, {"midnight", 0}, {"teatime", 16}};
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (strncmp(r->p, named[i].word, strlen(named[i].word)))
            continue;
        r->hour = named[i].hour;
        r->minute = 0;
        r->p += strlen(named[i].word);
        break;
    }
    return 0;
}

static int word_index(const char *p, const char *words)
{
    if (strlen(p) < 3)
        return -1;
    for (int i = 0; words[3 * i]; i++)
        if (!strncmp(p, words + 3 * i, 3))
            return i;
    return -1;
}

static bool read_slashes(const char *p, struct civil *c)
{
    const char *a = strchr(p, '/'), *b = a ? strchr(a + 1, '/') : NULL;
    if (!b || strchr(b + 1, '/'))
        return false;
    c->month = small_number(p, (size_t)(a - p));
    c->day = small_number(a + 1, (size_t)(b - a - 1));
    c->year = small_number(b + 1, strlen(b + 1));
    if (c->month < 0 || c->day < 0 || c->year < 0)
        return false;
    if (c->year < 1900)
        c->year += 1900;
    if (c->year < 1970)
        c->year += 100;
    return true;
}

static bool read_month_day(const char *p, struct civil *c)
{
    int month = word_index(p, "janfebmaraprmayjunjulaugsepoctnovdec");
    size_t n = strlen(p);
    if (month < 0)
        return false;
    c->month = month + 1;
    c->day = small_number(p + n - 2, 2);
    if (c->day < 0)
        c->day = small_number(p + n - 1, 1);
    return c->day >= 0;
}

/* The day a word names, relative to the day `c` where it is relative. */
static bool read_day(const char *p, struct civil *c, int *add_days)
{
    if (!*p || !strcmp(p, "today"))
        return true;
    *add_days = !strcmp(p, "yesterday") ? -1 : !strcmp(p, "tomorrow") ? 1 : 0;
    if (*add_days)
        return true;
    if (read_slashes(p, c))
        return true;
    if (strlen(p) == 8 && all_digits(p)) {
        c->year = small_number(p, 4);
        c->month = small_number(p + 4, 2);
        c->day = small_number(p + 6, 2);
        return true;
    }
    if (read_month_day(p, c))
        return true;
    int weekday = word_index(p, "sunmontuewedthufrisat");
    if (weekday < 0)
        return false;
    *add_days = -((c->weekday - weekday + 7) % 7);
    return true;
}

static int parse_reference(const char *text, const struct query_zone *zone, int64_t now_s, int64_t *out_s,
                           struct err *err)
{
    if (!*text || !strcmp(text, "now")) {
        *out_s = now_s;
        return OK;
    }
    struct reference r = {text, 0, 0};
    if (read_clock(&r) < 0 || r.hour > 23 || r.minute > 59)
        return err_set(err, ERR_INVALID, "'%.60s' has no valid time of day", text);
    struct civil c = civil_from_seconds(now_s + query_zone_offset(zone, now_s));
    int add_days = 0;
    if (!read_day(r.p, &c, &add_days))
        return err_set(err, ERR_INVALID,
                       "'%.60s' is no day: expected today, 20261122, 11/22/2026, nov22, friday", r.p);
    if (c.year < 1 || c.year > 9999 || c.month < 1 || c.month > 12 || c.day < 1 ||
        c.day > civil_month_days(c.year, c.month))
        return err_set(err, ERR_INVALID, "'%.60s' is no date of the calendar", r.p);
    int64_t wall = (civil_to_days(c.year, c.month, c.day) + add_days) * 86400 + r.hour * 3600 + r.minute * 60;
    *out_s = query_zone_to_utc(zone, wall);
    return OK;
}

/* Only digits: seconds, unless the eight digits can be a date. */
static bool is_epoch(const char *s)
{
    if (!all_digits(s))
        return false;
    return !(strlen(s) == 8 && small_number(s, 4) > 1900 && small_number(s + 4, 2) < 13 &&
             small_number(s + 6, 2) < 32);
}

int query_parse_time(const char *text, const struct query_zone *zone, int64_t now_s, int64_t *out_s,
                     struct err *err)
{
    char s[TEXT_MAX];
    if (squeeze(text, s) < 0)
        return err_set(err, ERR_INVALID, "the time '%.40s...' is too long", text);
    if (is_epoch(s)) {
        *out_s = strlen(s) > 12 ? last_s + 1 : strtoll(s, NULL, 10);
    } else {
        char *split = strchr(s, '+');
        if (!split)
            split = strchr(s, '-');
        int64_t offset = 0;
        if (split && query_parse_interval(split, &offset, err) < 0)
            return err_prefix(err, "time '%.60s'", text);
        if (split)
            *split = '\0';
        if (parse_reference(s, zone, now_s, out_s, err) < 0)
            return err_prefix(err, "time '%.60s'", text);
        *out_s += offset;
    }
    if (*out_s < first_s || *out_s > last_s)
        return err_set(err, ERR_INVALID, "the time '%.60s' is out of range", text);
    return OK;
}
