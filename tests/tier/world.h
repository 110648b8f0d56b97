/* Everything between a door and a reader, on what a crash leaves: stream, catalog, writer, hot, warm, cold,
 * mover, reader. For tests of more than one tier.
 *
 * With `threads` the writer runs as in the server, by the machine's clock. Without, nothing happens but in
 * the test's own calls (writer_apply, writer_flush, writer_checkpoint, mover_round), by the fake clock.
 * cmocka's assertions are used; include it before. */
#ifndef CARAT_TESTS_WORLD_H
#define CARAT_TESTS_WORLD_H

#include "base/clock.h"
#include "base/metrics.h"
#include "catalog/catalog.h"
#include "cold/cold.h"
#include "fault/sim_fs.h"
#include "hot/hot.h"
#include "ingest/sink.h"
#include "mover/mover.h"
#include "reader/reader.h"
#include "stream/stream.h"
#include "warm/warm.h"
#include "writer/writer.h"

#include <stdbool.h>
#include <stdint.h>

struct world_options {
    unsigned lanes; /* 0: 1 */
    bool threads;
    bool log;       /* the stream is a log on the simulated disk; else in memory, and lives through crashes */
    bool rocksdb;   /* warm is RocksDB; else warm_mem */
    bool cold;      /* packs on the simulated disk under warm, and a mover */
    uint64_t seed;  /* of the disk */
    int64_t now_ms; /* where the fake clock begins */
    void *rules_ctx; /* for the four below; each may be NULL */
    retention_of_fn archives;
    aggregation_of_fn aggregation;
    catalog_step_fn step;
    int64_t (*oldest_ms)(void *ctx, const char *name, size_t name_len, int64_t now_ms);
    size_t stream_segment_bytes;
    int64_t stream_keep_ms;
    uint64_t pack_bytes;
    struct writer_options writer; /* its times; the rest is filled in */
    struct mover_options mover;   /* its steps and bounds; the rest is filled in */
};

struct world {
    struct world_options o;
    char dir[64]; /* the catalog's file and RocksDB */
    struct clock_fake clock;
    struct metrics *metrics;
    struct sim_fs *disk;
    struct stream *stream;
    struct warm *store; /* warm itself */
    bool marked;        /* see world_mark_warm; and the syncs until then */
    uint64_t marked_syncs;
    /* of a process */
    unsigned lanes; /* the stream's, those of an earlier count included */
    struct catalog *catalog;
    struct hot *hot;
    struct warm *faults; /* around the store: warm_fault.h */
    struct warm *warm;   /* what writer and reader see: with cold below it, if there is one */
    struct cold *cold;
    struct mover *mover;
    struct writer *writer;
    struct reader *reader;
    struct sink *sink;
    struct sink_session *session;
    struct sample_batch batch; /* what world_submit will send */
};

/* Makes the places and starts a process. `o` is copied. */
struct world *world_new(const struct world_options *o);
void world_free(struct world *w);

/* May be changed before: o. */
void world_start(struct world *w);
int world_try_start(struct world *w, struct err *err) must_check;
enum world_crash {
    WORLD_KILL, /* the process dies, the disk has everything that was written */
    WORLD_CUT,  /* the power goes: the disk has what was synced, and anything of the rest */
};
/* The process ends where it is, nothing is flushed. warm has what was synced, or: world_mark_warm. */
void world_crash(struct world *w, enum world_crash how);
/* A clean end: the stream closed, everything flushed. Only with `log`. */
void world_stop(struct world *w);
/* For RocksDB, which would write its memory on closing: the next crash leaves what it has now, unless it is
 * synced until then. */
void world_mark_warm(struct world *w);

/* One more point for the next world_submit. The name is copied. */
struct sample *world_add(struct world *w, const char *name, int64_t ts_ms, double value);
/* Sends them and waits for the answer, which must be that all are durable. */
void world_submit(struct world *w);
int world_try_submit(struct world *w); /* the answer's status */

uint32_t world_id(struct world *w, const char *name); /* 0: no such series */
uint64_t world_hot_windows(struct world *w);

/* With threads: until everything durable at the start is applied; until everything is applied and hot is
 * empty. */
void world_wait_caught_up(struct world *w);
void world_wait_flushed(struct world *w);

#endif
