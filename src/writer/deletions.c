/* Deletions on their way from the stream to catalog and hot. doc/deletion.md has the proofs. */
#include "writer/writer_impl.h"

#include "base/mem.h"

#include <stdlib.h>

bool deletion_publish(struct catalog *c, const struct deletion_record *r, uint64_t pos)
{
    struct tombstone *ranges = xmalloc(r->n * sizeof *ranges);
    uint32_t *ids = xmalloc(r->n * sizeof *ids);
    size_t nranges = 0, nids = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        struct deletion d = deletion_at(r, i);
        if (deletion_is_whole(&d))
            ids[nids++] = d.series;
        else if (!catalog_has_ended(c, d.series))
            ranges[nranges++] = (struct tombstone){d.series, false, d.from_ms, d.until_ms, pos};
    }
    tombstones_add(catalog_tombstones(c), ranges, nranges);
    if (nids)
        catalog_end(c, ids, nids, pos);
    free(ranges);
    free(ids);
    return nids > 0;
}

/* Published first: what the flusher takes from hot before it is cleared is masked on its way. A backend that
 * cannot take points out has none: nothing is deleted while it is used, and when a stream with deletions is
 * applied to it they are known before the first point. */
int lane_apply_deletion(struct lane *l, const struct stream_record *rec, struct err *err)
{
    struct writer *w = l->writer;
    struct deletion_record r;
    int rc = deletion_open(&r, rec->payload, rec->size, err);
    if (rc != OK)
        return rc;
    deletion_publish(w->o.catalog, &r, rec->pos);
    for (uint32_t i = 0; i < r.n && rc == OK; i++) {
        struct deletion d = deletion_at(&r, i);
        rc = hot_erase(w->o.hot, l->number, d.series, d.from_ms, d.until_ms, err);
        rc = rc == ERR_UNSUPPORTED ? OK : rc;
    }
    return rc;
}
