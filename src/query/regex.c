#define PCRE2_CODE_UNIT_WIDTH 8
#include "query/regex.h"

#include "base/buf.h"
#include "base/mem.h"

#include <ctype.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum { REPLACED_MAX = 64 << 10 };

struct regex {
    pcre2_code *code;
    pcre2_match_context *limits;
    pcre2_match_data *match;
};

int regex_new(const char *pattern, struct regex **out, struct err *err)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, &code, &at, NULL);
    if (!compiled) {
        PCRE2_UCHAR why[120];
        pcre2_get_error_message(code, why, sizeof why);
        return err_set(err, ERR_INVALID, "the regular expression '%.80s' is wrong at character %zu: %s",
                       pattern, (size_t)at, (char *)why);
    }
    struct regex *r = xcalloc(1, sizeof *r);
    r->code = compiled;
    r->limits = pcre2_match_context_create(NULL);
    r->match = pcre2_match_data_create_from_pattern(compiled, NULL);
    if (!r->limits || !r->match)
        abort();
    pcre2_set_match_limit(r->limits, 1000000);
    pcre2_set_depth_limit(r->limits, 10000);
    *out = r;
    return OK;
}

void regex_free(struct regex *r)
{
    if (!r)
        return;
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->limits);
    pcre2_code_free(r->code);
    free(r);
}

static bool run(const struct regex *r, const char *text, size_t from, uint32_t options)
{
    return pcre2_match(r->code, (PCRE2_SPTR)text, strlen(text), from, options, r->match, r->limits) > 0;
}

bool regex_search(const struct regex *r, const char *text)
{
    return run(r, text, 0, 0);
}

bool regex_match(const struct regex *r, const char *text)
{
    return run(r, text, 0, PCRE2_ANCHORED);
}

/* text NULL: only whether there is such a group. */
static int put_group(const struct regex *r, const char *text, int group, struct buf *out)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(r->match);
    uint32_t groups;
    pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    if (group < 0 || (uint32_t)group > groups)
        return -1;
    if (text && at[2 * group] != PCRE2_UNSET && at[2 * group + 1] >= at[2 * group])
        buf_append(out, text + at[2 * group], at[2 * group + 1] - at[2 * group]);
    return 0;
}

/* The name or number between the < and > of \g<...>. */
static int named_group(const struct regex *r, const char *name, size_t len)
{
    char copy[40];
    if (!len || len >= sizeof copy)
        return -1;
    memcpy(copy, name, len);
    copy[len] = '\0';
    if (isdigit((unsigned char)copy[0]))
        return strspn(copy, "0123456789") == len && len < 4 ? atoi(copy) : -1;
    return pcre2_substring_number_from_name(r->code, (PCRE2_SPTR)copy);
}

/* What a backslash at p stands for; how many bytes were read, or -1. */
static int put_escape(const struct regex *r, const char *text, const char *p, struct buf *out)
{
    static const char letters[] = "abfnrtv", bytes[] = "\a\b\f\n\r\t\v";
    const char *letter = p[1] ? strchr(letters, p[1]) : NULL;
    if (p[1] == 'g' && p[2] == '<') {
        const char *end = strchr(p, '>');
        return end && put_group(r, text, named_group(r, p + 3, (size_t)(end - p - 3)), out) == 0
                   ? (int)(end - p + 1)
                   : -1;
    }
    if (p[1] >= '1' && p[1] <= '9') {
        int digits = isdigit((unsigned char)p[2]) ? 2 : 1;
        int group = digits == 2 ? (p[1] - '0') * 10 + p[2] - '0' : p[1] - '0';
        return put_group(r, text, group, out) == 0 ? 1 + digits : -1;
    }
    if (letter)
        buf_putc(out, bytes[letter - letters]);
    else if (p[1] == '\\')
        buf_putc(out, '\\');
    else if (p[1] == '0')
        buf_putc(out, '\0');
    else if (isalpha((unsigned char)p[1]) || !p[1])
        return -1;
    else
        buf_append(out, p, 2);
    return 2;
}

static int put_replacement(const struct regex *r, const char *text, const char *with, struct buf *out)
{
    for (const char *p = with; *p;) {
        if (*p != '\\') {
            buf_putc(out, *p++);
            continue;
        }
        int used = put_escape(r, text, p, out);
        if (used < 0)
            return -1;
        p += used;
    }
    return 0;
}

/* Like Python's re.sub: an empty match counts also right behind another match, but not twice in one place. */
static int replace(const struct regex *r, const char *text, const char *with, struct buf *out,
                   struct err *err)
{
    size_t at = 0, copied = 0, len = strlen(text);
    uint32_t options = 0;
    while (at <= len && run(r, text, at, options)) {
        const PCRE2_SIZE *found = pcre2_get_ovector_pointer(r->match);
        size_t from = found[0], to = found[1];
        if (to < from)
            break;
        buf_append(out, text + copied, from - copied);
        put_replacement(r, text, with, out);
        if (out->len > REPLACED_MAX)
            return err_set(err, ERR_LIMIT, "a name gets longer than %d bytes by replacing", REPLACED_MAX);
        at = copied = to;
        options = from == to ? PCRE2_NOTEMPTY_ATSTART : 0;
    }
    buf_append(out, text + copied, len - copied);
    return OK;
}

int regex_replace(const struct regex *r, const char *text, const char *with, struct arena *arena,
                  const char **out, struct err *err)
{
    struct buf b = BUF_INIT;
    if (put_replacement(r, NULL, with, &b) < 0) {
        buf_release(&b);
        return err_set(err, ERR_INVALID, "the replacement '%.80s' has an unknown group or escape", with);
    }
    buf_clear(&b);
    int rc = replace(r, text, with, &b, err);
    if (rc == OK)
        *out = arena_strndup(arena, b.len ? (char *)b.data : "", b.len);
    buf_release(&b);
    return rc;
}
