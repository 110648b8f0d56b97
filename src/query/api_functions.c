/* /functions: what the language has, for editors of queries. */
#include "base/mem.h"
#include "query/agg.h"
#include "query/api_impl.h"
#include "query/eval.h"
#include "query/pynum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *type_name(enum param_type t)
{
    static const char *const names[] = {
        [P_BOOLEAN] = "boolean",
        [P_DATE] = "date",
        [P_FLOAT] = "float",
        [P_INTEGER] = "integer",
        [P_INTERVAL] = "interval",
        [P_INT_OR_INTERVAL] = "intOrInterval",
        [P_INT_OR_INF] = "intOrInf",
        [P_NODE] = "node",
        [P_NODE_OR_TAG] = "nodeOrTag",
        [P_SERIES_LIST] = "seriesList",
        [P_SERIES_LISTS] = "seriesLists",
        [P_STRING] = "string",
        [P_TAG] = "tag",
        [P_ANY] = "any",
        [P_AGG_FUNC] = "aggFunc",
        [P_AGG_OR_SERIES_FUNC] = "aggOrSeriesFunc",
    };
    return names[t];
}

/* A default as Python or as JSON writes it. */
static void put_value(struct buf *b, const struct value *v, bool json)
{
    char text[PYNUM_TEXT_MAX];
    switch (v->kind) {
    case V_BOOL:
        buf_puts(b, json ? (v->i ? "true" : "false") : (v->i ? "True" : "False"));
        break;
    case V_INT:
        buf_printf(b, "%lld", (long long)v->i);
        break;
    case V_FLOAT:
        pynum_repr(v->d, text);
        buf_puts(b, json && isinf(v->d) ? "1e9999" : text);
        break;
    case V_STRING:
        buf_printf(b, json ? "\"%s\"" : "'%s'", v->s);
        break;
    default:
        buf_puts(b, json ? "null" : "None");
    }
}

static void put_signature(struct buf *b, const struct function *f)
{
    buf_printf(b, "\"%s(", f->name);
    for (size_t i = 0; i < PARAMS_MAX && f->params[i].name; i++) {
        const struct param *p = &f->params[i];
        buf_printf(b, "%s%s%s", i ? ", " : "", p->flags & MULTIPLE ? "*" : "", p->name);
        if (p->flags & MULTIPLE || (p->flags & REQUIRED && p->def.kind == V_NONE))
            continue;
        buf_putc(b, '=');
        put_value(b, &p->def, false);
    }
    buf_puts(b, ")\"");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_options(struct buf *b, const struct param *p)
{
    const char *v[128];
    size_t n = 0, nf;
    const struct function *f = functions_all(&nf);
    for (const char *const *o = p->options; o && *o; o++)
        v[n++] = *o;
    if (p->type == P_AGG_FUNC || p->type == P_AGG_OR_SERIES_FUNC)
        for (const char *const *o = agg_names(); *o; o++)
            v[n++] = *o;
    for (size_t i = 0; p->type == P_AGG_OR_SERIES_FUNC && i < nf && n < ARRAY_LEN(v); i++)
        if (f[i].flags & AGGREGATES && !agg_find(f[i].name))
            v[n++] = f[i].name;
    if (!n)
        return;
    qsort(v, n, sizeof *v, by_text);
    buf_puts(b, ", \"options\": [");
    if (p->flags & ALSO_BOOLEAN)
        buf_puts(b, "false, null, true, ");
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s\"%s\"", i ? ", " : "", v[i]);
    buf_putc(b, ']');
}

static void put_param(struct buf *b, const struct param *p)
{
    buf_printf(b, "{\"name\": \"%s\", \"type\": \"%s\"", p->doc_name ? p->doc_name : p->name,
               type_name(p->type));
    if (p->flags & REQUIRED)
        buf_puts(b, ", \"required\": true");
    const struct value *def = p->doc_def.kind != V_NONE ? &p->doc_def : &p->def;
    if (!(p->flags & REQUIRED) && !p->no_doc_def && def->kind != V_NONE) {
        buf_puts(b, ", \"default\": ");
        put_value(b, def, true);
    }
    if (p->flags & MULTIPLE)
        buf_puts(b, ", \"multiple\": true");
    put_options(b, p);
    if (p->suggestions)
        buf_printf(b, ", \"suggestions\": %s", p->suggestions);
    buf_putc(b, '}');
}

static void put_function(struct buf *b, const struct function *f)
{
    buf_printf(b, "{\"name\": \"%s\", \"function\": ", f->name);
    put_signature(b, f);
    buf_puts(b, ", \"description\": ");
    buf_json_string(b, f->doc, strlen(f->doc));
    buf_printf(b, ", \"module\": \"carat\", \"group\": \"%s\", \"params\": [", f->group);
    for (size_t i = 0; i < PARAMS_MAX && f->params[i].name; i++) {
        buf_puts(b, i ? ", " : "");
        put_param(b, &f->params[i]);
    }
    buf_puts(b, "]}");
}

/* What a pie chart can show of a series. Carat draws none; clients ask all the same. */
static void put_pie(struct buf *b, const char *name)
{
    buf_printf(b,
               "{\"name\": \"%s\", \"function\": \"%s(series)\", \"description\": \"\", \"module\": "
               "\"carat\", \"group\": "
               "\"Pie\", \"params\": [{\"name\": \"series\", \"type\": \"series\", \"required\": true}]}",
               name, name);
}

static const char *const pies[] = {"average", "maximum", "minimum"};

static void list_pies(struct buf *b, const char *group, bool grouped)
{
    buf_puts(b, grouped && !group ? "{\"Pie\": {" : "{");
    for (size_t i = 0; i < ARRAY_LEN(pies) && (!group || !strcmp(group, "Pie")); i++) {
        buf_printf(b, "%s\"%s\": ", i ? ", " : "", pies[i]);
        put_pie(b, pies[i]);
    }
    buf_puts(b, grouped && !group ? "}}" : "}");
}

/* The functions of one group (NULL: all) as name: function. */
static bool put_group(struct buf *b, const char *group)
{
    size_t n;
    const struct function *f = functions_all(&n);
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (group && strcmp(group, f[i].group))
            continue;
        buf_printf(b, "%s\"%s\": ", any ? ", " : "", f[i].name);
        put_function(b, &f[i]);
        any = true;
    }
    return any;
}

static void list_grouped(struct buf *b, const char *only)
{
    size_t n;
    const struct function *f = functions_all(&n);
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        bool seen = only && strcmp(only, f[i].group);
        for (size_t k = 0; k < i && !seen; k++)
            seen = !strcmp(f[k].group, f[i].group);
        if (seen)
            continue;
        buf_printf(b, "%s\"%s\": {", any ? ", " : "", f[i].group);
        put_group(b, f[i].group);
        buf_putc(b, '}');
        any = true;
    }
}

static void show(struct buf *b, const char *name, bool pie, struct api_reply *reply)
{
    const struct function *f = pie ? NULL : function_find(name);
    for (size_t i = 0; pie && i < ARRAY_LEN(pies); i++) {
        if (!strcmp(pies[i], name)) {
            put_pie(b, name);
            return;
        }
    }
    if (f)
        put_function(b, f);
    else
        api_fail(reply, 404, "there is no function '%.60s'", name);
}

void api_functions(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    const char *name = r->path + strlen("/functions"), *type = api_get(r, "type"),
               *group = api_get(r, "group");
    const char *grouped = api_get(r, "grouped");
    bool pie = type && !strcmp(type, "pie"),
         by_group = grouped && (!strcmp(grouped, "1") || !strcasecmp(grouped, "true"));
    struct buf *b = &reply->body;
    name += *name == '/';
    if (strcmp(r->method, "GET")) {
        api_fail(reply, 405, "expected GET");
    } else if (*name) {
        show(b, name, pie, reply);
    } else if (pie) {
        list_pies(b, group, by_group);
    } else {
        buf_putc(b, '{');
        if (by_group)
            list_grouped(b, group);
        else
            put_group(b, group);
        buf_putc(b, '}');
    }
    api_wrap_jsonp(reply, api_get(r, "jsonp"));
}
