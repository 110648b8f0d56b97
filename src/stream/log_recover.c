/* What is done when a lane is opened: its files are listed, their headers read, the last segment scanned.
 *
 * Only the last segment can hold a torn tail (every one before it was sealed, durably, before the next
 * got its name). It is cut behind its last whole record and sealed too: new records go to a new segment. */
#include "stream/log_lane.h"

#include "base/killpoint.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 0 unless `name` is that of a segment. */
static uint64_t segment_named(const char *name)
{
    unsigned long long pos;
    int used = 0;
    if (strlen(name) != 20 || strspn(name, "0123456789abcdef") != 16)
        return 0;
    if (sscanf(name, "%16llx.seg%n", &pos, &used) != 1 || used != 20)
        return 0;
    return pos;
}

static int collect(void *ctx, const char *name)
{
    struct log_lane *l = ctx;
    const struct log_segment s = {.first_pos = segment_named(name)};
    if (s.first_pos)
        log_lane_add_segment(l, &s);
    return 0;
}

static int by_position(const void *a, const void *b)
{
    uint64_t x = ((const struct log_segment *)a)->first_pos, y = ((const struct log_segment *)b)->first_pos;
    return x < y ? -1 : x > y;
}

static int segment_open_file(struct log_lane *l, const struct log_segment *s, unsigned flags,
                             struct fs_file **f, struct err *err)
{
    char path[LOG_PATH_MAX];
    log_segment_path(l, s->first_pos, path);
    return fs_open(l->log->o.fs, path, flags, f, err);
}

static int load_header(struct log_lane *l, struct log_segment *s, struct log_header *h, struct err *err)
{
    uint8_t bytes[LOG_HEADER_BYTES];
    struct fs_file *f;
    size_t got = 0;
    int rc = segment_open_file(l, s, FS_READ, &f, err);
    if (rc < 0)
        return rc;
    rc = fs_size(f, &s->file_bytes, err);
    if (rc == OK)
        rc = fs_pread(f, bytes, sizeof bytes, 0, &got, err);
    fs_close(f);
    if (rc < 0)
        return rc;
    s->end = s->file_bytes;
    rc = log_header_decode(bytes, got, h);
    if (rc == ERR_UNSUPPORTED)
        return err_set(err, rc, "segment %016llx of partition %u was written by a newer version",
                       (unsigned long long)s->first_pos, l->index);
    s->unreadable = rc < 0 || h->lane != l->index || h->first_pos != s->first_pos;
    s->id = h->id;
    s->first_ms = s->unreadable ? INT64_MIN : h->first_ms;
    return OK;
}

struct tail {
    uint64_t last_pos; /* 0: no whole record */
    int64_t last_ms;
    uint64_t end;      /* behind the last whole record */
    uint64_t dirt_end; /* behind the last damage: more than `end` if that follows the last record */
};

/* Walks a whole segment; damage between records is left for the readers. */
static int find_tail(struct log_lane *l, const struct log_segment *s, bool sealed, struct tail *t,
                     struct err *err)
{
    struct fs_file *f;
    int rc = segment_open_file(l, s, FS_READ, &f, err);
    if (rc < 0)
        return rc;
    *t = (struct tail){.end = LOG_HEADER_BYTES, .dirt_end = LOG_HEADER_BYTES};
    struct log_scan scan = {.file = NULL};
    struct log_record rec;
    struct log_damage bad;
    const uint8_t *payload;
    log_scan_begin(&scan, f, s->id, s->end, s->first_pos - 1, sealed);
    while ((rc = log_scan_next(&scan, &rec, &payload, &bad, err)) == OK || rc == ERR_CORRUPT)
        if (rc == OK) {
            t->last_pos = rec.pos;
            t->last_ms = rec.appended_ms;
            t->end = log_block_up(scan.off);
        } else {
            t->dirt_end = bad.to;
        }
    log_scan_end(&scan);
    return rc == 1 ? OK : rc;
}

/* Makes durable what was found (the process may have died, not the machine) and cuts the rest. */
static int cut(struct log_lane *l, struct log_segment *s, const struct tail *t, struct err *err)
{
    struct fs_file *f;
    int rc = segment_open_file(l, s, 0, &f, err);
    if (rc < 0)
        return rc;
    rc = log_segment_seal(f, t->end, err);
    fs_close(f);
    if (rc < 0)
        return rc;
    KILL_POINT("stream.open_cut");
    if (t->dirt_end > t->end) {
        l->stats.torn_bytes = t->dirt_end - t->end;
        log_info("stream", "torn tail cut", "partition=%u segment=%016llx torn_bytes=%llu", l->index,
                 (unsigned long long)s->first_pos, (unsigned long long)l->stats.torn_bytes);
    }
    s->end = s->file_bytes = t->end;
    return OK;
}

static int drop_last(struct log_lane *l, struct err *err)
{
    char path[LOG_PATH_MAX];
    log_segment_path(l, l->segments[l->segments_n - 1].first_pos, path);
    int rc = fs_unlink(l->log->o.fs, path, err);
    KILL_POINT("stream.open_dropped");
    if (rc == OK)
        l->segments_n--;
    return rc;
}

static int recover_last(struct log_lane *l, const struct log_header *h, struct err *err)
{
    struct log_segment *s = &l->segments[l->segments_n - 1];
    struct tail t;
    if (s->unreadable || s->file_bytes < h->allocated_bytes) /* sealed: damage there is for the readers */
        return OK;
    int rc = find_tail(l, s, false, &t, err);
    if (rc == OK)
        rc = cut(l, s, &t, err);
    if (rc == OK && t.last_pos == 0)
        return drop_last(l, err);
    l->synced_pos = t.last_pos;
    l->last_ms = t.last_ms;
    return rc;
}

/* From the newest segment back to the first with a whole record, unless the cut has found it. */
static int find_last_record(struct log_lane *l, struct err *err)
{
    for (size_t i = l->segments_n; i-- > 0 && !l->synced_pos;) {
        struct tail t;
        const struct log_segment *s = &l->segments[i];
        if (l->last_pos < s->first_pos)
            l->last_pos = s->first_pos;
        if (s->unreadable)
            continue;
        int rc = find_tail(l, s, true, &t, err);
        if (rc < 0)
            return rc;
        if (t.last_pos) {
            l->synced_pos = t.last_pos;
            l->last_ms = t.last_ms;
        }
    }
    if (l->last_pos < l->synced_pos)
        l->last_pos = l->synced_pos;
    l->cache_floor = l->last_pos;
    return OK;
}

/* What a dead process was writing. */
static int remove_left(struct log_lane *l, const char *name, struct err *err)
{
    char path[LOG_PATH_MAX];
    log_lane_path(l, name, path);
    int rc = fs_unlink(l->log->o.fs, path, err);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

int log_lane_recover(struct log_lane *l, struct err *err)
{
    struct fs *fs = l->log->o.fs;
    struct log_header h = {.id = 0};
    int rc = remove_left(l, LOG_SPARE_NAME, err);
    if (rc == OK)
        rc = remove_left(l, LOG_CHECKPOINT_TEMP, err);
    if (rc == OK)
        rc = fs_list(fs, l->dir, collect, l, err);
    if (rc < 0)
        return rc;
    if (l->segments_n)
        qsort(l->segments, l->segments_n, sizeof *l->segments, by_position);
    for (size_t i = 0; i < l->segments_n; i++) {
        rc = load_header(l, &l->segments[i], &h, err);
        if (rc < 0)
            return rc;
        if (l->segments[i].unreadable && i > 0)
            l->segments[i].first_ms = l->segments[i - 1].first_ms;
    }
    if (l->segments_n && (rc = recover_last(l, &h, err)) < 0)
        return rc;
    rc = find_last_record(l, err);
    /* Renames and removals seen here may not be durable yet. */
    return rc < 0 ? rc : fs_sync_dir(fs, l->dir, err);
}
