#include "aws/transport.h"

#include "base/hash.h"
#include "base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_HEADERS_MAX (64u << 10)
#define REFUSAL_MAX        (64u << 10) /* what a service says when it refuses, whatever was asked */
#define IDLE_MAX           64          /* easy handles kept for reuse */
#define IDS_MAX            1024        /* request ids of answers that are remembered */

struct curl_transport {
    struct aws_transport base;
    CURLM *multi;
    char *ca_file;
    CURL *idle[IDLE_MAX];
    size_t nidle;
    uint64_t ids[IDS_MAX]; /* hashes; a place each */
};

/* A request under way; the handle's private pointer. */
struct transfer {
    struct curl_transport *of;
    struct aws_exchange *x;
    CURL *easy;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    bool too_long, twice;
    unsigned sent; /* libcurl repeats by itself what a connection that was kept has swallowed */
    bool whole_head, has_length, has_id; /* of the answer's head */
};

static const struct aws_transport_ops curl_ops;

static struct curl_transport *of(struct aws_transport *t)
{
    assert(t->ops == &curl_ops);
    return container_of(t, struct curl_transport, base);
}

bool aws_header(const struct buf *headers, const char *name, char *out, size_t cap)
{
    const char *p = (const char *)headers->data, *end = p + headers->len;
    size_t n = strlen(name);
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t len = (size_t)((eol ? eol : end) - p);
        if (len > n + 1 && !memcmp(p, name, n) && p[n] == ':') {
            const char *v = p + n + 1;
            while (*v == ' ')
                v++;
            snprintf(out, cap, "%.*s", (int)(p + len - v), v);
            return true;
        }
        p += len + 1;
    }
    return false;
}

/* --- what libcurl calls --- */

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    size_t max = t->x->answer_max;
    if (status / 100 != 2 && max < REFUSAL_MAX)
        max = REFUSAL_MAX;
    if (t->x->answer.len + size * n > max) {
        t->too_long = true;
        return 0;
    }
    buf_append(&t->x->answer, data, size * n);
    return size * n;
}

/* Every answer has an id of its own. One seen before is a copy, and what follows on its connection are the
 * answers to the requests before each: it must not be used again. */
static bool seen_before(struct transfer *t, const char *line, size_t len)
{
    static const char *const names[] = {"x-amzn-requestid:", "x-amz-request-id:"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t n = strlen(names[i]);
        if (t->has_id || len <= n || memcmp(line, names[i], n) != 0)
            continue;
        t->has_id = true;
        uint64_t id = hash_bytes(line + n, len - n), *place = &t->of->ids[id % IDS_MAX];
        if (*place == id)
            return true;
        *place = id;
    }
    return false;
}

static bool begins(const char *line, size_t len, const char *with)
{
    return len >= strlen(with) && !memcmp(line, with, strlen(with));
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    struct buf *h = &t->x->answer_headers;
    size_t len = size * n, all = len;
    if (begins(data, len, "HTTP/")) { /* of an answer after "100 Continue", too */
        buf_clear(h);
        t->whole_head = t->has_length = t->has_id = false;
        return all;
    }
    while (len && isspace((unsigned char)data[len - 1]))
        len--;
    t->whole_head |= !len;
    char *colon = memchr(data, ':', len);
    if (!colon)
        return all;
    for (char *p = data; p < colon; p++)
        *p = (char)tolower((unsigned char)*p);
    t->has_length |= begins(data, len, "content-length:") || begins(data, len, "transfer-encoding:");
    t->twice |= seen_before(t, data, len);
    if (t->twice || h->len + len > ANSWER_HEADERS_MAX)
        return 0; /* ends it and its connection */
    buf_append(h, data, len);
    buf_putc(h, '\n');
    return all;
}

static int on_send(void *ctx, char *ip, char *own_ip, int port, int own_port)
{
    struct transfer *t = ctx;
    (void)ip, (void)own_ip, (void)port, (void)own_port;
    t->sent++;
    return CURL_PREREQFUNC_OK;
}

/* --- one exchange --- */

static CURL *take_handle(struct curl_transport *c)
{
    CURL *easy = c->nidle ? c->idle[--c->nidle] : curl_easy_init();
    assert(easy);
    curl_easy_reset(easy);
    return easy;
}

static void set_method(CURL *easy, const struct aws_exchange *x)
{
    if (!strcmp(x->method, "HEAD")) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (x->body_len || strcmp(x->method, "GET") != 0) {
        /* With a length of 0 as well: a PUT needs its Content-Length. */
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, x->body_len ? x->body : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body_len);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, x->method);
}

static struct curl_slist *header_list(const struct aws_exchange *x)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    bool typed = false;
    for (const char *p = x->headers, *end = p + x->headers_len; p < end; p += strlen(p) + 1) {
        list = curl_slist_append(list, p);
        typed = typed || !strncmp(p, "content-type:", 13);
    }
    if (!typed)
        list = curl_slist_append(list, "Content-Type:"); /* not that of a form */
    assert(list);
    return list;
}

static void curl_start(struct aws_transport *base, struct aws_exchange *x)
{
    struct curl_transport *c = of(base);
    struct transfer *t = xcalloc(1, sizeof *t);
    CURL *easy = take_handle(c);
    t->of = c;
    t->x = x;
    t->easy = easy;
    t->headers = header_list(x);
    x->own = t;
    curl_easy_setopt(easy, CURLOPT_URL, x->url);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)x->connect_ms);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)x->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)((x->silence_ms + 999) / 1000));
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "carat/" CARAT_VERSION);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    if (c->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, c->ca_file);
    set_method(easy, x);
    curl_multi_add_handle(c->multi, easy);
}

static void release(struct curl_transport *c, struct transfer *t)
{
    curl_multi_remove_handle(c->multi, t->easy);
    curl_slist_free_all(t->headers);
    if (c->nidle < IDLE_MAX) {
        curl_easy_reset(t->easy); /* it must not point to anything of this exchange */
        c->idle[c->nidle++] = t->easy;
    } else {
        curl_easy_cleanup(t->easy);
    }
    free(t);
}

static int code_of(CURLcode code, bool too_long)
{
    return code == CURLE_OK                   ? OK
           : too_long                         ? ERR_LIMIT
           : code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT
                                              : ERR_IO;
}

static bool cut_short(const struct transfer *t, const struct aws_exchange *x)
{
    bool bodyless = !strcmp(x->method, "HEAD") || x->http_status == 204 || x->http_status == 304;
    return !t->whole_head || (!t->has_length && !bodyless);
}

static struct aws_exchange *finish(struct curl_transport *c, struct transfer *t, CURLcode code)
{
    struct aws_exchange *x = t->x;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    x->http_status = (int)status;
    x->code = code_of(code, t->too_long);
    x->unsent = t->sent == 0;
    x->resent = t->sent > 1;
    if (t->twice)
        snprintf(x->why, sizeof x->why, "the answer to another request came");
    else if (x->code != OK)
        snprintf(x->why, sizeof x->why, "%.150s", t->error[0] ? t->error : curl_easy_strerror(code));
    else if (cut_short(t, x)) { /* libcurl takes the end of the connection for the end of an answer */
        x->code = ERR_IO;
        snprintf(x->why, sizeof x->why, "the answer was cut short, or has no length");
    }
    x->own = NULL;
    release(c, t);
    return x;
}

static struct aws_exchange *ended(struct curl_transport *c)
{
    int left;
    CURLMsg *m;
    while ((m = curl_multi_info_read(c->multi, &left))) {
        struct transfer *t = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        return finish(c, t, code);
    }
    return NULL;
}

static struct aws_exchange *curl_next(struct aws_transport *base, int64_t wait_ms)
{
    struct curl_transport *c = of(base);
    int running;
    struct aws_exchange *x = ended(c);
    if (x)
        return x;
    curl_multi_perform(c->multi, &running);
    if ((x = ended(c)))
        return x;
    curl_multi_poll(c->multi, NULL, 0, (int)(wait_ms > 60000 ? 60000 : wait_ms), NULL);
    curl_multi_perform(c->multi, &running);
    return ended(c);
}

static void curl_cancel(struct aws_transport *base, struct aws_exchange *x)
{
    struct transfer *t = x->own;
    x->own = NULL;
    release(of(base), t);
}

static void curl_wake(struct aws_transport *base)
{
    curl_multi_wakeup(of(base)->multi);
}

static void curl_free_transport(struct aws_transport *base)
{
    struct curl_transport *c = of(base);
    while (c->nidle)
        curl_easy_cleanup(c->idle[--c->nidle]);
    curl_multi_cleanup(c->multi);
    free(c->ca_file);
    free(c);
}

static const struct aws_transport_ops curl_ops = {
    .start = curl_start,
    .next = curl_next,
    .cancel = curl_cancel,
    .wake = curl_wake,
    .free = curl_free_transport,
};

static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

int aws_transport_curl_new(const struct aws_transport_options *o, struct aws_transport **out, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    struct curl_transport *c = xcalloc(1, sizeof *c);
    c->base.ops = &curl_ops;
    c->multi = curl_multi_init();
    if (!c->multi) {
        free(c);
        return err_set(err, ERR_FAILED, "libcurl does not start");
    }
    c->ca_file = o->ca_file && *o->ca_file ? xstrdup(o->ca_file) : NULL;
    curl_multi_setopt(c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)o->connections);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)o->connections);
    *out = &c->base;
    return OK;
}
