#include "base/log.h"
#include "base/mem.h"
#include "http/http.h"
#include "http/listen.h"
#include "http/url.h"
#include "http_client.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

/* A server with handlers that show what they got. Requests to /later are kept for the test to answer; those
 * to /elsewhere are answered by another thread at once. */
#define PENDING_MAX 64

struct fixture {
    struct metrics *metrics;
    struct http_server *server;
    unsigned port;
    struct client_reply reply;

    pthread_mutex_t mtx;
    pthread_cond_t changed;
    struct http_request *pending[PENDING_MAX];
    unsigned npending;
    bool quit;
    struct http_request *queue[PENDING_MAX]; /* for the other thread */
    unsigned nqueue;
    pthread_t other;
    unsigned streams_freed;
};

static void text_reply(struct http_request *r, const char *text)
{
    struct buf b = BUF_INIT;
    buf_puts(&b, text);
    http_reply(r, 200, "text/plain", &b);
    assert_int_equal(b.len, 0);
}

static void handle_echo(void *ctx, struct http_request *r)
{
    struct buf b = BUF_INIT;
    size_t n;
    const uint8_t *body = http_body(r, &n);
    const char *name, *value;
    buf_printf(&b, "%s %s|", http_method(r), http_path(r));
    for (unsigned i = 0; http_arg_each(r, i, &name, &value) == 0; i++)
        buf_printf(&b, "%s=%s|", name, value);
    buf_append(&b, body, n);
    http_reply_header(r, "X-Test", "one\r\ntwo");
    http_reply(r, 200, "text/plain", &b);
}

static void handle_vars(void *ctx, struct http_request *r)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s,%s", http_path_var(r, 0), http_path_var(r, 1));
    http_reply(r, 200, "text/plain", &b);
}

static void handle_words(void *ctx, struct http_request *r)
{
    text_reply(r, ctx);
}

/* The numbers below n, each as many bytes as it is, made one by one. */
struct numbers {
    struct fixture *f;
    unsigned next, n;
    struct buf text;
};

static bool next_number(void *ctx, const char **p, size_t *n)
{
    struct numbers *s = ctx;
    if (s->next == s->n)
        return false;
    buf_clear(&s->text);
    for (unsigned i = 0; i < s->next; i++)
        buf_putc(&s->text, (char)('a' + s->next % 26));
    s->next++;
    *p = buf_str(&s->text);
    *n = s->text.len;
    return true;
}

static void free_numbers(void *ctx)
{
    struct numbers *s = ctx;
    struct fixture *f = s->f;
    buf_release(&s->text);
    free(s);
    pthread_mutex_lock(&f->mtx);
    f->streams_freed++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mtx);
}

static void handle_stream(void *ctx, struct http_request *r)
{
    struct numbers *s = xcalloc(1, sizeof *s);
    s->f = ctx;
    s->n = (unsigned)atoi(http_arg(r, "n"));
    struct http_stream stream = {.next = next_number, .free = free_numbers, .ctx = s};
    if (http_arg(r, "known"))
        stream.size = (uint64_t)s->n * (s->n - 1) / 2;
    http_reply_stream(r, 200, "text/plain", &stream);
}

static void handle_later(void *ctx, struct http_request *r)
{
    struct fixture *f = ctx;
    pthread_mutex_lock(&f->mtx);
    assert_true(f->npending < PENDING_MAX);
    f->pending[f->npending++] = r;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mtx);
}

static void handle_elsewhere(void *ctx, struct http_request *r)
{
    struct fixture *f = ctx;
    pthread_mutex_lock(&f->mtx);
    assert_true(f->nqueue < PENDING_MAX);
    f->queue[f->nqueue++] = r;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mtx);
}

static void *other_thread(void *ctx)
{
    struct fixture *f = ctx;
    pthread_mutex_lock(&f->mtx);
    while (!f->quit || f->nqueue) {
        if (!f->nqueue) {
            pthread_cond_wait(&f->changed, &f->mtx);
            continue;
        }
        struct http_request *r = f->queue[--f->nqueue];
        pthread_mutex_unlock(&f->mtx);
        const char *n = http_arg(r, "n");
        text_reply(r, n ? n : "none");
        pthread_mutex_lock(&f->mtx);
    }
    pthread_mutex_unlock(&f->mtx);
    return NULL;
}

static struct http_request *wait_pending(struct fixture *f, unsigned n)
{
    pthread_mutex_lock(&f->mtx);
    while (f->npending < n)
        pthread_cond_wait(&f->changed, &f->mtx);
    struct http_request *r = f->pending[n - 1];
    pthread_mutex_unlock(&f->mtx);
    return r;
}

static int start_with(void **state, struct http_options o)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err = ERR_INIT;
    pthread_mutex_init(&f->mtx, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->metrics = metrics_new();
    o.listen = "127.0.0.1:0";
    o.metrics = f->metrics;
    assert_int_equal(http_server_new(&o, &f->server, &err), OK);
    http_server_route(f->server, "GET", "/echo", handle_echo, f);
    http_server_route(f->server, "POST", "/echo", handle_echo, f);
    http_server_route(f->server, "GET", "/hosts/:id/metrics/:name", handle_vars, f);
    http_server_route(f->server, "GET", "/hosts/:id", handle_words, "variable");
    http_server_route(f->server, "GET", "/hosts/search", handle_words, "literal");
    http_server_route(f->server, "GET", "/", handle_words, "root");
    http_server_route(f->server, "GET", "/stream", handle_stream, f);
    http_server_route(f->server, "GET", "/later", handle_later, f);
    http_server_route(f->server, "GET", "/elsewhere", handle_elsewhere, f);
    assert_int_equal(http_server_start(f->server, &err), OK);
    f->port = http_server_port(f->server);
    pthread_create(&f->other, NULL, other_thread, f);
    *state = f;
    return 0;
}

static int start(void **state)
{
    return start_with(state, (struct http_options){.max_body_bytes = 1000});
}

static int start_impatient(void **state)
{
    return start_with(state, (struct http_options){.idle_timeout_s = 1});
}

static int stop(void **state)
{
    struct fixture *f = *state;
    pthread_mutex_lock(&f->mtx);
    f->quit = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mtx);
    pthread_join(f->other, NULL);
    http_server_free(f->server);
    metrics_free(f->metrics);
    client_reply_release(&f->reply);
    free(f);
    return 0;
}

static int get(struct fixture *f, const char *target)
{
    return client_once(f->port, "GET", target, "", NULL, &f->reply);
}

static void addresses_are_decoded_as_browsers_encode_them(void **state)
{
    static const struct {
        const char *in, *query, *path;
    } cases[] = {
        {"a+b", "a b", "a+b"},
        {"%41%2f%2F", "A//", "A//"},
        {"100%", "100%", "100%"},
        {"%4", "%4", "%4"},
        {"%zz%4g%", "%zz%4g%", "%zz%4g%"},
        {"%%41", "%A", "%A"},
        {"%C3%A9", "\xc3\xa9", "\xc3\xa9"},
        {"", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[64];
        size_t n = url_decode(cases[i].in, strlen(cases[i].in), true, out);
        assert_int_equal(n, strlen(cases[i].query));
        assert_memory_equal(out, cases[i].query, n);
        n = url_decode(cases[i].in, strlen(cases[i].in), false, out);
        assert_int_equal(n, strlen(cases[i].path));
        assert_memory_equal(out, cases[i].path, n);
    }
}

static void arguments_are_cut_in_order_and_bounded(void **state)
{
    struct arena a = ARENA_INIT;
    struct http_pairs args = {0};
    struct err err = ERR_INIT;
    const char q[] = "target=a%3Db&&target=c;d=e=f&flag&=x&target=";
    assert_int_equal(url_parse_args(q, sizeof q - 1, 5, &a, &args, &err), OK);
    assert_int_equal(args.n, 5);
    assert_string_equal(args.v[0].value, "a=b");
    assert_string_equal(args.v[1].value, "c;d=e=f");
    assert_string_equal(args.v[2].name, "flag");
    assert_string_equal(args.v[2].value, "");
    assert_string_equal(args.v[3].name, "");
    assert_string_equal(args.v[4].value, "");
    assert_int_equal(url_parse_args("one=more", 8, 5, &a, &args, &err), ERR_INVALID);
    assert_int_equal(url_parse_args("a=%00", 5, 9, &a, &args, &err), ERR_INVALID);
    arena_release(&a);
}

static void listen_addresses_are_checked(void **state)
{
    static const struct {
        const char *in, *host;
        unsigned port;
    } good[] = {{"127.0.0.1:8012", "127.0.0.1", 8012},
                {"[::1]:0", "::1", 0},
                {"localhost:65535", "localhost", 65535}};
    char host[64];
    unsigned port;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(listen_parse(good[i].in, host, sizeof host, &port, NULL), OK);
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    static const char *const bad[] = {"",        ":80",     "host",       "host:",   "host:65536",
                                      "host:8o", "::1:80",  "[::1]80",    "[::1:80", "[]:80",
                                      "[:80",    "host:-1", "host:000080"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(listen_parse(bad[i], host, sizeof host, &port, NULL), ERR_INVALID);
}

static void paths_lead_to_handlers(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/hosts/a%20b%2Fc/metrics/d+e?x=1"), 200);
    assert_string_equal(client_body(&f->reply), "a b/c,d+e");
    assert_int_equal(get(f, "/hosts/search"), 200);
    assert_string_equal(client_body(&f->reply), "literal");
    assert_int_equal(get(f, "/hosts/other/"), 200);
    assert_string_equal(client_body(&f->reply), "variable");
    assert_int_equal(get(f, "http://name:1/hosts/other"), 200);
    assert_int_equal(get(f, "/"), 200);
    assert_string_equal(client_body(&f->reply), "root");
    assert_int_equal(get(f, "/hosts//metrics/x"), 404);
    assert_int_equal(get(f, "/hosts/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q"), 400);
    assert_int_equal(get(f, "/hosts/%00"), 400);
}

static void wrong_paths_and_methods_get_json_errors(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/nowhere/\"x"), 404);
    assert_string_equal(client_body(&f->reply), "{\"error\":{\"message\":\"no such path: /nowhere/\\\"x\"}}");
    assert_string_equal(client_header(&f->reply, "Content-Type"), "application/json");
    assert_int_equal(client_once(f->port, "DELETE", "/echo", "", NULL, &f->reply), 405);
    assert_non_null(strstr(client_header(&f->reply, "Allow"), "POST"));
    assert_non_null(strstr(client_header(&f->reply, "Allow"), "GET, HEAD"));
    assert_null(client_header(&f->reply, "Server"));
    assert_int_equal(client_once(f->port, "POST", "/nowhere", "", "some body", &f->reply), 404);
}

static void head_is_get_without_the_body(void **state)
{
    struct fixture *f = *state;
    int fd = client_dial(f->port);
    client_request(fd, "HEAD", "/hosts/search", "", NULL, &f->reply);
    assert_int_equal(f->reply.status, 200);
    assert_string_equal(client_header(&f->reply, "Content-Length"), "7");
    client_request(fd, "GET", "/hosts/search", "", NULL, &f->reply); /* nothing of the body was left over */
    assert_string_equal(client_body(&f->reply), "literal");
    close(fd);
}

static void query_and_form_make_one_list_of_arguments(void **state)
{
    struct fixture *f = *state;
    const char *form = "Content-Type: application/X-www-form-urlencoded; charset=utf-8\r\n";
    client_once(f->port, "POST", "/echo?target=q1&b", form, "target=f+1&target=%26", &f->reply);
    assert_string_equal(client_body(&f->reply),
                        "POST /echo|target=q1|b=|target=f 1|target=&|target=f+1&target=%26");
    client_once(f->port, "POST", "/echo", "Content-Type: application/json\r\n", "{a=b}", &f->reply);
    assert_string_equal(client_body(&f->reply), "POST /echo|{a=b}");
    assert_string_equal(client_header(&f->reply, "X-Test"), "one  two");
    assert_int_equal(client_once(f->port, "POST", "/echo", form, "a=%00", &f->reply), 400);
}

static void too_many_arguments_are_refused(void **state)
{
    struct fixture *f = *state;
    struct buf b = BUF_INIT;
    buf_puts(&b, "/echo?");
    for (int i = 0; i < 4097; i++)
        buf_puts(&b, "a&");
    assert_int_equal(get(f, buf_str(&b)), 400);
    assert_non_null(strstr(client_body(&f->reply), "4096 arguments"));
    b.len -= 2;
    assert_int_equal(get(f, buf_str(&b)), 200);
    assert_int_equal(f->reply.body.len, strlen("GET /echo|") + 4096 * strlen("a=|"));
    buf_release(&b);
}

static void long_addresses_are_taken(void **state)
{
    struct fixture *f = *state;
    struct buf b = BUF_INIT;
    buf_puts(&b, "/echo?");
    for (int i = 0; i < 160; i++)
        buf_printf(&b, "target=%0*d&", 93, i);
    assert_true(b.len > 16000);
    assert_int_equal(client_once(f->port, "GET", buf_str(&b),
                                 "User-Agent: Grafana/10.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
                                 "X-Grafana-Org-Id: 1\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n",
                                 NULL, &f->reply),
                     200);
    assert_true(f->reply.body.len > 15000);
    buf_release(&b);
}

static void large_bodies_are_refused_and_the_client_is_told(void **state)
{
    struct fixture *f = *state;
    struct buf b = BUF_INIT;
    memset(buf_reserve(&b, 300000), 'x', 300000);
    b.len = 300000;
    int fd = client_dial(f->port);
    client_request(fd, "POST", "/echo", "", buf_str(&b), &f->reply);
    assert_int_equal(f->reply.status, 413);
    assert_non_null(strstr(client_body(&f->reply), "1000 bytes"));
    client_request(fd, "POST", "/echo", "", "small", &f->reply); /* the connection is still good */
    assert_int_equal(f->reply.status, 200);
    close(fd);

    fd = client_dial(f->port); /* one that asks first is told before it sends */
    const char ask[] =
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n";
    client_write(fd, ask, sizeof ask - 1);
    client_read(fd, &f->reply, 1);
    assert_int_equal(f->reply.status, 413);
    close(fd);

    fd = client_dial(f->port); /* length not announced */
    buf_clear(&b);
    buf_puts(&b, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 101; i++)
        buf_puts(&b, "a\r\n0123456789\r\n");
    buf_puts(&b, "0\r\n\r\n");
    client_write(fd, b.data, b.len);
    client_read(fd, &f->reply, 1);
    assert_int_equal(f->reply.status, 413);
    close(fd);
    buf_release(&b);
}

static void bodies_in_pieces_arrive_whole(void **state)
{
    struct fixture *f = *state;
    int fd = client_dial(f->port);
    const char head[] = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    client_write(fd, head, sizeof head - 1);
    client_write(fd, "2\r\nde\r\n0\r\n\r\n", 12);
    client_read(fd, &f->reply, 1);
    assert_string_equal(client_body(&f->reply), "POST /echo|abcde");
    close(fd);
}

static void compressed_bodies_are_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(client_once(f->port, "POST", "/echo", "Content-Encoding: gzip\r\n", "x", &f->reply),
                     415);
    assert_int_equal(client_once(f->port, "POST", "/echo", "Content-Encoding: identity\r\n", "x", &f->reply),
                     200);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    int fd = client_dial(f->port);
    struct buf b = BUF_INIT;
    for (int i = 0; i < 20; i++)
        buf_printf(&b, "GET /%s?n=%d HTTP/1.1\r\nHost: x\r\n\r\n", i % 2 ? "elsewhere" : "echo", i);
    client_write(fd, b.data, b.len);
    for (int i = 0; i < 20; i++) {
        char want[32];
        client_read(fd, &f->reply, 1);
        snprintf(want, sizeof want, i % 2 ? "%d" : "GET /echo|n=%d|", i);
        assert_string_equal(client_body(&f->reply), want);
    }
    close(fd);
    buf_release(&b);
}

#define STORM_THREADS  6
#define STORM_REQUESTS 150

static void *storm_thread(void *ctx)
{
    struct fixture *f = ctx;
    struct client_reply reply = {0};
    int fd = client_dial(f->port);
    uintptr_t wrong = 0;
    for (int i = 0; i < STORM_REQUESTS; i++) {
        char target[64], want[16];
        snprintf(want, sizeof want, "%d", i);
        snprintf(target, sizeof target, "/elsewhere?n=%d", i);
        client_request(fd, "GET", target, "", NULL, &reply);
        wrong += reply.status != 200 || strcmp(client_body(&reply), want) != 0;
    }
    close(fd);
    client_reply_release(&reply);
    return (void *)wrong;
}

static void replies_from_another_thread_meet_their_requests(void **state)
{
    struct fixture *f = *state;
    pthread_t t[STORM_THREADS];
    for (int i = 0; i < STORM_THREADS; i++)
        pthread_create(&t[i], NULL, storm_thread, f);
    for (int i = 0; i < STORM_THREADS; i++) {
        void *wrong;
        pthread_join(t[i], &wrong);
        assert_ptr_equal(wrong, NULL);
    }
    struct counter *ok = metrics_counter(f->metrics, "carat_http_requests_total", "code=\"2xx\"", "");
    assert_int_equal(counter_get(ok), STORM_THREADS * STORM_REQUESTS);
}

static void a_waiting_request_does_not_hold_up_others(void **state)
{
    struct fixture *f = *state;
    enum { N = 8 };
    int fd[N];
    for (unsigned i = 0; i < N; i++) {
        fd[i] = client_dial(f->port);
        client_write(fd[i], "GET /later HTTP/1.1\r\nHost: x\r\n\r\n", 32);
        wait_pending(f, i + 1);
    }
    assert_int_equal(get(f, "/echo"), 200);
    for (unsigned i = 0; i < N; i++)
        text_reply(f->pending[i], "late");
    for (unsigned i = 0; i < N; i++) {
        client_read(fd[i], &f->reply, 1);
        assert_string_equal(client_body(&f->reply), "late");
        close(fd[i]);
    }
}

static void a_client_that_left_does_no_harm(void **state)
{
    struct fixture *f = *state;
    int fd = client_dial(f->port);
    client_write(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n", 32);
    struct http_request *r = wait_pending(f, 1);
    close(fd);
    assert_string_equal(http_header(r, "host"), "x");
    text_reply(r, "nobody reads this");
    assert_int_equal(get(f, "/echo"), 200);
}

struct stopper {
    struct http_server *server;
    int timeout_ms;
};

static void *stop_thread(void *ctx)
{
    struct stopper *s = ctx;
    http_server_stop(s->server, s->timeout_ms);
    return NULL;
}

/* Until nobody listens any more. Not in a hurry: each try leaves a port in TIME_WAIT, and when there are no
 * more of them connecting fails, too, for another reason. */
static void wait_refused(unsigned port)
{
    for (int fd;; nanosleep(&(struct timespec){0, 2000000}, NULL)) {
        if ((fd = client_dial(port)) >= 0)
            close(fd);
        else if (errno == ECONNREFUSED)
            return;
    }
}

static void stopping_waits_for_requests_under_way(void **state)
{
    struct fixture *f = *state;
    int fd = client_dial(f->port);
    client_write(fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n", 32);
    struct http_request *r = wait_pending(f, 1);
    pthread_t t;
    struct stopper s = {f->server, 20000};
    pthread_create(&t, NULL, stop_thread, &s);
    wait_refused(f->port);
    text_reply(r, "still answered");
    client_read(fd, &f->reply, 1);
    assert_string_equal(client_body(&f->reply), "still answered");
    assert_string_equal(client_header(&f->reply, "Connection"), "close");
    pthread_join(t, NULL);
    close(fd);
}

static void a_handler_that_is_too_late_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    int fd = client_dial(f->port);
    client_write(fd, "GET /later?a=b HTTP/1.1\r\nHost: x\r\n\r\n", 36);
    struct http_request *r = wait_pending(f, 1);
    http_server_stop(f->server, 0);
    client_read(fd, &f->reply, 1);
    assert_int_equal(f->reply.status, 503);
    close(fd);
    http_server_free(f->server);
    f->server = NULL;
    assert_string_equal(http_arg(r, "a"), "b"); /* it keeps its request, and may reply to nobody */
    http_reply_header(r, "X-Late", "yes");
    text_reply(r, "too late");
}

/* Asks until the server is gone; every answer it gets is a whole one. */
static void *asking_thread(void *ctx)
{
    struct fixture *f = ctx;
    struct client_reply reply = {0};
    uintptr_t wrong = 0;
    for (int fd; (fd = client_dial(f->port)) >= 0; close(fd)) {
        do {
            client_request(fd, "GET", "/elsewhere?n=7", "", NULL, &reply);
            wrong += reply.status == 200 ? strcmp(client_body(&reply), "7") != 0
                                         : reply.status != 503 && reply.status != 0;
        } while (reply.status == 200);
    }
    client_reply_release(&reply);
    return (void *)wrong;
}

static void stopping_amid_a_storm_is_safe(void **state)
{
    for (int round = 0; round < 15; round++) {
        pthread_t t[STORM_THREADS];
        start(state);
        struct fixture *f = *state;
        for (int i = 0; i < STORM_THREADS; i++)
            pthread_create(&t[i], NULL, asking_thread, f);
        struct counter *ok = metrics_counter(f->metrics, "carat_http_requests_total", "code=\"2xx\"", "");
        while (counter_get(ok) < 50)
            sched_yield();
        http_server_stop(f->server, 0); /* replies keep coming from the other thread meanwhile */
        for (int i = 0; i < STORM_THREADS; i++) {
            void *wrong;
            pthread_join(t[i], &wrong);
            assert_ptr_equal(wrong, NULL);
        }
        stop(state);
    }
}

static void a_port_in_use_is_named(void **state)
{
    struct fixture *f = *state;
    struct http_server *second;
    struct err err = ERR_INIT;
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", f->port);
    struct http_options o = {.listen = address, .metrics = f->metrics};
    assert_int_equal(http_server_new(&o, &second, &err), OK);
    assert_int_equal(http_server_start(second, &err), ERR_IO);
    assert_non_null(strstr(err.text, address));
    assert_non_null(strstr(err.text, "http.listen"));
    http_server_free(second);
    o.listen = "nonsense";
    assert_int_equal(http_server_new(&o, &second, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "http.listen"));
}

static void a_silent_client_is_sent_away(void **state)
{
    struct fixture *f = *state;
    int fd = client_dial(f->port);
    char c;
    assert_int_equal(recv(fd, &c, 1, 0), 0); /* the server closes it */
    close(fd);
}

static void malformed_requests_do_no_harm(void **state)
{
    struct fixture *f = *state;
    static const char *const refused[] = {
        "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /echo HTTP/1.1\r\nno colon here\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        int fd = client_dial(f->port);
        client_write(fd, refused[i], strlen(refused[i]));
        client_read(fd, &f->reply, 1);
        assert_true(f->reply.status == 0 || f->reply.status >= 400);
        close(fd);
    }
    static const char *const unfinished[] = {"\r\n\r\n", "\x16\x03\x01\x02", "GET /later HTTP/1.1\r\nHost:",
                                             "POST /echo HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"};
    for (size_t i = 0; i < ARRAY_LEN(unfinished); i++) {
        int fd = client_dial(f->port);
        client_write(fd, unfinished[i], strlen(unfinished[i]));
        close(fd);
    }
    assert_int_equal(get(f, "/echo"), 200);
}

static void wait_streams_freed(struct fixture *f, unsigned n)
{
    pthread_mutex_lock(&f->mtx);
    while (f->streams_freed < n)
        pthread_cond_wait(&f->changed, &f->mtx);
    assert_int_equal(f->streams_freed, n);
    pthread_mutex_unlock(&f->mtx);
}

static void bodies_made_while_sent_arrive_whole(void **state)
{
    struct fixture *f = *state;
    int fd = client_dial(f->port);
    for (unsigned round = 0; round < 3; round++) {
        client_request(fd, "GET", round ? "/stream?n=3000" : "/stream?n=3000&known=1", "", NULL, &f->reply);
        assert_int_equal(f->reply.status, 200);
        assert_true((client_header(&f->reply, "Content-Length") != NULL) == (round == 0));
        assert_int_equal(f->reply.body.len, 3000 * 2999 / 2);
        const char *p = client_body(&f->reply);
        for (unsigned i = 0; i < 3000; p += i++)
            for (unsigned k = 0; k < i; k++)
                assert_int_equal(p[k], 'a' + i % 26);
        client_request(fd, "GET", "/stream?n=1", "", NULL, &f->reply); /* nothing in it */
        assert_int_equal(f->reply.status, 200);
        assert_int_equal(f->reply.body.len, 0);
    }
    client_request(fd, "HEAD", "/stream?n=3000", "", NULL, &f->reply);
    assert_int_equal(f->reply.status, 200);
    assert_string_equal(client_header(&f->reply, "Connection"), "close");
    close(fd);
    wait_streams_freed(f, 7);
}

static void a_client_that_leaves_amid_a_stream_frees_it(void **state)
{
    struct fixture *f = *state;
    char some[1000];
    for (unsigned i = 0; i < 4; i++) {
        int fd = client_dial(f->port);
        static const char request[] = "GET /stream?n=20000 HTTP/1.1\r\nHost: test\r\n\r\n";
        client_write(fd, request, sizeof request - 1);
        assert_true(recv(fd, some, sizeof some, 0) > 0);
        close(fd);
    }
    wait_streams_freed(f, 4);
    assert_int_equal(get(f, "/echo"), 200);
}

int main(void)
{
#define WITH_SERVER(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_decoded_as_browsers_encode_them),
        cmocka_unit_test(arguments_are_cut_in_order_and_bounded),
        cmocka_unit_test(listen_addresses_are_checked),
        WITH_SERVER(paths_lead_to_handlers),
        WITH_SERVER(wrong_paths_and_methods_get_json_errors),
        WITH_SERVER(head_is_get_without_the_body),
        WITH_SERVER(query_and_form_make_one_list_of_arguments),
        WITH_SERVER(too_many_arguments_are_refused),
        WITH_SERVER(long_addresses_are_taken),
        WITH_SERVER(large_bodies_are_refused_and_the_client_is_told),
        WITH_SERVER(bodies_in_pieces_arrive_whole),
        WITH_SERVER(compressed_bodies_are_refused),
        WITH_SERVER(pipelined_requests_are_answered_in_order),
        WITH_SERVER(replies_from_another_thread_meet_their_requests),
        WITH_SERVER(a_waiting_request_does_not_hold_up_others),
        WITH_SERVER(a_client_that_left_does_no_harm),
        WITH_SERVER(bodies_made_while_sent_arrive_whole),
        WITH_SERVER(a_client_that_leaves_amid_a_stream_frees_it),
        WITH_SERVER(stopping_waits_for_requests_under_way),
        WITH_SERVER(a_handler_that_is_too_late_is_not_waited_for),
        cmocka_unit_test(stopping_amid_a_storm_is_safe),
        WITH_SERVER(a_port_in_use_is_named),
        WITH_SERVER(malformed_requests_do_no_harm),
        cmocka_unit_test_setup_teardown(a_silent_client_is_sent_away, start_impatient, stop),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
