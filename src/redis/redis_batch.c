#include "redis/redis_batch.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void redis_batch_clear(struct redis_batch *b)
{
    buf_clear(&b->bytes);
    b->n = 0;
    b->args_due = 0;
}

void redis_batch_release(struct redis_batch *b)
{
    buf_release(&b->bytes);
    free(b->v);
    *b = (struct redis_batch)REDIS_BATCH_INIT;
}

/* Decimal digits at the end of `out`; returns where they begin. 20 digits and a sign at most. */
#define DIGITS 24
static char *digits(char out[DIGITS], uint64_t v)
{
    char *p = out + DIGITS;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    return p;
}

static void put_count(struct buf *b, char type, size_t n)
{
    char text[DIGITS], *p = digits(text, n);
    size_t len = (size_t)(text + DIGITS - p);
    uint8_t *q = buf_reserve(b, len + 3);
    q[0] = (uint8_t)type;
    memcpy(q + 1, p, len);
    memcpy(q + 1 + len, "\r\n", 2);
    b->len += len + 3;
}

void redis_batch_begin(struct redis_batch *b, uint16_t slot, unsigned argc)
{
    assert(b->args_due == 0 && argc > 0);
    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 256;
        b->v = xrealloc(b->v, b->cap * sizeof *b->v);
    }
    b->v[b->n++] = (struct redis_command){.at = b->bytes.len, .slot = slot};
    b->args_due = argc;
    put_count(&b->bytes, '*', argc);
}

void redis_batch_arg(struct redis_batch *b, const void *p, size_t n)
{
    assert(b->args_due > 0);
    put_count(&b->bytes, '$', n);
    uint8_t *q = buf_reserve(&b->bytes, n + 2);
    memcpy(q, p, n);
    memcpy(q + n, "\r\n", 2);
    b->bytes.len += n + 2;
    if (--b->args_due == 0)
        b->v[b->n - 1].len = b->bytes.len - b->v[b->n - 1].at;
}

void redis_batch_str(struct redis_batch *b, const char *s)
{
    redis_batch_arg(b, s, strlen(s));
}

void redis_batch_i64(struct redis_batch *b, int64_t v)
{
    char text[DIGITS], *p = digits(text, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    if (v < 0)
        *--p = '-';
    redis_batch_arg(b, p, (size_t)(text + DIGITS - p));
}

void redis_batch_numbered(struct redis_batch *b, char prefix, uint32_t v)
{
    char text[DIGITS], *p = digits(text, v);
    *--p = prefix;
    redis_batch_arg(b, p, (size_t)(text + DIGITS - p));
}
