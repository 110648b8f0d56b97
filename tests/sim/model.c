#include "sim/model.h"

#include "base/mem.h"
#include "model/slots.h"
#include "model/window.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VERSIONS 127
#define KINDS    8

struct model *model_new(unsigned nseries, size_t nslots)
{
    struct model *m = xcalloc(1, sizeof *m);
    m->nseries = nseries;
    m->nslots = nslots;
    m->expired_ms = INT64_MIN;
    m->series = xcalloc(nseries, sizeof *m->series);
    for (unsigned i = 0; i < nseries; i++) {
        m->series[i].slot = xcalloc(nslots, 1);
        m->series[i].torn = xcalloc(SLOTS_WORDS(nslots / MODEL_DAY + 2), sizeof(uint64_t));
    }
    return m;
}

void model_free(struct model *m)
{
    for (unsigned i = 0; i < m->nseries; i++) {
        free(m->series[i].slot);
        free(m->series[i].torn);
    }
    free(m->series);
    free(m);
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint64_t hash_of(unsigned series, size_t slot, unsigned version)
{
    return mix(((uint64_t)series << 40 | (uint64_t)slot << 8 | version) + 0x9e3779b97f4a7c15ull);
}

double model_value(unsigned series, size_t slot, unsigned version)
{
    uint64_t h = hash_of(series, slot, version);
    switch (series % KINDS) {
    case 0:
        return 41 + version;
    case 1:
        return (double)slot * 17 + version;
    case 2:
        return (double)(100000 + slot % 3000 + h % 50 + 100 * version) / 100;
    case 3:
        return (double)(h % 1000);
    case 4:
        return ldexp((double)(h >> 11), -40);
    case 5:
        return (double)(h % 64) / 8 + version;
    case 6:
        return (double)(h % 100) + version;
    default:
        return h % 97 == 0 ? (double)(h % 100000) : version - 1;
    }
}

bool model_has(unsigned series, size_t slot)
{
    uint64_t h = hash_of(series, slot, 255);
    return series % KINDS == 6 ? h % 7 == 0 : h % 64 != 0;
}

unsigned model_write(struct model *m, unsigned series, size_t slot, bool again)
{
    struct model_series *s = &m->series[series];
    unsigned was = s->slot[slot] & ~MODEL_GONE, version = again && was ? was : was % VERSIONS + 1;
    s->slot[slot] = (uint8_t)version;
    s->written = true;
    s->gone = slot < s->gone ? slot : s->gone;
    if (floor_to(model_ms(slot), MODEL_DAY_MS) < m->expired_ms)
        slot_set(s->torn, slot / MODEL_DAY);
    return version;
}

/* --- promises --- */

static void forget_before(struct model *m, struct model_series *s, int64_t ms)
{
    int64_t until = ms <= MODEL_T0 ? 0 : ceil_to(ms - MODEL_T0, MODEL_STEP_MS) / MODEL_STEP_MS;
    for (; s->gone < m->nslots && (int64_t)s->gone < until; s->gone++)
        if (s->slot[s->gone])
            s->slot[s->gone] |= MODEL_GONE;
    s->lost = s->gone > s->lost ? s->gone : s->lost;
}

static struct model_archive *archive_of(struct model_series *s, uint32_t step_ms)
{
    for (size_t i = 0; i < s->narchives; i++)
        if (s->archive[i].step_ms == step_ms)
            return &s->archive[i];
    return NULL;
}

void model_rules(struct model *m, unsigned series, const struct retention *r, int64_t now_ms)
{
    struct model_series *s = &m->series[series];
    struct model_archive now[RETENTION_ARCHIVES];
    size_t n = 0;
    forget_before(m, s, now_ms - r->archives[0].keep_ms);
    for (size_t i = 1; i < r->narchives; i++) {
        const struct model_archive *old = archive_of(s, r->archives[i].step_ms);
        int64_t kept_ms = now_ms - r->archives[i].keep_ms;
        now[n] =
            old ? *old : (struct model_archive){r->archives[i].step_ms, s->written ? INT64_MAX : INT64_MIN};
        now[n].since_ms = now[n].since_ms > kept_ms ? now[n].since_ms : kept_ms;
        n++;
    }
    memcpy(s->archive, now, n * sizeof *now);
    s->narchives = n;
}

void model_rebuilt(struct model *m, unsigned series)
{
    struct model_series *s = &m->series[series];
    int64_t whole_ms = ceil_to(model_ms(s->lost), MODEL_DAY_MS);
    for (size_t i = 0; i < s->narchives; i++)
        if (s->archive[i].since_ms == INT64_MAX)
            s->archive[i].since_ms = whole_ms;
}

/* --- what must be read --- */

static bool is_version(unsigned series, size_t slot, unsigned version, double got)
{
    return f64_bits(got) == f64_bits(model_value(series, slot, version));
}

bool model_base_is(const struct model *m, unsigned series, size_t slot, double got)
{
    uint8_t state = m->series[series].slot[slot];
    unsigned version = state & ~MODEL_GONE;
    if (column_is_missing(got))
        return !version || state & MODEL_GONE;
    if (!(state & MODEL_GONE))
        return version && is_version(series, slot, version, got);
    for (; version; version--) /* of what is too old the newer part may have gone before the older one */
        if (is_version(series, slot, version, got))
            return true;
    return false;
}

static void add(struct model_coarse *c, long double *sum, double v)
{
    double *f = c->slot.field;
    f[ROLLUP_MIN] = f[ROLLUP_COUNT] && f[ROLLUP_MIN] < v ? f[ROLLUP_MIN] : v;
    f[ROLLUP_MAX] = f[ROLLUP_COUNT] && f[ROLLUP_MAX] > v ? f[ROLLUP_MAX] : v;
    f[ROLLUP_LAST] = v;
    f[ROLLUP_COUNT]++;
    *sum += v;
    c->sum_abs += fabs(v);
}

void model_coarse(const struct model *m, unsigned series, uint32_t step_ms, int64_t from_ms, size_t n,
                  struct model_coarse *out)
{
    const struct model_series *s = &m->series[series];
    const struct model_archive *a = archive_of((struct model_series *)s, step_ms);
    size_t per = step_ms / MODEL_STEP_MS, slot = (size_t)((from_ms - MODEL_T0) / MODEL_STEP_MS);
    for (size_t i = 0; i < n; i++) {
        struct model_coarse *c = &out[i];
        long double sum = 0;
        *c = (struct model_coarse){.promised = a && model_ms(slot) >= a->since_ms};
        for (size_t end = slot + per; slot < end; slot++) {
            if (slot >= m->nslots || !s->slot[slot])
                continue;
            add(c, &sum, model_value(series, slot, s->slot[slot] & ~MODEL_GONE));
        }
        c->slot.field[ROLLUP_SUM] = (double)sum;
        for (size_t day = (slot - per) / MODEL_DAY; day <= (slot - 1) / MODEL_DAY; day++)
            c->promised &= !slot_get(s->torn, day);
    }
}
