#include "backup/manifest.h"

#include "base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FORMAT_WORD "carat backup "
#define FORMAT      1
/* Sorted keys and no spaces, so that the same content is the same bytes and can carry its own checksum. */
#define FLAGS (JSON_COMPACT | JSON_SORT_KEYS)

void backup_manifest_release(struct backup_manifest *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->files[i].path);
    free(m->files);
    *m = (struct backup_manifest){0};
}

struct backup_file *backup_manifest_add(struct backup_manifest *m, const char *path, uint64_t size)
{
    assert(backup_path_ok(path));
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 64;
        m->files = xrealloc(m->files, m->cap * sizeof *m->files);
    }
    m->files[m->n] = (struct backup_file){.path = xstrdup(path), .size = size};
    return &m->files[m->n++];
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct backup_file *)a)->path, ((const struct backup_file *)b)->path);
}

void backup_manifest_sort(struct backup_manifest *m)
{
    if (m->n)
        qsort(m->files, m->n, sizeof *m->files, by_path);
}

const struct backup_file *backup_manifest_find(const struct backup_manifest *m, const char *path)
{
    const struct backup_file key = {.path = (char *)(uintptr_t)path};
    return m->n ? bsearch(&key, m->files, m->n, sizeof *m->files, by_path) : NULL;
}

uint64_t backup_manifest_bytes(const struct backup_manifest *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->n; i++)
        sum += m->files[i].size;
    return sum;
}

bool backup_path_ok(const char *path)
{
    size_t n = strlen(path);
    if (n == 0 || n >= BACKUP_PATH_MAX || path[0] == '/' || path[n - 1] == '/')
        return false;
    for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
        size_t level = strcspn(p, "/");
        if (level == 0 || (p[0] == '.' && (level == 1 || (level == 2 && p[1] == '.'))))
            return false;
    }
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
            return false;
    return true;
}

bool backup_path_immutable(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (!strcmp(dot, ".sst") || !strcmp(dot, ".seg") || !strcmp(dot, ".pack"));
}

/* --- to JSON --- */

static json_t *hex(uint64_t v)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, v);
    return json_string(text);
}

static json_t *file_json(const struct backup_file *f)
{
    return json_pack("{s:s, s:I, s:o, s:o, s:I}", "path", f->path, "size", (json_int_t)f->size, "xxh3",
                     hex(f->xxh3), "ends", hex(f->ends), "stored", (json_int_t)f->stored);
}

static uint64_t checksum_of(const json_t *root)
{
    char *text = json_dumps(root, FLAGS);
    uint64_t sum = XXH3_64bits(text, strlen(text));
    free(text);
    return sum;
}

void backup_manifest_encode(const struct backup_manifest *m, struct buf *out)
{
    json_t *files = json_array();
    for (size_t i = 0; i < m->n; i++)
        json_array_append_new(files, file_json(&m->files[i]));
    char format[32];
    snprintf(format, sizeof format, FORMAT_WORD "%d", FORMAT);
    json_t *root =
        json_pack("{s:s, s:s, s:I, s:I, s:o}", "format", format, "version", CARAT_VERSION, "generation",
                  (json_int_t)m->generation, "time_ms", (json_int_t)m->time_ms, "files", files);
    assert(root);
    json_object_set_new(root, "checksum", hex(checksum_of(root)));
    char *text = json_dumps(root, FLAGS);
    buf_puts(out, text);
    buf_putc(out, '\n');
    free(text);
    json_decref(root);
}

/* --- from JSON --- */

static bool get_hex(const json_t *from, const char *key, uint64_t *out)
{
    const char *text = json_string_value(json_object_get(from, key));
    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return false;
    *out = strtoull(text, NULL, 16);
    return true;
}

static bool get_count(const json_t *from, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(from, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool take_file(struct backup_manifest *m, const json_t *v)
{
    struct backup_file f = {.path = NULL};
    const char *path = json_string_value(json_object_get(v, "path"));
    if (!path || !backup_path_ok(path) || !get_count(v, "size", &f.size) ||
        !get_count(v, "stored", &f.stored) || !get_hex(v, "xxh3", &f.xxh3) || !get_hex(v, "ends", &f.ends))
        return false;
    struct backup_file *to = backup_manifest_add(m, path, f.size);
    f.path = to->path;
    *to = f;
    return true;
}

static bool take_files(struct backup_manifest *m, const json_t *files)
{
    if (!json_is_array(files))
        return false;
    for (size_t i = 0; i < json_array_size(files); i++)
        if (!take_file(m, json_array_get(files, i)))
            return false;
    backup_manifest_sort(m);
    for (size_t i = 1; i < m->n; i++)
        if (!strcmp(m->files[i - 1].path, m->files[i].path))
            return false;
    return true;
}

static int check_format(const json_t *root, struct err *err)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    size_t word = strlen(FORMAT_WORD);
    if (!format || strncmp(format, FORMAT_WORD, word) != 0)
        return err_set(err, ERR_CORRUPT, "it is no manifest of a carat backup");
    if (atoi(format + word) > FORMAT)
        return err_set(err, ERR_UNSUPPORTED, "\"%.40s\" was made by a newer carat; use that version", format);
    return OK;
}

static int take_all(json_t *root, struct backup_manifest *m, struct err *err)
{
    uint64_t sum, time_ms;
    int rc = check_format(root, err);
    if (rc < 0)
        return rc;
    bool good = get_hex(root, "checksum", &sum);
    json_object_del(root, "checksum");
    if (!good || sum != checksum_of(root))
        return err_set(err, ERR_CORRUPT, "its checksum does not match");
    if (!get_count(root, "generation", &m->generation) || !get_count(root, "time_ms", &time_ms) ||
        !take_files(m, json_object_get(root, "files")))
        return err_set(err, ERR_CORRUPT, "a field is missing, twice there or out of range");
    m->time_ms = (int64_t)time_ms;
    return OK;
}

int backup_manifest_decode(const void *bytes, size_t n, struct backup_manifest *out, struct err *err)
{
    *out = (struct backup_manifest){0};
    json_t *root = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(err, ERR_CORRUPT, "it is not the JSON of a manifest");
    }
    int rc = take_all(root, out, err);
    json_decref(root);
    return rc;
}
