#include "writer/flush_batch.h"

#include "base/mem.h"

#include <stdlib.h>

void flush_batch_reserve(struct flush_batch *b)
{
    if (b->n < b->cap)
        return;
    b->cap = b->cap ? b->cap * 2 : 256;
    b->parts = xrealloc(b->parts, b->cap * sizeof *b->parts);
    b->in_blocks = xrealloc(b->in_blocks, b->cap * sizeof *b->in_blocks);
}

void flush_batch_clear(struct flush_batch *b)
{
    b->n = 0;
    b->remove.n = 0;
    buf_clear(&b->blocks);
}

int flush_batch_put(struct flush_batch *b, struct warm *warm, struct err *err)
{
    for (size_t i = 0; i < b->n; i++) {
        b->parts[i].data = flush_batch_data(b, i);
        b->in_blocks[i] = false;
    }
    int rc = b->n ? warm_put(warm, b->parts, b->n, b->remove.v, b->remove.n, err) : OK;
    flush_batch_clear(b);
    return rc;
}

void flush_batch_release(struct flush_batch *b)
{
    free(b->parts);
    free(b->in_blocks);
    buf_release(&b->blocks);
    merge_keys_release(&b->remove);
    *b = (struct flush_batch)FLUSH_BATCH_INIT;
}
