/* Graphite's grammar, with the choices in the order graphite-web tries them and, as there, no way back once
 * a choice has matched:
 *
 *   target     := (template | call | path) ('|' call)*
 *   call       := name '(' [arg (',' arg)* (',' name '=' arg)*] ')'
 *   arg        := true | false | number | none | string | inf | target
 *   template   := 'template' '(' (call | path) (',' literal)* ')'      literals all bare or all named
 *   path       := element ('.' element)*
 *   element    := chars and {a,b} lists; \ before one of (){},.'"\|= takes it literally
 *
 * A number must be followed by ',', ')' or the end of the line. A call that does not parse is read again as a
 * path, which then ends at the parenthesis. Blanks may stand before any token, not inside a path. */
#include "base/buf.h"
#include "query/ast.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DEPTH_MAX = 64 };

struct parser {
    struct arena *arena;
    const char *source, *p;
    unsigned depth;
    bool too_deep;
    const char *furthest; /* where most was understood, for the message */
    const char *wanted;
};

static void skip_blanks(struct parser *s)
{
    while (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r')
        s->p++;
}

static void note(struct parser *s, const char *wanted)
{
    if (!s->furthest || s->p > s->furthest) {
        s->furthest = s->p;
        s->wanted = wanted;
    }
}

static bool take(struct parser *s, char c)
{
    const char *start = s->p;
    skip_blanks(s);
    if (*s->p == c) {
        s->p++;
        return true;
    }
    s->p = start;
    return false;
}

static struct ast *new_node(struct parser *s, enum ast_kind kind, const char *start)
{
    struct ast *a = arena_alloc(s->arena, sizeof *a);
    memset(a, 0, sizeof *a);
    a->kind = kind;
    a->source = s->source;
    a->pos = (size_t)(start - s->source);
    a->end = (size_t)(s->p - s->source);
    return a;
}

/* Appends to an array in the arena that grows by doubling. */
static void push_arg(struct parser *s, struct ast *a, struct ast *arg)
{
    if (!(a->nargs & (a->nargs - 1))) {
        struct ast **more = arena_alloc(s->arena, (a->nargs ? 2 * a->nargs : 1) * sizeof *more);
        if (a->nargs)
            memcpy(more, a->args, a->nargs * sizeof *more);
        a->args = more;
    }
    a->args[a->nargs++] = arg;
}

static void push_kwarg(struct parser *s, struct ast *a, struct ast_kwarg arg)
{
    if (!(a->nkwargs & (a->nkwargs - 1))) {
        struct ast_kwarg *more = arena_alloc(s->arena, (a->nkwargs ? 2 * a->nkwargs : 1) * sizeof *more);
        if (a->nkwargs)
            memcpy(more, a->kwargs, a->nkwargs * sizeof *more);
        a->kwargs = more;
    }
    a->kwargs[a->nkwargs++] = arg;
}

static const char *take_name(struct parser *s)
{
    const char *start = s->p;
    skip_blanks(s);
    const char *from = s->p;
    if (!isalpha((unsigned char)*s->p) && *s->p != '_') {
        s->p = start;
        return NULL;
    }
    while (isalnum((unsigned char)*s->p) || *s->p == '_')
        s->p++;
    return arena_strndup(s->arena, from, (size_t)(s->p - from));
}

static bool take_word(struct parser *s, const char *word)
{
    size_t n = strlen(word);
    if (strncasecmp(s->p, word, n) || isalnum((unsigned char)s->p[n]) || s->p[n] == '_' || s->p[n] == '$')
        return false;
    s->p += n;
    return true;
}

static bool ends_number(const char *p)
{
    while (*p == ' ' || *p == '\t' || *p == '\r')
        p++;
    if (*p == '\0' || *p == '\n')
        return true;
    while (isspace((unsigned char)*p))
        p++;
    return *p == ',' || *p == ')';
}

static const char *skip_digits(const char *p)
{
    while (isdigit((unsigned char)*p))
        p++;
    return p;
}

static const char *skip_int(const char *p)
{
    p += *p == '-';
    return isdigit((unsigned char)*p) ? skip_digits(p) : NULL;
}

static struct ast *take_number(struct parser *s)
{
    const char *start = s->p, *whole = skip_int(start);
    if (!whole)
        return NULL;
    bool has_point = *whole == '.' && isdigit((unsigned char)whole[1]);
    const char *decimal = has_point ? skip_digits(whole + 1) : whole;
    const char *exponent = (*decimal | 32) == 'e' ? skip_int(decimal + 1) : NULL;
    /* the integer alone may precede an exponent only where there is no decimal part: 1.5e3 is one number */
    const char *end = exponent && ends_number(exponent)   ? exponent
                      : has_point && ends_number(decimal) ? decimal
                      : ends_number(whole)                ? whole
                                                          : NULL;
    if (!end)
        return NULL;
    s->p = end;
    struct ast *a = new_node(s, end == whole ? AST_INT : AST_FLOAT, start);
    a->text = arena_strndup(s->arena, start, (size_t)(end - start));
    a->d = strtod(a->text, NULL);
    a->i = strtoll(a->text, NULL, 10);
    return a;
}

/* From after the opening quote to after the closing one: doubled quotes and \x are kept as they are. */
static const char *string_end(const char *p, char quote)
{
    for (;;) {
        if (*p == quote && p[1] == quote) {
            p += 2;
        } else if (*p == '\\' && p[1] == 'x') {
            if (!isxdigit((unsigned char)p[2]))
                return NULL;
            for (p += 2; isxdigit((unsigned char)*p);)
                p++;
        } else if (*p == '\\' && p[1]) {
            p += 2;
        } else if (*p && *p != quote && *p != '\n' && *p != '\r' && *p != '\\') {
            p++;
        } else {
            return *p == quote ? p + 1 : NULL;
        }
    }
}

static struct ast *take_string(struct parser *s)
{
    const char *start = s->p;
    if (*start != '"' && *start != '\'')
        return NULL;
    const char *end = string_end(start + 1, *start);
    if (!end) {
        note(s, "a closing quote");
        return NULL;
    }
    s->p = end;
    struct ast *a = new_node(s, AST_STRING, start);
    a->text = arena_strndup(s->arena, start + 1, (size_t)(end - start - 2));
    return a;
}

static bool is_symbol(char c)
{
    return c && strchr("(){},.'\"\\|", c);
}

/* A run of path characters, escapes resolved into `out`; false if there is none. */
static bool take_chars(struct parser *s, struct buf *out)
{
    const char *start = s->p;
    for (;;) {
        unsigned char c = (unsigned char)*s->p;
        if (c == '\\' && s->p[1] && (is_symbol(s->p[1]) || s->p[1] == '=')) {
            buf_putc(out, s->p[1]);
            s->p += 2;
        } else if (c > ' ' && c != 0x7f && !is_symbol((char)c)) {
            buf_putc(out, (char)c);
            s->p++;
        } else {
            return s->p > start;
        }
    }
}

/* {a,b}: no blanks, dots, empty or nested alternatives. */
static bool take_list(struct parser *s, struct buf *out)
{
    const char *start = s->p;
    size_t len = out->len;
    if (*s->p == '{') {
        do {
            buf_putc(out, *s->p++);
            if (!take_chars(s, out))
                break;
            if (*s->p == '}') {
                buf_putc(out, *s->p++);
                return true;
            }
        } while (*s->p == ',');
        note(s, "'}' or an alternative");
    }
    s->p = start;
    out->len = len;
    return false;
}

static bool take_element(struct parser *s, struct buf *out)
{
    bool any = false;
    while (take_chars(s, out) || take_list(s, out))
        any = true;
    return any;
}

static struct ast *take_path(struct parser *s)
{
    struct buf text = BUF_INIT;
    const char *start = s->p;
    if (!take_element(s, &text)) {
        buf_release(&text);
        note(s, "a metric path or a function");
        return NULL;
    }
    while (*s->p == '.') {
        size_t len = text.len;
        const char *dot = s->p++;
        buf_putc(&text, '.');
        if (!take_element(s, &text)) {
            s->p = dot;
            text.len = len;
            break;
        }
    }
    struct ast *a = new_node(s, AST_PATH, start);
    a->text = arena_strndup(s->arena, text.len ? (char *)text.data : "", text.len);
    buf_release(&text);
    return a;
}

static struct ast *take_target(struct parser *s);

static struct ast *take_literal(struct parser *s)
{
    struct ast *a = take_number(s);
    return a ? a : take_string(s);
}

static struct ast *take_arg(struct parser *s)
{
    skip_blanks(s);
    const char *start = s->p;
    if (take_word(s, "true") || take_word(s, "false")) {
        struct ast *a = new_node(s, AST_BOOL, start);
        a->i = (*start | 32) == 't';
        return a;
    }
    struct ast *a = take_number(s);
    if (a)
        return a;
    if (take_word(s, "none"))
        return new_node(s, AST_NONE, start);
    if ((a = take_string(s)))
        return a;
    if (take_word(s, "inf"))
        return new_node(s, AST_INF, start);
    return take_target(s);
}

typedef struct ast *(*value_fn)(struct parser *s);

static struct ast *take_literal_arg(struct parser *s)
{
    skip_blanks(s);
    return take_literal(s);
}

/* name=value; on failure nothing is consumed. */
static bool take_kwarg(struct parser *s, struct ast_kwarg *out, value_fn value)
{
    const char *start = s->p;
    out->name = take_name(s);
    if (out->name && take(s, '=') && (out->value = value(s)))
        return true;
    s->p = start;
    return false;
}

/* Fills in args and kwargs up to where a ')' is due. Named ones come only after a positional one. */
static void take_args(struct parser *s, struct ast *call, value_fn value)
{
    struct ast_kwarg k;
    for (;;) {
        const char *start = s->p;
        if ((call->nargs || call->nkwargs) && !take(s, ','))
            return;
        if (take_kwarg(s, &k, value)) {
            if (!call->nargs) {
                note(s, "a first argument without a name");
                s->p = start;
                return;
            }
            push_kwarg(s, call, k);
            continue;
        }
        struct ast *a = call->nkwargs ? NULL : value(s);
        if (!a) {
            note(s, call->nargs ? "an argument" : "')' or an argument");
            s->p = start;
            return;
        }
        push_arg(s, call, a);
    }
}

static struct ast *take_call(struct parser *s)
{
    const char *start = s->p;
    skip_blanks(s);
    const char *from = s->p;
    const char *name = take_name(s);
    if (!name || !take(s, '(')) {
        s->p = start;
        return NULL;
    }
    struct ast *a = new_node(s, AST_CALL, from);
    a->text = name;
    take_args(s, a, take_arg);
    skip_blanks(s);
    if (!take(s, ')')) {
        note(s, "',' or ')'");
        s->p = start;
        return NULL;
    }
    a->end = (size_t)(s->p - s->source);
    return a;
}

/* The literals of a template are all bare or all named. */
static bool take_template_args(struct parser *s, struct ast *t)
{
    while (take(s, ',')) {
        struct ast_kwarg k;
        bool named = take_kwarg(s, &k, take_literal_arg);
        if (named && t->nargs == 1) {
            push_kwarg(s, t, k);
            continue;
        }
        struct ast *a = named || t->nkwargs ? NULL : take_literal_arg(s);
        if (!a) {
            note(s, "a number or a string");
            return false;
        }
        push_arg(s, t, a);
    }
    return true;
}

static struct ast *take_template(struct parser *s)
{
    const char *start = s->p;
    skip_blanks(s);
    const char *from = s->p;
    if (!strncmp(s->p, "template", 8)) {
        s->p += 8;
        if (take(s, '(')) {
            struct ast *t = new_node(s, AST_TEMPLATE, from);
            struct ast *inner = take_call(s);
            if (!inner)
                inner = take_path(s);
            if (inner) {
                push_arg(s, t, inner);
                if (take_template_args(s, t) && take(s, ')')) {
                    t->end = (size_t)(s->p - s->source);
                    return t;
                }
            }
        }
    }
    s->p = start;
    return NULL;
}

static struct ast *take_piped(struct parser *s, struct ast *base)
{
    struct ast *pipe = NULL;
    for (;;) {
        const char *start = s->p;
        struct ast *call = take(s, '|') ? take_call(s) : NULL;
        if (!call) {
            s->p = start;
            return pipe ? pipe : base;
        }
        if (!pipe) {
            pipe = new_node(s, AST_PIPE, s->source + base->pos);
            push_arg(s, pipe, base);
        }
        push_arg(s, pipe, call);
        pipe->pipes_left = pipe->nargs - 1;
        pipe->end = call->end;
    }
}

static struct ast *take_target(struct parser *s)
{
    if (s->too_deep || s->depth == DEPTH_MAX) {
        s->too_deep = true;
        return NULL;
    }
    s->depth++;
    skip_blanks(s);
    struct ast *a = take_template(s);
    if (!a)
        a = take_call(s);
    if (!a)
        a = take_path(s);
    if (a)
        a = take_piped(s, a);
    s->depth--;
    return a;
}

int ast_error(struct err *err, int code, const char *source, size_t pos, const char *message)
{
    enum { BEFORE = 60, AFTER = 40 };
    size_t len = strlen(source);
    if (pos > len)
        pos = len;
    size_t from = pos > BEFORE ? pos - BEFORE : 0, to = len - pos > AFTER ? pos + AFTER : len;
    /* start and end on whole UTF-8 characters */
    while (from < pos && ((unsigned char)source[from] & 0xc0) == 0x80)
        from++;
    while (to > pos && to < len && ((unsigned char)source[to] & 0xc0) == 0x80)
        to--;
    struct buf b = BUF_INIT;
    buf_puts(&b, from ? "..." : "");
    for (size_t i = from; i < to; i++)
        buf_putc(&b, (unsigned char)source[i] < ' ' ? ' ' : source[i]);
    buf_puts(&b, to < len ? "...\n  " : "\n  ");
    for (size_t i = 0; i < pos - from + (from ? 3 : 0); i++)
        buf_putc(&b, ' ');
    buf_putc(&b, '^');
    err_set(err, code, "%.300s\n  %s", message, buf_str(&b));
    buf_release(&b);
    return code;
}

int ast_parse(const char *text, struct arena *arena, struct ast **out, size_t *rest, struct err *err)
{
    struct parser s = {.arena = arena};
    s.source = arena_strndup(arena, text, strlen(text));
    s.p = s.source;
    *out = take_target(&s);
    if (s.too_deep) {
        char message[80];
        snprintf(message, sizeof message, "functions are nested more than %d deep", DEPTH_MAX);
        return ast_error(err, ERR_LIMIT, s.source, (size_t)(s.p - s.source), message);
    }
    if (!*out) {
        char message[120];
        const char *at = s.furthest ? s.furthest : s.p;
        snprintf(message, sizeof message, "cannot read the target: expected %s",
                 s.wanted ? s.wanted : "a metric path or a function");
        return ast_error(err, ERR_INVALID, s.source, (size_t)(at - s.source), message);
    }
    if (rest)
        *rest = (size_t)(s.p - s.source);
    return OK;
}
