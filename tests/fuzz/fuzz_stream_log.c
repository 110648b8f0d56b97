/* Arbitrary bytes as a segment file of the embedded stream.
 *
 * Byte 0 chooses: bit 0 `exact`, bit 1 mends the checksums on the way, so that the fuzzer gets behind them.
 * The rest is what follows the header area; from 4096 bytes on it is tried as a header too. */
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "stream/log_scan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ID 0x1122334455667788ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory_file {
    struct fs_file base;
    const uint8_t *p;
    size_t size;
};

static int memory_pread(struct fs_file *f, void *p, size_t n, uint64_t off, size_t *got, struct err *e)
{
    struct memory_file *m = container_of(f, struct memory_file, base);
    *got = off >= m->size ? 0 : m->size - off < n ? m->size - off : n;
    if (*got)
        memcpy(p, m->p + off, *got);
    return OK;
}

static void memory_close(struct fs_file *f) {}

/* Gives every record that has a plausible length its checksums. */
static void mend(uint8_t *p, size_t n)
{
    for (size_t off = 0; off + LOG_RECORD_HEADER <= n;) {
        uint32_t len = get_u32le(p + off);
        if (len == 0 || len > n - off - LOG_RECORD_HEADER) {
            off += 8;
            continue;
        }
        uint8_t id[8];
        put_u64le(id, ID);
        if (p[off + 27] < 0xf0) /* some payloads stay damaged */
            put_u32le(p + off + 4, crc32c(0, p + off + LOG_RECORD_HEADER, len));
        put_u32le(p + off + 28, crc32c(crc32c(0, id, sizeof id), p + off, 28));
        off += log_record_bytes(len);
    }
}

static void scan_all(const uint8_t *p, size_t n, bool exact)
{
    static const struct fs_file_ops ops = {.pread = memory_pread, .close = memory_close};
    struct memory_file m = {.base = {&ops}, .p = p, .size = n};
    struct log_scan s = {.file = NULL};
    struct log_record rec;
    struct log_damage bad;
    const uint8_t *payload;
    struct err err = ERR_INIT;
    uint64_t last_off = LOG_HEADER_BYTES, last_pos = 0;
    uint32_t sum = 0;
    int rc;
    log_scan_begin(&s, &m.base, ID, n, 0, exact);
    while ((rc = log_scan_next(&s, &rec, &payload, &bad, &err)) != 1) {
        assert(rc == OK || rc == ERR_CORRUPT);
        assert(s.off > last_off && s.off <= n);
        if (rc == OK) {
            assert(rec.pos > last_pos && rec.size > 0);
            sum = crc32c(sum, payload, rec.size); /* reads every byte */
            last_pos = rec.pos;
        } else {
            assert(bad.from >= last_off && bad.from < bad.to && bad.to == s.off && bad.records > 0);
        }
        last_off = s.off;
    }
    log_scan_end(&s);
    (void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct log_header h;
    if (size == 0)
        return 0;
    (void)!log_header_decode(data, size, &h);
    uint8_t *file = xcalloc(1, LOG_HEADER_BYTES + size - 1);
    memcpy(file + LOG_HEADER_BYTES, data + 1, size - 1);
    if (data[0] & 2)
        mend(file + LOG_HEADER_BYTES, size - 1);
    scan_all(file, LOG_HEADER_BYTES + size - 1, data[0] & 1);
    free(file);
    return 0;
}
