#include "aws/sigv4.h"

#include <assert.h>
#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ALGORITHM    "AWS4-HMAC-SHA256"
#define HEADERS_MAX  32
#define PARAMS_MAX   32
#define DATE_BYTES   9  /* 20150830 */
#define STAMP_BYTES  17 /* 20150830T123600Z */
#define HEADER_BYTES 64

static void hex(const uint8_t *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

void sigv4_hash(const void *p, size_t n, char out[SIGV4_HASH_HEX])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(n ? p : "", n, digest);
    hex(digest, sizeof digest, out);
}

static void hmac(const void *key, size_t nkey, const void *p, size_t n, uint8_t out[SHA256_DIGEST_LENGTH])
{
    unsigned len = SHA256_DIGEST_LENGTH;
    unsigned char *done = HMAC(EVP_sha256(), key, (int)nkey, p, n, out, &len);
    assert(done && len == SHA256_DIGEST_LENGTH);
}

void sigv4_encode(struct buf *out, const char *s, bool keep_slashes)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if ((c < 0x80 && isalnum(c)) || c == '-' || c == '_' || c == '.' || c == '~' ||
            (c == '/' && keep_slashes))
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

/* --- the query: encoded, then sorted by encoded name --- */

struct encoded {
    struct buf name, value;
};

static int by_name(const void *a, const void *b)
{
    const struct encoded *x = a, *y = b;
    return strcmp((const char *)x->name.data, (const char *)y->name.data);
}

static void add_query(const struct sigv4_request *r, struct buf *out)
{
    struct encoded e[PARAMS_MAX];
    assert(r->nquery <= PARAMS_MAX);
    for (size_t i = 0; i < r->nquery; i++) {
        e[i] = (struct encoded){BUF_INIT, BUF_INIT};
        sigv4_encode(&e[i].name, r->query[i].name, false);
        sigv4_encode(&e[i].value, r->query[i].value, false);
        buf_str(&e[i].name);
    }
    if (r->nquery > 1)
        qsort(e, r->nquery, sizeof *e, by_name);
    for (size_t i = 0; i < r->nquery; i++) {
        buf_printf(out, "%s%s=%s", i ? "&" : "", buf_str(&e[i].name), buf_str(&e[i].value));
        buf_release(&e[i].name);
        buf_release(&e[i].value);
    }
}

/* --- the headers: names in lower case, sorted --- */

struct header {
    char name[HEADER_BYTES];
    const char *value;
};
struct headers {
    struct header v[HEADERS_MAX];
    size_t n;
};

static void add_header(struct headers *h, const char *name, const char *value)
{
    assert(h->n < HEADERS_MAX && strlen(name) < HEADER_BYTES);
    struct header *x = &h->v[h->n++];
    size_t i = 0;
    for (; name[i]; i++)
        x->name[i] = (char)tolower((unsigned char)name[i]);
    x->name[i] = '\0';
    x->value = value;
}

static int by_header(const void *a, const void *b)
{
    return strcmp(((const struct header *)a)->name, ((const struct header *)b)->name);
}

/* Without spaces around it, runs of them as one. */
static void put_trimmed(struct buf *out, const char *value)
{
    bool gap = false, begun = false;
    for (; *value; value++) {
        if (*value == ' ' || *value == '\t') {
            gap = true;
            continue;
        }
        if (gap && begun)
            buf_putc(out, ' ');
        gap = false;
        begun = true;
        buf_putc(out, *value);
    }
}

static void put_canonical_headers(const struct headers *h, struct buf *out)
{
    for (size_t i = 0; i < h->n; i++) {
        buf_printf(out, "%s:", h->v[i].name);
        put_trimmed(out, h->v[i].value);
        buf_putc(out, '\n');
    }
}

static void put_names(const struct headers *h, struct buf *out)
{
    for (size_t i = 0; i < h->n; i++)
        buf_printf(out, "%s%s", i ? ";" : "", h->v[i].name);
}

/* --- the signature --- */

static void signing_key(const struct sigv4_request *r, const char *secret, const char *date,
                        uint8_t key[SHA256_DIGEST_LENGTH])
{
    struct buf first = BUF_INIT;
    buf_printf(&first, "AWS4%s", secret);
    hmac(first.data, first.len, date, strlen(date), key);
    OPENSSL_cleanse(first.data, first.cap);
    buf_release(&first);
    hmac(key, SHA256_DIGEST_LENGTH, r->region, strlen(r->region), key);
    hmac(key, SHA256_DIGEST_LENGTH, r->service, strlen(r->service), key);
    hmac(key, SHA256_DIGEST_LENGTH, "aws4_request", strlen("aws4_request"), key);
}

static void sign_text(const struct sigv4_request *r, const struct aws_keys *k, const struct buf *text,
                      const char *date, char out[SIGV4_HASH_HEX])
{
    uint8_t key[SHA256_DIGEST_LENGTH];
    signing_key(r, k->secret, date, key);
    hmac(key, sizeof key, text->data, text->len, key);
    hex(key, sizeof key, out);
    OPENSSL_cleanse(key, sizeof key);
}

static void put_canonical_path(const struct sigv4_request *r, struct buf *out)
{
    if (r->s3) {
        sigv4_encode(out, r->path, true);
        return;
    }
    struct buf once = BUF_INIT;
    sigv4_encode(&once, r->path, true);
    sigv4_encode(out, buf_str(&once), true);
    buf_release(&once);
}

static void put_authorization(const struct sigv4_request *r, const struct aws_keys *k,
                              const struct headers *h, const char *stamp, const char *query, struct buf *out)
{
    struct buf canonical = BUF_INIT, text = BUF_INIT;
    char date[DATE_BYTES], hash[SIGV4_HASH_HEX], signature[SIGV4_HASH_HEX];
    snprintf(date, sizeof date, "%.8s", stamp);
    buf_printf(&canonical, "%s\n", r->method);
    put_canonical_path(r, &canonical);
    buf_printf(&canonical, "\n%s\n", query);
    put_canonical_headers(h, &canonical);
    buf_putc(&canonical, '\n');
    put_names(h, &canonical);
    buf_printf(&canonical, "\n%s", r->payload_hash);
    sigv4_hash(canonical.data, canonical.len, hash);
    buf_printf(&text, ALGORITHM "\n%s\n%s/%s/%s/aws4_request\n%s", stamp, date, r->region, r->service, hash);
    sign_text(r, k, &text, date, signature);
    buf_printf(out, "Authorization: " ALGORITHM " Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=", k->id,
               date, r->region, r->service);
    put_names(h, out);
    buf_printf(out, ", Signature=%s", signature);
    buf_putc(out, '\0');
    buf_release(&canonical);
    buf_release(&text);
}

static void stamp_of(int64_t time_ms, char out[STAMP_BYTES])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(out, STAMP_BYTES, "%Y%m%dT%H%M%SZ", &tm);
}

void sigv4_sign(const struct sigv4_request *r, const struct aws_keys *k, struct sigv4_signed *out)
{
    struct headers h = {.n = 0};
    struct buf query = BUF_INIT;
    char stamp[STAMP_BYTES];
    assert(r->path[0] == '/');
    stamp_of(r->time_ms, stamp);
    for (size_t i = 0; i < r->nheaders; i++)
        add_header(&h, r->headers[i].name, r->headers[i].value);
    add_header(&h, "x-amz-date", stamp);
    if (r->s3)
        add_header(&h, "x-amz-content-sha256", r->payload_hash);
    if (k->token)
        add_header(&h, "x-amz-security-token", k->token);
    *out = (struct sigv4_signed){BUF_INIT, BUF_INIT};
    for (size_t i = 0; i < h.n; i++) {
        buf_printf(&out->headers, "%s: %s", h.v[i].name, h.v[i].value);
        buf_putc(&out->headers, '\0');
    }
    add_header(&h, "host", r->host);
    qsort(h.v, h.n, sizeof h.v[0], by_header);
    add_query(r, &query);
    put_authorization(r, k, &h, stamp, buf_str(&query), &out->headers);
    sigv4_encode(&out->target, r->path, true);
    if (query.len)
        buf_printf(&out->target, "?%s", buf_str(&query));
    buf_str(&out->target);
    buf_release(&query);
}

void sigv4_release(struct sigv4_signed *s)
{
    buf_release(&s->target);
    buf_release(&s->headers);
}
