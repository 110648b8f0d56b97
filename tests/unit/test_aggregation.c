/* storage-aggregation.conf. */
#include "model/aggregation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct aggregation_rules *parse(const char *text)
{
    struct aggregation_rules *r = NULL;
    struct err err = ERR_INIT;
    if (aggregation_rules_parse(text, "storage-aggregation.conf", &r, &err) != OK)
        fail_msg("%s", err.text);
    return r;
}

static const struct aggregation_rule *match(struct aggregation_rules *r, const char *name)
{
    return aggregation_match(r, name, strlen(name));
}

static void check(struct aggregation_rules *r, const char *name, const char *rule, enum aggregation method,
                  double factor)
{
    const struct aggregation_rule *x = match(r, name);
    assert_string_equal(x->rule, rule);
    assert_int_equal(x->method, method);
    assert_true(x->x_files_factor == factor);
}

static void the_default_is_average_of_half(void **state)
{
    struct aggregation_rules *r = aggregation_rules_default();
    check(r, "a.b", "default", AGGREGATION_AVERAGE, 0.5);
    aggregation_rules_free(r);
    r = parse("");
    check(r, "a.b", "default", AGGREGATION_AVERAGE, 0.5);
    aggregation_rules_free(r);
}

/* The example that Graphite ships. */
static void the_first_match_wins(void **state)
{
    struct aggregation_rules *r = parse("# Aggregation methods for whisper files.\n"
                                        "[min]\n"
                                        "pattern = \\.lower$\n"
                                        "xFilesFactor = 0.1\n"
                                        "aggregationMethod = min\n"
                                        "\n"
                                        "[sum]\r\n"
                                        "pattern = \\.count$\r\n"
                                        "xFilesFactor = 0\r\n"
                                        "aggregationMethod = sum\r\n"
                                        "; two rules for one name\n"
                                        "[late]\n"
                                        "pattern = count$\n"
                                        "aggregationMethod = last\n"
                                        "[half]\n"
                                        "pattern = ^half\n"
                                        "xFilesFactor = 1.\n"
                                        "[default_average]\n"
                                        "pattern = .*\n"
                                        "xFilesFactor = .5\n"
                                        "aggregationMethod = avg_zero\n");
    check(r, "a.lower", "min", AGGREGATION_MIN, 0.1);
    check(r, "a.count", "sum", AGGREGATION_SUM, 0);
    check(r, "a.discount", "late", AGGREGATION_LAST, 0.5);
    check(r, "half.of.it", "half", AGGREGATION_AVERAGE, 1);
    check(r, "x;tag=1", "default_average", AGGREGATION_AVG_ZERO, 0.5);
    aggregation_rules_free(r);
}

static void errors_name_the_line_and_the_fault(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"[a]\npattern = x\naggregationMethod = median\n",
         "f:3: aggregation 'median' is not possible: a roll-up "},
        {"[a]\npattern = x\naggregationMethod = mean\n",
         "f:3: unknown aggregation 'mean'; known are average, sum"},
        {"[a]\npattern = x\naggregationMethod =\n", "f:3: unknown aggregation ''"},
        {"[a]\npattern = x\nxFilesFactor = 1.5\n", "f:3: xFilesFactor '1.5' is not a number from 0 to 1"},
        {"[a]\npattern = x\nxFilesFactor = -0.5\n", "f:3: xFilesFactor '-0.5' is not"},
        {"[a]\npattern = x\nxFilesFactor = nan\n", "f:3: xFilesFactor 'nan' is not"},
        {"[a]\npattern = x\nxFilesFactor = 0x1\n", "f:3: xFilesFactor '0x1' is not"},
        {"[a]\npattern = x\nxFilesFactor = .\n", "f:3: xFilesFactor '.' is not"},
        {"[a]\npattern = x\nxFilesFactor = 0\nxFilesFactor = 0\n",
         "f:4: 'xFilesFactor' is given twice in [a]"},
        {"[a]\npattern = x\nretentions = 1:1\n",
         "f:3: unknown key 'retentions'; known are pattern, xFilesFactor and aggregationMethod"},
        {"[a]\nxFilesFactor = 0\n", "f:1: [a] has no 'pattern'"},
        {"[a]\npattern = (\n", "f:2: bad regular expression"},
        {"[a]\npattern = x\n[a]\npattern = y\n", "f:3: section [a] is there already, at line 1"},
        {"xFilesFactor = 0\n", "f:1: 'xFilesFactor' comes before the first section"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct aggregation_rules *r = NULL;
        struct err err = ERR_INIT;
        assert_int_equal(aggregation_rules_parse(cases[i].text, "f", &r, &err), ERR_INVALID);
        if (strncmp(err.text, cases[i].want, strlen(cases[i].want)) != 0)
            fail_msg("got '%s', want '%s'", err.text, cases[i].want);
        assert_null(r);
    }
}

static void files_are_loaded_and_refused(void **state)
{
    char path[] = "/tmp/carat-aggregation-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    const char *text = "[a]\npattern = ^a\naggregationMethod = max\n";
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    struct aggregation_rules *r = NULL;
    struct err err = ERR_INIT;
    assert_int_equal(aggregation_rules_load(path, &r, &err), OK);
    check(r, "abc", "a", AGGREGATION_MAX, 0.5);
    aggregation_rules_free(r);
    close(fd);
    unlink(path);
    assert_int_equal(aggregation_rules_load(path, &r, &err), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_is_average_of_half),
        cmocka_unit_test(the_first_match_wins),
        cmocka_unit_test(errors_name_the_line_and_the_fault),
        cmocka_unit_test(files_are_loaded_and_refused),
    };
    return cmocka_run_group_tests_name("aggregation", tests, NULL, NULL);
}
