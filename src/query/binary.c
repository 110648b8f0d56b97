#include "query/binary.h"

#include "base/bytes.h"
#include "model/column.h"

#include <string.h>

static void put_be(struct buf *b, char code, uint64_t v, size_t bytes)
{
    uint8_t *p = buf_reserve(b, 9);
    p[0] = (uint8_t)code;
    for (size_t i = 0; i < bytes; i++)
        p[1 + i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
    b->len += 1 + bytes;
}

static void put_le(struct buf *b, char code, uint64_t v, size_t bytes)
{
    uint8_t *p = buf_reserve(b, 9);
    p[0] = (uint8_t)code;
    for (size_t i = 0; i < bytes; i++)
        p[1 + i] = (uint8_t)(v >> 8 * i);
    b->len += 1 + bytes;
}

/* --- pickle: opcodes of Lib/pickle.py --- */

static void pickle_begin(struct buf *b)
{
    buf_append(b, "\x80\x02", 2); /* PROTO 2 */
}
static void pickle_end(struct buf *b)
{
    buf_putc(b, '.'); /* STOP */
}
static void pickle_text(struct buf *b, const char *s)
{
    put_le(b, 'X', strlen(s), 4); /* BINUNICODE */
    buf_puts(b, s);
}
static void pickle_integer(struct buf *b, int64_t v)
{
    if (v >= INT32_MIN && v <= INT32_MAX) {
        put_le(b, 'J', (uint64_t)v, 4); /* BININT */
        return;
    }
    put_le(b, (char)0x8a, 8, 1); /* LONG1 of 8 bytes */
    put_u64le(buf_reserve(b, 8), (uint64_t)v);
    b->len += 8;
}
static void pickle_number(struct buf *b, double v)
{
    if (column_is_missing(v))
        buf_putc(b, 'N');
    else
        put_be(b, 'G', f64_bits(v), 8); /* BINFLOAT */
}
static void pickle_boolean(struct buf *b, bool v)
{
    buf_putc(b, v ? '\x88' : '\x89'); /* NEWTRUE, NEWFALSE */
}
static void pickle_begin_list(struct buf *b, size_t n)
{
    buf_puts(b, "]("); /* EMPTY_LIST, MARK */
}
static void pickle_end_list(struct buf *b)
{
    buf_putc(b, 'e'); /* APPENDS */
}
static void pickle_begin_map(struct buf *b, size_t n)
{
    buf_puts(b, "}("); /* EMPTY_DICT, MARK */
}
static void pickle_end_map(struct buf *b)
{
    buf_putc(b, 'u'); /* SETITEMS */
}

const struct binary_writer binary_pickle = {
    pickle_begin,   pickle_end,        pickle_text,     pickle_integer,   pickle_number,
    pickle_boolean, pickle_begin_list, pickle_end_list, pickle_begin_map, pickle_end_map,
};

/* --- msgpack --- */

static void msgpack_text(struct buf *b, const char *s)
{
    size_t n = strlen(s);
    if (n < 32)
        buf_putc(b, (char)(0xa0 | n));
    else if (n < 256)
        put_be(b, (char)0xd9, n, 1);
    else if (n < 65536)
        put_be(b, (char)0xda, n, 2);
    else
        put_be(b, (char)0xdb, n, 4);
    buf_append(b, s, n);
}
static void msgpack_integer(struct buf *b, int64_t v)
{
    if (v >= 0 && v < 128)
        buf_putc(b, (char)v);
    else
        put_be(b, (char)0xd3, (uint64_t)v, 8);
}
static void msgpack_number(struct buf *b, double v)
{
    if (column_is_missing(v))
        buf_putc(b, (char)0xc0);
    else
        put_be(b, (char)0xcb, f64_bits(v), 8);
}
static void msgpack_boolean(struct buf *b, bool v)
{
    buf_putc(b, v ? '\xc3' : '\xc2');
}
static void msgpack_begin_list(struct buf *b, size_t n)
{
    if (n < 16)
        buf_putc(b, (char)(0x90 | n));
    else
        put_be(b, (char)0xdd, n, 4);
}
static void msgpack_begin_map(struct buf *b, size_t n)
{
    buf_putc(b, (char)(0x80 | n));
}
static void msgpack_nothing(struct buf *b) {}

const struct binary_writer binary_msgpack = {
    msgpack_nothing, msgpack_nothing,    msgpack_text,    msgpack_integer,   msgpack_number,
    msgpack_boolean, msgpack_begin_list, msgpack_nothing, msgpack_begin_map, msgpack_nothing,
};
