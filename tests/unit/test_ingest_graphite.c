#include "base/bytes.h"
#include "base/hash.h"
#include "ingest/decimal.h"
#include "ingest/graphite_text.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define NOW 1763800000123

/* Parses a copy of exactly this size, so that an over-read is seen by the sanitizer. */
struct parsed {
    char *data;
    size_t used;
    struct graphite_parser g;
    struct sample_batch b;
};

static void parse(struct parsed *p, const char *text, size_t len, bool final)
{
    *p = (struct parsed){.g = {.now_ms = NOW, .max_line_bytes = 16384}, .b = SAMPLE_BATCH_INIT};
    p->data = malloc(len ? len : 1);
    memcpy(p->data, text, len);
    p->used = graphite_parse(&p->g, p->data, len, final, &p->b);
}

static void release(struct parsed *p)
{
    sample_batch_release(&p->b);
    free(p->data);
}

static uint64_t rejected(const struct parsed *p)
{
    uint64_t n = 0;
    for (int i = 0; i < REJECT_KINDS; i++)
        n += p->b.rejected[i];
    return n;
}

static void good_lines(void **state)
{
    static const struct {
        const char *line, *name;
        double value;
        int64_t ts_ms;
    } t[] = {
        {"a.b.c 1 1763800000\n", "a.b.c", 1, 1763800000000},
        {"a 1 1\n", "a", 1, 1000},
        {"servers.web-1.cpu.user\t-12.5\t1763800000\r\n", "servers.web-1.cpu.user", -12.5, 1763800000000},
        {"  a.b   1e3 \t 1763800000  \n", "a.b", 1000, 1763800000000},
        {"a.b 1 1763800000.25\n", "a.b", 1, 1763800000250},
        {"a.b 1 1763800000.0019999\n", "a.b", 1, 1763800000001},
        {"a.b 1 1763800000.\n", "a.b", 1, 1763800000000},
        {"a.b 1 -1\n", "a.b", 1, NOW},
        {"a.b 1 -1.0\n", "a.b", 1, NOW},
        {"a.b 1 N\r\n", "a.b", 1, NOW},
        {"a.b 1 0\n", "a.b", 1, 0},
        {"a.b 1 1763800000000\n", "a.b", 1, 1763800000000000},
        {"a.b .5 10\n", "a.b", .5, 10000},
        {"a.b 5. 10\n", "a.b", 5, 10000},
        {"a.b +5E-1 10\n", "a.b", .5, 10000},
        {"disk.used;mount=/data;host=a 1 10\n", "disk.used;host=a;mount=/data", 1, 10000},
        {"x;a=1;b=2 1 10\n", "x;a=1;b=2", 1, 10000},
        {"caf\xc3\xa9.x 1 10\n", "caf\xc3\xa9.x", 1, 10000},
        {"a.b(c)[d]{e}*:/\\\"'~!@#$%^&-_=+|<>?, 1 10\n", "a.b(c)[d]{e}*:/\\\"'~!@#$%^&-_=+|<>?,", 1, 10000},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct parsed p;
        parse(&p, t[i].line, strlen(t[i].line), false);
        assert_int_equal(p.used, strlen(t[i].line));
        assert_int_equal(rejected(&p), 0);
        assert_int_equal(p.b.n, 1);
        struct sample *s = p.b.v;
        assert_int_equal(s->name_len, strlen(t[i].name));
        assert_memory_equal(s->name, t[i].name, s->name_len);
        assert_true(s->hash == hash_bytes(t[i].name, s->name_len));
        assert_true(s->value == t[i].value);
        assert_true(s->ts_ms == t[i].ts_ms);
        release(&p);
    }
}

static void bad_lines(void **state)
{
    static const struct {
        const char *line;
        enum reject why;
    } t[] = {
        {"a.b\n", REJECT_SYNTAX},
        {"a.b 1\n", REJECT_SYNTAX},
        {"a.b 1 10 x\n", REJECT_SYNTAX},
        {".a 1 10\n", REJECT_NAME},
        {"a. 1 10\n", REJECT_NAME},
        {"a..b 1 10\n", REJECT_NAME},
        {"1234567..b 1 10\n", REJECT_NAME},
        {"12345678..b 1 10\n", REJECT_NAME},
        {"123456..b 1 10\n", REJECT_NAME},
        {"a;x 1 10\n", REJECT_NAME},
        {"a;=1 1 10\n", REJECT_NAME},
        {"a\x01 1 10\n", REJECT_NAME},
        {"a\x7f 1 10\n", REJECT_NAME},
        {"a\xff 1 10\n", REJECT_NAME},
        {"a.b x 10\n", REJECT_VALUE},
        {"a.b 0x10 10\n", REJECT_VALUE},
        {"a.b 1_000 10\n", REJECT_VALUE},
        {"a.b 1,5 10\n", REJECT_VALUE},
        {"a.b 1.5.2 10\n", REJECT_VALUE},
        {"a.b 1e 10\n", REJECT_VALUE},
        {"a.b 1e+ 10\n", REJECT_VALUE},
        {"a.b . 10\n", REJECT_VALUE},
        {"a.b - 10\n", REJECT_VALUE},
        {"a.b --1 10\n", REJECT_VALUE},
        {"a.b nan(1) 10\n", REJECT_VALUE},
        {"a.b nan 10\n", REJECT_NOT_FINITE},
        {"a.b NaN 10\n", REJECT_NOT_FINITE},
        {"a.b -inf 10\n", REJECT_NOT_FINITE},
        {"a.b Infinity 10\n", REJECT_NOT_FINITE},
        {"a.b 1e309 10\n", REJECT_NOT_FINITE},
        {"a.b -1e99999999999999999999 10\n", REJECT_NOT_FINITE},
        {"a.b 1 -2\n", REJECT_TIME},
        {"a.b 1 -1.5\n", REJECT_TIME},
        {"a.b 1 -\n", REJECT_TIME},
        {"a.b 1 .\n", REJECT_TIME},
        {"a.b 1 now\n", REJECT_TIME},
        {"a.b 1 1e9\n", REJECT_TIME},
        {"a.b 1 10x\n", REJECT_TIME},
        {"a.b 1 1\r0\n", REJECT_TIME},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char text[256];
        snprintf(text, sizeof text, "good.one 1 10\n%sgood.two 2 20\n", t[i].line);
        struct parsed p;
        parse(&p, text, strlen(text), false);
        if (p.b.n != 2 || p.b.rejected[t[i].why] != 1)
            fail_msg("%s: %zu points, reason not %s", t[i].line, p.b.n, reject_name(t[i].why));
        assert_int_equal(rejected(&p), 1);
        assert_true(p.b.v[1].value == 2);
        assert_int_equal(p.g.n, 1);
        assert_int_equal(p.g.error[0].reason, t[i].why);
        release(&p);
    }
}

static void blank_lines_and_the_rest(void **state)
{
    struct parsed p;
    const char *text = "\n\r\n  \t\na.b 1 10\n\nc.d 2 2";
    parse(&p, text, strlen(text), false);
    assert_int_equal(p.b.n, 1);
    assert_int_equal(rejected(&p), 0);
    assert_int_equal(p.used, strlen(text) - 7);
    release(&p);
    parse(&p, text, strlen(text), true);
    assert_int_equal(p.b.n, 2);
    assert_int_equal(p.used, strlen(text));
    assert_memory_equal(p.b.v[1].name, "c.d", 3);
    release(&p);
    parse(&p, "", 0, true);
    assert_int_equal(p.used, 0);
    release(&p);
}

static void excerpts_are_few_short_and_printable(void **state)
{
    char text[4096] = "";
    for (int i = 0; i < 20; i++)
        strcat(text, "b\x1b[31m\xff........................................................................"
                     "....................\n");
    struct parsed p;
    parse(&p, text, strlen(text), false);
    assert_int_equal(p.b.rejected[REJECT_SYNTAX], 20);
    assert_int_equal(p.g.n, GRAPHITE_ERRORS_KEPT);
    assert_int_equal(strlen(p.g.error[0].excerpt), GRAPHITE_EXCERPT_BYTES);
    assert_memory_equal(p.g.error[0].excerpt, "b?[31m?..", 9);
    release(&p);
}

static void long_names_and_lines(void **state)
{
    char text[20100];
    int n = 0;
    n += sprintf(text + n, "%0*d 1 10\n", 1024, 0);
    n += sprintf(text + n, "%0*d 1 10\n", 1025, 0);
    n += sprintf(text + n, "a.b %0*d 10\n", 16384 - 7, 7);
    struct parsed p;
    parse(&p, text, (size_t)n, false);
    assert_int_equal(p.b.n, 2);
    assert_int_equal(p.b.rejected[REJECT_NAME_TOO_LONG], 1);
    assert_true(p.b.v[1].value == 7);
    release(&p);
    n = sprintf(text, "a.b %0*d 10\n", 16384 - 6, 7);
    for (int final = 0; final < 2; final++) {
        parse(&p, text, (size_t)(n - final), final);
        assert_int_equal(p.b.n, 0);
        assert_int_equal(p.b.rejected[REJECT_LINE_TOO_LONG], 1);
        assert_int_equal(p.used, n - final);
        release(&p);
    }
}

/* However the bytes are cut, the points are the same. */
static void any_cut_gives_the_same_points(void **state)
{
    const char *text = "a.b 1 10\r\n\nbad\nc;t=1 2.5 20\nd..e 1 1\nf 3 30\n";
    size_t len = strlen(text);
    for (size_t cut = 0; cut <= len; cut++) {
        struct parsed p, q;
        parse(&p, text, cut, false);
        parse(&q, text + p.used, len - p.used, false);
        assert_int_equal(p.used + q.used, len);
        assert_int_equal(p.b.n + q.b.n, 3);
        assert_int_equal(rejected(&p) + rejected(&q), 2);
        release(&p);
        release(&q);
    }
}

static void check_number(const char *text)
{
    double want = strtod(text, NULL), got = 0;
    const char *end = decimal_parse(text, &got);
    if (end != text + strlen(text) || f64_bits(got) != f64_bits(want))
        fail_msg("%s: got %a, strtod says %a", text, got, want);
}

static void numbers_at_the_edges(void **state)
{
    static const char *const t[] = {
        /* just above halfway between two doubles, by less than the 64-bit quotient shows */
        "6298239277986822149e-18",
        "6269009642392376438e-11",
        "2658624430832873732e-10",
        "1445274461187310815e-9",
        "4955280573814121724e-9",
        "5255235934247957543e-11",
        "0",
        "-0",
        "0.0",
        "-0.0e10",
        "0e99999999999999999999",
        "9007199254740993",
        "9007199254740992",
        "-9007199254740993",
        "9223372036854775807",
        "18446744073709551615",
        "18446744073709551616",
        "9999999999999999999",
        "99999999999999999999",
        "0.1",
        "0.3",
        "1e22",
        "1e23",
        "-1e-22",
        "1e-23",
        "9007199254740993e0",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "1e308",
        "1e309",
        "4.9e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "1e-400",
        "2.2250738585072011e-308",
        "2.2250738585072014e-308",
        "0.000000000000000000000000000000000001",
        "123456789012345678901234567890",
        "0.1234567890123456789012345678901234567890",
        "00000000000000000000000000000000001",
        "0000000000000000000000.00000000000000000000000000000012",
        "1e+05",
        "1E5",
        "+1",
        ".5",
        "5.",
        "1e00000000000000000000000000001",
        "1e-99999999999999999999",
        "9007199254740992.5",
        "9007199254740993.0000000000000000001",
        "0.500000000000000166533453693773481063544750213623046875",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203126",
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        check_number(t[i]);
    double v;
    assert_null(decimal_parse("x", &v));
    assert_null(decimal_parse("", &v));
    assert_null(decimal_parse("+", &v));
    assert_null(decimal_parse("nan", &v));
}

/* A halfway point needs up to 767 digits; a 1 far behind it must still turn the scale. */
static void numbers_of_many_digits(void **state)
{
    char text[4096];
    double x = 2.2250738585072014e-308; /* smallest normal; halfway to the one below has the most digits */
    int n = snprintf(text, sizeof text, "%.1074f", x);
    for (int i = 0; i < 3; i++) {
        check_number(text);
        memset(text + n, '0', 1000);
        text[n + 1000] = '\0';
        check_number(text);
        text[n + 999] = '1';
        check_number(text);
        x = nextafter(x, i ? 0 : 1);
        n = snprintf(text, sizeof text, "%.1074f", x);
    }
    strcpy(text, "9007199254740993.");
    n = (int)strlen(text);
    memset(text + n, '0', 2000);
    strcpy(text + n + 2000, "1");
    check_number(text);
    strcpy(text + n + 2000, "0");
    check_number(text);
}

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void random_numbers_read_as_strtod_reads_them(void **state)
{
    uint64_t seed = (uint64_t)time(NULL) * 2654435761u | 1, s = seed;
    print_message("# seed %llu\n", (unsigned long long)seed);
    static const char *const formats[] = {"%.17g", "%g", "%f", "%.3f", "%.15e", "%.19g", "%.25g"};
    char text[512];
    for (int i = 0; i < 60000; i++) {
        double x = bits_f64(next_random(&s));
        if (i % 3 == 1)
            x = (double)(int64_t)next_random(&s) / (double)(1ull << next_random(&s) % 60);
        if (i % 3 == 2)
            x = (double)(next_random(&s) % 10000000) / 1000;
        if (!isfinite(x))
            continue;
        snprintf(text, sizeof text, formats[next_random(&s) % 7], x);
        check_number(text);
        uint64_t m = next_random(&s) >> next_random(&s) % 64;
        snprintf(text, sizeof text, "%llue%d", (unsigned long long)m, (int)(next_random(&s) % 60) - 30);
        check_number(text);
    }
}

static void times_of_any_length(void **state)
{
    uint64_t s = 88172645463325252u;
    for (int i = 0; i < 20000; i++) {
        int64_t want = (int64_t)(next_random(&s) >> (14 + next_random(&s) % 50));
        char text[128];
        int n = snprintf(text, sizeof text, "a.b 1 %0*lld%s\n", (int)(next_random(&s) % 20), (long long)want,
                         i % 2 ? "" : ".5");
        struct parsed p;
        parse(&p, text, (size_t)n, false);
        assert_int_equal(p.b.n, 1);
        int64_t got = p.b.v[0].ts_ms;
        if (want < INT64_MAX / 10000 - 1)
            assert_true(got == want * 1000 + (i % 2 ? 0 : 500));
        else
            assert_true(got >= INT64_MAX / 10000);
        release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lines),
        cmocka_unit_test(bad_lines),
        cmocka_unit_test(blank_lines_and_the_rest),
        cmocka_unit_test(excerpts_are_few_short_and_printable),
        cmocka_unit_test(long_names_and_lines),
        cmocka_unit_test(any_cut_gives_the_same_points),
        cmocka_unit_test(numbers_at_the_edges),
        cmocka_unit_test(numbers_of_many_digits),
        cmocka_unit_test(times_of_any_length),
        cmocka_unit_test(random_numbers_read_as_strtod_reads_them),
    };
    return cmocka_run_group_tests_name("ingest_graphite", tests, NULL, NULL);
}
