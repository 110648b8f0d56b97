#include "base/buf.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_release(struct buf *b)
{
    free(b->data);
    *b = (struct buf)BUF_INIT;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->cap - b->len < n) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap - b->len < n)
            cap *= 2;
        b->data = xrealloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
    if (!n)
        return;
    memcpy(buf_reserve(b, n), p, n);
    b->len += n;
}

void buf_puts(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    *buf_reserve(b, 1) = (uint8_t)c;
    b->len++;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    uint8_t *p = buf_reserve(b, 128);
    int n = vsnprintf((char *)p, b->cap - b->len, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    if ((size_t)n >= b->cap - b->len) {
        p = buf_reserve(b, (size_t)n + 1);
        vsnprintf((char *)p, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    b->len += (size_t)n;
}

const char *buf_str(struct buf *b)
{
    *buf_reserve(b, 1) = '\0';
    return (const char *)b->data;
}

char *buf_detach(struct buf *b, size_t *len)
{
    buf_str(b);
    char *p = (char *)b->data;
    if (len)
        *len = b->len;
    *b = (struct buf)BUF_INIT;
    return p;
}

void buf_json_escaped(struct buf *b, const char *s, size_t len)
{
    const uint8_t *p = (const uint8_t *)s;
    for (size_t i = 0; i < len;) {
        uint8_t c = p[i];
        size_t n = utf8_len(p + i, len - i);
        if (c == '"' || c == '\\') {
            buf_putc(b, '\\');
            buf_putc(b, (char)c);
        } else if (c == '\n') {
            buf_puts(b, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(b, "\\u%04x", c);
        } else if (n == 0) {
            buf_puts(b, "\xef\xbf\xbd");
        } else {
            buf_append(b, p + i, n);
        }
        i += n ? n : 1;
    }
}

void buf_json_string(struct buf *b, const char *s, size_t len)
{
    buf_putc(b, '"');
    buf_json_escaped(b, s, len);
    buf_putc(b, '"');
}
