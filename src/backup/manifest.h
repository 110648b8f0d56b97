/* The list of files that make a data directory, with what tells each apart: in a backup (every field) and in
 * a snapshot (path and size only). JSON; doc/backup.md has it field by field. One thread. */
#ifndef CARAT_BACKUP_MANIFEST_H
#define CARAT_BACKUP_MANIFEST_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct backup_file {
    char *path;      /* below the data directory: "warm/000012.sst" */
    uint64_t size;   /* bytes that count; a snapshot's file may be longer */
    uint64_t xxh3;   /* XXH3-64 of them */
    uint64_t ends;   /* XXH3-64 of the first and the last BACKUP_END_BYTES of them */
    uint64_t stored; /* the generation whose directory holds it */
};
#define BACKUP_END_BYTES 4096

/* Its name in a tar stream, where it comes last. */
#define BACKUP_TAR_MANIFEST "carat-backup.json"

struct backup_manifest {
    uint64_t generation; /* 1, 2, ...; 0 in a snapshot */
    int64_t time_ms;     /* everything acknowledged before it is in */
    struct backup_file *files;
    size_t n, cap;
};

void backup_manifest_release(struct backup_manifest *m);
/* Copies `path`; the result is valid until the next add. */
struct backup_file *backup_manifest_add(struct backup_manifest *m, const char *path, uint64_t size);
/* Must be called before looking up. */
void backup_manifest_sort(struct backup_manifest *m);
/* NULL: not there. */
const struct backup_file *backup_manifest_find(const struct backup_manifest *m, const char *path);
uint64_t backup_manifest_bytes(const struct backup_manifest *m);

void backup_manifest_encode(const struct backup_manifest *m, struct buf *out);
/* Takes nothing on trust: ERR_CORRUPT for anything encode does not write, a path that leaves the directory
 * included; ERR_UNSUPPORTED for a newer format. Sorted. Release it in any case. */
int backup_manifest_decode(const void *bytes, size_t n, struct backup_manifest *out,
                           struct err *err) must_check;

/* Relative, with neither "." nor ".." nor an empty level, and short enough for a tar header. */
bool backup_path_ok(const char *path);
#define BACKUP_PATH_MAX 100

/* Files that never change under their name: size and `ends` tell them apart without reading all. */
bool backup_path_immutable(const char *path);

#endif
