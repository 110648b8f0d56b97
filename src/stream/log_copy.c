/* What a copy of the log consists of. A segment is append-only and its durable part never changes, so the
 * copy of an open one simply ends earlier; being shorter than its header says, it counts as sealed. */
#include "stream/log_lane.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A trim decides and removes under checkpoint_mu: once that was held here, none that did not see the hold is
 * under way. */
void log_hold(struct stream *s, struct stream_hold *out)
{
    struct stream_log *log = stream_log_of(s);
    atomic_fetch_add(&log->holds, 1);
    for (unsigned i = 0; i < s->lanes; i++) {
        struct log_lane *l = log->lanes[i];
        pthread_mutex_lock(&l->checkpoint_mu);
        out->checkpoint[i] = log_checkpoint_get(s, i);
        pthread_mutex_unlock(&l->checkpoint_mu);
    }
}

void log_release(struct stream *s)
{
    atomic_fetch_sub(&stream_log_of(s)->holds, 1);
}

static int copy_checkpoint(unsigned lane, uint64_t pos, stream_file_fn fn, void *ctx)
{
    char name[32];
    uint8_t bytes[LOG_CHECKPOINT_BYTES];
    snprintf(name, sizeof name, "p%02u/" LOG_CHECKPOINT_NAME, lane);
    log_checkpoint_encode(bytes, lane, pos);
    return fn(ctx, &(struct stream_file){.name = name, .bytes = bytes, .size = sizeof bytes});
}

static int copy_segment(struct log_lane *l, const struct log_segment *seg, stream_file_fn fn, void *ctx)
{
    char path[LOG_PATH_MAX];
    log_segment_path(l, seg->first_pos, path);
    const char *name = path + strlen(l->log->o.dir) + 1;
    return fn(ctx, &(struct stream_file){.name = name, .path = path, .size = seg->end});
}

/* The segments as they are now; *n of them, for the caller to free. */
static struct log_segment *segments_now(struct log_lane *l, size_t *n)
{
    pthread_mutex_lock(&l->mu);
    *n = l->segments_n;
    struct log_segment *all = xmalloc((*n + 1) * sizeof *all);
    if (*n)
        memcpy(all, l->segments, *n * sizeof *all);
    pthread_mutex_unlock(&l->mu);
    return all;
}

static int copy_lane(struct log_lane *l, uint64_t checkpoint, stream_file_fn fn, void *ctx)
{
    size_t n;
    struct log_segment *seg = segments_now(l, &n);
    int rc = checkpoint ? copy_checkpoint(l->index, checkpoint, fn, ctx) : OK;
    for (size_t i = 0; i < n && rc == OK; i++) {
        bool behind = i + 1 < n && seg[i + 1].first_pos <= checkpoint + 1;
        if (!behind && seg[i].end > LOG_HEADER_BYTES)
            rc = copy_segment(l, &seg[i], fn, ctx);
    }
    free(seg);
    return rc;
}

/* Lanes of an earlier partition count that are not shown any more: their checkpoints say which positions were
 * given. */
static int copy_hidden(struct stream_log *log, unsigned lane, stream_file_fn fn, void *ctx, struct err *err)
{
    char path[LOG_PATH_MAX];
    uint8_t bytes[LOG_CHECKPOINT_BYTES];
    struct fs_file *f;
    size_t got = 0;
    snprintf(path, sizeof path, "%s/p%02u/" LOG_CHECKPOINT_NAME, log->o.dir, lane);
    int rc = fs_open(log->o.fs, path, FS_READ, &f, err);
    if (rc == ERR_NOT_FOUND)
        return OK;
    if (rc < 0)
        return rc;
    rc = fs_pread(f, bytes, sizeof bytes, 0, &got, err);
    fs_close(f);
    const char *name = path + strlen(log->o.dir) + 1;
    return rc < 0 ? rc : fn(ctx, &(struct stream_file){.name = name, .bytes = bytes, .size = got});
}

int log_copy_files(struct stream *s, const struct stream_hold *hold, stream_file_fn fn, void *ctx,
                   struct err *err)
{
    struct stream_log *log = stream_log_of(s);
    int rc = OK;
    for (unsigned i = 0; i < LOG_LANES_MAX && rc == OK; i++)
        rc = i < s->lanes ? copy_lane(log->lanes[i], hold->checkpoint[i], fn, ctx)
                          : copy_hidden(log, i, fn, ctx, err);
    return rc;
}
