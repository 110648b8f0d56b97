/* Any text as a target over a small source, in every format. The first byte chooses the range and the
 * options. */
#include "query/format.h"
#include "query/query.h"

#include "unit/query_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t ranges[][2] = {{1140, 1740}, {1140, 1200}, {1170, 1171}, {0, 4000}, {3000, 3600}};

static struct mem_source *source(void)
{
    static struct mem_source m;
    static const char *const names[] = {"a.b.c", "a.b.d", "a.x.c", "slow.a", "t;h=1;k=x", "t;h=2;k=y", "e"};
    if (m.n)
        return &m;
    mem_init(&m);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t at = mem_add(&m, names[i], names[i][0] == 's' ? 300 : 60, 1200);
        for (int64_t k = 0; k < 20 && names[i][0] != 'e'; k++)
            if ((k + (int64_t)i) % 4)
                mem_set_point(&m, at, 1200 + k * (names[i][0] == 's' ? 300 : 60), (double)(k * k - 30) / 7);
    }
    return &m;
}

static void format_all(struct query_result *r, unsigned options)
{
    static const char *const names[] = {"csv", "raw", "dygraph", "rickshaw", "pickle", "msgpack", "json"};
    struct format_options o = {.has_max_points = options & 1,
                               .max_points = options >> 4,
                               .no_null_points = options & 2,
                               .meta = options & 4};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf b = BUF_INIT;
        struct err err = ERR_INIT;
        if (format_find(names[i])->write(r, &o, &b, &err) < 0 && !err.text[0])
            abort();
        buf_release(&b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct query_env env = {
        .source = &source()->base,
        .limits = {.max_series = 100, .max_points = 20000, .max_ms = 300, .coarse_from = 1}};
    struct query_result result;
    struct err err = ERR_INIT;
    if (!size)
        return 0;
    char *text = xstrndup((const char *)data + 1, size - 1);
    const char *targets[] = {text};
    const int64_t *range = ranges[data[0] % 5];
    struct query_request q = {
        .targets = targets,
        .ntargets = 1,
        .from_s = range[0],
        .until_s = range[1],
        .now_s = 3500,
        .x_files_factor = data[0] & 8 ? 0.5 : 0,
        .max_points = data[0] & 1 ? data[0] >> 4 : 0,
        .meta = data[0] & 4,
    };
    if (query_run(&env, &q, &result, &err) == OK) {
        format_all(&result, data[0]);
        query_result_release(&result);
    } else if (!err.text[0]) {
        abort();
    }
    free(text);
    return 0;
}
