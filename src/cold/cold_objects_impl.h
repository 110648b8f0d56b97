/* What cold_objects.c (packs, opening) and objects_manifest.c share. */
#ifndef CARAT_COLD_COLD_OBJECTS_IMPL_H
#define CARAT_COLD_COLD_OBJECTS_IMPL_H

#include "cold/cold_impl.h"
#include "cold/cold_objects.h"
#include "cold/tail_cache.h"

#define OBJECT_NAME_MAX 512

struct removal {
    uint64_t id;
    int64_t due_ms; /* mono */
};

struct cold_objects {
    struct cold_store base;
    struct object_store *objects;
    char *prefix;
    struct clock *clock;
    int64_t keep_ms, linger_ms;
    struct tail_cache *cache; /* NULL: none */
    bool conditional;         /* the store knows OBJECT_PUT_NEW */
    unsigned stored;          /* manifests, since old ones were removed; changes are one at a time */
    pthread_mutex_t mtx;
    /* under mtx */
    struct removal *removals;
    size_t nremovals, cap_removals;
};

struct cold_objects *cold_objects_of(struct cold_store *s);
/* PREFIX kind/<number>; out has OBJECT_NAME_MAX bytes. */
void cold_objects_name(const struct cold_objects *s, const char *kind, uint64_t number, char *out);
/* The number of such a name, or -1. */
int cold_objects_number(const struct cold_objects *s, const char *kind, const char *name, uint64_t *number);

/* objects_manifest.c */
int objects_load_manifest(struct cold_store *store, struct buf *out, struct err *err);
int objects_store_manifest(struct cold_store *store, uint64_t generation, const void *p, size_t n,
                           bool *unknown, struct err *err);
/* Removes manifests that were replaced more than keep_ms ago. */
int objects_trim_manifests(struct cold_objects *s, struct err *err) must_check;

#endif
