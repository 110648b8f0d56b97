/* GCC takes a function that only prefetches for pure and drops the calls, unless they are inlined before it
 * looks. */
#ifndef CARAT_BASE_PREFETCH_H
#define CARAT_BASE_PREFETCH_H

#define PREFETCH_INLINE static inline __attribute__((always_inline))

#endif
