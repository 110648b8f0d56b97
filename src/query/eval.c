/* Evaluation of target trees.
 *
 * Two habits of graphite-web show in its answers and are kept. It reads ahead the paths among positional
 * arguments only: a path given by name (f(x, total=a.b)) is empty unless the same path is also read
 * elsewhere. And a piped expression uses up its calls as it is evaluated: when a function such as
 * movingAverage evaluates its first argument again, what was piped into it is gone from that. */
#include "base/clock.h"
#include "base/mem.h"
#include "query/call.h"
#include "query/fetch.h"
#include "query/functions.h"
#include "query/pynum.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVAL_DEPTH_MAX = 200 };

/* Values for $name inside a template. */
struct replacements {
    const char *const *names;
    const struct value *values;
    size_t n;
};

static struct value eval(struct query *q, struct scope *scope, struct ast *a, const struct replacements *r,
                         struct ast *piped);

/* --- templates --- */

static const char *replace_all(struct query *q, const char *text, const char *name, const char *with)
{
    struct buf b = BUF_INIT;
    size_t len = strlen(name);
    for (const char *p = text; *p;) {
        if (*p == '$' && !strncmp(p + 1, name, len)) {
            buf_puts(&b, with);
            p += 1 + len;
        } else {
            buf_putc(&b, *p++);
        }
        if (b.len > 64 << 10) {
            query_fail(q, ERR_LIMIT, "a template's path gets too long");
            break;
        }
    }
    const char *out = arena_strndup(q->arena, b.len ? (char *)b.data : "", b.len);
    buf_release(&b);
    return out;
}

static bool looks_numeric(const char *s)
{
    s += *s == '-';
    return *s && s[strspn(s, "0123456789.")] == '\0';
}

/* A path that is a variable and nothing else is the variable's value, not a path. */
static bool whole_variable(struct query *q, const struct ast *a, const struct replacements *r,
                           struct value *out)
{
    for (size_t i = 0; r && i < r->n; i++) {
        if (a->text[0] != '$' || strcmp(a->text + 1, r->names[i]))
            continue;
        *out = r->values[i];
        if (out->kind == V_STRING && looks_numeric(out->s)) {
            double d;
            if (!pynum_parse(out->s, &d))
                query_fail(q, ERR_INVALID, "template(): '%.60s' is no number", out->s);
            *out = (struct value){.kind = V_FLOAT, .d = d};
        }
        return true;
    }
    return false;
}

static const char *replaced_path(struct query *q, const struct ast *a, const struct replacements *r)
{
    const char *path = a->text;
    for (size_t i = 0; r && i < r->n && !q->failed; i++)
        if (path[0] != '$' || strcmp(path + 1, r->names[i]))
            path = replace_all(q, path, r->names[i], value_text(q, &r->values[i]));
    return path;
}

static struct value eval_literal(const struct ast *a)
{
    switch (a->kind) {
    case AST_INT: {
        bool fits = fabs(a->d) < 9e18;
        return (struct value){.kind = fits ? V_INT : V_FLOAT, .i = a->i, .d = a->d};
    }
    case AST_FLOAT:
        return (struct value){.kind = V_FLOAT, .d = a->d};
    case AST_STRING:
        return (struct value){.kind = V_STRING, .s = a->text};
    case AST_BOOL:
        return (struct value){.kind = V_BOOL, .i = a->i};
    case AST_INF:
        return (struct value){.kind = V_FLOAT, .d = INFINITY};
    default:
        return value_none();
    }
}

static void set_replacement(struct replacements *r, const char **names, struct value *values,
                            const char *name, struct value v)
{
    size_t i = 0;
    while (i < r->n && strcmp(names[i], name))
        i++;
    names[i] = name;
    values[i] = v;
    if (i == r->n)
        r->n++;
}

static struct replacements template_values(struct query *q, const struct ast *t)
{
    size_t max = t->nargs + t->nkwargs + q->request->nvariables;
    const char **names = arena_alloc(q->arena, max * sizeof *names);
    struct value *values = arena_alloc(q->arena, max * sizeof *values);
    struct replacements r = {names, values, 0};
    for (size_t i = 0; i < t->nkwargs; i++)
        set_replacement(&r, names, values, t->kwargs[i].name, eval_literal(t->kwargs[i].value));
    for (size_t i = 1; i < t->nargs; i++)
        set_replacement(&r, names, values, query_printf(q, "%zu", i), eval_literal(t->args[i]));
    for (size_t i = 0; i < q->request->nvariables; i++) {
        struct value v = {.kind = V_STRING, .s = q->request->variables[i].value};
        set_replacement(&r, names, values, q->request->variables[i].name, v);
    }
    return r;
}

/* --- reading ahead --- */

static void announce(struct query *q, struct scope *scope, struct ast *a, const struct replacements *r)
{
    struct replacements own;
    switch (a->kind) {
    case AST_TEMPLATE:
        own = template_values(q, a);
        announce(q, scope, a->args[0], &own);
        break;
    case AST_PIPE:
        for (size_t i = 0; i <= a->pipes_left; i++)
            announce(q, scope, a->args[i], r);
        break;
    case AST_PATH:
        fetch_announce(q, scope, replaced_path(q, a, r));
        break;
    case AST_CALL:
        if (!strcmp(a->text, "seriesByTag")) {
            fetch_announce(q, scope, arena_strndup(q->arena, a->source + a->pos, a->end - a->pos));
            break;
        }
        for (size_t i = 0; i < a->nargs; i++)
            announce(q, scope, a->args[i], r);
        break;
    default:
        break;
    }
}

/* --- evaluation --- */

static size_t edit_distance(const char *a, const char *b)
{
    enum { MAX = 32 };
    size_t n = strlen(a), m = strlen(b), row[MAX + 1];
    if (n > MAX || m > MAX)
        return MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + ((a[i - 1] | 32) != (b[j - 1] | 32));
            size_t insert = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < insert ? change : insert;
        }
    }
    return row[m];
}

static void fail_unknown(struct query *q, const struct ast *a)
{
    size_t n, best = 4;
    const struct function *f = functions_all(&n), *near = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = edit_distance(a->text, f[i].name);
        if (d < best) {
            best = d;
            near = &f[i];
        }
    }
    char message[200];
    snprintf(message, sizeof message, "there is no function '%.60s'%s%s%s", a->text,
             near ? "; did you mean '" : "", near ? near->name : "", near ? "'?" : "");
    if (!q->failed) {
        q->failed = true;
        ast_error(q->err, ERR_INVALID, a->source, a->pos, message);
    }
}

static struct value fetched(struct call *c, const char *path, bool defer)
{
    return value_of_list(defer ? fetch_deferred(c, path) : fetch_path(c, path));
}

static struct value invoke(struct call *c)
{
    bool empty = c->fn->flags & PASS_EMPTY && c->args[0].kind == V_LIST && !c->args[0].list->n;
    return empty ? value_of_list(list_new(c->q, 0)) : c->fn->fn(c);
}

static struct value eval_call(struct query *q, struct scope *scope, struct ast *a,
                              const struct replacements *r, struct ast *piped)
{
    struct value nothing = value_of_list(list_new(q, 0));
    const struct function *fn = function_find(a->text);
    if (!fn) {
        fail_unknown(q, a);
        return nothing;
    }
    struct call c = {.q = q, .scope = scope, .fn = fn, .node = a};
    bool defer = q->defer;
    q->defer = false;
    if (!strcmp(a->text, "seriesByTag"))
        return fetched(&c, arena_strndup(q->arena, a->source + a->pos, a->end - a->pos), defer);
    struct call_args args = {.n = a->nargs + (piped ? 1 : 0), .nkwargs = a->nkwargs};
    args.v = arena_alloc(q->arena, args.n * sizeof *args.v);
    args.nodes = arena_alloc(q->arena, args.n * sizeof *args.nodes);
    args.kwargs = arena_alloc(q->arena, a->nkwargs * sizeof *args.kwargs);
    for (size_t i = 0; i < args.n; i++)
        args.nodes[i] = !piped ? a->args[i] : i ? a->args[i - 1] : piped;
    for (size_t i = 0; i < args.n && !q->failed; i++) {
        q->defer = aggregate_streams(fn->fn);
        args.v[i] = eval(q, scope, args.nodes[i], r, NULL);
        q->defer = false;
    }
    for (size_t i = 0; i < a->nkwargs && !q->failed; i++) {
        struct ast *value = a->kwargs[i].value;
        args.kwargs[i] = (struct call_kwarg){a->kwargs[i].name, eval(q, scope, value, r, NULL), value};
    }
    if (q->failed)
        return nothing;
    c.arg0 = args.n ? args.nodes[0] : NULL;
    call_bind(&c, &args);
    return q->failed ? nothing : invoke(&c);
}

static struct value eval_path(struct query *q, struct scope *scope, struct ast *a,
                              const struct replacements *r)
{
    struct value v;
    bool defer = q->defer;
    q->defer = false;
    if (whole_variable(q, a, r, &v))
        return v;
    struct call c = {.q = q, .scope = scope, .node = a};
    return fetched(&c, replaced_path(q, a, r), defer);
}

static struct value eval_here(struct query *q, struct scope *scope, struct ast *a,
                              const struct replacements *r, struct ast *piped)
{
    struct replacements own;
    switch (a->kind) {
    case AST_TEMPLATE:
        own = template_values(q, a);
        return eval(q, scope, a->args[0], &own, NULL);
    case AST_PIPE:
        if (a->pipes_left)
            return eval(q, scope, a->args[a->pipes_left--], r, a);
        return eval(q, scope, a->args[0], r, NULL);
    case AST_CALL:
        return eval_call(q, scope, a, r, piped);
    case AST_PATH:
        return eval_path(q, scope, a, r);
    default:
        return eval_literal(a);
    }
}

static struct value eval(struct query *q, struct scope *scope, struct ast *a, const struct replacements *r,
                         struct ast *piped)
{
    struct value none = value_none();
    if (query_tick(q, 100))
        return none;
    if (q->depth >= EVAL_DEPTH_MAX) {
        query_fail(q, ERR_LIMIT, "functions are nested more than %d deep", EVAL_DEPTH_MAX);
        return none;
    }
    const struct ast *outer = q->at;
    q->depth++;
    if (a->kind == AST_CALL || a->kind == AST_PATH)
        q->at = a;
    struct value v = eval_here(q, scope, a, r, piped);
    q->at = outer;
    q->depth--;
    return v;
}

/* A value as what a target gives: series, or nothing. */
static struct list *as_series(struct query *q, const struct ast *a, struct value v)
{
    if (v.kind == V_LIST)
        return v.list;
    struct call c = {.q = q, .args = &v};
    if (arg_true(&c, 0) && !q->failed) {
        q->failed = true;
        ast_error(q->err, ERR_INVALID, a->source, a->pos, "the target gives a value that is no series");
    }
    return list_new(q, 0);
}

static struct list *eval_target(struct query *q, struct scope *scope, struct ast *a)
{
    announce(q, scope, a, NULL);
    return as_series(q, a, eval(q, scope, a, NULL, NULL));
}

struct list *call_again(struct call *c, struct scope *scope)
{
    if (!c->arg0) {
        call_fail(c, "the first argument must be series");
        return list_new(c->q, 0);
    }
    return eval_target(c->q, scope, c->arg0);
}

static bool is_blank(const char *s)
{
    return !s[strspn(s, " \t\r\n\v\f")];
}

struct list *eval_text(struct call *c, struct scope *scope, const char *target)
{
    struct ast *a;
    if (is_blank(target))
        return list_new(c->q, 0);
    struct err err = ERR_INIT;
    if (ast_parse(target, c->q->arena, &a, NULL, &err) < 0) {
        query_fail(c->q, err.code, "%s", err.text);
        return list_new(c->q, 0);
    }
    return eval_target(c->q, scope, a);
}

struct list *call_other(struct call *c, const struct function *fn, struct list *const *lists, size_t n)
{
    struct call other = {.q = c->q, .scope = c->scope, .fn = fn, .node = c->node, .arg0 = c->arg0};
    struct call_args args = {.n = n};
    args.v = arena_alloc(c->q->arena, n * sizeof *args.v);
    for (size_t i = 0; i < n; i++)
        args.v[i] = value_of_list(lists[i]);
    call_bind(&other, &args);
    if (c->q->failed)
        return list_new(c->q, 0);
    struct value v = invoke(&other);
    return v.kind == V_LIST ? v.list : list_new(c->q, 0);
}

static int parse_targets(struct query *q, struct ast **trees, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < q->request->ntargets; i++) {
        if (is_blank(q->request->targets[i]))
            continue;
        int rc = ast_parse(q->request->targets[i], q->arena, &trees[*n], NULL, q->err);
        if (rc < 0) {
            q->failed = true;
            return rc;
        }
        ++*n;
    }
    return OK;
}

static void run(struct query *q, struct query_result *out)
{
    const struct query_request *r = q->request;
    struct scope scope = {.start_s = r->from_s,
                          .end_s = r->until_s,
                          .now_s = r->now_s,
                          .zone = r->zone,
                          .x_files_factor = r->x_files_factor};
    struct ast **trees = arena_alloc(q->arena, (r->ntargets + 1) * sizeof *trees);
    struct list *all = list_new(q, 16);
    size_t n;
    if (parse_targets(q, trees, &n) < 0)
        return;
    struct thinning *thinning = arena_alloc(q->arena, (n + 1) * sizeof *thinning);
    for (size_t i = 0; i < n; i++) {
        scope.thinning = thinning[i] = thin_target(trees[i], q->limits.coarse_from ? r->max_points : 0);
        announce(q, &scope, trees[i], NULL);
    }
    for (size_t i = 0; i < n && !q->failed; i++) {
        scope.thinning = thinning[i];
        q->target = i + 1;
        q->reads = r->meta ? arena_alloc(q->arena, sizeof *q->reads) : NULL;
        if (q->reads)
            *q->reads = (struct query_reads){0};
        struct list *l = as_series(q, trees[i], eval(q, &scope, trees[i], NULL, NULL));
        for (size_t k = 0; k < l->n; k++) {
            l->v[k]->reads = l->v[k]->reads ? l->v[k]->reads : q->reads;
            list_add(q, all, l->v[k]);
        }
    }
    out->series = all->v;
    out->n = all->n;
}

static struct query_limits fill_limits(struct query_limits l)
{
    l.max_series = l.max_series ? l.max_series : 100000;
    l.max_points = l.max_points ? l.max_points : 50000000;
    l.max_ms = l.max_ms ? l.max_ms : 60000;
    l.max_bytes = l.max_bytes ? l.max_bytes : QUERY_MAX_BYTES;
    return l;
}

int query_run(const struct query_env *env, const struct query_request *r, struct query_result *out,
              struct err *err)
{
    struct err own = ERR_INIT;
    memset(out, 0, sizeof *out);
    struct query q = {.env = env, .request = r, .limits = fill_limits(env->limits), .arena = &out->arena};
    q.report = &out->report;
    q.err = err ? err : &own;
    int64_t now_us = clock_mono_us(clock_system());
    q.deadline_us = now_us + q.limits.max_ms * 1000;
    q.random = (uint64_t)now_us * 2654435761u + 1;
    run(&q, out);
    free(q.scratch);
    if (!q.failed)
        return OK;
    query_result_release(out);
    return q.err->code;
}

void query_result_release(struct query_result *r)
{
    arena_release(&r->arena);
    memset(r, 0, sizeof *r);
}
