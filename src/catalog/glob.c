/* Matching keeps the set of label positions that the pattern so far can end at, as a bitmap, and runs every
 * element over that set: no backtracking, and alternatives are simply the union of their sets. */
#include "catalog/glob.h"

#include "base/mem.h"
#include "model/name.h"

#include <stdlib.h>
#include <string.h>

/* Literal patterns with braces are spelt out up to these bounds, so that they can be looked up. */
#define CHOICES_MAX      4096
#define CHOICE_BYTES_MAX (256u << 10)

enum op_kind {
    OP_LITERAL, /* a: offset in text, b: length */
    OP_ONE,
    OP_SET, /* a: number of the set */
    OP_STAR,
    OP_GROUP, /* a: index past the group; its OP_ALTs follow */
    OP_ALT,   /* a: index past this alternative, whose elements follow */
};

struct glob_op {
    uint32_t kind, a, b;
};

struct byte_set {
    uint64_t w[4];
};

struct parser {
    struct glob *g;
    const char *p;
    size_t len, at, i;
    bool never;
    struct err *err;
};

static struct glob_op *ops_of(const struct glob *g)
{
    return (struct glob_op *)(void *)g->ops.data;
}

static uint32_t op_count(const struct glob *g)
{
    return (uint32_t)(g->ops.len / sizeof(struct glob_op));
}

static uint32_t emit(struct glob *g, uint32_t kind, uint32_t a, uint32_t b)
{
    struct glob_op op = {kind, a, b};
    buf_append(&g->ops, &op, sizeof op);
    return op_count(g) - 1;
}

/* Consecutive literal bytes become one element; `first` is where the current sequence began. */
static void emit_byte(struct glob *g, uint32_t first, char c)
{
    uint32_t n = op_count(g);
    struct glob_op *last = n > first ? ops_of(g) + n - 1 : NULL;
    if (last && last->kind == OP_LITERAL && last->a + last->b == g->text.len)
        last->b++;
    else
        emit(g, OP_LITERAL, (uint32_t)g->text.len, 1);
    buf_putc(&g->text, c);
}

static int unclosed(struct parser *p, size_t i)
{
    return err_set(p->err, ERR_INVALID, "pattern: '%c' at position %zu is not closed within its level",
                   p->p[i], p->at + i + 1);
}

static int parse_set(struct parser *p)
{
    size_t start = p->i++;
    bool negate = p->i < p->len && p->p[p->i] == '!';
    p->i += negate;
    struct byte_set set = {{0}};
    for (size_t first = p->i;; p->i++) {
        if (p->i >= p->len)
            return unclosed(p, start);
        uint8_t lo = (uint8_t)p->p[p->i], hi = lo;
        if (lo == ']' && p->i > first)
            break;
        if (p->i + 2 < p->len && p->p[p->i + 1] == '-' && p->p[p->i + 2] != ']') {
            hi = (uint8_t)p->p[p->i + 2];
            p->i += 2;
        }
        for (unsigned c = lo; c <= hi; c++)
            set.w[c / 64] |= 1ull << c % 64;
    }
    p->i++;
    for (int k = 0; negate && k < 4; k++)
        set.w[k] = ~set.w[k];
    emit(p->g, OP_SET, (uint32_t)(p->g->sets.len / sizeof set), 0);
    buf_append(&p->g->sets, &set, sizeof set);
    return OK;
}

/* An element that is the same inside and outside braces. */
static int parse_element(struct parser *p, uint32_t first)
{
    char c = p->p[p->i];
    if (c == '[')
        return parse_set(p);
    if (c == '?')
        emit(p->g, OP_ONE, 0, 0);
    else if (c == '*')
        emit(p->g, OP_STAR, 0, 0);
    else
        emit_byte(p->g, first, c);
    p->i++;
    return OK;
}

static int parse_group(struct parser *p)
{
    size_t start = p->i++;
    uint32_t group = emit(p->g, OP_GROUP, 0, 0), alt = emit(p->g, OP_ALT, 0, 0);
    for (int depth = 1; depth > 0;) {
        if (p->i >= p->len)
            return unclosed(p, start);
        char c = p->p[p->i];
        if (c != '{' && c != '}' && c != ',') {
            int rc = parse_element(p, alt + 1);
            if (rc < 0)
                return rc;
            continue;
        }
        p->i++;
        depth += c == '{' ? 1 : c == '}' ? -1 : 0;
        p->never |= depth > 1;
        if (c == '{')
            continue;
        p->never |= op_count(p->g) == alt + 1;
        ops_of(p->g)[alt].a = op_count(p->g);
        if (c == ',')
            alt = emit(p->g, OP_ALT, 0, 0);
    }
    ops_of(p->g)[group].a = op_count(p->g);
    return OK;
}

static int text_cmp(const char *a, size_t an, const char *b, size_t bn)
{
    int c = memcmp(a, b, an < bn ? an : bn);
    return c ? c : (an > bn) - (an < bn);
}

/* The spelt-out patterns so far, each extended by each of the alternatives. */
struct spelling {
    struct glob_text *v;
    size_t n;
    struct buf text;
};

static bool extend(struct spelling *s, const struct glob *g, const struct glob_text *alts, size_t nalts)
{
    if (s->n * nalts > CHOICES_MAX)
        return false;
    struct glob_text *next = xmalloc(s->n * nalts * sizeof *next);
    size_t n = 0;
    for (size_t i = 0; i < s->n && s->text.len <= CHOICE_BYTES_MAX; i++)
        for (size_t k = 0; k < nalts && s->text.len <= CHOICE_BYTES_MAX; k++) {
            uint32_t len = s->v[i].len + alts[k].len;
            uint8_t *to = buf_reserve(&s->text, len + 1);
            memcpy(to, s->text.data + s->v[i].off, s->v[i].len);
            memcpy(to + s->v[i].len, g->text.data + alts[k].off, alts[k].len);
            next[n++] = (struct glob_text){(uint32_t)s->text.len, len};
            s->text.len += len;
        }
    free(s->v);
    s->v = next;
    s->n = n;
    return s->text.len <= CHOICE_BYTES_MAX;
}

/* The alternatives of the group at ops[i] if they all are single literals; their number, or 0. */
static size_t literal_alternatives(const struct glob *g, uint32_t i, struct glob_text *alts)
{
    const struct glob_op *ops = ops_of(g);
    size_t n = 0;
    for (uint32_t k = i + 1; k < ops[i].a; k = ops[k].a) {
        if (ops[k].a != k + 2 || ops[k + 1].kind != OP_LITERAL || n == CHOICES_MAX)
            return 0;
        alts[n++] = (struct glob_text){ops[k + 1].a, ops[k + 1].b};
    }
    return n;
}

static bool spell_out(const struct glob *g, struct spelling *s)
{
    const struct glob_op *ops = ops_of(g);
    struct glob_text *alts = xmalloc(CHOICES_MAX * sizeof *alts);
    s->v = xcalloc(1, sizeof *s->v);
    s->n = 1;
    bool ok = true;
    for (uint32_t i = 0; ok && i < op_count(g);) {
        size_t n = 0;
        if (ops[i].kind == OP_LITERAL)
            alts[n++] = (struct glob_text){ops[i].a, ops[i].b};
        else if (ops[i].kind == OP_GROUP)
            n = literal_alternatives(g, i, alts);
        ok = n > 0 && extend(s, g, alts, n);
        i = ops[i].kind == OP_GROUP ? ops[i].a : i + 1;
    }
    free(alts);
    return ok;
}

static int choice_cmp(const void *a, const void *b, void *text)
{
    const struct glob_text *x = a, *y = b;
    return text_cmp((const char *)text + x->off, x->len, (const char *)text + y->off, y->len);
}

/* Turns a pattern without wildcards into its list of spellings. */
static void find_choices(struct glob *g)
{
    struct spelling s = {NULL, 0, BUF_INIT};
    if (!spell_out(g, &s)) {
        free(s.v);
        buf_release(&s.text);
        return;
    }
    qsort_r(s.v, s.n, sizeof *s.v, choice_cmp, s.text.data);
    size_t n = 1;
    for (size_t i = 1; i < s.n; i++)
        if (choice_cmp(&s.v[i], &s.v[n - 1], s.text.data))
            s.v[n++] = s.v[i];
    buf_release(&g->text);
    g->text = s.text;
    g->choices = s.v;
    g->nchoices = n;
    g->kind = GLOB_CHOICE;
}

int glob_compile(struct glob *g, const char *level, size_t len, size_t at, struct err *err)
{
    *g = (struct glob){.kind = GLOB_PATTERN, .text = BUF_INIT, .ops = BUF_INIT, .sets = BUF_INIT};
    struct parser p = {.g = g, .p = level, .len = len, .at = at, .err = err};
    uint32_t first = 0; /* element after the last group */
    while (p.i < len) {
        bool group = level[p.i] == '{';
        int rc = group ? parse_group(&p) : parse_element(&p, first);
        if (rc < 0) {
            glob_release(g);
            return rc;
        }
        first = group ? op_count(g) : first;
    }
    if (len == 0 || p.never)
        g->kind = GLOB_NEVER;
    else if (len == 1 && level[0] == '*')
        g->kind = GLOB_ANY;
    else if (len == 2 && level[0] == '*' && level[1] == '*')
        g->kind = GLOB_DEEP;
    else
        find_choices(g);
    return OK;
}

void glob_release(struct glob *g)
{
    buf_release(&g->text);
    buf_release(&g->ops);
    buf_release(&g->sets);
    free(g->choices);
    *g = (struct glob){.kind = GLOB_NEVER, .text = BUF_INIT, .ops = BUF_INIT, .sets = BUF_INIT};
}

#define REACH_WORDS (NAME_MAX_BYTES / 64 + 1)

/* Positions 0..len of the label. */
struct reach {
    uint64_t w[REACH_WORDS];
};

struct subject {
    const struct glob *g;
    const char *text;
    size_t len, words;
};

static void reach_set(struct reach *r, size_t i)
{
    r->w[i / 64] |= 1ull << i % 64;
}

/* Next member at or after i; a position past the label if there is none. */
static size_t reach_next(const struct reach *r, const struct subject *s, size_t i)
{
    for (size_t k = i / 64; k < s->words; k++, i = k * 64) {
        uint64_t w = r->w[k] >> i % 64;
        if (w)
            return i + (size_t)__builtin_ctzll(w);
    }
    return s->len + 1;
}

static bool element_matches(const struct subject *s, const struct glob_op *op, size_t i, size_t *width)
{
    *width = op->kind == OP_LITERAL ? op->b : 1;
    if (i + *width > s->len)
        return false;
    if (op->kind == OP_LITERAL)
        return memcmp(s->text + i, s->g->text.data + op->a, op->b) == 0;
    if (op->kind == OP_ONE)
        return true;
    struct byte_set set;
    memcpy(&set, s->g->sets.data + op->a * sizeof set, sizeof set);
    uint8_t c = (uint8_t)s->text[i];
    return set.w[c / 64] >> c % 64 & 1;
}

static void step_element(const struct subject *s, const struct glob_op *op, struct reach *r)
{
    struct reach next;
    memset(&next, 0, s->words * 8);
    size_t width;
    for (size_t i = reach_next(r, s, 0); i <= s->len; i = reach_next(r, s, i + 1))
        if (element_matches(s, op, i, &width))
            reach_set(&next, i + width);
    memcpy(r, &next, s->words * 8);
}

static void step_star(const struct subject *s, struct reach *r)
{
    size_t from = reach_next(r, s, 0);
    if (from > s->len)
        return;
    memset(r, 0, s->words * 8);
    r->w[from / 64] = ~0ull << from % 64;
    for (size_t k = from / 64 + 1; k < s->words; k++)
        r->w[k] = ~0ull;
    if (s->len % 64 != 63) /* nothing beyond the end */
        r->w[s->len / 64] &= (2ull << s->len % 64) - 1;
}

/* Runs elements [i, end) over *r. Groups do not nest, so it calls itself at most once deep. */
static void run(const struct subject *s, uint32_t i, uint32_t end, struct reach *r)
{
    const struct glob_op *ops = ops_of(s->g);
    while (i < end && reach_next(r, s, 0) <= s->len) {
        const struct glob_op *op = &ops[i++];
        if (op->kind == OP_STAR) {
            step_star(s, r);
        } else if (op->kind == OP_GROUP) {
            struct reach all;
            memset(&all, 0, s->words * 8);
            for (; i < op->a; i = ops[i].a) {
                struct reach one;
                memcpy(&one, r, s->words * 8);
                run(s, i + 1, ops[i].a, &one);
                for (size_t k = 0; k < s->words; k++)
                    all.w[k] |= one.w[k];
            }
            memcpy(r, &all, s->words * 8);
        } else {
            step_element(s, op, r);
        }
    }
}

static bool match_choice(const struct glob *g, const char *label, size_t len)
{
    size_t lo = 0, hi = g->nchoices;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = text_cmp(label, len, glob_choice(g, mid), g->choices[mid].len);
        if (c == 0)
            return true;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return false;
}

bool glob_match(const struct glob *g, const char *label, size_t len)
{
    if (g->kind == GLOB_NEVER || len > NAME_MAX_BYTES)
        return false;
    if (g->kind == GLOB_CHOICE)
        return match_choice(g, label, len);
    if (g->kind != GLOB_PATTERN)
        return true;
    struct subject s = {g, label, len, len / 64 + 1};
    struct reach r;
    memset(&r, 0, s.words * 8);
    reach_set(&r, 0);
    run(&s, 0, op_count(g), &r);
    return r.w[len / 64] >> len % 64 & 1;
}
