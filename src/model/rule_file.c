#include "model/rule_file.h"

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define RULES_MAX      4096
#define FILE_MAX_BYTES (1u << 20)
/* A pattern that backtracks this much on one name is taken not to match it; it is logged. */
#define MATCH_STEPS_MAX 1000000

struct rule {
    char *section;
    pcre2_code *re;
    unsigned line; /* of the section */
};

struct rule_set {
    const char *what;
    struct rule *v;
    size_t n, cap;
    pcre2_match_context *limits;
    struct log_limit *too_hard; /* changes while matching */
};

struct rule_set *rule_set_new(const char *what)
{
    struct rule_set *s = xcalloc(1, sizeof *s);
    s->what = what;
    s->too_hard = xcalloc(1, sizeof *s->too_hard);
    s->limits = pcre2_match_context_create(NULL);
    if (!s->limits)
        abort(); /* a hundred bytes were not to be had */
    pcre2_set_match_limit(s->limits, MATCH_STEPS_MAX);
    return s;
}

void rule_set_free(struct rule_set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->v[i].section);
        pcre2_code_free(s->v[i].re);
    }
    free(s->v);
    free(s->too_hard);
    pcre2_match_context_free(s->limits);
    free(s);
}

const char *rule_set_section(const struct rule_set *s, size_t i)
{
    return s->v[i].section;
}

static bool rule_matches(const struct rule_set *r, const struct rule *rule, const char *name, size_t len,
                         pcre2_match_data *md)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)name;
    int rc = pcre2_match(rule->re, subject, len, 0, 0, md, r->limits);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(rule->re, subject, len, 0, PCRE2_NO_JIT, md, r->limits);
    if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
        return rc >= 0;
    if (log_allowed(r->too_hard, NULL))
        log_warn(r->what, "pattern given up, taken not to match", "rule=%s name=%.*s pcre2_error=%d",
                 rule->section, (int)(len < 256 ? len : 256), name, rc);
    return false;
}

long rule_set_match(const struct rule_set *s, const char *name, size_t len)
{
    if (s->n == 0)
        return -1;
    pcre2_match_data *md = pcre2_match_data_create(1, NULL);
    if (!md)
        abort();
    long found = -1;
    for (size_t i = 0; i < s->n && found < 0; i++)
        if (rule_matches(s, &s->v[i], name, len, md))
            found = (long)i;
    pcre2_match_data_free(md);
    return found;
}

struct parser {
    struct rule_parser base;
    struct rule_set *set;
    const struct rule_keys *keys;
    void *ctx;
};

int rule_bad(struct rule_parser *p, unsigned line, const char *fmt, ...)
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

struct span span_trim(struct span s)
{
    while (s.len && is_space(s.p[0]))
        s.p++, s.len--;
    while (s.len && is_space(s.p[s.len - 1]))
        s.len--;
    return s;
}

struct span span_cut(struct span *s, char c)
{
    const char *at = memchr(s->p, c, s->len);
    struct span head = {s->p, at ? (size_t)(at - s->p) : s->len};
    s->p += head.len + (at != NULL);
    s->len -= head.len + (at != NULL);
    return head;
}

bool span_is(struct span s, const char *word)
{
    return strlen(word) == s.len && memcmp(s.p, word, s.len) == 0;
}

static int parse_pattern(struct parser *p, struct rule *rule, struct span value)
{
    if (rule->re)
        return rule_bad(&p->base, p->base.line, "'pattern' is given twice in [%.100s]", rule->section);
    if (!value.len)
        return rule_bad(&p->base, p->base.line, "'pattern' is empty");
    int code;
    PCRE2_SIZE at;
    /* Names are UTF-8; should one not be, the pattern does not match there. */
    rule->re =
        pcre2_compile((PCRE2_SPTR)value.p, value.len, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code, &at, NULL);
    if (!rule->re) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(code, why, sizeof why);
        return rule_bad(&p->base, p->base.line, "bad regular expression, at offset %zu: %s", (size_t)at,
                        (char *)why);
    }
    pcre2_jit_compile(rule->re, PCRE2_JIT_COMPLETE); /* without it matching is only slower */
    return OK;
}

static struct rule *last_rule(struct parser *p)
{
    return p->set->n ? &p->set->v[p->set->n - 1] : NULL;
}

static int end_section(struct parser *p)
{
    const struct rule *rule = last_rule(p);
    if (!rule)
        return OK;
    if (!rule->re)
        return rule_bad(&p->base, rule->line, "[%.100s] has no 'pattern'", rule->section);
    return p->keys->end ? p->keys->end(p->ctx, &p->base, rule->section, rule->line) : OK;
}

static int open_section(struct parser *p, struct span s)
{
    struct rule_set *r = p->set;
    if (s.len < 3 || s.p[s.len - 1] != ']')
        return rule_bad(&p->base, p->base.line, "'%.*s' is not a section header; expected [name]",
                        SPAN_SHOW(s));
    s.p++, s.len -= 2;
    int rc = end_section(p);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < r->n; i++)
        if (span_is(s, r->v[i].section))
            return rule_bad(&p->base, p->base.line, "section [%.*s] is there already, at line %u",
                            SPAN_SHOW(s), r->v[i].line);
    if (r->n == RULES_MAX)
        return rule_bad(&p->base, p->base.line, "more than %d sections", RULES_MAX);
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->v = xrealloc(r->v, r->cap * sizeof *r->v);
    }
    r->v[r->n++] = (struct rule){.section = xstrndup(s.p, s.len), .line = p->base.line};
    p->keys->begin(p->ctx, r, r->n - 1);
    return OK;
}

static int parse_key(struct parser *p, struct span s)
{
    struct rule *rule = last_rule(p);
    size_t n = 0;
    while (n < s.len && s.p[n] != '=' && s.p[n] != ':')
        n++;
    struct span key = span_trim((struct span){s.p, n});
    if (n == s.len || key.len == 0)
        return rule_bad(&p->base, p->base.line, "'%.*s' is neither a section nor key = value", SPAN_SHOW(s));
    struct span value = span_trim((struct span){s.p + n + 1, s.len - n - 1});
    if (!rule)
        return rule_bad(&p->base, p->base.line, "'%.*s' comes before the first section", SPAN_SHOW(key));
    if (span_is(key, "pattern"))
        return parse_pattern(p, rule, value);
    int rc = p->keys->key(p->ctx, &p->base, rule->section, key, value);
    if (rc == 1)
        rc = rule_bad(&p->base, p->base.line, "unknown key '%.*s'; known are pattern%s%s", SPAN_SHOW(key),
                      strstr(p->keys->known, " and ") ? ", " : " and ", p->keys->known);
    return rc;
}

static int parse_lines(struct parser *p, struct span text)
{
    while (text.len) {
        p->base.line++;
        struct span s = span_trim(span_cut(&text, '\n'));
        int rc = s.len == 0 || s.p[0] == '#' || s.p[0] == ';' ? OK
                 : s.p[0] == '['                              ? open_section(p, s)
                                                              : parse_key(p, s);
        if (rc < 0)
            return rc;
    }
    return end_section(p);
}

int rule_set_parse(struct rule_set *s, const char *text, const char *filename, const struct rule_keys *keys,
                   void *ctx, struct err *err)
{
    struct parser p = {{filename, 0, err}, s, keys, ctx};
    return parse_lines(&p, (struct span){text, strlen(text)});
}

int rule_file_read(const char *path, struct buf *text, struct err *err)
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
