/* First byte: where the input is cut in two, and whether the end is final. Whatever the bytes: no over-read,
 * every line is a point or a counted refusal, the cut makes no difference, and names are canonical. */
#include "base/bytes.h"
#include "base/hash.h"
#include "ingest/decimal.h"
#include "ingest/graphite_text.h"
#include "model/name.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static uint64_t counted(const struct sample_batch *b)
{
    uint64_t n = b->n;
    for (int i = 0; i < REJECT_KINDS; i++)
        n += b->rejected[i];
    return n;
}

static void check_sample(const struct sample *s)
{
    struct arena a = ARENA_INIT;
    const char *name;
    size_t len;
    enum reject why;
    assert(name_canonical(s->name, s->name_len, &a, &name, &len, &why) == 0);
    assert(name == s->name && len == s->name_len);
    assert(s->hash == hash_bytes(name, len));
    assert(isfinite(s->value) && s->ts_ms >= 0);
    arena_release(&a);
}

/* A copy of its own, so that an over-read is seen. */
static char *copy(const uint8_t *data, size_t n)
{
    char *p = malloc(n ? n : 1);
    memcpy(p, data, n);
    return p;
}

/* Wherever strtod and the parser both read a decimal, they agree. */
static void check_number(const uint8_t *data, size_t n)
{
    char text[128];
    n = n < sizeof text ? n : sizeof text - 1;
    memcpy(text, data, n);
    text[n] = '\0';
    double got;
    const char *end = decimal_parse(text, &got);
    if (!end)
        return;
    char *want_end;
    double want = strtod(text, &want_end);
    if (want_end == end)
        assert(f64_bits(got) == f64_bits(want));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    bool final = data[0] & 1;
    size_t cut = data[0] / 2 % size;
    data++;
    size--;
    check_number(data, size);
    struct graphite_parser g = {.now_ms = 1763800000000, .max_line_bytes = 2000};
    struct sample_batch whole = SAMPLE_BATCH_INIT, parts = SAMPLE_BATCH_INIT;
    char *all = copy(data, size);
    size_t used = graphite_parse(&g, all, size, final, &whole);
    assert(final ? used == size : used <= size && (used == 0 || data[used - 1] == '\n'));

    char *head = copy(data, cut);
    size_t first = graphite_parse(&g, head, cut, false, &parts);
    assert(first <= cut);
    char *tail = copy(data + first, size - first);
    size_t second = graphite_parse(&g, tail, size - first, final, &parts);
    assert(first + second == used);
    assert(counted(&whole) == counted(&parts) && whole.n == parts.n);
    for (size_t i = 0; i < whole.n; i++) {
        check_sample(&whole.v[i]);
        assert(whole.v[i].hash == parts.v[i].hash && whole.v[i].ts_ms == parts.v[i].ts_ms);
        assert(f64_bits(whole.v[i].value) == f64_bits(parts.v[i].value));
    }
    sample_batch_release(&whole);
    sample_batch_release(&parts);
    free(all);
    free(head);
    free(tail);
    return 0;
}
