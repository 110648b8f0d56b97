#include "base/buf.h"
#include "query/ast.h"
#include "query/pynum.h"
#include "query/thin.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A tree as text: paths bare, strings in quotes, calls as name(args; name=arg). */
static void dump(const struct ast *a, struct buf *b)
{
    switch (a->kind) {
    case AST_PATH:
        buf_puts(b, a->text);
        return;
    case AST_INT:
        buf_printf(b, "%lld", (long long)a->i);
        return;
    case AST_FLOAT:
        buf_printf(b, "%g", a->d);
        return;
    case AST_STRING:
        buf_printf(b, "'%s'", a->text);
        return;
    case AST_BOOL:
        buf_puts(b, a->i ? "TRUE" : "FALSE");
        return;
    case AST_NONE:
        buf_puts(b, "NONE");
        return;
    case AST_INF:
        buf_puts(b, "INF");
        return;
    case AST_CALL:
        buf_printf(b, "%s(", a->text);
        break;
    case AST_TEMPLATE:
        buf_puts(b, "TEMPLATE(");
        break;
    case AST_PIPE:
        buf_puts(b, "PIPE(");
        break;
    }
    for (size_t i = 0; i < a->nargs; i++) {
        buf_puts(b, i ? " " : "");
        dump(a->args[i], b);
    }
    for (size_t i = 0; i < a->nkwargs; i++) {
        buf_printf(b, "; %s=", a->kwargs[i].name);
        dump(a->kwargs[i].value, b);
    }
    buf_putc(b, ')');
}

static void reads_as(const char *text, const char *want)
{
    struct arena arena = ARENA_INIT;
    struct buf b = BUF_INIT;
    struct ast *a;
    struct err err = ERR_INIT;
    if (ast_parse(text, &arena, &a, NULL, &err) < 0)
        buf_puts(&b, "ERROR");
    else
        dump(a, &b);
    assert_string_equal(buf_str(&b), want);
    buf_release(&b);
    arena_release(&arena);
}

static void calls_paths_and_literals(void **state)
{
    reads_as("a.b-c.*", "a.b-c.*");
    reads_as("  f( a , b.c ,2 )", "f(a b.c 2)");
    reads_as("f(a,'x',\"y\",1.5,-3,1e3,true,False,NONE,inf)", "f(a 'x' 'y' 1.5 -3 1000 TRUE FALSE NONE INF)");
    reads_as("f(g(h(a)),k=1,m='z')", "f(g(h(a)); k=1; m='z')");
    reads_as("a|f(1)|g()", "PIPE(a f(1) g())");
    reads_as("f(a|g(2))", "f(PIPE(a g(2)))");
    reads_as("template(f($x),x=1)", "TEMPLATE(f($x); x=1)");
    reads_as("template(a.$1,'b')", "TEMPLATE(a.$1 'b')");
    reads_as("f()", "f()");
}

static void what_is_a_number_and_what_a_path(void **state)
{
    reads_as("f(a,00012)", "f(a 12)");
    reads_as("f(a,1E3,1e-3)", "f(a 1000 0.001)");
    reads_as("f(a,1e+3)", "f(a 1e+3)"); /* a path */
    reads_as("f(a,+5)", "f(a +5)");
    reads_as("f(a,5.)", "f"); /* no call, so a path that ends at the parenthesis */
    reads_as("f(a,.5)", "f");
    reads_as("f(a,10.20)", "f(a 10.2)");
    reads_as("f(10.20.30)", "f(10.20.30)");
    reads_as("5", "5");
    reads_as("f(true.x)", "f");
    reads_as("f(truex,nan)", "f(truex nan)");
}

static void escapes_and_alternatives_in_paths(void **state)
{
    reads_as("a.{b,c*}d.e", "a.{b,c*}d.e");
    reads_as("a.{b, c}.d", "a");
    reads_as("a.{b,}", "a");
    reads_as("a.{b,{c}}", "a");
    reads_as("a.p\\(1\\).v", "a.p(1).v");
    reads_as("f(a.eq\\=1.v)", "f(a.eq=1.v)");
    reads_as("f(a.eq=1.v)", "f(a.eq=1.v)");
    reads_as("a\\-b", "a");
    reads_as("a..b", "a");
    reads_as("a.b.", "a.b");
}

static void strings_keep_what_is_in_them(void **state)
{
    reads_as("f(a,'it''s')", "f(a 'it''s')");
    reads_as("f(a,'a\\'b')", "f(a 'a\\'b')");
    reads_as("f(a,'')", "f(a '')");
    reads_as("f(a,'x)", "f");
    reads_as("f(a,'a\nb')", "f");
}

static void calls_that_do_not_parse_are_paths(void **state)
{
    reads_as("f(a", "f");
    reads_as("f(a,)", "f");
    reads_as("f(k=1)", "f"); /* a name needs a positional argument before it */
    reads_as("f(a,k=1,b)", "f");
    reads_as("f(a b)", "f");
    reads_as("f(a)x", "f(a)");
    reads_as("a|", "a");
    reads_as("template(f(a),g(b))", "template(f(a) g(b))");
}

static void positions_are_those_of_the_text(void **state)
{
    struct arena arena = ARENA_INIT;
    struct ast *a;
    struct err err = ERR_INIT;
    size_t rest;
    assert_int_equal(ast_parse(" f(a.b, 'x', k=2) tail", &arena, &a, &rest, &err), OK);
    assert_int_equal(a->pos, 1);
    assert_int_equal(a->end, 17);
    assert_int_equal(rest, 17);
    assert_int_equal(a->args[0]->pos, 3);
    assert_int_equal(a->args[0]->end, 6);
    assert_int_equal(a->args[1]->pos, 8);
    assert_int_equal(a->kwargs[0].value->pos, 15);
    arena_release(&arena);
}

static void errors_show_the_place(void **state)
{
    struct arena arena = ARENA_INIT;
    struct ast *a;
    struct err err = ERR_INIT;
    assert_int_equal(ast_parse("(a.b)", &arena, &a, NULL, &err), ERR_INVALID);
    assert_string_equal(err.text,
                        "cannot read the target: expected a metric path or a function\n  (a.b)\n  ^");
    ast_error(&err, ERR_INVALID, "scale(a,'x')", 8, "expects a number");
    assert_string_equal(err.text, "expects a number\n  scale(a,'x')\n          ^");
    char longer[400];
    memset(longer, 'x', sizeof longer);
    longer[399] = '\0';
    ast_error(&err, ERR_INVALID, longer, 200, "here");
    const char *caret = strchr(err.text, '^'), *line = strchr(err.text, '\n') + 3;
    assert_int_equal(caret - strrchr(err.text, '\n') - 3,
                     3 + 60); /* after "..." and what is shown before it */
    assert_memory_equal(line, "...x", 4);
    arena_release(&arena);
}

static void depth_is_bounded(void **state)
{
    struct arena arena = ARENA_INIT;
    struct buf b = BUF_INIT;
    struct ast *a;
    struct err err = ERR_INIT;
    for (int i = 0; i < 10000; i++)
        buf_puts(&b, "f(");
    assert_int_equal(ast_parse(buf_str(&b), &arena, &a, NULL, &err), ERR_LIMIT);
    buf_release(&b);
    arena_release(&arena);
}

static void prints_as(double v, const char *want)
{
    char text[PYNUM_TEXT_MAX];
    assert_int_equal(pynum_repr(v, text), strlen(want));
    assert_string_equal(text, want);
}

/* Without zeros at either end. */
static int significant_digits(const char *text)
{
    int n = 0, zeros = 0;
    for (const char *p = text; *p && *p != 'e'; p++) {
        if (*p < '0' || *p > '9')
            continue;
        zeros = *p == '0' ? zeros + (n > 0) : 0;
        n += n > 0 || *p != '0';
    }
    return n - zeros;
}

static void numbers_are_the_shortest_that_read_back(void **state)
{
    prints_as(0, "0.0");
    prints_as(-0.0, "-0.0");
    prints_as(5, "5.0");
    prints_as(-12.25, "-12.25");
    prints_as(0.1, "0.1");
    prints_as(0.1 + 0.2, "0.30000000000000004");
    prints_as(1 / 3.0, "0.3333333333333333");
    prints_as(1e15, "1000000000000000.0");
    prints_as(1e16, "1e+16");
    prints_as(123456789012345680.0, "1.2345678901234568e+17");
    prints_as(0.0001, "0.0001");
    prints_as(0.00001, "1e-05");
    prints_as(0.00012345, "0.00012345");
    prints_as(5e-324, "5e-324");
    prints_as(1.7976931348623157e308, "1.7976931348623157e+308");
    prints_as(9007199254740993.0, "9007199254740992.0");
    prints_as(INFINITY, "inf");
    unsigned long long seed = 42;
    for (int i = 0; i < 200000; i++) { /* any bits, and numbers with few decimals */
        char text[PYNUM_TEXT_MAX];
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        double v;
        memcpy(&v, &seed, sizeof v);
        if (i % 2)
            v = (double)(seed >> 40) / pow(10, (double)(seed % 8));
        if (!isfinite(v))
            continue;
        pynum_repr(v, text);
        assert_true(strtod(text, NULL) == v);
        int digits = 1;
        char least[40];
        while (i % 32 < 2 && snprintf(least, sizeof least, "%.*e", digits - 1, v) && strtod(least, NULL) != v)
            digits++;
        if (i % 32 < 2)
            assert_true(significant_digits(text) <= digits);
    }
}

static void rounding_is_of_the_exact_value(void **state)
{
    assert_true(pynum_round(2.5, 0) == 2);
    assert_true(pynum_round(3.5, 0) == 4);
    assert_true(pynum_round(-2.5, 0) == -2);
    assert_true(pynum_round(2.675, 2) == 2.67); /* 2.675 is a little less */
    assert_true(pynum_round(0.125, 2) == 0.12);
    assert_true(pynum_round(1234.5, -2) == 1200);
    assert_true(pynum_round(150, -2) == 200);
    assert_true(pynum_round(250, -2) == 200);
    assert_true(pynum_round(1e300, 6) == 1e300);
    assert_true(pynum_round(1.0000005, 6) == 1.000001); /* a little more than half */
}

static void numbers_in_strings(void **state)
{
    double v;
    assert_true(pynum_parse(" 3 ", &v) && v == 3);
    assert_true(pynum_parse("-1.5e3", &v) && v == -1500);
    assert_true(pynum_parse("inf", &v) && isinf(v));
    assert_false(pynum_parse("", &v));
    assert_false(pynum_parse("3x", &v));
    assert_false(pynum_parse("0x10", &v));
    assert_false(pynum_parse("nan(1)", &v));
}

/* "finest", or the aggregation that coarse slots may be put together by. */
static void thins_as(const char *text, const char *want)
{
    struct arena arena = ARENA_INIT;
    struct ast *a;
    struct err err = ERR_INIT;
    assert_int_equal(ast_parse(text, &arena, &a, NULL, &err), OK);
    struct thinning t = thin_target(a, 100);
    assert_string_equal(t.max_points ? aggregation_name(t.consolidation) : "finest", want);
    assert_int_equal(thin_target(a, 0).max_points, 0);
    arena_release(&arena);
}

static void targets_that_hand_values_on_may_be_thinned(void **state)
{
    thins_as("a.b.*", "average");
    thins_as("seriesByTag('name=cpu')", "average");
    thins_as("alias(a.b,'sumSeries(x)')", "average");
    thins_as("aliasByNode(a.*,1)|color('red')|limit(3)", "average");
    thins_as("consolidateBy(a.b,'max')", "max");
    thins_as("a.b|consolidateBy('min')|alias('x')", "min");
    thins_as("consolidateBy(a.b,consolidationFunc='last')", "last");
    thins_as("consolidateBy(consolidateBy(a.b,'max'),'sum')", "sum");
    thins_as("cumulative(consolidateBy(a.b,'first'))", "sum");
    thins_as("consolidateBy(group(a.b,alias(c.d,'x')),'avg')", "average");
    thins_as("group(a.b|alias('x'),c.d)|cumulative()", "sum");
}

static void other_targets_need_every_point(void **state)
{
    thins_as("sumSeries(a.*)", "finest");
    thins_as("alias(scale(a.b,2),'x')", "finest");
    thins_as("a.b|movingAverage(5)|alias('x')", "finest");
    thins_as("consolidateBy(a.b,'first')", "finest");
    thins_as("consolidateBy(a.b,'avg_zero')", "finest");
    thins_as("consolidateBy(a.b,sum)", "finest");
    thins_as("consolidateBy(a.b)", "finest");
    thins_as("group(consolidateBy(a.b,'max'),c.d)", "finest");
    thins_as("group(a.b,c.d|consolidateBy('max'))", "finest");
    thins_as("template(a.$x,x='b')", "finest");
    thins_as("noSuchFunction(a.b)", "finest");
    thins_as("constantLine(5)", "finest");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_paths_and_literals),
        cmocka_unit_test(what_is_a_number_and_what_a_path),
        cmocka_unit_test(escapes_and_alternatives_in_paths),
        cmocka_unit_test(strings_keep_what_is_in_them),
        cmocka_unit_test(calls_that_do_not_parse_are_paths),
        cmocka_unit_test(positions_are_those_of_the_text),
        cmocka_unit_test(errors_show_the_place),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(numbers_are_the_shortest_that_read_back),
        cmocka_unit_test(rounding_is_of_the_exact_value),
        cmocka_unit_test(numbers_in_strings),
        cmocka_unit_test(targets_that_hand_values_on_may_be_thinned),
        cmocka_unit_test(other_targets_need_every_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
