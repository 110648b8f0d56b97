#include "backup/backup.h"
#include "backup/restore.h"
#include "backup/snapshots.h"
#include "backup/tar.h"
#include "backup/tree.h"
#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --- manifest --- */

static void sample(struct backup_manifest *m)
{
    *m = (struct backup_manifest){.generation = 7, .time_ms = 1763800000123};
    backup_manifest_add(m, "warm/000012.sst", 33000000)->xxh3 = UINT64_MAX;
    *backup_manifest_add(m, "FORMAT", 13) = (struct backup_file){m->files[1].path, 13, 1, 2, 3};
    backup_manifest_sort(m);
}

static void a_manifest_reads_back(void **state)
{
    struct backup_manifest m, back;
    struct buf text = BUF_INIT;
    struct err err = ERR_INIT;
    sample(&m);
    backup_manifest_encode(&m, &text);
    assert_int_equal(backup_manifest_decode(text.data, text.len, &back, &err), OK);
    assert_int_equal(back.generation, 7);
    assert_int_equal(back.time_ms, 1763800000123);
    assert_int_equal(back.n, 2);
    const struct backup_file *f = backup_manifest_find(&back, "warm/000012.sst");
    assert_non_null(f);
    assert_int_equal(f->size, 33000000);
    assert_true(f->xxh3 == UINT64_MAX);
    f = backup_manifest_find(&back, "FORMAT");
    assert_true(f && f->xxh3 == 1 && f->ends == 2 && f->stored == 3);
    assert_null(backup_manifest_find(&back, "warm/000013.sst"));
    backup_manifest_release(&m);
    backup_manifest_release(&back);
    buf_release(&text);
}

static void any_changed_byte_of_a_manifest_is_noticed(void **state)
{
    struct backup_manifest m, back;
    struct buf text = BUF_INIT;
    sample(&m);
    backup_manifest_encode(&m, &text);
    for (size_t i = 0; i + 1 < text.len; i++) { /* the last byte is the end of the line */
        text.data[i] ^= 1;
        struct err err = ERR_INIT;
        int rc = backup_manifest_decode(text.data, text.len, &back, &err);
        text.data[i] ^= 1;
        backup_manifest_release(&back);
        if (rc == OK)
            fail_msg("byte %zu: changed and taken", i);
    }
    for (size_t n = 0; n + 1 < text.len; n++) {
        struct err err = ERR_INIT;
        assert_int_equal(backup_manifest_decode(text.data, n, &back, &err), ERR_CORRUPT);
        backup_manifest_release(&back);
    }
    backup_manifest_release(&m);
    buf_release(&text);
}

static void paths_stay_inside(void **state)
{
    static const char *const good[] = {"FORMAT", "warm/000012.sst", "a/.b/..c/d...", "a b"};
    static const char *const bad[] = {"",    "/etc/passwd", "..", "a/../b", "a/..",
                                      "./a", "a//b",        "a/", "a\nb",   "\xff"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(backup_path_ok(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (backup_path_ok(bad[i]))
            fail_msg("%s was taken", bad[i]);
    char longest[BACKUP_PATH_MAX + 1];
    memset(longest, 'a', sizeof longest);
    longest[BACKUP_PATH_MAX] = '\0';
    assert_false(backup_path_ok(longest));
    longest[BACKUP_PATH_MAX - 1] = '\0';
    assert_true(backup_path_ok(longest));
}

/* --- tar --- */

static void tar_headers_read_back(void **state)
{
    static const uint64_t sizes[] = {0, 1, 512, 077777777777, 0100000000000, 1ull << 50, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint8_t block[TAR_BLOCK];
        struct tar_entry e = {"warm/000012.sst", sizes[i], 1763800000, '0'}, back;
        struct err err = ERR_INIT;
        tar_encode(block, &e);
        assert_int_equal(tar_decode(block, &back, &err), OK);
        assert_string_equal(back.name, e.name);
        assert_true(back.size == e.size && back.mtime_s == e.mtime_s && back.type == '0');
        block[5] ^= 4;
        assert_int_equal(tar_decode(block, &back, &err), ERR_CORRUPT);
    }
    assert_int_equal(tar_padding(0), 0);
    assert_int_equal(tar_padding(1), 511);
    assert_int_equal(tar_padding(512), 0);
    uint8_t zeros[TAR_BLOCK] = {0};
    struct tar_entry e;
    assert_int_equal(tar_decode(zeros, &e, NULL), 1);
}

/* --- directories --- */

struct place {
    char dir[64], data[80], to[80], back[80];
};

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[PATH_MAX];
    struct err err = ERR_INIT;
    assert_int_equal(tree_join(dir, name, path, &err), OK);
    assert_int_equal(tree_make_parents(path, &err), OK);
    assert_int_equal(tree_write_file(path, text, strlen(text), &err), OK);
}

static void expect_text(const char *dir, const char *name, const char *text)
{
    char path[PATH_MAX];
    struct buf got = BUF_INIT;
    struct err err = ERR_INIT;
    assert_int_equal(tree_join(dir, name, path, &err), OK);
    if (tree_read_file(path, 1 << 20, &got, &err) != OK)
        fail_msg("%s", err.text);
    assert_string_equal(buf_str(&got), text);
    buf_release(&got);
}

static int set_up(void **state)
{
    struct place *p = xcalloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/carat-test-backup-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->data, sizeof p->data, "%s/data", p->dir);
    snprintf(p->to, sizeof p->to, "%s/backup", p->dir);
    snprintf(p->back, sizeof p->back, "%s/back", p->dir);
    write_text(p->data, "FORMAT", "carat data 1\n");
    write_text(p->data, "lock", "1\n");
    write_text(p->data, "warm/000001.sst", "one");
    write_text(p->data, "warm/LOCK", "");
    write_text(p->data, "catalog/catalog.db", "names");
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    struct err err = ERR_INIT;
    assert_int_equal(tree_remove(p->dir, &err), OK);
    free(p);
    return 0;
}

static struct backup_result back_up(struct place *p, unsigned keep)
{
    struct backup_manifest m;
    struct backup_result r;
    struct err err = ERR_INIT;
    assert_int_equal(snapshot_of_idle(p->data, clock_system(), &m, &err), OK);
    if (backup_to_dir(&(struct backup_source){p->data, &m}, p->to, keep, NULL, &r, &err) != OK)
        fail_msg("%s", err.text);
    backup_manifest_release(&m);
    return r;
}

static int restore(struct place *p, uint64_t generation)
{
    struct backup_result r;
    struct err err = ERR_INIT;
    assert_int_equal(tree_remove(p->back, &err), OK);
    return restore_from_dir(p->to, generation, p->back, NULL, &r, &err);
}

static void only_what_is_new_is_copied(void **state)
{
    struct place *p = *state;
    struct backup_result r = back_up(p, 1);
    assert_int_equal(r.generation, 1);
    assert_int_equal(r.files, 3); /* neither lock */
    assert_int_equal(r.copied_files, 3);
    r = back_up(p, 1);
    assert_int_equal(r.generation, 2);
    assert_int_equal(r.copied_files, 0);
    write_text(p->data, "warm/000002.sst", "two");
    write_text(p->data, "catalog/catalog.db", "NAMES"); /* the same size */
    r = back_up(p, 1);
    assert_int_equal(r.copied_files, 2);
    assert_int_equal(restore(p, 0), OK);
    expect_text(p->back, "warm/000001.sst", "one");
    expect_text(p->back, "warm/000002.sst", "two");
    expect_text(p->back, "catalog/catalog.db", "NAMES");
    expect_text(p->back, "FORMAT", "carat data 1\n");
    assert_int_equal(restore(p, 2), ERR_NOT_FOUND); /* only the newest is kept */
}

static void another_table_under_a_known_name_is_copied(void **state)
{
    struct place *p = *state;
    back_up(p, 1);
    write_text(p->data, "warm/000001.sst", "eno"); /* as after a restore of an older backup */
    assert_int_equal(back_up(p, 1).copied_files, 1);
    assert_int_equal(restore(p, 0), OK);
    expect_text(p->back, "warm/000001.sst", "eno");
}

static void generations_are_kept_apart_and_forgotten(void **state)
{
    struct place *p = *state;
    char path[PATH_MAX];
    struct err err = ERR_INIT;
    back_up(p, 2);
    write_text(p->data, "catalog/catalog.db", "second");
    back_up(p, 2);
    assert_int_equal(restore(p, 1), OK);
    expect_text(p->back, "catalog/catalog.db", "names");
    assert_int_equal(restore(p, 2), OK);
    expect_text(p->back, "catalog/catalog.db", "second");
    back_up(p, 2);
    assert_int_equal(restore(p, 1), ERR_NOT_FOUND);
    assert_int_equal(restore(p, 2), OK);
    /* The table of generation 1 is still needed, its catalog is not. */
    expect_text(p->to, "files/000000000001/warm/000001.sst", "one");
    assert_int_equal(tree_join(p->to, "files/000000000001/catalog", path, &err), OK);
    assert_int_equal(access(path, F_OK), -1);
}

static void stop_at_once(void *ctx, const struct backup_progress *at)
{
    atomic_store((_Atomic bool *)ctx, at->files > 1);
}

static void a_backup_that_is_stopped_changes_nothing(void **state)
{
    struct place *p = *state;
    struct backup_manifest m;
    struct backup_result r;
    struct err err = ERR_INIT;
    _Atomic bool cancel = false;
    back_up(p, 1);
    write_text(p->data, "warm/000002.sst", "two");
    write_text(p->data, "warm/000003.sst", "three");
    assert_int_equal(snapshot_of_idle(p->data, clock_system(), &m, &err), OK);
    const struct backup_io io = {stop_at_once, &cancel, &cancel};
    assert_int_equal(backup_to_dir(&(struct backup_source){p->data, &m}, p->to, 1, &io, &r, &err),
                     ERR_CLOSED);
    backup_manifest_release(&m);
    assert_int_equal(backup_verify(p->to, 0, NULL, &r, &err), OK);
    assert_int_equal(r.generation, 1);
    assert_int_equal(back_up(p, 1).copied_files, 2);
}

static void a_lost_or_damaged_manifest_costs_a_full_copy_and_no_more(void **state)
{
    struct place *p = *state;
    back_up(p, 3);
    write_text(p->to, "manifest-000000000001.json", "{}");
    assert_int_equal(restore(p, 0), ERR_CORRUPT);
    struct backup_manifest m;
    struct backup_result r;
    struct err err = ERR_INIT;
    assert_int_equal(snapshot_of_idle(p->data, clock_system(), &m, &err), OK);
    /* What the damaged one names is not known, so nothing can be removed. */
    assert_int_equal(backup_to_dir(&(struct backup_source){p->data, &m}, p->to, 3, NULL, &r, &err),
                     ERR_CORRUPT);
    assert_non_null(strstr(err.text, "the backup is complete"));
    assert_int_equal(r.copied_files, 3);
    backup_manifest_release(&m);
    assert_int_equal(restore(p, 0), OK);
    assert_int_equal(back_up(p, 1).generation, 3);
}

static void a_missing_file_is_named(void **state)
{
    struct place *p = *state;
    char path[PATH_MAX];
    struct backup_result r;
    struct err err = ERR_INIT;
    back_up(p, 1);
    assert_int_equal(tree_join(p->to, "files/000000000001/warm/000001.sst", path, &err), OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(backup_verify(p->to, 0, NULL, &r, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "000001.sst"));
    assert_int_equal(back_up(p, 1).copied_files, 1); /* the next backup mends it */
    assert_int_equal(backup_verify(p->to, 0, NULL, &r, &err), OK);
}

/* --- tar streams, through a file --- */

static FILE *tar_of(struct place *p)
{
    struct backup_manifest m;
    struct backup_result r;
    struct err err = ERR_INIT;
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_int_equal(snapshot_of_idle(p->data, clock_system(), &m, &err), OK);
    assert_int_equal(backup_to_tar(&(struct backup_source){p->data, &m}, fileno(f), NULL, &r, &err), OK);
    assert_int_equal(r.files, 3);
    backup_manifest_release(&m);
    return f;
}

static void a_tar_stream_restores(void **state)
{
    struct place *p = *state;
    struct backup_result r;
    struct err err = ERR_INIT;
    FILE *f = tar_of(p);
    lseek(fileno(f), 0, SEEK_SET);
    assert_int_equal(restore_from_tar(fileno(f), p->back, NULL, &r, &err), OK);
    assert_int_equal(r.files, 3);
    expect_text(p->back, "warm/000001.sst", "one");
    expect_text(p->back, "FORMAT", "carat data 1\n");
    lseek(fileno(f), 0, SEEK_SET);
    assert_int_equal(restore_from_tar(fileno(f), p->back, NULL, &r, &err), ERR_INVALID); /* not empty now */
    fclose(f);
}

/* Wherever it is cut or changed: an error, and no directory that a server would take. */
static void a_damaged_tar_stream_does_not_restore(void **state)
{
    struct place *p = *state;
    struct backup_result r;
    struct stat st;
    char format[PATH_MAX];
    FILE *f = tar_of(p);
    int fd = fileno(f);
    snprintf(format, sizeof format, "%s/FORMAT", p->back);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = 0; at < st.st_size - 2 * TAR_BLOCK; at += 97) {
        uint8_t was, now;
        struct err err = ERR_INIT;
        assert_int_equal(pread(fd, &was, 1, at), 1);
        now = was ^ 0x10;
        assert_int_equal(pwrite(fd, &now, 1, at), 1);
        lseek(fd, 0, SEEK_SET);
        int rc = restore_from_tar(fd, p->back, NULL, &r, &err);
        assert_int_equal(pwrite(fd, &was, 1, at), 1);
        if (rc == OK) /* padding, or a field that says nothing */
            assert_int_equal(was, 0);
        else
            assert_int_equal(access(format, F_OK), -1);
        assert_int_equal(tree_remove(p->back, &err), OK);
    }
    for (off_t size = st.st_size - TAR_BLOCK - 1; size > 0; size -= TAR_BLOCK) {
        struct err err = ERR_INIT;
        assert_int_equal(ftruncate(fd, size), 0);
        lseek(fd, 0, SEEK_SET);
        assert_int_equal(restore_from_tar(fd, p->back, NULL, &r, &err), ERR_CORRUPT);
        assert_int_equal(access(format, F_OK), -1);
    }
    fclose(f);
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_reads_back),
        cmocka_unit_test(any_changed_byte_of_a_manifest_is_noticed),
        cmocka_unit_test(paths_stay_inside),
        cmocka_unit_test(tar_headers_read_back),
        IN_PLACE(only_what_is_new_is_copied),
        IN_PLACE(another_table_under_a_known_name_is_copied),
        IN_PLACE(generations_are_kept_apart_and_forgotten),
        IN_PLACE(a_backup_that_is_stopped_changes_nothing),
        IN_PLACE(a_lost_or_damaged_manifest_costs_a_full_copy_and_no_more),
        IN_PLACE(a_missing_file_is_named),
        IN_PLACE(a_tar_stream_restores),
        IN_PLACE(a_damaged_tar_stream_does_not_restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
