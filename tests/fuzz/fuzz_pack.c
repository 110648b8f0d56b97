/* Arbitrary bytes as a pack, whole or with its checksums mended on the way, so that the fuzzer gets behind
 * them; and as a manifest. Whatever they are: no read out of bounds, and what is delivered is in order.
 *
 * Byte 0 chooses: bit 0 mends, bit 1 reads one series instead of all, bit 2 tries a manifest. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "cold/manifest.h"
#include "cold/pack_reader.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
    uint8_t *p;
    size_t n;
    bool mend;
    uint32_t step_ms; /* 0: the pack is not open yet */
};

/* A read of a whole page gets the checksums it should have. */
static void mend_page(uint8_t *page, size_t n, uint32_t step_ms)
{
    uint8_t step[4];
    uint32_t length = n >= PACK_PAGE_HEAD ? get_u32le(page + 4) : 0;
    struct pack_directory d = {0};
    if (n < PACK_PAGE_HEAD || length > n - PACK_PAGE_HEAD)
        return;
    put_u32le(step, step_ms);
    put_u32le(page, crc32c(crc32c(0, step, 4), page + 4, 4 + (size_t)length));
    if (pack_directory_get(page, n, step_ms, &d, NULL) == OK)
        for (size_t i = 0; i < d.n; i++)
            d.v[i].crc =
                pack_run_crc(step_ms, d.v[i].series, d.v[i].first, page + d.v[i].offset, d.v[i].stored);
    struct buf again = BUF_INIT;
    if (d.n) {
        pack_directory_put(&d, step_ms, &again);
        if (again.len == PACK_PAGE_HEAD + (size_t)length) /* no varint was longer than it need be */
            memcpy(page, again.data, again.len);
    }
    buf_release(&again);
    pack_directory_release(&d);
}

static int memory_read(void *ctx, void *p, size_t n, uint64_t off, struct err *err)
{
    struct memory *m = ctx;
    if (off > m->n || n > m->n - off)
        return err_set(err, ERR_CORRUPT, "short");
    memcpy(p, m->p + off, n);
    if (m->mend && m->step_ms && off >= PACK_HEADER_BYTES)
        mend_page(p, n, m->step_ms);
    return OK;
}

static void mend_footer(uint8_t *p, size_t n)
{
    if (n < PACK_HEADER_BYTES + PACK_TRAILER_BYTES)
        return;
    uint8_t *t = p + n - PACK_TRAILER_BYTES;
    put_u32le(t + 16, crc32c(0, t, 16));
    uint64_t offset = get_u64le(t), length = get_u32le(t + 8);
    if (offset <= n && length >= 4 && length <= n - offset)
        put_u32le(p + offset + length - 4, crc32c(0, p + offset, length - 4));
    put_u32le(p + 20, crc32c(0, p, 20));
}

static void ignore(void *ctx, const struct pack_damage *d, const struct err *why)
{
    assert(d->window_ms >= 0 && d->series <= d->last_series && d->from_ms < d->until_ms && why->code != OK);
    ++*(size_t *)ctx;
}

static void read_pack(struct memory *m, bool one)
{
    struct pack_source source = {m, memory_read, m->n, 0};
    struct pack pack;
    struct err err = ERR_INIT;
    if (pack_open(&source, &pack, &err) < 0) {
        assert(err.code == ERR_CORRUPT || err.code == ERR_UNSUPPORTED);
        return;
    }
    (void)!pack_check_header(&pack, &err);
    m->step_ms = pack.footer.step_ms;
    struct pack_range r = {0, UINT32_MAX, 0, INT64_MAX};
    if (one)
        r = (struct pack_range){pack.footer.pages[0].series, pack.footer.pages[0].series, 1, INT64_MAX / 2};
    struct pack_cursor cursor;
    struct part p;
    size_t damages = 0;
    uint64_t sum = 0;
    pack_cursor_init(&cursor, &pack, &r, ignore, &damages);
    while (pack_cursor_next(&cursor, &p)) {
        assert(p.key.series >= r.min_series && p.key.series <= r.max_series);
        assert(p.key.window_ms >= r.from_ms && p.key.window_ms < r.until_ms && p.lo <= p.key.hi);
        for (size_t i = 0; i < p.size; i++)
            sum += p.data[i];
    }
    assert(sum < UINT64_MAX);
    pack_cursor_release(&cursor);
    pack_release(&pack);
}

static void read_manifest(uint8_t *p, size_t n, bool mend)
{
    struct manifest m;
    struct buf again = BUF_INIT;
    if (mend && n >= 4)
        put_u32le(p + n - 4, crc32c(0, p, n - 4));
    if (manifest_decode(p, n, &m, NULL) == OK) {
        manifest_encode(&m, &again);
        assert(again.len == n);
    }
    manifest_release(&m);
    buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t n = size - 1;
    uint8_t *bytes = malloc(n ? n : 1); /* exact size, so that an over-read is seen */
    memcpy(bytes, data + 1, n);
    struct memory m = {bytes, n, data[0] & 1, 0};
    if (data[0] & 4) {
        read_manifest(bytes, n, m.mend);
    } else {
        if (m.mend)
            mend_footer(bytes, n);
        read_pack(&m, data[0] & 2);
    }
    free(bytes);
    return 0;
}
