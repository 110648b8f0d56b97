#include "query/timespec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Saturday 2026-11-21 12:34:56 UTC */
#define NOW      1795264496ll
#define MIDNIGHT 1795219200ll

static void means(const char *text, const struct query_zone *zone, int64_t want)
{
    int64_t at = 0;
    struct err err = ERR_INIT;
    int rc = query_parse_time(text, zone, NOW, &at, &err);
    if (rc < 0)
        print_error("%s: %s\n", text, err.text);
    assert_int_equal(rc, OK);
    assert_int_equal(at, want);
}

static void means_nothing(const char *text)
{
    int64_t at;
    struct err err = ERR_INIT;
    assert_int_equal(query_parse_time(text, NULL, NOW, &at, &err), ERR_INVALID);
    assert_true(err.text[0]);
}

static void moments_and_offsets(void **state)
{
    means("now", NULL, NOW);
    means("", NULL, NOW);
    means("1795176000", NULL, 1795176000);
    means("-1h", NULL, NOW - 3600);
    means("now-2d", NULL, NOW - 2 * 86400);
    means("-90s", NULL, NOW - 90);
    means("-1d12h30min", NULL, NOW - 86400 - 12 * 3600 - 30 * 60);
    means("-1w", NULL, NOW - 7 * 86400);
    means("-1mon", NULL, NOW - 30 * 86400);
    means("-1year", NULL, NOW - 365 * 86400);
    means("+10minutes", NULL, NOW + 600);
    means("today+1h", NULL, MIDNIGHT + 3600);
}

static void days(void **state)
{
    means("today", NULL, MIDNIGHT);
    means("yesterday", NULL, MIDNIGHT - 86400);
    means("tomorrow", NULL, MIDNIGHT + 86400);
    means("20261120", NULL, MIDNIGHT - 86400);
    means("99999999", NULL, 99999999); /* no date: an epoch */
    means("11/20/2026", NULL, MIDNIGHT - 86400);
    means("11/20/26", NULL, MIDNIGHT - 86400);
    means("nov20", NULL, MIDNIGHT - 86400);
    means("November 5", NULL, MIDNIGHT - 16 * 86400);
    means("friday", NULL, MIDNIGHT - 86400);
    means("saturday", NULL, MIDNIGHT);
    means("sun", NULL, MIDNIGHT - 6 * 86400);
}

static void times_of_day(void **state)
{
    means("14:30_20261120", NULL, MIDNIGHT - 86400 + 14 * 3600 + 1800);
    means("14:30 20261120", NULL, MIDNIGHT - 86400 + 14 * 3600 + 1800);
    means("noon", NULL, MIDNIGHT + 43200);
    means("noon_yesterday", NULL, MIDNIGHT - 43200);
    means("midnight", NULL, MIDNIGHT);
    means("teatime", NULL, MIDNIGHT + 16 * 3600);
    means("6am", NULL, MIDNIGHT + 6 * 3600);
    means("6:20pm_20261120", NULL, MIDNIGHT - 86400 + 18 * 3600 + 1200);
    means("12:00pm", NULL, MIDNIGHT); /* as graphite-web */
    means("06:00", NULL, MIDNIGHT + 6 * 3600);
}

static void what_is_no_time(void **state)
{
    static const char *const bad[] = {"nosuch",
                                      "1795176000-600s",
                                      "-30d+1h",
                                      "25:00_20261120",
                                      "12:60_20261120",
                                      "1795176000.5",
                                      "-1",
                                      "-1day-2h",
                                      "20261301x",
                                      "11/31/2026",
                                      "02/30/2026",
                                      "nov31",
                                      "-1x",
                                      "--1h",
                                      "-99999999999d",
                                      "99999999999999",
                                      "1:2:3",
                                      "12:00_2026-11-20"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        means_nothing(bad[i]);
}

static void intervals(void **state)
{
    int64_t s;
    assert_int_equal(query_parse_interval("10min", &s, NULL), OK);
    assert_int_equal(s, 600);
    assert_int_equal(query_parse_interval("-1d6h", &s, NULL), OK);
    assert_int_equal(s, -108000);
    assert_int_equal(query_parse_interval("", &s, NULL), OK);
    assert_int_equal(s, 0);
    assert_int_equal(query_parse_interval("5zz", &s, NULL), ERR_INVALID);
    assert_int_equal(query_parse_interval("h", &s, NULL), ERR_INVALID);
    assert_int_equal(query_parse_interval("5", &s, NULL), ERR_INVALID);
}

static void zones_come_from_the_system(void **state)
{
    struct query_zone *prague = query_zone_load("Europe/Prague"), *york = query_zone_load("America/New_York");
    if (!prague || !york) { /* cmocka's skip() is a failure in TAP */
        print_message("# no time zones on this machine\n");
        return;
    }
    assert_int_equal(query_zone_offset(prague, NOW), 3600);
    assert_int_equal(query_zone_offset(prague, 1782000000), 7200); /* June 2026 */
    assert_int_equal(query_zone_offset(york, NOW), -5 * 3600);
    assert_int_equal(query_zone_offset(prague, 4118000000),
                     7200); /* June 2100: beyond the listed transitions */
    means("today", prague, MIDNIGHT - 3600);
    means("14:30_20261120", york, MIDNIGHT - 86400 + 14 * 3600 + 1800 + 5 * 3600);
    /* 2026-03-29 02:00 becomes 03:00, 2026-10-25 03:00 becomes 02:00 */
    assert_int_equal(query_zone_to_utc(prague, 1774751400), 1774751400 - 3600); /* 02:30 does not exist */
    assert_int_equal(query_zone_to_utc(prague, 1774755000), 1774755000 - 7200); /* 03:30 */
    assert_int_equal(query_zone_to_utc(prague, 1792895400),
                     1792895400 - 3600); /* 02:30 twice: standard time */
    assert_int_equal(query_zone_to_utc(prague, 1792891800), 1792891800 - 7200); /* 01:30 */
    query_zone_free(prague);
    query_zone_free(york);
    assert_null(query_zone_load("No/Such"));
    assert_null(query_zone_load("../../etc/passwd"));
    assert_null(query_zone_load(""));
    assert_null(query_zone_load("Europe"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_and_offsets), cmocka_unit_test(days),
        cmocka_unit_test(times_of_day),        cmocka_unit_test(what_is_no_time),
        cmocka_unit_test(intervals),           cmocka_unit_test(zones_come_from_the_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
