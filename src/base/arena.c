#include "base/arena.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t cap, len;
    _Alignas(16) unsigned char bytes[];
};

void *arena_alloc(struct arena *a, size_t n)
{
    n = (n + 15) & ~(size_t)15;
    struct arena_chunk *c = a->head;
    if (!c || c->cap - c->len < n) {
        size_t cap = a->chunk_bytes ? a->chunk_bytes : 65536;
        if (cap < n)
            cap = n;
        c = xmalloc(sizeof *c + cap);
        c->cap = cap;
        c->len = 0;
        c->next = a->head;
        a->head = c;
    }
    void *p = c->bytes + c->len;
    c->len += n;
    a->used += n;
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *p = arena_alloc(a, n + 1);
    memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

void arena_reset(struct arena *a)
{
    while (a->head && a->head->next) {
        struct arena_chunk *next = a->head->next;
        free(a->head);
        a->head = next;
    }
    if (a->head)
        a->head->len = 0;
    a->used = 0;
}

void arena_release(struct arena *a)
{
    arena_reset(a);
    free(a->head);
    a->head = NULL;
}
