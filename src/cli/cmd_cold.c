/* carat cold: looks at the cold tier's packs in the data directory, also while a server runs. */
#include "cli/command.h"

#include "base/config.h"
#include "base/mem.h"
#include "cli/answer.h"
#include "cli/options.h"
#include "codec/part_sum.h"
#include "cold/cold_files.h"
#include "query/query.h"
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_FILE "carat.conf"

static const char usage[] =
    "usage: carat cold ls [-d DIR | -c FILE]\n"
    "       carat cold verify [-d DIR | -c FILE]\n"
    "       carat cold cat (--series ID --step STEP | --pack PACK) [-d DIR | -c FILE]\n"
    "\n"
    "Looks at the packs of old data, in data.dir/cold. Nothing is changed; a server may be running.\n"
    "\n"
    "  ls        lists the packs: step, time, series ids, parts, bytes, bytes a point\n"
    "  verify    reads everything and checks every checksum; exit code 1 if anything is damaged, with a\n"
    "            line for each place\n"
    "  cat       prints the points of a series or of a pack, a line each: series id, time in seconds, value\n"
    "\n"
    "  -d, --data DIR       the data directory; without it what the configuration says\n"
    "  -c, --config FILE    read data.dir from this file; without it ./" DEFAULT_FILE " if there is one\n"
    "      --series ID      a series' number in the catalog\n"
    "      --step STEP      its step, for example 60s\n"
    "      --pack PACK      a pack as ls names it\n";

enum { OPT_DATA = 2, OPT_CONFIG, OPT_SERIES, OPT_STEP, OPT_PACK };
static const struct option_spec specs[] = {
    {"data", 'd', true, OPT_DATA}, {"config", 'c', true, OPT_CONFIG}, {"series", 0, true, OPT_SERIES},
    {"step", 0, true, OPT_STEP},   {"pack", 0, true, OPT_PACK},       {NULL, 0, false, 0},
};

struct cold_command {
    const struct cli_io *io;
    const char *what, *data, *config;
    bool has_series, has_pack;
    uint64_t series, pack;
    int64_t step_ms;
    /* cat: the window that is being collected */
    struct part_sum window;
    uint64_t found; /* verify: damaged places */
};

/* --- options --- */

static int read_number(const char *option, const char *text, int base, uint64_t max, uint64_t *out,
                       struct err *err)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, base);
    if (!*text || *text == '-' || *end || errno || *out > max)
        return err_set(err, ERR_INVALID, "%s %.40s: expected a number", option, text);
    return OK;
}

static int take_option(struct cold_command *c, int id, const char *value, struct err *err)
{
    switch (id) {
    case OPTIONS_OPERAND:
        if (c->what)
            return err_set(err, ERR_INVALID, "%.100s: no further argument is expected", value);
        c->what = value;
        return OK;
    case OPT_DATA:
        c->data = value;
        return OK;
    case OPT_CONFIG:
        c->config = value;
        return OK;
    case OPT_SERIES:
        c->has_series = true;
        return read_number("--series", value, 10, UINT32_MAX, &c->series, err);
    case OPT_PACK:
        c->has_pack = true;
        return read_number("--pack", value, 16, UINT64_MAX, &c->pack, err);
    case OPT_STEP:
        if (config_parse_duration(value, &c->step_ms) < 0 || c->step_ms < STEP_MIN_MS ||
            c->step_ms > STEP_MAX_MS)
            return err_set(err, ERR_INVALID, "--step %.40s: expected a step such as 60s", value);
        return OK;
    }
    return id;
}

static int check_options(const struct cold_command *c, struct err *err)
{
    if (!c->what || (strcmp(c->what, "ls") && strcmp(c->what, "verify") && strcmp(c->what, "cat")))
        return err_set(err, ERR_INVALID, "%.40s: expected ls, verify or cat", c->what ? c->what : "no word");
    bool cat = !strcmp(c->what, "cat");
    if (!cat && (c->has_series || c->has_pack || c->step_ms))
        return err_set(err, ERR_INVALID, "--series, --step and --pack belong to cat");
    if (cat && (c->has_series == c->has_pack || c->has_series != (c->step_ms > 0)))
        return err_set(err, ERR_INVALID, "cat needs --series ID --step STEP, or --pack PACK");
    return OK;
}

static int read_options(struct cold_command *c, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    int rc = OK, id;
    while (rc == OK && (id = options_next(&o, &value, err)) != OPTIONS_END)
        rc = take_option(c, id, value, err);
    return rc == OK ? check_options(c, err) : rc;
}

static int find_dir(const struct cold_command *c, char dir[PATH_MAX], struct err *err)
{
    struct config *config = config_new(server_config_keys, server_config_keys_n);
    int rc = OK;
    if (!c->data) {
        rc = config_load_file(config, c->config ? c->config : DEFAULT_FILE, err);
        rc = rc == ERR_NOT_FOUND && !c->config ? OK : rc;
    }
    if (rc == OK &&
        snprintf(dir, PATH_MAX, "%s/cold", c->data ? c->data : config_string(config, "data.dir")) >= PATH_MAX)
        rc = err_set(err, ERR_INVALID, "the data directory's path is too long");
    config_free(config);
    return rc;
}

/* --- ls --- */

static int print_pack(void *ctx, const struct pack_info *p)
{
    struct cold_command *c = ctx;
    char from[32], until[32], series[32], per_point[32] = "-";
    answer_format_time(p->from_ms / 1000, from);
    answer_format_time(p->until_ms / 1000, until);
    snprintf(series, sizeof series, "%u..%u", p->min_series, p->max_series);
    if (p->points)
        snprintf(per_point, sizeof per_point, "%.3f", (double)p->bytes / (double)p->points);
    fprintf(c->io->out, "%016" PRIx64 " %8us  %s  %s  %21s %10" PRIu64 " %12" PRIu64 " %8s\n", p->id,
            p->step_ms / 1000, from, until, series, p->parts, p->bytes, per_point);
    return 0;
}

static int list_packs(struct cold_command *c, struct cold *cold)
{
    fprintf(c->io->out, "%-16s %9s  %-19s  %-19s  %21s %10s %12s %8s\n", "PACK", "STEP", "FROM", "UNTIL",
            "SERIES", "PARTS", "BYTES", "B/POINT");
    cold_list(cold, print_pack, c);
    return OK;
}

/* --- verify --- */

static void print_damage(void *ctx, const struct cold_damage *d)
{
    struct cold_command *c = ctx;
    char window[32];
    c->found++;
    fprintf(c->io->out, "pack %016" PRIx64, d->pack);
    if (d->in_page) {
        answer_format_time(d->window_ms / 1000, window);
        fprintf(c->io->out, " series %u window %s", d->series, window);
    }
    fprintf(c->io->out, ": %s\n", d->why.text);
}

static int verify(struct cold_command *c, struct cold *cold, struct err *err)
{
    struct cold_verify_ctx v = {.ctx = c, .damage = print_damage};
    struct cold_stats s;
    int rc = cold_verify(cold, &v, err);
    cold_get_stats(cold, &s);
    fprintf(c->io->out,
            "%" PRIu64 " packs, %" PRIu64 " parts, %" PRIu64 " bytes: %" PRIu64 " damaged places\n", s.packs,
            s.parts, s.bytes, c->found);
    return rc;
}

/* --- cat --- */

static void print_value(struct cold_command *c, double v)
{
    char text[32];
    if (isfinite(v))
        query_format_double(v, text);
    else
        snprintf(text, sizeof text, "%g", v);
    fprintf(c->io->out, " %s\n", text);
}

static void print_window(struct cold_command *c)
{
    const struct part_sum *w = &c->window;
    if (!w->parts)
        return;
    for (uint32_t i = 0; i < w->slots.n; i++)
        if (slot_get(w->slots.present, i)) {
            int64_t ms = w->key.window_ms + (int64_t)i * w->key.step_ms;
            fprintf(c->io->out, "%u %" PRId64, w->key.series, ms / 1000);
            if (ms % 1000)
                fprintf(c->io->out, ".%03d", (int)(ms % 1000));
            print_value(c, w->slots.value[i]);
        }
    c->window.parts = 0;
}

static int cat_part(void *ctx, const struct part *p)
{
    struct cold_command *c = ctx;
    const struct part_key *k = &c->window.key;
    struct err err = ERR_INIT;
    if (c->window.parts && (k->series != p->key.series || k->window_ms != p->key.window_ms))
        print_window(c);
    if (!block_is_codecs(p)) {
        fprintf(c->io->out,
                "# series %u step %u ms window %" PRId64 ": a block of %zu bytes that holds no points\n",
                p->key.series, p->key.step_ms, p->key.window_ms / 1000, p->size);
        return 0;
    }
    if (!c->window.parts)
        part_sum_init(&c->window, &p->key);
    if (part_sum_add(&c->window, p, &err) < 0)
        fprintf(c->io->err, "carat cold: series %u window %" PRId64 ": %s\n", p->key.series,
                p->key.window_ms / 1000, err.text);
    return 0;
}

static int cat(struct cold_command *c, struct cold *cold, struct err *err)
{
    int rc = c->has_pack
                 ? cold_read_pack(cold, c->pack, cat_part, c, err)
                 : cold_read(cold, (uint32_t)c->series, (uint32_t)c->step_ms, 0, INT64_MAX, cat_part, c, err);
    print_window(c);
    return rc;
}

/* --- all of it --- */

static int look(struct cold_command *c, const char *dir, struct err *err)
{
    struct cold_files_options o = {.cold = {.read_only = true}, .dir = dir, .fs = fs_posix()};
    struct cold *cold;
    int rc = cold_files_open(&o, &cold, err);
    if (rc < 0)
        return rc;
    if (!strcmp(c->what, "ls"))
        rc = list_packs(c, cold);
    else if (!strcmp(c->what, "verify"))
        rc = verify(c, cold, err);
    else
        rc = cat(c, cold, err);
    if (rc == OK && fflush(c->io->out) != 0)
        rc = err_set(err, ERR_IO, "cannot write the answer");
    cold_free(cold);
    return rc;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct cold_command *c = xcalloc(1, sizeof *c); /* holds a window: large for a stack */
    struct err err = ERR_INIT;
    char dir[PATH_MAX];
    c->io = io;
    int rc = read_options(c, argc, argv, &err);
    if (rc == OK)
        rc = find_dir(c, dir, &err);
    int code = rc < 0 ? CLI_USAGE : CLI_FAILED;
    if (rc == OK)
        rc = look(c, dir, &err);
    if (rc < 0)
        fprintf(io->err, "carat cold: %s\n", err.text);
    free(c);
    return rc < 0 ? code : CLI_GOOD;
}

const struct command command_cold = {"cold", "look at the packs of old data", usage, run};
