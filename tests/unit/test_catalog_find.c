#include "base/hash.h"
#include "base/mem.h"
#include "catalog/catalog.h"
#include "catalog/glob.h"

#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* CARAT_TEST_SEED repeats a run. */
static void seed_random(void)
{
    const char *given = getenv("CARAT_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("# seed %u\n", seed);
    srand(seed);
}

static bool match(const char *pattern, const char *label)
{
    struct glob g;
    struct err err = ERR_INIT;
    if (glob_compile(&g, pattern, strlen(pattern), 0, &err) < 0)
        fail_msg("%s: %s", pattern, err.text);
    bool yes = glob_match(&g, label, strlen(label));
    glob_release(&g);
    return yes;
}

static void yes(const char *pattern, const char *label)
{
    if (!match(pattern, label))
        fail_msg("%s should match %s", pattern, label);
}

static void no(const char *pattern, const char *label)
{
    if (match(pattern, label))
        fail_msg("%s should not match %s", pattern, label);
}

static void globs_match_as_in_graphite(void **state)
{
    yes("web-01", "web-01"), no("web-01", "web-010"), no("web-01", "web-0");
    yes("*", "x"), yes("*", ""), yes("w*b*1", "web-01"), no("w*b*2", "web-01"), yes("web*", "web");
    yes("***", "abc"), yes("a**c", "abc"), no("?*?", "a"), yes("?*?", "ab");
    yes("web-??", "web-01"), no("web-??", "web-1"), no("?", "");
    yes("web-0[13]", "web-03"), no("web-0[13]", "web-02"), yes("[a-c]x", "bx"), no("[a-c]x", "dx");
    yes("web-0[!1]", "web-02"), no("web-0[!1]", "web-01"), yes("[]]", "]"), yes("[!]]", "a"), no("[!]]", "]");
    yes("[a-]", "-"), yes("[-a]", "-"), no("[z-a]", "b"), yes("[*]", "*"), no("[*]", "x"), yes("[{]", "{");
    yes("[a-cx-z0]", "y"), yes("[a-cx-z0]", "0"), no("[a-cx-z0]", "d"), yes("[^a]", "^");
    yes("{web,db}-01", "db-01"), no("{web,db}-01", "app-01"), yes("{a}", "a"), yes("{*}", "any");
    yes("{web-0*,db*}", "db-17"), no("{web-0*,db*}", "web-17"), yes("x{a,ab}{c,bc}", "xabc");
    yes("{a*,b?}[0-9]", "bx1"), no("{a*,b?}[0-9]", "b1"), yes("{[ab],c}d", "bd"), yes("*{1,2}*", "x2y");
    no("web-{0{1,2},3}", "web-3"), no("{a, b}", "b"), yes("{a, b}", "a"), yes("{a, b}", " b");
    no("us{er,}", "us"), no("us{er,}", "user"), no("{}", ""), no("a{}", "a"), no("", "");
    yes("a}b", "a}b"), yes("a]", "a]"), yes("a\\b", "a\\b"), no("a\\b", "ab"), no("web-0{1..3}", "web-02");
    yes("a,b", "a,b"), yes("**", "x");
}

static void long_labels_and_patterns_stay_linear(void **state)
{
    char label[1101], pattern[4001];
    memset(label, 'a', sizeof label);
    label[1024] = 0;
    for (int i = 0; i < 4000; i += 8)
        memcpy(pattern + i, "{a,aa,*}", 8);
    pattern[4000] = 0;
    yes(pattern, label);
    memset(pattern, 0, sizeof pattern);
    for (int i = 0; i < 200; i++)
        strcat(pattern, "*a");
    yes(pattern, label);
    strcat(pattern, "b");
    no(pattern, label);
    yes("*", label), yes("a*a", label), no("a*b", label);
    for (size_t n = 60; n < 70; n++) { /* around a word's edge */
        label[n] = 0;
        yes("*a", label), yes("a*", label), no("a*b", label), yes("*?", label);
        label[n] = 'a';
    }
    label[1024] = 'a', label[1025] = 0;
    no("a*", label);
}

/* Without braces this is POSIX fnmatch, for patterns where both mean the same. */
static void random_globs_agree_with_fnmatch(void **state)
{
    seed_random();
    const char *piece[] = {"a", "b", "ab", "*", "?", "[ab]", "[!a]", "[b-c]", "c"};
    for (int i = 0; i < 50000; i++) {
        char pattern[64] = "", label[16] = "";
        for (int k = rand() % 7 + 1; k > 0; k--)
            strcat(pattern, piece[(size_t)rand() % ARRAY_LEN(piece)]);
        for (int k = rand() % 8; k > 0; k--)
            strcat(label, rand() % 3 == 0 ? "a" : rand() % 2 ? "b" : "c");
        if (match(pattern, label) != (fnmatch(pattern, label, 0) == 0))
            fail_msg("%s against %s", pattern, label);
    }
}

static struct catalog *catalog_of(const char *const *names, size_t n)
{
    struct catalog_options o = {0};
    struct catalog *c;
    struct err err = ERR_INIT;
    assert_int_equal(catalog_open(&o, &c, &err), OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(catalog_define(c, (uint32_t)i + 1, 60000, names[i], strlen(names[i]), &err), OK);
    return c;
}

static int append_node(void *ctx, const struct catalog_node *node)
{
    struct buf *b = ctx;
    assert_int_equal(strlen(node->path), node->path_len);
    buf_printf(b, "%s%s%s%s", b->len ? " " : "", node->path, node->id ? "=" : "", node->branch ? "+" : "");
    return OK;
}

static void check_find(struct catalog *c, const char *pattern, const char *want)
{
    struct buf got = BUF_INIT;
    struct err err = ERR_INIT;
    if (catalog_find(c, pattern, strlen(pattern), 0, append_node, &got, &err) < 0)
        fail_msg("%s: %s", pattern, err.text);
    if (strcmp(buf_str(&got), want) != 0)
        fail_msg("%s\n got: %s\nwant: %s", pattern, buf_str(&got), want);
    buf_release(&got);
}

static const char *const servers[] = {
    "servers.web-2.cpu.user",
    "servers.web-1.cpu.user",
    "servers.web-1.cpu.idle",
    "servers.web-10.cpu.user",
    "servers.db.cpu.user",
    "servers.db.mem",
    "servers",
    "servers.web-1",
    "a.b",
    "a-b.c",
    "a",
    "tagged;host=a",
    "x.x.x.x",
    "servers.db.cpu",
};

static void finds_are_sorted_level_by_level(void **state)
{
    struct catalog *c = catalog_of(servers, ARRAY_LEN(servers));
    check_find(c, "*", "a=+ a-b+ servers=+ x+");
    check_find(c, "*.*", "a.b= a-b.c= servers.db+ servers.web-1=+ servers.web-10+ servers.web-2+ x.x+");
    check_find(
        c, "servers.*.cpu.user",
        "servers.db.cpu.user= servers.web-1.cpu.user= servers.web-10.cpu.user= servers.web-2.cpu.user=");
    check_find(c, "servers.{web-2,web-1,db,web-2}.cpu",
               "servers.db.cpu=+ servers.web-1.cpu+ servers.web-2.cpu+");
    check_find(c, "servers.web-?.cpu.{user,idle,*}",
               "servers.web-1.cpu.idle= servers.web-1.cpu.user= servers.web-2.cpu.user=");
    check_find(c, "servers.db", "servers.db+");
    check_find(c, "servers.db.mem", "servers.db.mem=");
    check_find(c, "nosuch", "");
    check_find(c, "servers.nosuch.*", "");
    check_find(c, "servers.db.mem.*", "");
    check_find(c, "", "");
    check_find(c, "servers.", "");
    check_find(c, ".servers", "");
    check_find(c, "servers..db", "");
    check_find(c, "servers.{db,{web-1}}", "");
    check_find(c, "tagged*", "");
    catalog_free(c);
}

static void deep_levels_find_each_node_once(void **state)
{
    struct catalog *c = catalog_of(servers, ARRAY_LEN(servers));
    check_find(c, "x.**", "x.x+ x.x.x+ x.x.x.x=");
    check_find(c, "**.x", "x.x+ x.x.x+ x.x.x.x=");
    check_find(c, "**.x.**", "x.x.x+ x.x.x.x=");
    check_find(c, "**.**.**",
               "servers.db.cpu=+ servers.db.cpu.user= servers.db.mem= servers.web-1.cpu+ "
               "servers.web-1.cpu.idle= servers.web-1.cpu.user= servers.web-10.cpu+ "
               "servers.web-10.cpu.user= servers.web-2.cpu+ servers.web-2.cpu.user= x.x.x+ "
               "x.x.x.x=");
    check_find(c, "**.{idle,mem}", "servers.db.mem= servers.web-1.cpu.idle=");
    check_find(c, "servers.**.us*",
               "servers.db.cpu.user= servers.web-1.cpu.user= servers.web-10.cpu.user= "
               "servers.web-2.cpu.user=");
    check_find(c, "a*.**", "a.b= a-b.c=");
    catalog_free(c);
}

struct last {
    char path[128];
    size_t n;
};

static int check_ascending(void *ctx, const struct catalog_node *node)
{
    struct last *l = ctx;
    if (l->n++ && strcmp(l->path, node->path) >= 0)
        fail_msg("%s before %s", l->path, node->path);
    snprintf(l->path, sizeof l->path, "%s", node->path);
    return OK;
}

/* Names alike for longer than any sort key, in no order, one the beginning of another. */
static void many_siblings_are_sorted(void **state)
{
    struct catalog *c = catalog_of(NULL, 0);
    struct err err = ERR_INIT;
    char name[128];
    for (uint32_t i = 0; i < 1009; i++) {
        uint32_t k = i * 337 % 1009;
        int len = snprintf(name, sizeof name, "a.host-%s-%.*s%u", k % 2 ? "x" : "long-common-part",
                           (int)(k % 12), "000000000000", k);
        assert_int_equal(catalog_define(c, i + 1, 60000, name, (size_t)len, &err), OK);
    }
    const char *pattern[] = {"a.*", "**", "a.host-*"};
    for (int i = 0; i < 3; i++) {
        struct last l = {"", 0};
        assert_int_equal(catalog_find(c, pattern[i], strlen(pattern[i]), 0, check_ascending, &l, &err), OK);
        assert_int_equal(l.n, i == 1 ? 1010 : 1009);
    }
    catalog_free(c);
}

static int refuse(void *ctx, const struct catalog_node *node)
{
    return --*(int *)ctx == 0 ? 77 : OK;
}

static void limits_and_callbacks_stop(void **state)
{
    struct catalog *c = catalog_of(servers, ARRAY_LEN(servers));
    struct err err = ERR_INIT;
    struct buf got = BUF_INIT;
    const char *pattern[] = {"servers.*", "servers.{db,web-1,web-10,web-2}", "x.**.*"};
    const size_t n[] = {4, 4, 2};
    for (int i = 0; i < 3; i++) {
        buf_clear(&got);
        assert_int_equal(catalog_find(c, pattern[i], strlen(pattern[i]), n[i], append_node, &got, &err), OK);
        buf_clear(&got);
        assert_int_equal(catalog_find(c, pattern[i], strlen(pattern[i]), n[i] - 1, append_node, &got, &err),
                         ERR_LIMIT);
        assert_int_equal(got.len, 0);
    }
    int left = 2;
    assert_int_equal(catalog_find(c, "*", 1, 0, refuse, &left, &err), 77);
    assert_int_equal(left, 0);
    buf_release(&got);
    catalog_free(c);
}

static void bad_patterns_say_where(void **state)
{
    struct catalog *c = catalog_of(servers, ARRAY_LEN(servers));
    const struct {
        const char *pattern, *where;
    } bad[] = {{"[", "'[' at position 1 "},
               {"servers.[", "'[' at position 9 "},
               {"servers.x[a.cpu", "'[' at position 10 "},
               {"servers.{web-01", "'{' at position 9 "},
               {"a.{b,{c}", "'{' at position 3 "},
               {"{a.b}", "'{' at position 1 "},
               {"{a,[b}", "'[' at position 4 "},
               {"a.[!]", "'[' at position 3 "},
               {"a.b.[]", "'[' at position 5 "}};
    struct err err = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int rc = catalog_find(c, bad[i].pattern, strlen(bad[i].pattern), 0, append_node, NULL, &err);
        assert_int_equal(rc, ERR_INVALID);
        if (!strstr(err.text, bad[i].where))
            fail_msg("%s: %s", bad[i].pattern, err.text);
    }
    char *big = xmalloc(70000);
    memset(big, '.', 70000);
    assert_int_equal(catalog_find(c, big, 70000, 0, append_node, NULL, &err), ERR_INVALID);
    assert_int_equal(catalog_find(c, big, 60000, 0, append_node, NULL, &err), OK);
    for (int i = 0; i + 3 <= 70000; i += 3)
        memcpy(big + i, "**.", 3);
    assert_int_equal(catalog_find(c, big, 63 * 3 - 1, 0, append_node, NULL, &err), OK);
    assert_int_equal(catalog_find(c, big, 64 * 3 - 1, 0, append_node, NULL, &err), ERR_LIMIT);
    free(big);
    catalog_free(c);
}

/* Does the path match, level for level? The plain definition, as a recursion. */
static bool path_matches(char **pat, int np, char **lev, int nl)
{
    if (np == 0 || nl == 0)
        return np == nl;
    if (!strcmp(pat[0], "**"))
        return path_matches(pat + 1, np - 1, lev + 1, nl - 1) || path_matches(pat, np, lev + 1, nl - 1);
    return match(pat[0], lev[0]) && path_matches(pat + 1, np - 1, lev + 1, nl - 1);
}

static int split(char *s, char **out)
{
    int n = 0;
    for (char *save, *t = strtok_r(s, ".", &save); t; t = strtok_r(NULL, ".", &save))
        out[n++] = t;
    return n;
}

/* Compares as lists of levels: '.' sorts below every other byte. */
static int cmp_path(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    for (; *x && *x == *y; x++, y++)
        ;
    int p = *x == '.' ? 1 : (uint8_t)*x, q = *y == '.' ? 1 : (uint8_t)*y;
    return p - q;
}

struct expected {
    char **v;
    size_t n, at;
};

static int check_next(void *ctx, const struct catalog_node *node)
{
    struct expected *x = ctx;
    return x->at < x->n && !strcmp(x->v[x->at], node->path) ? (x->at++, OK) : 1;
}

static void random_finds_agree_with_the_definition(void **state)
{
    enum { NAMES = 400 };
    seed_random();
    const char *label[] = {"a", "b", "ab", "a-b", "ba", "aa", "b1", "b2"};
    const char *piece[] = {
        "a", "*", "**", "a*", "?", "{a,b}", "{ab,b*}", "[ab]*", "b", "*b", "{a-b,b1,b2,aa}"};
    struct catalog_options o = {0};
    struct catalog *c;
    struct err err = ERR_INIT;
    assert_int_equal(catalog_open(&o, &c, &err), OK);
    char *paths[NAMES * 5];
    size_t npaths = 0;
    for (int i = 0; i < NAMES; i++) {
        char name[64] = "";
        for (int k = rand() % 5 + 1; k > 0; k--) {
            strcat(name, label[(size_t)rand() % ARRAY_LEN(label)]);
            paths[npaths++] = xstrdup(name);
            strcat(name, k > 1 ? "." : "");
        }
        struct sample s = {
            .name = name, .name_len = (uint32_t)strlen(name), .hash = hash_bytes(name, strlen(name))};
        struct catalog_entry e;
        catalog_resolve(c, &s, 1, &e);
    }
    qsort(paths, npaths, sizeof *paths, cmp_path);
    for (int round = 0; round < 300; round++) {
        char pattern[128] = "", *pat[8], copy[128];
        for (int k = rand() % 4 + 1; k > 0; k--) {
            strcat(pattern, piece[(size_t)rand() % ARRAY_LEN(piece)]);
            strcat(pattern, k > 1 ? "." : "");
        }
        strcpy(copy, pattern);
        int np = split(copy, pat);
        char *want[NAMES * 5];
        struct expected x = {want, 0, 0};
        for (size_t i = 0; i < npaths; i++) {
            char path[64], *lev[8];
            strcpy(path, paths[i]);
            if ((i == 0 || strcmp(paths[i], paths[i - 1])) && path_matches(pat, np, lev, split(path, lev)))
                want[x.n++] = paths[i];
        }
        if (catalog_find(c, pattern, strlen(pattern), 0, check_next, &x, &err) != OK || x.at != x.n)
            fail_msg("%s: result %zu of %zu is wrong", pattern, x.at, x.n);
    }
    for (size_t i = 0; i < npaths; i++)
        free(paths[i]);
    catalog_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_match_as_in_graphite),
        cmocka_unit_test(long_labels_and_patterns_stay_linear),
        cmocka_unit_test(random_globs_agree_with_fnmatch),
        cmocka_unit_test(finds_are_sorted_level_by_level),
        cmocka_unit_test(deep_levels_find_each_node_once),
        cmocka_unit_test(many_siblings_are_sorted),
        cmocka_unit_test(limits_and_callbacks_stop),
        cmocka_unit_test(bad_patterns_say_where),
        cmocka_unit_test(random_finds_agree_with_the_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
