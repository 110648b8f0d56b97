#include "model/retention.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY 86400000ll

static struct retention_rules *parse(const char *text)
{
    struct retention_rules *r;
    struct err err = ERR_INIT;
    if (retention_parse(text, "test.conf", &r, &err) < 0)
        fail_msg("%s", err.text);
    return r;
}

static const struct retention *match(struct retention_rules *r, const char *name)
{
    return retention_match(r, name, strlen(name));
}

static void default_keeps_everything(void **state)
{
    struct retention_rules *r = retention_default();
    const struct retention *x = match(r, "a.b");
    static const struct retention_archive want[] = {
        {60000, 460 * DAY}, {300000, 2 * 365 * DAY}, {3600000, 5 * 365 * DAY}, {86400000, 30 * 365 * DAY}};
    assert_int_equal(x->narchives, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(x->archives[i].step_ms, want[i].step_ms);
        assert_int_equal(x->archives[i].keep_ms, want[i].keep_ms);
    }
    assert_string_equal(x->rule, "default");
    /* What the file says of the shipped default is what the program does. */
    struct retention_rules *same = parse("[all]\npattern = .\nretentions = 60s:460d, 5m:2y, 1h:5y, 1d:30y\n");
    assert_memory_equal(match(same, "a.b")->archives, x->archives, 4 * sizeof x->archives[0]);
    retention_free(same);
    retention_free(r);
}

static void a_step_in_force_keeps_what_fits(void **state)
{
    struct retention_rules *r = retention_default();
    const struct retention *x = match(r, "a.b");
    struct retention own;
    retention_of_step(x, 60000, &own);
    assert_int_equal(own.narchives, 4);
    retention_of_step(x, 300000, &own); /* the series began under other rules */
    assert_int_equal(own.narchives, 3);
    assert_int_equal(own.archives[0].keep_ms, 2 * 365 * DAY);
    assert_int_equal(own.archives[1].step_ms, 3600000);
    retention_of_step(x, 10000, &own);
    assert_int_equal(own.narchives, 5);
    assert_int_equal(own.archives[0].step_ms, 10000);
    assert_int_equal(own.archives[0].keep_ms, 460 * DAY);
    retention_of_step(x, 7000, &own); /* nothing is a multiple of it */
    assert_int_equal(own.narchives, 1);
    retention_of_step(x, 86400000, &own);
    assert_int_equal(own.narchives, 1);
    assert_int_equal(own.archives[0].keep_ms, 30 * 365 * DAY);
    retention_free(r);
}

static void windows_stay_until_no_slot_needs_them(void **state)
{
    struct retention_rules *r = retention_default();
    const struct retention *x = match(r, "a.b");
    assert_int_equal(retention_warm_keep_ms(x, 0), 461 * DAY + 4 * 3600000);
    assert_int_equal(retention_warm_keep_ms(x, 3), (30 * 365 + 1 + 365) * DAY);
    retention_free(r);
}

static void first_match_wins_anywhere_in_the_name(void **state)
{
    struct retention_rules *r = parse("# comment\n"
                                      "[carbon]\n"
                                      "pattern = ^carbon\\.\n"
                                      "retentions = 60:1440\n"
                                      "; another\n"
                                      "\n"
                                      "[cpu]\n"
                                      "pattern: \\.cpu\\.\r\n"
                                      "retentions = 10s:6h, 1m:30d ,1h:5y\n"
                                      "[tags]\n"
                                      "pattern = ;dc=(ams|fra)(;|$)\n"
                                      "retentions=1minute : 2weeks\n"
                                      "[rest]\n"
                                      "pattern = e$\n"
                                      "retentions = 1d:10y");
    assert_string_equal(match(r, "carbon.agents.cpu.x")->rule, "carbon");
    assert_int_equal(match(r, "carbon.x")->archives[0].step_ms, 60000);
    assert_int_equal(match(r, "carbon.x")->archives[0].keep_ms, DAY);
    const struct retention *cpu = match(r, "servers.a.cpu.user");
    assert_string_equal(cpu->rule, "cpu");
    assert_int_equal(cpu->narchives, 3);
    assert_int_equal(cpu->archives[1].step_ms, 60000);
    assert_int_equal(cpu->archives[1].keep_ms, 30 * DAY);
    assert_int_equal(cpu->archives[2].keep_ms, 5 * 365 * DAY);
    assert_string_equal(match(r, "disk.used;dc=fra;host=a")->rule, "tags");
    assert_int_equal(match(r, "x;dc=ams")->archives[0].keep_ms, 14 * DAY);
    assert_string_equal(match(r, "some.base")->rule, "rest");
    assert_string_equal(match(r, "xcarbon.x")->rule, "default");
    assert_string_equal(match(r, "bad\xff utf8")->rule, "default");
    retention_free(r);
}

static void archives_are_sorted_and_cut_to_whole_points(void **state)
{
    struct retention_rules *r = parse("[a]\npattern=.\nretentions=5m:90d,60s:1000s");
    const struct retention *x = match(r, "a");
    assert_int_equal(x->narchives, 2);
    assert_int_equal(x->archives[0].step_ms, 60000);
    assert_int_equal(x->archives[0].keep_ms, 960000);
    assert_int_equal(x->archives[1].step_ms, 300000);
    retention_free(r);
}

static void check_bad(const char *text, const char *want)
{
    struct retention_rules *r;
    struct err err = ERR_INIT;
    int rc = retention_parse(text, "s.conf", &r, &err);
    if (rc == OK)
        fail_msg("accepted: %s", text);
    assert_int_equal(rc, ERR_INVALID);
    if (strncmp(err.text, want, strlen(want)) != 0)
        fail_msg("for %s\n got: %s\nwant: %s", text, err.text, want);
}

static void errors_name_the_line_and_the_fault(void **state)
{
#define A "[a]\npattern = x\n"
    check_bad("pattern = x\n", "s.conf:1: 'pattern' comes before the first section");
    check_bad("\n[a\n", "s.conf:2: '[a' is not a section header");
    check_bad("[]\n", "s.conf:1: '[]' is not a section header");
    check_bad("[a]\nhello\n", "s.conf:2: 'hello' is neither");
    check_bad("[a]\n = x\n", "s.conf:2: '= x' is neither");
    check_bad("[a]\nretentions = 60s:1d\n", "s.conf:1: [a] has no 'pattern'");
    check_bad(A "[b]\n", "s.conf:1: [a] has no 'retentions'");
    check_bad(A, "s.conf:1: [a] has no 'retentions'");
    check_bad("[a]\npattern =\n", "s.conf:2: 'pattern' is empty");
    check_bad("[a]\npattern = a(b\n", "s.conf:2: bad regular expression, at offset 3: missing closing");
    check_bad("[a]\npattern = \xff\n", "s.conf:2: bad regular expression");
    check_bad(A "pattern = y\n", "s.conf:3: 'pattern' is given twice");
    check_bad(A "retentions = 60s:1d\nretentions = 60s:1d\n", "s.conf:4: 'retentions' is given twice");
    check_bad(A "retentions = 60s:1d\n[a]\n", "s.conf:4: section [a] is there already, at line 1");
    check_bad(A "priority = 1\n", "s.conf:3: unknown key 'priority'; known are pattern and retentions");
    check_bad(A "retentions = \n", "s.conf:3: retention '' is not of the form");
    check_bad(A "retentions = 60s\n", "s.conf:3: retention '60s' is not of the form");
    check_bad(A "retentions = 60q:1d\n", "s.conf:3: unknown unit 'q' in '60q'");
    check_bad(A "retentions = 60s:1D\n", "s.conf:3: unknown unit 'D' in '1D'");
    check_bad(A "retentions = :1d\n", "s.conf:3: precision '' does not start with a number");
    check_bad(A "retentions = 60s:d\n", "s.conf:3: duration 'd' does not start with a number");
    check_bad(A "retentions = -1s:1d\n", "s.conf:3: precision '-1s' does not start with a number");
    check_bad(A "retentions = 0s:1d\n", "s.conf:3: precision '0s' is not between");
    check_bad(A "retentions = 2d:1y\n", "s.conf:3: precision '2d' is not between");
    check_bad(A "retentions = 99999999999999999999y:1y\n", "s.conf:3: precision '99999999999999999999y'");
    check_bad(A "retentions = 60s:99999999999999999999y\n",
              "s.conf:3: duration '99999999999999999999y' is over");
    check_bad(A "retentions = 60s:99999999999999999999\n",
              "s.conf:3: duration '99999999999999999999' is over");
    check_bad(A "retentions = 1m:30s\n", "s.conf:3: retention '1m:30s' keeps less than one point");
    check_bad(A "retentions = 60:0\n", "s.conf:3: retention '60:0' keeps less than one point");
    check_bad(A "retentions = 10s:1d,25s:2d\n", "s.conf:3: the precision of 25 s is not a multiple");
    check_bad(A "retentions = 10s:1d,10s:2d\n", "s.conf:3: the precision of 10 s is given twice");
    check_bad(A "retentions = 10s:2d,1m:1d\n", "s.conf:3: the archive of 60 s is not kept longer");
    check_bad(A "retentions = 1s:30s,1m:1d\n", "s.conf:3: the archive of 1 s is too short to fill");
    check_bad(A "retentions = 1s:1h,2s:2h,4s:3h,8s:4h,16s:5h,32s:6h,64s:7h,128s:8h,256s:9h\n",
              "s.conf:3: more than 8 retentions");
}

static void a_pattern_that_explodes_is_given_up(void **state)
{
    struct retention_rules *r = parse("[evil]\npattern = ^(a+)+$\nretentions = 10s:1d\n"
                                      "[rest]\npattern = .\nretentions = 60s:1d\n");
    assert_string_equal(match(r, "aaaa")->rule, "evil");
    char name[1025];
    memset(name, 'a', sizeof name);
    name[1023] = '!';
    name[1024] = 0;
    assert_string_equal(match(r, name)->rule, "rest");
    retention_free(r);
}

static void files_are_loaded_and_refused(void **state)
{
    char path[] = "/tmp/test_retention.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    const char text[] = "[a]\npattern = a\nretentions = 10s:1d\n";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    struct retention_rules *r;
    struct err err = ERR_INIT;
    assert_int_equal(retention_load(path, &r, &err), OK);
    assert_int_equal(match(r, "a")->archives[0].step_ms, 10000);
    retention_free(r);
    assert_int_equal(write(fd, "", 1), 1);
    assert_int_equal(retention_load(path, &r, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, path));
    close(fd);
    unlink(path);
    assert_int_equal(retention_load(path, &r, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_keeps_everything),
        cmocka_unit_test(a_step_in_force_keeps_what_fits),
        cmocka_unit_test(windows_stay_until_no_slot_needs_them),
        cmocka_unit_test(first_match_wins_anywhere_in_the_name),
        cmocka_unit_test(archives_are_sorted_and_cut_to_whole_points),
        cmocka_unit_test(errors_name_the_line_and_the_fault),
        cmocka_unit_test(a_pattern_that_explodes_is_given_up),
        cmocka_unit_test(files_are_loaded_and_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
