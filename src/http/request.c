#include "http/request.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

struct http_request *request_new(void)
{
    struct http_request *r = xcalloc(1, sizeof *r);
    r->arena.chunk_bytes = 2048;
    r->method = r->path = "";
    atomic_init(&r->refs, 1);
    pthread_mutex_init(&r->mtx, NULL);
    return r;
}

void request_unref(struct http_request *r)
{
    if (atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    buf_release(&r->body);
    buf_release(&r->allow);
    buf_release(&r->reply.body);
    if (r->reply.stream.next) /* it was never sent */
        r->reply.stream.free(r->reply.stream.ctx);
    arena_release(&r->arena);
    pthread_mutex_destroy(&r->mtx);
    free(r);
}

/* "http://host/path" is as good as "/path" (RFC 9112, 3.2.2). */
static const char *skip_authority(const char *target)
{
    if (strncasecmp(target, "http://", 7) && strncasecmp(target, "https://", 8))
        return target;
    const char *host = strstr(target, "://") + 3;
    size_t n = strcspn(host, "/?");
    return host[n] == '/' ? host + n : "/";
}

void request_set_target(struct http_request *r, const char *target)
{
    target = skip_authority(target);
    size_t path_len = strcspn(target, "?#");
    char *path = arena_alloc(&r->arena, path_len + 1);
    path[url_decode(target, path_len, false, path)] = '\0';
    r->path = path;
    if (url_parse_path(target, path_len, &r->arena, &r->levels, &r->malformed))
        return;
    const char *query = target + path_len;
    if (*query == '?' &&
        url_parse_args(query + 1, strcspn(query + 1, "#"), HTTP_MAX_ARGS, &r->arena, &r->args, &r->malformed))
        r->args.n = 0;
}

void request_set_route(struct http_request *r, const struct route *route)
{
    r->route = route;
    for (size_t i = 0; route && i < route->pattern.n; i++)
        if (*route->pattern.level[i] == ':')
            r->var[r->nvars++] = r->levels.level[i];
}

void request_parse_form(struct http_request *r)
{
    static const char form[] = "application/x-www-form-urlencoded";
    const char *type = http_header(r, "Content-Type");
    size_t n = type ? strcspn(type, "; \t") : 0;
    if (r->malformed.code || n != sizeof form - 1 || strncasecmp(type, form, n))
        return;
    if (url_parse_args((const char *)r->body.data, r->body.len, HTTP_MAX_ARGS, &r->arena, &r->args,
                       &r->malformed))
        r->args.n = 0;
}

const char *http_method(const struct http_request *r)
{
    return r->method;
}

const char *http_path(const struct http_request *r)
{
    return r->path;
}

const char *http_path_var(const struct http_request *r, unsigned i)
{
    assert(i < r->nvars);
    return r->var[i];
}

const char *http_arg_at(const struct http_request *r, const char *name, unsigned i)
{
    for (size_t k = 0; k < r->args.n; k++)
        if (!strcmp(r->args.v[k].name, name) && i-- == 0)
            return r->args.v[k].value;
    return NULL;
}

const char *http_arg(const struct http_request *r, const char *name)
{
    return http_arg_at(r, name, 0);
}

int http_arg_each(const struct http_request *r, unsigned i, const char **name, const char **value)
{
    if (i >= r->args.n)
        return 1;
    *name = r->args.v[i].name;
    *value = r->args.v[i].value;
    return 0;
}

const char *http_header(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->headers.n; i++)
        if (!strcasecmp(r->headers.v[i].name, name))
            return r->headers.v[i].value;
    return NULL;
}

const uint8_t *http_body(const struct http_request *r, size_t *n)
{
    *n = r->body.len;
    return r->body.data ? r->body.data : (const uint8_t *)"";
}

bool http_client_gone(struct http_request *r)
{
    char byte;
    ssize_t n = 1;
    pthread_mutex_lock(&r->mtx);
    bool gone = r->state == REQUEST_ABANDONED;
    if (r->state == REQUEST_RUNNING || r->state == REQUEST_WAITING) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        n = info ? recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) : 1;
        gone = n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    }
    pthread_mutex_unlock(&r->mtx);
    return gone;
}

/* A header value on one line, whatever words went into it. */
static const char *one_line(struct arena *arena, const char *value)
{
    char *p = arena_strndup(arena, value, strlen(value));
    for (char *c = p; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    return p;
}

void http_reply_header(struct http_request *r, const char *name, const char *value)
{
    pthread_mutex_lock(&r->mtx);
    assert(r->state != REQUEST_REPLIED);
    if (r->state != REQUEST_ABANDONED)
        http_pairs_add(&r->reply.headers, &r->arena, one_line(&r->arena, name), one_line(&r->arena, value));
    pthread_mutex_unlock(&r->mtx);
}

/* One of the two is the body. */
static void reply(struct http_request *r, unsigned status, const char *content_type, struct buf *body,
                  const struct http_stream *stream)
{
    pthread_mutex_lock(&r->mtx);
    assert(r->state == REQUEST_RUNNING || r->state == REQUEST_WAITING || r->state == REQUEST_ABANDONED);
    bool abandoned = r->state == REQUEST_ABANDONED;
    if (!abandoned) {
        r->reply.status = status;
        r->reply.content_type = content_type;
        if (body) {
            r->reply.body = *body;
            *body = (struct buf)BUF_INIT;
        }
        if (stream)
            r->reply.stream = *stream;
        /* Under the lock: once it is released the server may be stopped, and the connection gone. */
        if (r->state == REQUEST_WAITING)
            MHD_resume_connection(r->connection);
        r->state = REQUEST_REPLIED;
    }
    pthread_mutex_unlock(&r->mtx);
    if (abandoned && body)
        buf_release(body);
    if (abandoned && stream)
        stream->free(stream->ctx);
    request_unref(r);
}

void http_reply(struct http_request *r, unsigned status, const char *content_type, struct buf *body)
{
    reply(r, status, content_type, body, NULL);
}

void http_reply_stream(struct http_request *r, unsigned status, const char *content_type,
                       const struct http_stream *body)
{
    reply(r, status, content_type, NULL, body);
}

void http_reply_error(struct http_request *r, unsigned status, const char *fmt, ...)
{
    struct buf body = BUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    char words[1024];
    int n = vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    buf_puts(&body, "{\"error\":{\"message\":");
    buf_json_string(&body, words, n < (int)sizeof words ? (size_t)n : sizeof words - 1);
    buf_puts(&body, "}}");
    http_reply(r, status, "application/json", &body);
}
