/* The stream on real NATS servers: the conformance suite, and what only this backend can meet. Started by
 * tests/system/with_server.py: test_tier_stream_jetstream suite|only|cluster (the last with three servers).
 */
#include "base/bytes.h"
#include "base/log.h"
#include "base/mem.h"
#include "stream/stream_jetstream.h"
#include "tier/stream_suite.h"

#include <nats/nats.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned names;

static const char *servers(void)
{
    const char *s = getenv("CARAT_TEST_NATS");
    if (!s) {
        fprintf(stderr, "run me by tests/system/with_server.py nats\n");
        exit(2);
    }
    return s;
}

static struct stream *open_named(const char *name, unsigned partitions, struct clock *clock, int64_t keep_ms)
{
    const struct stream_jetstream_options o = {.servers = servers(),
                                               .name = name,
                                               .partitions = partitions,
                                               .buffer_bytes = 64u << 10,
                                               .keep_ms = keep_ms,
                                               .ack_timeout_ms = 60000,
                                               .clock = clock};
    struct stream *s = NULL;
    struct err err = ERR_INIT;
    if (stream_jetstream_open(&o, &s, &err) != OK)
        fprintf(stderr, "%s\n", err.text);
    return s;
}

static void delete_stream(const char *name)
{
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    char bucket[96];
    snprintf(bucket, sizeof bucket, "%s_state", name);
    const char *url = servers();
    char *first = xstrndup(url, strcspn(url, ","));
    if (natsConnection_ConnectTo(&nc, first) == NATS_OK &&
        natsConnection_JetStream(&js, nc, NULL) == NATS_OK) {
        js_DeleteStream(js, name, NULL, NULL);
        js_DeleteKeyValue(js, bucket);
    }
    free(first);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
}

static struct stream *open_suite(struct stream_backend *b, unsigned partitions, struct clock *clock)
{
    char name[32];
    snprintf(name, sizeof name, "SUITE%u", ++names);
    b->ctx = xstrdup(name);
    return open_named(name, partitions, clock, 0);
}

static void clean_suite(struct stream_backend *b)
{
    delete_stream(b->ctx);
    free(b->ctx);
}

/* --- only here ---------------------------------------------------------------------------------------------
 */

struct acks {
    pthread_mutex_t mu;
    pthread_cond_t changed;
    size_t n, good;
    uint64_t last_pos;
    bool disorder;
};
#define ACKS_INIT                                                                                            \
    {                                                                                                        \
        .mu = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                 \
    }

static void on_done(void *ctx, int status, uint64_t pos)
{
    struct acks *a = ctx;
    pthread_mutex_lock(&a->mu);
    a->n++;
    a->good += status == OK;
    a->disorder |= status == OK && pos <= a->last_pos;
    a->last_pos = status == OK ? pos : a->last_pos;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->mu);
}

static void wait_acks(struct acks *a, size_t n)
{
    pthread_mutex_lock(&a->mu);
    while (a->n < n)
        pthread_cond_wait(&a->changed, &a->mu);
    pthread_mutex_unlock(&a->mu);
}

static void put(struct stream *s, unsigned lane, const char *text, struct acks *a)
{
    struct err err = ERR_INIT;
    assert_int_equal(stream_append(s, lane, text, strlen(text), 1, a ? on_done : NULL, a, &err), OK);
}

static struct stream_reader *reader(struct stream *s, unsigned lane, struct stream_start start)
{
    struct stream_reader *r = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(stream_reader_open(s, lane, start, &r, &err), OK);
    return r;
}

static uint64_t expect(struct stream_reader *r, const char *text)
{
    struct stream_record rec;
    struct err err = ERR_INIT;
    if (stream_reader_next(r, &rec, 10000, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(rec.size, strlen(text));
    assert_memory_equal(rec.payload, text, rec.size);
    return rec.pos;
}

#define FROM_OLDEST ((struct stream_start){.from = STREAM_OLDEST})

static void everything_is_there_after_a_restart(void **state)
{
    struct acks a = ACKS_INIT;
    struct err err = ERR_INIT;
    struct stream *s = open_named("RESTART", 3, clock_system(), 0);
    put(s, 0, "one", &a);
    put(s, 0, "two", &a);
    put(s, 2, "three", &a);
    wait_acks(&a, 3);
    struct stream_reader *r = reader(s, 0, FROM_OLDEST);
    uint64_t one = expect(r, "one");
    stream_reader_close(r);
    assert_int_equal(stream_checkpoint(s, 0, one, &err), OK);
    stream_close(s);
    stream_free(s);
    s = open_named("RESTART", 1, clock_system(), 0);
    assert_int_equal(stream_jetstream_lanes(s), 3); /* lane 2 still has a record */
    assert_int_equal(stream_partitions(s), 1);
    assert_true(stream_checkpoint_get(s, 0) == one);
    assert_true(stream_synced_pos(s, 0) > one && stream_synced_pos(s, 1) == 0);
    r = reader(s, 0, (struct stream_start){.from = STREAM_POSITION, .from_pos = one});
    uint64_t two = expect(r, "two");
    put(s, 0, "four", NULL);
    assert_true(expect(r, "four") > two);
    stream_reader_close(r);
    r = reader(s, 2, FROM_OLDEST);
    expect(r, "three");
    stream_reader_close(r);
    stream_free(s);
    delete_stream("RESTART");
}

static void positions_grow_when_the_stream_is_made_anew(void **state)
{
    struct acks a = ACKS_INIT;
    struct stream *s = open_named("ANEW", 1, clock_system(), 0);
    for (int i = 0; i < 50; i++)
        put(s, 0, "x", &a);
    wait_acks(&a, 50);
    stream_free(s);
    delete_stream("ANEW");
    s = open_named("ANEW", 1, clock_system(), 0);
    put(s, 0, "y", &a);
    wait_acks(&a, 51);
    assert_false(a.disorder);
    stream_free(s);
    delete_stream("ANEW");
}

static void a_stream_that_ends_before_its_checkpoint_is_refused(void **state)
{
    struct acks a = ACKS_INIT;
    struct err err = ERR_INIT;
    const struct stream_jetstream_options o = {
        .servers = servers(), .name = "BACK", .partitions = 1, .clock = clock_system()};
    struct stream *s = open_named("BACK", 1, clock_system(), 0);
    put(s, 0, "x", &a);
    wait_acks(&a, 1);
    assert_int_equal(stream_checkpoint(s, 0, a.last_pos, &err), OK);
    stream_free(s);
    /* The checkpoint is moved by hand: as if the servers had forgotten what came after it. */
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    kvStore *kv = NULL;
    char *first = xstrndup(servers(), strcspn(servers(), ",")), text[32];
    assert_int_equal(natsConnection_ConnectTo(&nc, first), NATS_OK);
    assert_int_equal(natsConnection_JetStream(&js, nc, NULL), NATS_OK);
    assert_int_equal(js_KeyValue(&kv, js, "BACK_state"), NATS_OK);
    snprintf(text, sizeof text, "%llu", (unsigned long long)a.last_pos + 5);
    assert_int_equal(kvStore_PutString(NULL, kv, "checkpoint.0", text), NATS_OK);
    kvStore_Destroy(kv);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    free(first);
    assert_int_equal(stream_jetstream_open(&o, &s, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, "before the checkpoint"));
    delete_stream("BACK");
}

static void what_is_old_and_behind_the_checkpoint_goes(void **state)
{
    struct acks a = ACKS_INIT;
    struct err err = ERR_INIT;
    struct stream *s = open_named("TRIM", 2, clock_system(), 1);
    put(s, 0, "a", &a);
    put(s, 0, "b", &a);
    put(s, 1, "other", &a);
    wait_acks(&a, 3);
    struct stream_reader *r = reader(s, 0, FROM_OLDEST);
    uint64_t first = expect(r, "a");
    stream_reader_close(r);
    nats_Sleep(20); /* older than the kept millisecond */
    assert_int_equal(stream_checkpoint(s, 0, first, &err), OK);
    r = reader(s, 0, FROM_OLDEST);
    uint64_t second = expect(r, "b");
    stream_reader_close(r);
    r = reader(s, 1, FROM_OLDEST);
    expect(r, "other");
    stream_reader_close(r);
    stream_free(s);
    s = open_named("TRIM", 1, clock_system(), 0); /* kept for a day */
    assert_int_equal(stream_checkpoint(s, 0, second, &err), OK);
    r = reader(s, 0, FROM_OLDEST);
    expect(r, "b");
    stream_reader_close(r);
    stream_free(s);
    delete_stream("TRIM");
}

static void a_strange_message_is_told_and_passed(void **state)
{
    struct acks a = ACKS_INIT;
    struct err err = ERR_INIT;
    struct stream_record rec;
    struct stream *s = open_named("STRANGE", 1, clock_system(), 0);
    put(s, 0, "before", &a);
    wait_acks(&a, 1);
    natsConnection *nc = NULL;
    char *first = xstrndup(servers(), strcspn(servers(), ","));
    assert_int_equal(natsConnection_ConnectTo(&nc, first), NATS_OK);
    assert_int_equal(natsConnection_PublishString(nc, "STRANGE.p.0", "this is none of ours, whoever sent it"),
                     NATS_OK);
    assert_int_equal(natsConnection_Flush(nc), NATS_OK);
    natsConnection_Destroy(nc);
    free(first);
    put(s, 0, "after", &a);
    wait_acks(&a, 2);
    struct stream_reader *r = reader(s, 0, FROM_OLDEST);
    expect(r, "before");
    assert_int_equal(stream_reader_next(r, &rec, 10000, &err), ERR_CORRUPT);
    expect(r, "after");
    struct stream_stats st;
    stream_get_stats(s, &st);
    assert_int_equal(st.quarantined_records, 1);
    stream_reader_close(r);
    stream_free(s);
    delete_stream("STRANGE");
}

static void a_second_process_sees_what_the_first_appends(void **state)
{
    struct acks a = ACKS_INIT;
    struct err err = ERR_INIT;
    struct stream *one = open_named("SHARED", 1, clock_system(), 0),
                  *two = open_named("SHARED", 1, clock_system(), 0);
    struct stream_reader *r = reader(two, 0, FROM_OLDEST);
    for (int i = 0; i < 20; i++) {
        put(one, 0, "x", &a);
        wait_acks(&a, (size_t)i + 1);
        assert_true(expect(r, "x") == a.last_pos);
    }
    assert_true(stream_synced_pos(two, 0) == a.last_pos);
    /* Both keep checkpoints: neither moves back what the other set. */
    assert_int_equal(stream_checkpoint(one, 0, a.last_pos, &err), OK);
    assert_int_equal(stream_checkpoint(two, 0, a.last_pos - 3, &err), OK);
    assert_true(stream_checkpoint_get(two, 0) == a.last_pos);
    stream_reader_close(r);
    stream_free(one);
    stream_free(two);
    delete_stream("SHARED");
}

static void wrong_settings_are_told(void **state)
{
    struct stream *s;
    struct err err = ERR_INIT;
    struct stream_jetstream_options o = {.servers = servers(),
                                         .name = "a.b",
                                         .partitions = 1,
                                         .clock = clock_system(),
                                         .connect_timeout_ms = 300};
    assert_int_equal(stream_jetstream_open(&o, &s, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "a.b"));
    o.name = "NOBODY";
    o.servers = "nats://127.0.0.1:1";
    assert_true(stream_jetstream_open(&o, &s, &err) < 0);
    assert_non_null(strstr(err.text, "connect"));
}

/* --- a cluster of three ------------------------------------------------------------------------------------
 */

#define APPENDERS 3
#define EACH      400

struct appender {
    struct stream *s;
    uint32_t id;
    struct acks *acks;
};

static void *append_many(void *ctx)
{
    struct appender *a = ctx;
    for (uint32_t i = 0; i < EACH; i++) {
        uint8_t payload[256] = {0};
        struct err err = ERR_INIT;
        put_u32le(payload, a->id);
        put_u32le(payload + 4, i);
        while (stream_append(a->s, 0, payload, sizeof payload, 1, on_done, a->acks, &err) == ERR_BUSY)
            stream_wait_space(a->s, 0, sizeof payload, 10000);
        nats_Sleep(1);
    }
    return NULL;
}

static int leader_pid(const char *stream)
{
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    jsStreamInfo *info = NULL;
    char *first = xstrndup(servers(), strcspn(servers(), ","));
    assert_int_equal(natsConnection_ConnectTo(&nc, first), NATS_OK);
    assert_int_equal(natsConnection_JetStream(&js, nc, NULL), NATS_OK);
    assert_int_equal(js_GetStreamInfo(&info, js, stream, NULL, NULL), NATS_OK);
    assert_int_equal(info->Config->Replicas, 3);
    const char *pid = getenv("CARAT_TEST_NATS_PIDS");
    for (int n = atoi(info->Cluster->Leader + 1); n; n--)
        pid = strchr(pid, ',') + 1;
    int value = atoi(pid);
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    free(first);
    return value;
}

/* Every append is acknowledged once, and read once, although the server that takes them is killed meanwhile.
 */
static void appends_outlive_the_stream_s_leader(void **state)
{
    struct acks acks = ACKS_INIT;
    struct appender a[APPENDERS];
    pthread_t threads[APPENDERS];
    struct stream *s = open_named("LEADER", 1, clock_system(), 0);
    struct stream_reader *r = reader(s, 0, FROM_OLDEST);
    for (uint32_t i = 0; i < APPENDERS; i++) {
        a[i] = (struct appender){s, i, &acks};
        assert_int_equal(pthread_create(&threads[i], NULL, append_many, &a[i]), 0);
    }
    wait_acks(&acks, 100);
    kill(leader_pid("LEADER"), SIGKILL);
    for (int i = 0; i < APPENDERS; i++)
        pthread_join(threads[i], NULL);
    wait_acks(&acks, (size_t)APPENDERS * EACH);
    assert_int_equal(acks.good, APPENDERS * EACH);
    assert_false(acks.disorder);
    static uint8_t seen[APPENDERS][EACH];
    int failures = 0;
    for (int i = 0; i < APPENDERS * EACH; i++) {
        struct stream_record rec;
        struct err err = ERR_INIT;
        while (stream_reader_next(r, &rec, 10000, &err) != OK) /* a lane tries again, too */
            if (++failures > 5)
                fail_msg("record %d: %s", i, err.text);
        uint32_t id = get_u32le(rec.payload), n = get_u32le(rec.payload + 4);
        assert_true(id < APPENDERS && n < EACH);
        if (seen[id][n]++)
            fail_msg("record %u of appender %u is there twice", n, id);
    }
    struct stream_record rec;
    struct err err = ERR_INIT;
    assert_int_equal(stream_reader_next(r, &rec, 0, &err), 1);
    stream_reader_close(r);
    stream_free(s);
}

/* One group a run: TAP has one plan. */
int main(int argc, char **argv)
{
    struct stream_backend backend = {.name = "jetstream", .open = open_suite, .clean = clean_suite};
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(everything_is_there_after_a_restart),
        cmocka_unit_test(positions_grow_when_the_stream_is_made_anew),
        cmocka_unit_test(a_stream_that_ends_before_its_checkpoint_is_refused),
        cmocka_unit_test(what_is_old_and_behind_the_checkpoint_goes),
        cmocka_unit_test(a_strange_message_is_told_and_passed),
        cmocka_unit_test(a_second_process_sees_what_the_first_appends),
        cmocka_unit_test(wrong_settings_are_told),
    };
    const struct CMUnitTest of_three[] = {cmocka_unit_test(appends_outlive_the_stream_s_leader)};
    const char *part = argc > 1 ? argv[1] : "suite";
    log_set_level(LOG_ERROR);
    servers();
    int failed;
    if (strcmp(part, "only") == 0)
        failed = cmocka_run_group_tests_name("jetstream_only", cases, NULL, NULL);
    else if (strcmp(part, "cluster") == 0)
        failed = cmocka_run_group_tests_name("jetstream_of_three", of_three, NULL, NULL);
    else
        failed = stream_suite_run(&backend);
    nats_CloseAndWait(2000);
    return failed ? 1 : 0;
}
