#include "cli/answer.h"
#include "cli/chart.h"
#include "cli/cli.h"
#include "cli/fetch.h"
#include "cli/options.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct run {
    int code;
    char *out, *err;
};

/* Runs `carat` with the words of `line`, which have no spaces of their own. */
static struct run run(const char *line)
{
    char *words = strdup(line), *argv[32], *rest = words;
    int argc = 0;
    for (char *w; (w = strsep(&rest, " "));)
        argv[argc++] = w;
    struct run r = {0, NULL, NULL};
    size_t n;
    struct cli_io io = {open_memstream(&r.out, &n), open_memstream(&r.err, &n)};
    r.code = cli_main(&io, argc, argv);
    fclose(io.out);
    fclose(io.err);
    free(words);
    return r;
}

static void expect(const char *line, int code, const char *out, const char *err)
{
    struct run r = run(line);
    if (r.code != code || !strstr(r.out, out) || !strstr(r.err, err))
        fail_msg("%s: exit %d\nout: %s\nerr: %s", line, r.code, r.out, r.err);
    free(r.out);
    free(r.err);
}

static void help_and_version_are_good(void **state)
{
    expect("carat help", 0, "  serve ", "");
    expect("carat --help", 0, "usage: carat COMMAND", "");
    expect("carat help query", 0, "usage: carat query EXPR", "");
    expect("carat serve --help", 0, "--print-config", "");
    expect("carat version", 0, "carat " CARAT_VERSION "\n", "");
    expect("carat --version", 0, "carat " CARAT_VERSION "\n", "");
}

static void wrong_usage_exits_2_and_names_what_is_near(void **state)
{
    expect("carat", 2, "", "usage: carat COMMAND");
    expect("carat sevre", 2, "", "unknown command sevre; did you mean serve?");
    expect("carat banana", 2, "", "unknown command banana; `carat help` lists all");
    expect("carat help sevre", 2, "", "did you mean serve?");
    expect("carat version now", 2, "", "too many arguments");
    expect("carat serve --confg x", 2, "", "unknown option --confg; did you mean --config?");
    expect("carat serve --sett=a.b=c", 2, "", "did you mean --set?");
    expect("carat serve --config", 2, "", "--config needs a value");
    expect("carat serve --print-config=x", 2, "", "--print-config takes no value");
    expect("carat serve now", 2, "", "now: no argument is expected");
    expect("carat serve --set http.thraeds=3", 2, "", "did you mean http.threads?");
    expect("carat serve -c /nonexistent.conf", 2, "", "open /nonexistent.conf: No such file");
    expect("carat agent", 2, "", "--url is missing");
    expect("carat agent --url ftp://x --host-id h", 2, "", "must start with http://");
    expect("carat agent --url http://127.0.0.1:1 --host-id a/b", 2, "", "agent.host_id");
    expect("carat query", 2, "", "an expression is missing");
    expect("carat query a --format pie", 2, "", "expected table, chart, json or csv");
    expect("carat query a --max-points 0", 2, "", "expected a whole number from 1");
}

static void print_config_shows_what_is_in_force(void **state)
{
    expect("carat serve --set http.threads=3 --print-config --set http.max_body=1M", 0,
           "(--set)\nthreads = 3\n", "");
    expect("carat serve --set=data.dir=/tmp/a=b --print-config", 0, "dir = /tmp/a=b\n", "");
}

static void no_server_is_said_with_the_url(void **state)
{
    expect("carat query a.b --url http://127.0.0.1:1/", 1, "",
           "cannot connect to http://127.0.0.1:1/render (");
    expect("carat query a.b --url http://127.0.0.1:1/", 1, "", "is the server running?");
    expect("carat query a.b --url file:///etc/passwd", 1, "", "file:///etc/passwd");
}

static void operands_follow_two_dashes(void **state)
{
    const struct option_spec specs[] = {{"from", 'f', true, 2}, {NULL, 0, false, 0}};
    char *argv[] = {"x", "-f", "-1h", "--from=-2h", "-", "--", "--from"};
    struct options o = {specs, 7, argv, 1, false};
    const char *v;
    struct err err = ERR_INIT;
    assert_int_equal(options_next(&o, &v, &err), 2);
    assert_string_equal(v, "-1h");
    assert_int_equal(options_next(&o, &v, &err), 2);
    assert_string_equal(v, "-2h");
    assert_int_equal(options_next(&o, &v, &err), OPTIONS_OPERAND);
    assert_string_equal(v, "-");
    assert_int_equal(options_next(&o, &v, &err), OPTIONS_OPERAND);
    assert_string_equal(v, "--from");
    assert_int_equal(options_next(&o, &v, &err), OPTIONS_END);
}

static void parse(const char *json, struct answer *a)
{
    struct err err = ERR_INIT;
    assert_int_equal(answer_parse(json, strlen(json), a, &err), OK);
}

static void answers_that_are_no_answers_are_refused(void **state)
{
    const char *const bad[] = {"",
                               "{}",
                               "[1]",
                               "[{}]",
                               "[{\"target\":\"a\",\"datapoints\":[[1]]}]",
                               "[{\"target\":\"a\",\"datapoints\":[[\"x\",1]]}]",
                               "[{\"target\":1,\"datapoints\":[]}]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct answer a;
        struct err err = ERR_INIT;
        assert_int_equal(answer_parse(bad[i], strlen(bad[i]), &a, &err), ERR_INVALID);
        assert_int_equal(a.n, 0);
        assert_true(*err.text != '\0');
    }
}

static const char two_series[] =
    "[{\"target\":\"a.b\",\"datapoints\":[[1,60],[null,120],[0.1,180]]},"
    "{\"target\":\"c,\\\"d\\\"\",\"datapoints\":[[1e300,120],[-2,180],[null,240]]}]";

static void a_table_lines_up_series_of_different_times(void **state)
{
    struct answer a;
    parse(two_series, &a);
    struct buf out = BUF_INIT;
    answer_format_table(&a, 80, &out);
    assert_string_equal(buf_str(&out), "time (UTC)           a.b   c,\"d\"\n"
                                       "1970-01-01 00:01:00    1        \n"
                                       "1970-01-01 00:02:00       1e+300\n"
                                       "1970-01-01 00:03:00  0.1      -2\n");
    buf_clear(&out);
    answer_format_table(&a, 30, &out);
    assert_string_equal(buf_str(&out), "time (UTC)           a.b\n"
                                       "1970-01-01 00:01:00    1\n"
                                       "1970-01-01 00:03:00  0.1\n"
                                       "\n"
                                       "time (UTC)            c,\"d\"\n"
                                       "1970-01-01 00:02:00  1e+300\n"
                                       "1970-01-01 00:03:00      -2\n");
    buf_release(&out);
    answer_release(&a);
}

static void csv_has_a_line_a_point(void **state)
{
    struct answer a;
    parse(two_series, &a);
    struct buf out = BUF_INIT;
    answer_format_csv(&a, &out);
    assert_non_null(strstr(buf_str(&out), "a.b,1970-01-01 00:01:00,1\na.b,1970-01-01 00:02:00,\n"));
    assert_non_null(strstr(buf_str(&out), "\"c,\"\"d\"\"\",1970-01-01 00:03:00,-2\n"));
    buf_release(&out);
    answer_release(&a);
}

static void add_series(struct answer *a, const char *name, size_t n, double (*f)(size_t i))
{
    a->series = realloc(a->series, (a->n + 1) * sizeof *a->series);
    struct answer_series *s = &a->series[a->n++];
    *s = (struct answer_series){strdup(name), n, calloc(n ? n : 1, sizeof(int64_t)),
                                calloc(n ? n : 1, sizeof(double))};
    for (size_t i = 0; i < n; i++) {
        s->time_s[i] = 1763800000 / 3600 * 3600 + 60 * (int64_t)i;
        s->value[i] = f(i);
    }
}

static double rising(size_t i)
{
    return (double)i * 25;
}
static double falling(size_t i)
{
    return 1500 - (double)i * 25;
}
static double missing(size_t i)
{
    return NAN;
}
static double huge(size_t i)
{
    return i % 2 ? 1.7e308 : -1.7e308;
}
static double flat(size_t i)
{
    return 7;
}
static double with_infinity(size_t i)
{
    return i == 3 ? INFINITY : (double)i;
}

static size_t line_columns(const char *line)
{
    size_t n = 0;
    for (; *line && *line != '\n'; line++)
        n += (*line & 0xc0) != 0x80;
    return n;
}

static void a_chart_has_axes_and_keeps_to_its_width(void **state)
{
    struct answer a = {NULL, 0};
    add_series(&a, "cpu.user", 61, rising);
    struct buf out = BUF_INIT;
    chart_draw(&a, &(struct chart_style){60, 8, false}, &out);
    const char *text = buf_str(&out);
    size_t lines = 0;
    for (const char *l = text; l && *l; l = strchr(l, '\n') ? strchr(l, '\n') + 1 : NULL, lines++)
        assert_true(line_columns(l) <= 60);
    assert_int_equal(lines, 8 + 2 + 2);
    assert_non_null(strstr(text, "\n 0 \xe2\x94\xa4\xe2")); /* the line starts at the lowest label */
    assert_memory_equal(text, "2k \xe2\x94\xa4", 6);
    assert_non_null(strstr(text, "08:00")); /* times under the axis */
    assert_non_null(strstr(text, "09:00\n"));
    assert_non_null(strstr(text, "2025-11-22 08:00:00 to 2025-11-22 09:00:00 UTC\n"));
    assert_non_null(strstr(text, "cpu.user\n"));
    buf_release(&out);
    answer_release(&a);
}

static void several_series_can_be_told_apart(void **state)
{
    struct answer a = {NULL, 0};
    add_series(&a, "up", 61, rising);
    add_series(&a, "down", 61, falling);
    struct buf out = BUF_INIT;
    chart_draw(&a, &(struct chart_style){60, 10, false}, &out);
    assert_non_null(strstr(buf_str(&out), "a  up\nb  down\n"));
    assert_non_null(strstr(buf_str(&out), "bb"));
    assert_null(strstr(buf_str(&out), "\x1b["));
    buf_clear(&out);
    chart_draw(&a, &(struct chart_style){60, 10, true}, &out);
    assert_non_null(strstr(buf_str(&out), "\x1b[36m"));
    assert_non_null(strstr(buf_str(&out), "\x1b[33m"));
    buf_release(&out);
    answer_release(&a);
}

static void odd_series_are_drawn_without_harm(void **state)
{
    double (*const shapes[])(size_t) = {huge, flat, with_infinity, rising};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t n = 1; n < 400; n += 133) {
            struct answer a = {NULL, 0};
            add_series(&a, "odd", n, shapes[i]);
            add_series(&a, "empty", 0, missing);
            struct buf out = BUF_INIT;
            chart_draw(&a, &(struct chart_style){i * 300, i, true}, &out);
            assert_true(out.len > 0);
            buf_release(&out);
            answer_release(&a);
        }
    struct answer a = {NULL, 0};
    add_series(&a, "empty", 5, missing);
    struct buf out = BUF_INIT;
    chart_draw(&a, &(struct chart_style){60, 8, false}, &out);
    assert_string_equal(buf_str(&out), "no points\n");
    buf_release(&out);
    answer_release(&a);
}

static void expressions_are_escaped_for_the_url(void **state)
{
    struct buf out = BUF_INIT;
    fetch_escape("scale(a.{b,c}-1_~;t=\xc3\xa9 &+", &out);
    assert_string_equal(buf_str(&out), "scale%28a.%7Bb%2Cc%7D-1_~%3Bt%3D%C3%A9%20%26%2B");
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_and_version_are_good),
        cmocka_unit_test(wrong_usage_exits_2_and_names_what_is_near),
        cmocka_unit_test(print_config_shows_what_is_in_force),
        cmocka_unit_test(no_server_is_said_with_the_url),
        cmocka_unit_test(operands_follow_two_dashes),
        cmocka_unit_test(answers_that_are_no_answers_are_refused),
        cmocka_unit_test(a_table_lines_up_series_of_different_times),
        cmocka_unit_test(csv_has_a_line_a_point),
        cmocka_unit_test(a_chart_has_axes_and_keeps_to_its_width),
        cmocka_unit_test(several_series_can_be_told_apart),
        cmocka_unit_test(odd_series_are_drawn_without_harm),
        cmocka_unit_test(expressions_are_escaped_for_the_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
