#include "agent/host_id.h"

#include "base/mem.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* Hexadecimal digits of an id we make: 56 bits, enough for any fleet. */
#define MADE_DIGITS 14

bool host_id_valid(const char *id)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t n = strlen(id);
    return n >= 1 && n <= HOST_ID_MAX && strspn(id, good) == n;
}

/* First word of a small file; "" if it cannot be read or is empty. */
static void first_word(struct fs *fs, const char *path, char *out, size_t size)
{
    struct fs_file *f;
    size_t n = 0;
    out[0] = '\0';
    if (fs_open(fs, path, FS_READ, &f, NULL))
        return;
    if (fs_pread(f, out, size - 1, 0, &n, NULL))
        n = 0;
    fs_close(f);
    out[n] = '\0';
    out[strcspn(out, " \t\r\n")] = '\0';
}

static void to_hex(const unsigned char *p, size_t digits, char *out)
{
    for (size_t i = 0; i < digits; i++)
        out[i] = "0123456789abcdef"[p[i / 2] >> (i % 2 ? 0 : 4) & 15];
    out[digits] = '\0';
}

/* machine-id(5) asks not to show the id itself: a keyed digest of it goes out. */
static void derive(const char *machine_id, char *out)
{
    char text[256];
    unsigned char digest[SHA256_DIGEST_LENGTH];
    int n = snprintf(text, sizeof text, "carat host id:%s", machine_id);
    SHA256((const unsigned char *)text, (size_t)n, digest);
    to_hex(digest, MADE_DIGITS, out);
}

static int make(struct fs *fs, const char *machine_id_path, bool kept, char *out, struct err *err)
{
    char machine_id[128];
    unsigned char random[MADE_DIGITS / 2];
    first_word(fs, machine_id_path, machine_id, sizeof machine_id);
    if (strlen(machine_id) >= 32) { /* "uninitialized" is one of its other contents */
        derive(machine_id, out);
        return OK;
    }
    if (!kept)
        return err_set(err, ERR_NOT_FOUND, "%s has no id to derive the host id from; set agent.host_id",
                       machine_id_path);
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return err_sys(err, ERR_IO, errno, "getrandom");
    to_hex(random, MADE_DIGITS, out);
    return OK;
}

static int keep(struct fs *fs, const char *data_dir, const char *path, const char *id, struct err *err)
{
    char line[HOST_ID_MAX + 2];
    struct fs_file *f;
    int n = snprintf(line, sizeof line, "%s\n", id);
    int rc = fs_open(fs, path, FS_CREATE | FS_TRUNCATE, &f, err);
    if (rc)
        return rc;
    rc = fs_pwrite(f, line, (size_t)n, 0, err);
    if (!rc)
        rc = fs_datasync(f, err);
    fs_close(f);
    return rc ? rc : fs_sync_dir(fs, data_dir, err);
}

int host_id_get(struct fs *fs, const char *data_dir, const char *machine_id_path, char out[HOST_ID_MAX + 1],
                struct err *err)
{
    char path[4096], found[HOST_ID_MAX + 16];
    if (!data_dir)
        return make(fs, machine_id_path, false, out, err);
    snprintf(path, sizeof path, "%s/host_id", data_dir);
    first_word(fs, path, found, sizeof found);
    if (*found && !host_id_valid(found))
        return err_set(err, ERR_CORRUPT, "%s does not hold a host id (letters, digits, _ and -)", path);
    if (*found) {
        memcpy(out, found, strlen(found) + 1);
        return OK;
    }
    int rc = make(fs, machine_id_path, true, out, err);
    return rc ? rc : keep(fs, data_dir, path, out, err);
}
