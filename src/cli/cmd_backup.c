/* carat backup: asks a running server for a snapshot and copies what is new of it. */
#include "cli/command.h"

#include "backup/snapshots.h"
#include "base/clock.h"
#include "cli/answer.h"
#include "cli/fetch.h"
#include "cli/job.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "server/data_dir.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: carat backup DIR|- [--url URL | --data DATA_DIR] [--keep N] [--quiet]\n"
    "       carat backup --verify DIR [--generation N] [--quiet]\n"
    "       carat backup --job [--url URL]\n"
    "\n"
    "Copies everything a server holds, while it runs: all that was acknowledged before the command\n"
    "began is in the backup. Run it on the server's machine, as a user who may read its data directory.\n"
    "\n"
    "  DIR                    an empty directory or an earlier backup, of which only what is new is copied\n"
    "  -                      write a tar stream to stdout instead\n"
    "  -u, --url URL          the server (default " DEFAULT_URL ")\n"
    "      --data DATA_DIR    back up this data directory, which no server must be using\n"
    "      --keep N           keep the N newest generations in DIR (default 1)\n"
    "      --verify           read a backup and compare every checksum; copies nothing\n"
    "      --generation N     the generation to verify (default the newest)\n"
    "      --job              have the server make a backup into its own backup.dir, and follow it\n"
    "  -q, --quiet            show no progress\n"
    "\n"
    "examples: carat backup /mnt/backup/carat --keep 7\n"
    "          carat backup - | zstd | ssh store 'cat > carat.tar.zst'\n";

enum { OPT_URL = 2, OPT_DATA, OPT_KEEP, OPT_VERIFY, OPT_GENERATION, OPT_JOB, OPT_QUIET };
static const struct option_spec specs[] = {
    {"url", 'u', true, OPT_URL},
    {"data", 0, true, OPT_DATA},
    {"keep", 0, true, OPT_KEEP},
    {"verify", 0, false, OPT_VERIFY},
    {"generation", 0, true, OPT_GENERATION},
    {"job", 0, false, OPT_JOB},
    {"quiet", 'q', false, OPT_QUIET},
    {NULL, 0, false, 0},
};

struct backup_options {
    const char *url, *data, *to;
    uint64_t keep, generation;
    bool verify, job, quiet;
};

static int take_option(struct backup_options *b, int id, const char *value, struct err *err)
{
    switch (id) {
    case OPTIONS_OPERAND:
        if (b->to)
            return err_set(err, ERR_INVALID, "%.100s: only one directory is expected", value);
        b->to = value;
        return OK;
    case OPT_URL:
        b->url = value;
        return OK;
    case OPT_DATA:
        b->data = value;
        return OK;
    case OPT_KEEP:
        return options_count("keep", value, 1, 10000, &b->keep, err);
    case OPT_GENERATION:
        return options_count("generation", value, 1, 999999999999, &b->generation, err);
    case OPT_VERIFY:
        b->verify = true;
        return OK;
    case OPT_JOB:
        b->job = true;
        return OK;
    case OPT_QUIET:
        b->quiet = true;
        return OK;
    }
    return id;
}

static int read_options(struct backup_options *b, int argc, char **argv, struct err *err)
{
    struct options o = {specs, argc, argv, 1, false};
    const char *value;
    int rc = OK, id;
    while (rc == OK && (id = options_next(&o, &value, err)) != OPTIONS_END)
        rc = take_option(b, id, value, err);
    if (rc < 0)
        return rc;
    if (b->job)
        return b->to || b->verify || b->data ? err_set(err, ERR_INVALID, "--job takes nothing but --url")
                                             : OK;
    if (!b->to)
        return err_set(err, ERR_INVALID, "a directory is missing; `carat help backup` has examples");
    if (b->verify && (!strcmp(b->to, "-") || b->url || b->data))
        return err_set(err, ERR_INVALID, "--verify takes a directory and neither --url nor --data");
    if (b->url && b->data)
        return err_set(err, ERR_INVALID, "--url and --data exclude each other");
    return OK;
}

static int copy(const struct backup_options *b, const struct backup_source *from, struct progress *p,
                struct backup_result *out, struct err *err)
{
    return !strcmp(b->to, "-") ? backup_to_tar(from, STDOUT_FILENO, &p->io, out, err)
                               : backup_to_dir(from, b->to, (unsigned)b->keep, &p->io, out, err);
}

/* --- of a running server --- */

struct remote {
    const char *url;
    char id[64], path[PATH_MAX];
};

static void endpoint(const char *url, const char *path, const char *id, struct buf *out)
{
    size_t n = strlen(url);
    while (n && url[n - 1] == '/')
        n--;
    buf_append(out, url, n);
    buf_printf(out, "%s%s%s", path, *id ? "/" : "", id);
}

static int ask_snapshot(struct remote *r, struct err *err)
{
    struct buf url = BUF_INIT;
    struct fetched got;
    endpoint(r->url, "/api/v1/snapshots", "", &url);
    int rc = fetch_send("POST", buf_str(&url), NULL, &got, err);
    if (rc == OK) {
        json_t *root = json_loadb((const char *)got.body.data, got.body.len, 0, NULL);
        const char *id = json_string_value(json_object_get(root, "id"));
        const char *path = json_string_value(json_object_get(root, "path"));
        if (id && path && strlen(id) < sizeof r->id && strlen(path) < sizeof r->path) {
            snprintf(r->id, sizeof r->id, "%s", id);
            snprintf(r->path, sizeof r->path, "%s", path);
        } else {
            rc = err_set(err, ERR_INVALID, "%.300s did not answer as carat does", buf_str(&url));
        }
        json_decref(root);
    }
    fetched_release(&got);
    buf_release(&url);
    return rc;
}

/* If it fails the server removes the snapshot before it makes the next. */
static void drop_snapshot(const struct remote *r)
{
    struct buf url = BUF_INIT;
    struct fetched got;
    struct err ignored;
    endpoint(r->url, "/api/v1/snapshots", r->id, &url);
    (void)!fetch_send("DELETE", buf_str(&url), NULL, &got, &ignored);
    fetched_release(&got);
    buf_release(&url);
}

static int copy_snapshot(const struct backup_options *b, const struct remote *r, struct progress *p,
                         struct backup_result *out, struct err *err)
{
    char root[PATH_MAX + 16];
    struct backup_manifest m;
    int fd, rc = snapshot_use(r->path, &m, &fd, err);
    if (rc == ERR_NOT_FOUND)
        err_prefix(err, "the server's snapshot cannot be read; run this on the server's machine");
    if (rc == OK) {
        snprintf(root, sizeof root, "%s/../..", r->path);
        rc = !strcmp(b->to, "-") ? OK : backup_refuse_inside(root, b->to, err);
        snprintf(root, sizeof root, "%s/" SNAPSHOT_DATA, r->path);
        if (rc == OK)
            rc = copy(b, &(struct backup_source){root, &m}, p, out, err);
        close(fd);
    }
    backup_manifest_release(&m);
    return rc;
}

static int back_up_server(const struct backup_options *b, struct progress *p, struct backup_result *out,
                          struct err *err)
{
    struct remote r = {.url = b->url ? b->url : DEFAULT_URL};
    int rc = ask_snapshot(&r, err);
    if (rc < 0)
        return rc;
    rc = copy_snapshot(b, &r, p, out, err);
    drop_snapshot(&r);
    return rc;
}

/* --- of a data directory --- */

static int back_up_idle(const struct backup_options *b, struct progress *p, struct backup_result *out,
                        struct err *err)
{
    char path[PATH_MAX];
    struct data_dir d = {.lock_fd = -1};
    struct backup_manifest m = {0};
    if (snprintf(path, sizeof path, "%s/FORMAT", b->data) >= PATH_MAX || access(path, F_OK) < 0)
        return err_set(err, ERR_NOT_FOUND, "%.300s is not a data directory of carat", b->data);
    int rc = !strcmp(b->to, "-") ? OK : backup_refuse_inside(b->data, b->to, err);
    if (rc == OK)
        rc = data_dir_open(&d, b->data, err);
    if (rc < 0)
        return rc;
    rc = snapshot_of_idle(b->data, clock_system(), &m, err);
    if (rc == OK)
        rc = copy(b, &(struct backup_source){b->data, &m}, p, out, err);
    backup_manifest_release(&m);
    data_dir_close(&d);
    return rc;
}

static void report(const struct backup_options *b, FILE *to, const struct backup_result *r)
{
    char when[32], all[16], copied[16];
    answer_format_time(r->time_ms / 1000, when);
    progress_bytes(r->bytes, all);
    progress_bytes(r->copied_bytes, copied);
    if (b->verify)
        fprintf(to, "generation %" PRIu64 " of %s UTC is whole: %" PRIu64 " files, %s\n", r->generation, when,
                r->files, all);
    else if (!strcmp(b->to, "-"))
        fprintf(to, "backup of %s UTC: %" PRIu64 " files, %s\n", when, r->files, all);
    else
        fprintf(to, "generation %" PRIu64 " of %s UTC: %" PRIu64 " files, %s; copied %" PRIu64 " files, %s\n",
                r->generation, when, r->files, all, r->copied_files, copied);
}

static int run_job(const struct cli_io *io, const struct backup_options *b)
{
    json_t *request = json_pack("{s:s}", "kind", "backup"), *job = NULL;
    int code = job_follow(io, "backup", b->url ? b->url : DEFAULT_URL, request, &job);
    json_decref(job);
    json_decref(request);
    return code;
}

static int run(const struct cli_io *io, int argc, char **argv)
{
    struct backup_options b = {.keep = 1};
    struct err err = ERR_INIT;
    struct progress p;
    struct backup_result result;
    if (read_options(&b, argc, argv, &err) < 0) {
        fprintf(io->err, "carat backup: %s\n", err.text);
        return CLI_USAGE;
    }
    if (b.job)
        return run_job(io, &b);
    progress_begin(&p, io->err, b.quiet);
    int rc = b.verify ? backup_verify(b.to, b.generation, &p.io, &result, &err)
             : b.data ? back_up_idle(&b, &p, &result, &err)
                      : back_up_server(&b, &p, &result, &err);
    progress_end(&p);
    if (rc < 0)
        fprintf(io->err, "carat backup: %s\n", err.text);
    else
        report(&b, strcmp(b.to, "-") ? io->out : io->err, &result);
    return rc < 0 ? CLI_FAILED : CLI_GOOD;
}

const struct command command_backup = {"backup", "copy all data while the server runs", usage, run};
