/* TZif, version 2 and later: a version-1 block (skipped), the same with 64-bit times, and a footer with the
 * POSIX rule for the time after the last transition, e.g. "\nCET-1CEST,M3.5.0,M10.5.0/3\n". */
#include "query/zone.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "query/civil.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rule_day {
    int month, week, weekday; /* Mm.w.d */
    int64_t at_s;
};

struct local_type {
    int64_t offset_s;
    bool dst;
};

struct query_zone {
    size_t n;
    int64_t *at_s;  /* transitions, rising */
    uint8_t *which; /* type from at_s[i] on */
    struct local_type type[256];
    size_t ntypes;
    /* after the last transition */
    bool has_rule, has_dst;
    int64_t std_s, dst_s;
    struct rule_day dst_from, dst_until;
};

static const char *skip_name(const char *p)
{
    if (*p == '<') {
        p = strchr(p, '>');
        return p ? p + 1 : NULL;
    }
    while (isalpha((unsigned char)*p))
        p++;
    return p;
}

/* [+-]hh[:mm[:ss]] */
static const char *read_hms(const char *p, int64_t *out)
{
    int sign = 1;
    if (*p == '+' || *p == '-')
        sign = *p++ == '-' ? -1 : 1;
    int64_t s = 0;
    for (int64_t unit = 3600; unit; unit /= 60) {
        if (!isdigit((unsigned char)*p))
            return NULL;
        s += strtol(p, (char **)&p, 10) * unit;
        if (*p != ':')
            break;
        p++;
    }
    *out = sign * s;
    return p;
}

static const char *read_day(const char *p, struct rule_day *d)
{
    int used = 0;
    if (sscanf(p, ",M%d.%d.%d%n", &d->month, &d->week, &d->weekday, &used) != 3 || d->month < 1 ||
        d->month > 12 || d->week < 1 || d->week > 5)
        return NULL;
    p += used;
    d->at_s = 7200;
    return *p == '/' ? read_hms(p + 1, &d->at_s) : p;
}

static void read_footer(struct query_zone *z, const char *p)
{
    int64_t west = 0;
    if (!(p = skip_name(p)) || !(p = read_hms(p, &west)))
        return;
    z->std_s = -west;
    z->has_rule = true;
    if (!*p || *p == '\n')
        return;
    z->dst_s = z->std_s + 3600;
    if (!(p = skip_name(p)))
        return;
    if (*p != ',' && *p != '\n') {
        if (!(p = read_hms(p, &west)))
            return;
        z->dst_s = -west;
    }
    if ((p = read_day(p, &z->dst_from)) && read_day(p, &z->dst_until))
        z->has_dst = true;
}

struct counts {
    uint32_t isut, isstd, leap, time, type, chars;
};

static bool read_counts(const uint8_t *p, size_t n, struct counts *c)
{
    if (n < 44 || memcmp(p, "TZif", 4) || p[4] < '2')
        return false;
    uint32_t *f[] = {&c->isut, &c->isstd, &c->leap, &c->time, &c->type, &c->chars};
    for (size_t i = 0; i < ARRAY_LEN(f); i++) {
        *f[i] = get_u32be(p + 20 + 4 * i);
        if (*f[i] > 100000)
            return false;
    }
    return true;
}

static size_t block_bytes(const struct counts *c, size_t time_bytes)
{
    return c->time * (time_bytes + 1) + c->type * 6 + c->chars + c->leap * (time_bytes + 4) + c->isstd +
           c->isut;
}

static struct query_zone *parse_zone(const uint8_t *p, size_t n)
{
    struct counts c;
    if (!read_counts(p, n, &c) || 44 + block_bytes(&c, 4) > n)
        return NULL;
    size_t skip = 44 + block_bytes(&c, 4);
    p += skip;
    n -= skip;
    if (!read_counts(p, n, &c) || 44 + block_bytes(&c, 8) > n || !c.type || c.type > 256)
        return NULL;
    struct query_zone *z = xcalloc(1, sizeof *z);
    const uint8_t *times = p + 44, *which = times + 8 * c.time, *types = which + c.time;
    z->n = c.time;
    z->ntypes = c.type;
    z->at_s = xcalloc(c.time + 1, sizeof *z->at_s);
    z->which = xcalloc(c.time + 1, 1);
    for (size_t i = 0; i < c.type; i++) {
        z->type[i].offset_s = (int32_t)get_u32be(types + 6 * i);
        z->type[i].dst = types[6 * i + 4];
    }
    for (size_t i = 0; i < c.time; i++) {
        z->at_s[i] = (int64_t)get_u64be(times + 8 * i);
        z->which[i] = which[i];
    }
    char footer[128] = "";
    size_t at = 44 + block_bytes(&c, 8);
    if (at + 1 < n && p[at] == '\n')
        snprintf(footer, sizeof footer, "%.*s", (int)(n - at - 1), (const char *)p + at + 1);
    read_footer(z, footer);
    return z;
}

static bool name_is_safe(const char *name)
{
    if (!*name || *name == '/' || strlen(name) > 60 || strstr(name, ".."))
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("/_+-", *p))
            return false;
    return true;
}

struct query_zone *query_zone_load(const char *name)
{
    if (!name_is_safe(name))
        return NULL;
    char path[128];
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    FILE *f = fopen(path, "rbe");
    if (!f)
        return NULL;
    enum { MAX = 64 << 10 };
    uint8_t *bytes = xmalloc(MAX);
    size_t n = fread(bytes, 1, MAX, f);
    fclose(f);
    struct query_zone *z = parse_zone(bytes, n);
    free(bytes);
    return z;
}

void query_zone_free(struct query_zone *z)
{
    if (!z)
        return;
    free(z->at_s);
    free(z->which);
    free(z);
}

/* Wall-clock seconds of a rule's switch in a year. */
static int64_t rule_wall(const struct rule_day *d, int year)
{
    int64_t first = civil_to_days(year, d->month, 1);
    int64_t weekday = ((first + 4) % 7 + 7) % 7;
    int64_t day = first + (d->weekday - weekday + 7) % 7 + 7 * (d->week - 1);
    if (day >= first + civil_month_days(year, d->month))
        day -= 7;
    return day * 86400 + d->at_s;
}

static struct local_type rule_type(const struct query_zone *z, int64_t utc_s)
{
    struct local_type std = {z->std_s, false}, dst = {z->dst_s, true};
    if (!z->has_dst)
        return std;
    int year = civil_from_seconds(utc_s + z->std_s).year;
    int64_t on = rule_wall(&z->dst_from, year) - z->std_s, off = rule_wall(&z->dst_until, year) - z->dst_s;
    bool is_dst = on < off ? utc_s >= on && utc_s < off : utc_s >= on || utc_s < off;
    return is_dst ? dst : std;
}

static struct local_type type_at(const struct query_zone *z, int64_t utc_s)
{
    if (!z->n || utc_s < z->at_s[0])
        return z->n || !z->has_rule ? z->type[0] : rule_type(z, utc_s);
    if (utc_s >= z->at_s[z->n - 1] && z->has_rule)
        return rule_type(z, utc_s);
    size_t lo = 0, hi = z->n; /* at_s[lo] <= utc_s < at_s[hi] */
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (z->at_s[mid] <= utc_s)
            lo = mid;
        else
            hi = mid;
    }
    return z->type[z->which[lo]];
}

int64_t query_zone_offset(const struct query_zone *z, int64_t utc_s)
{
    return z ? type_at(z, utc_s).offset_s : 0;
}

bool query_zone_dst(const struct query_zone *z, int64_t utc_s)
{
    return z && type_at(z, utc_s).dst;
}

int64_t query_zone_to_utc(const struct query_zone *z, int64_t wall_s)
{
    if (!z)
        return wall_s;
    struct local_type before = type_at(z, wall_s - 86400), after = type_at(z, wall_s + 86400);
    int64_t a = wall_s - before.offset_s, b = wall_s - after.offset_s;
    bool a_holds = type_at(z, a).offset_s == before.offset_s;
    bool b_holds = type_at(z, b).offset_s == after.offset_s;
    if (a_holds && b_holds)
        return before.dst ? b : a;
    return b_holds ? b : a;
}
