#include "cli/cli.h"

#include "base/mem.h"
#include "base/nearest.h"

#include <string.h>

static int run_help(const struct cli_io *io, int argc, char **argv);
static int run_version(const struct cli_io *io, int argc, char **argv);

static const struct command command_help = {"help", "explain a command", "usage: carat help [COMMAND]\n",
                                            run_help};
static const struct command command_version = {"version", "print the version", "usage: carat version\n",
                                               run_version};

static const struct command *const commands[] = {
    &command_serve,    &command_agent,   &command_query,     &command_backup, &command_restore,
    &command_replay,   &command_rebuild, &command_retention, &command_verify, &command_cardinality,
    &command_jobs,     &command_cold,    &command_delete,    &command_probe,  &command_cost,
    &command_topology, &command_help,    &command_version,
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    return NULL;
}

static const char *command_name_at(const void *ctx, size_t i)
{
    (void)ctx;
    return i < ARRAY_LEN(commands) ? commands[i]->name : NULL;
}

static void print_commands(FILE *to)
{
    fputs("usage: carat COMMAND [OPTIONS]\n\n", to);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n`carat help COMMAND` tells all about one of them.\n", to);
}

static int unknown_command(const struct cli_io *io, const char *name)
{
    const char *near = nearest_word(name, command_name_at, NULL);
    fprintf(io->err, "carat: unknown command %s", name);
    if (near)
        fprintf(io->err, "; did you mean %s?\n", near);
    else
        fputs("; `carat help` lists all\n", io->err);
    return CLI_USAGE;
}

static int too_many(const struct cli_io *io, const char *name)
{
    fprintf(io->err, "carat %s: too many arguments\n", name);
    return CLI_USAGE;
}

static int run_help(const struct cli_io *io, int argc, char **argv)
{
    if (argc > 2)
        return too_many(io, "help");
    if (argc < 2) {
        print_commands(io->out);
        return CLI_GOOD;
    }
    const struct command *c = find_command(argv[1]);
    if (!c)
        return unknown_command(io, argv[1]);
    fputs(c->usage, io->out);
    return CLI_GOOD;
}

static int run_version(const struct cli_io *io, int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return too_many(io, "version");
    fputs("carat " CARAT_VERSION "\n", io->out);
    return CLI_GOOD;
}

int cli_main(const struct cli_io *io, int argc, char **argv)
{
    if (argc < 2) {
        print_commands(io->err);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    else if (!strcmp(name, "--version"))
        name = "version";
    const struct command *c = find_command(name);
    if (!c)
        return unknown_command(io, name);
    if (argc == 3 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h"))) {
        fputs(c->usage, io->out);
        return CLI_GOOD;
    }
    return c->run(io, argc - 1, argv + 1);
}
