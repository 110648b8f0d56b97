/* The bytes of a backup: manifests and tar headers. Whatever they are, decoding stays inside them; a manifest
 * that is taken encodes to one that is taken too. Input: 1 byte: which, then the bytes. */
#include "backup/manifest.h"
#include "backup/tar.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_manifest(const uint8_t *p, size_t n)
{
    struct backup_manifest m, back;
    struct buf text = BUF_INIT;
    if (backup_manifest_decode(p, n, &m, NULL) == OK) {
        for (size_t i = 0; i < m.n; i++)
            assert(backup_path_ok(m.files[i].path) &&
                   backup_manifest_find(&m, m.files[i].path) == &m.files[i]);
        backup_manifest_encode(&m, &text);
        assert(backup_manifest_decode(text.data, text.len, &back, NULL) == OK);
        assert(back.n == m.n && back.generation == m.generation && back.time_ms == m.time_ms);
        backup_manifest_release(&back);
    }
    backup_manifest_release(&m);
    buf_release(&text);
}

static void try_tar(const uint8_t *p, size_t n)
{
    uint8_t block[TAR_BLOCK] = {0}, again[TAR_BLOCK];
    struct tar_entry e, back;
    memcpy(block, p, n < TAR_BLOCK ? n : TAR_BLOCK);
    unsigned sum = 8 * ' ';
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? 0 : block[i];
    for (int i = 5; i >= 0; i--, sum >>= 3) /* repaired, or nothing would pass */
        block[148 + i] = (uint8_t)('0' + (sum & 7));
    block[154] = '\0';
    if (tar_decode(block, &e, NULL) != OK || !e.name[0] || e.mtime_s > 077777777777)
        return;
    tar_encode(again, &e);
    assert(tar_decode(again, &back, NULL) == OK);
    assert(!strcmp(back.name, e.name) && back.size == e.size && back.type == e.type &&
           back.mtime_s == e.mtime_s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    uint8_t *copy = malloc(size); /* exact size, so that an over-read is seen */
    memcpy(copy, data + 1, size - 1);
    (data[0] & 1 ? try_tar : try_manifest)(copy, size - 1);
    free(copy);
    return 0;
}
