/* The Mackerel and the status API over a real server; sink, catalog and reader are played by the test. */
#include "base/mem.h"
#include "http/api_mackerel.h"
#include "http/api_status.h"
#include "http_client.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The sink keeps what was submitted, and answers at once with `result` or, if `hold`, when the test says. */
struct sink {
    pthread_mutex_t mtx;
    pthread_cond_t submitted;
    bool hold;
    struct sink_result result;
    unsigned submissions, rejected;
    struct buf points; /* "name ts_ms value;" ... */
    sink_done_fn done;
    void *ctx;
};
struct sink_session {
    struct sink *sink;
};

struct sink_session *sink_session_new(struct sink *s, const char *door)
{
    struct sink_session *session = xcalloc(1, sizeof *session);
    session->sink = s;
    return session;
}

void sink_session_free(struct sink_session *s)
{
    free(s);
}

void sink_submit(struct sink_session *session, const struct sample_batch *b, enum sink_mode mode,
                 bool all_or_nothing, sink_done_fn done, void *ctx)
{
    struct sink *s = session->sink;
    assert_int_equal(mode, SINK_REFUSE);
    assert_true(all_or_nothing);
    pthread_mutex_lock(&s->mtx);
    for (size_t i = 0; i < REJECT_KINDS; i++)
        s->rejected += (unsigned)b->rejected[i];
    if (!done) {
        assert_int_equal(b->n, 0);
        pthread_mutex_unlock(&s->mtx);
        return;
    }
    for (size_t i = 0; i < b->n; i++)
        buf_printf(&s->points, "%.*s %lld %g;", (int)b->v[i].name_len, b->v[i].name, (long long)b->v[i].ts_ms,
                   b->v[i].value);
    s->submissions++;
    s->done = done;
    s->ctx = ctx;
    bool hold = s->hold;
    pthread_cond_broadcast(&s->submitted);
    pthread_mutex_unlock(&s->mtx);
    if (!hold)
        done(ctx, &s->result);
}

/* Three series; ids are indices plus 1. */
static const char *const series[] = {"host.h1.cpu.user.percentage", "host.h1.loadavg5",
                                     "service.shop.orders"};

struct catalog_entry catalog_lookup(struct catalog *c, const char *name, size_t name_len)
{
    for (uint32_t i = 0; i < ARRAY_LEN(series); i++)
        if (strlen(series[i]) == name_len && !memcmp(series[i], name, name_len))
            return (struct catalog_entry){.id = i + 1, .step_ms = 60000};
    return (struct catalog_entry){0};
}

int catalog_find(struct catalog *c, const char *pattern, size_t len, size_t limit, catalog_node_fn fn,
                 void *ctx, struct err *err)
{
    static const struct catalog_node nodes[] = {{"host.h1.cpu", 11, 0, true},
                                                {"host.h1.cpu.user", 16, 0, true},
                                                {"host.h1.cpu.user.percentage", 27, 1, false},
                                                {"host.h1.loadavg5", 16, 2, false}};
    for (size_t i = 0; len == 10 && !memcmp(pattern, "host.h1.**", 10) && i < ARRAY_LEN(nodes); i++)
        if (fn(ctx, &nodes[i]))
            return 1;
    return OK;
}

struct reader {
    int status;
    bool incomplete;
    int64_t from_ms, until_ms, since_ms;
};

static void report_or_fail(struct reader *r, struct read_report *report, struct err *err)
{
    report->incomplete = r->incomplete;
    if (r->incomplete)
        err_set(&report->why, ERR_IO, "warm: disk on fire");
    if (r->status < 0)
        err_set(err, r->status, "reader says no");
}

int reader_fetch_planned(struct reader *r, uint32_t id, const struct read_range *range, struct column *c,
                         struct read_spans *spans, struct read_sums *sums, struct read_report *report,
                         struct err *err)
{
    r->from_ms = range->from_ms;
    r->until_ms = range->until_ms;
    *sums = (struct read_sums){0};
    report_or_fail(r, report, err);
    if (r->status < 0)
        return r->status;
    *c = (struct column){id, 1763800020000, 60000, 4, xmalloc(4 * sizeof(double))};
    const double values[] = {1.5, column_missing(), 0.1, 3e21};
    memcpy(c->values, values, sizeof values);
    return OK;
}

int reader_latest(struct reader *r, uint32_t id, int64_t since_ms, int64_t *ts_ms, double *value,
                  struct read_report *report, struct err *err)
{
    r->since_ms = since_ms;
    report_or_fail(r, report, err);
    *ts_ms = 1763800080000;
    *value = (double)id;
    return r->status;
}

struct fixture {
    struct metrics *metrics;
    struct sink sink;
    struct reader reader;
    struct clock_fake clock;
    struct api_mackerel *api;
    struct api_status status;
    struct http_server *server;
    unsigned port;
    _Atomic bool waiting;
    struct client_reply reply;
};

static size_t waiting(void *ctx, struct readiness_wait *out, size_t max)
{
    struct fixture *f = ctx;
    if (!f->waiting)
        return 0;
    snprintf(out->text, sizeof out->text, "partition 0: \"7\" records");
    return 1;
}

static int start(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err err = ERR_INIT;
    f->metrics = metrics_new();
    pthread_mutex_init(&f->sink.mtx, NULL);
    pthread_cond_init(&f->sink.submitted, NULL);
    clock_fake_init(&f->clock, 1763800100000);
    struct http_options h = {.listen = "127.0.0.1:0", .metrics = f->metrics};
    assert_int_equal(http_server_new(&h, &f->server, &err), OK);
    struct readiness readiness = {waiting, f};
    struct api_mackerel_options o = {
        .sink = &f->sink, .reader = &f->reader, .clock = &f->clock.base, .readiness = readiness};
    f->api = api_mackerel_new(&o);
    api_mackerel_routes(f->api, f->server);
    f->status = (struct api_status){.metrics = f->metrics, .clock = clock_system(), .readiness = readiness};
    api_status_routes(&f->status, f->server);
    assert_int_equal(http_server_start(f->server, &err), OK);
    f->port = http_server_port(f->server);
    *state = f;
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    http_server_free(f->server);
    api_mackerel_free(f->api);
    metrics_free(f->metrics);
    buf_release(&f->sink.points);
    client_reply_release(&f->reply);
    free(f);
    return 0;
}

static const char *get(struct fixture *f, int status, const char *target)
{
    assert_int_equal(client_once(f->port, "GET", target, "X-Api-Key: any\r\n", NULL, &f->reply), status);
    return client_body(&f->reply);
}

static const char *post(struct fixture *f, int status, const char *target, const char *body)
{
    assert_int_equal(client_once(f->port, "POST", target,
                                 "X-Api-Key: any\r\nContent-Type: application/json\r\n", body, &f->reply),
                     status);
    return client_body(&f->reply);
}

static const char two_points[] =
    "[{\"hostId\":\"h1\",\"name\":\"loadavg5\",\"time\":1763800000,\"value\":0.5},"
    "{\"hostId\":\"h1\",\"name\":\"cpu.user\",\"time\":1763800060,\"value\":7}]";

static void posts_reach_the_sink_with_full_names(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(post(f, 200, "/api/v0/tsdb", two_points), "{\"success\":true}");
    assert_string_equal(buf_str(&f->sink.points),
                        "host.h1.loadavg5 1763800000000 0.5;host.h1.cpu.user 1763800060000 7;");
    buf_clear(&f->sink.points);
    post(f, 200, "/api/v0/services/shop/tsdb", "[{\"name\":\"orders\",\"time\":1763800000,\"value\":3}]");
    assert_string_equal(buf_str(&f->sink.points), "service.shop.orders 1763800000000 3;");
}

static void success_is_told_only_after_the_points_are_durable(void **state)
{
    struct fixture *f = *state;
    f->sink.hold = true;
    struct buf b = BUF_INIT;
    buf_printf(&b, "POST /api/v0/tsdb HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
               strlen(two_points), two_points);
    int fd = client_dial(f->port);
    client_write(fd, b.data, b.len);
    buf_release(&b);
    pthread_mutex_lock(&f->sink.mtx);
    while (!f->sink.submissions)
        pthread_cond_wait(&f->sink.submitted, &f->sink.mtx);
    pthread_mutex_unlock(&f->sink.mtx);
    get(f, 200, "/healthz"); /* the server goes on, and has had time for a wrong answer */
    char c;
    assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
    f->sink.done(f->sink.ctx, &f->sink.result);
    client_read(fd, &f->reply, 1);
    assert_string_equal(client_body(&f->reply), "{\"success\":true}");
    close(fd);
}

static void bad_posts_name_the_element(void **state)
{
    struct fixture *f = *state;
    const char *body = post(f, 400, "/api/v0/tsdb",
                            "[{\"hostId\":\"h\",\"name\":\"a\",\"time\":1,\"value\":1},{\"hostId\":\"h\"}]");
    assert_non_null(strstr(body, "element 1"));
    post(f, 400, "/api/v0/tsdb", "not json");
    post(f, 400, "/api/v0/services/a.b/tsdb", "[{\"name\":\"orders\",\"time\":1763800000,\"value\":3}]");
    assert_int_equal(f->sink.submissions, 0);
    assert_true(f->sink.rejected >= 1);
    f->sink.result =
        (struct sink_result){.status = ERR_INVALID, .first_rejected = 1, .first_reason = REJECT_FUTURE};
    body = post(f, 400, "/api/v0/tsdb", two_points);
    assert_non_null(strstr(body, "element 1"));
    assert_non_null(strstr(body, reject_help(REJECT_FUTURE)));
}

static void a_stream_that_cannot_store_is_told_with_retry_after(void **state)
{
    struct fixture *f = *state;
    f->sink.result = (struct sink_result){.status = ERR_BUSY};
    post(f, 503, "/api/v0/tsdb", two_points);
    assert_string_equal(client_header(&f->reply, "Retry-After"), "1");
    static const int failures[] = {ERR_NO_SPACE, ERR_FAILED, ERR_CLOSED, ERR_TIMEOUT};
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        f->sink.result = (struct sink_result){.status = failures[i]};
        err_set(&f->sink.result.err, failures[i], "segment 7 gave up");
        assert_non_null(strstr(post(f, 503, "/api/v0/tsdb", two_points), "segment 7 gave up"));
        assert_non_null(client_header(&f->reply, "Retry-After"));
    }
}

static void metrics_come_ascending_without_the_gaps(void **state)
{
    struct fixture *f = *state;
    const char *body = get(f, 200, "/api/v0/hosts/h1/metrics?name=loadavg5&from=1763800000&to=1763800300");
    assert_non_null(strstr(body, "{\"metrics\":[{\"time\":1763800020,\"value\":1.5},"
                                 "{\"time\":1763800140,\"value\":0.1},{\"time\":1763800200,\"value\":"));
    assert_true(f->reader.from_ms == 1763800000000 &&
                f->reader.until_ms == 1763800300001); /* `to` included */
    get(f, 200, "/api/v0/services/shop/metrics?name=orders&from=0&to=1");
    get(f, 200,
        "/api/v0/hosts/h1/metrics?name=loadavg5&from=1763800000&to=1763800300?%7B%7D"); /* npm mackerel */
    get(f, 404, "/api/v0/hosts/h1/metrics?name=nothing&from=0&to=1");
    get(f, 404, "/api/v0/hosts/h2/metrics?name=loadavg5&from=0&to=1");
    get(f, 404, "/api/v0/hosts/h1.cpu/metrics?name=user.percentage&from=0&to=1"); /* not across owners */
    static const char *const bad[] = {"from=0&to=1",          "name=a&from=0",
                                      "name=a&from=x&to=1",   "name=a&from=2&to=1",
                                      "name=a&from=-1&to=1",  "name=a&from=0&to=1?x",
                                      "name=a&from=0&to=1e3", "name=a&from=0&to=99999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char target[128];
        snprintf(target, sizeof target, "/api/v0/hosts/h1/metrics?%s", bad[i]);
        get(f, 400, target);
    }
}

static void latest_values_come_by_host_and_name(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(get(f, 200,
                            "/api/v0/tsdb/latest?hostId=h1&hostId=h2&name=loadavg5&name=none&"
                            "name=cpu.user.percentage?%7B%7D"),
                        "{\"tsdbLatest\":{\"h1\":{\"loadavg5\":{\"time\":1763800080,\"value\":2},"
                        "\"cpu.user.percentage\":{\"time\":1763800080,\"value\":1}},\"h2\":{}}}");
    assert_true(f->reader.since_ms == 1763800100000 - 86400000);
    f->reader.status = 1; /* nothing that new */
    assert_string_equal(get(f, 200, "/api/v0/tsdb/latest?hostId=h1&name=loadavg5"),
                        "{\"tsdbLatest\":{\"h1\":{}}}");
    get(f, 400, "/api/v0/tsdb/latest?hostId=h1");
    get(f, 400, "/api/v0/tsdb/latest?name=h1");
}

static void names_are_listed_without_their_owner(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(get(f, 200, "/api/v0/hosts/h1/metric-names"),
                        "{\"names\":[\"cpu.user.percentage\",\"loadavg5\"]}");
    get(f, 404, "/api/v0/hosts/h2/metric-names");
    get(f, 404, "/api/v0/hosts/*/metric-names");
    get(f, 404, "/api/v0/services/h1/metric-names");
}

static void an_incomplete_answer_is_not_given(void **state)
{
    struct fixture *f = *state;
    static const char *const reads[] = {"/api/v0/hosts/h1/metrics?name=loadavg5&from=0&to=1",
                                        "/api/v0/tsdb/latest?hostId=h1&name=loadavg5",
                                        "/api/v0/hosts/h1/metric-names"};
    f->reader.incomplete = true;
    for (size_t i = 0; i < 2; i++)
        assert_non_null(strstr(get(f, 503, reads[i]), "disk on fire"));
    f->reader.incomplete = false;
    f->reader.status = ERR_IO;
    for (size_t i = 0; i < 2; i++)
        assert_non_null(strstr(get(f, 503, reads[i]), "reader says no"));
    f->reader.status = ERR_LIMIT;
    get(f, 400, reads[0]);
    f->reader.status = OK;
    f->waiting = true;
    for (size_t i = 0; i < ARRAY_LEN(reads); i++)
        assert_non_null(strstr(get(f, 503, reads[i]), "catching up: partition 0"));
    post(f, 200, "/api/v0/tsdb", two_points); /* writes do not wait */
}

static void what_is_not_there_is_404(void **state)
{
    struct fixture *f = *state;
    post(f, 404, "/api/v0/graph-defs/create", "[]");
    post(f, 404, "/api/v0/hosts", "{}");
    get(f, 405, "/api/v0/tsdb");
}

static void status_pages_tell_the_state(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(get(f, 200, "/healthz"), "{\"status\":\"ok\"}");
    assert_string_equal(get(f, 200, "/readyz"), "{\"status\":\"ready\"}");
    f->waiting = true;
    get(f, 200, "/healthz");
    assert_string_equal(get(f, 503, "/readyz"),
                        "{\"status\":\"catching up\",\"waiting_for\":[\"partition 0: \\\"7\\\" records\"]}");
    assert_string_equal(get(f, 200, "/version"), "1.1.8");
    assert_non_null(strstr(get(f, 200, "/metrics"), "carat_http_requests_total{code=\"5xx\"} 1\n"));
    assert_non_null(strstr(client_header(&f->reply, "Content-Type"), "text/plain; version=0.0.4"));
}

int main(void)
{
#define WITH_SERVER(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(posts_reach_the_sink_with_full_names),
        WITH_SERVER(success_is_told_only_after_the_points_are_durable),
        WITH_SERVER(bad_posts_name_the_element),
        WITH_SERVER(a_stream_that_cannot_store_is_told_with_retry_after),
        WITH_SERVER(metrics_come_ascending_without_the_gaps),
        WITH_SERVER(latest_values_come_by_host_and_name),
        WITH_SERVER(names_are_listed_without_their_owner),
        WITH_SERVER(an_incomplete_answer_is_not_given),
        WITH_SERVER(what_is_not_there_is_404),
        WITH_SERVER(status_pages_tell_the_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
