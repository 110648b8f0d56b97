/* Walks the records of one segment file and never trusts a byte of it. One thread. */
#ifndef CARAT_STREAM_LOG_SCAN_H
#define CARAT_STREAM_LOG_SCAN_H

#include "base/buf.h"
#include "base/fs.h"
#include "stream/log_segment.h"

struct log_scan {
    struct fs_file *file; /* owned */
    uint64_t id;
    uint64_t off;       /* where to look next */
    uint64_t end;       /* bytes that may be looked at; the caller may raise it between calls */
    uint64_t after_pos; /* the last record's position; the next one must be greater */
    bool exact;         /* `end` is where the records end: zeros before it are damage */
    struct buf window;  /* file bytes from window_off on */
    uint64_t window_off;
};

/* A stretch in which no record is whole. */
struct log_damage {
    uint64_t from, to; /* to == end: nothing valid behind it */
    uint32_t records;  /* at least so many, as far as headers could be read */
};

/* Takes `file`. Positions must be greater than after_pos. */
void log_scan_begin(struct log_scan *s, struct fs_file *file, uint64_t id, uint64_t end, uint64_t after_pos,
                    bool exact);
void log_scan_end(struct log_scan *s);

/* OK: *rec and its payload (valid until the next call), s->off is behind it. 1: no more before `end`.
 * ERR_CORRUPT: *bad was skipped, call again. ERR_IO: the file could not be read, nothing was skipped. */
int log_scan_next(struct log_scan *s, struct log_record *rec, const uint8_t **payload, struct log_damage *bad,
                  struct err *err) must_check;

#endif
