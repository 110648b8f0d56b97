#include "cli/fetch.h"

#include <ctype.h>
#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define BODY_MAX         (1ull << 30)
#define CONNECT_S        5L
#define TIMEOUT_S        120L
#define ACTION_TIMEOUT_S 3600L /* the server may have much to do first */
#define WARN_HEADER      "warning:"

void fetch_escape(const char *text, struct buf *out)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x80 && (isalnum(c) || strchr("-._~", c)))
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct fetched *f = ctx;
    if (f->body.len + size * n > BODY_MAX)
        return 0;
    buf_append(&f->body, data, size * n);
    return size * n;
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
    struct fetched *f = ctx;
    size_t len = size * n, skip = strlen(WARN_HEADER);
    if (len > skip && !strncasecmp(data, WARN_HEADER, skip)) {
        buf_clear(&f->warning);
        while (skip < len && data[skip] == ' ')
            skip++;
        while (len > skip && isspace((unsigned char)data[len - 1]))
            len--;
        buf_append(&f->warning, data + skip, len - skip);
    }
    return size * n;
}

static int refused(struct fetched *f, const char *url, struct err *err)
{
    json_t *root = json_loadb((const char *)f->body.data, f->body.len, 0, NULL);
    const char *why = json_string_value(json_object_get(json_object_get(root, "error"), "message"));
    int rc = why ? err_set(err, ERR_INVALID, "the server says: %.400s", why)
                 : err_set(err, ERR_INVALID, "%.300s answered HTTP %ld", url, f->status);
    json_decref(root);
    return rc;
}

static int no_answer(CURLcode code, const char *url, const char *why, struct err *err)
{
    int host_len = (int)strcspn(url, "?");
    if (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST)
        return err_set(err, ERR_IO,
                       "cannot connect to %.*s (%.120s): is the server running? --url names another",
                       host_len > 200 ? 200 : host_len, url, why);
    if (code == CURLE_WRITE_ERROR)
        return err_set(err, ERR_LIMIT, "the answer is over 1 GiB: ask for less, or set --max-points");
    return err_set(err, ERR_IO, "%.*s: %.200s", host_len > 200 ? 200 : host_len, url, why);
}

static struct curl_slist *set_method(CURL *curl, const char *method, const char *json)
{
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (!json && strcmp(method, "POST") != 0)
        return NULL;
    if (!json) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
        return NULL;
    }
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    return headers;
}

int fetch_get(const char *url, struct fetched *out, struct err *err)
{
    return fetch_send("GET", url, NULL, out, err);
}

int fetch_send(const char *method, const char *url, const char *json, struct fetched *out, struct err *err)
{
    bool get = !strcmp(method, "GET");
    *out = (struct fetched){0, BUF_INIT, BUF_INIT};
    CURL *curl = curl_easy_init();
    if (!curl)
        return err_set(err, ERR_FAILED, "libcurl does not start");
    char why[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = set_method(curl, method, json);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, get ? TIMEOUT_S : ACTION_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "carat/" CARAT_VERSION);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, out);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    if (code != CURLE_OK)
        return no_answer(code, url, *why ? why : curl_easy_strerror(code), err);
    return out->status / 100 == 2 ? OK : refused(out, url, err);
}

void fetched_release(struct fetched *f)
{
    buf_release(&f->body);
    buf_release(&f->warning);
}
