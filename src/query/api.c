#include "base/mem.h"
#include "query/api_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *api_get(const struct api_request *r, const char *name)
{
    for (size_t i = r->nargs; i--;)
        if (!strcmp(r->args[i].name, name))
            return r->args[i].value;
    return NULL;
}

bool api_is(const struct api_request *r, const char *name, const char *value)
{
    const char *given = api_get(r, name);
    return given && !strcmp(given, value);
}

static size_t collect(const struct api_request *r, const char *name, const char *suffix, const char **out)
{
    size_t n = 0, len = strlen(name);
    for (size_t i = 0; i < r->nargs; i++)
        if (!strncmp(r->args[i].name, name, len) && !strcmp(r->args[i].name + len, suffix))
            out[n++] = r->args[i].value;
    return n;
}

const char *const *api_list(const struct api_request *r, const char *name, struct arena *a, size_t *n)
{
    const char **v = arena_alloc(a, (r->nargs + 1) * sizeof *v);
    *n = collect(r, name, "", v);
    if (!*n)
        *n = collect(r, name, "[]", v);
    return v;
}

bool api_int(const struct api_request *r, const char *name, int64_t def, int64_t *out)
{
    const char *text = api_get(r, name);
    char *end;
    *out = def;
    if (!text)
        return true;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && !*end && !errno;
}

void api_fail(struct api_reply *reply, unsigned status, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    reply->status = status;
    reply->content_type = NULL;
    buf_clear(&reply->body);
    buf_puts(&reply->body, text);
}

void api_fail_err(struct api_reply *reply, const struct err *err)
{
    unsigned status = err->code == ERR_INVALID || err->code == ERR_LIMIT || err->code == ERR_UNSUPPORTED ? 400
                      : err->code == ERR_NOT_FOUND                                                       ? 404
                      : err->code == ERR_CLOSED ? API_CLIENT_GONE
                                                : 503;
    api_fail(reply, status, "%s", err->text);
}

void api_wrap_jsonp(struct api_reply *reply, const char *function)
{
    if (!function || reply->status != 200)
        return;
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s(", function);
    buf_append(&b, reply->body.data, reply->body.len);
    buf_putc(&b, ')');
    buf_release(&reply->body);
    reply->body = b;
    reply->content_type = "text/javascript";
}

/* Grafana asks for events to mark in its graphs: there are none. */
static void api_events(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    if (strcmp(r->method, "GET")) {
        api_fail(reply, 501, "Carat keeps no events");
        return;
    }
    buf_puts(&reply->body, "[]");
    api_wrap_jsonp(reply, api_get(r, "jsonp"));
}

bool api_answer(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    static const struct {
        const char *path;
        api_fn fn;
        bool below; /* also everything under it */
    } routes[] = {
        {"/render", api_render, false},         {"/metrics/find", api_find, false},
        {"/metrics/expand", api_expand, false}, {"/metrics/index.json", api_index, false},
        {"/metrics", api_find, false},          {"/tags", api_tags, true},
        {"/functions", api_functions, true},    {"/events", api_events, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        size_t n = strlen(routes[i].path);
        if (strncmp(r->path, routes[i].path, n))
            continue;
        const char *rest = r->path + n;
        if (*rest && strcmp(rest, "/") && !(routes[i].below && *rest == '/'))
            continue;
        *reply = (struct api_reply){.status = 200, .content_type = "application/json"};
        routes[i].fn(env, r, reply);
        return true;
    }
    return false;
}
