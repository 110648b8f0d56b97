/* The client for AWS-style services: what is repeated, when, and what a caller is told. No network. */
#include "unit/aws_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW    1790000000000ll
#define SECRET "verySECRETverySECRET"
#define TOKEN  "TOKENtokenTOKEN"

struct env {
    struct clock_fake clock;
    struct script script;
    struct aws_credentials *credentials;
    struct aws_client *client;
    struct metrics *metrics;
    struct aws_client_options o;
};

static const char *key_id; /* what the environment has */

static const char *fake_env(const char *name)
{
    return !strcmp(name, "AWS_ACCESS_KEY_ID")       ? key_id
           : !strcmp(name, "AWS_SECRET_ACCESS_KEY") ? SECRET
           : !strcmp(name, "AWS_SESSION_TOKEN")     ? TOKEN
                                                    : NULL;
}

static uint64_t zero(struct aws_random *r)
{
    (void)r;
    return 0;
}
static struct aws_random no_wait = {zero};

/* The longest wait each time, if they are given in order: w % (w + 1) == w. */
struct longest {
    struct aws_random base;
    uint64_t waits[16];
    size_t at;
};
static uint64_t longest(struct aws_random *r)
{
    struct longest *l = (struct longest *)r;
    return l->waits[l->at < 15 ? l->at++ : 15];
}

static void client_open(struct env *e)
{
    struct err err = ERR_INIT;
    e->o.credentials = e->credentials;
    e->o.clock = &e->clock.base;
    e->o.transport = &e->script.base;
    e->o.metrics = e->metrics;
    e->o.service = e->o.service ? e->o.service : "dynamodb";
    e->o.region = "eu-west-1";
    e->o.random = e->o.random ? e->o.random : &no_wait;
    if (aws_client_new(&e->o, &e->client, &err) < 0)
        fail_msg("%s", err.text);
}

static int setup(void **state)
{
    struct env *e = xcalloc(1, sizeof *e);
    clock_fake_init(&e->clock, NOW);
    script_init(&e->script, &e->clock);
    key_id = "AKID1";
    e->credentials =
        aws_credentials_new(&(struct aws_credentials_options){.env = fake_env, .clock = &e->clock.base});
    e->metrics = metrics_new();
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct env *e = *state;
    aws_client_free(e->client);
    aws_credentials_free(e->credentials);
    metrics_free(e->metrics);
    free(e);
    return 0;
}

static struct aws_call a_call(struct env *e)
{
    static const struct aws_pair target = {"x-amz-target", "DynamoDB_20120810.Query"};
    return (struct aws_call){.op = aws_operation(e->client, "Query"),
                             .method = "POST",
                             .path = "/",
                             .headers = &target,
                             .nheaders = 1,
                             .body = "{}",
                             .body_len = 2};
}

/* One call from the beginning to the end. */
static int run(struct env *e, struct aws_call *call, struct err *err)
{
    *err = (struct err)ERR_INIT;
    int rc = aws_call(e->client, call, err);
    assert_int_equal(rc, err->code);
    if (strstr(err->text, SECRET) || strstr(err->text, TOKEN))
        fail_msg("a secret is in \"%s\"", err->text);
    return rc;
}

static double metric(struct env *e, const char *name)
{
    struct buf out = BUF_INIT;
    metrics_render(e->metrics, &out);
    double v = -1;
    char *line, *rest = (char *)buf_str(&out);
    while ((line = strsep(&rest, "\n")))
        if (!strncmp(line, name, strlen(name)) && strrchr(line, ' '))
            v = strtod(strrchr(line, ' '), NULL);
    buf_release(&out);
    return v;
}

static void a_request_is_signed_and_its_answer_given(void **state)
{
    struct env *e = *state;
    script_add(&e->script,
               (struct script_line){.http_status = 200, .body = "{\"a\":1}", .headers = "x-id: 7\n"});
    client_open(e);
    struct aws_call call = a_call(e);
    struct err err;
    char id[8];
    assert_int_equal(run(e, &call, &err), OK);
    assert_string_equal(buf_str(&call.answer), "{\"a\":1}");
    assert_true(aws_header(&call.answer_headers, "x-id", id, sizeof id));
    assert_string_equal(id, "7");
    assert_false(aws_header(&call.answer_headers, "x-i", id, sizeof id));
    assert_int_equal(call.attempts, 1);
    assert_false(call.unsure);
    const struct script_seen *s = &e->script.seen[0];
    assert_string_equal(s->url, "https://dynamodb.eu-west-1.amazonaws.com/");
    assert_string_equal(s->body, "{}");
    assert_non_null(strstr(s->headers, "x-amz-target: DynamoDB_20120810.Query\n"));
    assert_non_null(strstr(s->headers, "x-amz-date: 20260921T141320Z\n"));
    assert_non_null(strstr(s->headers, "Credential=AKID1/20260921/eu-west-1/dynamodb/aws4_request"));
    assert_non_null(strstr(s->headers, "x-amz-security-token: " TOKEN "\n"));
    assert_null(strstr(s->headers, SECRET));
    assert_int_equal(metric(e, "carat_aws_requests_total{service=\"dynamodb\",operation=\"Query\"}"), 1);
    assert_int_equal(metric(e, "carat_aws_request_seconds_count{service=\"dynamodb\",operation=\"Query\"}"),
                     1);
    aws_call_release(&call);
}

static void trouble_is_tried_again_with_growing_waits(void **state)
{
    struct env *e = *state;
    struct longest r = {{longest}, {50, 100, 200, 400}, 0};
    e->o.random = &r.base;
    script_add(&e->script, (struct script_line){.http_status = 500, .body = "oops"});
    script_add(&e->script, (struct script_line){.code = ERR_IO, .unsent = true});
    script_add(&e->script, (struct script_line){.http_status = 503});
    script_add(&e->script, (struct script_line){.http_status = 200});
    client_open(e);
    struct aws_call call = a_call(e);
    struct err err;
    assert_int_equal(run(e, &call, &err), OK);
    assert_int_equal(call.attempts, 4);
    assert_true(call.unsure);
    int64_t want[] = {0, 50, 150, 350};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_int_equal(e->script.seen[i].at_ms - NOW, want[i]);
    assert_int_equal(metric(e, "carat_aws_retries_total"), 3);
    assert_int_equal(metric(e, "carat_aws_errors_total"), 3);
    aws_call_release(&call);
}

static void only_what_was_sent_is_unsure(void **state)
{
    struct env *e = *state;
    script_add(&e->script, (struct script_line){.code = ERR_IO, .unsent = true});
    script_add(&e->script, (struct script_line){.http_status = 200});
    client_open(e);
    struct aws_call call = a_call(e);
    struct err err;
    assert_int_equal(run(e, &call, &err), OK);
    assert_int_equal(call.attempts, 2);
    assert_false(call.unsure);
    aws_call_release(&call);
}

static void a_throttle_ends_as_busy_and_lowers_the_limit(void **state)
{
    struct env *e = *state;
    e->o.connections = 9;
    e->o.timeout_ms = 1000;
    e->o.backoff_base_ms = 300;
    struct longest r = {{longest}, {300, 300, 300, 300, 300, 300, 300}, 0};
    e->o.random = &r.base;
    script_add(&e->script, (struct script_line){
                               .http_status = 400,
                               .body = "{\"__type\":\"com.amazonaws.dynamodb.v20120810#"
                                       "ProvisionedThroughputExceededException\",\"message\":\"slow\"}"});
    client_open(e);
    struct aws_call call = a_call(e);
    struct err err;
    assert_int_equal(run(e, &call, &err), ERR_BUSY);
    assert_int_equal(call.attempts, 4); /* at 0, 300, 600 and 900 ms */
    assert_string_equal(call.error.code, "ProvisionedThroughputExceededException");
    assert_non_null(strstr(err.text, "dynamodb Query at https://dynamodb.eu-west-1.amazonaws.com: HTTP 400 "
                                     "ProvisionedThroughputExceededException: slow"));
    assert_int_equal(metric(e, "carat_aws_throttles_total"), 4);
    assert_int_equal(metric(e, "carat_aws_errors_total"), 0);
    aws_call_release(&call);
    assert_true(metric(e, "carat_aws_parallel_limit") <= 2);
}

static void the_limit_bounds_what_is_under_way(void **state)
{
    struct env *e = *state;
    e->o.connections = 3;
    script_add(&e->script, (struct script_line){.http_status = 200});
    client_open(e);
    struct aws_call calls[20];
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        calls[i] = a_call(e);
        assert_int_equal(aws_submit(e->client, &calls[i], NULL), OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        assert_int_equal(aws_wait(e->client, &calls[i], NULL), OK);
        aws_call_release(&calls[i]);
    }
    assert_true(e->script.most_parallel <= 3);
}

static void a_refusal_is_final(void **state)
{
    struct env *e = *state;
    static const struct {
        int http, code;
        const char *body;
    } cases[] = {
        {400, ERR_INVALID, "{\"__type\":\"ValidationException\",\"Message\":\"no\"}"},
        {400, ERR_NOT_FOUND, "{\"__type\":\"x#ResourceNotFoundException\"}"},
        {400, ERR_LOCKED, "{\"__type\":\"x#ConditionalCheckFailedException\"}"},
        {404, ERR_NOT_FOUND,
         "<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>m</Message></Error>"},
        {412, ERR_LOCKED, "<Error><Code>PreconditionFailed</Code></Error>"},
        {501, ERR_UNSUPPORTED, "<Error><Code>NotImplemented</Code></Error>"},
        {403, ERR_INVALID, "<Error><Code>SignatureDoesNotMatch</Code><Message>a\nb</Message></Error>"},
        {403, ERR_INVALID, "<Error><Co"},
        {307, ERR_INVALID, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        script_add(&e->script, (struct script_line){.http_status = cases[i].http, .body = cases[i].body});
    script_add(&e->script, (struct script_line){.code = ERR_LIMIT});
    client_open(e);
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct aws_call call = a_call(e);
        int rc = run(e, &call, &err);
        if (rc != cases[i].code || call.http_status != cases[i].http || call.attempts != 1)
            fail_msg("case %zu: %d %d %u: %s", i, rc, call.http_status, call.attempts, err.text);
        assert_null(strchr(err.text, '\n'));
        aws_call_release(&call);
    }
    struct aws_call call = a_call(e);
    assert_int_equal(run(e, &call, &err), ERR_LIMIT);
    aws_call_release(&call);
}

static void a_wrong_clock_is_set_by_the_service(void **state)
{
    struct env *e = *state;
    e->o.service = "s3";
    script_add(&e->script, (struct script_line){.http_status = 403,
                                                .headers = "date: Mon, 21 Sep 2026 15:00:00 GMT\n",
                                                .body = "<Error><Code>RequestTimeTooSkewed</Code></Error>"});
    script_add(&e->script, (struct script_line){.http_status = 200});
    client_open(e);
    struct err err;
    for (int i = 0; i < 2; i++) {
        struct aws_call call = a_call(e);
        assert_int_equal(run(e, &call, &err), OK);
        assert_int_equal(call.attempts, 2 - i);
        aws_call_release(&call);
    }
    assert_non_null(strstr(e->script.seen[0].headers, "x-amz-date: 20260921T141320Z"));
    assert_non_null(strstr(e->script.seen[1].headers, "x-amz-date: 20260921T150000Z"));
    assert_non_null(strstr(e->script.seen[2].headers, "x-amz-date: 20260921T150000Z"));
}

static void a_clock_that_stays_wrong_is_told(void **state)
{
    struct env *e = *state;
    script_add(&e->script,
               (struct script_line){.http_status = 400,
                                    .headers = "date: Mon, 21 Sep 2026 14:13:20 GMT\n",
                                    .body = "{\"__type\":\"InvalidSignatureException\",\"message\":"
                                            "\"Signature expired: 1 is now earlier than 2\"}"});
    client_open(e);
    struct aws_call call = a_call(e);
    struct err err;
    assert_int_equal(run(e, &call, &err), ERR_INVALID);
    assert_int_equal(call.attempts, 1);
    aws_call_release(&call);
}

static void expired_keys_are_read_again(void **state)
{
    struct env *e = *state;
    script_add(&e->script, (struct script_line){.http_status = 200});
    script_add(&e->script,
               (struct script_line){.http_status = 400, .body = "{\"__type\":\"ExpiredTokenException\"}"});
    script_add(&e->script, (struct script_line){.http_status = 200});
    client_open(e);
    struct err err;
    struct aws_call call = a_call(e);
    assert_int_equal(run(e, &call, &err), OK);
    aws_call_release(&call);
    key_id = "AKID2";
    call = a_call(e);
    assert_int_equal(run(e, &call, &err), OK);
    aws_call_release(&call);
    assert_non_null(strstr(e->script.seen[1].headers, "Credential=AKID1/"));
    assert_non_null(strstr(e->script.seen[2].headers, "Credential=AKID2/"));
}

static void without_credentials_nothing_is_sent(void **state)
{
    struct env *e = *state;
    script_add(&e->script, (struct script_line){.http_status = 200});
    key_id = NULL;
    client_open(e);
    struct err err;
    struct aws_call call = a_call(e);
    assert_int_equal(run(e, &call, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "AWS_ACCESS_KEY_ID"));
    assert_int_equal(e->script.nseen, 0);
    aws_call_release(&call);
}

static void retries_have_a_budget(void **state)
{
    struct env *e = *state;
    e->o.backoff_base_ms = 1;
    e->o.backoff_cap_ms = 1;
    script_add(&e->script, (struct script_line){.http_status = 500});
    client_open(e);
    struct err err;
    unsigned attempts = 0;
    for (int i = 0; i < 10; i++) {
        struct aws_call call = a_call(e);
        call.most_attempts = 30;
        assert_int_equal(run(e, &call, &err), ERR_IO);
        attempts += call.attempts;
        aws_call_release(&call);
    }
    assert_int_equal(attempts, 110); /* 10 first ones, 100 repetitions */
    assert_true(metric(e, "carat_aws_retry_budget_empty_total") > 0);
}

static void the_queue_is_bounded(void **state)
{
    struct env *e = *state;
    e->o.queue = 2;
    script_add(&e->script, (struct script_line){.never = true});
    client_open(e);
    struct aws_call calls[3];
    struct err err = ERR_INIT;
    for (size_t i = 0; i < 3; i++)
        calls[i] = a_call(e);
    assert_int_equal(aws_submit(e->client, &calls[0], &err), OK);
    assert_int_equal(aws_submit(e->client, &calls[1], &err), OK);
    assert_int_equal(aws_submit(e->client, &calls[2], &err), ERR_BUSY);
    assert_int_equal(metric(e, "carat_aws_queue_full_total"), 1);
    /* A stop ends what is under way in time, and what comes later at once. */
    aws_client_hurry(e->client, clock_mono_ms(&e->clock.base) + 200);
    assert_int_equal(aws_wait(e->client, &calls[0], &err), ERR_TIMEOUT);
    assert_int_equal(aws_wait(e->client, &calls[1], &err), ERR_TIMEOUT);
    assert_true(clock_wall_ms(&e->clock.base) >= NOW + 200);
    assert_int_equal(aws_call(e->client, &calls[2], &err), ERR_TIMEOUT);
    assert_false(aws_pause(e->client, 1));
    for (size_t i = 0; i < 3; i++)
        aws_call_release(&calls[i]);
}

static void closing_ends_every_call(void **state)
{
    struct env *e = *state;
    script_add(&e->script, (struct script_line){.never = true});
    client_open(e);
    struct aws_call call = a_call(e);
    struct aws_client *c = e->client;
    assert_int_equal(aws_submit(c, &call, NULL), OK);
    /* aws_wait needs the client: look at the call itself once the client has gone. */
    e->client = NULL;
    aws_client_free(c);
    assert_int_equal(call.code, ERR_CLOSED);
    free(call.state);
    call.state = NULL;
    aws_call_release(&call);
}

static void endpoints_are_checked(void **state)
{
    struct env *e = *state;
    static const char *const bad[] = {"dynamodb.local", "ftp://h",      "http://",
                                      "http://h/path",  "http://u:p@h", "https://h?x"};
    struct err err = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct aws_client_options o = {.service = "s3",
                                       .region = "r-1",
                                       .endpoint = bad[i],
                                       .credentials = e->credentials,
                                       .transport = &e->script.base};
        struct aws_client *c;
        if (aws_client_new(&o, &c, &err) != ERR_INVALID)
            fail_msg("%s was taken", bad[i]);
        o.endpoint = "http://h:80/";
        o.region = "no region";
        assert_int_equal(aws_client_new(&o, &c, &err), ERR_INVALID);
        o.region = "r";
        assert_int_equal(aws_client_new(&o, &c, &err), OK);
        assert_string_equal(aws_client_endpoint(c), "http://h");
        aws_client_free(c);
    }
}

#define CASE(f)                                                                                              \
    {                                                                                                        \
#f, f, setup, teardown, NULL                                                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_is_signed_and_its_answer_given),
        CASE(trouble_is_tried_again_with_growing_waits),
        CASE(only_what_was_sent_is_unsure),
        CASE(a_throttle_ends_as_busy_and_lowers_the_limit),
        CASE(the_limit_bounds_what_is_under_way),
        CASE(a_refusal_is_final),
        CASE(a_wrong_clock_is_set_by_the_service),
        CASE(a_clock_that_stays_wrong_is_told),
        CASE(expired_keys_are_read_again),
        CASE(without_credentials_nothing_is_sent),
        CASE(retries_have_a_budget),
        CASE(the_queue_is_bounded),
        CASE(closing_ends_every_call),
        CASE(endpoints_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
