/* Before new points are accepted the catalog must know every name the stream knows, or a name could get a
 * second id. The store is at most a few seconds behind, so this looks at a short tail, at definitions only.
 */
#include "writer/writer_impl.h"

#include "model/batch.h"

static int scan_record(struct catalog *c, const struct stream_record *rec, uint32_t *max_id, struct err *err)
{
    struct batch b;
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
        if (batch_ref(&b, i) > *max_id)
            *max_id = batch_ref(&b, i);
    return OK;
}

static int scan_lane(struct writer *w, unsigned lane, uint64_t from, uint32_t *max_id, struct err *err)
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
        rc = scan_record(w->o.catalog, &rec, max_id, err);
        if (rc != OK)
            log_error("writer", "record not understood", "lane=%u pos=%llu why=\"%s\"", lane,
                      (unsigned long long)rec.pos, err->text);
    }
    stream_reader_close(reader);
    return rc > 0 || rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED ? OK : rc;
}

int scan_definitions(struct writer *w, const uint64_t *from, struct err *err)
{
    uint32_t max_id = 0;
    for (unsigned i = 0; i < w->o.lanes; i++) {
        int rc = scan_lane(w, i, from[i], &max_id, err);
        if (rc != OK)
            return rc;
    }
    catalog_reserve(w->o.catalog, max_id);
    return OK;
}
