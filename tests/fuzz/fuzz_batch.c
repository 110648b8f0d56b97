/* A stream record's payload: any bytes are refused or can be walked whole without leaving them. */
#include "model/batch.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct batch b;
    struct err err = ERR_INIT;
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
