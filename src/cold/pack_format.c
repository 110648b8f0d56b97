#include "cold/pack_format.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define MAGIC     "CARATPAK"
#define END_MAGIC "CPAK"

#define FOOTER_HEAD  56
#define PAGE_ENTRY   3 /* at least, in the footer */
#define RUN_ENTRY    9 /* at least, in a directory */
#define WINDOW_LIMIT ((uint64_t)INT64_MAX)

static int corrupt(struct err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "%s", what);
}

static int check_step(uint32_t step_ms, struct err *err)
{
    return step_ms >= STEP_MIN_MS && step_ms <= STEP_MAX_MS ? OK : corrupt(err, "no such step");
}

/* Number of the first window that has no start in int64 milliseconds. */
static uint64_t window_limit(uint32_t step_ms)
{
    return WINDOW_LIMIT / (uint64_t)window_span_ms(step_ms);
}

/* --- header --- */

void pack_header_put(uint8_t out[PACK_HEADER_BYTES], uint32_t step_ms)
{
    memcpy(out, MAGIC, 8);
    put_u32le(out + 8, PACK_VERSION);
    put_u32le(out + 12, step_ms);
    put_u32le(out + 16, 0);
    put_u32le(out + 20, crc32c(0, out, 20));
}

int pack_header_get(const uint8_t in[PACK_HEADER_BYTES], uint32_t *step_ms, struct err *err)
{
    if (memcmp(in, MAGIC, 8) != 0)
        return corrupt(err, "it does not begin as a pack");
    if (get_u32le(in + 20) != crc32c(0, in, 20))
        return corrupt(err, "header: checksum mismatch");
    if (get_u32le(in + 8) != PACK_VERSION)
        return err_set(err, ERR_UNSUPPORTED, "version %u, this program reads %d; use a newer carat",
                       get_u32le(in + 8), PACK_VERSION);
    *step_ms = get_u32le(in + 12);
    return check_step(*step_ms, err);
}

/* --- runs --- */

uint32_t pack_run_crc(uint32_t step_ms, uint32_t series, uint64_t first, const uint8_t *body, size_t n)
{
    uint8_t key[16];
    put_u32le(key, series);
    put_u32le(key + 4, step_ms);
    put_u64le(key + 8, first);
    return crc32c(crc32c(0, key, sizeof key), body, n);
}

void pack_line_put(struct buf *lines, struct pack_run_pos *pos, uint32_t step_ms, const struct part *p)
{
    uint64_t window = (uint64_t)(p->key.window_ms / window_span_ms(step_ms));
    uint8_t *q = buf_reserve(lines, 4 * VARINT_MAX);
    size_t n = put_varint(q, window - pos->window);
    n += put_varint(q + n, zigzag((int64_t)(p->key.hi - pos->hi)));
    n += put_varint(q + n, p->key.hi - p->lo);
    n += put_varint(q + n, p->size);
    lines->len += n;
    *pos = (struct pack_run_pos){window, p->key.hi};
}

/* Reads a line into *p, all but the place of the block. */
static int line_get(const uint8_t **at, const uint8_t *end, struct pack_run_pos *pos,
                    const struct pack_run *run, uint32_t step_ms, struct part *p)
{
    uint64_t skip, hi, back, size;
    if (get_varint(at, end, &skip) < 0 || get_varint(at, end, &hi) < 0 || get_varint(at, end, &back) < 0 ||
        get_varint(at, end, &size) < 0)
        return -1;
    hi = pos->hi + (uint64_t)unzigzag(hi);
    if (skip > run->last - pos->window || back > hi || size > PACK_BLOCK_MAX)
        return -1;
    pos->window += skip;
    pos->hi = hi;
    *p = (struct part){
        .key = {run->series, step_ms, (int64_t)pos->window * window_span_ms(step_ms), hi},
        .lo = hi - back,
        .size = (size_t)size,
    };
    return 0;
}

int pack_run_open(const struct pack_run *run, uint32_t step_ms, const uint8_t *raw, struct pack_run_view *out,
                  struct err *err)
{
    const uint8_t *at = raw, *end = raw + run->raw;
    struct pack_run_pos pos = {run->first, 0};
    out->n = 0;
    for (uint32_t i = 0; i < run->parts; i++, out->n++) {
        if (line_get(&at, end, &pos, run, step_ms, &out->parts[i]) < 0)
            return corrupt(err, "malformed run");
        const struct part *a = &out->parts[i ? i - 1 : 0], *b = &out->parts[i];
        if (i && a->key.window_ms == b->key.window_ms && a->key.hi > b->key.hi)
            return corrupt(err, "run out of order");
    }
    for (uint32_t i = 0; i < out->n; i++) {
        if (out->parts[i].size > (size_t)(end - at))
            return corrupt(err, "run shorter than its parts");
        out->parts[i].data = at;
        at += out->parts[i].size;
    }
    return at == end && pos.window == run->last ? OK : corrupt(err, "run does not fit its parts");
}

/* --- pages --- */

void pack_directory_add(struct pack_directory *d, const struct pack_run *r)
{
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 64;
        d->v = xrealloc(d->v, d->cap * sizeof *d->v);
    }
    d->v[d->n++] = *r;
}

void pack_directory_release(struct pack_directory *d)
{
    free(d->v);
    *d = (struct pack_directory){0};
}

static size_t run_put(uint8_t *q, const struct pack_run *r, uint32_t series_before)
{
    size_t n = put_varint(q, r->series - series_before);
    n += put_varint(q + n, r->first);
    n += put_varint(q + n, r->last - r->first);
    n += put_varint(q + n, r->parts);
    n += put_varint(q + n, (uint64_t)r->stored << 1 | r->packed);
    if (r->packed)
        n += put_varint(q + n, r->raw);
    put_u32le(q + n, r->crc);
    return n + 4;
}

static uint32_t directory_crc(uint32_t step_ms, const uint8_t *length_and_entries, size_t n)
{
    uint8_t step[4];
    put_u32le(step, step_ms);
    return crc32c(crc32c(0, step, sizeof step), length_and_entries, n);
}

void pack_directory_put(const struct pack_directory *d, uint32_t step_ms, struct buf *out)
{
    size_t start = out->len;
    buf_reserve(out, PACK_PAGE_HEAD + VARINT_MAX);
    out->len += PACK_PAGE_HEAD;
    out->len += put_varint(out->data + out->len, d->n);
    uint32_t series = 0;
    for (size_t i = 0; i < d->n; i++) {
        out->len += run_put(buf_reserve(out, 6 * VARINT_MAX + 4), &d->v[i], series);
        series = d->v[i].series;
    }
    size_t length = out->len - start - PACK_PAGE_HEAD;
    put_u32le(out->data + start + 4, (uint32_t)length);
    put_u32le(out->data + start, directory_crc(step_ms, out->data + start + 4, 4 + length));
}

static int get_u32_varint(const uint8_t **at, const uint8_t *end, uint32_t *out)
{
    uint64_t v;
    if (get_varint(at, end, &v) < 0 || v > UINT32_MAX)
        return -1;
    *out = (uint32_t)v;
    return 0;
}

static bool run_plausible(const struct pack_run *r, uint64_t limit)
{
    return r->parts >= 1 && r->parts <= PACK_RUN_PARTS && r->first < limit && r->last >= r->first &&
           r->last < limit && r->raw <= PACK_RUN_MAX && r->stored <= r->raw;
}

static int run_get(const uint8_t **at, const uint8_t *end, uint32_t series_before, struct pack_run *r)
{
    uint64_t span, stored;
    uint32_t skip;
    if (get_u32_varint(at, end, &skip) < 0 || get_varint(at, end, &r->first) < 0 ||
        get_varint(at, end, &span) < 0 || get_u32_varint(at, end, &r->parts) < 0 ||
        get_varint(at, end, &stored) < 0 || stored >> 1 > PACK_RUN_MAX || skip > UINT32_MAX - series_before ||
        span > UINT64_MAX - r->first)
        return -1;
    r->series = series_before + skip;
    r->last = r->first + span;
    r->packed = stored & 1;
    r->stored = r->raw = (uint32_t)(stored >> 1);
    if ((r->packed && get_u32_varint(at, end, &r->raw) < 0) || end - *at < 4)
        return -1;
    r->crc = get_u32le(*at);
    *at += 4;
    return 0;
}

/* Runs of one series may share a window, where one ends and the next begins. */
static bool runs_ordered(const struct pack_run *a, const struct pack_run *b)
{
    return a->series < b->series || (a->series == b->series && a->last <= b->first);
}

int pack_directory_get(const uint8_t *page, size_t n, uint32_t step_ms, struct pack_directory *out,
                       struct err *err)
{
    out->n = 0;
    uint32_t length = n >= PACK_PAGE_HEAD ? get_u32le(page + 4) : 0;
    if (n < PACK_PAGE_HEAD || length > n - PACK_PAGE_HEAD)
        return corrupt(err, "page: its directory is longer than the page");
    if (get_u32le(page) != directory_crc(step_ms, page + 4, 4 + (size_t)length))
        return corrupt(err, "page: checksum mismatch in its directory");
    const uint8_t *at = page + PACK_PAGE_HEAD, *end = at + length;
    uint64_t count, limit = window_limit(step_ms);
    if (get_varint(&at, end, &count) < 0 || count == 0 || count > (size_t)(end - at) / RUN_ENTRY)
        return corrupt(err, "page: malformed directory");
    uint64_t offset = PACK_PAGE_HEAD + length;
    for (uint64_t i = 0; i < count; i++) {
        struct pack_run r;
        if (run_get(&at, end, out->n ? out->v[out->n - 1].series : 0, &r) < 0 || !run_plausible(&r, limit) ||
            (out->n && !runs_ordered(&out->v[out->n - 1], &r)) || r.stored > n - offset)
            return corrupt(err, "page: malformed directory");
        r.offset = (uint32_t)offset;
        offset += r.stored;
        pack_directory_add(out, &r);
    }
    return at == end && offset == n ? OK : corrupt(err, "page: its length does not fit its runs");
}

/* --- footer --- */

void pack_footer_add_page(struct pack_footer *f, const struct pack_page *p)
{
    if (f->npages == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 64;
        f->pages = xrealloc(f->pages, f->cap * sizeof *f->pages);
    }
    f->pages[f->npages++] = *p;
}

void pack_footer_release(struct pack_footer *f)
{
    free(f->pages);
    *f = (struct pack_footer){0};
}

static void footer_head_put(uint8_t *q, const struct pack_footer *f)
{
    put_u32le(q, f->step_ms);
    put_u32le(q + 4, (uint32_t)f->npages);
    put_u32le(q + 8, f->min_series);
    put_u32le(q + 12, f->max_series);
    put_u64le(q + 16, f->first);
    put_u64le(q + 24, f->last);
    put_u64le(q + 32, f->parts);
    put_u64le(q + 40, f->points);
    put_u64le(q + 48, f->block_bytes);
}

static void trailer_put(uint8_t *q, uint64_t offset, uint32_t length)
{
    put_u64le(q, offset);
    put_u32le(q + 8, length);
    put_u32le(q + 12, PACK_VERSION);
    put_u32le(q + 16, crc32c(0, q, 16));
    memcpy(q + 20, END_MAGIC, 4);
}

void pack_footer_put(const struct pack_footer *f, uint64_t offset, struct buf *out)
{
    size_t start = out->len;
    footer_head_put(buf_reserve(out, FOOTER_HEAD), f);
    out->len += FOOTER_HEAD;
    uint32_t series = 0;
    for (size_t i = 0; i < f->npages; i++) {
        uint8_t *q = buf_reserve(out, 3 * VARINT_MAX);
        size_t n = put_varint(q, f->pages[i].length);
        n += put_varint(q + n, f->pages[i].series - series);
        n += put_varint(q + n, f->pages[i].first);
        out->len += n;
        series = f->pages[i].series;
    }
    size_t length = out->len - start + 4;
    uint8_t *q = buf_reserve(out, 4 + PACK_TRAILER_BYTES);
    put_u32le(q, crc32c(0, out->data + start, length - 4));
    trailer_put(q + 4, offset, (uint32_t)length);
    out->len += 4 + PACK_TRAILER_BYTES;
}

int pack_trailer_get(const uint8_t in[PACK_TRAILER_BYTES], uint64_t size, uint64_t *offset, uint32_t *length,
                     struct err *err)
{
    if (memcmp(in + 20, END_MAGIC, 4) != 0)
        return corrupt(err, "it does not end as a pack");
    if (get_u32le(in + 16) != crc32c(0, in, 16))
        return corrupt(err, "trailer: checksum mismatch");
    if (get_u32le(in + 12) != PACK_VERSION)
        return err_set(err, ERR_UNSUPPORTED, "version %u, this program reads %d; use a newer carat",
                       get_u32le(in + 12), PACK_VERSION);
    *offset = get_u64le(in);
    *length = get_u32le(in + 8);
    if (size < PACK_HEADER_BYTES + FOOTER_HEAD + 4 + PACK_TRAILER_BYTES || *offset < PACK_HEADER_BYTES ||
        *offset > size || *length != size - PACK_TRAILER_BYTES - *offset || *length < FOOTER_HEAD + 4 ||
        *length > PACK_FOOTER_MAX)
        return corrupt(err, "trailer: the footer is not where it says");
    return OK;
}

/* One page's entry; pages follow each other without a gap, by ascending (series, first window). */
static int page_get(const uint8_t **at, const uint8_t *end, struct pack_footer *f, uint64_t offset,
                    uint64_t limit)
{
    const struct pack_page *before = f->npages ? &f->pages[f->npages - 1] : NULL;
    struct pack_page p = {.offset = before ? before->offset + before->length : PACK_HEADER_BYTES};
    uint32_t skip;
    if (get_u32_varint(at, end, &p.length) < 0 || get_u32_varint(at, end, &skip) < 0 ||
        get_varint(at, end, &p.first) < 0)
        return -1;
    uint32_t series = before ? before->series : 0;
    if (skip > UINT32_MAX - series || p.length > PACK_PAGE_MAX || p.length < PACK_PAGE_HEAD ||
        p.offset > offset || p.length > offset - p.offset || p.first >= limit ||
        (before && skip == 0 && p.first < before->first))
        return -1;
    p.series = series + skip;
    pack_footer_add_page(f, &p);
    return 0;
}

int pack_footer_get(const uint8_t *bytes, size_t n, uint64_t offset, struct pack_footer *out, struct err *err)
{
    *out = (struct pack_footer){0};
    if (n < FOOTER_HEAD + 4 || get_u32le(bytes + n - 4) != crc32c(0, bytes, n - 4))
        return corrupt(err, "footer: checksum mismatch");
    out->step_ms = get_u32le(bytes);
    out->min_series = get_u32le(bytes + 8);
    out->max_series = get_u32le(bytes + 12);
    out->first = get_u64le(bytes + 16);
    out->last = get_u64le(bytes + 24);
    out->parts = get_u64le(bytes + 32);
    out->points = get_u64le(bytes + 40);
    out->block_bytes = get_u64le(bytes + 48);
    if (check_step(out->step_ms, err) < 0)
        return ERR_CORRUPT;
    const uint8_t *at = bytes + FOOTER_HEAD, *end = bytes + n - 4;
    size_t count = get_u32le(bytes + 4);
    uint64_t limit = window_limit(out->step_ms);
    if (count == 0 || count > (size_t)(end - at) / PAGE_ENTRY || out->last >= limit || out->first > out->last)
        return corrupt(err, "footer: malformed");
    for (size_t i = 0; i < count; i++)
        if (page_get(&at, end, out, offset, limit) < 0)
            return corrupt(err, "footer: malformed index");
    const struct pack_page *last = &out->pages[count - 1];
    return at == end && last->offset + last->length == offset
               ? OK
               : corrupt(err, "footer: pages do not fill the pack");
}
