#include "hot/hot_redis_index.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SERIES 4096
#define SLAB        256

struct hot_redis_slab {
    struct hot_redis_slab *next;
    struct hot_redis_win windows[SLAB];
};

void hot_redis_index_init(struct hot_redis_index *x)
{
    *x = (struct hot_redis_index){0};
}

void hot_redis_index_release(struct hot_redis_index *x)
{
    for (uint32_t i = 0; i < x->npages; i++)
        free(x->pages[i]);
    free(x->pages);
    while (x->slabs) {
        struct hot_redis_slab *next = x->slabs->next;
        free(x->slabs);
        x->slabs = next;
    }
    hot_redis_index_init(x);
}

static struct hot_redis_win **head_of(const struct hot_redis_index *x, uint32_t series)
{
    uint32_t page = series / PAGE_SERIES;
    return page < x->npages && x->pages[page] ? &x->pages[page][series % PAGE_SERIES] : NULL;
}

static struct hot_redis_win **head_create(struct hot_redis_index *x, uint32_t series)
{
    uint32_t page = series / PAGE_SERIES;
    if (page >= x->pages_cap) {
        uint32_t cap = page + 1 + page / 2;
        x->pages = xrealloc(x->pages, cap * sizeof *x->pages);
        x->bytes += (cap - x->pages_cap) * sizeof *x->pages;
        x->pages_cap = cap;
    }
    while (x->npages <= page)
        x->pages[x->npages++] = NULL;
    if (!x->pages[page]) {
        x->pages[page] = xcalloc(PAGE_SERIES, sizeof **x->pages);
        x->bytes += PAGE_SERIES * sizeof **x->pages;
    }
    return &x->pages[page][series % PAGE_SERIES];
}

struct hot_redis_win *hot_redis_index_head(const struct hot_redis_index *x, uint32_t series)
{
    struct hot_redis_win **head = head_of(x, series);
    return head ? *head : NULL;
}

struct hot_redis_win *hot_redis_index_find(const struct hot_redis_index *x, uint32_t series, uint32_t step_ms,
                                           int64_t start_ms)
{
    struct hot_redis_win *w = hot_redis_index_head(x, series);
    while (w && (w->start_ms > start_ms || (w->start_ms == start_ms && w->step_ms != step_ms)))
        w = w->next;
    return w && w->start_ms == start_ms ? w : NULL;
}

static struct hot_redis_win *win_new(struct hot_redis_index *x)
{
    if (!x->free_wins) {
        struct hot_redis_slab *slab = xmalloc(sizeof *slab);
        slab->next = x->slabs;
        x->slabs = slab;
        x->bytes += sizeof *slab;
        for (int i = SLAB - 1; i >= 0; i--) {
            slab->windows[i].next = x->free_wins;
            x->free_wins = &slab->windows[i];
        }
    }
    struct hot_redis_win *w = x->free_wins;
    x->free_wins = w->next;
    return w;
}

struct hot_redis_win *hot_redis_index_add(struct hot_redis_index *x, uint32_t series, uint32_t step_ms,
                                          int64_t start_ms)
{
    struct hot_redis_win **head = head_create(x, series), **at = head;
    while (*at && (*at)->start_ms > start_ms)
        at = &(*at)->next;
    x->series += !*head;
    x->windows++;
    struct hot_redis_win *w = win_new(x);
    *w = (struct hot_redis_win){.next = *at, .start_ms = start_ms, .series = series, .step_ms = step_ms};
    *at = w;
    return w;
}

void hot_redis_index_remove(struct hot_redis_index *x, struct hot_redis_win *w)
{
    struct hot_redis_win **head = head_of(x, w->series), **at = head;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    x->series -= !*head;
    x->windows--;
    w->next = x->free_wins;
    x->free_wins = w;
}

uint32_t hot_redis_index_next(const struct hot_redis_index *x, uint32_t from)
{
    for (uint32_t page = from / PAGE_SERIES; page < x->npages; page++) {
        uint32_t i = page == from / PAGE_SERIES ? from % PAGE_SERIES : 0;
        for (; x->pages[page] && i < PAGE_SERIES; i++)
            if (x->pages[page][i])
                return page * PAGE_SERIES + i;
    }
    return UINT32_MAX;
}
