#include "base/mem.h"
#include "hot/hot_redis_format.h"
#include "redis/redis_batch.h"
#include "redis/redis_map.h"
#include "redis/redis_slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint16_t slot(const char *key)
{
    return redis_slot(key, strlen(key));
}

/* As CLUSTER KEYSLOT answers. */
static void slots_are_those_of_redis(void **state)
{
    assert_int_equal(slot("123456789"), 0x31c3 % REDIS_SLOTS);
    assert_int_equal(slot("foo"), 12182);
    assert_int_equal(slot("bar"), 5061);
    assert_int_equal(slot(""), 0);
    assert_int_equal(slot("{user1000}.following"), slot("user1000"));
    assert_int_equal(slot("foo{bar}{zap}"), slot("bar"));
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));
    assert_int_not_equal(slot("foo{}{bar}"), slot("bar"));
    assert_int_not_equal(slot("foo{bar"), slot("bar"));
}

static void commands_are_encoded_as_redis_reads_them(void **state)
{
    struct redis_batch b = REDIS_BATCH_INIT;
    redis_batch_begin(&b, 7, 4);
    redis_batch_str(&b, "SET");
    redis_batch_arg(&b, "a\0b", 3);
    redis_batch_i64(&b, INT64_MIN);
    redis_batch_numbered(&b, '#', 4294967295u);
    redis_batch_begin(&b, 8, 2);
    redis_batch_str(&b, "GET");
    redis_batch_str(&b, "");
    static const char wanted[] =
        "*4\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$20\r\n-9223372036854775808\r\n$11\r\n#4294967295\r\n"
        "*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
    assert_int_equal(b.bytes.len, sizeof wanted - 1);
    assert_memory_equal(b.bytes.data, wanted, b.bytes.len);
    assert_int_equal(b.n, 2);
    assert_true(b.v[0].slot == 7 && b.v[0].at == 0 && b.v[1].at == b.v[0].len && b.v[1].slot == 8);
    redis_batch_release(&b);
}

static void redirections_are_read(void **state)
{
    struct redis_address a;
    unsigned s;
    assert_true(redis_redirection("MOVED 3999 127.0.0.1:6381", &s, &a));
    assert_true(s == 3999 && a.port == 6381 && a.host_len == 9 && memcmp(a.host, "127.0.0.1", 9) == 0);
    assert_true(redis_redirection("ASK 16383 [::1]:1", &s, &a));
    assert_true(s == 16383 && a.port == 1 && a.host_len == 3 && memcmp(a.host, "::1", 3) == 0);
    assert_true(redis_redirection("MOVED 1 :6381", &s, &a)); /* the same host */
    assert_int_equal(a.host_len, 0);
    static const char *const bad[] = {"MOVED",        "MOVED ",       "MOVED 1",       "MOVED 16384 a:1",
                                      "MOVED x a:1",  "MOVED 1 a",    "MOVED 1 a:0",   "MOVED 1 a:65536",
                                      "MOVED 1 a:1x", "MOVED -1 a:1", "MOVED 1  a:1 b"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (redis_redirection(bad[i], &s, &a))
            fail_msg("\"%s\" was read", bad[i]);
}

static const char *keyed(unsigned levels, const char *name, int64_t window_ms)
{
    static struct buf out;
    struct buf series = BUF_INIT;
    const struct hot_redis_naming naming = {"c:", levels};
    buf_clear(&out);
    hot_redis_put_series(&naming, 60000, name, strlen(name), &series);
    hot_redis_put_window_key(&naming, (const char *)series.data, series.len, window_ms, 3, &out);
    buf_release(&series);
    return buf_str(&out);
}

static void a_host_s_series_share_a_hash_tag(void **state)
{
    assert_string_equal(keyed(2, "host.web-1.cpu.user", 14400000),
                        "c:60000:{host.web-1}.cpu.user:14400000/3");
    assert_string_equal(keyed(2, "kitchen.temperature", 0), "c:60000:{kitchen}.temperature:0/3");
    assert_string_equal(keyed(2, "load", -14400000), "c:60000:{load}:-14400000/3");
    assert_string_equal(keyed(0, "host.web-1.cpu", 0), "c:60000:{host.web-1.cpu}:0/3");
    assert_string_equal(keyed(1, "a.b.c", 0), "c:60000:{a}.b.c:0/3");
    assert_string_equal(keyed(2, "x{y}%.z.w", 0), "c:60000:{x%7By%7D%25.z}.w:0/3");
    assert_string_equal(keyed(2, "disk.used;host=a;mount=/", 0), "c:60000:{a}:disk.used;host=a;mount=/:0/3");
    assert_string_equal(keyed(2, "disk.used;dc=x", 0), "c:60000:{disk.used;dc=x}:0/3");
}

static void keys_are_read_back(void **state)
{
    static const char *const names[] = {
        "host.web-1.cpu.user", "load", "a.b", "x{y}%.z.w", "d;host=a", "d;dc=1:2/3", "a:1.b:2.c:3/4",
        "d.u;host={}%;x=:1/1"};
    const struct hot_redis_naming naming = {"c:", 2};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (unsigned levels = 0; levels < 4; levels++) {
            struct hot_redis_key k;
            struct buf name = BUF_INIT;
            const char *key = keyed(levels, names[i], 28800000);
            assert_true(hot_redis_key_read(&naming, key, strlen(key), &k, &name));
            assert_string_equal(buf_str(&name), names[i]);
            assert_true(k.step_ms == 60000 && k.window_ms == 28800000 && k.partition == 3);
            buf_release(&name);
        }
    static const char *const bad[] = {"",
                                      "c:",
                                      "60000:{a}:0/3",
                                      "c:60000:{a}:0",
                                      "c:60000:{a}:0/",
                                      "c:{a}:0/3",
                                      "c:60000:a:0/3",
                                      "c:60000:{a:0/3",
                                      "c:1:{a}:0/3",
                                      "c:w60000:{a}",
                                      "c:60000:{a}:1/3",
                                      /* no window begins there */ "c:60000:{a}:0/256",
                                      "c:60000:{a%7}:0/3",
                                      "c:60000:{a}:99999999999999999999/3"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct hot_redis_key k;
        struct buf name = BUF_INIT;
        if (hot_redis_key_read(&naming, bad[i], strlen(bad[i]), &k, &name))
            fail_msg("\"%s\" was read", bad[i]);
        buf_release(&name);
    }
}

static void a_set_member_names_a_window_and_its_partition(void **state)
{
    static const int64_t windows[] = {0, 14400000, -14400000, 14400000 * 123456ll};
    for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
        int64_t m = hot_redis_member(windows[i], 60000, 255);
        assert_true(hot_redis_member_window(m, 60000) == windows[i]);
        assert_int_equal(hot_redis_member_partition(m), 255);
    }
}

static void every_value_has_a_cell_of_its_own(void **state)
{
    uint8_t bytes[HOT_REDIS_HEADER_BYTES + 8 * 240] = {0};
    const double values[] = {0.0, -0.0, 1.5, -1e300, 5e-324};
    struct hot_redis_header h;
    struct slots s;
    struct err err = ERR_INIT;
    put_u64be(bytes, hot_redis_mark(7, 240));
    put_u64be(bytes + 8, 5);
    put_u64be(bytes + 16, 9);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        assert_true(hot_redis_cell(values[i]) != 0);
        put_u64be(bytes + HOT_REDIS_HEADER_BYTES + 8 * (3 * i), hot_redis_cell(values[i]));
    }
    assert_int_equal(hot_redis_window_read(bytes, sizeof bytes, 240, &h, &s, &err), OK);
    assert_true(h.partition == 7 && h.nslots == 240 && h.lo == 5 && h.hi == 9);
    assert_int_equal(slots_count(s.present, 240), ARRAY_LEN(values));
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        assert_true(slot_get(s.present, 3 * i) && f64_bits(s.value[3 * i]) == f64_bits(values[i]));
    assert_int_equal(hot_redis_window_read(bytes, sizeof bytes - 8, 240, &h, &s, &err), ERR_CORRUPT);
    assert_int_equal(hot_redis_window_read(bytes, sizeof bytes, 239, &h, &s, &err), ERR_CORRUPT);
    put_u64be(bytes + 16, 4); /* it ends before it begins */
    assert_int_equal(hot_redis_window_read(bytes, sizeof bytes, 240, &h, &s, &err), ERR_CORRUPT);
    put_u64be(bytes, 0);
    assert_int_equal(hot_redis_header_read(bytes, sizeof bytes, &h, &err), ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_those_of_redis),
        cmocka_unit_test(commands_are_encoded_as_redis_reads_them),
        cmocka_unit_test(redirections_are_read),
        cmocka_unit_test(a_host_s_series_share_a_hash_tag),
        cmocka_unit_test(keys_are_read_back),
        cmocka_unit_test(a_set_member_names_a_window_and_its_partition),
        cmocka_unit_test(every_value_has_a_cell_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
