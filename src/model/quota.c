#include "model/quota.h"

#include "base/mem.h"
#include "model/name.h"

#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (4u << 20)

struct rule {
    char *prefix;
    size_t len;
    uint64_t max;
    _Atomic uint64_t count;
};

struct quota {
    struct rule *v; /* sorted by prefix, each once */
    size_t n, cap;
};

static int compare(const char *a, size_t na, const char *b, size_t nb)
{
    int c = memcmp(a, b, na < nb ? na : nb);
    return c ? c : (na > nb) - (na < nb);
}

static struct rule *find_rule(struct quota *q, const char *prefix, size_t len)
{
    size_t low = 0, high = q->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = compare(prefix, len, q->v[mid].prefix, q->v[mid].len);
        if (c == 0)
            return &q->v[mid];
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static int by_prefix(const void *a, const void *b)
{
    const struct rule *x = a, *y = b;
    return compare(x->prefix, x->len, y->prefix, y->len);
}

/* One level after the other: every prefix of whole levels, the whole path included. Tags are no part of it.
 */
typedef bool (*rule_fn)(struct rule *r);
static struct rule *each_covering(struct quota *q, const char *name, size_t len, rule_fn fn)
{
    size_t path = name_path_len(name, len);
    for (size_t i = 1; i <= path; i++) {
        if (i < path && name[i] != '.')
            continue;
        struct rule *r = find_rule(q, name, i);
        if (r && !fn(r))
            return r;
    }
    return NULL;
}

static bool has_room(struct rule *r)
{
    return atomic_load_explicit(&r->count, memory_order_relaxed) < r->max;
}

static bool count_one(struct rule *r)
{
    atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed);
    return true;
}

bool quota_admit(struct quota *q, const char *name, size_t len, bool force, const char **prefix)
{
    struct rule *full = force ? NULL : each_covering(q, name, len, has_room);
    if (full) {
        if (prefix)
            *prefix = full->prefix;
        return false;
    }
    each_covering(q, name, len, count_one);
    return true;
}

static bool uncount_one(struct rule *r)
{
    atomic_fetch_sub_explicit(&r->count, 1, memory_order_relaxed);
    return true;
}

void quota_release(struct quota *q, const char *name, size_t len)
{
    each_covering(q, name, len, uncount_one);
}

int quota_rule(struct quota *q, size_t i, const char **prefix, uint64_t *max, uint64_t *count)
{
    if (i >= q->n)
        return 1;
    *prefix = q->v[i].prefix;
    *max = q->v[i].max;
    *count = atomic_load_explicit(&q->v[i].count, memory_order_relaxed);
    return 0;
}

static int add_rule(struct quota *q, const char *prefix, size_t len, uint64_t max, struct err *err)
{
    struct arena arena = ARENA_INIT;
    const char *canonical;
    size_t canonical_len;
    enum reject why;
    bool bad =
        memchr(prefix, ';', len) || name_canonical(prefix, len, &arena, &canonical, &canonical_len, &why) < 0;
    arena_release(&arena);
    if (bad)
        return err_set(err, ERR_INVALID,
                       "%.*s is no prefix: whole levels of a path are expected, such as servers.web",
                       (int)(len < 100 ? len : 100), prefix);
    if (q->n == QUOTA_RULES_MAX)
        return err_set(err, ERR_INVALID, "more than %d rules", QUOTA_RULES_MAX);
    if (q->n == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 16;
        q->v = xrealloc(q->v, q->cap * sizeof *q->v);
    }
    q->v[q->n++] = (struct rule){xstrndup(prefix, len), len, max, 0};
    return OK;
}

/* "prefix max_series", blanks around both; empty or a comment: nothing. */
static int parse_line(struct quota *q, const char *s, size_t n, struct err *err)
{
    const char *end = s + n;
    while (s < end && isspace((unsigned char)*s))
        s++;
    while (end > s && isspace((unsigned char)end[-1]))
        end--;
    if (s == end || *s == '#')
        return OK;
    const char *blank = s;
    while (blank < end && !isspace((unsigned char)*blank))
        blank++;
    const char *number = blank;
    while (number < end && isspace((unsigned char)*number))
        number++;
    uint64_t max = 0;
    size_t digits = 0;
    for (; number + digits < end && isdigit((unsigned char)number[digits]) && digits < 12; digits++)
        max = max * 10 + (uint64_t)(number[digits] - '0');
    if (digits == 0 || number + digits != end)
        return err_set(err, ERR_INVALID, "a prefix and a number of series are expected: servers.web 5000");
    return add_rule(q, s, (size_t)(blank - s), max, err);
}

static int check_twice(const struct quota *q, struct err *err)
{
    for (size_t i = 1; i < q->n; i++)
        if (by_prefix(&q->v[i - 1], &q->v[i]) == 0)
            return err_set(err, ERR_INVALID, "%.200s is there twice", q->v[i].prefix);
    return OK;
}

int quota_parse(const char *text, const char *filename, struct quota **out, struct err *err)
{
    struct quota *q = xcalloc(1, sizeof *q);
    int rc = OK;
    for (unsigned line = 1; rc == OK && *text; line++) {
        size_t n = strcspn(text, "\n");
        rc = parse_line(q, text, n, err);
        if (rc < 0)
            err_prefix(err, "%.200s:%u", filename, line);
        text += n + (text[n] == '\n');
    }
    if (rc == OK && q->n) {
        qsort(q->v, q->n, sizeof *q->v, by_prefix);
        rc = check_twice(q, err);
        if (rc < 0)
            err_prefix(err, "%.200s", filename);
    }
    if (rc < 0) {
        quota_free(q);
        return rc;
    }
    *out = q;
    return OK;
}

int quota_load(const char *path, struct quota **out, struct err *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "limits.quotas %.200s", path);
    char *text = xmalloc(FILE_MAX + 1);
    size_t n = fread(text, 1, FILE_MAX + 1, f);
    int rc = ferror(f) ? err_set(err, ERR_IO, "limits.quotas %.200s cannot be read", path) : OK;
    fclose(f);
    if (rc == OK && (n > FILE_MAX || memchr(text, '\0', n)))
        rc = err_set(err, ERR_INVALID, "limits.quotas %.200s is no text of at most 4 MiB", path);
    if (rc == OK) {
        text[n] = '\0';
        rc = quota_parse(text, path, out, err);
    }
    free(text);
    return rc;
}

void quota_free(struct quota *q)
{
    if (!q)
        return;
    for (size_t i = 0; i < q->n; i++)
        free(q->v[i].prefix);
    free(q->v);
    free(q);
}
