/* The first byte chooses: a service's error, an XML answer, or a credentials file. Whatever the bytes:
 * bounded texts without control bytes, and no value that was not asked for. */
#include "aws/credentials.h"
#include "aws/error.h"
#include "aws/xml.h"

#include <assert.h>
#include <string.h>

static void check_text(const char *s, size_t cap)
{
    size_t n = strnlen(s, cap);
    assert(n < cap);
    for (size_t i = 0; i < n; i++)
        assert((unsigned char)s[i] >= 0x20 && s[i] != 0x7f);
}

static int count_depth(void *ctx, const char *path, const char *text)
{
    unsigned slashes = 0;
    for (const char *p = path; *p; p++)
        slashes += *p == '/';
    assert(slashes < XML_DEPTH_MAX && strlen(text) <= XML_TEXT_MAX);
    return ++*(unsigned *)ctx == 1000 ? 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    unsigned kind = data[0] % 3, elements = 0;
    const char *text = (const char *)data + 1;
    size--;
    struct aws_key_copy k;
    struct aws_error e;
    switch (kind) {
    case 0:
        aws_error_parse(text, size, &e);
        check_text(e.code, sizeof e.code);
        check_text(e.message, sizeof e.message);
        break;
    case 1:
        (void)!xml_read(text, size, count_depth, &elements, NULL);
        break;
    default:
        if (aws_credentials_parse(text, size, "default", &k, NULL) == OK) {
            assert(k.id[0] && k.secret[0]);
            check_text(k.id, sizeof k.id);
            check_text(k.secret, sizeof k.secret);
            check_text(k.token, sizeof k.token);
        }
    }
    return 0;
}
