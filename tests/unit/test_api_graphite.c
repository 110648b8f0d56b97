/* The API on a real server: arguments, replies and threads. What it answers is tested without HTTP in
 * test_query. */
#include "http/api_graphite.h"

#include "http_client.h"
#include "query_mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct mem_source source;
    struct clock_fake clock;
    struct metrics *metrics;
    struct api_graphite *api;
    struct http_server *server;
    bool waiting;
    struct client_reply reply;
    char body[4096];
};

static size_t waits(void *ctx, struct readiness_wait *out, size_t max)
{
    struct fixture *f = ctx;
    if (f->waiting && max)
        snprintf(out->text, sizeof out->text, "partition 0");
    return f->waiting;
}

static int start(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err = ERR_INIT;
    mem_init(&f->source);
    size_t i = mem_add(&f->source, "a.b", 60, 1200), t = mem_add(&f->source, "t;host=x", 60, 1200);
    mem_set_point(&f->source, i, 1200, 1.5);
    mem_set_point(&f->source, t, 1200, 2);
    clock_fake_init(&f->clock, 1300000);
    f->metrics = metrics_new();
    struct api_graphite_options o = {
        .source = &f->source.base, .clock = &f->clock.base, .metrics = f->metrics};
    o.readiness = (struct readiness){waits, f};
    assert_int_equal(api_graphite_new(&o, &f->api, &err), OK);
    struct http_options h = {.listen = "127.0.0.1:0", .metrics = f->metrics};
    assert_int_equal(http_server_new(&h, &f->server, &err), OK);
    api_graphite_routes(f->api, f->server);
    assert_int_equal(http_server_start(f->server, &err), OK);
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    api_graphite_stop(f->api);
    http_server_stop(f->server, 1000);
    api_graphite_free(f->api);
    http_server_free(f->server);
    metrics_free(f->metrics);
    mem_release(&f->source);
    buf_release(&f->reply.head);
    buf_release(&f->reply.body);
    free(f);
    return 0;
}

/* The body of the reply to a request, which must have that status. */
static const char *ask(struct fixture *f, int status, const char *method, const char *target,
                       const char *form)
{
    char request[2048];
    int n = snprintf(request, sizeof request,
                     "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n"
                     "Content-Type: application/x-www-form-urlencoded\r\n\r\n%s",
                     method, target, strlen(form), form);
    int fd = client_dial(http_server_port(f->server));
    client_write(fd, request, (size_t)n);
    client_read(fd, &f->reply, 1);
    close(fd);
    snprintf(f->body, sizeof f->body, "%s", buf_str(&f->reply.body));
    assert_int_equal(f->reply.status, status);
    return f->body;
}

static const char *get(struct fixture *f, int status, const char *target)
{
    return ask(f, status, "GET", target, "");
}

static const char one[] =
    "[{\"target\": \"scale(a.b,2)\", \"tags\": {\"name\": \"a.b\", \"scale\": \"2.0\"}, "
    "\"datapoints\": [[3.0, 1200]]}]";

static void targets_come_from_the_address_or_a_form(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(get(f, 200, "/render?target=scale(a.b%2C2)&from=1140&until=1200&format=json"), one);
    assert_string_equal(client_header(&f->reply, "Content-Type"), "application/json");
    assert_string_equal(
        ask(f, 200, "POST", "/render", "target=scale(a.b,2)&from=1140&until=1200&format=json"), one);
    assert_string_equal(
        ask(f, 200, "POST", "/render/?format=json", "target=scale(a.b,2)&from=1140&until=1200"), one);
    assert_non_null(strstr(
        get(f, 200, "/render?target=a.b&target=b.c&target=t;host%3Dx&format=json&from=-2min"), "t;host=x"));
}

static void every_path_is_there(void **state)
{
    struct fixture *f = *state;
    assert_non_null(strstr(get(f, 200, "/metrics/find?query=a.*"), "\"text\": \"b\""));
    assert_non_null(strstr(get(f, 200, "/metrics/find/?query=a.*"), "\"text\": \"b\""));
    assert_string_equal(get(f, 200, "/metrics/expand?query=*"), "{\"results\": [\"a\"]}");
    assert_string_equal(get(f, 200, "/metrics/index.json"), "[\"a.b\"]");
    assert_string_equal(get(f, 200, "/tags"), "[{\"tag\": \"host\"}, {\"tag\": \"name\"}]");
    assert_string_equal(get(f, 200, "/tags/host"),
                        "{\"tag\": \"host\", \"values\": [{\"value\": \"x\", \"count\": 1}]}");
    assert_string_equal(get(f, 200, "/tags/autoComplete/values?tag=host"), "[\"x\"]");
    assert_string_equal(get(f, 200, "/tags/findSeries?expr=host%3Dx"), "[\"t;host=x\"]");
    assert_string_equal(ask(f, 200, "POST", "/tags/tagSeries", "path=t;b=1;a=2"), "\"t;a=2;b=1\"");
    assert_non_null(strstr(get(f, 200, "/functions/sumSeries"), "sumSeries(*seriesLists)"));
    get(f, 404, "/functions/nosuch");
    get(f, 405, "/tags/tagSeries");
}

static void errors_are_json_with_the_place(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(get(f, 400, "/render?target=scale(a.b,'x')&format=json"),
                        "{\"error\":{\"message\":\"scale(): parameter 'factor' expects a number, not x\\n"
                        "  scale(a.b,'x')\\n            ^\"}}");
}

static void an_incomplete_answer_says_so(void **state)
{
    struct fixture *f = *state;
    f->source.broken = true;
    assert_non_null(strstr(get(f, 503, "/render?target=a.b&format=json"), "disk is on fire"));
    assert_non_null(client_header(&f->reply, "Retry-After"));
    get(f, 200, "/render?target=a.b&format=json&partial=1");
    assert_string_equal(client_header(&f->reply, "X-Carat-Incomplete"), "the disk is on fire");
    f->source.broken = false;
    f->waiting = true;
    assert_non_null(strstr(get(f, 503, "/metrics/find?query=*"), "catching up: partition 0"));
    get(f, 503, "/render?target=a.b&format=json");
    get(f, 200, "/metrics/find?query=*&partial=1");
    assert_string_equal(client_header(&f->reply, "X-Carat-Incomplete"), "catching up: partition 0");
    get(f, 200, "/functions");
}

struct client {
    struct fixture *f;
    pthread_t thread;
    struct client_reply reply;
};

static void *run_client(void *arg)
{
    struct client *c = arg;
    static const char request[] =
        "GET /render?target=scale(a.b,2)&from=1140&until=1200&format=json HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd = client_dial(http_server_port(c->f->server));
    for (int i = 0; i < 20; i++) {
        client_write(fd, request, sizeof request - 1);
        client_read(fd, &c->reply, 1);
        if (c->reply.status != 200 || strcmp(buf_str(&c->reply.body), one))
            break;
    }
    close(fd);
    return NULL;
}

static void many_ask_at_once(void **state)
{
    struct client c[8];
    memset(c, 0, sizeof c);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        c[i].f = *state;
        assert_int_equal(pthread_create(&c[i].thread, NULL, run_client, &c[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        pthread_join(c[i].thread, NULL);
        assert_int_equal(c[i].reply.status, 200);
        assert_string_equal(buf_str(&c[i].reply.body), one);
        buf_release(&c[i].reply.head);
        buf_release(&c[i].reply.body);
    }
}

static void a_stopping_api_refuses(void **state)
{
    struct fixture *f = *state;
    api_graphite_stop(f->api);
    assert_non_null(strstr(get(f, 503, "/render?target=a.b&format=json"), "stopping"));
}

int main(void)
{
#define WITH_SERVER(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(targets_come_from_the_address_or_a_form),
        WITH_SERVER(every_path_is_there),
        WITH_SERVER(errors_are_json_with_the_place),
        WITH_SERVER(an_incomplete_answer_says_so),
        WITH_SERVER(many_ask_at_once),
        WITH_SERVER(a_stopping_api_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
