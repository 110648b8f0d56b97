#include "stream/log_lane.h"

#include "base/killpoint.h"
#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

void log_lane_path(const struct log_lane *l, const char *name, char path[LOG_PATH_MAX])
{
    int n = snprintf(path, LOG_PATH_MAX, "%s/%s", l->dir, name);
    assert(n > 0 && n < LOG_PATH_MAX);
}

void log_segment_path(const struct log_lane *l, uint64_t first_pos, char path[LOG_PATH_MAX])
{
    char name[32];
    snprintf(name, sizeof name, "%016" PRIx64 ".seg", first_pos);
    log_lane_path(l, name, path);
}

/* Where the file system cannot reserve space the size is set all the same: a file that is shorter than
 * its header says counts as sealed. */
static int reserve(struct fs_file *f, uint64_t bytes, struct err *err)
{
    uint64_t size;
    int rc = fs_allocate(f, bytes, err);
    if (rc == OK)
        rc = fs_size(f, &size, err);
    if (rc == OK && size != bytes)
        rc = fs_truncate(f, bytes, err);
    return rc;
}

int log_spare_create(struct log_lane *l, struct fs_file **out, struct err *err)
{
    char path[LOG_PATH_MAX];
    struct fs *fs = l->log->o.fs;
    log_lane_path(l, LOG_SPARE_NAME, path);
    struct fs_file *f;
    int rc = fs_open(fs, path, FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc < 0)
        return rc;
    rc = reserve(f, l->log->o.segment_bytes, err);
    if (rc < 0) {
        fs_close(f);
        struct err ignored;
        (void)!fs_unlink(fs, path, &ignored);
        return rc;
    }
    KILL_POINT("stream.spare_made");
    *out = f;
    return OK;
}

int log_spare_promote(struct log_lane *l, struct fs_file *f, const struct log_header *h, struct err *err)
{
    uint8_t bytes[LOG_HEADER_BYTES];
    log_header_encode(bytes, h);
    int rc = fs_pwrite(f, bytes, sizeof bytes, 0, err);
    if (rc == OK)
        rc = fs_datasync(f, err);
    if (rc < 0)
        return rc;
    KILL_POINT("stream.header_written");
    char from[LOG_PATH_MAX], to[LOG_PATH_MAX];
    log_lane_path(l, LOG_SPARE_NAME, from);
    log_segment_path(l, h->first_pos, to);
    rc = fs_rename(l->log->o.fs, from, to, err);
    KILL_POINT("stream.segment_named");
    if (rc == OK)
        rc = fs_sync_dir(l->log->o.fs, l->dir, err);
    return rc;
}

int log_segment_seal(struct fs_file *f, uint64_t end, struct err *err)
{
    int rc = fs_truncate(f, end, err);
    KILL_POINT("stream.seal_cut");
    return rc < 0 ? rc : fs_datasync(f, err);
}

void log_lane_add_segment(struct log_lane *l, const struct log_segment *s)
{
    if (l->segments_n == l->segments_cap) {
        l->segments_cap = l->segments_cap ? 2 * l->segments_cap : 16;
        l->segments = xrealloc(l->segments, l->segments_cap * sizeof *l->segments);
    }
    l->segments[l->segments_n++] = *s;
}
