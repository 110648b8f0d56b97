#include "stream/log_lane.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FREE_CHUNKS_MAX 8

static uint64_t random_id(void)
{
    uint64_t id = 0;
    while (getrandom(&id, sizeof id, 0) != sizeof id)
        ;
    return id;
}

static struct log_chunk *chunk_new(struct log_lane *l, size_t bytes)
{
    size_t cap = bytes > l->log->chunk_bytes ? log_block_up(bytes) : l->log->chunk_bytes;
    struct log_chunk *c = l->free_chunks;
    if (c && cap == l->log->chunk_bytes) {
        l->free_chunks = c->next;
        l->free_chunks_n--;
    } else {
        c = xmalloc(sizeof *c);
        c->data = xmalloc(cap);
    }
    *c = (struct log_chunk){.cap = cap, .data = c->data, .refs = 1};
    return c;
}

static void chunk_release(struct log_lane *l, struct log_chunk *c)
{
    if (c->cap == l->log->chunk_bytes && l->free_chunks_n < FREE_CHUNKS_MAX) {
        c->next = l->free_chunks;
        l->free_chunks = c;
        l->free_chunks_n++;
        return;
    }
    free(c->data);
    free(c);
}

void log_chunk_pin(struct log_chunk *c)
{
    c->refs++;
}

void log_chunk_unpin(struct log_lane *l, struct log_chunk *c)
{
    assert(c->refs > 0);
    if (--c->refs == 0)
        chunk_release(l, c);
}

static bool durable(const struct log_chunk *c)
{
    return c->synced == c->used;
}

static void evict(struct log_lane *l)
{
    while (l->cached_bytes > l->log->o.tail_bytes && l->head != l->tail && durable(l->head)) {
        struct log_chunk *c = l->head;
        l->head = c->next;
        l->cached_bytes -= c->used;
        l->cache_floor = c->last_pos;
        c->evicted = true;
        c->next = NULL;
        log_chunk_unpin(l, c);
    }
}

/* Zeros up to the next block: whatever comes next begins a block. */
static void pad(struct log_chunk *c)
{
    size_t to = log_block_up(c->used);
    memset(c->data + c->used, 0, to - c->used);
    c->used = to;
}

static void chunk_push(struct log_lane *l, struct log_chunk *c)
{
    struct log_chunk *old = l->tail;
    if (old)
        old->next = c;
    else
        l->head = c;
    l->tail = c;
    if (old && durable(old))
        l->cached_bytes += old->used;
    evict(l);
}

uint8_t *log_tail_room(struct log_lane *l, size_t bytes, uint64_t pos, int64_t now_ms)
{
    struct log_chunk *c = l->tail;
    bool same_segment = l->segment_open && c->file_off + c->used + bytes <= l->log->o.segment_bytes;
    if (!same_segment || c->used + bytes > c->cap) {
        if (c)
            pad(c);
        struct log_chunk *fresh = chunk_new(l, bytes);
        fresh->first_pos = pos;
        fresh->first_ms = now_ms;
        if (same_segment) {
            fresh->segment_id = c->segment_id;
            fresh->file_off = c->file_off + c->used;
        }
        /* The block after the padding may be the one that does not fit any more. */
        if (!same_segment || fresh->file_off + bytes > l->log->o.segment_bytes) {
            fresh->segment_id = random_id();
            fresh->file_off = LOG_HEADER_BYTES;
            fresh->starts_segment = true;
            l->segment_open = true;
        }
        chunk_push(l, fresh);
        c = fresh;
    }
    uint8_t *p = c->data + c->used;
    c->used += bytes;
    c->last_pos = pos;
    if (!l->first_dirty)
        l->first_dirty = c;
    return p;
}

struct log_chunk *log_tail_take(struct log_lane *l, struct log_chunk **last)
{
    struct log_chunk *first = l->first_dirty;
    if (!first)
        return NULL;
    pad(l->tail);
    for (struct log_chunk *c = first; c; c = c->next) {
        c->take_from = c->synced;
        c->take_to = c->used;
        c->take_pos = c->last_pos;
    }
    *last = l->tail;
    l->first_dirty = NULL;
    return first;
}

void log_tail_publish(struct log_lane *l, struct log_chunk *first, struct log_chunk *last)
{
    for (struct log_chunk *c = first;; c = c->next) {
        c->synced = c->take_to;
        c->synced_pos = c->take_pos;
        if (c != l->tail && durable(c))
            l->cached_bytes += c->used;
        if (c == last)
            break;
    }
    l->synced_pos = last->synced_pos;
    evict(l);
}

/* A chunk part of which is durable stays for the readers, but nothing is added to it any more. */
void log_tail_drop_dirty(struct log_lane *l)
{
    struct log_chunk *kept = NULL, *next;
    l->cached_bytes = 0;
    for (struct log_chunk *c = l->head; c; c = next) {
        next = c->next;
        c->next = NULL;
        if (c->synced == 0) {
            c->evicted = true;
            log_chunk_unpin(l, c);
            continue;
        }
        c->used = c->synced;
        c->last_pos = c->synced_pos;
        if (kept) {
            kept->next = c;
            l->cached_bytes += kept->used;
        } else {
            l->head = c;
        }
        kept = c;
    }
    l->tail = kept;
    if (!kept)
        l->head = NULL;
    l->first_dirty = NULL;
    l->segment_open = false;
}

struct log_chunk *log_tail_pin(struct log_lane *l, uint64_t pos)
{
    for (struct log_chunk *c = l->head; c; c = c->next)
        if (c->synced > 0 && c->synced_pos > pos) {
            log_chunk_pin(c);
            return c;
        }
    return NULL;
}

void log_tail_free(struct log_lane *l)
{
    for (struct log_chunk *c = l->head, *next; c; c = next) {
        next = c->next;
        free(c->data);
        free(c);
    }
    for (struct log_chunk *c = l->free_chunks, *next; c; c = next) {
        next = c->next;
        free(c->data);
        free(c);
    }
}
