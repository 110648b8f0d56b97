/* The conformance suite over every stream backend that needs no server: test_stream mem|log|log-sim */
#include "base/mem.h"
#include "fault/sim_fs.h"
#include "stream/stream_log.h"
#include "stream/stream_mem.h"
#include "tier/stream_suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES (64u << 10)

static struct stream *open_mem(struct stream_backend *b, unsigned partitions, struct clock *clock)
{
    return stream_mem_new(partitions, BUFFER_BYTES, clock);
}

static void clean_nothing(struct stream_backend *b) {}

/* Small segments and a small cache, so that the files are read too. */
static struct stream *open_log(struct fs *fs, const char *dir, unsigned partitions, struct clock *clock)
{
    const struct stream_log_options o = {.dir = dir,
                                         .partitions = partitions,
                                         .segment_bytes = 128u << 10,
                                         .buffer_bytes = BUFFER_BYTES,
                                         .tail_bytes = 32u << 10,
                                         .fs = fs,
                                         .clock = clock};
    struct stream *s = NULL;
    struct err err = ERR_INIT;
    if (stream_log_open(&o, &s, &err) < 0)
        fprintf(stderr, "%s\n", err.text);
    return s;
}

static int remove_name(void *ctx, const char *name);

static void remove_tree(const char *path)
{
    struct err err;
    if (unlink(path) < 0) {
        (void)!fs_list(fs_posix(), path, remove_name, (void *)path, &err);
        rmdir(path);
    }
}

static int remove_name(void *ctx, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", (const char *)ctx, name);
    remove_tree(path);
    return 0;
}

static struct stream *open_real(struct stream_backend *b, unsigned partitions, struct clock *clock)
{
    char dir[] = "/tmp/carat-test-stream-XXXXXX";
    if (!mkdtemp(dir))
        return NULL;
    b->ctx = xstrdup(dir);
    return open_log(fs_posix(), dir, partitions, clock);
}

static void clean_real(struct stream_backend *b)
{
    if (b->ctx)
        remove_tree(b->ctx);
    free(b->ctx);
    b->ctx = NULL;
}

static struct stream *open_sim(struct stream_backend *b, unsigned partitions, struct clock *clock)
{
    b->ctx = sim_fs_new(1);
    return open_log(sim_fs_base(b->ctx), SIM_ROOT "/log", partitions, clock);
}

static void clean_sim(struct stream_backend *b)
{
    sim_fs_free(b->ctx);
}

int main(int argc, char **argv)
{
    struct stream_backend backends[] = {{.name = "mem", .open = open_mem, .clean = clean_nothing},
                                        {.name = "log", .open = open_real, .clean = clean_real},
                                        {.name = "log-sim", .open = open_sim, .clean = clean_sim}};
    int failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        if (argc < 2 || strcmp(argv[1], backends[i].name) == 0)
            failed += stream_suite_run(&backends[i]);
    return failed ? 1 : 0;
}
