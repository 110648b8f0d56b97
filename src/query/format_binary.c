/* Pickle (protocol 2, which every Python reads) and msgpack: a list of dictionaries with name, start, end,
 * step, values, pathExpression, valuesPerPoint, consolidationFunc and xFilesFactor. */
#include "base/bytes.h"
#include "query/format.h"

#include <string.h>

/* What both formats are made of. */
struct writer {
    void (*text)(struct buf *b, const char *s);
    void (*integer)(struct buf *b, int64_t v);
    void (*number)(struct buf *b, double v); /* missing is none */
    void (*begin_list)(struct buf *b, size_t n);
    void (*end_list)(struct buf *b);
    void (*begin_map)(struct buf *b, size_t n);
    void (*end_map)(struct buf *b);
};

static void put_series(struct buf *b, const struct writer *w, const struct query_series *s)
{
    w->begin_map(b, 9);
    w->text(b, "name");
    w->text(b, s->name);
    w->text(b, "start");
    w->integer(b, s->start_s);
    w->text(b, "end");
    w->integer(b, s->end_s);
    w->text(b, "step");
    w->integer(b, s->step_s);
    w->text(b, "values");
    w->begin_list(b, s->n);
    for (size_t i = 0; i < s->n; i++)
        w->number(b, s->values[i]);
    w->end_list(b);
    w->text(b, "pathExpression");
    w->text(b, s->path_expression);
    w->text(b, "valuesPerPoint");
    w->integer(b, s->values_per_point);
    w->text(b, "consolidationFunc");
    w->text(b, s->consolidation);
    w->text(b, "xFilesFactor");
    w->number(b, s->x_files_factor);
    w->end_map(b);
}

static void put_all(struct buf *b, const struct writer *w, const struct query_result *r)
{
    w->begin_list(b, r->n);
    for (size_t i = 0; i < r->n; i++)
        put_series(b, w, r->series[i]);
    w->end_list(b);
}

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

int format_pickle(struct query_result *r, const struct format_options *o, struct buf *out, struct err *err)
{
    static const struct writer w = {pickle_text,     pickle_integer,   pickle_number, pickle_begin_list,
                                    pickle_end_list, pickle_begin_map, pickle_end_map};
    buf_append(out, "\x80\x02", 2); /* PROTO 2 */
    put_all(out, &w, r);
    buf_putc(out, '.'); /* STOP */
    return OK;
}

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
static void msgpack_end(struct buf *b) {}

int format_msgpack(struct query_result *r, const struct format_options *o, struct buf *out, struct err *err)
{
    static const struct writer w = {msgpack_text, msgpack_integer,   msgpack_number, msgpack_begin_list,
                                    msgpack_end,  msgpack_begin_map, msgpack_end};
    put_all(out, &w, r);
    return OK;
}
