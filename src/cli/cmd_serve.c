/* carat serve: gathers the configuration and hands it to the server. */
#include "cli/command.h"

#include "base/config.h"
#include "cli/options.h"
#include "server/server.h"

#include <errno.h>
#include <string.h>

#define DEFAULT_FILE "carat.conf"

static const char usage[] =
    "usage: carat serve [-c FILE] [--roles LIST] [--set section.key=value]... [--print-config]\n"
    "\n"
    "Runs the server in the foreground until SIGTERM or SIGINT.\n"
    "\n"
    "  -c, --config FILE          read this file; without it ./" DEFAULT_FILE " if there is one\n"
    "      --set section.key=value  override one key; may be given many times\n"
    "      --roles LIST           all (default), or some of ingest,writer,mover,reader: the same as\n"
    "                             --set server.roles=LIST\n"
    "      --print-config         print every key with its value and where it came from, and exit\n"
    "\n"
    "Log lines go to stderr. Exit code: 0 after a clean stop, 1 if it failed, 2 if the command\n"
    "line or the configuration is wrong.\n";

enum { OPT_CONFIG = 2, OPT_SET, OPT_ROLES, OPT_PRINT };
static const struct option_spec specs[] = {
    {"config", 'c', true, OPT_CONFIG},     {"set", 0, true, OPT_SET}, {"roles", 0, true, OPT_ROLES},
    {"print-config", 0, false, OPT_PRINT}, {NULL, 0, false, 0},
};

static int load_file(struct config *c, const char *path, struct err *err)
{
    int rc = config_load_file(c, path ? path : DEFAULT_FILE, err);
    return rc == ERR_NOT_FOUND && !path ? OK : rc;
}

static int set_roles(struct config *c, const char *list, struct err *err)
{
    char text[128];
    snprintf(text, sizeof text, "server.roles=%s", list);
    return config_set(c, text, err);
}

/* The file first, wherever --config stands, then each --set in order. */
static int gather(struct config *c, int argc, char **argv, bool *print, struct err *err)
{
    const char *value, *path = NULL;
    struct options o = {specs, argc, argv, 1, false};
    for (int id; (id = options_next(&o, &value, err)) != OPTIONS_END;) {
        if (id < 0)
            return id;
        if (id == OPTIONS_OPERAND)
            return err_set(err, ERR_INVALID, "%.100s: no argument is expected", value);
        if (id == OPT_CONFIG)
            path = value;
        *print |= id == OPT_PRINT;
    }
    int rc = load_file(c, path, err);
    o = (struct options){specs, argc, argv, 1, false};
    for (int id; rc == OK && (id = options_next(&o, &value, err)) != OPTIONS_END;)
        if (id == OPT_SET)
            rc = config_set(c, value, err);
        else if (id == OPT_ROLES)
            rc = set_roles(c, value, err);
    return rc;
}

static int print_config(const struct cli_io *io, const struct config *c)
{
    struct buf text = BUF_INIT;
    config_print(c, &text);
    int bad = fwrite(text.data, 1, text.len, io->out) != text.len || fflush(io->out) != 0;
    buf_release(&text);
    return bad ? CLI_FAILED : CLI_GOOD;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct err err = ERR_INIT;
    bool print = false;
    struct config *c = config_new(server_config_keys, server_config_keys_n);
    int rc = gather(c, argc, argv, &print, &err), code;
    if (rc < 0) {
        code = rc == ERR_INVALID || rc == ERR_NOT_FOUND ? CLI_USAGE : CLI_FAILED;
    } else if (print) {
        code = print_config(io, c);
    } else {
        rc = server_run(c, &err);
        code = rc < 0 ? CLI_FAILED : CLI_GOOD;
    }
    if (rc < 0)
        fprintf(io->err, "carat serve: %s\n", err.text);
    config_free(c);
    return code;
}

const struct command command_serve = {"serve", "run the server", usage, run};
