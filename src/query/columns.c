#include "query/columns.h"

#include "base/bytes.h"
#include "model/column.h"

#include <string.h>

/* Two slots at a time, by the compiler's vectors. Measured, nanoseconds a value from cache: sum 0.83 with
 * what every x86-64 has, 0.31 as AVX2; least 1.68 and 0.36 (there comparing 64 bits is one instruction). */
typedef double two __attribute__((vector_size(16)));
typedef int64_t bits __attribute__((vector_size(16)));

#define KERNEL static inline __attribute__((always_inline))

KERNEL two load(const double *p)
{
    two x;
    memcpy(&x, p, sizeof x);
    return x;
}

KERNEL void store(double *p, two x)
{
    memcpy(p, &x, sizeof x);
}

KERNEL bits missing(two x)
{
    return (bits)x == (int64_t)COLUMN_MISSING_BITS;
}

KERNEL two choose(bits which, two yes, two no)
{
    return (two)(((bits)yes & which) | ((bits)no & ~which));
}

enum how { ADD, LEAST, MOST, DIFFERENCE };

KERNEL void add_two(enum how how, double *value, double *count, const double *v)
{
    const two one = {1, 1}, zero = {0, 0};
    two x = load(v), old = load(value);
    bits gone = missing(x), first = missing(old);
    if (how == ADD)
        store(value, old + choose(gone, zero, x));
    else if (how == DIFFERENCE)
        store(value, choose(gone, old, choose(first, zero + x, old - x)));
    else
        store(value, choose(~gone & (first | (how == LEAST ? x < old : x > old)), x, old));
    store(count, load(count) + choose(gone, zero, one));
}

KERNEL void add_all(enum how how, double *value, double *count, const double *v, size_t n)
{
    size_t i = 0;
    for (; i + 2 <= n; i += 2)
        add_two(how, value + i, count + i, v + i);
    if (i == n)
        return;
    double last[3][2] = {{value[i]}, {count[i]}, {v[i]}};
    add_two(how, last[0], last[1], last[2]);
    value[i] = last[0][0];
    count[i] = last[1][0];
}

KERNEL void add_any(enum how how, double *value, double *count, const double *v, size_t n)
{
    switch (how) {
    case ADD:
        add_all(ADD, value, count, v, n);
        return;
    case LEAST:
        add_all(LEAST, value, count, v, n);
        return;
    case MOST:
        add_all(MOST, value, count, v, n);
        return;
    case DIFFERENCE:
        add_all(DIFFERENCE, value, count, v, n);
    }
}

static void add_plain(enum how how, double *value, double *count, const double *v, size_t n)
{
    add_any(how, value, count, v, n);
}

__attribute__((target("avx2"))) static void add_avx2(enum how how, double *value, double *count,
                                                     const double *v, size_t n)
{
    add_any(how, value, count, v, n);
}

static enum how how_of(agg_fn fn)
{
    return fn == agg_min ? LEAST : fn == agg_max ? MOST : fn == agg_diff ? DIFFERENCE : ADD;
}

bool columns_can(agg_fn fn)
{
    return fn == agg_sum || fn == agg_average || fn == agg_min || fn == agg_max || fn == agg_count ||
           fn == agg_diff;
}

void columns_begin(struct columns *c)
{
    double none = how_of(c->fn) == ADD ? 0 : column_missing();
    for (size_t i = 0; i < c->n; i++) {
        c->value[i] = none;
        c->count[i] = 0;
    }
}

void columns_add(struct columns *c, const double *v, size_t n)
{
    if (__builtin_cpu_supports("avx2"))
        add_avx2(how_of(c->fn), c->value, c->count, v, n);
    else
        add_plain(how_of(c->fn), c->value, c->count, v, n);
}

void columns_finish(struct columns *c, size_t k, double x_files_factor)
{
    for (size_t i = 0; i < c->n; i++) {
        if (!agg_enough((size_t)c->count[i], (double)k, x_files_factor))
            c->value[i] = column_missing();
        else if (c->fn == agg_average)
            c->value[i] /= c->count[i];
        else if (c->fn == agg_count)
            c->value[i] = c->count[i];
    }
}
