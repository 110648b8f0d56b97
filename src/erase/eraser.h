/* The eraser: takes out of warm, cold and the roll-ups what the deletions in the catalog say is dead, and
 * forgets them when nothing is left that they are needed for. doc/deletion.md tells why in this order:
 *
 *   warm rewritten, roll-ups made again -> warm synced -> packs rewritten -> roll-ups made again (what a
 * flush has brought back from the packs) -> warm synced -> swept
 *
 * Reads give the same answer before, in the middle and after. Stopped anywhere, the next round begins again.
 */
#ifndef CARAT_ERASE_ERASER_H
#define CARAT_ERASE_ERASER_H

#include "base/clock.h"
#include "base/metrics.h"
#include "catalog/catalog.h"
#include "cold/cold.h"
#include "stream/stream.h"
#include "warm/warm.h"
#include "writer/writer.h"

#define ERASER_STEPS_MAX 64

struct eraser;

struct eraser_options {
    struct catalog *catalog; /* all borrowed */
    struct stream *stream;
    unsigned lanes; /* of the stream */
    struct writer *writer;
    struct warm *store; /* warm itself */
    struct cold *cold;  /* NULL: there is none */
    struct clock *clock;
    struct metrics *metrics; /* may be NULL */
    /* The steps in use, up to `cap` of them; how many. */
    size_t (*steps)(void *ctx, uint32_t *steps_ms, size_t cap);
    void *ctx;
    int64_t retry_ms; /* after a round that could not do all, doubled up to a day; 0: 10 minutes */
};

struct eraser_stats {
    uint64_t series, ranges; /* taken out of everything */
    uint64_t packs;          /* rewritten */
    uint64_t forgotten;      /* tombstones */
    uint64_t slots_left;     /* roll-up slots that have to keep dead points */
    uint64_t errors;
};

struct eraser *eraser_new(const struct eraser_options *o);
void eraser_free(struct eraser *e);

/* Everything there is to do now; nothing while the writer is catching up. Not at the same time as anybody
 * moves or merges packs: the mover calls it between its rounds. `wait` as in cold_compact; NULL: no pauses.
 * The first failure; what it was about is tried again later. */
int eraser_round(struct eraser *e, cold_wait_fn wait, void *wait_ctx, struct err *err) must_check;
void eraser_get_stats(struct eraser *e, struct eraser_stats *out);

#endif
