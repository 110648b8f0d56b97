/* The client over real sockets: what a server, or what is between, can do to answers. */
#include "aws/client.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A server that does what it was told with the n-th request, whatever it asks. */
struct reply {
    const char *bytes;
    const char *then; /* sent a little later, on its own */
    bool hang_up;     /* after it */
    bool silent;      /* no answer, the connection stays */
};

struct server {
    int fd;
    unsigned port;
    const struct reply *replies;
    size_t n;
    _Atomic size_t requests, connections;
    struct buf last; /* the last request's bytes; read it after the call */
    pthread_t thread;
};

/* One request's bytes; false at the end of the connection. */
static bool read_request(int fd, struct buf *in)
{
    char some[65536];
    buf_clear(in);
    for (;;) {
        ssize_t n = recv(fd, some, sizeof some, 0);
        if (n <= 0)
            return false;
        buf_append(in, some, (size_t)n);
        const char *text = buf_str(in), *end = strstr(text, "\r\n\r\n"),
                   *length = strstr(text, "Content-Length: ");
        if (end && in->len >= (size_t)(end + 4 - text) +
                                  (length && length < end ? strtoul(length + 16, NULL, 10) : 0))
            return true;
    }
}

static void *serve(void *arg)
{
    struct server *s = arg;
    struct buf in = BUF_INIT;
    int fd;
    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        atomic_fetch_add(&s->connections, 1);
        bool on = true;
        while (on && read_request(fd, &in)) {
            buf_clear(&s->last);
            buf_append(&s->last, in.data, in.len);
            size_t i = atomic_fetch_add(&s->requests, 1);
            const struct reply *r = &s->replies[i < s->n ? i : s->n - 1];
            if (!r->silent)
                (void)!send(fd, r->bytes, strlen(r->bytes), MSG_NOSIGNAL);
            if (r->then) {
                usleep(20000);
                (void)!send(fd, r->then, strlen(r->then), MSG_NOSIGNAL);
            }
            on = !r->hang_up;
        }
        close(fd);
    }
    buf_release(&in);
    return NULL;
}

static void server_start(struct server *s, const struct reply *replies, size_t n)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    memset(s, 0, sizeof *s);
    s->replies = replies;
    s->n = n;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &len), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

/* After the client has gone: its connections are closed. */
static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    buf_release(&s->last);
}

static const char *env(const char *name)
{
    return !strcmp(name, "AWS_ACCESS_KEY_ID")       ? "AKID"
           : !strcmp(name, "AWS_SECRET_ACCESS_KEY") ? "secret"
                                                    : NULL;
}

struct peer {
    struct aws_credentials *credentials;
    struct aws_client *client;
};

static void connect_to(struct peer *p, unsigned port)
{
    char endpoint[64];
    struct err err = ERR_INIT;
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", port);
    p->credentials =
        aws_credentials_new(&(struct aws_credentials_options){.env = env, .clock = clock_system()});
    struct aws_client_options o = {.service = "s3",
                                   .region = "us-east-1",
                                   .endpoint = endpoint,
                                   .credentials = p->credentials,
                                   .connections = 1, /* all on one connection, as long as it lasts */
                                   .attempt_ms = 300,
                                   .timeout_ms = 20000,
                                   .backoff_base_ms = 1};
    if (aws_client_new(&o, &p->client, &err) < 0)
        fail_msg("%s", err.text);
}

static void disconnect(struct peer *p)
{
    aws_client_free(p->client);
    aws_credentials_free(p->credentials);
}

static struct aws_call get(struct peer *p)
{
    return (struct aws_call){.op = aws_operation(p->client, "Get"), .method = "GET", .path = "/b/a key"};
}

static void expect_body(struct peer *p, const char *want, unsigned attempts)
{
    struct aws_call call = get(p);
    struct err err = ERR_INIT;
    if (aws_call(p->client, &call, &err) != OK)
        fail_msg("%s", err.text);
    assert_string_equal(buf_str(&call.answer), want);
    if (attempts)
        assert_int_equal(call.attempts, attempts);
    aws_call_release(&call);
}

#define GOOD(text, n) "HTTP/1.1 200 OK\r\nContent-Length: " #n "\r\n\r\n" text

#define WITH_ID(text, id) "HTTP/1.1 200 OK\r\nx-amzn-RequestId: A" #id "\r\nContent-Length: 3\r\n\r\n" text

static void connections_are_used_again(void **state)
{
    (void)state;
    static const struct reply replies[] = {{GOOD("one", 3), NULL, false, false}};
    struct server s;
    struct peer p;
    server_start(&s, replies, 1);
    connect_to(&p, s.port);
    for (int i = 0; i < 5; i++)
        expect_body(&p, "one", 1);
    assert_int_equal(s.connections, 1);
    assert_int_equal(s.requests, 5);
    assert_non_null(strstr(buf_str(&s.last), "GET /b/a%20key HTTP/1.1\r\n"));
    disconnect(&p);
    server_stop(&s);
}

static void what_is_cut_short_is_asked_for_again(void **state)
{
    (void)state;
    static const struct reply replies[] = {
        {GOOD("tw", 3), NULL, true, false}, /* a byte is missing */
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n", NULL, true, false}, /* no end */
        {"HTTP/1.1 200 OK\r\nContent-Le", NULL, true, false},
        {"", NULL, true, false},
        {GOOD("two", 3), NULL, false, false},
    };
    struct server s;
    struct peer p;
    server_start(&s, replies, ARRAY_LEN(replies));
    connect_to(&p, s.port);
    expect_body(&p, "two", 5);
    disconnect(&p);
    server_stop(&s);
}

/* libcurl sends again by itself what went into a connection that was kept and then closed: that must not go
 * unnoticed. */
static void what_was_sent_twice_is_unsure(void **state)
{
    (void)state;
    static const struct reply replies[] = {
        {GOOD("one", 3), NULL, false, false}, {"", NULL, true, true}, {GOOD("two", 3), NULL, false, false}};
    struct server s;
    struct peer p;
    server_start(&s, replies, ARRAY_LEN(replies));
    connect_to(&p, s.port);
    expect_body(&p, "one", 1);
    struct aws_call call = get(&p);
    assert_int_equal(aws_call(p.client, &call, NULL), OK);
    assert_string_equal(buf_str(&call.answer), "two");
    assert_int_equal(s.requests, 3);
    assert_true(call.unsure);
    aws_call_release(&call);
    disconnect(&p);
    server_stop(&s);
}

static void silence_ends_an_attempt(void **state)
{
    (void)state;
    static const struct reply replies[] = {{"", NULL, true, true}, {GOOD("x", 1), NULL, false, false}};
    struct server s;
    struct peer p;
    server_start(&s, replies, ARRAY_LEN(replies));
    connect_to(&p, s.port);
    expect_body(&p, "x", 2);
    disconnect(&p);
    server_stop(&s);
}

/* A second answer to the first request must not become that to the second. */
static void an_answer_twice_is_not_taken_for_the_next(void **state)
{
    (void)state;
    static const struct reply replies[] = {{WITH_ID("one", 1) WITH_ID("one", 1), NULL, false, false},
                                           {WITH_ID("two", 2), NULL, false, false},
                                           {WITH_ID("six", 6), WITH_ID("six", 6), false, false},
                                           {WITH_ID("ten", 10), NULL, false, false},
                                           {WITH_ID("ten", 11), NULL, false, false},
                                           {WITH_ID("ten", 12), NULL, false, false}};
    struct server s;
    struct peer p;
    server_start(&s, replies, ARRAY_LEN(replies));
    connect_to(&p, s.port);
    expect_body(&p, "one", 1);
    expect_body(&p, "two", 0);
    expect_body(&p, "six", 0);
    usleep(60000); /* the second copy arrives on an idle connection */
    expect_body(&p, "ten", 0);
    disconnect(&p);
    server_stop(&s);
}

static void a_long_answer_is_refused(void **state)
{
    (void)state;
    static const struct reply replies[] = {{GOOD("0123456789", 10), NULL, false, false}};
    struct server s;
    struct peer p;
    server_start(&s, replies, 1);
    connect_to(&p, s.port);
    struct aws_call call = get(&p);
    struct err err = ERR_INIT;
    call.answer_max = 9;
    assert_int_equal(aws_call(p.client, &call, &err), ERR_LIMIT);
    assert_int_equal(call.attempts, 1);
    aws_call_release(&call);
    disconnect(&p);
    server_stop(&s);
}

static void a_body_arrives_whole(void **state)
{
    (void)state;
    static const struct reply replies[] = {{GOOD("", 0), NULL, false, false}};
    struct server s;
    struct peer p;
    size_t n = 3 << 20;
    uint8_t *body = xmalloc(n);
    for (size_t i = 0; i < n; i++)
        body[i] = (uint8_t)(i * 31 >> 3);
    server_start(&s, replies, 1);
    connect_to(&p, s.port);
    for (int i = 0; i < 2; i++) {
        struct aws_call call = get(&p);
        call.method = i ? "PUT" : "POST";
        call.attempt_ms = 10000;
        call.body = body;
        call.body_len = i ? 0 : n;
        struct err err = ERR_INIT;
        if (aws_call(p.client, &call, &err) != OK)
            fail_msg("%s", err.text);
        aws_call_release(&call);
        if (i)
            assert_non_null(strstr(buf_str(&s.last), "\r\nContent-Length: 0\r\n"));
        else
            assert_memory_equal(s.last.data + s.last.len - n, body, n);
        assert_null(strstr(buf_str(&s.last), "form-urlencoded"));
        assert_null(strstr(buf_str(&s.last), "Expect"));
    }
    free(body);
    disconnect(&p);
    server_stop(&s);
}

static void nobody_there_is_told(void **state)
{
    (void)state;
    struct server s;
    struct peer p;
    server_start(&s, NULL, 0);
    server_stop(&s); /* its port is free now */
    connect_to(&p, s.port);
    struct aws_call call = get(&p);
    struct err err = ERR_INIT;
    call.timeout_ms = 100;
    int rc = aws_call(p.client, &call, &err);
    assert_true(rc == ERR_IO || rc == ERR_TIMEOUT);
    assert_false(call.unsure);
    aws_call_release(&call);
    disconnect(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(what_is_cut_short_is_asked_for_again),
        cmocka_unit_test(what_was_sent_twice_is_unsure),
        cmocka_unit_test(silence_ends_an_attempt),
        cmocka_unit_test(an_answer_twice_is_not_taken_for_the_next),
        cmocka_unit_test(a_long_answer_is_refused),
        cmocka_unit_test(a_body_arrives_whole),
        cmocka_unit_test(nobody_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
