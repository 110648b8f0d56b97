#include "base/config.h"

#include "base/mem.h"
#include "base/nearest.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct value {
    char *text;
    char *origin;   /* "default", "FILE:LINE" or "--set" */
    int64_t number; /* parsed form of everything but strings and paths */
    unsigned file;  /* which config_load_file set it, 0 for none */
};

struct config {
    const struct config_key *keys;
    struct value *values;
    size_t n;
    unsigned files;
};

static bool is_text(enum config_type t)
{
    return t == CONFIG_STRING || t == CONFIG_PATH;
}

/* Digits only: no sign, no space, no overflow. Moves *p past them. */
static int parse_digits(const char **p, int64_t *out)
{
    if (!isdigit((unsigned char)**p))
        return -1;
    int64_t v = 0;
    for (; isdigit((unsigned char)**p); ++*p)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, **p - '0', &v))
            return -1;
    *out = v;
    return 0;
}

struct unit {
    const char *name;
    int64_t factor;
};

static int parse_with_unit(const char *text, const struct unit *units, size_t n, int64_t *out)
{
    int64_t v;
    if (parse_digits(&text, &v) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (!strcmp(text, units[i].name))
            return __builtin_mul_overflow(v, units[i].factor, out) ? -1 : 0;
    return -1;
}

int config_parse_size(const char *text, uint64_t *bytes)
{
    static const struct unit units[] = {
        {"", 1}, {"B", 1}, {"K", 1ll << 10}, {"M", 1ll << 20}, {"G", 1ll << 30}, {"T", 1ll << 40},
    };
    int64_t v;
    if (parse_with_unit(text, units, ARRAY_LEN(units), &v) < 0)
        return -1;
    *bytes = (uint64_t)v;
    return 0;
}

int config_parse_duration(const char *text, int64_t *ms)
{
    static const struct unit units[] = {
        {"ms", 1},      {"s", 1000},     {"m", 60000},          {"min", 60000},
        {"h", 3600000}, {"d", 86400000}, {"w", 7 * 86400000ll}, {"y", 365 * 86400000ll},
    };
    if (!strcmp(text, "0")) {
        *ms = 0;
        return 0;
    }
    return parse_with_unit(text, units, ARRAY_LEN(units), ms);
}

static int parse_bool(const char *text, int64_t *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (!strcmp(text, words[i])) {
            *out = (int64_t)(i & 1);
            return 0;
        }
    return -1;
}

static int parse_int(const struct config_key *k, const char *text, int64_t *out)
{
    bool negative = *text == '-';
    const char *p = text + negative;
    if (parse_digits(&p, out) < 0 || *p)
        return -1;
    if (negative)
        *out = -*out;
    int64_t max = k->min || k->max ? k->max : INT_MAX;
    return *out < k->min || *out > max ? -1 : 0;
}

static int parse_value(const struct config_key *k, const char *text, int64_t *number)
{
    uint64_t bytes;
    switch (k->type) {
    case CONFIG_STRING:
    case CONFIG_PATH:
        return 0;
    case CONFIG_BOOL:
        return parse_bool(text, number);
    case CONFIG_INT:
        return parse_int(k, text, number);
    case CONFIG_SIZE:
        if (config_parse_size(text, &bytes) < 0)
            return -1;
        *number = (int64_t)bytes;
        return 0;
    case CONFIG_DURATION:
        return config_parse_duration(text, number);
    }
    return -1;
}

static int bad_value(const struct config_key *k, const char *text, struct err *err)
{
    static const char *const wanted[] = {
        [CONFIG_BOOL] = "true or false",
        [CONFIG_SIZE] = "a size such as 4096, 16K, 64M or 2G",
        [CONFIG_DURATION] = "a duration such as 500ms, 60s, 5min, 24h or 1d",
    };
    if (k->secret)
        return err_set(err, ERR_INVALID, "%s has a value of the wrong form", k->name);
    if (k->type == CONFIG_INT)
        return err_set(err, ERR_INVALID, "%s = \"%.60s\": expected a whole number from %lld to %lld", k->name,
                       text, (long long)k->min, (long long)(k->min || k->max ? k->max : INT_MAX));
    return err_set(err, ERR_INVALID, "%s = \"%.60s\": expected %s", k->name, text, wanted[k->type]);
}

static int assign(struct config *c, size_t i, const char *text, const char *origin, struct err *err)
{
    int64_t number = 0;
    if (parse_value(&c->keys[i], text, &number) < 0)
        return bad_value(&c->keys[i], text, err);
    struct value *v = &c->values[i];
    free(v->text);
    free(v->origin);
    v->text = xstrdup(text);
    v->origin = xstrdup(origin);
    v->number = number;
    return OK;
}

struct config *config_new(const struct config_key *keys, size_t n)
{
    struct config *c = xcalloc(1, sizeof *c);
    c->keys = keys;
    c->n = n;
    c->values = xcalloc(n, sizeof *c->values);
    for (size_t i = 0; i < n; i++) {
        struct err err = ERR_INIT;
        int rc = assign(c, i, keys[i].text, "default", &err);
        assert(rc == OK);
        (void)rc;
    }
    return c;
}

void config_free(struct config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++) {
        free(c->values[i].text);
        free(c->values[i].origin);
    }
    free(c->values);
    free(c);
}

static const char *key_name_at(const void *ctx, size_t i)
{
    const struct config *c = ctx;
    return i < c->n ? c->keys[i].name : NULL;
}

/* SIZE_MAX if there is none. */
static size_t key_index(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->keys[i].name, name))
            return i;
    return SIZE_MAX;
}

/* A known key in the wrong section is nearer to the mistake than any other spelling. */
static const char *nearest_key(const struct config *c, const char *name)
{
    const char *near = nearest_word(name, key_name_at, c), *key = strchr(name, '.');
    for (size_t i = 0; !near && key && i < c->n; i++)
        if (!strcmp(strchr(c->keys[i].name, '.'), key))
            near = c->keys[i].name;
    return near;
}

static int unknown_key(const struct config *c, const char *name, struct err *err)
{
    const char *near = nearest_key(c, name);
    if (near)
        return err_set(err, ERR_INVALID, "unknown key %.100s; did you mean %s?", name, near);
    return err_set(err, ERR_INVALID, "unknown key %.100s; carat serve --print-config lists all", name);
}

struct load {
    struct config *c;
    const char *path;
    FILE *f;
    int line;     /* of the text last read */
    bool failed;  /* `err` has been written */
    int err_line; /* where */
    struct err *err;
};

static int load_fail(struct load *l)
{
    if (l->failed)
        return 0;
    l->failed = true;
    l->err_line = l->line;
    err_prefix(l->err, "%s:%d", l->path, l->line);
    return 0;
}

/* Hands libinih one line at a time, without the indentation that it would take for a continuation, and
 * refuses what does not fit its buffer: it would take the rest for another line. */
static char *read_line(char *to, int size, void *ctx)
{
    struct load *l = ctx;
    if (l->failed || !fgets(to, size, l->f))
        return NULL;
    l->line++;
    size_t n = strlen(to);
    if (n + 1 == (size_t)size && to[n - 1] != '\n') {
        err_set(l->err, ERR_INVALID, "line longer than %d bytes", size - 2);
        load_fail(l);
        return NULL;
    }
    size_t indent = strspn(to, " \t");
    memmove(to, to + indent, n - indent + 1);
    return to;
}

/* One `key = value`. libinih wants 1 for good and 0 for an error. */
static int on_pair(void *ctx, const char *section, const char *key, const char *text)
{
    struct load *l = ctx;
    char name[2 * NEAREST_MAX_BYTES], origin[PATH_MAX + 16];
    if (!*section) {
        err_set(l->err, ERR_INVALID, "%.100s stands before any [section]", key);
        return load_fail(l);
    }
    snprintf(name, sizeof name, "%s.%s", section, key);
    size_t i = key_index(l->c, name);
    if (i == SIZE_MAX) {
        unknown_key(l->c, name, l->err);
        return load_fail(l);
    }
    struct value *v = &l->c->values[i];
    if (v->file == l->c->files) {
        err_set(l->err, ERR_INVALID, "%s is set twice, first at %s", name, v->origin);
        return load_fail(l);
    }
    snprintf(origin, sizeof origin, "%s:%d", l->path, l->line);
    if (assign(l->c, i, text, origin, l->err) < 0)
        return load_fail(l);
    v->file = l->c->files;
    return 1;
}

int config_load_file(struct config *c, const char *path, struct err *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "open %s", path);
    struct err unheard = ERR_INIT;
    struct load l = {.c = c, .path = path, .f = f, .err = err ? err : &unheard};
    c->files++;
    errno = 0;
    int bad_line = ini_parse_stream(read_line, &l, on_pair, &l);
    int read_errno = ferror(f) ? errno : 0;
    fclose(f);
    if (read_errno)
        return err_sys(err, ERR_IO, read_errno, "read %s", path);
    if (bad_line < 0)
        return err_set(err, ERR_IO, "%s cannot be read", path);
    if (bad_line > 0 && (!l.failed || bad_line < l.err_line))
        return err_set(err, ERR_INVALID, "%s:%d: expected [section] or key = value", path, bad_line);
    return l.failed ? l.err->code : OK;
}

int config_set(struct config *c, const char *assignment, struct err *err)
{
    const char *eq = strchr(assignment, '=');
    if (!eq)
        return err_set(err, ERR_INVALID, "--set %.100s: expected section.key=value", assignment);
    char name[2 * NEAREST_MAX_BYTES];
    snprintf(name, sizeof name, "%.*s", (int)(eq - assignment), assignment);
    size_t i = key_index(c, name);
    int rc;
    if (i == SIZE_MAX)
        rc = unknown_key(c, name, err);
    else if (c->keys[i].secret)
        rc = err_set(err, ERR_INVALID, "%s is a secret: put it into the configuration file", name);
    else
        rc = assign(c, i, eq + 1, "--set", err);
    return rc == OK ? OK : err_prefix(err, "--set");
}

void config_print(const struct config *c, struct buf *out)
{
    const char *section = "";
    size_t section_len = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct config_key *k = &c->keys[i];
        const struct value *v = &c->values[i];
        size_t n = (size_t)(strchr(k->name, '.') - k->name);
        if (n != section_len || strncmp(k->name, section, n)) {
            buf_printf(out, "%s[%.*s]\n", i ? "\n" : "", (int)n, k->name);
            section = k->name;
            section_len = n;
        }
        const char *shown = k->secret && *v->text ? "(set)" : v->text;
        buf_printf(out, "; %s (%s)\n%s =%s%s\n", k->doc, v->origin, k->name + n + 1, *shown ? " " : "",
                   shown);
    }
}

static const struct value *get(const struct config *c, const char *name, enum config_type type)
{
    size_t i = key_index(c, name);
    assert(i != SIZE_MAX && "no such configuration key");
    assert((c->keys[i].type == type || (is_text(type) && is_text(c->keys[i].type))) && "key of another type");
    return &c->values[i];
}

const char *config_string(const struct config *c, const char *name)
{
    return get(c, name, CONFIG_STRING)->text;
}

bool config_bool(const struct config *c, const char *name)
{
    return get(c, name, CONFIG_BOOL)->number != 0;
}

int64_t config_int(const struct config *c, const char *name)
{
    return get(c, name, CONFIG_INT)->number;
}

uint64_t config_size_bytes(const struct config *c, const char *name)
{
    return (uint64_t)get(c, name, CONFIG_SIZE)->number;
}

int64_t config_duration_ms(const struct config *c, const char *name)
{
    return get(c, name, CONFIG_DURATION)->number;
}
