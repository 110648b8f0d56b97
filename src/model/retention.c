#include "model/retention.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/window.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define DAY_MS         86400000ll
#define RULES_MAX      4096
#define FILE_MAX_BYTES (1u << 20)
#define KEEP_MAX_S     (1000ll * 365 * 86400)
/* A pattern that backtracks this much on one name is taken not to match it; it is logged. */
#define MATCH_STEPS_MAX 1000000

struct rule {
    char *section;
    pcre2_code *re;
    struct retention retention;
    unsigned line; /* of the section */
    bool has_retentions;
};

struct retention_rules {
    struct rule *v;
    size_t n, cap;
    struct retention fallback;
    pcre2_match_context *limits;
    struct log_limit *too_hard; /* changes while matching */
};

struct retention_rules *retention_default(void)
{
    struct retention_rules *r = xcalloc(1, sizeof *r);
    r->fallback = (struct retention){
        .rule = "default",
        .narchives = 4,
        .archives = {{60000, 460 * DAY_MS},
                     {300000, 2 * 365 * DAY_MS},
                     {3600000, 5 * 365 * DAY_MS},
                     {86400000, 30 * 365 * DAY_MS}},
    };
    r->too_hard = xcalloc(1, sizeof *r->too_hard);
    r->limits = pcre2_match_context_create(NULL);
    if (!r->limits)
        abort(); /* a hundred bytes were not to be had */
    pcre2_set_match_limit(r->limits, MATCH_STEPS_MAX);
    return r;
}

void retention_free(struct retention_rules *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++) {
        free(r->v[i].section);
        pcre2_code_free(r->v[i].re);
    }
    free(r->v);
    free(r->too_hard);
    pcre2_match_context_free(r->limits);
    free(r);
}

static bool rule_matches(const struct retention_rules *r, const struct rule *rule, const char *name,
                         size_t len, pcre2_match_data *md)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)name;
    int rc = pcre2_match(rule->re, subject, len, 0, 0, md, r->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(rule->re, subject, len, 0, PCRE2_NO_JIT, md, r->limits);
    if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
        return rc >= 0;
    if (log_allowed(r->too_hard, NULL))
        log_warn("retention", "pattern given up, taken not to match", "rule=%s name=%.*s pcre2_error=%d",
                 rule->section, (int)(len < 256 ? len : 256), name, rc);
    return false;
}

const struct retention *retention_match(const struct retention_rules *r, const char *name, size_t len)
{
    const struct retention *found = &r->fallback;
    if (r->n == 0)
        return found;
    pcre2_match_data *md = pcre2_match_data_create(1, NULL);
    if (!md)
        abort();
    for (size_t i = 0; i < r->n && found == &r->fallback; i++)
        if (rule_matches(r, &r->v[i], name, len, md))
            found = &r->v[i].retention;
    pcre2_match_data_free(md);
    return found;
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

/* A piece of the text. */
struct span {
    const char *p;
    size_t len;
};

struct parser {
    struct retention_rules *rules;
    const char *file;
    unsigned line;
    struct err *err;
};

#define SHOW(s) (int)((s).len < 120 ? (s).len : 120), (s).p

static int bad(struct parser *p, unsigned line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int bad(struct parser *p, unsigned line, const char *fmt, ...)
{
    char text[320];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(p->err, ERR_INVALID, "%s:%u: %s", p->file, line, text);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static struct span trim(struct span s)
{
    while (s.len && is_space(s.p[0]))
        s.p++, s.len--;
    while (s.len && is_space(s.p[s.len - 1]))
        s.len--;
    return s;
}

/* Cuts what comes before the first `c` off s; all of it if there is no `c`. */
static struct span cut(struct span *s, char c)
{
    const char *at = memchr(s->p, c, s->len);
    struct span head = {s->p, at ? (size_t)(at - s->p) : s->len};
    s->p += head.len + (at != NULL);
    s->len -= head.len + (at != NULL);
    return head;
}

static bool span_is(struct span s, const char *word)
{
    return strlen(word) == s.len && memcmp(s.p, word, s.len) == 0;
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
static int parse_amount(struct parser *p, struct span s, const char *what, int64_t *number, int64_t *unit)
{
    size_t digits = 0;
    int64_t n = 0;
    for (; digits < s.len && s.p[digits] >= '0' && s.p[digits] <= '9'; digits++)
        n = n > KEEP_MAX_S ? n : n * 10 + (s.p[digits] - '0');
    if (!digits)
        return bad(p, p->line, "%s '%.*s' does not start with a number", what, SHOW(s));
    struct span rest = trim((struct span){s.p + digits, s.len - digits});
    *number = n;
    *unit = rest.len ? unit_seconds(rest) : 0;
    if (rest.len && !*unit)
        return bad(p, p->line, "unknown unit '%.*s' in '%.*s'; known are s, m, h, d, w, y", SHOW(rest),
                   SHOW(s));
    return OK;
}

/* a times b, or more than can be kept. Neither is negative, a is not absurd (parse_amount). */
static int64_t times(int64_t a, int64_t b)
{
    return b && a > KEEP_MAX_S / b ? KEEP_MAX_S + 1 : a * b;
}

static int parse_archive(struct parser *p, struct span s, struct retention_archive *out)
{
    struct span rest = s;
    struct span precision = trim(cut(&rest, ':')), duration = trim(rest);
    if (!memchr(s.p, ':', s.len))
        return bad(p, p->line, "retention '%.*s' is not of the form precision:duration", SHOW(s));
    int64_t step, keep, unit;
    int rc = parse_amount(p, precision, "precision", &step, &unit);
    if (rc < 0)
        return rc;
    step = times(step, unit ? unit : 1);
    if (step < STEP_MIN_MS / 1000 || step > STEP_MAX_MS / 1000)
        return bad(p, p->line, "precision '%.*s' is not between 1 second and 1 day", SHOW(precision));
    rc = parse_amount(p, duration, "duration", &keep, &unit);
    if (rc < 0)
        return rc;
    keep = times(keep, unit ? unit : step); /* a bare number counts points */
    if (keep < step)
        return bad(p, p->line, "retention '%.*s' keeps less than one point", SHOW(s));
    if (keep > KEEP_MAX_S)
        return bad(p, p->line, "duration '%.*s' is over 1000 years", SHOW(duration));
    *out = (struct retention_archive){(uint32_t)(step * 1000), keep / step * step * 1000};
    return OK;
}

static int cmp_archive(const void *a, const void *b)
{
    const struct retention_archive *x = a, *y = b;
    return (x->step_ms > y->step_ms) - (x->step_ms < y->step_ms);
}

static int check_archives(struct parser *p, struct retention *r)
{
    qsort(r->archives, r->narchives, sizeof r->archives[0], cmp_archive);
    for (size_t i = 1; i < r->narchives; i++) {
        const struct retention_archive *fine = &r->archives[i - 1], *coarse = &r->archives[i];
        unsigned f = fine->step_ms / 1000, c = coarse->step_ms / 1000;
        if (f == c)
            return bad(p, p->line, "the precision of %u s is given twice", f);
        if (c % f)
            return bad(p, p->line, "the precision of %u s is not a multiple of the finer one, %u s", c, f);
        if (coarse->keep_ms <= fine->keep_ms)
            return bad(p, p->line, "the archive of %u s is not kept longer than the finer one of %u s", c, f);
        if (fine->keep_ms < coarse->step_ms)
            return bad(p, p->line, "the archive of %u s is too short to fill one point of %u s", f, c);
    }
    return OK;
}

static int parse_retentions(struct parser *p, struct rule *rule, struct span value)
{
    if (rule->has_retentions)
        return bad(p, p->line, "'retentions' is given twice in [%.100s]", rule->section);
    rule->has_retentions = true;
    struct retention *r = &rule->retention;
    do {
        if (r->narchives == RETENTION_ARCHIVES)
            return bad(p, p->line, "more than %d retentions", RETENTION_ARCHIVES);
        int rc = parse_archive(p, trim(cut(&value, ',')), &r->archives[r->narchives]);
        if (rc < 0)
            return rc;
        r->narchives++;
    } while (value.len);
    return check_archives(p, r);
}

static int parse_pattern(struct parser *p, struct rule *rule, struct span value)
{
    if (rule->re)
        return bad(p, p->line, "'pattern' is given twice in [%.100s]", rule->section);
    if (!value.len)
        return bad(p, p->line, "'pattern' is empty");
    int code;
    PCRE2_SIZE at;
    /* Names are UTF-8; should one not be, the pattern does not match there. */
    rule->re =
        pcre2_compile((PCRE2_SPTR)value.p, value.len, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code, &at, NULL);
    if (!rule->re) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        return bad(p, p->line, "bad regular expression, at offset %zu: %s", (size_t)at, (char *)why);
    }
    pcre2_jit_compile(rule->re, PCRE2_JIT_COMPLETE); /* without it matching is only slower */
    return OK;
}

static int check_rule(struct parser *p, const struct rule *rule)
{
    if (!rule->re)
        return bad(p, rule->line, "[%.100s] has no 'pattern'", rule->section);
    if (!rule->has_retentions)
        return bad(p, rule->line, "[%.100s] has no 'retentions'", rule->section);
    return OK;
}

static struct rule *last_rule(struct parser *p)
{
    return p->rules->n ? &p->rules->v[p->rules->n - 1] : NULL;
}

static int open_section(struct parser *p, struct span s)
{
    struct retention_rules *r = p->rules;
    if (s.len < 3 || s.p[s.len - 1] != ']')
        return bad(p, p->line, "'%.*s' is not a section header; expected [name]", SHOW(s));
    s.p++, s.len -= 2;
    int rc = r->n ? check_rule(p, last_rule(p)) : OK;
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < r->n; i++)
        if (span_is(s, r->v[i].section))
            return bad(p, p->line, "section [%.*s] is there already, at line %u", SHOW(s), r->v[i].line);
    if (r->n == RULES_MAX)
        return bad(p, p->line, "more than %d sections", RULES_MAX);
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->v = xrealloc(r->v, r->cap * sizeof *r->v);
    }
    r->v[r->n++] = (struct rule){.section = xstrndup(s.p, s.len), .line = p->line};
    last_rule(p)->retention.rule = last_rule(p)->section;
    return OK;
}

static int parse_key(struct parser *p, struct span s)
{
    struct rule *rule = last_rule(p);
    size_t n = 0;
    while (n < s.len && s.p[n] != '=' && s.p[n] != ':')
        n++;
    struct span key = trim((struct span){s.p, n});
    if (n == s.len || key.len == 0)
        return bad(p, p->line, "'%.*s' is neither a section nor key = value", SHOW(s));
    struct span value = trim((struct span){s.p + n + 1, s.len - n - 1});
    if (!rule)
        return bad(p, p->line, "'%.*s' comes before the first section", SHOW(key));
    if (span_is(key, "pattern"))
        return parse_pattern(p, rule, value);
    if (span_is(key, "retentions"))
        return parse_retentions(p, rule, value);
    return bad(p, p->line, "unknown key '%.*s'; known are pattern and retentions", SHOW(key));
}

static int parse_lines(struct parser *p, struct span text)
{
    while (text.len) {
        p->line++;
        struct span s = trim(cut(&text, '\n'));
        int rc = s.len == 0 || s.p[0] == '#' || s.p[0] == ';' ? OK
                 : s.p[0] == '['                              ? open_section(p, s)
                                                              : parse_key(p, s);
        if (rc < 0)
            return rc;
    }
    return last_rule(p) ? check_rule(p, last_rule(p)) : OK;
}

int retention_parse(const char *text, const char *filename, struct retention_rules **out, struct err *err)
{
    struct parser p = {.rules = retention_default(), .file = filename, .err = err};
    int rc = parse_lines(&p, (struct span){text, strlen(text)});
    if (rc < 0)
        retention_free(p.rules);
    else
        *out = p.rules;
    return rc;
}

static int read_file(const char *path, struct buf *text, struct err *err)
{
    struct fs_file *f;
    int rc = fs_open(fs_posix(), path, FS_READ, &f, err);
    if (rc < 0)
        return rc;
    size_t got = 0;
    rc = fs_pread(f, buf_reserve(text, FILE_MAX_BYTES + 1), FILE_MAX_BYTES + 1, 0, &got, err);
    text->len = got;
    fs_close(f);
    if (rc == OK && got > FILE_MAX_BYTES)
        rc = err_set(err, ERR_INVALID, "%s: larger than %u bytes", path, FILE_MAX_BYTES);
    if (rc == OK && got && memchr(text->data, '\0', got))
        rc = err_set(err, ERR_INVALID, "%s: not a text file", path);
    return rc;
}

int retention_load(const char *path, struct retention_rules **out, struct err *err)
{
    struct buf text = BUF_INIT;
    int rc = read_file(path, &text, err);
    if (rc == OK)
        rc = retention_parse(buf_str(&text), path, out, err);
    buf_release(&text);
    return rc;
}
