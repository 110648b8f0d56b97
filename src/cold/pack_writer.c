#include "cold/pack_writer.h"

#include <zstd.h>

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

#define LEVEL 3
/* Below this gain the time to unpack is worth more. */
#define GAIN_MIN(size) ((size) / 32 + 4)

void pack_writer_init(struct pack_writer *w, uint32_t step_ms, pack_write_fn write, void *ctx)
{
    memset(w, 0, sizeof *w);
    w->write = write;
    w->ctx = ctx;
    w->footer.step_ms = step_ms;
    w->zstd = ZSTD_createCCtx();
    assert(w->zstd);
}

void pack_writer_release(struct pack_writer *w)
{
    pack_footer_release(&w->footer);
    pack_directory_release(&w->runs);
    buf_release(&w->bodies);
    buf_release(&w->lines);
    buf_release(&w->blocks);
    buf_release(&w->packed);
    buf_release(&w->out);
    ZSTD_freeCCtx(w->zstd);
}

uint64_t pack_writer_bytes(const struct pack_writer *w)
{
    return w->written + w->bodies.len + w->lines.len + w->blocks.len;
}

static int emit(struct pack_writer *w, const void *p, size_t n, struct err *err)
{
    int rc = w->write(w->ctx, p, n, err);
    if (rc == OK)
        w->written += n;
    return rc;
}

static int close_page(struct pack_writer *w, struct err *err)
{
    if (!w->runs.n)
        return OK;
    buf_clear(&w->out);
    pack_directory_put(&w->runs, w->footer.step_ms, &w->out);
    struct pack_page p = {w->written, (uint32_t)(w->out.len + w->bodies.len), w->runs.v[0].series,
                          w->runs.v[0].first};
    assert(p.length <= PACK_PAGE_MAX);
    int rc = emit(w, w->out.data, w->out.len, err);
    if (rc == OK)
        rc = emit(w, w->bodies.data, w->bodies.len, err);
    pack_footer_add_page(&w->footer, &p);
    w->runs.n = 0;
    buf_clear(&w->bodies);
    return rc;
}

/* Puts the run's body behind those of the page, packed if that pays. */
static void put_body(struct pack_writer *w)
{
    struct buf *raw = &w->lines;
    buf_append(raw, w->blocks.data, w->blocks.len);
    size_t room = ZSTD_compressBound(raw->len);
    size_t n = ZSTD_compressCCtx(w->zstd, buf_reserve(&w->packed, room), room, raw->data, raw->len, LEVEL);
    w->run.packed = !ZSTD_isError(n) && n + GAIN_MIN(raw->len) <= raw->len;
    w->run.raw = (uint32_t)raw->len;
    w->run.stored = w->run.packed ? (uint32_t)n : w->run.raw;
    const uint8_t *body = w->run.packed ? w->packed.data : raw->data;
    w->run.crc = pack_run_crc(w->footer.step_ms, w->run.series, w->run.first, body, w->run.stored);
    buf_append(&w->bodies, body, w->run.stored);
}

static int close_run(struct pack_writer *w, struct err *err)
{
    if (!w->run.parts)
        return OK;
    w->run.last = w->pos.window;
    put_body(w);
    pack_directory_add(&w->runs, &w->run);
    w->run.parts = 0;
    buf_clear(&w->lines);
    buf_clear(&w->blocks);
    return w->bodies.len >= PACK_PAGE_BYTES ? close_page(w, err) : OK;
}

static int put_header(struct pack_writer *w, const struct part *first, struct err *err)
{
    uint8_t bytes[PACK_HEADER_BYTES];
    pack_header_put(bytes, w->footer.step_ms);
    w->footer.min_series = first->key.series;
    w->footer.first = UINT64_MAX;
    return emit(w, bytes, sizeof bytes, err);
}

int pack_writer_add(struct pack_writer *w, const struct part *p, uint32_t points, struct err *err)
{
    struct pack_footer *f = &w->footer;
    uint64_t window = (uint64_t)(p->key.window_ms / window_span_ms(f->step_ms));
    assert(p->key.step_ms == f->step_ms && p->size <= PACK_BLOCK_MAX);
    int rc = f->parts ? OK : put_header(w, p, err);
    if (rc == OK &&
        (w->run.series != p->key.series || w->run.parts == PACK_RUN_PARTS || w->blocks.len >= PACK_RUN_BYTES))
        rc = close_run(w, err);
    if (rc < 0)
        return rc;
    if (!w->run.parts) {
        w->run = (struct pack_run){.series = p->key.series, .first = window};
        w->pos = (struct pack_run_pos){window, 0};
    }
    w->run.parts++;
    pack_line_put(&w->lines, &w->pos, f->step_ms, p);
    buf_append(&w->blocks, p->data, p->size);
    f->max_series = p->key.series;
    f->first = window < f->first ? window : f->first;
    f->last = window > f->last ? window : f->last;
    f->parts++;
    f->points += points;
    f->block_bytes += p->size;
    return OK;
}

int pack_writer_finish(struct pack_writer *w, struct err *err)
{
    assert(w->footer.parts);
    int rc = close_run(w, err);
    if (rc == OK)
        rc = close_page(w, err);
    if (rc < 0)
        return rc;
    buf_clear(&w->out);
    pack_footer_put(&w->footer, w->written, &w->out);
    return emit(w, w->out.data, w->out.len, err);
}
