/* Watches the free space of data.dir, so that ingest stops before the disk is full: what was taken can then
 * still be flushed, synced and checkpointed, and reads go on. */
#ifndef CARAT_SERVER_DISK_H
#define CARAT_SERVER_DISK_H

#include "base/err.h"
#include "base/fs.h"
#include "base/metrics.h"

#include <stdint.h>

struct disk_watch;

struct disk_watch_options {
    struct fs *fs; /* borrowed, as all below */
    const char *path;
    uint64_t min_free_bytes; /* below: stopped, until a quarter more is free; 0: never */
    struct metrics *metrics;
};

/* Looks once, so that disk_accepting is right from the start, then starts a thread that looks each second. */
int disk_watch_start(const struct disk_watch_options *o, struct disk_watch **out, struct err *err) must_check;
void disk_watch_stop(struct disk_watch *w); /* and frees it; NULL is fine */

/* OK, or ERR_NO_SPACE with *why for the sender. Any thread; a sink_options.accepting. */
int disk_accepting(void *watch, struct err *why);

/* One look now, for tests. A look that fails changes nothing. */
void disk_watch_look(struct disk_watch *w);

#endif
