#include "writer/positions.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/killpoint.h"

#include <assert.h>
#include <stdio.h>

#define FILE_MAX (16 + 8 * POSITIONS_MAX + 4)

int positions_write(struct fs *fs, const char *path, const uint64_t *pos, unsigned n, struct err *err)
{
    assert(n <= POSITIONS_MAX);
    uint8_t b[FILE_MAX];
    memcpy(b, "caratpos", 8);
    put_u32le(b + 8, 1);
    put_u32le(b + 12, n);
    for (unsigned i = 0; i < n; i++)
        put_u64le(b + 16 + 8 * i, pos[i]);
    size_t size = 16 + 8 * n;
    put_u32le(b + size, crc32c(0, b, size));
    char tmp[4096];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    struct fs_file *f;
    int rc = fs_open(fs, tmp, FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc != OK)
        return rc;
    rc = fs_pwrite(f, b, size + 4, 0, err);
    fs_close(f);
    KILL_POINT("positions.temp");
    return rc == OK ? fs_rename(fs, tmp, path, err) : rc;
}

int positions_read(struct fs *fs, const char *path, uint64_t *pos, unsigned n, struct err *err)
{
    uint8_t b[FILE_MAX];
    size_t got = 0;
    struct fs_file *f;
    memset(pos, 0, n * sizeof *pos);
    int rc = fs_open(fs, path, FS_READ, &f, err);
    if (rc != OK)
        return rc;
    rc = fs_pread(f, b, sizeof b, 0, &got, err);
    fs_close(f);
    if (rc != OK)
        return rc;
    if (got < 20 || memcmp(b, "caratpos", 8) || get_u32le(b + 8) != 1 || get_u32le(b + 12) > POSITIONS_MAX ||
        got != 16 + 8 * (size_t)get_u32le(b + 12) + 4 || get_u32le(b + got - 4) != crc32c(0, b, got - 4))
        return err_set(err, ERR_CORRUPT, "%s is damaged", path);
    for (unsigned i = 0; i < n && i < get_u32le(b + 12); i++)
        pos[i] = get_u64le(b + 16 + 8 * i);
    return OK;
}
