/* Signatures: against what botocore computes, and against the examples of AWS's own documents. */
#include "aws/sigv4.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/sigv4_vectors.h"

/* The value of a header; fails if it is not there. */
static const char *header(const struct sigv4_signed *s, const char *name)
{
    const char *p = (const char *)s->headers.data, *end = p + s->headers.len;
    size_t n = strlen(name);
    for (; p < end; p += strlen(p) + 1)
        if (!strncmp(p, name, n) && !strncmp(p + n, ": ", 2))
            return p + n + 2;
    fail_msg("no header %s", name);
    return "";
}

static void signatures_are_botocores(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        struct sigv4_request r = {
            .method = v->method,
            .host = v->host,
            .path = v->path,
            .query = v->query,
            .nquery = v->nquery,
            .headers = v->headers,
            .nheaders = v->nheaders,
            .service = v->service,
            .region = v->region,
            .payload_hash = v->body_hash,
            .s3 = !strcmp(v->service, "s3"),
            .time_ms = v->time_ms,
        };
        struct sigv4_signed s;
        sigv4_sign(&r, &(struct aws_keys){VECTOR_ID, VECTOR_SECRET, v->token}, &s);
        if (strcmp(header(&s, "Authorization"), v->authorization) != 0)
            fail_msg("vector %zu: %s\ninstead of %s", i, header(&s, "Authorization"), v->authorization);
        if (v->token)
            assert_string_equal(header(&s, "x-amz-security-token"), v->token);
        if (r.s3)
            assert_string_equal(header(&s, "x-amz-content-sha256"), v->body_hash);
        sigv4_release(&s);
    }
}

/* "GET Object" of "Authenticating Requests: Using the Authorization Header", and get-vanilla of the suite. */
static void signatures_are_those_of_the_documents(void **state)
{
    (void)state;
    struct aws_pair range = {"Range", "bytes=0-9"};
    char empty[SIGV4_HASH_HEX];
    struct sigv4_signed s;
    sigv4_hash(NULL, 0, empty);
    assert_string_equal(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    struct sigv4_request r = {
        .method = "GET",
        .host = "examplebucket.s3.amazonaws.com",
        .path = "/test.txt",
        .headers = &range,
        .nheaders = 1,
        .service = "s3",
        .region = "us-east-1",
        .payload_hash = empty,
        .s3 = true,
        .time_ms = 1369353600000,
    };
    struct aws_keys keys = {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", NULL};
    sigv4_sign(&r, &keys, &s);
    assert_non_null(strstr(header(&s, "Authorization"),
                           "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
    assert_string_equal(header(&s, "x-amz-date"), "20130524T000000Z");
    sigv4_release(&s);
    r = (struct sigv4_request){.method = "GET",
                               .host = "example.amazonaws.com",
                               .path = "/",
                               .service = "service",
                               .region = "us-east-1",
                               .payload_hash = empty,
                               .time_ms = 1440938160000};
    sigv4_sign(&r, &(struct aws_keys){VECTOR_ID, VECTOR_SECRET, NULL}, &s);
    assert_non_null(strstr(header(&s, "Authorization"),
                           "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"));
    sigv4_release(&s);
}

static void the_target_is_what_was_signed(void **state)
{
    (void)state;
    struct aws_pair query[] = {{"prefix", "a b+c/é"}, {"list-type", "2"}};
    struct sigv4_request r = {.method = "GET",
                              .host = "h",
                              .path = "/b/a key/100%25//..",
                              .query = query,
                              .nquery = 2,
                              .service = "s3",
                              .region = "r",
                              .payload_hash = "",
                              .s3 = true};
    struct sigv4_signed s;
    sigv4_sign(&r, &(struct aws_keys){"i", "s", NULL}, &s);
    assert_string_equal(s.target.data, "/b/a%20key/100%2525//..?list-type=2&prefix=a%20b%2Bc%2F%C3%A9");
    assert_null(memmem(s.headers.data, s.headers.len, "security-token", 14));
    sigv4_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_botocores),
        cmocka_unit_test(signatures_are_those_of_the_documents),
        cmocka_unit_test(the_target_is_what_was_signed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
