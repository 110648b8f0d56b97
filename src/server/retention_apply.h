/* Bringing stored data to the rules in force.
 *
 *   rules_apply_begin   written down: from here on it is finished by whoever starts next
 *   build               roll-ups of added archives, from points or finer archives; the writer keeps them up
 * to date; nobody reads them yet rules_apply_switch  all layouts follow the rules; reads that began before
 * are waited for drop                windows that no layout has any more: of whole steps, then of single
 * series, warm and cold rules_apply_end
 *
 * Stopped at any point, it begins with the part it was in, and each part changes nothing that is right. At no
 * moment does a read lose or double a point: before the switch it sees what was there before, after it what
 * was built. See doc/retention.md. */
#ifndef CARAT_SERVER_RETENTION_APPLY_H
#define CARAT_SERVER_RETENTION_APPLY_H

#include "cold/cold.h"
#include "mover/mover.h"
#include "reader/reader.h"
#include "server/rules.h"
#include "writer/writer.h"

struct retention_apply {
    struct rules *rules; /* all borrowed */
    struct catalog *catalog;
    struct writer *writer;
    struct reader *reader;
    struct warm *warm;   /* warm itself, not the composite */
    struct cold *cold;   /* may be NULL, as mover */
    struct mover *mover; /* whose rounds have to wait while cold is changed */
    struct clock *clock;
    int64_t settle_ms; /* so long after rules came in force may points follow that were let in under others */
    uint64_t bytes_per_s; /* of packs read and written; 0: unbounded */
    /* All may be NULL. Cancelled: ends with ERR_CLOSED, to be gone on with later. */
    bool (*cancelled)(void *ctx);
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* series, gone over twice */
    void (*stage)(void *ctx, const char *what);
    void *ctx;
};

struct retention_applied {
    uint64_t series;                   /* that did not follow the rules in force before */
    uint64_t warm_windows, warm_bytes; /* dropped; roughly: a window may have several parts */
    uint64_t cold_packs;               /* written again without what was dropped */
};

/* Applies the rules in force, or goes on with what was begun. Any thread, one at a time. */
int retention_apply_run(const struct retention_apply *a, struct retention_applied *out,
                        struct err *err) must_check;

#endif
