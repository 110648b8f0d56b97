/* Saved dashboards: what is taken, what comes back after a restart, and who wins. */
#include "http/dashboards.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char web[] = "{\"title\":\"Web\",\"panels\":[{\"title\":\"CPU\",\"targets\":[\"a.b\"]}]}";
static const char web2[] = "{\"title\":\"Web 2\",\"panels\":[]}";

struct fixture {
    char dir[64];
    struct dashboards *d;
    struct fs broken; /* fs_posix, but nothing can be renamed */
    struct fs_ops ops;
};

static int no_rename(struct fs *fs, const char *from, const char *to, struct err *err)
{
    return err_set(err, ERR_IO, "no renaming today");
}

static int set_up(void **state)
{
    struct err err = ERR_INIT;
    struct fixture *f = xcalloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/carat-test-dashboards-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(dashboards_open(fs_posix(), f->dir, &f->d, &err), OK);
    f->ops = *fs_posix()->ops;
    f->ops.rename = no_rename;
    f->broken.ops = &f->ops;
    *state = f;
    return 0;
}

static int remove_name(void *ctx, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", (const char *)ctx, name);
    return unlink(path);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    dashboards_free(f->d);
    assert_int_equal(fs_list(fs_posix(), f->dir, remove_name, f->dir, NULL), OK);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static void reopen(struct fixture *f, struct fs *fs)
{
    dashboards_free(f->d);
    assert_int_equal(dashboards_open(fs, f->dir, &f->d, NULL), OK);
}

static int put(struct fixture *f, const char *id, const char *json, const char *expected)
{
    char tag[DASHBOARD_TAG_SIZE];
    return dashboards_put(f->d, id, json, strlen(json), expected, tag, NULL);
}

static void expect(struct fixture *f, const char *id, const char *json)
{
    struct buf b = BUF_INIT;
    char tag[DASHBOARD_TAG_SIZE];
    int rc = dashboards_get(f->d, id, &b, tag, NULL);
    if (!json) {
        assert_int_equal(rc, ERR_NOT_FOUND);
        return;
    }
    assert_int_equal(rc, OK);
    assert_string_equal(buf_str(&b), json);
    buf_release(&b);
}

static void write_file(struct fixture *f, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void what_was_put_is_there_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct buf list = BUF_INIT;
    assert_int_equal(put(f, "web", web, NULL), OK);
    assert_int_equal(put(f, "a", web, NULL), OK);
    assert_int_equal(put(f, "web", web2, NULL), OK);
    assert_int_equal(put(f, "b", web, NULL), OK);
    assert_int_equal(dashboards_delete(f->d, "b", NULL), OK);
    assert_int_equal(dashboards_delete(f->d, "b", NULL), ERR_NOT_FOUND);
    for (int i = 0; i < 2; i++) {
        expect(f, "web", web2);
        expect(f, "a", web);
        expect(f, "b", NULL);
        dashboards_list(f->d, &list);
        assert_string_equal(buf_str(&list), "{\"dashboards\":[{\"id\":\"a\",\"title\":\"Web\",\"panels\":1},"
                                            "{\"id\":\"web\",\"title\":\"Web 2\",\"panels\":0}]}");
        buf_clear(&list);
        reopen(f, fs_posix());
    }
    buf_release(&list);
}

static void a_write_that_fails_leaves_the_old_one(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, "web", web, NULL), OK);
    reopen(f, &f->broken);
    assert_int_equal(put(f, "web", web2, NULL), ERR_IO);
    expect(f, "web", web);
    reopen(f, fs_posix());
    expect(f, "web", web);
}

static void files_that_are_none_are_left_alone(void **state)
{
    struct fixture *f = *state;
    write_file(f, "torn.json", "{\"title\":\"a\",");
    write_file(f, "new.tmp", web);
    write_file(f, "UPPER.json", web);
    write_file(f, "good.json", web);
    reopen(f, fs_posix());
    expect(f, "good", web);
    expect(f, "torn", NULL);
    expect(f, "new", NULL);
    expect(f, "UPPER", NULL);
    assert_int_equal(put(f, "torn", web2, NULL), OK);
    expect(f, "torn", web2);
}

static void who_has_not_seen_the_last_change_is_told(void **state)
{
    struct fixture *f = *state;
    char tag[DASHBOARD_TAG_SIZE], later[DASHBOARD_TAG_SIZE];
    assert_int_equal(put(f, "web", web, "0123456789abcdef"), ERR_LOCKED);
    assert_int_equal(dashboards_put(f->d, "web", web, strlen(web), "", tag, NULL), OK);
    assert_int_equal(put(f, "web", web, ""), ERR_LOCKED);
    assert_int_equal(dashboards_put(f->d, "web", web2, strlen(web2), tag, later, NULL), OK);
    assert_int_equal(put(f, "web", web, tag), ERR_LOCKED);
    expect(f, "web", web2);
}

static void expect_refused(const char *json, const char *why)
{
    struct err err = ERR_INIT;
    assert_int_equal(dashboard_check(json, strlen(json), NULL, NULL, NULL, &err), ERR_INVALID);
    if (!strstr(err.text, why))
        fail_msg("%s: %s", json, err.text);
}

static void mistakes_are_named(void **state)
{
    struct fixture *f = *state;
    expect_refused("", "not JSON");
    expect_refused("[]", "not an object");
    expect_refused("{\"panels\":[]}", "\"title\" is missing");
    expect_refused("{\"title\":\"\",\"panels\":[]}", "empty");
    expect_refused("{\"title\":3,\"panels\":[]}", "\"title\" is not a string");
    expect_refused("{\"title\":\"a\",\"panels\":[],\"color\":1}", "unknown key \"color\"");
    expect_refused("{\"title\":\"a\",\"panels\":[{\"title\":\"b\",\"targets\":[]},7]}", "panel 2 is not");
    expect_refused("{\"title\":\"a\",\"panels\":[{\"title\":\"b\",\"targets\":[\"c\",{}]}]}", "target 2");
    expect_refused("{\"title\":\"a\",\"panels\":[{\"title\":\"b\",\"targets\":[],\"width\":4}]}", "1 to 3");
    static const char *const ids[] = {"", "a/b", "..", "A", "a b"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        assert_int_equal(put(f, ids[i], web, NULL), ERR_INVALID);
}

static void bounds_hold(void **state)
{
    struct fixture *f = *state;
    struct buf large = BUF_INIT;
    char id[20];
    buf_puts(&large, web2);
    while (large.len <= DASHBOARD_BYTES_MAX)
        buf_putc(&large, ' ');
    assert_int_equal(put(f, "large", buf_str(&large), NULL), ERR_INVALID);
    buf_release(&large);
    for (int i = 0; i < DASHBOARDS_MAX; i++) {
        snprintf(id, sizeof id, "d%d", i);
        assert_int_equal(put(f, id, web2, NULL), OK);
    }
    assert_int_equal(put(f, "more", web2, NULL), ERR_LIMIT);
    assert_int_equal(put(f, "d7", web, NULL), OK);
    assert_int_equal(dashboards_delete(f->d, "d7", NULL), OK);
    assert_int_equal(put(f, "more", web2, NULL), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_is_there_after_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_write_that_fails_leaves_the_old_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_that_are_none_are_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_not_seen_the_last_change_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bounds_hold, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
