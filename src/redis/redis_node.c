#include "redis/redis_node.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define OUT_BYTES     (64u << 10) /* filled up to here at a time */
#define RECEIVE_BYTES (64u << 10)

static const char asking[] = "*1\r\n$6\r\nASKING\r\n";

void redis_node_init(struct redis_node *n, const char *host, int port)
{
    *n = (struct redis_node){.port = port};
    snprintf(n->host, sizeof n->host, "%s", host);
    snprintf(n->name, sizeof n->name, "%s:%d", n->host, port);
}

void redis_node_close(struct redis_node *n)
{
    if (n->ctx)
        redisFree(n->ctx);
    n->ctx = NULL;
    buf_clear(&n->out);
    n->out_from = n->n = n->filled = n->answered = 0;
}

void redis_node_release(struct redis_node *n)
{
    redis_node_close(n);
    buf_release(&n->out);
    free(n->queue);
}

/* One command whose answer is +OK. */
static int expect_ok(struct redis_node *n, redisReply *r, const char *what, struct err *err)
{
    int rc = OK;
    if (!r)
        rc = err_set(err, ERR_IO, "redis %s: %s: %s", n->name, what, n->ctx->errstr);
    else if (r->type == REDIS_REPLY_ERROR)
        rc = err_set(err, strncmp(r->str, "LOADING", 7) == 0 ? ERR_BUSY : ERR_INVALID, "redis %s: %s: %s",
                     n->name, what, r->str);
    if (r)
        freeReplyObject(r);
    return rc;
}

static int log_in(struct redis_node *n, const struct redis_login *l, struct err *err)
{
    int rc = OK;
    if (l->password && l->user)
        rc = expect_ok(n, redisCommand(n->ctx, "AUTH %s %s", l->user, l->password), "AUTH", err);
    else if (l->password)
        rc = expect_ok(n, redisCommand(n->ctx, "AUTH %s", l->password), "AUTH", err);
    if (rc == OK && l->replicas)
        rc = expect_ok(n, redisCommand(n->ctx, "READONLY"), "READONLY", err);
    return rc;
}

/* From here on we send and receive by ourselves, never waiting. */
static int set_up_socket(struct redis_node *n, struct err *err)
{
    int one = 1, fd = n->ctx->fd, flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_sys(err, ERR_IO, errno, "redis %s: fcntl", n->name);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    return OK;
}

int redis_node_connect(struct redis_node *n, const struct redis_login *l, struct err *err)
{
    const struct timeval t = {l->timeout_ms / 1000, l->timeout_ms % 1000 * 1000};
    redis_node_close(n);
    n->ctx = redisConnectWithTimeout(n->host, n->port, t);
    int rc = OK;
    if (!n->ctx)
        return err_set(err, ERR_IO, "redis %s: no memory for a connection", n->name);
    if (n->ctx->err)
        rc = err_set(err, ERR_IO, "redis %s: %s", n->name, n->ctx->errstr);
    else if (redisSetTimeout(n->ctx, t) != REDIS_OK)
        rc = err_set(err, ERR_IO, "redis %s: %s", n->name, n->ctx->errstr);
    if (rc == OK)
        rc = log_in(n, l, err);
    if (rc == OK)
        rc = set_up_socket(n, err);
    if (rc != OK)
        redis_node_close(n);
    return rc;
}

void redis_node_queue(struct redis_node *n, uint32_t command)
{
    if (n->n == n->cap) {
        n->cap = n->cap ? 2 * n->cap : 256;
        n->queue = xrealloc(n->queue, n->cap * sizeof *n->queue);
    }
    n->queue[n->n++] = command;
}

void redis_node_fill(struct redis_node *n, const struct redis_batch *b, size_t in_flight)
{
    if (n->out_from == n->out.len) {
        buf_clear(&n->out);
        n->out_from = 0;
    }
    while (n->filled < n->n && n->filled - n->answered < in_flight && n->out.len < OUT_BYTES) {
        uint32_t i = n->queue[n->filled++];
        if (i == REDIS_ASKING)
            buf_append(&n->out, asking, sizeof asking - 1);
        else
            buf_append(&n->out, b->bytes.data + b->v[i].at, b->v[i].len);
    }
}

int redis_node_send(struct redis_node *n, struct err *err)
{
    while (n->out_from < n->out.len) {
        ssize_t done = send(n->ctx->fd, n->out.data + n->out_from, n->out.len - n->out_from,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return OK;
        if (done < 0)
            return err_sys(err, ERR_IO, errno, "redis %s: send", n->name);
        n->out_from += (size_t)done;
    }
    return OK;
}

static int take_replies(struct redis_node *n, redis_node_reply_fn fn, void *ctx, struct err *err)
{
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(n->ctx->reader, &reply) != REDIS_OK)
            return err_set(err, ERR_IO, "redis %s: not an answer of Redis: %s", n->name,
                           n->ctx->reader->errstr);
        if (!reply)
            return OK;
        if (n->answered == n->filled) {
            freeReplyObject(reply);
            return err_set(err, ERR_IO, "redis %s: an answer to no command", n->name);
        }
        uint32_t command = n->queue[n->answered++];
        if (command != REDIS_ASKING)
            fn(ctx, n, command, reply);
        freeReplyObject(reply);
    }
}

int redis_node_receive(struct redis_node *n, redis_node_reply_fn fn, void *ctx, struct err *err)
{
    char bytes[RECEIVE_BYTES];
    for (;;) {
        ssize_t got = recv(n->ctx->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return OK;
        if (got < 0)
            return err_sys(err, ERR_IO, errno, "redis %s: receive", n->name);
        if (got == 0)
            return err_set(err, ERR_IO, "redis %s: the server closed the connection", n->name);
        if (redisReaderFeed(n->ctx->reader, bytes, (size_t)got) != REDIS_OK)
            return err_set(err, ERR_IO, "redis %s: %s", n->name, n->ctx->reader->errstr);
        int rc = take_replies(n, fn, ctx, err);
        if (rc != OK || (size_t)got < sizeof bytes)
            return rc;
    }
}
