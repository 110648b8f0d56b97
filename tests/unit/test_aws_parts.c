/* The pieces under the client: credentials, error documents, XML, waits. */
#include "aws/backoff.h"
#include "aws/credentials.h"
#include "aws/error.h"
#include "aws/xml.h"
#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- credentials --- */

static int parse(const char *text, const char *profile, struct aws_key_copy *k, struct err *err)
{
    *err = (struct err)ERR_INIT;
    return aws_credentials_parse(text, strlen(text), profile, k, err);
}

static void a_file_of_awss_own_form_is_read(void **state)
{
    (void)state;
    static const char text[] = "# a comment\n"
                               "[default]\r\n"
                               "aws_access_key_id = AKID\r\n"
                               "AWS_Secret_Access_Key=se/cr+et==\n"
                               "region = eu-west-1\n"
                               "\n"
                               "[ other ]\n"
                               "  aws_access_key_id=ID2\n"
                               "aws_secret_access_key = s2\n"
                               "aws_session_token = t2";
    struct aws_key_copy k;
    struct err err;
    assert_int_equal(parse(text, "default", &k, &err), OK);
    assert_string_equal(k.id, "AKID");
    assert_string_equal(k.secret, "se/cr+et==");
    assert_null(aws_key_copy_view(&k).token);
    assert_int_equal(parse(text, "other", &k, &err), OK);
    assert_string_equal(k.id, "ID2");
    assert_string_equal(aws_key_copy_view(&k).token, "t2");
    assert_int_equal(parse(text, "third", &k, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "[third]"));
}

static void a_bad_file_is_told_without_its_secrets(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[default]\naws_access_key_id AKIDX\n",
        "[default]\naws_access_key_id = \n",
        "[default]\naws_access_key_id = a\naws_secret_access_key = SEC RET\n",
        "[default]\naws_access_key_id = a\naws_secret_access_key = SECRET\001\n",
    };
    struct aws_key_copy k;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(parse(bad[i], "default", &k, &err), ERR_INVALID);
        assert_non_null(strstr(err.text, "line "));
        assert_null(strstr(err.text, "SEC"));
        assert_null(strstr(err.text, "AKIDX"));
        assert_int_equal(k.secret[0], 0);
    }
}

static const char *home, *shared, *profile, *id;

static const char *env(const char *name)
{
    return !strcmp(name, "HOME")                          ? home
           : !strcmp(name, "AWS_SHARED_CREDENTIALS_FILE") ? shared
           : !strcmp(name, "AWS_PROFILE")                 ? profile
           : !strcmp(name, "AWS_ACCESS_KEY_ID")           ? id
           : !strcmp(name, "AWS_SECRET_ACCESS_KEY")       ? id
                                                          : NULL;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void places_are_looked_at_in_order(void **state)
{
    (void)state;
    char dir[] = "/tmp/carat-aws-XXXXXX", a[64], b[64];
    assert_non_null(mkdtemp(dir));
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    write_file(a, "[default]\naws_access_key_id=A\naws_secret_access_key=x\n");
    write_file(b, "[p]\naws_access_key_id=B\naws_secret_access_key=x\n");
    struct clock_fake clock;
    clock_fake_init(&clock, 1000000);
    struct aws_credentials_options o = {.env = env, .clock = &clock.base};
    struct aws_credentials *c = aws_credentials_new(&o);
    struct aws_key_copy k;
    struct err err = ERR_INIT;
    home = dir;
    assert_int_equal(aws_credentials_get(c, &k, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "AWS_ACCESS_KEY_ID"));
    assert_non_null(strstr(err.text, "/.aws/credentials"));
    shared = b;
    profile = "p";
    assert_int_equal(aws_credentials_get(c, &k, &err), OK);
    assert_string_equal(k.id, "B");
    /* Keys are rotated: the file is looked at again, and while it is being written the old ones stay. */
    write_file(b, "[p]\naws_access_key_id=BB");
    atomic_fetch_add(&clock.now_ms, 6000);
    assert_int_equal(aws_credentials_get(c, &k, &err), OK);
    assert_string_equal(k.id, "B");
    write_file(b, "[p]\naws_access_key_id=BBB\naws_secret_access_key=x\n");
    assert_int_equal(aws_credentials_get(c, &k, &err), OK);
    assert_string_equal(k.id, "BBB");
    id = "ENV";
    aws_credentials_refused(c);
    assert_int_equal(aws_credentials_get(c, &k, &err), OK);
    assert_string_equal(k.id, "ENV");
    aws_credentials_free(c);
    id = NULL;
    o.file = a;
    o.profile = "default";
    c = aws_credentials_new(&o);
    assert_int_equal(aws_credentials_get(c, &k, &err), OK);
    assert_string_equal(k.id, "A");
    aws_credentials_free(c);
    unlink(a);
    unlink(b);
    rmdir(dir);
}

/* --- documents --- */

static void check_error(const char *body, const char *code, const char *message)
{
    struct aws_error e;
    aws_error_parse(body, strlen(body), &e);
    assert_string_equal(e.code, code);
    assert_string_equal(e.message, message);
}

static void errors_are_read(void **state)
{
    (void)state;
    check_error("{\"__type\":\"a.b#CodeX\",\"message\":\"m\\u0001n\"}", "CodeX", "m n");
    check_error(" \n{\"__type\":\"CodeX\",\"Message\":\"m\"}", "CodeX", "m");
    check_error("<?xml version=\"1.0\"?>\n<Error><Code>C</Code><Message>a &lt; "
                "b</Message><X><Code>D</Code></X></Error>",
                "C", "a < b");
    check_error("", "", "");
    check_error("<html><body>Bad gateway", "", "");
    check_error("{\"__type\":", "", "");
    check_error("[1]", "", "");
    struct buf big = BUF_INIT;
    buf_puts(&big, "{\"__type\":\"");
    for (int i = 0; i < 1000; i++)
        buf_putc(&big, 'x');
    buf_puts(&big, "\"}");
    struct aws_error e;
    aws_error_parse(big.data, big.len, &e);
    assert_int_equal(strlen(e.code), sizeof e.code - 1);
    buf_release(&big);
}

static int print_element(void *ctx, const char *path, const char *text)
{
    buf_printf(ctx, "%s=%s;", path, text);
    return !strcmp(text, "stop") ? 7 : 0;
}

static int read_xml(const char *text, struct buf *out, struct err *err)
{
    buf_clear(out);
    *err = (struct err)ERR_INIT;
    return xml_read(text, strlen(text), print_element, out, err);
}

static void xml_is_read_within_bounds(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    struct err err;
    assert_int_equal(read_xml("<a x='1'><b>1</b>t<c><b>2&amp;</b></c></a>", &out, &err), OK);
    assert_string_equal(buf_str(&out), "a/b=1;a/c/b=2&;a/c=;a=;");
    assert_int_equal(read_xml("<a><b>stop</b><c>x</c></a>", &out, &err), 7);
    assert_string_equal(buf_str(&out), "a/b=stop;");
    static const char *const bad[] = {"",
                                      "<a>",
                                      "<a></b>",
                                      "no",
                                      "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
                                      "<a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></a>"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(read_xml(bad[i], &out, &err), ERR_CORRUPT);
    struct buf big = BUF_INIT;
    buf_puts(&big, "<a>");
    for (int i = 0; i < XML_TEXT_MAX + 1; i++)
        buf_putc(&big, 'x');
    buf_puts(&big, "</a>");
    assert_int_equal(read_xml(buf_str(&big), &out, &err), ERR_CORRUPT);
    buf_release(&big);
    buf_release(&out);
}

/* --- waits --- */

static void waits_are_spread_and_bounded(void **state)
{
    (void)state;
    struct aws_random *r = aws_random_system();
    int64_t most[8] = {0};
    for (int i = 0; i < 20000; i++)
        for (unsigned a = 1; a <= 8; a++) {
            int64_t w = backoff_ms(a, 50, 2000, r);
            assert_true(w >= 0 && w <= 2000);
            most[a - 1] = w > most[a - 1] ? w : most[a - 1];
        }
    static const int64_t want[] = {50, 100, 200, 400, 800, 1600, 2000, 2000};
    for (int a = 0; a < 8; a++)
        assert_true(most[a] <= want[a] && most[a] > want[a] * 9 / 10);
    assert_true(backoff_ms(UINT32_MAX, 1, INT64_MAX / 4, r) >= 0);
}

static void the_parallel_limit_goes_up_and_down(void **state)
{
    (void)state;
    struct parallel_limit p;
    parallel_limit_init(&p, 12);
    parallel_limit_throttled(&p, 1000);
    assert_int_equal(parallel_limit_now(&p), 8);
    parallel_limit_throttled(&p, 1050); /* of the same moment */
    assert_int_equal(parallel_limit_now(&p), 8);
    for (int i = 0; i < 30; i++)
        parallel_limit_throttled(&p, 2000 + 1000 * i);
    assert_int_equal(parallel_limit_now(&p), 1);
    for (int i = 0; i < 200; i++)
        parallel_limit_good(&p);
    assert_int_equal(parallel_limit_now(&p), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_awss_own_form_is_read),
        cmocka_unit_test(a_bad_file_is_told_without_its_secrets),
        cmocka_unit_test(places_are_looked_at_in_order),
        cmocka_unit_test(errors_are_read),
        cmocka_unit_test(xml_is_read_within_bounds),
        cmocka_unit_test(waits_are_spread_and_bounded),
        cmocka_unit_test(the_parallel_limit_goes_up_and_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
