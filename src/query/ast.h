/* Target expressions as a tree. */
#ifndef CARAT_QUERY_AST_H
#define CARAT_QUERY_AST_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ast_kind {
    AST_PATH,     /* text: the path without its escapes */
    AST_CALL,     /* text: the function's name; args, then kwargs */
    AST_TEMPLATE, /* args[0]: the call or path; args[1..]: $1, $2, ...; kwargs: named ones */
    AST_PIPE,     /* args[0] | args[1] | ...: the calls get what is left of them as first argument */
    AST_INT,      /* i; d if it does not fit (text then has the digits) */
    AST_FLOAT,    /* d */
    AST_STRING,   /* text: between the quotes, nothing unescaped */
    AST_BOOL,     /* i */
    AST_NONE,
    AST_INF,
};

struct ast;
struct ast_kwarg {
    const char *name;
    struct ast *value;
};

struct ast {
    enum ast_kind kind;
    const char *source; /* the whole text it was read from, for messages */
    size_t pos, end;    /* its bytes in there */
    const char *text;
    int64_t i;
    double d;
    struct ast **args;
    size_t nargs;
    struct ast_kwarg *kwargs;
    size_t nkwargs;
    size_t pipes_left; /* AST_PIPE: see eval.c */
};

/* Parses the beginning of `text`; what follows a complete expression is ignored, as graphite-web does (*rest,
 * if given, gets its offset). The tree lives in `arena` and borrows nothing from `text`. ERR_INVALID shows
 * the place; ERR_LIMIT: nested too deeply. */
int ast_parse(const char *text, struct arena *arena, struct ast **out, size_t *rest,
              struct err *err) must_check;

/* Writes "message\n  expression\n     ^" into err, the expression cut to what is around `pos`. */
int ast_error(struct err *err, int code, const char *source, size_t pos, const char *message);

#endif
