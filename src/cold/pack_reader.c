#include "cold/pack_reader.h"

#include <zstd.h>

#include "base/bytes.h"
#include "base/mem.h"

#include <stdlib.h>

static int read_footer(struct pack *p, struct buf *bytes, struct err *err)
{
    uint64_t size = p->source.size, offset;
    uint32_t length;
    if (size < PACK_HEADER_BYTES + PACK_TRAILER_BYTES)
        return err_set(err, ERR_CORRUPT, "it is shorter than a pack");
    size_t n = p->source.suffix >= PACK_TRAILER_BYTES ? p->source.suffix : PACK_SUFFIX_BYTES;
    n = size < n ? (size_t)size : n;
    int rc = p->source.read(p->source.ctx, buf_reserve(bytes, n), n, size - n, err);
    if (rc == OK)
        rc = pack_trailer_get(bytes->data + n - PACK_TRAILER_BYTES, size, &offset, &length, err);
    if (rc < 0)
        return rc;
    if (size - offset <= n)
        return pack_footer_get(bytes->data + (n - (size - offset)), length, offset, &p->footer, err);
    rc = p->source.read(p->source.ctx, buf_reserve(bytes, length), length, offset, err);
    return rc < 0 ? rc : pack_footer_get(bytes->data, length, offset, &p->footer, err);
}

int pack_open(const struct pack_source *s, struct pack *out, struct err *err)
{
    struct buf bytes = BUF_INIT;
    *out = (struct pack){.source = *s};
    int rc = read_footer(out, &bytes, err);
    buf_release(&bytes);
    if (rc < 0)
        pack_release(out);
    return rc;
}

void pack_release(struct pack *p)
{
    pack_footer_release(&p->footer);
}

int pack_check_header(const struct pack *p, struct err *err)
{
    uint8_t bytes[PACK_HEADER_BYTES];
    uint32_t step_ms;
    int rc = p->source.read(p->source.ctx, bytes, sizeof bytes, 0, err);
    if (rc == OK)
        rc = pack_header_get(bytes, &step_ms, err);
    if (rc == OK && step_ms != p->footer.step_ms)
        rc = err_set(err, ERR_CORRUPT, "header and footer name different steps");
    return rc;
}

size_t pack_memory(const struct pack *p)
{
    return sizeof *p + p->footer.cap * sizeof *p->footer.pages;
}

/* --- cursor --- */

/* A run with the key may be on the last page that begins before it, never on one before that. */
static size_t first_page(const struct pack_footer *f, uint32_t series, uint64_t window)
{
    size_t lo = 0, hi = f->npages;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct pack_page *p = &f->pages[mid];
        if (p->series < series || (p->series == series && p->first < window))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? lo - 1 : 0;
}

void pack_cursor_init(struct pack_cursor *c, const struct pack *p, const struct pack_range *r,
                      pack_damage_fn damage, void *ctx)
{
    memset(c, 0, sizeof *c);
    int64_t span = window_span_ms(p->footer.step_ms);
    c->pack = p;
    c->range = *r;
    c->first = r->from_ms > 0 ? (uint64_t)((r->from_ms - 1) / span + 1) : 0;
    c->until = r->until_ms > 0 ? (uint64_t)((r->until_ms - 1) / span + 1) : 0;
    c->damage = damage;
    c->ctx = ctx;
    c->page = first_page(&p->footer, r->min_series, c->first);
}

void pack_cursor_release(struct pack_cursor *c)
{
    buf_release(&c->bytes);
    buf_release(&c->raw);
    pack_directory_release(&c->runs);
}

static void page_damaged(struct pack_cursor *c, const struct err *why)
{
    const struct pack_footer *f = &c->pack->footer;
    const struct pack_page *p = &f->pages[c->page];
    int64_t span = window_span_ms(f->step_ms);
    c->damage(c->ctx,
              &(struct pack_damage){.page = true,
                                    .series = p->series,
                                    .last_series = c->page + 1 < f->npages ? p[1].series : f->max_series,
                                    .window_ms = (int64_t)p->first * span,
                                    .from_ms = (int64_t)f->first * span,
                                    .until_ms = (int64_t)(f->last + 1) * span},
              why);
}

static void run_damaged(struct pack_cursor *c, const struct pack_run *r, const struct err *why)
{
    int64_t span = window_span_ms(c->pack->footer.step_ms), from = (int64_t)r->first * span;
    c->damage(c->ctx,
              &(struct pack_damage){false, r->series, r->series, from, from, (int64_t)(r->last + 1) * span},
              why);
}

/* 1: the next page is there. 0: there is none that may hold something. */
static int next_page(struct pack_cursor *c)
{
    const struct pack_footer *f = &c->pack->footer;
    for (; c->page < f->npages; c->page++) {
        const struct pack_page *p = &f->pages[c->page];
        if (p->series > c->range.max_series || (p->series == c->range.max_series && p->first >= c->until))
            return 0;
        struct err why = ERR_INIT;
        buf_clear(&c->bytes);
        int rc = c->pack->source.read(c->pack->source.ctx, buf_reserve(&c->bytes, p->length), p->length,
                                      p->offset, &why);
        if (rc == OK)
            rc = pack_directory_get(c->bytes.data, p->length, f->step_ms, &c->runs, &why);
        if (rc == OK && (c->runs.v[0].series != p->series || c->runs.v[0].first != p->first))
            rc = err_set(&why, ERR_CORRUPT, "page: it does not begin as the footer says");
        if (rc == OK) {
            c->page++;
            c->run = 0;
            return 1;
        }
        page_damaged(c, &why);
    }
    return 0;
}

static bool wanted(const struct pack_cursor *c, const struct pack_run *r)
{
    return r->series >= c->range.min_series && r->series <= c->range.max_series && r->first < c->until &&
           r->last >= c->first;
}

static int unpack(struct pack_cursor *c, const struct pack_run *r, const uint8_t **raw, struct err *err)
{
    const uint8_t *body = c->bytes.data + r->offset;
    if (pack_run_crc(c->pack->footer.step_ms, r->series, r->first, body, r->stored) != r->crc)
        return err_set(err, ERR_CORRUPT, "run: checksum mismatch");
    *raw = body;
    if (!r->packed)
        return OK;
    buf_clear(&c->raw);
    size_t got = ZSTD_decompress(buf_reserve(&c->raw, r->raw), r->raw, body, r->stored);
    if (ZSTD_isError(got) || got != r->raw)
        return err_set(err, ERR_CORRUPT, "run: it cannot be unpacked");
    *raw = c->raw.data;
    return OK;
}

/* 1: the next run is in the view. 0: the page has no more. */
static int next_run(struct pack_cursor *c)
{
    while (c->run < c->runs.n) {
        const struct pack_run *r = &c->runs.v[c->run++];
        if (!wanted(c, r))
            continue;
        const uint8_t *raw = NULL;
        struct err why = ERR_INIT;
        int rc = unpack(c, r, &raw, &why);
        if (rc == OK)
            rc = pack_run_open(r, c->pack->footer.step_ms, raw, &c->view, &why);
        c->part = 0;
        if (rc == OK)
            return 1;
        c->view.n = 0;
        run_damaged(c, r, &why);
    }
    return 0;
}

int pack_cursor_next(struct pack_cursor *c, struct part *out)
{
    for (;;) {
        while (c->part < c->view.n) {
            const struct part *p = &c->view.parts[c->part++];
            if (p->key.window_ms >= c->range.from_ms && p->key.window_ms < c->range.until_ms) {
                *out = *p;
                return 1;
            }
        }
        c->view.n = 0;
        if (!next_run(c) && !next_page(c))
            return 0;
    }
}
