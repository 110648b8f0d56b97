#include "stream/log_scan.h"

#include "base/crc32c.h"

#define WINDOW_BYTES (512u << 10)

enum found { FOUND_NONE, FOUND_WHOLE, FOUND_DAMAGED };

void log_scan_begin(struct log_scan *s, struct fs_file *file, uint64_t id, uint64_t end, uint64_t after_pos,
                    bool exact)
{
    struct buf window = s->window;
    buf_clear(&window);
    *s = (struct log_scan){.file = file,
                           .id = id,
                           .off = LOG_HEADER_BYTES,
                           .end = end,
                           .after_pos = after_pos,
                           .exact = exact,
                           .window = window};
}

void log_scan_end(struct log_scan *s)
{
    if (s->file)
        fs_close(s->file);
    buf_release(&s->window);
    *s = (struct log_scan){.file = NULL};
}

/* Makes [off, off + n) readable; off + n <= end. *p is NULL if the file is shorter than it should be. */
static int peek(struct log_scan *s, uint64_t off, size_t n, const uint8_t **p, struct err *err)
{
    if (off < s->window_off || off + n > s->window_off + s->window.len) {
        uint64_t want = s->end - off < WINDOW_BYTES ? s->end - off : WINDOW_BYTES;
        if (want < n)
            want = n;
        buf_clear(&s->window);
        size_t got = 0;
        int rc = fs_pread(s->file, buf_reserve(&s->window, want), want, off, &got, err);
        if (rc < 0)
            return rc;
        s->window.len = got;
        s->window_off = off;
    }
    *p = s->window_off + s->window.len >= off + n ? s->window.data + (off - s->window_off) : NULL;
    return OK;
}

/* What lies at `off`: fills *rec and *payload unless FOUND_NONE. */
static int look(struct log_scan *s, uint64_t off, enum found *found, struct log_record *rec,
                const uint8_t **payload, struct err *err)
{
    const uint8_t *p;
    *found = FOUND_NONE;
    if (s->end - off < LOG_RECORD_HEADER)
        return OK;
    int rc = peek(s, off, LOG_RECORD_HEADER, &p, err);
    if (rc < 0 || !p || !log_record_decode(p, s->id, rec) || rec->pos <= s->after_pos ||
        log_record_bytes(rec->size) > s->end - off)
        return rc;
    rc = peek(s, off, log_record_bytes(rec->size), &p, err);
    if (rc < 0 || !p)
        return rc;
    *payload = p + LOG_RECORD_HEADER;
    *found = crc32c(0, *payload, rec->size) == rec->payload_crc ? FOUND_WHOLE : FOUND_DAMAGED;
    return OK;
}

/* The first offset in [from, to) with a non-zero byte, or `to`. */
static int skip_zeros(struct log_scan *s, uint64_t from, uint64_t to, uint64_t *out, struct err *err)
{
    while (from < to) {
        size_t n = to - from < LOG_BLOCK ? (size_t)(to - from) : LOG_BLOCK;
        const uint8_t *p;
        int rc = peek(s, from, n, &p, err);
        if (rc < 0)
            return rc;
        if (!p)
            break;
        for (size_t i = 0; i < n; i++)
            if (p[i])
                return *out = from + i, OK;
        from += n;
    }
    *out = to;
    return OK;
}

/* Behind a place where no whole record is: finds the next one that is. */
static int skip_damage(struct log_scan *s, struct log_damage *bad, struct err *err)
{
    struct log_record rec;
    const uint8_t *payload;
    enum found found;
    for (uint64_t off = bad->from; off < s->end;) {
        int rc = look(s, off, &found, &rec, &payload, err);
        if (rc < 0)
            return rc;
        if (found == FOUND_WHOLE) {
            bad->to = off;
            return OK;
        }
        if (found == FOUND_DAMAGED) { /* its length can be trusted: do not search inside its payload */
            bad->records++;
            off += log_record_bytes(rec.size);
        } else {
            off += 8;
        }
    }
    bad->to = s->end;
    return OK;
}

static int report(struct log_scan *s, struct log_damage *bad, struct err *err)
{
    bad->records = 0;
    int rc = skip_damage(s, bad, err);
    if (rc < 0)
        return rc;
    if (bad->to == s->end && !s->exact) {
        uint64_t dirt;
        rc = skip_zeros(s, bad->from, s->end, &dirt, err);
        if (rc < 0)
            return rc;
        if (dirt == s->end) { /* never written: the end */
            s->off = s->end;
            return 1;
        }
    }
    s->off = bad->to;
    if (!bad->records)
        bad->records = 1;
    return err_set(err, ERR_CORRUPT, "damaged bytes %llu to %llu", (unsigned long long)bad->from,
                   (unsigned long long)bad->to);
}

int log_scan_next(struct log_scan *s, struct log_record *rec, const uint8_t **payload, struct log_damage *bad,
                  struct err *err)
{
    while (s->off < s->end) {
        enum found found;
        int rc = look(s, s->off, &found, rec, payload, err);
        if (rc < 0)
            return rc;
        if (found == FOUND_WHOLE) {
            s->off += log_record_bytes(rec->size);
            s->after_pos = rec->pos;
            return OK;
        }
        uint64_t block_end = log_block_up(s->off), dirt;
        if (block_end > s->end)
            block_end = s->end;
        rc = skip_zeros(s, s->off, block_end, &dirt, err);
        if (rc < 0)
            return rc;
        if (s->off % LOG_BLOCK == 0 || dirt < block_end) {
            bad->from = s->off;
            return report(s, bad, err);
        }
        s->off = block_end;
    }
    return 1;
}
