/* The first byte chooses the kind of post. Whatever the bytes: all points or none, and then a reason. */
#include "base/hash.h"
#include "ingest/mackerel_json.h"
#include "model/name.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check_sample(const struct sample *s, const char *prefix)
{
    struct arena a = ARENA_INIT;
    const char *name;
    size_t len;
    enum reject why;
    assert(s->name_len > strlen(prefix) && memcmp(s->name, prefix, strlen(prefix)) == 0);
    assert(name_canonical(s->name, s->name_len, &a, &name, &len, &why) == 0);
    assert(name == s->name && s->hash == hash_bytes(name, len));
    assert(isfinite(s->value) && s->ts_ms >= 0 && s->ts_ms % 1000 == 0);
    arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    int host = data[0] & 1;
    size--;
    char *body = malloc(size ? size : 1);
    memcpy(body, data + 1, size);
    struct sample_batch b = SAMPLE_BATCH_INIT;
    struct err err = ERR_INIT;
    int rc = host ? mackerel_parse_host(body, size, &b, &err)
                  : mackerel_parse_service("shop", 4, body, size, &b, &err);
    uint64_t rejected = 0;
    for (int i = 0; i < REJECT_KINDS; i++)
        rejected += b.rejected[i];
    if (rc == OK)
        assert(rejected == 0);
    else
        assert(rc == ERR_INVALID && rejected == 1 && b.n == 0 && err.text[0]);
    free(body);
    for (size_t i = 0; i < b.n; i++)
        check_sample(&b.v[i], host ? "host." : "service.shop.");
    sample_batch_release(&b);
    return 0;
}
