/* Binding arguments to the parameters of a function; between eval.c and the functions. */
#ifndef CARAT_QUERY_CALL_H
#define CARAT_QUERY_CALL_H

#include "query/eval.h"

struct call_kwarg {
    const char *name;
    struct value value;
    struct ast *node;
};
struct call_args {
    struct value *v;
    struct ast **nodes; /* of v; may be NULL */
    size_t n;
    struct call_kwarg *kwargs;
    size_t nkwargs;
};

/* Fills in args, arg_nodes and rest of a call; fails the query if they do not fit the function. */
void call_bind(struct call *c, const struct call_args *a);

#endif
