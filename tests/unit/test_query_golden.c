/* Replays the recorded answers of a graphite-web 1.1.8, where they are beside the repository
 * (../shared/golden or CARAT_GOLDEN_DIR): every JSON answer must be equal, every refusal a refusal.
 * compare.py there does the same over HTTP, and for the other formats. */
#include "query/api.h"

#include "query_golden.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { ARGS_MAX = 64 };

struct golden {
    struct mem_source source;
    struct query_env env;
    char dir[PATH_MAX - 64];
    unsigned equal, skipped, failed;
};

static double number_of(const json_t *v)
{
    const char *s = json_string_value(v);
    if (!s)
        return json_number_value(v);
    return !strcmp(s, "Infinity") ? INFINITY : !strcmp(s, "-Infinity") ? -INFINITY : NAN;
}

static bool is_number(const json_t *v)
{
    const char *s = json_string_value(v);
    return json_is_number(v) ||
           (s && (!strcmp(s, "NaN") || !strcmp(s, "Infinity") || !strcmp(s, "-Infinity")));
}

/* Relative 1e-9, and 1e-13 of the largest number around for what cancelled out. */
static bool close_to(double a, double b, double scale)
{
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b)) + 1e-13 * scale;
}

static double largest(const json_t *v)
{
    double most = 0;
    size_t i;
    json_t *e;
    if (json_is_number(v))
        return isfinite(json_number_value(v)) ? fabs(json_number_value(v)) : 0;
    json_array_foreach((json_t *)v, i, e) most =
        fmax(most, json_is_array(e) ? largest(json_array_get(e, 0)) : 0);
    return most;
}

static bool ignored(const char *key)
{
    return !strcmp(key, "intervals") || !strcmp(key, "description") || !strcmp(key, "module") ||
           !strcmp(key, "id");
}

static bool same(const json_t *want, const json_t *got, double scale, bool keep_id);

static bool same_objects(const json_t *want, const json_t *got, double scale, bool keep_id)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)want, key, v)
    {
        if (!ignored(key) || (keep_id && !strcmp(key, "id"))) {
            if (!same(v, json_object_get(got, key), scale, keep_id))
                return false;
        }
    }
    json_object_foreach((json_t *)got, key, v) if (!ignored(key) && !json_object_get(want, key)) return false;
    return true;
}

static bool same(const json_t *want, const json_t *got, double scale, bool keep_id)
{
    if (!want || !got)
        return want == got;
    if (is_number(want) && is_number(got))
        return close_to(number_of(want), number_of(got), scale);
    if (json_typeof(want) != json_typeof(got))
        return false;
    if (json_is_object(want))
        return same_objects(want, got, scale, keep_id);
    if (!json_is_array(want))
        return json_equal(want, got);
    if (json_array_size(want) != json_array_size(got))
        return false;
    scale = fmax(scale, largest(want));
    for (size_t i = 0; i < json_array_size(want); i++)
        if (!same(json_array_get(want, i), json_array_get(got, i), scale, keep_id))
            return false;
    return true;
}

/* The names whisper keeps tagged series under are not ours. */
static bool is_hidden(const json_t *v)
{
    const json_t *path = json_object_get(v, "path") ? json_object_get(v, "path") : json_object_get(v, "id");
    const char *s = json_string_value(json_is_object(v) ? path : v);
    return s && !strncmp(s, "_tagged", 7);
}

static void hide(json_t *v)
{
    const char *key;
    json_t *e;
    for (size_t i = json_array_size(v); i--;)
        if (is_hidden(json_array_get(v, i)))
            json_array_remove(v, i);
    json_object_foreach(v, key, e) hide(e);
}

/* Completions of one name come in any order. */
static int by_dump(const void *a, const void *b)
{
    char *x = json_dumps(*(json_t *const *)a, JSON_SORT_KEYS),
         *y = json_dumps(*(json_t *const *)b, JSON_SORT_KEYS);
    int by = strcmp(x, y);
    free(x);
    free(y);
    return by;
}

static void sort_metrics(json_t *answer)
{
    json_t *list = json_object_get(answer, "metrics"), *v[4096];
    size_t n = json_array_size(list);
    if (!n || n > ARRAY_LEN(v))
        return;
    for (size_t i = 0; i < n; i++)
        v[i] = json_incref(json_array_get(list, i));
    qsort(v, n, sizeof v[0], by_dump);
    json_array_clear(list);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, v[i]);
}

/* jansson refuses 1e9999, which stands for infinity. */
static json_t *load_answer(struct buf *body)
{
    struct buf b = BUF_INIT;
    for (const char *p = buf_str(body); *p;) {
        size_t n = !strncmp(p, "-1e9999", 7) ? 7 : !strncmp(p, "1e9999", 6) ? 6 : 0;
        if (n)
            buf_puts(&b, n == 7 ? "\"-Infinity\"" : "\"Infinity\"");
        else
            buf_putc(&b, *p);
        p += n ? n : 1;
    }
    json_t *v = json_loads(buf_str(&b), JSON_DECODE_ANY, NULL);
    buf_release(&b);
    return v;
}

static bool answers_equal(const json_t *r, const char *path, struct buf *body)
{
    json_t *want = json_object_get(r, "answer"), *got = load_answer(body);
    bool metrics = !strncmp(path, "/metrics", 8);
    if (metrics) {
        hide(want);
        hide(got);
        sort_metrics(want);
        sort_metrics(got);
    }
    bool ok = got && same(want, got, 0, metrics);
    json_decref(got);
    return ok;
}

static bool can_compare(const json_t *r, const char *path)
{
    const char *format = json_string_value(json_object_get(r, "format"));
    json_t *params = json_object_get(r, "params");
    for (size_t i = 0; i < json_array_size(params); i++)
        if (!strcmp(json_string_value(json_array_get(json_array_get(params, i), 0)), "jsonp"))
            return false;
    return !json_is_true(json_object_get(r, "crash")) && (!strcmp(format, "json") || strcmp(path, "/render"));
}

static void replay(struct golden *g, const json_t *r)
{
    const char *path = json_string_value(json_object_get(r, "path"));
    json_t *params = json_object_get(r, "params");
    struct api_arg args[ARGS_MAX];
    struct api_reply reply = {.status = 404};
    size_t n = json_array_size(params);
    long long status = json_integer_value(json_object_get(r, "status"));
    if (!can_compare(r, path) || n > ARGS_MAX) {
        g->skipped++;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        json_t *p = json_array_get(params, i);
        args[i] = (struct api_arg){json_string_value(json_array_get(p, 0)),
                                   json_string_value(json_array_get(p, 1))};
    }
    struct api_request q = {.method = json_string_value(json_object_get(r, "method")),
                            .path = path,
                            .args = args,
                            .nargs = n,
                            .now_s = 1795400000};
    api_answer(&g->env, &q, &reply);
    bool ok =
        status == 200 ? reply.status == 200 && answers_equal(r, path, &reply.body) : reply.status >= 400;
    g->equal += ok;
    g->failed += !ok;
    if (!ok && g->failed < 20)
        print_error("#%lld %s %s: status %u\n", (long long)json_integer_value(json_object_get(r, "id")), path,
                    n ? args[0].value : "", reply.status);
    buf_release(&reply.body);
}

static int find_golden(void **state)
{
    struct golden *g = xcalloc(1, sizeof *g);
    char path[PATH_MAX];
    const char *dir = getenv("CARAT_GOLDEN_DIR"), *root = getenv("CARAT_SOURCE_ROOT");
    if (dir)
        snprintf(g->dir, sizeof g->dir, "%s", dir);
    else
        snprintf(g->dir, sizeof g->dir, "%s/../shared/golden", root ? root : ".");
    snprintf(path, sizeof path, "%s/data.txt.gz", g->dir);
    golden_load(&g->source, path);
    g->env.source = &g->source.base;
    *state = g;
    return 0;
}

static int leave_golden(void **state)
{
    struct golden *g = *state;
    if (g->source.n)
        mem_release(&g->source);
    free(g);
    return 0;
}

static void recorded_answers_are_equal(void **state)
{
    struct golden *g = *state;
    char path[PATH_MAX], *line = NULL;
    size_t cap = 0;
    snprintf(path, sizeof path, "%s/given.jsonl.gz", g->dir);
    FILE *f = g->source.n ? golden_open(path) : NULL;
    if (!f) { /* cmocka's skip() is a failure in TAP */
        print_message("# no recorded answers in %s: nothing compared\n", g->dir);
        return;
    }
    while (getline(&line, &cap, f) > 0) {
        json_t *r = json_loads(line, 0, NULL);
        assert_non_null(r);
        replay(g, r);
        json_decref(r);
    }
    free(line);
    pclose(f);
    print_message("# %u equal, %u failed, %u not compared here\n", g->equal, g->failed, g->skipped);
    assert_true(g->equal > 0);
    assert_int_equal(g->failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(recorded_answers_are_equal, find_golden, leave_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
