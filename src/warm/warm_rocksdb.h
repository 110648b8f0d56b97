/* The embedded warm tier: RocksDB in a directory of its own. */
#ifndef CARAT_WARM_WARM_ROCKSDB_H
#define CARAT_WARM_WARM_ROCKSDB_H

#include "base/err.h"
#include "base/metrics.h"
#include "warm/warm.h"

#include <stdbool.h>
#include <stddef.h>

struct warm_rocksdb_options {
    const char *dir;           /* its parent must exist */
    struct metrics *metrics;   /* may be NULL */
    size_t cache_bytes;        /* block cache; 0: 64 MiB */
    size_t write_buffer_bytes; /* one of up to three memtables; 0: 32 MiB */
    bool create;               /* make it if it is missing, else ERR_NOT_FOUND */
};

/* ERR_LOCKED: open elsewhere. ERR_UNSUPPORTED: written by a newer version. ERR_CORRUPT, ERR_IO: text names
 * the directory. */
int warm_rocksdb_open(const struct warm_rocksdb_options *o, struct warm **out, struct err *err) must_check;

#endif
