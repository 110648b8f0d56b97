#include "hot/hot_redis_format.h"

#include "base/bytes.h"
#include "model/name.h"

#include <string.h>

#define MAGIC   0x4357u
#define VERSION 1u

uint64_t hot_redis_mark(unsigned partition, uint32_t nslots)
{
    return (uint64_t)MAGIC << 48 | (uint64_t)VERSION << 40 | (uint64_t)partition << 16 | nslots;
}

int hot_redis_header_read(const uint8_t *bytes, size_t n, struct hot_redis_header *out, struct err *err)
{
    if (n < HOT_REDIS_HEADER_BYTES)
        return err_set(err, ERR_CORRUPT, "%zu bytes are no window", n);
    uint64_t mark = get_u64be(bytes);
    *out = (struct hot_redis_header){.partition = (unsigned)(mark >> 16 & 0xffff),
                                     .nslots = (uint32_t)(mark & 0xffff),
                                     .lo = get_u64be(bytes + 8),
                                     .hi = get_u64be(bytes + 16)};
    if (mark != hot_redis_mark(out->partition, out->nslots) || out->nslots == 0 ||
        out->nslots > WINDOW_SLOTS_MAX)
        return err_set(err, ERR_CORRUPT, "no window of this version: it begins with %016llx",
                       (unsigned long long)mark);
    if (out->lo > out->hi)
        return err_set(err, ERR_CORRUPT, "a window whose positions are %llu to %llu",
                       (unsigned long long)out->lo, (unsigned long long)out->hi);
    return OK;
}

int hot_redis_window_read(const uint8_t *bytes, size_t n, uint32_t nslots, struct hot_redis_header *header,
                          struct slots *out, struct err *err)
{
    int rc = hot_redis_header_read(bytes, n, header, err);
    if (rc == OK && (header->nslots != nslots || n != hot_redis_value_bytes(nslots)))
        rc = err_set(err, ERR_CORRUPT, "a window of %u slots in %zu bytes, expected %u in %zu",
                     header->nslots, n, nslots, hot_redis_value_bytes(nslots));
    if (rc != OK)
        return rc;
    slots_init(out, nslots);
    for (uint32_t i = 0; i < nslots; i++) {
        uint64_t cell = get_u64be(bytes + HOT_REDIS_HEADER_BYTES + 8 * i);
        if (cell) {
            slot_set(out->present, i);
            out->value[i] = bits_f64(cell ^ COLUMN_MISSING_BITS);
        }
    }
    return OK;
}

/* --- keys ------------------------------------------------------------------------------------------------
 */

struct text {
    const char *p;
    size_t n;
};

/* The value of the tag host; n 0 if there is none. */
static struct text host_tag(const char *name, size_t len, size_t path_len)
{
    for (size_t at = path_len; at < len;) {
        const char *tag = name + at + 1, *end = memchr(tag, ';', len - at - 1);
        size_t n = end ? (size_t)(end - tag) : len - at - 1;
        if (n > 5 && memcmp(tag, "host=", 5) == 0)
            return (struct text){tag + 5, n - 5};
        at += 1 + n;
    }
    return (struct text){name, 0};
}

/* The first levels of a path, but never all of it: {kitchen}.temperature. */
static struct text first_levels(const char *path, size_t len, unsigned levels)
{
    size_t end = len;
    const char *p = path;
    for (unsigned i = 0; i < levels; i++) {
        const char *dot = memchr(p, '.', len - (size_t)(p - path));
        if (!dot)
            break;
        end = (size_t)(dot - path);
        p = dot + 1;
    }
    return (struct text){path, end};
}

static void put_escaped(struct buf *out, struct text t)
{
    for (size_t i = 0; i < t.n; i++)
        if (t.p[i] == '{' || t.p[i] == '}' || t.p[i] == '%')
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)t.p[i]);
        else
            buf_putc(out, t.p[i]);
}

static bool needs_escape(struct text t)
{
    return memchr(t.p, '{', t.n) || memchr(t.p, '}', t.n) || memchr(t.p, '%', t.n);
}

static void put_number(struct buf *out, uint64_t v)
{
    char text[20], *p = text + sizeof text;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    buf_append(out, p, (size_t)(text + sizeof text - p));
}

void hot_redis_put_series(const struct hot_redis_naming *naming, uint32_t step_ms, const char *name,
                          size_t len, struct buf *out)
{
    size_t path_len = name_path_len(name, len);
    struct text host = {name, len}, rest = {name + len, 0};
    bool tagged = path_len != len;
    if (naming->host_levels && tagged)
        host = host_tag(name, len, path_len);
    else if (naming->host_levels)
        host = first_levels(name, len, naming->host_levels);
    bool whole = host.n == 0 || (host.p == name && host.n == len);
    if (whole)
        host = (struct text){name, len};
    else if (tagged)
        rest = (struct text){name, len};
    else
        rest = (struct text){name + host.n, len - host.n};
    put_number(out, step_ms);
    buf_append(out, ":{", 2);
    if (needs_escape(host))
        put_escaped(out, host);
    else
        buf_append(out, host.p, host.n);
    buf_putc(out, '}');
    if (!whole && tagged)
        buf_putc(out, ':');
    buf_append(out, rest.p, rest.n);
}

void hot_redis_put_window_key(const struct hot_redis_naming *naming, const char *series, size_t len,
                              int64_t window_ms, unsigned partition, struct buf *out)
{
    buf_append(out, naming->prefix, strlen(naming->prefix));
    buf_append(out, series, len);
    buf_putc(out, ':');
    if (window_ms < 0)
        buf_putc(out, '-');
    put_number(out, window_ms < 0 ? 0 - (uint64_t)window_ms : (uint64_t)window_ms);
    buf_putc(out, '/');
    put_number(out, partition);
}

void hot_redis_put_set_key(const struct hot_redis_naming *naming, const char *series, size_t len,
                           struct buf *out)
{
    buf_append(out, naming->prefix, strlen(naming->prefix));
    buf_putc(out, 'w');
    buf_append(out, series, len);
}

/* Digits up to `end` or a byte that is none; false if there is none or they do not fit. */
static bool get_number(const char **p, const char *end, uint64_t max, uint64_t *out)
{
    const char *q = *p;
    uint64_t v = 0;
    for (; q < end && *q >= '0' && *q <= '9'; q++) {
        uint64_t d = (uint64_t)(*q - '0');
        if (v > (max - d) / 10)
            return false;
        v = v * 10 + d;
    }
    if (q == *p)
        return false;
    *p = q;
    *out = v;
    return true;
}

static bool get_window(const char *p, const char *end, struct hot_redis_key *out)
{
    bool minus = p < end && *p == '-';
    uint64_t window, partition;
    p += minus;
    if (!get_number(&p, end, INT64_MAX, &window) || p == end || *p++ != '/' ||
        !get_number(&p, end, 255, &partition) || p != end)
        return false;
    out->window_ms = minus ? -(int64_t)window : (int64_t)window;
    out->partition = (unsigned)partition;
    return out->window_ms == window_start(out->window_ms, out->step_ms);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool put_unescaped(struct buf *out, const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p != '%') {
            buf_putc(out, *p);
            continue;
        }
        int high = end - p > 2 ? hex_digit(p[1]) : -1, low = end - p > 2 ? hex_digit(p[2]) : -1;
        if (high < 0 || low < 0)
            return false;
        buf_putc(out, (char)(high * 16 + low));
        p += 2;
    }
    return true;
}

bool hot_redis_key_read(const struct hot_redis_naming *naming, const char *key, size_t n,
                        struct hot_redis_key *out, struct buf *name)
{
    size_t prefix = strlen(naming->prefix);
    const char *p = key + prefix, *end = key + n;
    uint64_t step;
    if (n < prefix || memcmp(key, naming->prefix, prefix) != 0 || !get_number(&p, end, STEP_MAX_MS, &step) ||
        step < STEP_MIN_MS || end - p < 4 || p[0] != ':' || p[1] != '{')
        return false;
    out->step_ms = (uint32_t)step;
    const char *host = p + 2, *close = memchr(host, '}', (size_t)(end - host));
    const char *window = close ? memrchr(close, ':', (size_t)(end - close)) : NULL;
    if (!window || !get_window(window + 1, end, out))
        return false;
    const char *rest = close + 1;
    if (rest < window && *rest == ':') { /* the whole name follows */
        buf_append(name, rest + 1, (size_t)(window - rest - 1));
        return true;
    }
    if (!put_unescaped(name, host, close))
        return false;
    buf_append(name, rest, (size_t)(window - rest));
    return true;
}
