/* Before new points are accepted the catalog must know every name the stream knows, or a name could get a
 * second id. The store is at most a few seconds behind, so this looks at a short tail, at definitions and
 * deletions only. That every deletion is known before the lanes start lets each of them drop dead points by
 * itself, also where a series has moved from one lane to another. */
#include "writer/writer_impl.h"

#include "model/batch.h"

struct scanned {
    uint32_t max_id;
    bool ended; /* series were deleted */
};

static int scan_deletion(struct catalog *c, const struct stream_record *rec, struct scanned *out,
                         struct err *err)
{
    struct deletion_record r;
    int rc = deletion_open(&r, rec->payload, rec->size, err);
    if (rc == OK)
        out->ended |= deletion_publish(c, &r, rec->pos);
    return rc;
}

static int scan_record(struct catalog *c, const struct stream_record *rec, struct scanned *out,
                       struct err *err)
{
    struct batch b;
    if (deletion_is_record(rec->payload, rec->size))
        return scan_deletion(c, rec, out, err);
    int rc = batch_open(&b, rec->payload, rec->size, err);
    if (rc != OK)
        return rc;
    const uint8_t *pos = b.defs;
    struct batch_def def;
    while (batch_next_def(&b, &pos, &def) == 0) {
        rc = catalog_define(c, def.ref, def.step_ms, def.name, def.name_len, err);
        if (rc != OK)
            return rc;
    }
    /* An id whose definition was lost to damage must still not be given to another name. */
    for (uint32_t i = 0; i < b.npoints; i++)
        if (batch_ref(&b, i) > out->max_id)
            out->max_id = batch_ref(&b, i);
    return OK;
}

static int scan_lane(struct writer *w, unsigned lane, uint64_t from, struct scanned *out, struct err *err)
{
    uint64_t until = stream_synced_pos(w->o.stream, lane), at = from;
    struct stream_reader *reader;
    struct stream_start start = {.from = STREAM_POSITION, .from_pos = from};
    if (at >= until)
        return OK;
    int rc = stream_reader_open(w->o.stream, lane, start, &reader, err);
    if (rc != OK)
        return rc;
    while (at < until) {
        struct stream_record rec;
        rc = stream_reader_next(reader, &rec, 0, err);
        if (rc == ERR_CORRUPT)
            continue; /* counted and reported when the lane meets it */
        if (rc != OK)
            break;
        at = rec.pos;
        rc = scan_record(w->o.catalog, &rec, out, err);
        if (rc != OK)
            log_error("writer", "record not understood", "lane=%u pos=%llu why=\"%s\"", lane,
                      (unsigned long long)rec.pos, err->text);
    }
    stream_reader_close(reader);
    return rc > 0 || rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED ? OK : rc;
}

static int scan_lanes(struct writer *w, const uint64_t *from, struct scanned *out, struct err *err)
{
    int rc = OK;
    for (unsigned i = 0; i < w->o.lanes && rc == OK; i++)
        rc = scan_lane(w, i, from[i], out, err);
    return rc;
}

/* A second time if series were deleted: the new id of such a name may have been met in another lane before
 * the old one had ended, and refused. */
int scan_definitions(struct writer *w, const uint64_t *from, struct err *err)
{
    struct scanned s = {0};
    int rc = scan_lanes(w, from, &s, err);
    if (rc == OK && s.ended)
        rc = scan_lanes(w, from, &s, err);
    if (rc == OK)
        catalog_reserve(w->o.catalog, s.max_id);
    return rc;
}
