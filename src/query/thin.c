#include "query/thin.h"

#include "base/mem.h"

#include <string.h>

/* Functions that hand the values of their series on as they are. `consolidation` is the place of the
 * parameter that names one; -1: none, 0: it is always sum. */
static const struct passing {
    const char *name;
    int consolidation;
} passing[] = {
    {"alias", -1},        {"aliasByMetric", -1},   {"aliasByNode", -1},    {"aliasByTags", -1},
    {"aliasSub", -1},     {"alpha", -1},           {"color", -1},          {"consolidateBy", 1},
    {"cumulative", 0},    {"dashed", -1},          {"drawAsInfinite", -1}, {"exclude", -1},
    {"grep", -1},         {"group", -1},           {"limit", -1},          {"lineWidth", -1},
    {"secondYAxis", -1},  {"setXFilesFactor", -1}, {"sortByName", -1},     {"substr", -1},
    {"xFilesFactor", -1},
};

struct walk {
    bool chosen; /* consolidation is that of the outermost consolidateBy */
    enum aggregation consolidation;
};

static const struct passing *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(passing); i++)
        if (!strcmp(passing[i].name, name))
            return &passing[i];
    return NULL;
}

static bool is_literal(const struct ast *a)
{
    return a->kind != AST_PATH && a->kind != AST_CALL && a->kind != AST_TEMPLATE && a->kind != AST_PIPE;
}

static bool consolidation_named(const struct ast *name, enum aggregation *out)
{
    static const struct {
        const char *name;
        enum aggregation is;
    } names[] = {{"average", AGGREGATION_AVERAGE}, {"avg", AGGREGATION_AVERAGE}, {"sum", AGGREGATION_SUM},
                 {"min", AGGREGATION_MIN},         {"max", AGGREGATION_MAX},     {"last", AGGREGATION_LAST}};
    for (size_t i = 0; name && name->kind == AST_STRING && i < ARRAY_LEN(names); i++)
        if (!strcmp(names[i].name, name->text)) {
            *out = names[i].is;
            return true;
        }
    return false;
}

/* consolidateBy(x, 'max'), x|consolidateBy('max'), consolidateBy(x, consolidationFunc='max'). */
static bool choose(struct walk *w, const struct ast *call, const struct passing *p, bool piped)
{
    if (w->chosen)
        return true; /* one further out counts */
    w->chosen = true;
    w->consolidation = AGGREGATION_SUM;
    if (p->consolidation == 0)
        return true;
    size_t at = (size_t)p->consolidation - piped;
    const struct ast *name = at < call->nargs ? call->args[at] : call->nkwargs ? call->kwargs[0].value : NULL;
    return consolidation_named(name, &w->consolidation);
}

/* `left`: calls of a pipe that are left; of nothing else it means anything. */
static bool passes(struct walk *w, const struct ast *a, size_t left, bool branched);

static bool are_literals(const struct ast_kwarg *v, size_t n)
{
    while (n && is_literal(v[n - 1].value))
        n--;
    return n == 0;
}

/* `pipe` is NULL, or gives the call its first argument from its first `left` calls. */
static bool call_passes(struct walk *w, const struct ast *a, const struct ast *pipe, size_t left,
                        bool branched)
{
    if (!strcmp(a->text, "seriesByTag"))
        return !pipe;
    const struct passing *p = find(a->text);
    /* In one branch of several a consolidateBy is not everybody's. */
    if (!p || (p->consolidation >= 0 && branched && !w->chosen) ||
        (p->consolidation >= 0 && !choose(w, a, p, pipe)) || !are_literals(a->kwargs, a->nkwargs))
        return false;
    size_t inner = pipe != NULL;
    for (size_t i = 0; i < a->nargs; i++)
        inner += !is_literal(a->args[i]);
    branched = branched || inner > 1;
    if (pipe && !passes(w, pipe, left, branched))
        return false;
    for (size_t i = 0; i < a->nargs; i++)
        if (!is_literal(a->args[i]) && !passes(w, a->args[i], a->args[i]->pipes_left, branched))
            return false;
    return true;
}

static bool passes(struct walk *w, const struct ast *a, size_t left, bool branched)
{
    switch (a->kind) {
    case AST_PATH:
        return true;
    case AST_CALL:
        return call_passes(w, a, NULL, 0, branched);
    case AST_PIPE:
        if (!left)
            return passes(w, a->args[0], a->args[0]->pipes_left, branched);
        return a->args[left]->kind == AST_CALL && call_passes(w, a->args[left], a, left - 1, branched);
    default:
        return false;
    }
}

struct thinning thin_target(const struct ast *target, int64_t max_points)
{
    struct walk w = {.consolidation = AGGREGATION_AVERAGE};
    bool can = max_points > 0 && passes(&w, target, target->pipes_left, false);
    return (struct thinning){can ? max_points : 0, w.consolidation};
}
