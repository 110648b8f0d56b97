/* A reader of a lane: from the chunks in memory while it keeps up, from the files when it is behind. */
#include "stream/log_lane.h"

#include "base/mem.h"

#include <stdlib.h>

struct log_reader {
    struct stream_reader base;
    struct log_lane *lane;
    uint64_t after;  /* the position of the last record given; the next one is greater */
    int64_t from_ms; /* younger records only, until the first was found */

    struct log_chunk *chunk; /* pinned; NULL: not in memory */
    size_t off, limit;

    bool scanning; /* in the file of segment `segment` */
    struct log_scan scan;
    uint64_t segment;   /* first position of the segment being read or read last */
    bool segment_begun; /* `segment` means something */
};

static struct log_reader *down(struct stream_reader *r)
{
    return container_of(r, struct log_reader, base);
}

static bool wanted(struct log_reader *r, const struct log_record *rec)
{
    if (rec->pos <= r->after)
        return false;
    if (rec->appended_ms < r->from_ms)
        return false;
    r->from_ms = INT64_MIN;
    return true;
}

static int give(struct log_reader *r, const struct log_record *rec, const uint8_t *payload,
                struct stream_record *out)
{
    r->after = rec->pos;
    *out = (struct stream_record){
        .pos = rec->pos, .appended_ms = rec->appended_ms, .payload = payload, .size = rec->size};
    return OK;
}

/* OK or 1: nothing more below r->limit. */
static int next_in_chunk(struct log_reader *r, struct stream_record *out)
{
    while (r->off < r->limit) {
        const uint8_t *p = r->chunk->data + r->off;
        struct log_record rec;
        if (r->limit - r->off < LOG_RECORD_HEADER || !log_record_trusted(p, &rec)) {
            r->off = log_block_up(r->off + 1);
            continue;
        }
        r->off += log_record_bytes(rec.size);
        if (wanted(r, &rec))
            return give(r, &rec, p + LOG_RECORD_HEADER, out);
    }
    return 1;
}

/* A stretch of damage is told unless all of it lies before what the reader wants. */
static bool damage_matters(struct log_reader *r, const struct log_damage *bad)
{
    struct log_record rec;
    struct log_damage more;
    const uint8_t *payload;
    uint64_t off = r->scan.off, after_pos = r->scan.after_pos;
    if (bad->to < r->scan.end && log_scan_next(&r->scan, &rec, &payload, &more, NULL) == OK &&
        rec.pos <= r->after)
        return false;
    r->scan.off = off;
    r->scan.after_pos = after_pos;
    return true;
}

static int next_in_file(struct log_reader *r, struct stream_record *out, struct err *err)
{
    struct log_record rec;
    struct log_damage bad;
    const uint8_t *payload;
    for (;;) {
        int rc = log_scan_next(&r->scan, &rec, &payload, &bad, err);
        if (rc == ERR_CORRUPT) {
            log_quarantine(r->lane, r->segment, r->scan.file, &bad);
            if (!damage_matters(r, &bad))
                continue;
            err_prefix(err, "partition %u, segment %016llx", r->lane->index, (unsigned long long)r->segment);
        }
        if (rc != OK)
            return rc;
        if (wanted(r, &rec))
            return give(r, &rec, payload, out);
    }
}

/* Under mu. The segment that is read from now on, or NULL. */
static const struct log_segment *next_segment(struct log_reader *r)
{
    const struct log_lane *l = r->lane;
    const struct log_segment *found = NULL;
    for (size_t i = 0; i < l->segments_n; i++) {
        const struct log_segment *s = &l->segments[i];
        if (r->segment_begun && s->first_pos <= r->segment)
            continue;
        if (found && s->first_pos > r->after + 1)
            break;
        found = s;
    }
    return found;
}

/* Under mu, which it gives up: opens the file of `s`. OK, 1 if it went meanwhile, or an error. */
static int open_segment(struct log_reader *r, struct log_segment s, struct err *err)
{
    struct log_lane *l = r->lane;
    char path[LOG_PATH_MAX];
    struct fs_file *f;
    pthread_mutex_unlock(&l->mu);
    log_segment_path(l, s.first_pos, path);
    int rc = fs_open(l->log->o.fs, path, FS_READ, &f, err);
    if (rc == OK && s.unreadable) {
        const struct log_damage whole = {.from = 0, .to = s.end, .records = 1};
        log_quarantine(l, s.first_pos, f, &whole);
        fs_close(f);
        rc = err_set(err, ERR_CORRUPT, "segment %s has no valid header", path);
    } else if (rc == OK) {
        log_scan_begin(&r->scan, f, s.id, s.end, s.first_pos - 1, true);
        r->scanning = true;
    }
    if (rc == OK || rc == ERR_CORRUPT || rc == ERR_NOT_FOUND) {
        r->segment = s.first_pos;
        r->segment_begun = true;
    }
    return rc == ERR_NOT_FOUND ? 1 : rc;
}

/* Under mu. Moves on within memory; false: nothing to be read there now. */
static bool advance_chunk(struct log_reader *r)
{
    struct log_lane *l = r->lane;
    while (r->chunk) {
        struct log_chunk *c = r->chunk, *next = c->next;
        if (c->synced > r->off) {
            r->limit = c->synced;
            return true;
        }
        if (!next && !c->evicted)
            return false;
        if (r->off < c->used && !c->evicted)
            return false; /* its rest is on the way to the disk */
        if (next)
            log_chunk_pin(next);
        r->chunk = next;
        r->off = r->limit = 0;
        log_chunk_unpin(l, c);
    }
    return false;
}

static void leave_file(struct log_reader *r)
{
    if (r->scanning)
        fs_close(r->scan.file);
    r->scan.file = NULL;
    r->scanning = false;
}

/* Under mu. Goes over to memory if all that is wanted is there. */
static bool enter_memory(struct log_reader *r)
{
    struct log_lane *l = r->lane;
    if (r->chunk || r->after < l->cache_floor)
        return false;
    r->chunk = log_tail_pin(l, r->after);
    r->off = r->limit = 0;
    if (!r->chunk)
        return false;
    r->limit = r->chunk->synced;
    leave_file(r);
    r->segment_begun = false; /* if it falls behind again, `after` tells where to go on */
    return true;
}

/* Under mu, which an open gives up (*locked). OK: look again; 1: there is nothing to read now. */
static int find_source(struct log_reader *r, bool *locked, struct err *err)
{
    struct log_lane *l = r->lane;
    if (advance_chunk(r) || enter_memory(r))
        return OK;
    if (r->chunk || r->after >= l->cache_floor)
        return 1;
    if (r->scanning) { /* the segment may have grown */
        for (size_t i = 0; i < l->segments_n; i++)
            if (l->segments[i].first_pos == r->segment && l->segments[i].end > r->scan.end) {
                r->scan.end = l->segments[i].end;
                return OK;
            }
        leave_file(r);
    }
    const struct log_segment *s = next_segment(r);
    if (!s) { /* no file has them (damage, told already): go on in memory */
        r->after = l->cache_floor;
        return OK;
    }
    *locked = false;
    int rc = open_segment(r, *s, err);
    return rc == 1 ? OK : rc;
}

/* OK: a source was found; 1: nothing came in time; or an error. */
static int wait_source(struct log_reader *r, int timeout_ms, const struct timespec *until, struct err *err)
{
    struct log_lane *l = r->lane;
    bool locked = true;
    pthread_mutex_lock(&l->mu);
    int rc = find_source(r, &locked, err);
    while (locked && rc == 1) {
        if (l->closed) {
            rc = err_set(err, ERR_CLOSED, "the stream is closed");
            break;
        }
        if (timeout_ms == 0 || pthread_cond_timedwait(&l->readable, &l->mu, until) != 0)
            break;
        rc = find_source(r, &locked, err);
    }
    if (locked)
        pthread_mutex_unlock(&l->mu);
    return rc;
}

static int reader_next(struct stream_reader *base, struct stream_record *out, int timeout_ms, struct err *err)
{
    struct log_reader *r = down(base);
    struct timespec until;
    if (timeout_ms > 0)
        log_deadline(&until, timeout_ms);
    for (;;) {
        int rc = r->chunk ? next_in_chunk(r, out) : r->scanning ? next_in_file(r, out, err) : 1;
        if (rc != 1)
            return rc;
        rc = wait_source(r, timeout_ms, &until, err);
        if (rc != OK)
            return rc;
    }
}

static void reader_close(struct stream_reader *base)
{
    struct log_reader *r = down(base);
    if (r->chunk) {
        pthread_mutex_lock(&r->lane->mu);
        log_chunk_unpin(r->lane, r->chunk);
        pthread_mutex_unlock(&r->lane->mu);
    }
    log_scan_end(&r->scan);
    free(r);
}

/* Under mu. Stamps never go back within a lane, so all records before the last segment that began earlier
 * than from_ms are too old. */
static uint64_t before_time(const struct log_lane *l, int64_t from_ms)
{
    uint64_t after = 0;
    for (size_t i = 0; i < l->segments_n && l->segments[i].first_ms < from_ms; i++)
        after = l->segments[i].first_pos - 1;
    return after;
}

int log_reader_open(struct stream *s, unsigned lane, struct stream_start start, struct stream_reader **out,
                    struct err *err)
{
    static const struct stream_reader_ops ops = {.next = reader_next, .close = reader_close};
    struct log_lane *l = stream_log_of(s)->lanes[lane];
    struct log_reader *r = xmalloc(sizeof *r);
    *r = (struct log_reader){.base = {&ops}, .lane = l, .from_ms = INT64_MIN};
    pthread_mutex_lock(&l->mu);
    switch (start.from) {
    case STREAM_OLDEST:
        break;
    case STREAM_POSITION:
        r->after = start.from_pos;
        break;
    case STREAM_TIME:
        r->after = before_time(l, start.from_ms);
        r->from_ms = start.from_ms;
        break;
    case STREAM_LATEST:
        r->after = atomic_load(&l->log->next_pos) - 1;
        break;
    }
    pthread_mutex_unlock(&l->mu);
    *out = &r->base;
    return OK;
}
