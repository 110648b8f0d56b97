#include "base/hash.h"
#include "ingest/mackerel_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_sample(const struct sample *s, const char *name, int64_t ts_ms, double value)
{
    assert_int_equal(s->name_len, strlen(name));
    assert_memory_equal(s->name, name, s->name_len);
    assert_true(s->hash == hash_bytes(name, s->name_len));
    assert_true(s->ts_ms == ts_ms);
    assert_true(s->value == value);
}

static int parse_host(const char *body, struct sample_batch *b, struct err *err)
{
    size_t len = strlen(body);
    char *exact = malloc(len ? len : 1);
    memcpy(exact, body, len);
    int rc = mackerel_parse_host(exact, len, b, err);
    free(exact);
    return rc;
}

static void host_points(void **state)
{
    struct sample_batch b = SAMPLE_BATCH_INIT;
    struct err err;
    assert_int_equal(
        parse_host(
            "[{\"hostId\":\"2eQ_-9\",\"name\":\"custom.a-b.c_d\",\"time\":1763800000,\"value\":0.1,"
            "\"extra\":[1,{}]},{\"value\":9007199254740993,\"time\":1.5e3,\"name\":\"x\",\"hostId\":\"H\"},"
            "{\"hostId\":\"H\",\"name\":\"u\",\"time\":0,\"value\":18446744073709551615}]",
            &b, &err),
        OK);
    assert_int_equal(b.n, 3);
    check_sample(&b.v[0], "host.2eQ_-9.custom.a-b.c_d", 1763800000000, 0.1);
    check_sample(&b.v[1], "host.H.x", 1500000, 9007199254740992);
    check_sample(&b.v[2], "host.H.u", 0, 18446744073709551616.0);
    assert_int_equal(parse_host("[]", &b, &err), OK);
    assert_int_equal(b.n, 3);
    sample_batch_release(&b);
}

static void service_points(void **state)
{
    struct sample_batch b = SAMPLE_BATCH_INIT;
    struct err err;
    const char *body = "[{\"name\":\"req.count\",\"time\":60,\"value\":-3}]";
    assert_int_equal(mackerel_parse_service("shop/x", 4, body, strlen(body), &b, &err), OK);
    assert_int_equal(b.n, 1);
    check_sample(&b.v[0], "service.shop.req.count", 60000, -3);
    assert_int_equal(mackerel_parse_service("sh.op", 5, body, strlen(body), &b, &err), ERR_INVALID);
    assert_int_equal(mackerel_parse_service("", 0, body, strlen(body), &b, &err), ERR_INVALID);
    assert_int_equal(b.n, 1);
    sample_batch_release(&b);
}

static void one_bad_element_refuses_the_post(void **state)
{
    static const struct {
        const char *element, *text;
        enum reject why;
    } t[] = {
        {"{\"hostId\":\"h\",\"name\":\"n\",\"time\":\"abc\",\"value\":1}",
         "element 1: \"time\" must be a number of seconds since 1970, got \"abc\"", REJECT_TIME},
        {"{\"hostId\":\"h\",\"name\":\"n\",\"value\":1}", "element 1: \"time\" is missing", REJECT_TIME},
        {"{\"hostId\":\"h\",\"name\":\"n\",\"time\":1.5,\"value\":1}", "got 1.5", REJECT_TIME},
        {"{\"hostId\":\"h\",\"name\":\"n\",\"time\":-1,\"value\":1}", "got -1", REJECT_TIME},
        {"{\"hostId\":\"h\",\"name\":\"n\",\"time\":1e300,\"value\":1}", "\"time\"", REJECT_TIME},
        {"{\"hostId\":\"h\",\"name\":\"n\",\"time\":1,\"value\":null}",
         "\"value\" must be a number, got null", REJECT_VALUE},
        {"{\"hostId\":\"h\",\"name\":\"n\",\"time\":1,\"value\":\"1\"}", "got \"1\"", REJECT_VALUE},
        {"{\"hostId\":\"h\",\"name\":\"n\",\"time\":1}", "\"value\" is missing", REJECT_VALUE},
        {"{\"hostId\":\"h.i\",\"name\":\"n\",\"time\":1,\"value\":1}", "\"hostId\"", REJECT_NAME},
        {"{\"name\":\"n\",\"time\":1,\"value\":1}", "\"hostId\" is missing", REJECT_NAME},
        {"{\"hostId\":\"h\",\"name\":\"\",\"time\":1,\"value\":1}", "\"name\"", REJECT_NAME},
        {"{\"hostId\":\"h\",\"name\":\"a b\",\"time\":1,\"value\":1}", "got \"a b\"", REJECT_NAME},
        {"{\"hostId\":\"h\",\"name\":\"a..b\",\"time\":1,\"value\":1}", "empty levels", REJECT_NAME},
        {"{\"hostId\":\"h\",\"name\":\"a;b=c\",\"time\":1,\"value\":1}", "\"name\"", REJECT_NAME},
        {"7", "element 1: must be an object", REJECT_SYNTAX},
        {"{\"hostId\":\"h\",\"name\":\"n\",\"time\":1,\"value\":1,\"value\":2}", "duplicate", REJECT_SYNTAX},
        {"{\"hostId\":\"h\",\"name\":\"n\",\"time\":1,\"value\":NaN}", "not JSON", REJECT_SYNTAX},
        {"{\"hostId\":\"h\",\"name\":\"n\",\"time\":1,\"value\":1e999}", "not JSON", REJECT_SYNTAX},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char body[512];
        snprintf(body, sizeof body, "[{\"hostId\":\"h\",\"name\":\"ok\",\"time\":1,\"value\":1},%s]",
                 t[i].element);
        struct sample_batch b = SAMPLE_BATCH_INIT;
        struct err err = ERR_INIT;
        assert_int_equal(parse_host(body, &b, &err), ERR_INVALID);
        if (!strstr(err.text, t[i].text))
            fail_msg("\"%s\" is not in \"%s\"", t[i].text, err.text);
        assert_int_equal(b.n, 0);
        assert_int_equal(b.rejected[t[i].why], 1);
        sample_batch_release(&b);
    }
}

static void bodies_that_are_no_array(void **state)
{
    static const char *const t[] = {"", "{}", "1", "null", "[", "[{}", "[] x", "\xff", "[\"\\u0000\"]"};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct sample_batch b = SAMPLE_BATCH_INIT;
        struct err err = ERR_INIT;
        assert_int_equal(parse_host(t[i], &b, &err), ERR_INVALID);
        assert_true(err.text[0] != '\0');
        sample_batch_release(&b);
    }
}

static void long_and_deep_bodies_are_refused_with_a_short_text(void **state)
{
    size_t n = 100000;
    char *body = malloc(n + 200);
    memset(body, '[', n);
    body[n] = '\0';
    struct sample_batch b = SAMPLE_BATCH_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(parse_host(body, &b, &err), ERR_INVALID);
    int at = sprintf(body, "[{\"hostId\":\"h\",\"time\":1,\"value\":1,\"name\":\"");
    memset(body + at, 'n', 2000);
    strcpy(body + at + 2000, "\"}]");
    assert_int_equal(parse_host(body, &b, &err), ERR_INVALID);
    assert_int_equal(b.rejected[REJECT_NAME_TOO_LONG], 1);
    assert_true(strlen(err.text) < 200);
    free(body);
    sample_batch_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_points),
        cmocka_unit_test(service_points),
        cmocka_unit_test(one_bad_element_refuses_the_post),
        cmocka_unit_test(bodies_that_are_no_array),
        cmocka_unit_test(long_and_deep_bodies_are_refused_with_a_short_text),
    };
    return cmocka_run_group_tests_name("ingest_mackerel", tests, NULL, NULL);
}
