#include "lease/kv_mem.h"

#include "base/mem.h"
#include "lease/kv_impl.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct item {
    struct item *next;
    char *key, *value;
    uint64_t revision;
    int64_t put_ms;
};

struct kv_mem {
    struct kv base;
    struct clock *clock;
    pthread_mutex_t mu;
    struct item *items; /* under mu; in the order of keys */
    uint64_t revision;
};

static struct kv_mem *down(struct kv *kv)
{
    return container_of(kv, struct kv_mem, base);
}

static struct item **find(struct kv_mem *m, const char *key)
{
    struct item **at = &m->items;
    while (*at && strcmp((*at)->key, key) < 0)
        at = &(*at)->next;
    return at;
}

static bool is(const struct item *i, const char *key)
{
    return i && strcmp(i->key, key) == 0;
}

static void item_free(struct item *i)
{
    free(i->key);
    free(i->value);
    free(i);
}

static int mem_get(struct kv *kv, const char *key, struct buf *value, uint64_t *revision, struct err *err)
{
    struct kv_mem *m = down(kv);
    pthread_mutex_lock(&m->mu);
    struct item *i = *find(m, key);
    bool there = is(i, key);
    if (there) {
        buf_puts(value, i->value);
        *revision = i->revision;
    }
    pthread_mutex_unlock(&m->mu);
    return there ? OK : err_set(err, ERR_NOT_FOUND, "there is no key %s", key);
}

static int mem_put(struct kv *kv, const char *key, const char *value, uint64_t expected, uint64_t *revision,
                   struct err *err)
{
    struct kv_mem *m = down(kv);
    pthread_mutex_lock(&m->mu);
    struct item **at = find(m, key), *i = *at;
    bool there = is(i, key), good = (there ? i->revision : 0) == expected;
    if (good && !there) {
        i = xcalloc(1, sizeof *i);
        i->key = xstrdup(key);
        i->next = *at;
        *at = i;
    }
    if (good) {
        free(i->value);
        i->value = xstrdup(value);
        i->put_ms = clock_mono_ms(m->clock);
        *revision = i->revision = ++m->revision;
    }
    pthread_mutex_unlock(&m->mu);
    return good ? OK : err_set(err, ERR_LOCKED, "key %s was changed by somebody else", key);
}

static int mem_remove(struct kv *kv, const char *key, struct err *err)
{
    struct kv_mem *m = down(kv);
    pthread_mutex_lock(&m->mu);
    struct item **at = find(m, key), *i = *at;
    if (is(i, key)) {
        *at = i->next;
        item_free(i);
    }
    pthread_mutex_unlock(&m->mu);
    return OK;
}

/* Copies, because fn may change the store. */
static int mem_list(struct kv *kv, const char *prefix, kv_entry_fn fn, void *ctx, struct err *err)
{
    struct kv_mem *m = down(kv);
    struct kv_entry *list = NULL;
    size_t n = 0;
    int rc = OK;
    pthread_mutex_lock(&m->mu);
    for (struct item *i = m->items; i; i = i->next)
        if (strncmp(i->key, prefix, strlen(prefix)) == 0) {
            list = xrealloc(list, (n + 1) * sizeof *list);
            list[n++] = (struct kv_entry){xstrdup(i->key), xstrdup(i->value), i->revision,
                                          clock_mono_ms(m->clock) - i->put_ms};
        }
    pthread_mutex_unlock(&m->mu);
    for (size_t i = 0; i < n; i++) {
        rc = rc == OK ? fn(ctx, &list[i]) : rc;
        free((char *)list[i].key);
        free((char *)list[i].value);
    }
    free(list);
    return rc;
}

static void mem_free(struct kv *kv)
{
    struct kv_mem *m = down(kv);
    while (m->items) {
        struct item *next = m->items->next;
        item_free(m->items);
        m->items = next;
    }
    pthread_mutex_destroy(&m->mu);
    free(m);
}

struct kv *kv_mem_new(struct clock *clock)
{
    static const struct kv_ops ops = {.name = "mem",
                                      .get = mem_get,
                                      .put = mem_put,
                                      .remove = mem_remove,
                                      .list = mem_list,
                                      .free = mem_free};
    struct kv_mem *m = xcalloc(1, sizeof *m);
    m->base.ops = &ops;
    m->clock = clock;
    pthread_mutex_init(&m->mu, NULL);
    return &m->base;
}
