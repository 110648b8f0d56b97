#include "agent/proc.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A stretch of the input: a line, or a word of it. */
struct span {
    const char *s;
    size_t n;
};

static bool next_line(struct span *rest, struct span *line)
{
    if (!rest->n)
        return false;
    const char *nl = memchr(rest->s, '\n', rest->n);
    line->s = rest->s;
    line->n = nl ? (size_t)(nl - rest->s) : rest->n;
    size_t skip = nl ? line->n + 1 : line->n;
    rest->s += skip;
    rest->n -= skip;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool next_word(struct span *line, struct span *word)
{
    while (line->n && is_blank(*line->s)) {
        line->s++;
        line->n--;
    }
    word->s = line->s;
    word->n = 0;
    while (word->n < line->n && !is_blank(word->s[word->n]))
        word->n++;
    line->s += word->n;
    line->n -= word->n;
    return word->n > 0;
}

static bool to_u64(struct span w, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < w.n; i++) {
        if (w.s[i] < '0' || w.s[i] > '9' || v > (UINT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (uint64_t)(w.s[i] - '0');
    }
    *out = v;
    return w.n > 0;
}

static bool next_u64(struct span *line, uint64_t *out)
{
    struct span w;
    return next_word(line, &w) && to_u64(w, out);
}

static bool equals(struct span w, const char *text)
{
    return w.n == strlen(text) && !memcmp(w.s, text, w.n);
}

static bool starts_with(struct span w, const char *text)
{
    return w.n >= strlen(text) && !memcmp(w.s, text, strlen(text));
}

void proc_sanitise(char *name)
{
    for (char *c = name; *c; c++) {
        bool good = (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z') ||
                    *c == '_' || *c == '-';
        if (!good)
            *c = '_';
    }
}

/* Copies a word that fits; NULs in it turn into '_' like all else. */
static bool copy_name(struct span w, char out[PROC_NAME_MAX])
{
    if (w.n == 0 || w.n >= PROC_NAME_MAX)
        return false;
    for (size_t i = 0; i < w.n; i++)
        out[i] = w.s[i] ? w.s[i] : '_';
    out[w.n] = '\0';
    proc_sanitise(out);
    return true;
}

/* Digits, a point, digits: no locale, no exponent. */
static bool to_decimal(struct span w, double *out)
{
    char text[32];
    if (w.n == 0 || w.n >= sizeof text)
        return false;
    for (size_t i = 0; i < w.n; i++)
        if ((w.s[i] < '0' || w.s[i] > '9') && w.s[i] != '.')
            return false;
    const char *dot = memchr(w.s, '.', w.n);
    uint64_t whole = 0, part = 0;
    size_t digits = dot ? w.n - (size_t)(dot - w.s) - 1 : 0;
    if (!to_u64((struct span){w.s, dot ? (size_t)(dot - w.s) : w.n}, &whole))
        return false;
    if (dot && (digits > 9 || !to_u64((struct span){dot + 1, digits}, &part)))
        return false;
    double scale = 1;
    for (size_t i = 0; i < digits; i++)
        scale *= 10;
    *out = ((double)whole * scale + (double)part) / scale; /* one rounding for what the kernel prints */
    return true;
}

int proc_parse_loadavg(const char *s, size_t n, double load[3])
{
    struct span rest = {s, n}, line, w;
    if (!next_line(&rest, &line))
        return -1;
    for (int i = 0; i < 3; i++)
        if (!next_word(&line, &w) || !to_decimal(w, &load[i]))
            return -1;
    return 0;
}

int proc_parse_stat(const char *s, size_t n, struct proc_cpu *out)
{
    struct span rest = {s, n}, line, w;
    memset(out, 0, sizeof *out);
    while (next_line(&rest, &line)) {
        if (!next_word(&line, &w) || !starts_with(w, "cpu"))
            continue;
        if (!equals(w, "cpu")) {
            out->cpus++;
            continue;
        }
        for (out->fields = 0; out->fields < CPU_FIELDS; out->fields++)
            if (!next_u64(&line, &out->ticks[out->fields]))
                break;
    }
    return out->fields > CPU_IDLE && out->cpus ? 0 : -1;
}

int proc_parse_meminfo(const char *s, size_t n, struct proc_memory *out)
{
    struct span rest = {s, n}, line, w;
    uint64_t free_kb = 0, buffers = 0, cached = 0, available = UINT64_MAX, kb;
    memset(out, 0, sizeof *out);
    while (next_line(&rest, &line)) {
        if (!next_word(&line, &w) || !next_u64(&line, &kb) || kb > UINT64_MAX / 1024)
            continue;
        if (equals(w, "MemTotal:"))
            out->total = kb * 1024;
        else if (equals(w, "MemAvailable:"))
            available = kb * 1024;
        else if (equals(w, "MemFree:"))
            free_kb = kb;
        else if (equals(w, "Buffers:"))
            buffers = kb;
        else if (equals(w, "Cached:"))
            cached = kb;
        else if (equals(w, "SwapTotal:"))
            out->swap_total = kb * 1024;
        else if (equals(w, "SwapFree:"))
            out->swap_free = kb * 1024;
        else if (equals(w, "SwapCached:"))
            out->swap_cached = kb * 1024;
    }
    out->available = available != UINT64_MAX ? available : (free_kb + buffers + cached) * 1024;
    return out->total ? 0 : -1;
}

static void add_device(struct proc_devices *out, struct span name, uint64_t a, uint64_t b)
{
    if (out->n == PROC_DEVICES_MAX || !copy_name(name, out->v[out->n].name))
        return;
    out->v[out->n].a = a;
    out->v[out->n].b = b;
    out->n++;
}

/* "   8       0 sda 1234 12 99999 100 5678 34 8888 200 0 150 300 ...": reads is the 4th word, writes the 8th.
 */
void proc_parse_diskstats(const char *s, size_t n, struct proc_devices *out)
{
    struct span rest = {s, n}, line, name;
    out->n = 0;
    while (next_line(&rest, &line)) {
        uint64_t skip, v[11], any = 0;
        if (!next_u64(&line, &skip) || !next_u64(&line, &skip) || !next_word(&line, &name))
            continue;
        size_t fields = 0;
        while (fields < 11 && next_u64(&line, &v[fields]))
            any |= v[fields++];
        if (fields == 11 && any)
            add_device(out, name, v[0], v[4]);
    }
}

/* "  eth0: 1234 ...": received bytes is the first number, sent bytes the ninth. There may be no blank after
 * the colon; an alias has a colon in its name, so the last one counts. */
void proc_parse_net_dev(const char *s, size_t n, struct proc_devices *out)
{
    struct span rest = {s, n}, line, name, none;
    out->n = 0;
    while (next_line(&rest, &line)) {
        const char *colon = memrchr(line.s, ':', line.n);
        if (!colon)
            continue;
        struct span head = {line.s, (size_t)(colon - line.s)};
        struct span tail = {colon + 1, line.n - head.n - 1};
        uint64_t v[9];
        size_t fields = 0;
        if (!next_word(&head, &name) || next_word(&head, &none))
            continue;
        while (fields < 9 && next_u64(&tail, &v[fields]))
            fields++;
        if (fields == 9 && !equals(name, "lo") && !starts_with(name, "veth"))
            add_device(out, name, v[0], v[8]);
    }
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* Undoes the kernel's \040 for blanks and the like; false if it does not fit. */
static bool copy_path(struct span w, char out[PROC_PATH_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < w.n; i++) {
        char c = w.s[i];
        if (c == '\\' && w.n - i > 3 && is_octal(w.s[i + 1]) && is_octal(w.s[i + 2]) &&
            is_octal(w.s[i + 3])) {
            c = (char)((w.s[i + 1] - '0') << 6 | (w.s[i + 2] - '0') << 3 | (w.s[i + 3] - '0'));
            i += 3;
        }
        if (!c || len + 1 >= PROC_PATH_MAX)
            return false;
        out[len++] = c;
    }
    out[len] = '\0';
    return len > 0;
}

static bool mount_known(const struct proc_mounts *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (!strcmp(m->v[i].name, name))
            return true;
    return false;
}

/* "/dev/sda1 / ext4 rw,relatime 0 0". Docker's devicemapper volumes come and go by the dozen: left out. */
void proc_parse_mounts(const char *s, size_t n, struct proc_mounts *out)
{
    struct span rest = {s, n}, line, device, path;
    out->n = 0;
    while (next_line(&rest, &line) && out->n < PROC_DEVICES_MAX) {
        struct proc_mount *m = &out->v[out->n];
        if (!next_word(&line, &device) || !next_word(&line, &path) || !starts_with(device, "/dev/") ||
            starts_with(device, "/dev/mapper/docker-"))
            continue;
        device.s += 5;
        device.n -= 5;
        if (copy_name(device, m->name) && copy_path(path, m->path) && !mount_known(out, m->name))
            out->n++;
    }
}
