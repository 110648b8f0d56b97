#include "base/mem.h"
#include "draw/chart.h"
#include "draw/ticks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void value_marks_are_round_and_cover_the_range(void **state)
{
    static const struct {
        double lo, hi;
        int binary;
        const char *first, *last;
    } list[] = {
        {0, 100, 0, "0", "100"},    {0.12, 0.31, 0, "0.10", "0.35"}, {-5, 5, 0, "-6", "6"},
        {0, 23456, 0, "0", "25 k"}, {0, 1 << 30, 1, "0", "1024 Mi"}, {1.5e9, 1.9e9, 0, "1500 M", "1900 M"},
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        double lo = list[i].lo, hi = list[i].hi;
        struct ticks t;
        ticks_values(&lo, &hi, 5, list[i].binary, &t);
        assert_true(lo <= list[i].lo && hi >= list[i].hi && t.n >= 2 && t.n <= 14);
        if (!list[i].binary) {
            if (strcmp(t.label[0], list[i].first) || strcmp(t.label[t.n - 1], list[i].last))
                fail_msg("%g..%g: %s..%s", list[i].lo, list[i].hi, t.label[0], t.label[t.n - 1]);
        }
    }
    const double flat[] = {0, 5, -3e9, 1e-30, 1e300};
    for (size_t i = 0; i < ARRAY_LEN(flat); i++) {
        double lo = flat[i], hi = flat[i];
        struct ticks t;
        ticks_values(&lo, &hi, 5, 0, &t);
        assert_true(lo < flat[i] && hi > flat[i] && t.n >= 2);
    }
}

static void time_marks_are_whole(void **state)
{
    static const struct {
        int64_t span_s, step_s;
    } list[] = {{600, 60}, {3600, 900}, {86400, 21600}, {7 * 86400, 86400}, {30 * 86400, 7 * 86400}};
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        int64_t from = 1763812345;
        struct ticks t;
        ticks_times(from, from + list[i].span_s, 3600, 7, &t);
        assert_true(t.n >= 2 && t.n <= 12);
        for (size_t k = 0; k < t.n; k++) {
            assert_true(t.at[k] >= (double)from && t.at[k] <= (double)(from + list[i].span_s));
            assert_true(fmod(t.at[k] + 3600, 60) == 0 && t.label[k][0]);
        }
    }
    struct ticks t;
    ticks_times(1700000000, 1700000000 + 3 * 365 * 86400, 0, 8, &t);
    assert_true(t.n >= 3);
    for (size_t k = 0; k < t.n; k++)
        assert_true(fmod(t.at[k], 86400) == 0);
}

static void colours_are_read_as_graphite_writes_them(void **state)
{
    struct color c;
    assert_int_equal(color_parse("red", 3, &c), 0);
    assert_true(c.r > 0.7 && c.b < 0.3);
    assert_int_equal(color_parse("#f00", 4, &c), 0);
    assert_true(c.r == 1 && c.g == 0 && c.a == 1);
    assert_int_equal(color_parse("00ff0080", 8, &c), 0);
    assert_true(c.g == 1 && fabs(c.a - 0.5) < 0.01);
    const char *const bad[] = {"", "#", "redd", "12345", "#gggggg", "123456789"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(color_parse(bad[i], strlen(bad[i]), &c), -1);
}

static struct buf draw(const struct chart_options *o, const struct chart_line *lines, size_t n)
{
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    if (chart_paint(o, lines, n, &out, &err) != OK)
        fail_msg("%s", err.text);
    if (o->svg)
        assert_non_null(strstr(buf_str(&out), "</svg>"));
    else
        assert_true(out.len > 60 && !memcmp(out.data, "\x89PNG\r\n\x1a\n", 8) &&
                    !memcmp(out.data + out.len - 8, "IEND\xae\x42\x60\x82", 8));
    return out;
}

/* Whatever the values, the names and the size: a picture. */
static void hostile_lines_are_drawn(void **state)
{
    double odd[] = {1, NAN, INFINITY, -INFINITY, 1e308, -1e308, 5e-324, NAN, NAN, 0, -0.0, 3};
    double none[] = {NAN, NAN};
    const struct chart_line lines[] = {
        {.name = "odd", .start_s = 1000, .step_s = 60, .n = ARRAY_LEN(odd), .values = odd},
        {.name = "\xff not \x01 utf-8 <&\"", .start_s = 900, .step_s = 7, .n = 2, .values = none},
        {.name = "", .start_s = 0, .step_s = 1, .n = 0, .values = none},
        {.name = "before the range",
         .start_s = -1000000,
         .step_s = 86400,
         .n = 2,
         .values = odd,
         .threshold = true},
    };
    for (int svg = 0; svg < 2; svg++)
        for (int area = CHART_AREA_NONE; area <= CHART_AREA_STACKED; area++)
            for (int mode = CHART_SLOPE; mode <= CHART_CONNECTED; mode++)
                for (unsigned size = 32; size <= 400; size += 184) {
                    struct chart_options o = chart_options_default();
                    o.svg = svg;
                    o.area = (enum chart_area)area;
                    o.line_mode = (enum chart_line_mode)mode;
                    o.width = size;
                    o.height = size;
                    o.from_s = 1000;
                    o.until_s = 2000;
                    o.title = "a \xc3\x28 title";
                    o.left_title = "left";
                    o.legend = 1;
                    for (size_t n = 0; n <= ARRAY_LEN(lines); n++) {
                        struct buf out = draw(&o, lines, n);
                        buf_release(&out);
                    }
                }
}

static void a_picture_shows_its_lines_and_names(void **state)
{
    double up[100], level[100];
    for (int i = 0; i < 100; i++) {
        up[i] = i;
        level[i] = 80;
    }
    struct chart_options o = chart_options_default();
    o.svg = true;
    o.from_s = 0;
    o.until_s = 6000;
    struct chart_line lines[] = {
        {.name = "up", .step_s = 60, .n = 100, .values = up, .has_color = true, .color = {1, 0, 0, 1}},
        {.name = "limit", .step_s = 60, .n = 100, .values = level, .threshold = true},
    };
    struct buf out = draw(&o, lines, 2);
    assert_non_null(strstr(buf_str(&out), "stroke:rgb(100%,0%,0%)"));
    assert_non_null(strstr(buf_str(&out), "stroke-dasharray"));
    buf_release(&out);
    struct err err = ERR_INIT;
    o.width = 5000;
    assert_int_equal(chart_paint(&o, lines, 2, &out, &err), ERR_LIMIT);
    assert_non_null(strstr(err.text, "5000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_marks_are_round_and_cover_the_range),
        cmocka_unit_test(time_marks_are_whole),
        cmocka_unit_test(colours_are_read_as_graphite_writes_them),
        cmocka_unit_test(hostile_lines_are_drawn),
        cmocka_unit_test(a_picture_shows_its_lines_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
