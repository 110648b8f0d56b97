#include "model/rollup.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>

/* Which NaN arithmetic gives depends on the compiler; stored bits must not. */
static double one_nan(double v)
{
    return isnan(v) ? bits_f64(0x7ff8000000000000ull) : v;
}

/* Neumaier's sum: nearly always the exact sum rounded once. Beside being right it stores better: a sum of
 * hundredths is then the double nearest to a hundredth. */
static void add_sum(struct rollup_slot *s, double v)
{
    double *sum = &s->field[ROLLUP_SUM], t = *sum + v;
    if (isfinite(t))
        s->carry += fabs(*sum) >= fabs(v) ? (*sum - t) + v : (v - t) + *sum;
    *sum = t;
}

double rollup_slot_sum(const struct rollup_slot *s)
{
    double sum = s->field[ROLLUP_SUM];
    return one_nan(s->carry != 0 && isfinite(sum) ? sum + s->carry : sum);
}

void rollup_slot_add(struct rollup_slot *s, double v)
{
    if (isnan(v))
        return;
    double *f = s->field;
    if (f[ROLLUP_COUNT] == 0) {
        *s = (struct rollup_slot){{1, v, v, v, v}, 0};
        return;
    }
    add_sum(s, v);
    f[ROLLUP_COUNT]++;
    f[ROLLUP_MIN] = v < f[ROLLUP_MIN] ? v : f[ROLLUP_MIN];
    f[ROLLUP_MAX] = v > f[ROLLUP_MAX] ? v : f[ROLLUP_MAX];
    f[ROLLUP_LAST] = v;
}

void rollup_slot_join(struct rollup_slot *s, const struct rollup_slot *finer)
{
    double *f = s->field;
    const double *g = finer->field;
    if (g[ROLLUP_COUNT] == 0)
        return;
    if (f[ROLLUP_COUNT] == 0) {
        *s = *finer;
        return;
    }
    add_sum(s, g[ROLLUP_SUM]);
    s->carry += finer->carry;
    f[ROLLUP_COUNT] += g[ROLLUP_COUNT];
    f[ROLLUP_MIN] = g[ROLLUP_MIN] < f[ROLLUP_MIN] ? g[ROLLUP_MIN] : f[ROLLUP_MIN];
    f[ROLLUP_MAX] = g[ROLLUP_MAX] > f[ROLLUP_MAX] ? g[ROLLUP_MAX] : f[ROLLUP_MAX];
    f[ROLLUP_LAST] = g[ROLLUP_LAST];
}

void rollup_init(struct rollup *r, uint32_t n)
{
    assert(n >= 1 && n <= WINDOW_SLOTS_MAX);
    r->n = n;
    memset(r->present, 0, sizeof r->present);
}

void rollup_set(struct rollup *r, uint32_t i, const struct rollup_slot *s)
{
    if (s->field[ROLLUP_COUNT] == 0) {
        r->present[i / 64] &= ~(1ull << (i % 64));
        return;
    }
    slot_set(r->present, i);
    for (unsigned f = 0; f < ROLLUP_FIELDS; f++)
        r->field[f][i] = s->field[f];
    r->field[ROLLUP_SUM][i] = rollup_slot_sum(s);
}

void rollup_get(const struct rollup *r, uint32_t i, struct rollup_slot *out)
{
    *out = (struct rollup_slot)ROLLUP_SLOT_INIT;
    if (!slot_get(r->present, i))
        return;
    for (unsigned f = 0; f < ROLLUP_FIELDS; f++)
        out->field[f] = r->field[f][i];
}

void rollup_overlay(struct rollup *into, const struct rollup *newer)
{
    assert(into->n == newer->n);
    for (uint32_t w = 0; w < SLOTS_WORDS(into->n); w++) {
        uint64_t bits = newer->present[w];
        into->present[w] |= bits;
        for (; bits; bits &= bits - 1) {
            uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);
            for (unsigned f = 0; f < ROLLUP_FIELDS; f++)
                into->field[f][i] = newer->field[f][i];
        }
    }
}

bool rollup_equal(const struct rollup *a, const struct rollup *b)
{
    if (a->n != b->n || memcmp(a->present, b->present, SLOTS_WORDS(a->n) * sizeof a->present[0]))
        return false;
    for (uint32_t i = 0; i < a->n; i++)
        for (unsigned f = 0; f < ROLLUP_FIELDS && slot_get(a->present, i); f++)
            if (f64_bits(a->field[f][i]) != f64_bits(b->field[f][i]))
                return false;
    return true;
}

void rollup_make_slot(struct rollup_slot *s, const struct column *base, int64_t from_ms, int64_t step_ms)
{
    assert(from_ms >= base->start_ms && step_ms % base->step_ms == 0);
    size_t first = (size_t)((from_ms - base->start_ms) / base->step_ms),
           n = (size_t)(step_ms / base->step_ms);
    assert(first + n <= base->n);
    *s = (struct rollup_slot)ROLLUP_SLOT_INIT;
    for (size_t i = first; i < first + n; i++)
        rollup_slot_add(s, base->values[i]); /* what is missing is a NaN */
}

void rollup_slot_add_column(struct rollup_slot *s, const struct column *base, int64_t from_ms,
                            int64_t until_ms)
{
    int64_t first =
        from_ms <= base->start_ms ? 0 : (from_ms - base->start_ms + base->step_ms - 1) / base->step_ms;
    for (size_t i = (size_t)first; i < base->n && base->start_ms + (int64_t)i * base->step_ms < until_ms; i++)
        rollup_slot_add(s, base->values[i]);
}

bool rollup_slot_replaces(const struct rollup_slot *made, const struct rollup_slot *stored)
{
    return made->field[ROLLUP_COUNT] >= stored->field[ROLLUP_COUNT];
}

static const char *const names[AGGREGATION_KINDS] = {
    [AGGREGATION_AVERAGE] = "average",   [AGGREGATION_SUM] = "sum",   [AGGREGATION_MIN] = "min",
    [AGGREGATION_MAX] = "max",           [AGGREGATION_LAST] = "last", [AGGREGATION_COUNT] = "count",
    [AGGREGATION_AVG_ZERO] = "avg_zero",
};

const char *aggregation_name(enum aggregation a)
{
    return names[a];
}

static bool is_word(const char *name, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(name, word, len) == 0;
}

int aggregation_parse(const char *name, size_t len, enum aggregation *out, struct err *err)
{
    for (unsigned i = 0; i < AGGREGATION_KINDS; i++)
        if (is_word(name, len, names[i])) {
            *out = (enum aggregation)i;
            return OK;
        }
    static const char *const impossible[] = {"median", "absmin", "absmax"};
    for (size_t i = 0; i < ARRAY_LEN(impossible); i++)
        if (is_word(name, len, impossible[i]))
            return err_set(err, ERR_INVALID,
                           "aggregation '%s' is not possible: a roll-up keeps sum, count, min, max and last, "
                           "it cannot be told from these",
                           impossible[i]);
    return err_set(err, ERR_INVALID,
                   "unknown aggregation '%.*s'; known are average, sum, min, max, last, count, avg_zero",
                   (int)(len < 120 ? len : 120), name);
}

double rollup_slot_value(const struct rollup_slot *s, enum aggregation a, uint32_t points_per_slot)
{
    const double *f = s->field;
    if (f[ROLLUP_COUNT] == 0)
        return column_missing();
    switch (a) {
    case AGGREGATION_SUM:
        return rollup_slot_sum(s);
    case AGGREGATION_MIN:
        return f[ROLLUP_MIN];
    case AGGREGATION_MAX:
        return f[ROLLUP_MAX];
    case AGGREGATION_LAST:
        return f[ROLLUP_LAST];
    case AGGREGATION_COUNT:
        return f[ROLLUP_COUNT];
    case AGGREGATION_AVG_ZERO:
        return rollup_slot_sum(s) / points_per_slot;
    case AGGREGATION_AVERAGE:
    case AGGREGATION_KINDS:
        break;
    }
    return rollup_slot_sum(s) / f[ROLLUP_COUNT];
}

double rollup_value(const struct rollup *r, uint32_t i, enum aggregation a, uint32_t points_per_slot)
{
    struct rollup_slot s;
    rollup_get(r, i, &s);
    return rollup_slot_value(&s, a, points_per_slot);
}
