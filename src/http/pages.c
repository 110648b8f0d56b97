#include "http/pages.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Nothing from elsewhere: no script, style, picture or connection but this server's. */
static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                             "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                             "frame-ancestors 'none'";

/* A coding that the client takes: its name in the list, without ";q=0". */
static bool takes_gzip(const struct http_request *r)
{
    const char *list = http_header(r, "Accept-Encoding");
    for (const char *at = list; at && *at;) {
        at += strspn(at, ", \t");
        size_t n = strcspn(at, ",");
        size_t name = strcspn(at, ",; \t");
        if (name == 4 && !strncasecmp(at, "gzip", 4)) {
            const char *q = memmem(at, n, "q=", 2);
            return !q || strspn(q + 2, "0.") != strcspn(q + 2, ", \t");
        }
        at += n;
    }
    return false;
}

static void reply_page(void *ctx, struct http_request *r)
{
    const struct page *p = ctx;
    const char *known = http_header(r, "If-None-Match");
    bool zipped = p->zipped && takes_gzip(r);
    char tag[40];
    /* Two representations, two tags. */
    snprintf(tag, sizeof tag, "\"%.24s%s\"", p->tag, zipped ? "-gz" : "");
    http_reply_header(r, "ETag", tag);
    http_reply_header(r, "Cache-Control", "no-cache"); /* ask each time; the answer is mostly 304 */
    http_reply_header(r, "Vary", "Accept-Encoding");
    http_reply_header(r, "Content-Security-Policy", policy);
    http_reply_header(r, "X-Content-Type-Options", "nosniff");
    http_reply_header(r, "Referrer-Policy", "no-referrer");
    if (known && strstr(known, tag)) {
        http_reply(r, 304, NULL, NULL);
        return;
    }
    struct buf body = BUF_INIT;
    if (zipped)
        http_reply_header(r, "Content-Encoding", "gzip");
    buf_append(&body, zipped ? p->zipped : p->plain, zipped ? p->zipped_n : p->plain_n);
    http_reply(r, 200, p->type, &body);
}

void pages_routes(struct http_server *s)
{
    for (size_t i = 0; i < pages_n; i++)
        http_server_route(s, "GET", pages[i].path, reply_page, (void *)(uintptr_t)&pages[i]);
}
