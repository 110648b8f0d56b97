/* A blocking HTTP client over one socket for tests: it shows what is on the wire and hides nothing. */
#ifndef CARAT_TESTS_HTTP_CLIENT_H
#define CARAT_TESTS_HTTP_CLIENT_H

#include "base/buf.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct client_reply {
    int status; /* 0: the connection ended before a whole reply */
    struct buf head, body;
};

/* -1 with errno when there is no connection. */
static inline int client_dial(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval t = {20, 0}; /* a reply that never comes fails the test instead of hanging it */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        int errnum = errno;
        close(fd);
        errno = errnum;
        return -1;
    }
    return fd;
}

static inline void client_write(int fd, const void *p, size_t n)
{
    for (const char *s = p; n;) {
        ssize_t w = send(fd, s, n, MSG_NOSIGNAL);
        if (w <= 0)
            return; /* the server may close early; the reply tells */
        s += w;
        n -= (size_t)w;
    }
}

/* Value of a header in the last reply, NULL if it is not there; valid until the next call. */
static inline const char *client_header(struct client_reply *r, const char *name)
{
    static _Thread_local char value[1024];
    size_t n = strlen(name);
    for (const char *line = buf_str(&r->head); (line = strstr(line, "\r\n"));) {
        line += 2;
        if (!strncasecmp(line, name, n) && line[n] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line + n + 2, "\r"), line + n + 2);
            return value;
        }
    }
    return NULL;
}

static inline int client_read_bytes(int fd, struct buf *b, size_t n)
{
    for (size_t end = b->len + n; b->len < end;) {
        ssize_t got = recv(fd, buf_reserve(b, end - b->len), end - b->len, 0);
        if (got <= 0)
            return -1;
        b->len += (size_t)got;
    }
    return 0;
}

/* A line with its CRLF taken off. */
static inline int client_read_line(int fd, char *line, size_t size)
{
    for (size_t n = 0; n + 1 < size; n++) {
        if (recv(fd, line + n, 1, 0) != 1)
            return -1;
        if (line[n] == '\n') {
            line[n - (n > 0)] = '\0';
            return 0;
        }
    }
    return -1;
}

/* A body in chunks; -1: it ended too soon. */
static inline int client_read_chunks(int fd, struct buf *body)
{
    char line[64];
    size_t n;
    do {
        if (client_read_line(fd, line, sizeof line) < 0)
            return -1;
        n = strtoul(line, NULL, 16);
        if (client_read_bytes(fd, body, n) < 0 || client_read_line(fd, line, sizeof line) < 0 || *line)
            return -1;
    } while (n);
    return 0;
}

/* Reads one reply; `has_body` is false after HEAD. */
static inline void client_read(int fd, struct client_reply *r, int has_body)
{
    char c;
    buf_clear(&r->head);
    buf_clear(&r->body);
    r->status = 0;
    while (r->head.len < 4 || memcmp(r->head.data + r->head.len - 4, "\r\n\r\n", 4)) {
        if (recv(fd, &c, 1, 0) != 1)
            return;
        buf_putc(&r->head, c);
    }
    const char *length = client_header(r, "Content-Length");
    if (has_body && length && client_read_bytes(fd, &r->body, strtoul(length, NULL, 10)) < 0)
        return;
    const char *coding = client_header(r, "Transfer-Encoding");
    if (has_body && coding && !strcasecmp(coding, "chunked") && client_read_chunks(fd, &r->body) < 0)
        return;
    sscanf(buf_str(&r->head), "HTTP/1.1 %d", &r->status);
    buf_str(&r->body);
}

/* One request on an open connection. `headers` is "" or lines that end in CRLF; body may be NULL. */
static inline void client_request(int fd, const char *method, const char *target, const char *headers,
                                  const char *body, struct client_reply *r)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s %s HTTP/1.1\r\nHost: test\r\n%s", method, target, headers);
    if (body)
        buf_printf(&b, "Content-Length: %zu\r\n", strlen(body));
    buf_printf(&b, "\r\n%s", body ? body : "");
    client_write(fd, b.data, b.len);
    buf_release(&b);
    client_read(fd, r, strcmp(method, "HEAD") != 0);
}

/* The same on a connection of its own. */
static inline int client_once(unsigned port, const char *method, const char *target, const char *headers,
                              const char *body, struct client_reply *r)
{
    int fd = client_dial(port);
    assert(fd >= 0);
    client_request(fd, method, target, headers, body, r);
    close(fd);
    return r->status;
}

static inline const char *client_body(struct client_reply *r)
{
    return buf_str(&r->body);
}

static inline void client_reply_release(struct client_reply *r)
{
    buf_release(&r->head);
    buf_release(&r->body);
}

#endif
