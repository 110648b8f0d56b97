#include "http/api_delete.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WAITING_MAX 64

struct waiting {
    struct http_request *request;
    bool by_names;
};

struct api_delete {
    struct api_delete_options o;
    pthread_t thread;
    bool started;
    pthread_mutex_t mtx;
    pthread_cond_t wake;
    /* under mtx */
    struct waiting waiting[WAITING_MAX]; /* a ring */
    unsigned first, n;
    bool stopping;
};

/* --- one request --- */

static void reply_err(struct http_request *r, const struct err *err)
{
    unsigned status = err->code == ERR_INVALID       ? 400
                      : err->code == ERR_NOT_FOUND   ? 404
                      : err->code == ERR_BUSY        ? 429
                      : err->code == ERR_UNSUPPORTED ? 501
                                                     : 503;
    if (status == 429 || status == 503)
        http_reply_header(r, "Retry-After", "10");
    http_reply_error(r, status, "%s", err->text);
}

static bool is_json(const struct http_request *r)
{
    static const char json[] = "application/json";
    const char *type = http_header(r, "Content-Type");
    size_t n = strlen(json);
    return type && !strncasecmp(type, json, n) && (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

/* A browser says of which site the page is that posts a form. Only pages of this server may. */
static bool is_other_site(const struct http_request *r)
{
    const char *origin = http_header(r, "Origin"), *host = http_header(r, "Host");
    const char *at = origin ? strstr(origin, "://") : NULL;
    return origin && (!at || !host || strcasecmp(at + 3, host) != 0);
}

static void answer_request(struct api_delete *a, struct http_request *r)
{
    struct err err = ERR_INIT;
    struct buf json = BUF_INIT;
    size_t n;
    const char *body = (const char *)http_body(r, &n);
    if (a->o.request(a->o.ctx, body ? body : "", n, &json, &err) == OK)
        http_reply(r, 200, "application/json", &json);
    else
        reply_err(r, &err);
    buf_release(&json);
}

static const char **paths_of(const struct http_request *r, size_t *n)
{
    static const char *const keys[] = {"path", "path[]"};
    const char **v = NULL, *one;
    *n = 0;
    for (size_t k = 0; k < ARRAY_LEN(keys); k++)
        for (unsigned i = 0; (one = http_arg_at(r, keys[k], i)); i++) {
            v = xrealloc(v, (*n + 1) * sizeof *v);
            v[(*n)++] = one;
        }
    return v;
}

static void answer_names(struct api_delete *a, struct http_request *r)
{
    struct err err = ERR_INIT;
    size_t n;
    const char **paths = paths_of(r, &n);
    if (!n) {
        http_reply_error(r, 400, "argument 'path' is missing: expected the name of a series");
    } else if (a->o.names(a->o.ctx, paths, n, &err) == OK) {
        struct buf b = BUF_INIT;
        buf_puts(&b, "true");
        http_reply(r, 200, "application/json", &b);
    } else {
        reply_err(r, &err);
    }
    free(paths);
}

/* --- the queue --- */

static bool take(struct api_delete *a, struct waiting *out)
{
    pthread_mutex_lock(&a->mtx);
    while (!a->n && !a->stopping)
        pthread_cond_wait(&a->wake, &a->mtx);
    bool any = a->n > 0;
    if (any) {
        *out = a->waiting[a->first];
        a->first = (a->first + 1) % WAITING_MAX;
        a->n--;
    }
    pthread_mutex_unlock(&a->mtx);
    return any;
}

static void *delete_main(void *arg)
{
    struct api_delete *a = arg;
    for (struct waiting w; take(a, &w);)
        if (w.by_names)
            answer_names(a, w.request);
        else
            answer_request(a, w.request);
    return NULL;
}

static void enqueue(struct api_delete *a, struct http_request *r, bool by_names)
{
    pthread_mutex_lock(&a->mtx);
    bool refused = a->stopping || a->n == WAITING_MAX;
    if (!refused) {
        a->waiting[(a->first + a->n++) % WAITING_MAX] = (struct waiting){r, by_names};
        pthread_cond_signal(&a->wake);
    }
    pthread_mutex_unlock(&a->mtx);
    if (!refused)
        return;
    http_reply_header(r, "Retry-After", "10");
    http_reply_error(r, 503, "too many deletions are waiting, or the server is stopping");
}

static void post_request(void *ctx, struct http_request *r)
{
    if (is_json(r))
        enqueue(ctx, r, false);
    else
        http_reply_error(r, 415, "Content-Type: application/json is expected");
}

static void post_names(void *ctx, struct http_request *r)
{
    if (is_other_site(r))
        http_reply_error(r, 403, "pages of other sites may not delete here");
    else
        enqueue(ctx, r, true);
}

int api_delete_new(const struct api_delete_options *o, struct api_delete **out, struct err *err)
{
    struct api_delete *a = xcalloc(1, sizeof *a);
    a->o = *o;
    pthread_mutex_init(&a->mtx, NULL);
    pthread_cond_init(&a->wake, NULL);
    int errnum = pthread_create(&a->thread, NULL, delete_main, a);
    a->started = errnum == 0;
    if (errnum) {
        api_delete_free(a);
        return err_sys(err, ERR_FAILED, errnum, "cannot start a thread for deletions");
    }
    *out = a;
    return OK;
}

void api_delete_routes(struct api_delete *a, struct http_server *s)
{
    http_server_route(s, "POST", "/api/v1/delete", post_request, a);
    http_server_route(s, "POST", "/tags/delSeries", post_names, a);
}

void api_delete_stop(struct api_delete *a)
{
    struct waiting left[WAITING_MAX];
    unsigned n = 0;
    pthread_mutex_lock(&a->mtx);
    for (; a->n; a->n--, a->first = (a->first + 1) % WAITING_MAX)
        left[n++] = a->waiting[a->first];
    a->stopping = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->mtx);
    for (unsigned i = 0; i < n; i++)
        http_reply_error(left[i].request, 503, "the server is stopping");
    if (a->started)
        pthread_join(a->thread, NULL);
    a->started = false;
}

void api_delete_free(struct api_delete *a)
{
    if (!a)
        return;
    api_delete_stop(a);
    pthread_cond_destroy(&a->wake);
    pthread_mutex_destroy(&a->mtx);
    free(a);
}
