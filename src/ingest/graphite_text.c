/* A line is read twice at most. The fast reader takes a clean line in one pass, name eight bytes at a time,
 * and gives up at anything it is not sure of. The careful reader then splits the line into fields and says
 * what is wrong, or accepts it: tags, non-ASCII names, odd blanks. Both read up to the newline that ends
 * every line they are given and need no other bound. */
#include "ingest/graphite_text.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "ingest/decimal.h"
#include "model/name.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#define ONES  0x0101010101010101u
#define HIGHS 0x8080808080808080u
/* Times from here on are saturated: far beyond any bound on the future. */
#define SECONDS_MAX (INT64_MAX / 1000 - 1)

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}
static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* 0x80 in the first byte of x (in memory order) that is below c, for c <= 0x80; 0 if there is none. Bytes
 * after the first may be marked wrongly, by a borrow. */
static inline uint64_t bytes_below(uint64_t x, uint8_t c)
{
    return (x - ONES * c) & ~x & HIGHS;
}
static inline uint64_t bytes_equal(uint64_t x, uint8_t c)
{
    return bytes_below(x ^ (ONES * c), 1);
}

/* The marks in eight bytes of a name that ask for the careful reader: DEL or above, a ';', a dot after a dot.
 * A wrong mark always has a right one before it, but for a '/' after a dot: that costs time, not truth. *dot
 * carries whether the last byte was a dot. */
static inline uint64_t odd_bytes(uint64_t x, uint64_t *dot)
{
    uint64_t dots = bytes_equal(x, '.');
    uint64_t odd = ((x + ONES) | x) & HIGHS;
    odd |= bytes_equal(x, ';') | (dots & ((dots << 8) | *dot));
    *dot = dots >> 56;
    return odd;
}

/* The end of a name that is canonical for sure, NULL otherwise. `end` bounds the eight-byte loads; the name
 * ends before it. */
static const char *clean_name(const char *p, const char *end)
{
    const char *start = p;
    uint64_t dot = 0x80; /* as if a dot came before: a leading one is a doubled one */
    for (;; p += 8) {
        uint64_t x = 0;
        if (end - p >= 8)
            x = get_u64le(p);
        else
            memcpy(&x, p, (size_t)(end - p));
        uint64_t stop = bytes_below(x, 0x21), odd = odd_bytes(x, &dot);
        if (stop) {
            if (odd & ((stop & -stop) - 1))
                return NULL;
            p += __builtin_ctzll(stop) >> 3;
            break;
        }
        if (odd)
            return NULL;
    }
    size_t len = (size_t)(p - start);
    return len == 0 || len > NAME_MAX_BYTES || p[-1] == '.' ? NULL : p;
}

static inline bool all_digits(uint64_t x)
{
    return (((x & 0xf0f0f0f0f0f0f0f0u) | (((x + 0x0606060606060606u) & 0xf0f0f0f0f0f0f0f0u) >> 4)) ==
            0x3333333333333333u);
}

/* Eight digits, the first in the lowest byte: pairs, then fours, then all. */
static inline uint64_t eight_digits(uint64_t x)
{
    x = (x & 0x0f0f0f0f0f0f0f0fu) * (10 << 8 | 1) >> 8;
    x = (x & 0x00ff00ff00ff00ffu) * (100 << 16 | 1) >> 16;
    return (x & 0x0000ffff0000ffffu) * (10000ull << 32 | 1) >> 32;
}

/* The time at p, a whole or decimal number of seconds, -1 or N; NULL if it is none of them. `end` bounds the
 * eight-byte load. */
static const char *parse_time(const char *p, const char *end, int64_t now_ms, int64_t *ts_ms)
{
    if (*p == 'N') {
        *ts_ms = now_ms;
        return p + 1;
    }
    bool negative = *p == '-';
    p += negative;
    const char *digits = p;
    int64_t s = 0, ms = 0;
    if (end - p >= 8 && all_digits(get_u64le(p))) {
        s = (int64_t)eight_digits(get_u64le(p));
        p += 8;
    }
    for (; is_digit(*p); p++)
        s = s < SECONDS_MAX / 10 ? s * 10 + (*p - '0') : SECONDS_MAX;
    bool any = p != digits;
    if (*p == '.') {
        int64_t unit = 100;
        for (p++; is_digit(*p); p++, unit /= 10) {
            ms += unit * (*p - '0');
            any = true;
        }
    }
    if (!any)
        return NULL;
    *ts_ms = s * 1000 + ms;
    if (negative && *ts_ms == 1000)
        *ts_ms = now_ms;
    else if (negative && *ts_ms != 0)
        return NULL;
    return p;
}

/* Takes a clean line and returns the start of the next, or NULL: nothing was added. */
static const char *parse_clean(const struct graphite_parser *g, const char *line, const char *end,
                               struct sample_batch *out)
{
    const char *name_end = clean_name(line, end);
    if (!name_end || !is_blank(*name_end))
        return NULL;
    double value;
    const char *p = decimal_parse(name_end + 1, &value);
    if (!p || !is_blank(*p) || !isfinite(value))
        return NULL;
    int64_t ts_ms;
    p = parse_time(p + 1, end, g->now_ms, &ts_ms);
    if (!p)
        return NULL;
    const char *stop = p;
    p += *p == '\r';
    if (*p != '\n' || (size_t)(stop - line) > g->max_line_bytes)
        return NULL;
    uint32_t len = (uint32_t)(name_end - line);
    *sample_batch_add(out) = (struct sample){line, len, hash_bytes(line, len), ts_ms, value};
    return p + 1;
}

struct field {
    const char *start, *end;
};

/* Splits at blanks; the number of fields, of which at most `max` are set. */
static size_t split(const char *p, const char *end, struct field *f, size_t max)
{
    size_t n = 0;
    for (;;) {
        while (p < end && is_blank(*p))
            p++;
        if (p == end)
            return n;
        const char *start = p;
        while (p < end && !is_blank(*p))
            p++;
        if (n < max)
            f[n] = (struct field){start, p};
        n++;
    }
}

static bool is_word_not_finite(struct field f)
{
    static const char *const words[] = {"nan", "inf", "infinity"};
    f.start += f.start < f.end && (*f.start == '-' || *f.start == '+');
    size_t len = (size_t)(f.end - f.start);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (len == strlen(words[i]) && !strncasecmp(f.start, words[i], len))
            return true;
    return false;
}

/* Fills *s from a line without its newline (which follows it); -1 with *why. */
static int parse_careful(const struct graphite_parser *g, const char *line, const char *end,
                         struct sample_batch *out, struct sample *s, enum reject *why)
{
    struct field f[3];
    *why = REJECT_SYNTAX;
    if (split(line, end, f, 3) != 3)
        return -1;
    const char *name;
    size_t name_len;
    if (name_canonical(f[0].start, (size_t)(f[0].end - f[0].start), &out->names, &name, &name_len, why) < 0)
        return -1;
    *why = is_word_not_finite(f[1]) ? REJECT_NOT_FINITE : REJECT_VALUE;
    if (decimal_parse(f[1].start, &s->value) != f[1].end)
        return -1;
    *why = REJECT_NOT_FINITE;
    if (!isfinite(s->value))
        return -1;
    *why = REJECT_TIME;
    if (parse_time(f[2].start, f[2].end, g->now_ms, &s->ts_ms) != f[2].end)
        return -1;
    s->name = name;
    s->name_len = (uint32_t)name_len;
    s->hash = hash_bytes(name, name_len);
    return 0;
}

void graphite_reject(struct graphite_parser *g, const char *line, size_t len, enum reject reason,
                     struct sample_batch *out)
{
    out->rejected[reason]++;
    if (g->n == GRAPHITE_ERRORS_KEPT)
        return;
    struct graphite_error *e = &g->error[g->n++];
    e->reason = reason;
    size_t n = len < GRAPHITE_EXCERPT_BYTES ? len : GRAPHITE_EXCERPT_BYTES;
    for (size_t i = 0; i < n; i++)
        e->excerpt[i] = line[i] >= 0x20 && line[i] < 0x7f && line[i] != '"' ? line[i] : '?';
    e->excerpt[n] = '\0';
}

/* Any line; `end` is its newline. */
static void parse_line(struct graphite_parser *g, const char *line, const char *end, struct sample_batch *out)
{
    const char *stop = end > line && end[-1] == '\r' ? end - 1 : end;
    struct sample s;
    enum reject why;
    if ((size_t)(stop - line) > g->max_line_bytes) {
        graphite_reject(g, line, (size_t)(stop - line), REJECT_LINE_TOO_LONG, out);
        return;
    }
    struct field blank;
    if (split(line, stop, &blank, 1) == 0)
        return;
    if (parse_careful(g, line, stop, out, &s, &why) == 0)
        *sample_batch_add(out) = s;
    else
        graphite_reject(g, line, (size_t)(stop - line), why, out);
}

static void parse_lines(struct graphite_parser *g, const char *p, const char *end, struct sample_batch *out)
{
    while (p < end) {
        const char *next = parse_clean(g, p, end, out);
        if (!next) {
            const char *newline = memchr(p, '\n', (size_t)(end - p));
            parse_line(g, p, newline, out);
            next = newline + 1;
        }
        p = next;
    }
}

size_t graphite_parse(struct graphite_parser *g, const char *data, size_t len, bool final,
                      struct sample_batch *out)
{
    const char *last = len ? memrchr(data, '\n', len) : NULL;
    size_t whole = last ? (size_t)(last - data) + 1 : 0;
    parse_lines(g, data, data + whole, out);
    if (!final || whole == len)
        return whole;
    size_t rest = len - whole;
    if (rest > g->max_line_bytes + 1) { /* one more: it may be a carriage return */
        graphite_reject(g, data + whole, rest, REJECT_LINE_TOO_LONG, out);
        return len;
    }
    char *line = arena_alloc(&out->names, rest + 1);
    memcpy(line, data + whole, rest);
    line[rest] = '\n';
    parse_lines(g, line, line + rest + 1, out);
    return len;
}
