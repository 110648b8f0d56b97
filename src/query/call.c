/* Calls: arguments to parameters as graphite-web does it.
 *
 * There, arguments are first checked and converted by their declared types. If any of them does not pass, the
 * failure is only logged and the function gets all of them as they were written: `limit(x, '2')` gets 2, but
 * in `highest(x, '2', 'nosuch')` the '2' stays a string. Both ways are needed to give the same answers. */
#include "query/call.h"
#include "base/mem.h"
#include "query/agg.h"
#include "query/pynum.h"
#include "query/timespec.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool parse_int(const char *s, int64_t *out)
{
    char *end, plain[PYNUM_TEXT_MAX];
    s = pynum_without_underscores(s, plain);
    errno = 0;
    *out = strtoll(s, &end, 10);
    while (*end == ' ')
        end++;
    return end != s && !*end && !errno;
}

static bool to_boolean(struct value *v)
{
    if (v->kind == V_STRING) {
        bool yes = !strcasecmp(v->s, "true");
        if (!yes && strcasecmp(v->s, "false"))
            return false;
        *v = (struct value){.kind = V_BOOL, .i = yes};
        return true;
    }
    double d = v->kind == V_FLOAT ? v->d : (double)v->i;
    if ((v->kind == V_INT || v->kind == V_FLOAT) && d != 0 && d != 1)
        return false;
    bool yes = v->kind == V_LIST ? v->list->n : v->kind == V_LISTS ? v->nlists : d != 0;
    *v = (struct value){.kind = V_BOOL, .i = yes};
    return true;
}

static bool to_float(struct value *v)
{
    double d = v->d;
    if (v->kind == V_INT || v->kind == V_BOOL)
        d = (double)v->i;
    else if (v->kind != V_FLOAT && (v->kind != V_STRING || !pynum_parse(v->s, &d)))
        return false;
    *v = (struct value){.kind = V_FLOAT, .d = d};
    return true;
}

static bool to_integer(struct value *v)
{
    int64_t i = v->i;
    if (v->kind != V_INT && v->kind != V_BOOL && (v->kind != V_STRING || !parse_int(v->s, &i)))
        return false;
    *v = (struct value){.kind = V_INT, .i = i};
    return true;
}

static bool to_int_or_inf(struct value *v)
{
    if (to_integer(v))
        return true;
    struct value f = *v;
    if (!to_float(&f) || f.d != INFINITY)
        return false;
    *v = f;
    return true;
}

static bool is_interval(const struct value *v)
{
    int64_t s;
    return v->kind == V_STRING && query_parse_interval(v->s, &s, NULL) == OK;
}

/* To the declared type; false if it has no such value. */
static bool convert(const struct param *p, struct value *v)
{
    switch (p->type) {
    case P_BOOLEAN:
        return to_boolean(v);
    case P_FLOAT:
        return to_float(v);
    case P_INTEGER:
    case P_NODE:
        return to_integer(v);
    case P_INT_OR_INF:
        return to_int_or_inf(v);
    case P_INTERVAL:
        return is_interval(v);
    case P_SERIES_LIST:
        return v->kind == V_LIST;
    case P_SERIES_LISTS:
        return v->kind == V_LISTS || (v->kind == V_LIST && !v->list->n);
    case P_AGG_FUNC:
        return v->kind == V_STRING && agg_find(v->s);
    case P_AGG_OR_SERIES_FUNC: {
        const struct function *f = v->kind == V_STRING ? function_find(v->s) : NULL;
        return v->kind == V_STRING && (agg_find(v->s) || (f && f->flags & AGGREGATES));
    }
    default:
        return true;
    }
}

static bool is_option(const struct param *p, const struct value *v)
{
    if (!p->options)
        return true;
    if (v->kind == V_BOOL)
        return p->flags & ALSO_BOOLEAN;
    for (const char *const *o = p->options; v->kind == V_STRING && *o; o++)
        if (!strcmp(*o, v->s))
            return true;
    return false;
}

static bool valid(const struct param *p, struct value *v)
{
    if (v->kind == V_NONE && (p->def.kind != V_NONE || !(p->flags & REQUIRED)))
        return true;
    return is_option(p, v) && convert(p, v);
}

static const struct call_kwarg *find_kwarg(const struct call_args *a, const char *name)
{
    for (size_t i = 0; i < a->nkwargs; i++)
        if (!strcmp(a->kwargs[i].name, name))
            return &a->kwargs[i];
    return NULL;
}

static bool valid_kwargs(const struct function *fn, size_t nparams, struct call_args *a)
{
    size_t used = 0;
    for (size_t i = a->n; i < nparams; i++) {
        const struct param *p = &fn->params[i];
        struct call_kwarg *k = (struct call_kwarg *)find_kwarg(a, p->doc_name ? p->doc_name : p->name);
        if (!k || k->value.kind == V_NONE) {
            if (p->flags & REQUIRED)
                return false;
            continue;
        }
        if (!valid(p, &k->value))
            return false;
        used++;
    }
    return used == a->nkwargs;
}

/* Converts all arguments in place; false, with them half converted, if one does not pass. */
static bool validate(const struct function *fn, size_t nparams, struct call_args *a)
{
    bool multiple = nparams && fn->params[nparams - 1].flags & MULTIPLE;
    bool overfull = a->n + a->nkwargs > nparams;
    if (overfull && (!multiple || a->nkwargs))
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!valid(&fn->params[i < nparams ? i : nparams - 1], &a->v[i]))
            return false;
    return overfull || valid_kwargs(fn, nparams, a);
}

static struct call_args copy_args(struct query *q, const struct call_args *a)
{
    struct call_args c = *a;
    c.v = arena_alloc(q->arena, a->n * sizeof *c.v);
    c.kwargs = arena_alloc(q->arena, a->nkwargs * sizeof *c.kwargs);
    if (a->n)
        memcpy(c.v, a->v, a->n * sizeof *c.v);
    if (a->nkwargs)
        memcpy(c.kwargs, a->kwargs, a->nkwargs * sizeof *c.kwargs);
    return c;
}

static size_t count_params(const struct function *fn)
{
    size_t n = 0;
    while (n < PARAMS_MAX && fn->params[n].name)
        n++;
    return n;
}

static void bind_kwarg(struct call *c, size_t nparams, size_t npositional, const struct call_kwarg *k)
{
    for (size_t i = 0; i < nparams; i++) {
        const struct param *p = &c->fn->params[i];
        bool named = !strcmp(p->name, k->name) || (p->doc_name && !strcmp(p->doc_name, k->name));
        if (!named || p->flags & MULTIPLE)
            continue;
        if (i < npositional) {
            call_fail(c, "parameter '%s' is given twice", k->name);
            return;
        }
        c->args[i] = k->value;
        c->arg_nodes[i] = k->node;
        return;
    }
    call_fail(c, "there is no parameter '%.60s'", k->name);
}

static const char *type_words(enum param_type type)
{
    static const char *const words[] = {
        [P_BOOLEAN] = "true or false",
        [P_DATE] = "a time",
        [P_FLOAT] = "a number",
        [P_INTEGER] = "a whole number",
        [P_INTERVAL] = "an interval such as '10min'",
        [P_INT_OR_INTERVAL] = "a number of points or an interval such as '10min'",
        [P_INT_OR_INF] = "a whole number or inf",
        [P_NODE] = "the number of a path level, from 0",
        [P_NODE_OR_TAG] = "the number of a path level, from 0, or a tag",
        [P_SERIES_LIST] = "series",
        [P_SERIES_LISTS] = "lists of series, as mapSeries makes them",
        [P_STRING] = "a string",
        [P_TAG] = "a tag",
        [P_ANY] = "a value",
        [P_AGG_FUNC] = "an aggregation such as 'sum'",
        [P_AGG_OR_SERIES_FUNC] = "an aggregation such as 'sum' or a function",
    };
    return words[type];
}

void call_bind(struct call *c, const struct call_args *raw)
{
    struct query *q = c->q;
    size_t np = count_params(c->fn);
    struct call_args a = copy_args(q, raw);
    if (!validate(c->fn, np, &a))
        a = *raw;
    bool multiple = np && c->fn->params[np - 1].flags & MULTIPLE;
    size_t fixed = multiple ? np - 1 : np;
    c->args = arena_alloc(q->arena, (np + 1) * sizeof *c->args);
    c->arg_nodes = arena_alloc(q->arena, (np + 1) * sizeof *c->arg_nodes);
    memset(c->arg_nodes, 0, (np + 1) * sizeof *c->arg_nodes);
    for (size_t i = 0; i < np; i++)
        c->args[i] = c->fn->params[i].def;
    size_t npositional = a.n < fixed ? a.n : fixed;
    for (size_t i = 0; i < npositional; i++) {
        c->args[i] = a.v[i];
        c->arg_nodes[i] = a.nodes ? a.nodes[i] : NULL;
    }
    c->rest = a.v + npositional;
    c->nrest = a.n - npositional;
    if (c->nrest && !multiple) {
        call_fail(c, "expects at most %zu argument%s, got %zu", fixed, fixed == 1 ? "" : "s", a.n);
        return;
    }
    for (size_t i = 0; i < a.nkwargs && !q->failed; i++)
        bind_kwarg(c, np, npositional, &a.kwargs[i]);
    for (size_t i = npositional; i < fixed && !q->failed; i++)
        if (c->fn->params[i].flags & REQUIRED && c->fn->params[i].def.kind == V_NONE && !c->arg_nodes[i])
            call_fail(c, "parameter '%s' is missing; it expects %s", c->fn->params[i].name,
                      type_words(c->fn->params[i].type));
}

static void fail_at(struct query *q, const struct ast *node, const char *message)
{
    if (q->failed)
        return;
    q->failed = true;
    if (node)
        ast_error(q->err, ERR_INVALID, node->source, node->pos, message);
    else
        err_set(q->err, ERR_INVALID, "%s", message);
}

struct value call_fail(struct call *c, const char *fmt, ...)
{
    char message[300];
    int n = snprintf(message, sizeof message, "%s(): ", c->fn->name);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message + n, sizeof message - (size_t)n, fmt, ap);
    va_end(ap);
    fail_at(c->q, c->node, message);
    return value_of_list(list_new(c->q, 0));
}

void arg_fail(struct call *c, size_t i, const char *expected)
{
    if (c->q->failed)
        return;
    char message[300];
    snprintf(message, sizeof message, "%s(): parameter '%s' expects %s, not %.80s", c->fn->name,
             c->fn->params[i].name, expected ? expected : type_words(c->fn->params[i].type),
             c->args[i].kind == V_LIST ? "series" : value_text(c->q, &c->args[i]));
    fail_at(c->q, c->arg_nodes[i] ? c->arg_nodes[i] : c->node, message);
}

struct list *arg_list(struct call *c, size_t i)
{
    if (c->args[i].kind == V_LIST)
        return c->args[i].list;
    if (c->args[i].kind == V_STRING && !*c->args[i].s) /* as good as a list to Python */
        return list_new(c->q, 0);
    arg_fail(c, i, NULL);
    return list_new(c->q, 0);
}

double arg_number(struct call *c, size_t i)
{
    const struct value *v = &c->args[i];
    if (v->kind == V_FLOAT)
        return v->d;
    if (v->kind == V_INT || v->kind == V_BOOL)
        return (double)v->i;
    arg_fail(c, i, NULL);
    return 0;
}

int64_t arg_index(struct call *c, size_t i)
{
    const struct value *v = &c->args[i];
    if (v->kind == V_INT || v->kind == V_BOOL)
        return v->i;
    arg_fail(c, i, "a whole number");
    return 0;
}

int64_t arg_int(struct call *c, size_t i)
{
    const struct value *v = &c->args[i];
    int64_t n;
    if (v->kind == V_FLOAT && isfinite(v->d))
        return fabs(v->d) < 9e18 ? (int64_t)v->d : v->d < 0 ? INT64_MIN / 2 : INT64_MAX / 2;
    if (v->kind == V_STRING && parse_int(v->s, &n))
        return n;
    return arg_index(c, i);
}

const char *arg_string(struct call *c, size_t i)
{
    if (c->args[i].kind == V_STRING)
        return c->args[i].s;
    arg_fail(c, i, NULL);
    return "";
}

bool arg_true(const struct call *c, size_t i)
{
    const struct value *v = &c->args[i];
    switch (v->kind) {
    case V_NONE:
        return false;
    case V_BOOL:
    case V_INT:
        return v->i;
    case V_FLOAT:
        return v->d != 0;
    case V_STRING:
        return *v->s;
    case V_LIST:
        return v->list->n;
    case V_LISTS:
        return v->nlists;
    }
    return false;
}

const char *value_text(struct query *q, const struct value *v)
{
    char text[PYNUM_TEXT_MAX];
    switch (v->kind) {
    case V_NONE:
        return "None";
    case V_BOOL:
        return v->i ? "True" : "False";
    case V_INT:
        return query_printf(q, "%lld", (long long)v->i);
    case V_FLOAT:
        return arena_strndup(q->arena, text, pynum_repr(v->d, text));
    case V_STRING:
        return v->s;
    default:
        return "a list of series";
    }
}

struct list *rest_lists(struct call *c)
{
    struct list *all = list_new(c->q, 8);
    for (size_t i = 0; i < c->nrest; i++) {
        if (c->nrest == 1 && c->rest[i].kind == V_NONE)
            break;
        if (c->rest[i].kind != V_LIST) {
            call_fail(c, "expects series, not %.80s", value_text(c->q, &c->rest[i]));
            break;
        }
        for (size_t k = 0; k < c->rest[i].list->n; k++)
            list_add(c->q, all, c->rest[i].list->v[k]);
    }
    return all;
}
