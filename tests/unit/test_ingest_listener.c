/* The listener over loopback sockets, with a real catalog and a stream in memory. */
#include "base/log.h"
#include "gate_stream.h"
#include "ingest/graphite_listener.h"
#include "model/batch.h"
#include "stream/stream_mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define TIME_S 1763800000
#define WAIT_S 10

struct bench {
    struct clock_fake clock;
    struct metrics *metrics;
    struct catalog *catalog;
    struct stream *stream;
    struct sink *sink;
    struct graphite_listener *listener;
    unsigned port;
};

static uint32_t step_of(void *ctx, const char *name, size_t len)
{
    return 60000;
}

static void bench_init(struct bench *t, struct stream *stream, struct graphite_listener_options o)
{
    struct err err = ERR_INIT;
    memset(t, 0, sizeof *t);
    clock_fake_init(&t->clock, TIME_S * INT64_C(1000));
    t->metrics = metrics_new();
    t->stream = stream ? stream : stream_mem_new(2, 1 << 20, clock_system());
    struct catalog_options co = {.step = step_of, .metrics = t->metrics};
    assert_int_equal(catalog_open(&co, &t->catalog, &err), OK);
    struct sink_options so = {.catalog = t->catalog,
                              .stream = t->stream,
                              .clock = &t->clock.base,
                              .metrics = t->metrics,
                              .max_future_ms = 3600000};
    t->sink = sink_new(&so);
    o.address = "127.0.0.1:0";
    o.sink = t->sink;
    o.clock = &t->clock.base;
    o.metrics = t->metrics;
    if (graphite_listener_start(&o, &t->listener, &err))
        fail_msg("%s", err.text);
    t->port = graphite_listener_port(t->listener);
}

static void bench_release(struct bench *t, bool own_stream)
{
    graphite_listener_stop(t->listener);
    if (own_stream) {
        stream_close(t->stream);
        stream_free(t->stream);
    }
    sink_free(t->sink);
    catalog_free(t->catalog);
    metrics_free(t->metrics);
}

static struct sockaddr_in address(const struct bench *t)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)t->port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int dial(const struct bench *t, int type)
{
    struct sockaddr_in a = address(t);
    int fd = socket(AF_INET, type, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        assert_true(k > 0);
        p += k;
        n -= (size_t)k;
    }
}

static uint64_t counted(struct bench *t, const char *name, const char *labels)
{
    return counter_get(metrics_counter(t->metrics, name, labels, ""));
}

static uint64_t rejected(struct bench *t, enum reject r)
{
    char labels[64];
    snprintf(labels, sizeof labels, "reason=\"%s\"", reject_name(r));
    return counted(t, "carat_points_rejected_total", labels);
}

static int64_t open_connections(struct bench *t)
{
    return atomic_load(&metrics_gauge(t->metrics, "carat_graphite_connections", NULL, "")->value);
}

static bool in_time(int64_t start_us)
{
    nanosleep(&(struct timespec){0, 500000}, NULL);
    return clock_mono_us(clock_system()) - start_us < WAIT_S * INT64_C(1000000);
}

static void wait_counter(struct bench *t, const char *name, const char *labels, uint64_t want)
{
    int64_t start = clock_mono_us(clock_system());
    while (counted(t, name, labels) < want)
        if (!in_time(start))
            fail_msg("%s{%s} is %llu, not %llu", name, labels ? labels : "",
                     (unsigned long long)counted(t, name, labels), (unsigned long long)want);
    assert_int_equal(counted(t, name, labels), want);
}

static void wait_rejected(struct bench *t, enum reject r, uint64_t want)
{
    char labels[64];
    snprintf(labels, sizeof labels, "reason=\"%s\"", reject_name(r));
    wait_counter(t, "carat_points_rejected_total", labels, want);
}

static void wait_open(struct bench *t, int64_t want)
{
    int64_t start = clock_mono_us(clock_system());
    while (open_connections(t) != want)
        if (!in_time(start))
            fail_msg("%lld connections are open, not %lld", (long long)open_connections(t), (long long)want);
}

/* All points of a series in the stream, as "value@seconds ...", sorted by stream order. */
static void stored(struct bench *t, const char *name, struct buf *out)
{
    uint32_t id = catalog_lookup(t->catalog, name, strlen(name)).id;
    struct err err;
    buf_clear(out);
    for (unsigned p = 0; p < stream_partitions(t->stream); p++) {
        struct stream_reader *r;
        struct stream_record rec;
        assert_int_equal(
            stream_reader_open(t->stream, p, (struct stream_start){STREAM_OLDEST, 0, 0}, &r, &err), OK);
        while (stream_reader_next(r, &rec, 0, &err) == OK) {
            struct batch b;
            assert_int_equal(batch_open(&b, rec.payload, rec.size, &err), OK);
            for (uint32_t i = 0; i < b.npoints; i++)
                if (id && batch_ref(&b, i) == id)
                    buf_printf(out, "%g@%lld ", batch_value(&b, i), (long long)batch_ts_ms(&b, i) / 1000);
        }
        stream_reader_close(r);
    }
}

static void assert_stored(struct bench *t, const char *name, const char *want)
{
    struct buf b = BUF_INIT;
    stored(t, name, &b);
    assert_string_equal(buf_str(&b), want);
    buf_release(&b);
}

static void lines_cut_at_every_byte(void **state)
{
    struct bench t;
    bench_init(&t, NULL, (struct graphite_listener_options){0});
    const char *text = "a.b 1 1763800000\r\nbad line\nc.d;t=1 2.5 1763800001\na.b 3 1763800002\n";
    size_t len = strlen(text);
    uint64_t bytes = 0;
    for (size_t cut = 1; cut < len; cut++) {
        int fd = dial(&t, SOCK_STREAM);
        send_all(fd, text, cut);
        wait_counter(&t, "carat_graphite_bytes_total", NULL, bytes += cut);
        send_all(fd, text + cut, len - cut);
        close(fd);
        wait_counter(&t, "carat_graphite_bytes_total", NULL, bytes += len - cut);
    }
    wait_counter(&t, "carat_points_synced_total", NULL, 3 * (len - 1));
    wait_rejected(&t, REJECT_SYNTAX, len - 1);
    wait_open(&t, 0);
    struct buf b = BUF_INIT, want = BUF_INIT;
    stored(&t, "c.d;t=1", &b);
    for (size_t i = 1; i < len; i++)
        buf_puts(&want, "2.5@1763800001 ");
    assert_string_equal(buf_str(&b), buf_str(&want));
    buf_release(&b);
    buf_release(&want);
    bench_release(&t, true);
}

static void byte_by_byte(void **state)
{
    struct bench t;
    bench_init(&t, NULL, (struct graphite_listener_options){.threads = 1});
    int fd = dial(&t, SOCK_STREAM);
    const char *text = "slow.line 42 1763800000\nslow.line 43 1763800060\n";
    for (const char *p = text; *p; p++) {
        send_all(fd, p, 1);
        wait_counter(&t, "carat_graphite_bytes_total", NULL, (uint64_t)(p - text) + 1);
    }
    wait_counter(&t, "carat_points_synced_total", NULL, 2);
    assert_stored(&t, "slow.line", "42@1763800000 43@1763800060 ");
    close(fd);
    bench_release(&t, true);
}

static void a_line_of_ten_megabytes_counts_once(void **state)
{
    struct bench t;
    bench_init(&t, NULL, (struct graphite_listener_options){0});
    size_t n = 10u << 20;
    char *line = malloc(n + 64);
    memset(line, 'x', n);
    strcpy(line + n, "\na.b 7 1763800000\n");
    int fd = dial(&t, SOCK_STREAM);
    send_all(fd, "a.b 6 1763800000\n", 17);
    send_all(fd, line, strlen(line));
    wait_counter(&t, "carat_points_synced_total", NULL, 2);
    assert_int_equal(rejected(&t, REJECT_LINE_TOO_LONG), 1);
    assert_stored(&t, "a.b", "6@1763800000 7@1763800000 ");
    close(fd);
    free(line);
    bench_release(&t, true);
}

static void an_unfinished_last_line_is_not_guessed(void **state)
{
    struct bench t;
    bench_init(&t, NULL, (struct graphite_listener_options){0});
    int fd = dial(&t, SOCK_STREAM);
    send_all(fd, "a.b 1 1763800000\na.b 2 17638", 28);
    close(fd);
    wait_rejected(&t, REJECT_SYNTAX, 1);
    wait_counter(&t, "carat_points_synced_total", NULL, 1);
    wait_open(&t, 0);
    bench_release(&t, true);
}

static void datagrams(void **state)
{
    struct bench t;
    bench_init(&t, NULL, (struct graphite_listener_options){0});
    int fd = dial(&t, SOCK_DGRAM);
    const char *d[] = {"u.a 1 1763800000\nu.b 2 1763800000", "u.a 3 1763800001\n", "nonsense", "",
                       "u.a 4 1763800002\nu.a 5 1763800003\r\n"};
    for (size_t i = 0; i < sizeof d / sizeof *d; i++)
        assert_int_equal(send(fd, d[i], strlen(d[i]), 0), strlen(d[i]));
    wait_counter(&t, "carat_graphite_datagrams_total", NULL, 5);
    wait_counter(&t, "carat_points_synced_total", NULL, 5);
    wait_rejected(&t, REJECT_SYNTAX, 1);
    assert_stored(&t, "u.a", "1@1763800000 3@1763800001 4@1763800002 5@1763800003 ");
    close(fd);
    bench_release(&t, true);
}

static void a_thousand_idle_connections(void **state)
{
    enum { N = 1000 };
    struct rlimit lim;
    getrlimit(RLIMIT_NOFILE, &lim);
    lim.rlim_cur = lim.rlim_max;
    setrlimit(RLIMIT_NOFILE, &lim);
    if (lim.rlim_cur < 2 * N + 100)
        skip();
    struct bench t;
    bench_init(&t, NULL, (struct graphite_listener_options){.idle_timeout_ms = 60000});
    int fd[N];
    for (int i = 0; i < N; i++)
        fd[i] = dial(&t, SOCK_STREAM);
    wait_open(&t, N);
    for (int i = 0; i < N; i += 10)
        send_all(fd[i], "idle.one 1 1763800000\n", 22);
    wait_counter(&t, "carat_points_synced_total", NULL, N / 10);
    /* A minute later all are closed but the one that speaks. */
    atomic_fetch_add(&t.clock.now_ms, 50000);
    send_all(fd[7], "idle.one 1 1763800000\n", 22);
    wait_counter(&t, "carat_points_synced_total", NULL, N / 10 + 1);
    atomic_fetch_add(&t.clock.now_ms, 20000);
    wait_open(&t, 1);
    assert_int_equal(counted(&t, "carat_graphite_connections_idle_total", NULL), N - 1);
    send_all(fd[7], "idle.one 1 1763800000\n", 22);
    wait_counter(&t, "carat_points_synced_total", NULL, N / 10 + 2);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    bench_release(&t, true);
}

static void connections_beyond_the_bound_are_closed(void **state)
{
    struct bench t;
    bench_init(&t, NULL, (struct graphite_listener_options){.max_connections = 2});
    int a = dial(&t, SOCK_STREAM), b = dial(&t, SOCK_STREAM), c = dial(&t, SOCK_STREAM);
    wait_counter(&t, "carat_graphite_connections_refused_total", NULL, 1);
    char byte;
    assert_true(recv(c, &byte, 1, 0) <= 0);
    send_all(b, "x 1 1763800000\n", 15);
    wait_counter(&t, "carat_points_synced_total", NULL, 1);
    close(a);
    close(c);
    wait_open(&t, 1);
    a = dial(&t, SOCK_STREAM);
    send_all(a, "x 2 1763800000\n", 15);
    wait_counter(&t, "carat_points_synced_total", NULL, 2);
    close(a);
    close(b);
    bench_release(&t, true);
}

/* More than the read buffer and more than the stream's, from several senders at once. */
struct sender {
    const struct bench *t;
    int number;
    pthread_t thread;
};
enum { SENDERS = 4, LINES = 20000 };

static void *send_many(void *ctx)
{
    struct sender *s = ctx;
    struct buf b = BUF_INIT;
    for (int i = 0; i < LINES; i++)
        buf_printf(&b, "many.sender-%d.metric-%d.value %d %d\n", s->number, i % 100, i, TIME_S);
    int fd = dial(s->t, SOCK_STREAM);
    send_all(fd, (const char *)b.data, b.len);
    close(fd);
    buf_release(&b);
    return NULL;
}

static void many_lines_from_many_senders(void **state)
{
    struct bench t;
    bench_init(&t, NULL, (struct graphite_listener_options){.threads = 3});
    struct sender s[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        s[i] = (struct sender){&t, i, 0};
        assert_int_equal(pthread_create(&s[i].thread, NULL, send_many, &s[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(s[i].thread, NULL);
    wait_counter(&t, "carat_points_synced_total", NULL, SENDERS * LINES);
    assert_int_equal(counted(&t, "carat_points_received_total", "door=\"graphite\""), SENDERS * LINES);
    assert_int_equal(catalog_count(t.catalog), SENDERS * 100);
    struct buf want = BUF_INIT;
    for (int i = 42; i < LINES; i += 100)
        buf_printf(&want, "%g@%d ", (double)i, TIME_S);
    assert_stored(&t, "many.sender-3.metric-42.value", buf_str(&want));
    buf_release(&want);
    bench_release(&t, true);
}

/* What clients sent before the stop is taken. */
static void stop_takes_what_can_be_read(void **state)
{
    struct bench t;
    bench_init(&t, NULL, (struct graphite_listener_options){.threads = 1});
    int fd[20];
    for (int i = 0; i < 20; i++)
        fd[i] = dial(&t, SOCK_STREAM);
    wait_open(&t, 20);
    for (int i = 0; i < 20; i++)
        send_all(fd[i], "x 1 1763800000\n", 15);
    graphite_listener_stop(t.listener);
    t.listener = NULL;
    assert_int_equal(counted(&t, "carat_points_appended_total", NULL), 20);
    assert_int_equal(open_connections(&t), 0);
    for (int i = 0; i < 20; i++)
        close(fd[i]);
    bench_release(&t, true);
}

static void stop_does_not_hang_on_a_full_stream(void **state)
{
    struct bench t;
    struct gate_stream *g = gate_new(1, 1 << 20);
    g->room = 0;
    bench_init(&t, &g->base, (struct graphite_listener_options){0});
    int fd = dial(&t, SOCK_STREAM);
    send_all(fd, "x 1 1763800000\n", 15);
    for (bool waits = false; !waits;) {
        pthread_mutex_lock(&g->mtx);
        waits = g->waits > 0;
        pthread_mutex_unlock(&g->mtx);
    }
    graphite_listener_stop(t.listener);
    t.listener = NULL;
    assert_int_equal(rejected(&t, REJECT_UNAVAILABLE), 1);
    close(fd);
    bench_release(&t, false);
    gate_free(g);
}

/* Senders without acks must notice: their connections end and the port is closed. */
static void a_failed_stream_closes_the_door(void **state)
{
    struct bench t;
    struct gate_stream *g = gate_new(1, 1 << 20);
    g->answer = ERR_FAILED;
    bench_init(&t, &g->base, (struct graphite_listener_options){.threads = 1});
    int fd = dial(&t, SOCK_STREAM), idle = dial(&t, SOCK_STREAM);
    wait_open(&t, 2);
    send_all(fd, "x 1 1763800000\n", 15);
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    assert_true(recv(idle, &byte, 1, 0) <= 0);
    wait_open(&t, 0);
    struct sockaddr_in a = address(&t);
    int again = socket(AF_INET, SOCK_STREAM, 0);
    for (int64_t start = clock_mono_us(clock_system());;) {
        int rc = connect(again, (struct sockaddr *)&a, sizeof a);
        if (rc < 0)
            break;
        close(again);
        again = socket(AF_INET, SOCK_STREAM, 0);
        assert_true(in_time(start));
    }
    assert_int_equal(rejected(&t, REJECT_UNAVAILABLE), 1);
    close(fd);
    close(idle);
    close(again);
    bench_release(&t, false);
    gate_free(g);
}

static void addresses(void **state)
{
    struct bench t;
    bench_init(&t, NULL, (struct graphite_listener_options){0});
    char taken[64];
    snprintf(taken, sizeof taken, "127.0.0.1:%u", t.port);
    const char *bad[] = {
        "",          "127.0.0.1", ":2003",           "127.0.0.1:", "127.0.0.1:x",    "::1:2003",
        "[::1:2003", "[]",        "127.0.0.1:99999", "[]:1",       "256.1.1.1:2003", taken};
    struct graphite_listener_options o = {.sink = t.sink, .clock = &t.clock.base, .metrics = t.metrics};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = ERR_INIT;
        struct graphite_listener *l;
        o.address = bad[i];
        assert_int_not_equal(graphite_listener_start(&o, &l, &err), OK);
        assert_non_null(strstr(err.text, "graphite.listen"));
        assert_non_null(strstr(err.text, bad[i]));
        if (bad[i] == taken)
            assert_int_equal(err.saved_errno, EADDRINUSE);
    }
    struct graphite_listener *l;
    struct err err;
    o.address = "localhost:0";
    o.no_udp = true;
    assert_int_equal(graphite_listener_start(&o, &l, &err), OK);
    assert_true(graphite_listener_port(l) > 0);
    graphite_listener_stop(l);
    bench_release(&t, true);
}

int main(void)
{
    log_set_level((enum log_level)(LOG_ERROR + 1)); /* these tests provoke what is logged */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_cut_at_every_byte),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(a_line_of_ten_megabytes_counts_once),
        cmocka_unit_test(an_unfinished_last_line_is_not_guessed),
        cmocka_unit_test(datagrams),
        cmocka_unit_test(a_thousand_idle_connections),
        cmocka_unit_test(connections_beyond_the_bound_are_closed),
        cmocka_unit_test(many_lines_from_many_senders),
        cmocka_unit_test(stop_takes_what_can_be_read),
        cmocka_unit_test(stop_does_not_hang_on_a_full_stream),
        cmocka_unit_test(a_failed_stream_closes_the_door),
        cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests_name("ingest_listener", tests, NULL, NULL);
}
