/* carat verify: has a running server check everything it has stored. */
#include "cli/command.h"

#include "base/err.h"
#include "cli/answer.h"
#include "cli/job.h"
#include "cli/options.h"

#include <stdbool.h>
#include <string.h>

static const char usage[] =
    "usage: carat verify [--repair] [--url URL]\n"
    "\n"
    "Has a running server read and check everything it has stored: names, stream, windows and packs. Prints\n"
    "what is damaged. Exits with 0 if nothing is, or if all of it was repaired, else with 1.\n"
    "\n"
    "      --repair     make damaged windows again from the stream, as far as that goes back, and roll-ups\n"
    "                   from the points they were made of\n"
    "  -u, --url URL    the server (default " DEFAULT_URL ")\n";

enum { OPT_REPAIR = 2, OPT_URL };
static const struct option_spec specs[] = {
    {"repair", 0, false, OPT_REPAIR},
    {"url", 'u', true, OPT_URL},
    {NULL, 0, false, 0},
};

static int read_options(bool *repair, const char **url, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    for (int id; (id = options_next(&o, &value, err)) != OPTIONS_END;) {
        if (id < 0)
            return id;
        if (id == OPTIONS_OPERAND)
            return err_set(err, ERR_INVALID, "%.100s: no argument is expected", value);
        if (id == OPT_URL)
            *url = value;
        *repair |= id == OPT_REPAIR;
    }
    return OK;
}

static void print_item(FILE *to, const json_t *item)
{
    const char *tier = json_string_value(json_object_get(item, "tier"));
    const char *series = json_string_value(json_object_get(item, "series"));
    const char *why = json_string_value(json_object_get(item, "why"));
    const json_t *window = json_object_get(item, "window");
    const json_t *partition = json_object_get(item, "partition");
    const char *pack = json_string_value(json_object_get(item, "pack"));
    fprintf(to, "%s", tier ? tier : "?");
    if (pack)
        fprintf(to, " pack %s", pack);
    if (series)
        fprintf(to, " %s", series);
    if (window && json_integer_value(window) >= 0) {
        char text[32];
        answer_format_time(json_integer_value(window), text);
        fprintf(to, ", step %g s, window %s", json_number_value(json_object_get(item, "stepSeconds")), text);
    }
    if (partition)
        fprintf(to, " partition %lld after position %lld", (long long)json_integer_value(partition),
                (long long)json_integer_value(json_object_get(item, "afterPosition")));
    fprintf(to, ": %s%s\n", why ? why : "?",
            json_is_true(json_object_get(item, "repaired")) ? " (repaired)" : "");
}

static void print_items(FILE *to, const json_t *job)
{
    const json_t *result = json_object_get(job, "result");
    const json_t *items = json_object_get(result, "items");
    long long damaged = json_integer_value(json_object_get(result, "damaged"));
    size_t n = json_array_size(items);
    for (size_t i = 0; i < n; i++)
        print_item(to, json_array_get(items, i));
    if (damaged > (long long)n)
        fprintf(to, "and %lld more\n", damaged - (long long)n);
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct err err = ERR_INIT;
    const char *url = DEFAULT_URL;
    bool repair = false;
    if (read_options(&repair, &url, argc, argv, &err) != OK) {
        fprintf(io->err, "carat verify: %s\n", err.text);
        return CLI_USAGE;
    }
    json_t *request = json_pack("{s:s, s:b}", "kind", "verify", "repair", repair), *job = NULL;
    int code = job_follow(io, "verify", url, request, &job);
    print_items(io->out, job);
    json_decref(job);
    json_decref(request);
    return code;
}

const struct command command_verify = {"verify", "check everything that is stored", usage, run};
