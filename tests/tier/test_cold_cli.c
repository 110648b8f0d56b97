/* `carat cold` on a directory with packs, good and damaged. */
#include "base/mem.h"
#include "cli/cli.h"
#include "codec/codec.h"
#include "cold/cold_files.h"
#include "model/window.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MINUTE 60000u
#define SPAN   14400000ll

struct env {
    char root[64], dir[80];
};

static void add(struct cold *c, uint32_t series, double value, const char *other)
{
    struct cold_add *a;
    struct slots s;
    struct buf block = BUF_INIT;
    slots_init(&s, 240);
    slot_set(s.present, 0);
    slot_set(s.present, 2);
    s.value[0] = value;
    s.value[2] = value + 1;
    codec_encode(&(struct codec_in){s.n, s.present, s.value}, &block);
    if (other)
        buf_clear(&block);
    buf_puts(&block, other ? other : "");
    struct part p = {{series, MINUTE, 10 * SPAN, 5}, 1, block.data, block.len};
    assert_int_equal(cold_add_begin(c, MINUTE, &a, NULL), OK);
    assert_int_equal(cold_add_part(a, &p, NULL), OK);
    assert_int_equal(cold_add_commit(a, NULL), OK);
    buf_release(&block);
}

static int setup(void **state)
{
    struct env *e = xcalloc(1, sizeof *e);
    const char *tmp = getenv("TMPDIR");
    struct cold *c;
    snprintf(e->root, sizeof e->root, "%.40s/carat-cold-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(e->root));
    snprintf(e->dir, sizeof e->dir, "%s/cold", e->root);
    struct cold_files_options o = {.dir = e->dir, .fs = fs_posix(), .create = true};
    assert_int_equal(cold_files_open(&o, &c, NULL), OK);
    add(c, 7, 0.1, NULL);
    add(c, 8, 5, "`roll-up");
    cold_free(c);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct env *e = *state;
    const char *names[] = {"manifest", "0000000000000000.pack", "0000000000000001.pack",
                           "0000000000000009.pack"};
    char path[200];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof path, "%s/%s", e->dir, names[i]);
        unlink(path);
    }
    rmdir(e->dir);
    rmdir(e->root);
    free(e);
    return 0;
}

/* Runs `carat cold WORDS -d DIR`; what it printed must have all of `out` and `err`. */
static void expect(struct env *e, const char *words, int code, const char *out, const char *err)
{
    char line[300], *argv[32], *rest = line, *got_out, *got_err;
    int argc = 0;
    size_t n;
    snprintf(line, sizeof line, "carat cold %s -d %s", words, e->root);
    for (char *w; (w = strsep(&rest, " "));)
        argv[argc++] = w;
    struct cli_io io = {open_memstream(&got_out, &n), open_memstream(&got_err, &n)};
    int got = cli_main(&io, argc, argv);
    fclose(io.out);
    fclose(io.err);
    if (got != code || !strstr(got_out, out) || !strstr(got_err, err))
        fail_msg("%s: exit %d\nout: %s\nerr: %s", words, got, got_out, got_err);
    free(got_out);
    free(got_err);
}

static void good_packs_are_shown(void **state)
{
    struct env *e = *state;
    expect(e, "ls", 0,
           "0000000000000000       60s  1970-01-02 16:00:00  1970-01-02 20:00:00                   7..7      "
           "    1",
           "");
    expect(e, "verify", 0, "2 packs, 2 parts, ", "");
    expect(e, "verify", 0, ": 0 damaged places\n", "");
    expect(e, "cat --series 7 --step 60s", 0, "7 144000 0.1\n7 144120 1.1\n", "");
    expect(e, "cat --pack 0", 0, "7 144000 0.1\n7 144120 1.1\n", "");
    expect(e, "cat --pack 1", 0,
           "# series 8 step 60000 ms window 144000: a block of 8 bytes that holds no points\n", "");
    expect(e, "cat --series 9 --step 60s", 0, "", "");
    expect(e, "cat --pack 5", 1, "", "there is no pack 0000000000000005");
}

static void wrong_usage_is_told(void **state)
{
    struct env *e = *state;
    expect(e, "", 2, "", "expected ls, verify or cat");
    expect(e, "list", 2, "", "list: expected ls, verify or cat");
    expect(e, "ls now", 2, "", "now: no further argument");
    expect(e, "ls --series 5", 2, "", "belong to cat");
    expect(e, "cat", 2, "", "cat needs --series");
    expect(e, "cat --series 7", 2, "", "cat needs --series");
    expect(e, "cat --series x --step 60s", 2, "", "--series x: expected a number");
    expect(e, "cat --series 7 --step 1ms", 2, "", "--step 1ms");
}

static void damage_is_named_and_nothing_is_changed(void **state)
{
    struct env *e = *state;
    char path[200];
    snprintf(path, sizeof path, "%s/0000000000000009.pack", e->dir);
    int fd = open(path, O_CREAT | O_WRONLY, 0600); /* a server is just writing it */
    assert_true(fd >= 0);
    close(fd);
    expect(e, "verify", 0, "0 damaged", "");
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/0000000000000000.pack", e->dir);
    fd = open(path, O_RDWR);
    uint8_t byte;
    off_t at = 50; /* in the run's body */
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    expect(e, "verify", 1,
           "pack 0000000000000000 series 7 window 1970-01-02 16:00:00: run: checksum mismatch\n",
           "1 damaged places");
    expect(e, "cat --series 7 --step 60s", 1, "", "checksum mismatch");
    unlink(path);
    expect(e, "verify", 1, "pack 0000000000000000: ", "1 damaged places");
    expect(e, "cat --series 8 --step 60s", 0, "# series 8", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_packs_are_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_usage_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_named_and_nothing_is_changed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
