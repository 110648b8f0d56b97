#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "base/secret_file.h"
#include "base/shortest.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void crc32c_gives_the_rfc_vectors(void **state)
{
    uint8_t zeros[32] = {0}, ones[32], up[32];
    memset(ones, 0xff, sizeof ones);
    for (int i = 0; i < 32; i++)
        up[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(crc32c(0, up, 32), 0x46dd794e);
    assert_int_equal(crc32c(crc32c(0, up, 13), up + 13, 19), 0x46dd794e);
}

static void varints_round_trip_and_refuse_damage(void **state)
{
    const uint64_t values[] = {0, 1, 127, 128, 300, 1ull << 32, UINT64_MAX, UINT64_MAX - 1};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint8_t b[VARINT_MAX];
        size_t n = put_varint(b, values[i]);
        const uint8_t *p = b;
        uint64_t v = 0;
        assert_int_equal(get_varint(&p, b + n, &v), 0);
        assert_true(v == values[i] && p == b + n);
        p = b;
        assert_int_equal(get_varint(&p, b + n - 1, &v), -1);
        assert_ptr_equal(p, b);
    }
    const uint8_t too_long[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    const uint8_t *p = too_long;
    uint64_t v = 0;
    assert_int_equal(get_varint(&p, too_long + sizeof too_long, &v), -1);
    assert_true(unzigzag(zigzag(INT64_MIN)) == INT64_MIN && unzigzag(zigzag(-1)) == -1);
}

static void json_strings_are_escaped(void **state)
{
    struct buf b = BUF_INIT;
    buf_json_string(&b, "a\"\\\n\x01\xc3\xa9\xff", 8);
    assert_string_equal(buf_str(&b), "\"a\\\"\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd\"");
    buf_release(&b);
}

static void metrics_render_as_prometheus_text(void **state)
{
    struct metrics *m = metrics_new();
    struct counter *b = metrics_counter(m, "carat_x_total", "reason=\"b\"", "Things.");
    struct counter *a = metrics_counter(m, "carat_x_total", "reason=\"a\"", "Things.");
    counter_add(a, 3);
    counter_add(b, 4);
    assert_ptr_equal(metrics_counter(m, "carat_x_total", "reason=\"a\"", "Things."), a);
    histogram_observe_us(metrics_histogram(m, "carat_t_seconds", NULL, "Time."), 3);
    struct buf out = BUF_INIT;
    metrics_render(m, &out);
    assert_non_null(strstr(buf_str(&out), "# HELP carat_x_total Things.\n# TYPE carat_x_total counter\n"
                                          "carat_x_total{reason=\"a\"} 3\ncarat_x_total{reason=\"b\"} 4\n"));
    assert_non_null(strstr(buf_str(&out), "carat_t_seconds_bucket{le=\"2e-06\"} 0\n"));
    assert_non_null(strstr(buf_str(&out), "carat_t_seconds_bucket{le=\"4e-06\"} 1\n"));
    assert_non_null(strstr(buf_str(&out), "carat_t_seconds_count 1\n"));
    buf_release(&out);
    metrics_free(m);
}

static void errors_carry_code_and_words(void **state)
{
    struct err e = ERR_INIT;
    assert_int_equal(err_sys(&e, ERR_IO, 28 /* ENOSPC */, "write %s", "x"), ERR_NO_SPACE);
    assert_non_null(strstr(e.text, "write x: No space"));
    err_prefix(&e, "segment %d", 7);
    assert_non_null(strstr(e.text, "segment 7: write x"));
    assert_int_equal(err_set(NULL, ERR_BUSY, "nobody listens"), ERR_BUSY);
}

static void arenas_keep_addresses_until_reset(void **state)
{
    struct arena a = ARENA_INIT;
    char *first = arena_strndup(&a, "first", 5);
    for (int i = 0; i < 1000; i++)
        memset(arena_alloc(&a, 1000), i, 1000);
    assert_string_equal(first, "first");
    arena_reset(&a);
    assert_int_equal(a.used, 0);
    arena_release(&a);
}

/* Reads back, and no shorter decimal does. */
static void check_shortest(double v)
{
    uint64_t digits;
    int exponent, precision = 0;
    char text[64], best[64];
    shortest_decimal(v, &digits, &exponent);
    snprintf(text, sizeof text, "%llue%d", (unsigned long long)digits, exponent);
    assert_true(strtod(text, NULL) == v);
    do
        snprintf(best, sizeof best, "%.*e", precision, v);
    while (strtod(best, NULL) != v && ++precision < 17);
    assert_true(strcspn(text, "e") <= (size_t)precision + 1);
}

static void shortest_decimals_read_back(void **state)
{
    const double edges[] = {5e-324,
                            2.2250738585072014e-308,
                            1.7976931348623157e308,
                            0.1,
                            0.3,
                            1.0 / 3,
                            1e23,
                            9007199254740991.0,
                            9007199254740992.0,
                            44.833999999999996,
                            5e-5,
                            123456.0};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        check_shortest(edges[i]);
    unsigned seed = (unsigned)time(NULL);
    print_message("# seed %u\n", seed);
    srand(seed);
    for (int e = -1074; e < 1024; e++)
        check_shortest(ldexp(1, e));
    for (int i = 0; i < 50000; i++) {
        double v = bits_f64(((uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand()) >> 1);
        if (isfinite(v) && v > 0)
            check_shortest(v);
        check_shortest((1 + rand() % 100000) / 60.0);
        check_shortest((1 + rand() % 1000000) / 1000.0);
    }
}

static int read_secret(const char *text, mode_t mode, char *out, size_t size, struct err *err)
{
    char path[] = "/tmp/carat-secret-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    int rc = secret_file_read(path, out, size, err);
    unlink(path);
    assert_true(rc == OK || (strstr(err->text, path) && !strstr(err->text, "hunter2")));
    return rc;
}

static void secrets_come_from_files_of_their_own(void **state)
{
    char out[16];
    struct err err = ERR_INIT;
    assert_int_equal(read_secret("hunter2 \r\nmore\n", 0600, out, sizeof out, &err), OK);
    assert_string_equal(out, "hunter2");
    assert_int_equal(read_secret("hunter2", 0604, out, sizeof out, &err), ERR_INVALID);
    assert_int_equal(read_secret("\nhunter2", 0600, out, sizeof out, &err), ERR_INVALID);
    assert_int_equal(read_secret("hunter2hunter2hunter2", 0600, out, sizeof out, &err), ERR_INVALID);
    assert_int_equal(secret_file_read("/nonexistent/secret", out, sizeof out, &err), ERR_IO);
}

static void base64_round_trips(void **state)
{
    (void)state;
    /* RFC 4648 section 10 */
    static const char *pairs[][2] = {{"", ""},
                                     {"f", "Zg=="},
                                     {"fo", "Zm8="},
                                     {"foo", "Zm9v"},
                                     {"foob", "Zm9vYg=="},
                                     {"fooba", "Zm9vYmE="},
                                     {"foobar", "Zm9vYmFy"}};
    struct buf text = BUF_INIT, back = BUF_INIT;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        buf_clear(&text);
        buf_clear(&back);
        base64_put(&text, pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(buf_str(&text), pairs[i][1]);
        assert_int_equal(base64_get(&back, pairs[i][1], strlen(pairs[i][1])), 0);
        assert_string_equal(buf_str(&back), pairs[i][0]);
    }
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    buf_clear(&text);
    buf_clear(&back);
    base64_put(&text, bytes, sizeof bytes);
    assert_int_equal(base64_get(&back, buf_str(&text), text.len), 0);
    assert_int_equal(back.len, sizeof bytes);
    assert_memory_equal(back.data, bytes, sizeof bytes);
    static const char *bad[] = {"Z", "Zg=", "Zg=a", "Z===", "====", "Zm9v Zm9v", "Zm9\n", " Zg==", "Zm-v"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(base64_get(&back, bad[i], strlen(bad[i])), -1);
    assert_int_equal(back.len, sizeof bytes);
    buf_release(&text);
    buf_release(&back);
}

struct pieces {
    _Atomic int next, done, at_once, most;
};

static void take_pieces(void *ctx)
{
    struct pieces *p = ctx;
    int now = atomic_fetch_add(&p->at_once, 1) + 1;
    for (int most = p->most; now > most && !atomic_compare_exchange_weak(&p->most, &most, now);)
        ;
    while (atomic_fetch_add(&p->next, 1) < 1000)
        atomic_fetch_add(&p->done, 1);
    atomic_fetch_sub(&p->at_once, 1);
}

static void *run_pieces(void *ctx)
{
    for (int i = 0; i < 200; i++) {
        struct pieces p = {0};
        pool_run(ctx, 2, take_pieces, &p);
        assert_int_equal(p.done, 1000);
        assert_int_equal(p.at_once, 0);
        assert_in_range(p.most, 1, 3);
    }
    return NULL;
}

static void helpers_join_and_are_waited_for(void **state)
{
    struct pool *pool;
    struct err err;
    pthread_t threads[3];
    assert_int_equal(pool_new(4, "test", &pool, &err), OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_pieces, pool), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    pool_free(pool);
    run_pieces(NULL); /* nobody helps */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_rfc_vectors),
        cmocka_unit_test(varints_round_trip_and_refuse_damage),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(metrics_render_as_prometheus_text),
        cmocka_unit_test(shortest_decimals_read_back),
        cmocka_unit_test(secrets_come_from_files_of_their_own),
        cmocka_unit_test(errors_carry_code_and_words),
        cmocka_unit_test(base64_round_trips),
        cmocka_unit_test(arenas_keep_addresses_until_reset),
        cmocka_unit_test(helpers_join_and_are_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
