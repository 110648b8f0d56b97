/* Large zero-filled areas, straight from the kernel: touched only where used, and in huge pages where the
 * kernel has them, since random accesses to a table of many megabytes otherwise miss the TLB each time.
 * Small ones come from the heap. */
#ifndef CARAT_CATALOG_BIG_H
#define CARAT_CATALOG_BIG_H

#include <stddef.h>

/* Never NULL: aborts when there is no memory, as xmalloc does. */
void *big_alloc(size_t bytes) __attribute__((malloc, returns_nonnull));
void big_free(void *p, size_t bytes); /* `bytes` as allocated; p may be NULL */

#endif
