/* The hot tier on a Redis Cluster. doc/redis.md says what is stored, and why nothing is lost or doubled when
 * nodes fail, move slots or come back empty. */
#ifndef CARAT_HOT_HOT_REDIS_H
#define CARAT_HOT_HOT_REDIS_H

#include "base/clock.h"
#include "base/metrics.h"
#include "hot/hot.h"

struct hot_redis_options {
    const char *nodes;    /* "host:port,host:port" */
    const char *user;     /* NULL or "": none */
    const char *password; /* NULL or "": none */
    const char *prefix;   /* of every key; no braces */
    unsigned host_levels; /* levels of a path that choose the hash slot; 0: the whole name */
    unsigned partitions;  /* at most HOT_REDIS_PARTITIONS_MAX */
    int timeout_ms;       /* 0: 2000 */
    unsigned readers;     /* reads under way at once, each with connections of its own; 0: 4 */
    bool read_replicas;   /* a read asks a replica first, and the master where that is behind */
    bool shared;          /* other processes write too: a read looks for windows this one does not know */
    int64_t clean_interval_ms; /* between two looks for windows nobody knows; 0: never */
    /* Both for the backend's life, from any thread. NULL and 0: unknown. */
    const char *(*name_of)(void *ctx, uint32_t series, size_t *len);
    uint32_t (*series_of)(void *ctx, const char *name, size_t len);
    void *ctx;
    struct clock *clock;
    struct metrics *metrics; /* may be NULL */
};
#define HOT_REDIS_PARTITIONS_MAX 256

/* ERR_INVALID: the nodes are not a cluster, refuse the password, or may evict keys. A cluster that cannot be
 * reached now is no error: everything is tried again later. */
int hot_redis_open(const struct hot_redis_options *o, struct hot **out, struct err *err) must_check;

/* Looks now for windows nobody knows; hot_take gives them out. *found counts them. */
int hot_redis_clean(struct hot *h, uint64_t *found, struct err *err) must_check;

#endif
