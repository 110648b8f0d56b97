#include "model/retention.h"

#include "base/buf.h"
#include "base/mem.h"
#include "model/rule_file.h"
#include "model/window.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS     86400000ll
#define KEEP_MAX_S (1000ll * 365 * 86400)

/* What a section says; the section of the same number in the set. */
struct rule {
    struct retention retention;
    bool has_retentions;
};

struct retention_rules {
    struct rule_set *set;
    struct rule *v;
    size_t n, cap;
    struct retention fallback;
};

struct retention_rules *retention_default(void)
{
    struct retention_rules *r = xcalloc(1, sizeof *r);
    r->set = rule_set_new("retention");
    r->fallback = (struct retention){
        .rule = "default",
        .narchives = 4,
        .archives = {{60000, 460 * DAY_MS},
                     {300000, 2 * 365 * DAY_MS},
                     {3600000, 5 * 365 * DAY_MS},
                     {86400000, 30 * 365 * DAY_MS}},
    };
    return r;
}

void retention_free(struct retention_rules *r)
{
    if (!r)
        return;
    rule_set_free(r->set);
    free(r->v);
    free(r);
}

const struct retention *retention_match(const struct retention_rules *r, const char *name, size_t len)
{
    long i = rule_set_match(r->set, name, len);
    return i < 0 ? &r->fallback : &r->v[i].retention;
}

const struct retention *retention_at(const struct retention_rules *r, size_t i)
{
    return i < r->n ? &r->v[i].retention : i == r->n ? &r->fallback : NULL;
}

int64_t retention_shortest_keep_ms(const struct retention_rules *r)
{
    int64_t shortest = r->fallback.archives[0].keep_ms;
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i].retention.archives[0].keep_ms < shortest)
            shortest = r->v[i].retention.archives[0].keep_ms;
    return shortest;
}

void retention_of_step(const struct retention *r, uint32_t base_step_ms, struct retention *out)
{
    size_t i = 0;
    while (i + 1 < r->narchives && r->archives[i].step_ms < base_step_ms)
        i++;
    *out = (struct retention){.rule = r->rule, .narchives = 1};
    out->archives[0] = (struct retention_archive){base_step_ms, r->archives[i].keep_ms};
    for (; i < r->narchives && out->narchives < RETENTION_ARCHIVES; i++) {
        uint32_t finer = out->archives[out->narchives - 1].step_ms, step = r->archives[i].step_ms;
        if (step > finer && step % finer == 0)
            out->archives[out->narchives++] = r->archives[i];
    }
}

int64_t retention_warm_keep_ms(const struct retention *r, size_t archive)
{
    const struct retention_archive *a = &r->archives[archive];
    return a->keep_ms + r->archives[r->narchives - 1].step_ms + window_span_ms(a->step_ms);
}

static int64_t unit_seconds(struct span s)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = {{"seconds", 1},  {"minutes", 60},   {"hours", 3600},
                 {"days", 86400}, {"weeks", 604800}, {"years", 31536000}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (s.len && s.len <= strlen(units[i].name) && memcmp(s.p, units[i].name, s.len) == 0)
            return units[i].seconds;
    return 0;
}

/* "90", "90s": the number, and the seconds of its unit or 0 if it has none. */
static int parse_amount(struct rule_parser *p, struct span s, const char *what, int64_t *number,
                        int64_t *unit)
{
    size_t digits = 0;
    int64_t n = 0;
    for (; digits < s.len && s.p[digits] >= '0' && s.p[digits] <= '9'; digits++)
        n = n > KEEP_MAX_S ? n : n * 10 + (s.p[digits] - '0');
    if (!digits)
        return rule_bad(p, p->line, "%s '%.*s' does not start with a number", what, SPAN_SHOW(s));
    struct span rest = span_trim((struct span){s.p + digits, s.len - digits});
    *number = n;
    *unit = rest.len ? unit_seconds(rest) : 0;
    if (rest.len && !*unit)
        return rule_bad(p, p->line, "unknown unit '%.*s' in '%.*s'; known are s, m, h, d, w, y",
                        SPAN_SHOW(rest), SPAN_SHOW(s));
    return OK;
}

/* a times b, or more than can be kept. Neither is negative, a is not absurd (parse_amount). */
static int64_t times(int64_t a, int64_t b)
{
    return b && a > KEEP_MAX_S / b ? KEEP_MAX_S + 1 : a * b;
}

static int parse_archive(struct rule_parser *p, struct span s, struct retention_archive *out)
{
    struct span rest = s;
    struct span precision = span_trim(span_cut(&rest, ':')), duration = span_trim(rest);
    if (!memchr(s.p, ':', s.len))
        return rule_bad(p, p->line, "retention '%.*s' is not of the form precision:duration", SPAN_SHOW(s));
    int64_t step, keep, unit;
    int rc = parse_amount(p, precision, "precision", &step, &unit);
    if (rc < 0)
        return rc;
    step = times(step, unit ? unit : 1);
    if (step < STEP_MIN_MS / 1000 || step > STEP_MAX_MS / 1000)
        return rule_bad(p, p->line, "precision '%.*s' is not between 1 second and 1 day",
                        SPAN_SHOW(precision));
    rc = parse_amount(p, duration, "duration", &keep, &unit);
    if (rc < 0)
        return rc;
    keep = times(keep, unit ? unit : step); /* a bare number counts points */
    if (keep < step)
        return rule_bad(p, p->line, "retention '%.*s' keeps less than one point", SPAN_SHOW(s));
    if (keep > KEEP_MAX_S)
        return rule_bad(p, p->line, "duration '%.*s' is over 1000 years", SPAN_SHOW(duration));
    *out = (struct retention_archive){(uint32_t)(step * 1000), keep / step * step * 1000};
    return OK;
}

static int cmp_archive(const void *a, const void *b)
{
    const struct retention_archive *x = a, *y = b;
    return (x->step_ms > y->step_ms) - (x->step_ms < y->step_ms);
}

static int check_archives(struct rule_parser *p, struct retention *r)
{
    qsort(r->archives, r->narchives, sizeof r->archives[0], cmp_archive);
    for (size_t i = 1; i < r->narchives; i++) {
        const struct retention_archive *fine = &r->archives[i - 1], *coarse = &r->archives[i];
        unsigned f = fine->step_ms / 1000, c = coarse->step_ms / 1000;
        if (f == c)
            return rule_bad(p, p->line, "the precision of %u s is given twice", f);
        if (c % f)
            return rule_bad(p, p->line, "the precision of %u s is not a multiple of the finer one, %u s", c,
                            f);
        if (coarse->keep_ms <= fine->keep_ms)
            return rule_bad(p, p->line, "the archive of %u s is not kept longer than the finer one of %u s",
                            c, f);
        if (fine->keep_ms < coarse->step_ms)
            return rule_bad(p, p->line, "the archive of %u s is too short to fill one point of %u s", f, c);
    }
    return OK;
}

static int parse_retentions(struct rule_parser *p, struct rule *rule, const char *section, struct span value)
{
    if (rule->has_retentions)
        return rule_bad(p, p->line, "'retentions' is given twice in [%.100s]", section);
    rule->has_retentions = true;
    struct retention *r = &rule->retention;
    do {
        if (r->narchives == RETENTION_ARCHIVES)
            return rule_bad(p, p->line, "more than %d retentions", RETENTION_ARCHIVES);
        int rc = parse_archive(p, span_trim(span_cut(&value, ',')), &r->archives[r->narchives]);
        if (rc < 0)
            return rc;
        r->narchives++;
    } while (value.len);
    return check_archives(p, r);
}

static void begin_section(void *ctx, const struct rule_set *s, size_t i)
{
    struct retention_rules *r = ctx;
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->v = xrealloc(r->v, r->cap * sizeof *r->v);
    }
    r->v[r->n++] = (struct rule){.retention.rule = rule_set_section(s, i)};
}

static int parse_key(void *ctx, struct rule_parser *p, const char *section, struct span key,
                     struct span value)
{
    struct retention_rules *r = ctx;
    return span_is(key, "retentions") ? parse_retentions(p, &r->v[r->n - 1], section, value) : 1;
}

static int end_section(void *ctx, struct rule_parser *p, const char *section, unsigned line)
{
    const struct retention_rules *r = ctx;
    return r->v[r->n - 1].has_retentions ? OK : rule_bad(p, line, "[%.100s] has no 'retentions'", section);
}

int retention_parse(const char *text, const char *filename, struct retention_rules **out, struct err *err)
{
    static const struct rule_keys keys = {"retentions", begin_section, parse_key, end_section};
    struct retention_rules *r = retention_default();
    int rc = rule_set_parse(r->set, text, filename, &keys, r, err);
    if (rc < 0)
        retention_free(r);
    else
        *out = r;
    return rc;
}

int retention_load(const char *path, struct retention_rules **out, struct err *err)
{
    struct buf text = BUF_INIT;
    int rc = rule_file_read(path, &text, err);
    if (rc == OK)
        rc = retention_parse(buf_str(&text), path, out, err);
    buf_release(&text);
    return rc;
}
