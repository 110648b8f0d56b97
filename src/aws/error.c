#include "aws/error.h"

#include "aws/xml.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void put(char *to, size_t cap, const char *text)
{
    size_t n = 0;
    for (; text && text[n] && n + 1 < cap; n++)
        to[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f ? ' ' : text[n];
    to[n] = '\0';
}

/* {"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "message": "..."} */
static void parse_json(const void *body, size_t n, struct aws_error *out)
{
    json_t *root = json_loadb(body, n, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "__type"));
    const char *message = json_string_value(json_object_get(root, "message"));
    const char *hash = type ? strrchr(type, '#') : NULL;
    put(out->code, sizeof out->code, hash ? hash + 1 : type);
    put(out->message, sizeof out->message,
        message ? message : json_string_value(json_object_get(root, "Message")));
    json_decref(root);
}

/* <Error><Code>NoSuchKey</Code><Message>...</Message></Error> */
static int take_element(void *ctx, const char *path, const char *text)
{
    struct aws_error *out = ctx;
    if (!strcmp(path, "Error/Code"))
        put(out->code, sizeof out->code, text);
    else if (!strcmp(path, "Error/Message"))
        put(out->message, sizeof out->message, text);
    return 0;
}

void aws_error_parse(const void *body, size_t n, struct aws_error *out)
{
    const char *p = body;
    out->code[0] = out->message[0] = '\0';
    while (n && strchr(" \t\r\n", *p) && *p)
        p++, n--;
    if (n && *p == '{')
        parse_json(p, n, out);
    else if (n && *p == '<')
        (void)!xml_read(p, n, take_element, out, NULL);
}

static bool is_one_of(const char *code, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(code, list[i]))
            return true;
    return false;
}

enum aws_error_kind aws_error_kind(int http_status, const char *code, const char *message)
{
    static const char *const throttled[] = {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "RequestThrottledException",
        "TooManyRequestsException",
        "SlowDown",
        "BandwidthLimitExceeded",
        "RequestThrottled",
    };
    static const char *const transient[] = {"InternalError",
                                            "InternalFailure",
                                            "InternalServerError",
                                            "ServiceUnavailable",
                                            "RequestTimeout",
                                            "RequestTimeoutException",
                                            "TransactionInProgressException",
                                            "IncompleteBody",
                                            "BadDigest",
                                            "XAmzContentSHA256Mismatch"};
    static const char *const keys[] = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired",
                                       "RequestExpired"};
    if (is_one_of(code, throttled, ARRAY_LEN(throttled)) || http_status == 429)
        return AWS_ERROR_THROTTLED;
    if (!strcmp(code, "RequestTimeTooSkewed") ||
        (!strcmp(code, "InvalidSignatureException") &&
         (strstr(message, "Signature expired") || strstr(message, "not yet current"))))
        return AWS_ERROR_CLOCK;
    if (is_one_of(code, keys, ARRAY_LEN(keys)))
        return AWS_ERROR_KEYS;
    if (is_one_of(code, transient, ARRAY_LEN(transient)))
        return AWS_ERROR_TRANSIENT;
    return http_status >= 500 && http_status != 501 ? AWS_ERROR_TRANSIENT : AWS_ERROR_OTHER;
}
