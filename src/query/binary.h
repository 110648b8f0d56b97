/* Pickle (protocol 2, which every Python reads) and msgpack, a value at a time. */
#ifndef CARAT_QUERY_BINARY_H
#define CARAT_QUERY_BINARY_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct binary_writer {
    void (*begin)(struct buf *b); /* of the whole */
    void (*end)(struct buf *b);
    void (*text)(struct buf *b, const char *s);
    void (*integer)(struct buf *b, int64_t v);
    void (*number)(struct buf *b, double v); /* missing is none */
    void (*boolean)(struct buf *b, bool v);
    void (*begin_list)(struct buf *b, size_t n);
    void (*end_list)(struct buf *b);
    void (*begin_map)(struct buf *b, size_t n); /* n pairs, each a text and a value */
    void (*end_map)(struct buf *b);
};

extern const struct binary_writer binary_pickle, binary_msgpack;

#endif
