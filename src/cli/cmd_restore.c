/* carat restore: makes a data directory from a backup. */
#include "cli/command.h"

#include "backup/restore.h"
#include "cli/answer.h"
#include "cli/options.h"
#include "cli/progress.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: carat restore DIR|- --to DATA_DIR [--generation N] [--quiet]\n"
    "\n"
    "Makes a data directory from a backup and compares every checksum. Start a server on it afterwards:\n"
    "carat serve --set data.dir=DATA_DIR\n"
    "\n"
    "  DIR                    a directory that `carat backup` wrote\n"
    "  -                      read a tar stream of `carat backup -` from stdin\n"
    "      --to DATA_DIR      a new or empty directory; an unfinished restore is begun again\n"
    "      --generation N     the generation in DIR (default the newest)\n"
    "  -q, --quiet            show no progress\n";

enum { OPT_TO = 2, OPT_GENERATION, OPT_QUIET };
static const struct option_spec specs[] = {
    {"to", 0, true, OPT_TO},
    {"generation", 0, true, OPT_GENERATION},
    {"quiet", 'q', false, OPT_QUIET},
    {NULL, 0, false, 0},
};

struct restore_options {
    const char *from, *to;
    uint64_t generation;
    bool quiet;
};

static int take_option(struct restore_options *r, int id, const char *value, struct err *err)
{
    switch (id) {
    case OPTIONS_OPERAND:
        if (r->from)
            return err_set(err, ERR_INVALID, "%.100s: only one backup is expected", value);
        r->from = value;
        return OK;
    case OPT_TO:
        r->to = value;
        return OK;
    case OPT_GENERATION:
        return options_count("generation", value, 1, 999999999999, &r->generation, err);
    case OPT_QUIET:
        r->quiet = true;
        return OK;
    }
    return id;
}

static int read_options(struct restore_options *r, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    int rc = OK, id;
    while (rc == OK && (id = options_next(&o, &value, err)) != OPTIONS_END)
        rc = take_option(r, id, value, err);
    if (rc < 0)
        return rc;
    if (!r->from || !r->to)
        return err_set(err, ERR_INVALID, "%s is missing; `carat help restore` tells all",
                       r->from ? "--to DATA_DIR" : "the backup");
    if (r->generation && !strcmp(r->from, "-"))
        return err_set(err, ERR_INVALID, "a tar stream has only one generation");
    return OK;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct restore_options r = {0};
    struct err err = ERR_INIT;
    struct progress p;
    struct backup_result result;
    char when[32], bytes[16];
    if (read_options(&r, argc, argv, &err) < 0) {
        fprintf(io->err, "carat restore: %s\n", err.text);
        return CLI_USAGE;
    }
    progress_begin(&p, io->err, r.quiet);
    int rc = !strcmp(r.from, "-") ? restore_from_tar(STDIN_FILENO, r.to, &p.io, &result, &err)
                                  : restore_from_dir(r.from, r.generation, r.to, &p.io, &result, &err);
    progress_end(&p);
    if (rc < 0) {
        fprintf(io->err, "carat restore: %s\n", err.text);
        return CLI_FAILED;
    }
    answer_format_time(result.time_ms / 1000, when);
    fprintf(io->out, "restored %" PRIu64 " files, %s, as of %s UTC, to %s\n", result.files,
            progress_bytes(result.bytes, bytes), when, r.to);
    return CLI_GOOD;
}

const struct command command_restore = {"restore", "make a data directory from a backup", usage, run};
