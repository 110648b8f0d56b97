/* The checkpoint of a lane, and the trimming it allows.
 *
 *   file "checkpoint":  0 magic "CARATCKP" · 8 u64 position · 16 u32 lane · 20 u32 CRC32C of bytes 0..19 */
#include "stream/log_lane.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/killpoint.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char magic[8] = "CARATCKP";

int log_checkpoint_load(struct log_lane *l, struct err *err)
{
    char path[LOG_PATH_MAX];
    uint8_t b[LOG_CHECKPOINT_BYTES];
    size_t got = 0;
    struct fs_file *f;
    log_lane_path(l, LOG_CHECKPOINT_NAME, path);
    int rc = fs_open(l->log->o.fs, path, FS_READ, &f, err);
    if (rc == ERR_NOT_FOUND)
        return OK;
    if (rc < 0)
        return rc;
    rc = fs_pread(f, b, LOG_CHECKPOINT_BYTES, 0, &got, err);
    fs_close(f);
    if (rc < 0)
        return rc;
    if (got != LOG_CHECKPOINT_BYTES || memcmp(b, magic, sizeof magic) != 0 || get_u32le(b + 16) != l->index ||
        get_u32le(b + 20) != crc32c(0, b, 20)) {
        log_error("stream", "damaged checkpoint ignored, the lane is read from its oldest record", "path=%s",
                  path);
        return OK;
    }
    l->checkpoint = get_u64le(b + 8);
    return OK;
}

void log_checkpoint_encode(uint8_t out[LOG_CHECKPOINT_BYTES], unsigned lane, uint64_t pos)
{
    memcpy(out, magic, sizeof magic);
    put_u64le(out + 8, pos);
    put_u32le(out + 16, lane);
    put_u32le(out + 20, crc32c(0, out, 20));
}

static int write_temp(struct log_lane *l, const char *path, uint64_t pos, struct err *err)
{
    uint8_t b[LOG_CHECKPOINT_BYTES];
    log_checkpoint_encode(b, l->index, pos);
    struct fs_file *f;
    int rc = fs_open(l->log->o.fs, path, FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc < 0)
        return rc;
    rc = fs_pwrite(f, b, LOG_CHECKPOINT_BYTES, 0, err);
    if (rc == OK)
        rc = fs_datasync(f, err);
    fs_close(f);
    return rc;
}

/* Under checkpoint_mu. */
static int store(struct log_lane *l, uint64_t pos, struct err *err)
{
    char temp[LOG_PATH_MAX], path[LOG_PATH_MAX];
    struct fs *fs = l->log->o.fs;
    log_lane_path(l, LOG_CHECKPOINT_TEMP, temp);
    log_lane_path(l, LOG_CHECKPOINT_NAME, path);
    int rc = write_temp(l, temp, pos, err);
    KILL_POINT("stream.checkpoint_temp");
    if (rc == OK)
        rc = fs_rename(fs, temp, path, err);
    KILL_POINT("stream.checkpoint_renamed");
    if (rc == OK)
        rc = fs_sync_dir(fs, l->dir, err);
    KILL_POINT("stream.checkpoint_stored");
    return rc;
}

/* Under mu. How many segments at the front may go: everything in them is behind the checkpoint and older
 * than the kept time. What is newest in a segment is bounded by what is oldest in the next one. */
static size_t trimmable(const struct log_lane *l, int64_t older_than_ms)
{
    size_t n = 0;
    while (n + 1 < l->segments_n && l->segments[n + 1].first_pos <= l->checkpoint + 1 &&
           l->segments[n + 1].first_ms < older_than_ms)
        n++;
    if (l->retired && n + 1 == l->segments_n && l->last_pos <= l->checkpoint && l->last_ms < older_than_ms)
        n++;
    return n;
}

/* Under checkpoint_mu. A failure leaves files behind for the next time; it is no failure of the checkpoint.
 */
static void trim(struct log_lane *l)
{
    if (atomic_load(&l->log->holds))
        return;
    pthread_mutex_lock(&l->mu);
    size_t n = trimmable(l, clock_wall_ms(l->log->o.clock) - l->log->o.keep_ms);
    struct log_segment *gone = n ? xmalloc(n * sizeof *gone) : NULL;
    if (n) {
        memcpy(gone, l->segments, n * sizeof *gone);
        l->segments_n -= n;
        memmove(l->segments, l->segments + n, l->segments_n * sizeof *gone);
    }
    pthread_mutex_unlock(&l->mu);
    struct err err = ERR_INIT;
    for (size_t i = 0; i < n; i++) {
        char path[LOG_PATH_MAX];
        log_segment_path(l, gone[i].first_pos, path);
        KILL_POINT("stream.trim_listed");
        if (fs_unlink(l->log->o.fs, path, &err) < 0)
            log_warn("stream", "segment not removed", "error=\"%s\"", err.text);
        KILL_POINT("stream.trim_removed");
    }
    if (n && fs_sync_dir(l->log->o.fs, l->dir, &err) < 0)
        log_warn("stream", "removal of segments not synced", "error=\"%s\"", err.text);
    free(gone);
}

int log_checkpoint_set(struct stream *s, unsigned lane, uint64_t pos, struct err *err)
{
    struct log_lane *l = stream_log_of(s)->lanes[lane];
    if (pos >= atomic_load(&l->log->next_pos))
        return err_set(err, ERR_INVALID, "checkpoint %llu of partition %u lies in the future",
                       (unsigned long long)pos, lane);
    int rc = OK;
    pthread_mutex_lock(&l->checkpoint_mu);
    if (pos > log_checkpoint_get(s, lane)) {
        rc = store(l, pos, err);
        if (rc == OK) {
            pthread_mutex_lock(&l->mu);
            l->checkpoint = pos;
            pthread_mutex_unlock(&l->mu);
        }
    }
    if (rc == OK)
        trim(l);
    pthread_mutex_unlock(&l->checkpoint_mu);
    return rc;
}

uint64_t log_checkpoint_get(struct stream *s, unsigned lane)
{
    struct log_lane *l = stream_log_of(s)->lanes[lane];
    pthread_mutex_lock(&l->mu);
    uint64_t pos = l->checkpoint;
    pthread_mutex_unlock(&l->mu);
    return pos;
}
