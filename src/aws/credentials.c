#include "aws/credentials.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX     (64u << 10)
#define LOOK_EACH_MS 5000 /* at the file, whether it has changed */

struct aws_credentials {
    char *file, *profile;
    const char *(*env)(const char *);
    struct clock *clock;
    pthread_mutex_t mtx;
    /* under mtx */
    struct aws_key_copy keys;
    bool valid, from_file;
    int64_t looked_ms;
    struct timespec changed; /* of the file when it was read */
    off_t size;
};

static const char *real_env(const char *name)
{
    return getenv(name);
}

struct aws_credentials *aws_credentials_new(const struct aws_credentials_options *o)
{
    struct aws_credentials *c = xcalloc(1, sizeof *c);
    c->file = o->file && *o->file ? xstrdup(o->file) : NULL;
    c->profile = o->profile && *o->profile ? xstrdup(o->profile) : NULL;
    c->env = o->env ? o->env : real_env;
    c->clock = o->clock;
    pthread_mutex_init(&c->mtx, NULL);
    return c;
}

void aws_credentials_free(struct aws_credentials *c)
{
    if (!c)
        return;
    OPENSSL_cleanse(&c->keys, sizeof c->keys);
    pthread_mutex_destroy(&c->mtx);
    free(c->file);
    free(c->profile);
    free(c);
}

/* --- the file --- */

struct field {
    const char *name;
    char *to;
    size_t cap;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void trim(const char **s, size_t *n)
{
    while (*n && is_space((*s)[0]))
        ++*s, --*n;
    while (*n && is_space((*s)[*n - 1]))
        --*n;
}

static bool same(const char *s, size_t n, const char *word)
{
    return strlen(word) == n && !strncasecmp(s, word, n);
}

/* Words that are no value: control bytes would end up in a header. */
static bool is_plain(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x21 || (unsigned char)s[i] > 0x7e)
            return false;
    return n > 0;
}

static int take_line(const char *s, size_t n, struct field *fields, size_t nfields, unsigned line,
                     struct err *err)
{
    const char *eq = memchr(s, '=', n);
    if (!eq)
        return err_set(err, ERR_INVALID, "line %u: expected name = value", line);
    const char *name = s, *value = eq + 1;
    size_t name_len = (size_t)(eq - s), value_len = n - name_len - 1;
    trim(&name, &name_len);
    trim(&value, &value_len);
    for (size_t i = 0; i < nfields; i++) {
        if (!same(name, name_len, fields[i].name))
            continue;
        if (!is_plain(value, value_len) || value_len >= fields[i].cap)
            return err_set(err, ERR_INVALID, "line %u: %s is empty, too long or has bytes that no key has",
                           line, fields[i].name);
        memcpy(fields[i].to, value, value_len);
        fields[i].to[value_len] = '\0';
    }
    return OK;
}

int aws_credentials_parse(const char *text, size_t n, const char *profile, struct aws_key_copy *out,
                          struct err *err)
{
    memset(out, 0, sizeof *out);
    struct field fields[] = {{"aws_access_key_id", out->id, sizeof out->id},
                             {"aws_secret_access_key", out->secret, sizeof out->secret},
                             {"aws_session_token", out->token, sizeof out->token}};
    bool inside = false;
    unsigned number = 0;
    int rc = OK;
    for (const char *p = text, *end = text + n; p < end && rc == OK;) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        const char *line = p;
        size_t len = (size_t)((eol ? eol : end) - p);
        p = eol ? eol + 1 : end;
        number++;
        trim(&line, &len);
        if (!len || line[0] == '#' || line[0] == ';')
            continue;
        if (line[0] == '[') {
            const char *name = line + 1;
            size_t name_len = len > 1 && line[len - 1] == ']' ? len - 2 : 0;
            trim(&name, &name_len);
            inside = strlen(profile) == name_len && !memcmp(name, profile, name_len);
        } else if (inside) {
            rc = take_line(line, len, fields, ARRAY_LEN(fields), number, err);
        }
    }
    if (rc == OK && (!out->id[0] || !out->secret[0]))
        rc = err_set(err, ERR_NOT_FOUND, "[%.100s] has no aws_access_key_id and aws_secret_access_key",
                     profile);
    if (rc < 0)
        OPENSSL_cleanse(out, sizeof *out);
    return rc;
}

/* The path to read, or NULL; to be freed. */
static char *file_of(const struct aws_credentials *c)
{
    const char *path = c->file ? c->file : c->env("AWS_SHARED_CREDENTIALS_FILE"), *home;
    if (path && *path)
        return xstrdup(path);
    if (!(home = c->env("HOME")) || !*home)
        return NULL;
    size_t n = strlen(home) + sizeof "/.aws/credentials";
    char *own = xmalloc(n);
    snprintf(own, n, "%s/.aws/credentials", home);
    return own;
}

static const char *profile_of(const struct aws_credentials *c)
{
    const char *p = c->profile ? c->profile : c->env("AWS_PROFILE");
    return p && *p ? p : "default";
}

static int read_file(struct aws_credentials *c, const char *path, struct aws_key_copy *keys, struct err *err)
{
    struct stat st;
    char *text = xmalloc(FILE_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
    if (fd < 0 || fstat(fd, &st) < 0) {
        rc = err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "cannot read %.200s", path);
    } else {
        size_t n = 0;
        ssize_t got;
        while ((got = read(fd, text + n, FILE_MAX - n)) > 0)
            n += (size_t)got;
        rc = got < 0         ? err_sys(err, ERR_IO, errno, "cannot read %.200s", path)
             : n == FILE_MAX ? err_set(err, ERR_INVALID, "%.200s has more than 64 KiB", path)
                             : aws_credentials_parse(text, n, profile_of(c), keys, err);
        if (rc < 0 && err)
            err_prefix(err, "%.200s", path);
        c->changed = st.st_mtim;
        c->size = st.st_size;
        OPENSSL_cleanse(text, n);
    }
    if (fd >= 0)
        close(fd);
    free(text);
    return rc;
}

static bool file_changed(struct aws_credentials *c)
{
    struct stat st;
    char *path = file_of(c);
    bool changed = !path || stat(path, &st) < 0 || st.st_mtim.tv_sec != c->changed.tv_sec ||
                   st.st_mtim.tv_nsec != c->changed.tv_nsec || st.st_size != c->size;
    free(path);
    return changed;
}

/* --- the environment --- */

static int read_env(const struct aws_credentials *c, struct aws_key_copy *keys, struct err *err)
{
    static const char *const names[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"};
    char *to[] = {keys->id, keys->secret, keys->token};
    size_t cap[] = {sizeof keys->id, sizeof keys->secret, sizeof keys->token};
    memset(keys, 0, sizeof *keys);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *v = c->env(names[i]);
        if (!v || !*v)
            continue;
        if (!is_plain(v, strlen(v)) || strlen(v) >= cap[i])
            return err_set(err, ERR_INVALID, "%s in the environment is too long or has bytes that no key has",
                           names[i]);
        memcpy(to[i], v, strlen(v) + 1);
    }
    return keys->id[0] && keys->secret[0] ? OK : ERR_NOT_FOUND;
}

static int load(struct aws_credentials *c, struct aws_key_copy *keys, struct err *err)
{
    int rc = read_env(c, keys, err);
    c->from_file = false;
    if (rc != ERR_NOT_FOUND)
        return rc;
    struct err why = ERR_INIT;
    char *path = file_of(c);
    rc = path ? read_file(c, path, keys, &why) : err_set(&why, ERR_NOT_FOUND, "there is no HOME to look in");
    free(path);
    c->from_file = rc == OK;
    if (rc == ERR_NOT_FOUND)
        return err_set(err, rc,
                       "no AWS credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not in the "
                       "environment; %.300s",
                       why.text);
    return rc < 0 ? err_set(err, rc, "AWS credentials: %.400s", why.text) : OK;
}

/* Under mtx. What was read before stays in force while the file is being replaced. */
static int renew(struct aws_credentials *c, int64_t now_ms, struct err *err)
{
    struct aws_key_copy fresh;
    int rc = load(c, &fresh, err);
    c->looked_ms = now_ms;
    if (rc == OK)
        c->keys = fresh;
    OPENSSL_cleanse(&fresh, sizeof fresh);
    c->valid = rc == OK;
    return rc < 0 && c->keys.id[0] ? OK : rc;
}

int aws_credentials_get(struct aws_credentials *c, struct aws_key_copy *out, struct err *err)
{
    int rc = OK;
    pthread_mutex_lock(&c->mtx);
    int64_t now = clock_mono_ms(c->clock);
    if (c->valid && c->from_file && now - c->looked_ms >= LOOK_EACH_MS) {
        c->looked_ms = now;
        c->valid = !file_changed(c);
    }
    if (!c->valid)
        rc = renew(c, now, err);
    if (rc == OK)
        *out = c->keys;
    pthread_mutex_unlock(&c->mtx);
    return rc;
}

void aws_credentials_refused(struct aws_credentials *c)
{
    pthread_mutex_lock(&c->mtx);
    c->valid = false;
    pthread_mutex_unlock(&c->mtx);
}
