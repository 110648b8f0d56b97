#include "lease/kv.h"

#include "lease/kv_impl.h"

#include <assert.h>
#include <string.h>

static bool is_key(const char *key)
{
    size_t n = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n <= KV_KEY_MAX && key[n] == 0;
}

int kv_get(struct kv *kv, const char *key, struct buf *value, uint64_t *revision, struct err *err)
{
    assert(is_key(key));
    buf_clear(value);
    *revision = 0;
    return kv->ops->get(kv, key, value, revision, err);
}

int kv_put(struct kv *kv, const char *key, const char *value, uint64_t expected, uint64_t *revision,
           struct err *err)
{
    uint64_t ignored;
    assert(is_key(key) && strlen(value) <= KV_VALUE_MAX);
    return kv->ops->put(kv, key, value, expected, revision ? revision : &ignored, err);
}

int kv_remove(struct kv *kv, const char *key, struct err *err)
{
    assert(is_key(key));
    return kv->ops->remove(kv, key, err);
}

int kv_list(struct kv *kv, const char *prefix, kv_entry_fn fn, void *ctx, struct err *err)
{
    return kv->ops->list(kv, prefix, fn, ctx, err);
}

void kv_free(struct kv *kv)
{
    if (kv)
        kv->ops->free(kv);
}
