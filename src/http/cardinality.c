#include "http/cardinality.h"

#include "base/hash.h"
#include "base/mem.h"
#include "model/name.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY 4096 /* series between two looks at the clock */

/* A prefix is the beginning of a name of the catalog, which never goes away. */
struct prefix {
    const char *text;
    uint32_t len; /* 0: empty slot */
    uint32_t series;
};

struct level {
    struct prefix *slots; /* open addressing, at most half full */
    size_t mask, n;
};

struct counting {
    const struct cardinality_options *o;
    struct clock *clock;
    int64_t until_ms;
    uint64_t counted;
    bool complete;
    size_t prefixes;
    struct level level[CARDINALITY_DEPTH_MAX];
};

static struct prefix *slot_of(struct level *l, const char *text, size_t len)
{
    size_t i = hash_bytes(text, len) & l->mask;
    while (l->slots[i].len && (l->slots[i].len != len || memcmp(l->slots[i].text, text, len) != 0))
        i = (i + 1) & l->mask;
    return &l->slots[i];
}

static void grow(struct level *l)
{
    struct level old = *l;
    l->mask = old.slots ? 2 * old.mask + 1 : 1023;
    l->slots = xcalloc(l->mask + 1, sizeof *l->slots);
    for (size_t i = 0; old.slots && i <= old.mask; i++)
        if (old.slots[i].len)
            *slot_of(l, old.slots[i].text, old.slots[i].len) = old.slots[i];
    free(old.slots);
}

static void count_prefix(struct counting *c, struct level *l, const char *text, size_t len)
{
    if (!l->slots || 2 * l->n > l->mask)
        grow(l);
    struct prefix *p = slot_of(l, text, len);
    if (!p->len) {
        if (c->prefixes >= c->o->max_prefixes) {
            c->complete = false;
            return;
        }
        *p = (struct prefix){text, (uint32_t)len, 0};
        l->n++;
        c->prefixes++;
    }
    p->series++;
}

static int count_series(void *ctx, uint32_t id, uint32_t step_ms, const char *name, size_t name_len)
{
    struct counting *c = ctx;
    size_t path = name_path_len(name, name_len);
    unsigned depth = 0;
    for (size_t i = 1; i <= path && depth < c->o->depth; i++)
        if (i == path || name[i] == '.')
            count_prefix(c, &c->level[depth++], name, i);
    if (++c->counted % LOOK_EVERY == 0 && clock_mono_ms(c->clock) > c->until_ms) {
        c->complete = false;
        return 1;
    }
    return 0;
}

/* Most series first; equal ones by name. */
static int by_series(const void *a, const void *b)
{
    const struct prefix *x = a, *y = b;
    if (x->series != y->series)
        return x->series > y->series ? -1 : 1;
    int c = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

static void put_level(const struct counting *c, struct level *l, unsigned depth, struct buf *out)
{
    size_t n = 0;
    for (size_t i = 0; l->slots && i <= l->mask; i++)
        if (l->slots[i].len)
            l->slots[n++] = l->slots[i];
    if (n)
        qsort(l->slots, n, sizeof *l->slots, by_series);
    buf_printf(out, "%s{\"depth\":%u,\"prefixes\":%zu,\"top\":[", depth > 1 ? "," : "", depth, n);
    for (size_t i = 0; i < n && i < c->o->top; i++) {
        buf_puts(out, i ? ",{\"prefix\":" : "{\"prefix\":");
        buf_json_string(out, l->slots[i].text, l->slots[i].len);
        buf_printf(out, ",\"series\":%u}", l->slots[i].series);
    }
    buf_puts(out, "]}");
}

void cardinality_json(struct catalog *catalog, struct clock *clock, const struct cardinality_options *o,
                      struct buf *out)
{
    struct counting c = {
        .o = o, .clock = clock, .until_ms = clock_mono_ms(clock) + o->max_ms, .complete = true};
    (void)catalog_each(catalog, count_series, &c);
    buf_printf(out, "{\"series\":%u,\"counted\":%llu,\"complete\":%s,\"depths\":[", catalog_count(catalog),
               (unsigned long long)c.counted, c.complete ? "true" : "false");
    for (unsigned d = 0; d < o->depth; d++) {
        put_level(&c, &c.level[d], d + 1, out);
        free(c.level[d].slots);
    }
    buf_puts(out, "]}");
}
