/* The bytes of packs and manifests as doc/cold.md has them: they never change. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "cold/manifest.h"
#include "cold/pack_reader.h"
#include "cold/pack_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SPAN 14400000ll

static void to_hex(const struct buf *b, struct buf *out)
{
    for (size_t i = 0; i < b->len; i++)
        buf_printf(out, "%02x", b->data[i]);
}

static void check_hex(const struct buf *b, const char *want)
{
    struct buf hex = BUF_INIT;
    to_hex(b, &hex);
    assert_string_equal(buf_str(&hex), want);
    buf_release(&hex);
}

static int append(void *ctx, const void *p, size_t n, struct err *err)
{
    (void)err;
    buf_append(ctx, p, n);
    return OK;
}

static void put(struct pack_writer *w, uint32_t series, int64_t window, uint64_t lo, uint64_t hi,
                const char *text)
{
    struct part p = {{series, 60000, window * SPAN, hi}, lo, (const uint8_t *)text, strlen(text)};
    assert_int_equal(pack_writer_add(w, &p, 10, NULL), OK);
}

/* Without a run that zstd would pack: its frames may differ from version to version. */
static void make_pack(struct buf *out)
{
    struct pack_writer w;
    pack_writer_init(&w, 60000, append, out);
    put(&w, 5, 3, 7, 300, "ab");
    put(&w, 5, 3, 290, 301, "c");
    put(&w, 5, 5, 100, 200, "def");
    put(&w, 700, 4, 1, 1, "g");
    assert_int_equal(pack_writer_finish(&w, NULL), OK);
    assert_int_equal(w.written, out->len);
    pack_writer_release(&w);
}

static int memory_read(void *ctx, void *p, size_t n, uint64_t off, struct err *err)
{
    struct buf *b = ctx;
    if (off > b->len || n > b->len - off)
        return err_set(err, ERR_CORRUPT, "short");
    memcpy(p, b->data + off, n);
    return OK;
}

static void no_damage(void *ctx, const struct pack_damage *d, const struct err *why)
{
    (void)ctx;
    fail_msg("series %u window %lld: %s", d->series, (long long)d->window_ms, why->text);
}

static void read_all(struct buf *bytes, struct buf *text)
{
    struct pack_source source = {bytes, memory_read, bytes->len, 0};
    struct pack pack;
    struct pack_range all = {0, UINT32_MAX, 0, INT64_MAX};
    struct pack_cursor c;
    struct part p;
    assert_int_equal(pack_open(&source, &pack, NULL), OK);
    assert_int_equal(pack_check_header(&pack, NULL), OK);
    pack_cursor_init(&c, &pack, &all, no_damage, NULL);
    while (pack_cursor_next(&c, &p))
        buf_printf(text, "%u/%lld:%llu..%llu=%.*s ", p.key.series, (long long)(p.key.window_ms / SPAN),
                   (unsigned long long)p.lo, (unsigned long long)p.key.hi, (int)p.size, (const char *)p.data);
    pack_cursor_release(&c);
    pack_release(&pack);
}

static const char pack_hex[] =
    "434152415450414b0100000060ea0000000000008576051aadd0a4321400000002050302032a811288e0b70504"
    "00010ad784380500d804a5020200020b0102c9016403616263646566000200016760ea00000100000005000000"
    "bc0200000300000000000000050000000000000004000000000000002800000000000000070000000000000036"
    "0503dcf5e44f4e000000000000003f000000010000009c11ac584350414b";

/* The last part has 80 bytes, and its run is a zstd frame. */
static const char packed_hex[] =
    "434152415450414b0100000060ea0000000000008576051a51f7b8d01500000002050302032a811288e0b705040001"
    "2954c879917b00d804a5020200020b0102c901640361626364656628b52ffd20545d000028000200506101008c022d"
    "60ea00000100000005000000bc02000003000000000000000500000000000000040000000000000028000000000000"
    "005600000000000000460503663a28a05e000000000000003f0000000100000023398a4e4350414b";

static void unhex(const char *hex, struct buf *out)
{
    for (; *hex; hex += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        buf_putc(out, (char)byte);
    }
}

static void a_pack_has_these_bytes(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    make_pack(&bytes);
    check_hex(&bytes, pack_hex);
    buf_release(&bytes);
}

/* What was once written is read, whatever the writer does today. */
static void a_pack_once_written_is_read(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT, text = BUF_INIT;
    unhex(pack_hex, &bytes);
    read_all(&bytes, &text);
    assert_string_equal(buf_str(&text), "5/3:7..300=ab 5/3:290..301=c 5/5:100..200=def 700/4:1..1=g ");
    buf_clear(&bytes);
    buf_clear(&text);
    unhex(packed_hex, &bytes);
    read_all(&bytes, &text);
    assert_string_equal(buf_str(&text),
                        "5/3:7..300=ab 5/3:290..301=c 5/5:100..200=def "
                        "700/4:1..1=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                        "aaaaaaaaaaaaaa ");
    buf_release(&bytes);
    buf_release(&text);
}

static void a_newer_version_is_told_apart_from_damage(void **state)
{
    (void)state;
    uint8_t h[PACK_HEADER_BYTES];
    uint32_t step;
    pack_header_put(h, 60000);
    assert_int_equal(pack_header_get(h, &step, NULL), OK);
    h[8] = 2;
    assert_int_equal(pack_header_get(h, &step, NULL), ERR_CORRUPT);
    put_u32le(h + 20, crc32c(0, h, 20));
    assert_int_equal(pack_header_get(h, &step, NULL), ERR_UNSUPPORTED);
    struct manifest m = {.generation = 1, .next_id = 1}, back;
    struct buf b = BUF_INIT;
    manifest_encode(&m, &b);
    b.data[8] = 2;
    put_u32le(b.data + b.len - 4, crc32c(0, b.data, b.len - 4));
    assert_int_equal(manifest_decode(b.data, b.len, &back, NULL), ERR_UNSUPPORTED);
    manifest_release(&back);
    buf_release(&b);
}

static void a_manifest_has_these_bytes(void **state)
{
    (void)state;
    struct pack_info p[] = {{1, 2, 60000, 5, 700, 3 * SPAN, 6 * SPAN, 250, 4, 40, 86},
                            {258, 3, 1000, 0, UINT32_MAX, 0, 240000, 1ull << 33, 1, 0, 9}};
    struct manifest m = {7, 259, p, 2}, back;
    struct buf b = BUF_INIT;
    manifest_encode(&m, &b);
    check_hex(&b, "43415241544d414e01000000020000000700000000000000030100000000000001000000000000000200000000"
                  "00000060ea000005000000bc02000000000000002e930200000000005c260500000000fa000000000000000400"
                  "0000000000002800000000000000560000000000000002010000000000000300000000000000e8030000000000"
                  "00ffffffff00000000000000000000000080a90300000000000000000002000000010000000000000000000000"
                  "000000000900000000000000ff513bcc");
    assert_int_equal(manifest_decode(b.data, b.len, &back, NULL), OK);
    assert_int_equal(back.generation, 7);
    assert_int_equal(back.next_id, 259);
    assert_int_equal(back.n, 2);
    struct buf again = BUF_INIT;
    manifest_encode(&back, &again);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    assert_int_equal(back.packs[1].max_series, UINT32_MAX);
    manifest_release(&back);
    buf_release(&again);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pack_has_these_bytes),
        cmocka_unit_test(a_pack_once_written_is_read),
        cmocka_unit_test(a_newer_version_is_told_apart_from_damage),
        cmocka_unit_test(a_manifest_has_these_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
