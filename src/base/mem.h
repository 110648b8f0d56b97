/* Allocation that cannot fail quietly. Small, bounded allocations abort when there
 * is no memory; sizes that come from outside are limited by the caller first. */
#ifndef CARAT_BASE_MEM_H
#define CARAT_BASE_MEM_H

#include <stddef.h>

void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
/* A NUL-terminated copy of n bytes. */
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(a)                    (sizeof(a) / sizeof *(a))

#endif
