/* carat cardinality: which prefixes have the most series. */
#include "cli/command.h"

#include "base/err.h"
#include "cli/fetch.h"
#include "cli/job.h"
#include "cli/options.h"

#include <string.h>

static const char usage[] =
    "usage: carat cardinality [--depth N] [--top K] [--url URL]\n"
    "\n"
    "Prints the prefixes of a running server's series that have the most of them: for one level of\n"
    "the path, for two, and so on.\n"
    "\n"
    "      --depth N    levels, at most 16 (default 2)\n"
    "      --top K      prefixes a depth, at most 1000 (default 20)\n"
    "  -u, --url URL    the server (default " DEFAULT_URL ")\n";

enum { OPT_DEPTH = 2, OPT_TOP, OPT_URL };
static const struct option_spec specs[] = {
    {"depth", 0, true, OPT_DEPTH},
    {"top", 0, true, OPT_TOP},
    {"url", 'u', true, OPT_URL},
    {NULL, 0, false, 0},
};

struct cardinality_command {
    const char *url, *depth, *top;
};

static int read_options(struct cardinality_command *c, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    for (int id; (id = options_next(&o, &value, err)) != OPTIONS_END;) {
        if (id < 0)
            return id;
        if (id == OPTIONS_OPERAND)
            return err_set(err, ERR_INVALID, "%.100s: no argument is expected", value);
        if (id == OPT_URL) {
            c->url = value;
            continue;
        }
        if (!*value || strspn(value, "0123456789") != strlen(value) || strlen(value) > 4)
            return err_set(err, ERR_INVALID, "--%s %.40s: expected a small number",
                           id == OPT_DEPTH ? "depth" : "top", value);
        *(id == OPT_DEPTH ? &c->depth : &c->top) = value;
    }
    return OK;
}

static int print_answer(const struct cli_io *io, const struct fetched *got, struct err *err)
{
    json_t *root = json_loadb((const char *)got->body.data, got->body.len, 0, NULL);
    const json_t *depths = json_object_get(root, "depths");
    if (!json_is_array(depths)) {
        json_decref(root);
        return err_set(err, ERR_INVALID, "the answer is not what /api/v1/cardinality gives");
    }
    fprintf(io->out, "%lld series\n", (long long)json_integer_value(json_object_get(root, "series")));
    if (json_is_false(json_object_get(root, "complete")))
        fprintf(io->err, "carat cardinality: there was no time or room to count all of them\n");
    for (size_t d = 0; d < json_array_size(depths); d++) {
        const json_t *depth = json_array_get(depths, d), *top = json_object_get(depth, "top");
        fprintf(io->out, "\ndepth %zu: %lld prefixes\n", d + 1,
                (long long)json_integer_value(json_object_get(depth, "prefixes")));
        for (size_t i = 0; i < json_array_size(top); i++) {
            const json_t *p = json_array_get(top, i);
            const char *prefix = json_string_value(json_object_get(p, "prefix"));
            fprintf(io->out, "%10lld  %s\n", (long long)json_integer_value(json_object_get(p, "series")),
                    prefix ? prefix : "?");
        }
    }
    json_decref(root);
    return OK;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct cardinality_command c = {DEFAULT_URL, "2", "20"};
    struct buf url = BUF_INIT;
    struct fetched got = {0, BUF_INIT, BUF_INIT};
    int code = CLI_USAGE, rc = read_options(&c, argc, argv, &err);
    if (rc == OK) {
        code = CLI_FAILED;
        job_url(c.url, "/api/v1/cardinality", &url);
        buf_printf(&url, "?depth=%s&top=%s", c.depth, c.top);
        rc = fetch_get(buf_str(&url), &got, &err);
    }
    if (rc == OK)
        rc = print_answer(io, &got, &err);
    if (rc < 0)
        fprintf(io->err, "carat cardinality: %s\n", err.text);
    fetched_release(&got);
    buf_release(&url);
    return rc < 0 ? code : CLI_GOOD;
}

const struct command command_cardinality = {"cardinality", "which prefixes have the most series", usage, run};
