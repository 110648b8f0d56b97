/* Buffers that are kept for the next one who needs some: fresh memory of megabytes costs a page fault every 4
 * KB, which is as much as filling it. Bounded in bytes. Any thread. */
#ifndef CARAT_BASE_SPARE_H
#define CARAT_BASE_SPARE_H

#include "base/buf.h"

struct spare;

struct spare *spare_new(size_t max_bytes);
void spare_free(struct spare *s); /* NULL is fine */

/* An empty buffer, perhaps with room from before. With s NULL, without. */
struct buf spare_take(struct spare *s);
/* Takes it back; releases it if there is enough. */
void spare_give(struct spare *s, struct buf *b);

#endif
