#include "base/base64.h"

#include <limits.h>
#include <openssl/evp.h>
#include <string.h>

#define RUN (3u << 20) /* EVP counts in int; of three, so that only the last run is padded */

void base64_put(struct buf *out, const void *p, size_t n)
{
    for (const uint8_t *s = p; n;) {
        size_t some = n < RUN ? n : RUN;
        uint8_t *q = buf_reserve(out, (some + 2) / 3 * 4 + 1);
        out->len += (size_t)EVP_EncodeBlock(q, s, (int)some);
        s += some;
        n -= some;
    }
}

int base64_get(struct buf *out, const char *text, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t pad = len && text[len - 1] == '=' ? 1 + (len > 1 && text[len - 2] == '=') : 0;
    if (len % 4 || len > INT_MAX)
        return -1;
    for (size_t i = 0; i < len - pad; i++) /* EVP takes white space and = anywhere */
        if (!text[i] || !strchr(alphabet, text[i]))
            return -1;
    if (!len)
        return 0;
    int n = EVP_DecodeBlock(buf_reserve(out, len / 4 * 3 + 1), (const unsigned char *)text, (int)len);
    if (n < 0)
        return -1;
    out->len += (size_t)n - pad;
    return 0;
}
