/* The inside of the embedded stream: one lane (the files and the memory of one partition).
 *
 *   appender --copy--> newest chunk --commit thread: write, sync--> tail cache --> readers
 *                                              |                                    ^
 *                                              +--> segment file --(behind)---------+
 *
 * A chunk is a piece of memory that holds exactly the bytes of a piece of a segment file. Appenders
 * fill the newest one under the lane's mutex; the commit thread writes what was filled without the
 * mutex, because filled bytes never change; readers see a chunk up to `synced`.
 *
 * Lock order: checkpoint_mu before mu. No lock is held while a callback runs or the disk works. */
#ifndef CARAT_STREAM_LOG_LANE_H
#define CARAT_STREAM_LOG_LANE_H

#include "stream/log_scan.h"
#include "stream/log_segment.h"
#include "stream/stream_impl.h"
#include "stream/stream_log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define LOG_LANES_MAX STREAM_LANES_MAX
#define LOG_PATH_MAX  4096
/* Positions begin this far above everything seen at each open, so that no position is given twice,
 * not even that of a record which was lost before it was acknowledged or cannot be read any more. */
#define LOG_POS_LEAP (1ull << 32)

struct log_chunk {
    struct log_chunk *next;
    uint64_t segment_id;
    uint64_t file_off; /* of data[0] in its segment; a multiple of LOG_BLOCK */
    uint64_t first_pos, last_pos;
    int64_t first_ms;
    bool starts_segment; /* the first of its segment, which the commit thread has to begin */
    bool evicted;        /* not in the lane's list any more; kept for a reader */
    unsigned refs;       /* the list's and one for each reader on it */
    size_t cap, used, synced;
    uint64_t synced_pos;
    size_t take_from, take_to; /* the group being written, owned by the commit thread */
    uint64_t take_pos;
    uint8_t *data;
};

/* Someone who waits for an acknowledgement. */
struct log_waiter {
    stream_done_fn done;
    void *ctx;
    uint64_t pos;
    uint32_t points;
    uint32_t bytes; /* of its record in the chunk */
};
_Static_assert(sizeof(struct log_waiter) == 32, "doc/stream.md counts on it");
struct log_waiters {
    struct log_waiter *v;
    size_t n, cap;
};

struct log_segment {
    uint64_t first_pos;
    uint64_t id;
    uint64_t end;        /* readers look no further: durable records end here */
    uint64_t file_bytes; /* on disk */
    int64_t first_ms;
    bool unreadable; /* both copies of the header are damaged */
};

struct log_metrics {
    struct counter *appended_points, *appended_bytes, *synced_points, *syncs, *busy, *quarantined_bytes;
    struct gauge *buffered_bytes, *failed;
    struct histogram *sync_seconds;
};

struct stream_log;

struct log_lane {
    struct stream_log *log;
    unsigned index;
    bool retired; /* of an earlier, larger partition count: takes no appends, has no thread */
    char *dir;
    struct log_metrics m; /* all NULL without a registry */

    pthread_mutex_t checkpoint_mu;
    pthread_mutex_t mu;
    pthread_cond_t work, space, readable;

    /* shared, under mu */
    struct log_chunk *head, *tail; /* oldest to newest; the tail is being filled */
    struct log_chunk *first_dirty; /* oldest with bytes the commit thread has not taken; NULL: none */
    struct log_chunk *free_chunks;
    unsigned free_chunks_n;
    size_t cached_bytes;  /* in chunks before the tail that are all durable */
    uint64_t cache_floor; /* records above this position are in the chunks, all others only in files */
    bool segment_open;    /* the next append may continue the tail's segment */
    struct log_waiters waiters;
    size_t buffered_bytes;
    uint64_t last_pos, synced_pos, checkpoint;
    int64_t last_ms;
    struct log_segment *segments; /* by first position */
    size_t segments_n, segments_cap;
    struct log_damage_place {
        uint64_t segment, off;
    } * damage; /* stretches counted already */
    size_t damage_n;
    bool idle; /* the commit thread sleeps */
    bool closing, closed, no_space;
    struct stream_stats stats;

    /* owned by the commit thread */
    pthread_t thread;
    bool thread_runs;
    struct fs_file *file, *spare; /* the segment being written, the next one */
    uint64_t file_end;
    bool prepared; /* a spare was tried for while this segment is written */
    struct log_waiters taken;
    size_t told; /* of taken */
};

struct stream_log {
    struct stream base;
    struct stream_log_options o; /* dir is ours; sizes filled in */
    size_t chunk_bytes;
    _Atomic uint64_t next_pos;
    _Atomic bool failed;
    _Atomic unsigned holds;                              /* while there are any nothing is trimmed */
    _Atomic uint64_t quarantine_bytes, quarantine_files; /* what was set aside since the open */
    struct log_lane *lanes[LOG_LANES_MAX];
};

static inline struct stream_log *stream_log_of(struct stream *s)
{
    return (struct stream_log *)s;
}

/* log_files.c: names and whole files */
void log_segment_path(const struct log_lane *l, uint64_t first_pos, char path[LOG_PATH_MAX]);
void log_lane_path(const struct log_lane *l, const char *name, char path[LOG_PATH_MAX]);
#define LOG_SPARE_NAME "next.tmp"
/* Creates a file of `bytes` zeros under LOG_SPARE_NAME; leaves nothing behind when it fails. */
int log_spare_create(struct log_lane *l, struct fs_file **out, struct err *err) must_check;
/* Writes the header and gives the spare its name, durably. */
int log_spare_promote(struct log_lane *l, struct fs_file *f, const struct log_header *h,
                      struct err *err) must_check;
/* Cuts the file to its records, durably: from then on its size says where they end. */
int log_segment_seal(struct fs_file *f, uint64_t end, struct err *err) must_check;
/* Under mu: appends to the list. */
void log_lane_add_segment(struct log_lane *l, const struct log_segment *s);

/* log_tail.c: chunks; all under mu */
/* Where `bytes` of a record at `pos` go in the newest chunk, which may be a new one. */
uint8_t *log_tail_room(struct log_lane *l, size_t bytes, uint64_t pos, int64_t now_ms);
/* Marks what was filled as taken by the commit thread; the first chunk, the last in *last. NULL: nothing. */
struct log_chunk *log_tail_take(struct log_lane *l, struct log_chunk **last);
/* Everything taken up to and including `last` is durable: readers may see it. */
void log_tail_publish(struct log_lane *l, struct log_chunk *first, struct log_chunk *last);
/* Forgets everything that is not durable. */
void log_tail_drop_dirty(struct log_lane *l);
/* The chunk with the first durable record above `pos`, pinned; NULL if there is none. */
struct log_chunk *log_tail_pin(struct log_lane *l, uint64_t pos);
void log_chunk_pin(struct log_chunk *c);
void log_chunk_unpin(struct log_lane *l, struct log_chunk *c);
void log_tail_free(struct log_lane *l);

/* log_writer.c */
void *log_writer_main(void *lane);

/* log_reader.c */
int log_reader_open(struct stream *s, unsigned lane, struct stream_start start, struct stream_reader **out,
                    struct err *err);

/* log_recover.c: finds the segments of a lane and cuts the torn tail. */
int log_lane_recover(struct log_lane *l, struct err *err) must_check;

/* log_checkpoint.c */
int log_checkpoint_load(struct log_lane *l, struct err *err) must_check;
int log_checkpoint_set(struct stream *s, unsigned lane, uint64_t pos, struct err *err);
uint64_t log_checkpoint_get(struct stream *s, unsigned lane);
#define LOG_CHECKPOINT_NAME  "checkpoint"
#define LOG_CHECKPOINT_TEMP  "checkpoint.tmp"
#define LOG_CHECKPOINT_BYTES 24
void log_checkpoint_encode(uint8_t out[LOG_CHECKPOINT_BYTES], unsigned lane, uint64_t pos);

/* log_copy.c */
void log_hold(struct stream *s, struct stream_hold *out);
void log_release(struct stream *s);
int log_copy_files(struct stream *s, const struct stream_hold *hold, stream_file_fn fn, void *ctx,
                   struct err *err);

/* log_quarantine.c: counts, logs and sets aside a damaged stretch; once for each place. */
void log_quarantine(struct log_lane *l, uint64_t segment, struct fs_file *f, const struct log_damage *bad);

/* stream_log.c */
void log_stream_fail(struct log_lane *l, const char *what, const struct err *why);
void log_deadline(struct timespec *t, int timeout_ms);

#endif
