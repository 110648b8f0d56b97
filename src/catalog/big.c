#include "catalog/big.h"

#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

void *big_alloc(size_t bytes)
{
    if (bytes < HUGE_PAGE)
        return xcalloc(bytes, 1);
    /* Alignment by hand: one huge page more, then both ends are given back. */
    size_t room = bytes + HUGE_PAGE;
    char *p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "level=error msg=\"out of memory\" wanted_bytes=%zu\n", bytes);
        abort();
    }
    size_t before = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
    size_t end = (before + bytes + 4095) & ~(size_t)4095;
    if (before)
        munmap(p, before);
    if (end < room)
        munmap(p + end, room - end);
    madvise(p + before, bytes, MADV_HUGEPAGE);
    return p + before;
}

void big_free(void *p, size_t bytes)
{
    if (p && bytes >= HUGE_PAGE)
        munmap(p, bytes);
    else
        free(p);
}
