/* A small store of keys that several processes share: who has which partition, and how far a stream was read.
 * Every value has a revision, and is replaced only by who knows it. Any thread. */
#ifndef CARAT_LEASE_KV_H
#define CARAT_LEASE_KV_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

struct kv;

#define KV_KEY_MAX   128 /* bytes; letters, digits, '.', '_' and '-' */
#define KV_VALUE_MAX 16384

/* Puts the value into `value` (cleared first). ERR_NOT_FOUND: there is no such key. */
int kv_get(struct kv *kv, const char *key, struct buf *value, uint64_t *revision, struct err *err) must_check;

/* Stores it, a text of up to KV_VALUE_MAX bytes, durably if the key's revision is `expected` (0: if there is
 * no such key); *revision (may be NULL) becomes the new one. ERR_LOCKED: it is another one. Any other
 * failure: it may be stored or not. */
int kv_put(struct kv *kv, const char *key, const char *value, uint64_t expected, uint64_t *revision,
           struct err *err) must_check;

/* OK also if it is not there. */
int kv_remove(struct kv *kv, const char *key, struct err *err) must_check;

/* What a listing gives out; the texts are the store's until the function returns. */
struct kv_entry {
    const char *key, *value;
    uint64_t revision;
    int64_t age_ms; /* since it was put last, by the store's clock */
};
/* Each key that begins with `prefix`, in order; non-zero stops and is returned. */
typedef int (*kv_entry_fn)(void *ctx, const struct kv_entry *e);
int kv_list(struct kv *kv, const char *prefix, kv_entry_fn fn, void *ctx, struct err *err) must_check;

void kv_free(struct kv *kv);

#endif
