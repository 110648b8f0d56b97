/*   offset size field (numbers: octal digits, NUL-terminated)
 *        0  100 name            100 8 mode    108 8 uid    116 8 gid
 *      124   12 size            136 12 mtime  148 8 sum of all bytes, these eight taken as spaces
 *      156    1 type            157 100 link  257 8 "ustar\0" "00"
 *      265   32 owner           297 32 group  345 155 prefix of the name */
#include "backup/tar.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_AT   124
#define SIZE_LEN  12
#define SUM_AT    148
#define TYPE_AT   156
#define MAGIC_AT  257
#define PREFIX_AT 345
#define OCTAL_MAX 077777777777ull

static unsigned sum_of(const uint8_t *b)
{
    unsigned sum = 0;
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += i >= SUM_AT && i < SUM_AT + 8 ? ' ' : b[i];
    return sum;
}

static void put_octal(uint8_t *at, size_t len, uint64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%0*" PRIo64, (int)len - 1, v);
    memcpy(at, text, len);
}

static void put_size(uint8_t *at, uint64_t v)
{
    if (v <= OCTAL_MAX) {
        put_octal(at, SIZE_LEN, v);
        return;
    }
    for (int i = SIZE_LEN - 1; i >= 0; i--, v >>= 8)
        at[i] = (uint8_t)v;
    at[0] = 0x80;
}

void tar_encode(uint8_t out[TAR_BLOCK], const struct tar_entry *e)
{
    size_t n = strlen(e->name);
    assert(n > 0 && n <= 100 && e->mtime_s >= 0);
    memset(out, 0, TAR_BLOCK);
    memcpy(out, e->name, n);
    put_octal(out + 100, 8, 0640);
    put_octal(out + 108, 8, 0);
    put_octal(out + 116, 8, 0);
    put_size(out + SIZE_AT, e->size);
    put_octal(out + 136, 12, (uint64_t)e->mtime_s & OCTAL_MAX);
    out[TYPE_AT] = (uint8_t)e->type;
    memcpy(out + MAGIC_AT, "ustar\00000", 8);
    char sum[8];
    snprintf(sum, sizeof sum, "%06o", sum_of(out));
    memcpy(out + SUM_AT, sum, 7);
    out[SUM_AT + 7] = ' ';
}

static int get_octal(const uint8_t *at, size_t len, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    while (i < len && at[i] == ' ')
        i++;
    size_t digits = i;
    for (; i < len && at[i] >= '0' && at[i] <= '7'; i++)
        v = v << 3 | (uint64_t)(at[i] - '0');
    *out = v;
    return i > digits && (i == len || at[i] == 0 || at[i] == ' ') ? OK : ERR_CORRUPT;
}

static int get_size(const uint8_t *at, uint64_t *out)
{
    if (!(at[0] & 0x80))
        return get_octal(at, SIZE_LEN, out);
    *out = 0;
    for (int i = 4; i < SIZE_LEN; i++)
        *out = *out << 8 | at[i];
    return at[0] == 0x80 && !at[1] && !at[2] && !at[3] && *out <= INT64_MAX ? OK : ERR_CORRUPT;
}

int tar_decode(const uint8_t block[TAR_BLOCK], struct tar_entry *e, struct err *err)
{
    static const uint8_t zeros[TAR_BLOCK];
    uint64_t sum, mtime;
    if (!memcmp(block, zeros, TAR_BLOCK))
        return 1;
    if (get_octal(block + SUM_AT, 8, &sum) < 0 || sum != sum_of(block) ||
        memcmp(block + MAGIC_AT, "ustar", 5))
        return err_set(err, ERR_CORRUPT, "not a header of a tar archive");
    if (block[PREFIX_AT])
        return err_set(err, ERR_UNSUPPORTED, "a name in two parts is not one of a carat backup");
    memcpy(e->name, block, 100);
    e->name[100] = '\0';
    e->type = block[TYPE_AT] ? (char)block[TYPE_AT] : '0';
    if (get_size(block + SIZE_AT, &e->size) < 0 || get_octal(block + 136, 12, &mtime) < 0)
        return err_set(err, ERR_CORRUPT, "a number in a header of the tar archive is none");
    e->mtime_s = (int64_t)mtime;
    return OK;
}
