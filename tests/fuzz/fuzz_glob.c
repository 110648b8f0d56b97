/* Input: a pattern, a NUL, a label. A compiled level must agree with a plain recursive matcher, and the tree
 * with the matcher. */
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/glob.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct text {
    const char *p;
    size_t n;
};

static struct text after(struct text t, size_t k)
{
    return (struct text){t.p + k, t.n - k};
}

/* Length of the set at the start of p, which is closed. */
static size_t set_len(struct text p)
{
    size_t i = 1 + (p.p[1] == '!');
    for (i++; p.p[i] != ']'; i++)
        ;
    return i + 1;
}

static int in_set(struct text p, uint8_t c)
{
    size_t i = 1, end = set_len(p) - 1;
    int negate = p.p[1] == '!', in = 0;
    for (i += (size_t)negate; i < end; i++) {
        uint8_t lo = (uint8_t)p.p[i], hi = lo;
        if (i + 2 < end && p.p[i + 1] == '-')
            hi = (uint8_t)p.p[i + 2], i += 2;
        in |= lo <= c && c <= hi;
    }
    return in != negate;
}

static int slow_match(struct text p, struct text s, unsigned *fuel);

/* Tries each alternative spliced in front of the rest. */
static int slow_group(struct text p, struct text s, unsigned *fuel)
{
    size_t close = 1, start = 1;
    for (; p.p[close] != '}'; close += p.p[close] == '[' ? set_len(after(p, close)) : 1)
        ;
    for (size_t i = 1; i <= close; i += p.p[i] == '[' ? set_len(after(p, i)) : 1) {
        if (p.p[i] != ',' && i != close)
            continue;
        size_t n = i - start, rest = p.n - close - 1;
        char *joined = malloc(n + rest + 1);
        memcpy(joined, p.p + start, n);
        memcpy(joined + n, p.p + close + 1, rest);
        joined[n + rest] = 0;
        int yes = slow_match((struct text){joined, n + rest}, s, fuel);
        free(joined);
        if (yes)
            return 1;
        start = i + 1;
    }
    return 0;
}

static int slow_match(struct text p, struct text s, unsigned *fuel)
{
    if (*fuel == 0 || --*fuel == 0)
        return 0;
    if (p.n == 0)
        return s.n == 0;
    if (p.p[0] == '{')
        return slow_group(p, s, fuel);
    if (p.p[0] == '*')
        return slow_match(after(p, 1), s, fuel) || (s.n && slow_match(p, after(s, 1), fuel));
    if (s.n == 0)
        return 0;
    if (p.p[0] == '[')
        return in_set(p, (uint8_t)s.p[0]) && slow_match(after(p, set_len(p)), after(s, 1), fuel);
    return (p.p[0] == '?' || p.p[0] == s.p[0]) && slow_match(after(p, 1), after(s, 1), fuel);
}

static void check_level(struct text p, struct text s)
{
    struct glob g;
    struct err err = ERR_INIT;
    if (glob_compile(&g, p.p, p.n, 0, &err) < 0) {
        assert(err.code == ERR_INVALID && err.text[0]);
        return;
    }
    int got = glob_match(&g, s.p, s.n);
    unsigned fuel = 20000;
    if (g.kind != GLOB_NEVER && s.n <= 1024) {
        /* The copy ends in NUL, as the recursion looks one byte ahead. */
        char *copy = xstrndup(p.p, p.n);
        int want = slow_match((struct text){copy, p.n}, s, &fuel);
        free(copy);
        assert(fuel == 0 || got == want);
    } else {
        assert(!got);
    }
    for (size_t i = 0; g.kind == GLOB_CHOICE && i < g.nchoices; i++)
        assert(glob_match(&g, glob_choice(&g, i), g.choices[i].len));
    glob_release(&g);
}

static int check_node(void *ctx, const struct catalog_node *node)
{
    assert(strlen(node->path) == node->path_len && (node->id || node->branch));
    ++*(size_t *)ctx;
    return 0;
}

/* Made once: opening a catalog costs more than all the rest. */
static struct catalog *small_catalog(void)
{
    static const char *const names[] = {"a", "a.b", "a.b.c", "ab.b.b", "b.a{.x", "a-b.[.c", "*.b"};
    static struct catalog *c;
    struct err err = ERR_INIT;
    if (c)
        return c;
    if (catalog_open(&(struct catalog_options){0}, &c, &err) < 0)
        abort();
    for (uint32_t i = 0; i < ARRAY_LEN(names); i++)
        if (catalog_define(c, i + 1, 60000, names[i], strlen(names[i]), &err) < 0)
            abort();
    return c;
}

static void check_tree(struct text p)
{
    struct catalog *c = small_catalog();
    struct err err = ERR_INIT;
    size_t found = 0;
    int rc = catalog_find(c, p.p, p.n, 0, check_node, &found, &err);
    assert(rc == OK || ((rc == ERR_INVALID || rc == ERR_LIMIT) && found == 0));
    if (found > 1)
        assert(catalog_find(c, p.p, p.n, found - 1, check_node, &found, &err) == ERR_LIMIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = memchr(data, 0, size);
    size_t n = nul ? (size_t)(nul - data) : size;
    struct text p = {(const char *)data, n}, s = {(const char *)data + n, 0};
    if (nul)
        s = (struct text){(const char *)nul + 1, size - n - 1};
    check_level(p, s);
    check_tree(p);
    return 0;
}
