/* A stream record's payload: any bytes are refused or can be walked whole without leaving them. */
#include "model/batch.h"
#include "model/deletion.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was understood says the same when it is written again. */
static void walk_deletion(const uint8_t *data, size_t size)
{
    struct deletion_record r;
    struct err err = ERR_INIT;
    struct buf again = BUF_INIT;
    if (deletion_open(&r, data, size, &err) != OK)
        return;
    struct deletion *v = malloc(r.n * sizeof *v);
    for (uint32_t i = 0; i < r.n; i++)
        v[i] = deletion_at(&r, i);
    deletion_encode(v, r.n, r.asked_ms, &again);
    if (again.len != size || memcmp(again.data, data, size))
        abort();
    free(v);
    buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct batch b;
    struct err err = ERR_INIT;
    if (deletion_is_record(data, size)) {
        walk_deletion(data, size);
        return 0;
    }
    if (batch_open(&b, data, size, &err) != OK)
        return 0;
    volatile uint64_t sum = 0;
    const uint8_t *pos = b.defs;
    struct batch_def def;
    uint32_t defs = 0;
    while (batch_next_def(&b, &pos, &def) == 0) {
        sum += def.ref + def.step_ms + (uint8_t)def.name[0] + (uint8_t)def.name[def.name_len - 1];
        defs++;
    }
    if (defs != b.ndefs)
        abort();
    for (uint32_t i = 0; i < b.npoints; i++)
        sum += batch_ref(&b, i) + (uint64_t)batch_ts_ms(&b, i) + f64_bits(batch_value(&b, i));
    (void)sum;
    return 0;
}
