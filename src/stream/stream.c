#include "stream/stream.h"

#include "stream/stream_impl.h"

#include <assert.h>

unsigned stream_partitions(struct stream *s)
{
    return s->partitions;
}

size_t stream_max_payload(struct stream *s)
{
    return s->max_payload;
}

int stream_append(struct stream *s, unsigned partition, const void *payload, size_t size, uint32_t points,
                  stream_done_fn done, void *ctx, struct err *err)
{
    assert(partition < s->partitions);
    assert(payload && size > 0 && size <= s->max_payload);
    return s->ops->append(s, partition, payload, size, points, done, ctx, err);
}

int stream_wait_space(struct stream *s, unsigned partition, size_t size, int timeout_ms)
{
    assert(partition < s->partitions);
    assert(size > 0 && size <= s->max_payload && timeout_ms >= 0);
    return s->ops->wait_space(s, partition, size, timeout_ms);
}

int stream_reader_open(struct stream *s, unsigned partition, struct stream_start start,
                       struct stream_reader **out, struct err *err)
{
    assert(partition < s->lanes);
    assert(start.from <= STREAM_LATEST);
    return s->ops->reader_open(s, partition, start, out, err);
}

int stream_reader_next(struct stream_reader *r, struct stream_record *rec, int timeout_ms, struct err *err)
{
    assert(rec && timeout_ms >= 0);
    return r->ops->next(r, rec, timeout_ms, err);
}

void stream_reader_close(struct stream_reader *r)
{
    if (r)
        r->ops->close(r);
}

uint64_t stream_synced_pos(struct stream *s, unsigned partition)
{
    assert(partition < s->lanes);
    return s->ops->synced_pos(s, partition);
}

int stream_checkpoint(struct stream *s, unsigned partition, uint64_t pos, struct err *err)
{
    assert(partition < s->lanes);
    return s->ops->checkpoint(s, partition, pos, err);
}

uint64_t stream_checkpoint_get(struct stream *s, unsigned partition)
{
    assert(partition < s->lanes);
    return s->ops->checkpoint_get(s, partition);
}

void stream_hold(struct stream *s, struct stream_hold *out)
{
    *out = (struct stream_hold){{0}};
    if (s->ops->hold)
        s->ops->hold(s, out);
}

void stream_release(struct stream *s)
{
    if (s->ops->release)
        s->ops->release(s);
}

int stream_files(struct stream *s, const struct stream_hold *hold, stream_file_fn fn, void *ctx,
                 struct err *err)
{
    if (!s->ops->files)
        return err_set(err, ERR_UNSUPPORTED, "a stream of kind %s cannot be copied", s->ops->name);
    return s->ops->files(s, hold, fn, ctx, err);
}

void stream_get_stats(struct stream *s, struct stream_stats *out)
{
    s->ops->get_stats(s, out);
}

void stream_close(struct stream *s)
{
    s->ops->close(s);
}

void stream_free(struct stream *s)
{
    if (s)
        s->ops->free(s);
}
