/* A snapshot: the files of a data directory as they are at one moment of a running server, beside it and
 * mostly by hard links, so that making one takes as long as flushing warm's memory and copying the catalog.
 * Directory:
 *
 *   data/...        the files, as in a data directory
 *   snapshot.json   the manifest; written last. A file may be longer than it says: only so much counts.
 * Whoever uses the snapshot holds a shared flock on it. */
#ifndef CARAT_BACKUP_SNAPSHOT_H
#define CARAT_BACKUP_SNAPSHOT_H

#include "backup/manifest.h"
#include "base/clock.h"
#include "catalog/catalog.h"
#include "stream/stream.h"
#include "warm/warm.h"

#define SNAPSHOT_DATA           "data"
#define SNAPSHOT_LIST           "snapshot.json"
#define SNAPSHOT_LIST_BYTES_MAX (1u << 30)

/* Borrowed. */
struct snapshot_source {
    const char *data_dir; /* with "stream", "warm", "catalog/catalog.db" and whatever else */
    struct stream *stream;
    struct warm *warm;
    struct catalog *catalog;
    struct clock *clock;
    /* While it is taken what says how the data is laid out must not change. May be NULL. */
    void (*hold)(void *ctx);
    void (*release)(void *ctx);
    void *hold_ctx;
};

/* `dir` must not exist, and its parent must, on the data directory's file system. The server goes on; the
 * stream is not trimmed meanwhile. After a failure `dir` may be there in part. */
int snapshot_take(const struct snapshot_source *from, const char *dir, struct backup_manifest *out,
                  struct err *err) must_check;

/* The files of a data directory that no server has (the caller holds its lock). */
int snapshot_of_idle(const char *data_dir, struct clock *clock, struct backup_manifest *out,
                     struct err *err) must_check;

#endif
