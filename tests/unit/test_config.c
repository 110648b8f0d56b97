#include "base/config.h"
#include "base/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct config_key keys[] = {
    {"data.dir", CONFIG_PATH, "./data", "Where.", false, 0, 0},
    {"http.listen", CONFIG_STRING, "127.0.0.1:8012", "Door.", false, 0, 0},
    {"http.threads", CONFIG_INT, "2", "Threads.", false, 1, 64},
    {"http.max_body", CONFIG_SIZE, "16M", "Bound.", false, 0, 0},
    {"graphite.udp", CONFIG_BOOL, "true", "UDP too.", false, 0, 0},
    {"stream.keep", CONFIG_DURATION, "24h", "Kept.", false, 0, 0},
    {"api.key", CONFIG_STRING, "", "Key.", true, 0, 0},
};

static struct config *fresh(void **state)
{
    config_free(*state);
    return *state = config_new(keys, sizeof keys / sizeof *keys);
}

static int teardown(void **state)
{
    config_free(*state);
    return 0;
}

/* Loads `text` from a file; the message, with the file's own path taken off its front, lands in `message`. */
static int load(struct config *c, const char *text, char message[512])
{
    char path[] = "/tmp/carat-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    struct err err = ERR_INIT;
    int rc = config_load_file(c, path, &err);
    unlink(path);
    bool ours = !strncmp(err.text, path, strlen(path));
    snprintf(message, 512, "%s", ours ? err.text + strlen(path) : err.text);
    return rc;
}

static void expect_refused(void **state, const char *text, const char *message)
{
    char got[512];
    assert_int_equal(load(fresh(state), text, got), ERR_INVALID);
    if (!strstr(got, message))
        fail_msg("%s\nsays: %s\nnot: %s", text, got, message);
}

static void defaults_hold_until_something_is_set(void **state)
{
    struct config *c = fresh(state);
    assert_string_equal(config_string(c, "data.dir"), "./data");
    assert_int_equal(config_int(c, "http.threads"), 2);
    assert_int_equal(config_size_bytes(c, "http.max_body"), 16 << 20);
    assert_true(config_bool(c, "graphite.udp"));
    assert_int_equal(config_duration_ms(c, "stream.keep"), 86400000);
}

static void a_file_sets_values(void **state)
{
    struct config *c = fresh(state);
    char m[512];
    assert_int_equal(load(c,
                          "# comment\n[data]\ndir = /var/lib/carat ; where\n\n[http]\n  threads=8\n"
                          "max_body = 1G\n[graphite]\nudp = off\n[stream]\nkeep = 90s\n",
                          m),
                     OK);
    assert_string_equal(config_string(c, "data.dir"), "/var/lib/carat");
    assert_int_equal(config_int(c, "http.threads"), 8);
    assert_int_equal(config_size_bytes(c, "http.max_body"), 1 << 30);
    assert_false(config_bool(c, "graphite.udp"));
    assert_int_equal(config_duration_ms(c, "stream.keep"), 90000);
}

static void a_wrong_file_is_refused_with_the_line(void **state)
{
    expect_refused(state, "[http]\n\nlissen = x\n", ":3: unknown key http.lissen; did you mean http.listen?");
    expect_refused(state, "[https]\nlisten = x\n", ":2: unknown key https.listen; did you mean http.listen?");
    expect_refused(state, "[grafite]\nudp = no\n", ":2: unknown key grafite.udp; did you mean graphite.udp?");
    expect_refused(state, "[zebra]\nstripes = 1\n",
                   ":2: unknown key zebra.stripes; carat serve --print-config");
    expect_refused(state, "[http]\nthreads = 1\nthreads = 2\n",
                   ":3: http.threads is set twice, first at /tmp/");
    expect_refused(state, "threads = 1\n", ":1: threads stands before any [section]");
    expect_refused(state, "[http]\nthreads\n", ":2: expected [section] or key = value");
    expect_refused(state, "[http\nthreads = 1\n", ":1: expected [section] or key = value");
    expect_refused(state, "[http]\nthreads = 65\n",
                   ":2: http.threads = \"65\": expected a whole number from 1 to 64");
    expect_refused(state, "[http]\nmax_body = big\n", ":2: http.max_body = \"big\": expected a size such as");
    expect_refused(state, "[stream]\nkeep = 24\n", ":2: stream.keep = \"24\": expected a duration such as");
    expect_refused(state, "[graphite]\nudp = maybe\n",
                   ":2: graphite.udp = \"maybe\": expected true or false");
}

/* libinih would cut the line and take the rest for the next one. */
static void a_line_too_long_for_the_parser_is_refused(void **state)
{
    char text[1024];
    snprintf(text, sizeof text, "[data]\ndir = /%0600d\n", 7);
    expect_refused(state, text, ":2: line longer than");
}

static void a_missing_file_is_told_apart(void **state)
{
    struct err err = ERR_INIT;
    assert_int_equal(config_load_file(fresh(state), "/nonexistent/carat.conf", &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nonexistent/carat.conf: No such file"));
}

static void set_wins_over_the_file(void **state)
{
    struct config *c = fresh(state);
    char m[512];
    struct err err = ERR_INIT;
    assert_int_equal(load(c, "[http]\nthreads = 8\n", m), OK);
    assert_int_equal(config_set(c, "http.threads=9", &err), OK);
    assert_int_equal(config_int(c, "http.threads"), 9);
    assert_int_equal(config_set(c, "data.dir=/a=b", &err), OK);
    assert_string_equal(config_string(c, "data.dir"), "/a=b");
    assert_int_equal(config_set(c, "http.threds=9", &err), ERR_INVALID);
    assert_string_equal(err.text, "--set: unknown key http.threds; did you mean http.threads?");
    assert_int_equal(config_set(c, "http.threads", &err), ERR_INVALID);
    assert_int_equal(config_set(c, "http.threads=x", &err), ERR_INVALID);
    assert_int_equal(config_int(c, "http.threads"), 9);
    assert_int_equal(config_set(c, "api.key=x", &err), ERR_INVALID);
}

static void what_is_in_force_prints_with_its_origin_and_loads_again(void **state)
{
    struct config *c = fresh(state);
    char m[512];
    struct err err = ERR_INIT;
    assert_int_equal(load(c, "[api]\nkey = hunter2\n[stream]\nkeep = 2d\n", m), OK);
    assert_int_equal(config_set(c, "http.threads=9", &err), OK);
    struct buf out = BUF_INIT;
    config_print(c, &out);
    const char *text = buf_str(&out);
    assert_non_null(strstr(text, "[data]\n; Where. (default)\ndir = ./data\n"));
    assert_non_null(strstr(text, "; Threads. (--set)\nthreads = 9\n"));
    assert_non_null(strstr(text, ":4)\nkeep = 2d\n"));
    assert_non_null(strstr(text, "\nkey = (set)\n"));
    assert_null(strstr(text, "hunter2"));
    assert_int_equal(load(fresh(state), text, m), OK);
    buf_release(&out);
}

static void sizes_and_durations_have_units(void **state)
{
    uint64_t b;
    int64_t ms;
    assert_true(config_parse_size("0", &b) == 0 && b == 0);
    assert_true(config_parse_size("3T", &b) == 0 && b == 3ull << 40);
    assert_true(config_parse_duration("0", &ms) == 0 && ms == 0);
    assert_true(config_parse_duration("500ms", &ms) == 0 && ms == 500);
    assert_true(config_parse_duration("5min", &ms) == 0 && ms == 300000);
    assert_true(config_parse_duration("460d", &ms) == 0 && ms == 460ll * 86400000);
    const char *const bad[] = {"", "M", "-1M", "1 M", "1.5M", "1Q", "99999999999999999999", "9999999999T"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(config_parse_size(bad[i], &b) < 0 && config_parse_duration(bad[i], &ms) < 0);
}

static const char *word_at(const void *ctx, size_t i)
{
    static const char *const words[] = {"serve", "query", "version", NULL};
    return words[i];
}

static void the_nearest_word_is_named_only_when_it_is_near(void **state)
{
    assert_int_equal(edit_distance("serve", "serev"), 1);
    assert_int_equal(edit_distance("", "abc"), 3);
    assert_string_equal(nearest_word("sreve", word_at, NULL), "serve");
    assert_string_equal(nearest_word("versoin", word_at, NULL), "version");
    assert_null(nearest_word("banana", word_at, NULL));
    char longer[4096];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_null(nearest_word(longer, word_at, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(defaults_hold_until_something_is_set, teardown),
        cmocka_unit_test_teardown(a_file_sets_values, teardown),
        cmocka_unit_test_teardown(a_wrong_file_is_refused_with_the_line, teardown),
        cmocka_unit_test_teardown(a_line_too_long_for_the_parser_is_refused, teardown),
        cmocka_unit_test_teardown(a_missing_file_is_told_apart, teardown),
        cmocka_unit_test_teardown(set_wins_over_the_file, teardown),
        cmocka_unit_test_teardown(what_is_in_force_prints_with_its_origin_and_loads_again, teardown),
        cmocka_unit_test(sizes_and_durations_have_units),
        cmocka_unit_test(the_nearest_word_is_named_only_when_it_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
