#include "model/name.h"

#include "base/utf8.h"

#include <string.h>

struct tag {
    const char *key, *value;
    size_t key_len, value_len;
};

#define TAGS_MAX 64

size_t name_path_len(const char *name, size_t len)
{
    const char *semi = memchr(name, ';', len);
    return semi ? (size_t)(semi - name) : len;
}

static bool bytes_ok(const char *name, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint8_t c = (uint8_t)name[i];
        size_t n = c > 0x20 && c < 0x7f ? 1 : c < 0x80 ? 0 : utf8_len((const uint8_t *)name + i, len - i);
        if (!n)
            return false;
        i += n;
    }
    return true;
}

static bool path_ok(const char *p, size_t len)
{
    if (len == 0 || p[0] == '.' || p[len - 1] == '.')
        return false;
    for (size_t i = 1; i < len; i++)
        if (p[i] == '.' && p[i - 1] == '.')
            return false;
    return true;
}

static bool tag_ok(const struct tag *t)
{
    if (t->key_len == 0 || t->value_len == 0 || t->value[0] == '~')
        return false;
    for (size_t i = 0; i < t->key_len; i++)
        if (strchr(";!^=", t->key[i]))
            return false;
    return true;
}

static int tag_cmp(const struct tag *a, const struct tag *b)
{
    size_t n = a->key_len < b->key_len ? a->key_len : b->key_len;
    int c = memcmp(a->key, b->key, n);
    return c ? c : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

/* Splits ";k=v;k=v" into at most TAGS_MAX tags; -1 if it is malformed. */
static int split_tags(const char *p, const char *end, struct tag *tags)
{
    int n = 0;
    while (p < end) {
        const char *start = p + 1;
        const char *stop = memchr(start, ';', (size_t)(end - start));
        stop = stop ? stop : end;
        const char *eq = memchr(start, '=', (size_t)(stop - start));
        if (!eq || n == TAGS_MAX)
            return -1;
        struct tag t = {start, eq + 1, (size_t)(eq - start), (size_t)(stop - eq - 1)};
        if (!tag_ok(&t))
            return -1;
        tags[n++] = t;
        p = stop;
    }
    return n;
}

/* Insertion sort (few tags, mostly in order); the later of two equal names replaces the earlier. */
static int sort_tags(struct tag *tags, int n, bool *changed)
{
    int m = 0;
    for (int i = 0; i < n; i++) {
        struct tag t = tags[i];
        int j = m;
        while (j > 0 && tag_cmp(&tags[j - 1], &t) > 0)
            j--;
        if (j > 0 && tag_cmp(&tags[j - 1], &t) == 0) {
            tags[j - 1] = t;
            *changed = true;
            continue;
        }
        if (j != m)
            *changed = true;
        memmove(tags + j + 1, tags + j, (size_t)(m - j) * sizeof *tags);
        tags[j] = t;
        m++;
    }
    return m;
}

int name_canonical(const char *name, size_t len, struct arena *arena, const char **out, size_t *out_len,
                   enum reject *why)
{
    *why = REJECT_NAME_TOO_LONG;
    if (len > NAME_MAX_BYTES)
        return -1;
    *why = REJECT_NAME;
    size_t path = name_path_len(name, len);
    if (!path_ok(name, path) || !bytes_ok(name, len))
        return -1;
    *out = name;
    *out_len = len;
    if (path == len)
        return 0;
    struct tag tags[TAGS_MAX];
    bool changed = false;
    int n = split_tags(name + path, name + len, tags);
    if (n < 0)
        return -1;
    n = sort_tags(tags, n, &changed);
    if (!changed)
        return 0;
    char *p = arena_alloc(arena, len + 1), *q = p;
    memcpy(q, name, path);
    q += path;
    for (int i = 0; i < n; i++) {
        *q++ = ';';
        memcpy(q, tags[i].key, tags[i].key_len);
        q += tags[i].key_len;
        *q++ = '=';
        memcpy(q, tags[i].value, tags[i].value_len);
        q += tags[i].value_len;
    }
    *q = '\0';
    *out = p;
    *out_len = (size_t)(q - p);
    return 0;
}
