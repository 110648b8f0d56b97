#ifndef CARAT_LEASE_KV_IMPL_H
#define CARAT_LEASE_KV_IMPL_H

#include "lease/kv.h"

struct kv_ops {
    const char *name;
    int (*get)(struct kv *, const char *key, struct buf *value, uint64_t *revision, struct err *);
    int (*put)(struct kv *, const char *key, const char *value, uint64_t expected, uint64_t *revision,
               struct err *);
    int (*remove)(struct kv *, const char *key, struct err *);
    int (*list)(struct kv *, const char *prefix, kv_entry_fn, void *ctx, struct err *);
    void (*free)(struct kv *);
};
struct kv {
    const struct kv_ops *ops;
};

#endif
