/* A growable run of bytes. One owner; not thread-safe.
 * After any append `data` may have moved. `data` is not NUL-terminated unless
 * buf_str() was asked for it. */
#ifndef CARAT_BASE_BUF_H
#define CARAT_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

#define BUF_INIT                                                                                             \
    {                                                                                                        \
        NULL, 0, 0                                                                                           \
    }

void buf_release(struct buf *b); /* frees the bytes, leaves an empty buffer */
static inline void buf_clear(struct buf *b)
{
    b->len = 0;
}
/* Makes room for n more bytes; returns where they will go (len is unchanged). */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_append(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* NUL-terminates (the NUL is not counted in len) and returns the text. */
const char *buf_str(struct buf *b);
/* Hands the bytes to the caller, who frees them with free(); NUL-terminated. */
char *buf_detach(struct buf *b, size_t *len);

/* Appends `s` as the inside of a JSON string: quotes, backslashes and control
 * bytes escaped; bytes that are not UTF-8 become U+FFFD. No quotes around it. */
void buf_json_escaped(struct buf *b, const char *s, size_t len);
/* The same with quotes around it. */
void buf_json_string(struct buf *b, const char *s, size_t len);

#endif
