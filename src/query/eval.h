/* What the functions of the language are written against: lists of series, values, the call they serve.
 *
 * A function takes its arguments through arg_*, which check the type; the first failure of a query is kept
 * (query_failed) and everything after it is thrown away, so that functions need not test each step: they must
 * only not read beyond what they got. All memory is the query's arena. */
#ifndef CARAT_QUERY_EVAL_H
#define CARAT_QUERY_EVAL_H

#include "query/ast.h"
#include "query/query.h"
#include "query/thin.h"

struct list {
    struct query_series **v;
    size_t n, cap;
};

enum value_kind { V_NONE, V_BOOL, V_INT, V_FLOAT, V_STRING, V_LIST, V_LISTS };
struct value {
    enum value_kind kind;
    int64_t i; /* V_BOOL, V_INT */
    double d;  /* V_FLOAT */
    const char *s;
    struct list *list;   /* V_LIST */
    struct list **lists; /* V_LISTS: what mapSeries makes */
    size_t nlists;
};

static inline struct value value_none(void)
{
    return (struct value){.kind = V_NONE};
}
static inline struct value value_of_list(struct list *l)
{
    return (struct value){.kind = V_LIST, .list = l};
}

/* Running totals of stacked(), by the name of the stack. */
struct stack {
    const char *name;
    double *total;
    size_t n, cap;
    struct stack *next;
};

/* What a (part of a) target is evaluated for; functions that look at other times copy and change it. */
struct scope {
    int64_t start_s, end_s, now_s;
    const struct query_zone *zone;
    double x_files_factor;
    struct stack **stacks; /* NULL until stacked() was used */
    struct thinning thinning;
};

struct fetched;

/* One query under way. */
struct query {
    const struct query_env *env;
    const struct query_request *request;
    struct query_limits limits; /* defaults filled in */
    int64_t deadline_us;
    struct arena *arena;
    struct read_report *report;
    struct err *err;
    bool failed;
    const struct ast *at; /* what is being evaluated, for messages; NULL before and after */
    size_t series_found, points, work;
    unsigned depth;
    bool defer; /* whoever gets what is evaluated next may get deferred series (fetch.h) */
    struct fetched *fetched;
    size_t target;             /* that is being evaluated */
    struct query_reads *reads; /* of this target; NULL if not asked for */
    double *scratch;           /* of scratch_cap values, for one function at a time */
    size_t scratch_cap;
    uint64_t random;
};

struct function;
struct call {
    struct query *q;
    struct scope *scope;
    const struct function *fn;
    struct ast *node;       /* NULL when called by another function */
    struct ast *arg0;       /* what the first argument was computed from */
    struct value *args;     /* one for each parameter; a repeated last one is in `rest` instead */
    struct ast **arg_nodes; /* where they were written; NULL where they were not */
    size_t nrest;
    struct value *rest;
};

typedef struct value (*function_fn)(struct call *c);

enum param_type {
    P_BOOLEAN,
    P_DATE,
    P_FLOAT,
    P_INTEGER,
    P_INTERVAL,
    P_INT_OR_INTERVAL,
    P_INT_OR_INF,
    P_NODE,
    P_NODE_OR_TAG,
    P_SERIES_LIST,
    P_SERIES_LISTS,
    P_STRING,
    P_TAG,
    P_ANY,
    P_AGG_FUNC,
    P_AGG_OR_SERIES_FUNC,
};
enum { REQUIRED = 1, MULTIPLE = 2, ALSO_BOOLEAN = 4 /* beside the options */ };

struct param {
    const char *name;
    enum param_type type;
    unsigned flags;
    struct value def;           /* V_NONE: none */
    const char *const *options; /* NULL-terminated; NULL: any */
    const char *doc_name;       /* the name graphite-web documents where the one it takes differs */
    const char *suggestions;    /* JSON, for editors */
    struct value doc_def;       /* the default it documents where the one it uses differs */
    bool no_doc_def;            /* it documents none */
};

/* AGGREGATES: may be the callback of groupByNodes. PASS_EMPTY: of an empty first list it makes an empty list
 * before it looks at its other arguments, which may then be wrong. */
enum { AGGREGATES = 1, PASS_EMPTY = 2 };

enum { PARAMS_MAX = 6 };
struct function {
    const char *name, *group, *doc;
    function_fn fn;
    unsigned flags;
    struct param params[PARAMS_MAX];
};

/* Sorted by name. */
const struct function *functions_all(size_t *n);
const struct function *function_find(const char *name);

/* --- failures --- */
/* Each returns the value a function may return then. */
struct value call_fail(struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void query_fail(struct query *q, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static inline bool query_failed(const struct query *q)
{
    return q->failed;
}
/* Whether nobody waits for the answer any more. Any thread. */
bool query_cancelled(const struct query *q);
/* Counts `work` steps; true (and failed) when the query's time is over or its client has gone. */
bool query_tick(struct query *q, size_t work);

/* "parameter 'n' of limit() expects `expected`, not 'x'". */
void arg_fail(struct call *c, size_t i, const char *expected);

/* --- memory --- */
const char *query_printf(struct query *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* n doubles; NULL and failed when the query's points are used up. Never NULL for n = 0. */
double *query_values(struct query *q, size_t n);
/* The same with room for `extra` more, which do not count. */
double *query_room(struct query *q, size_t n, size_t extra);
/* Counts n points that are read and not kept; false if there are too many. */
bool query_count(struct query *q, size_t n);
/* Room for n doubles until the next call of this; NULL only after a failure. */
double *query_scratch(struct query *q, size_t n);

/* --- series --- */
struct list *list_new(struct query *q, size_t cap);
void list_add(struct query *q, struct list *l, struct query_series *s);
/* A series without values: tags from the name, path expression = name, x_files_factor of the scope. */
struct query_series *series_new(struct call *c, const char *name, int64_t start_s, int64_t end_s,
                                int64_t step_s);
/* A copy with a new name (also the path expression), sharing tags and values. */
struct query_series *series_copy(struct call *c, const struct query_series *s, const char *name);
/* Gives it n fresh values; false if there is no room for them. */
bool series_alloc(struct query *q, struct query_series *s, size_t n);
/* Values with values_per_point applied; *n of them. */
const double *series_view(struct query *q, const struct query_series *s, size_t *n);
void series_rename(struct query_series *s, const char *name);
/* Renames and sets the path expression. */
void series_retitle(struct query_series *s, const char *name);
int series_compare_names(const void *a, const void *b); /* of pointers to series */

void tags_set(struct query *q, struct query_tags *t, const char *name, const char *value);
const char *tags_get(const struct query_tags *t, const char *name); /* NULL if it has none */
void tags_remove(struct query_tags *t, const char *name);
struct query_tags *tags_new(struct query *q);
/* The tags in a series' name; at least "name". */
struct query_tags *tags_parse(struct query *q, const char *name);
/* The same, NULL if the name's tags are not well formed. */
struct query_tags *tags_parse_strict(struct query *q, const char *name);

/* --- arguments --- */
/* i-th parameter. A wrong type fails the query and gives an empty list, 0, "" or false. */
struct list *arg_list(struct call *c, size_t i);
double arg_number(struct call *c, size_t i);
int64_t arg_index(struct call *c, size_t i); /* only integers */
int64_t arg_int(struct call *c, size_t i);   /* also floats, cut, and digits in a string */
const char *arg_string(struct call *c, size_t i);
bool arg_true(const struct call *c, size_t i); /* as Python: 0, "", none and an empty list are not */
static inline bool arg_given(const struct call *c, size_t i)
{
    return c->args[i].kind != V_NONE;
}
/* As Python's str(). */
const char *value_text(struct query *q, const struct value *v);
/* The repeated arguments, which must be lists, as one. */
struct list *rest_lists(struct call *c);

/* --- evaluation --- */
/* The first argument again, under another scope. */
struct list *call_again(struct call *c, struct scope *scope);
/* A text as target. */
struct list *eval_text(struct call *c, struct scope *scope, const char *target);
/* Another function on a list, as groupByNodes and reduceSeries do. */
struct list *call_other(struct call *c, const struct function *fn, struct list *const *lists, size_t n);

#endif
