#include "base/hash.h"
#include "model/batch.h"
#include "model/name.h"
#include "model/part.h"
#include "model/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void windows_are_epoch_aligned(void **state)
{
    assert_int_equal(window_span_ms(60000), 4 * 3600000);
    assert_int_equal(window_slots(60000), 240);
    assert_int_equal(window_slots(300000), 288);
    assert_int_equal(window_slots(3600000), 168);
    assert_int_equal(window_slots(86400000), 365);
    assert_int_equal(window_slots(1000), 240);
    assert_int_equal(window_start(1763800000123, 60000), 1763800000123 / 14400000 * 14400000);
    assert_int_equal(floor_to(-1, 60000), -60000);
    assert_int_equal(ceil_to(60001, 60000), 120000);
    assert_int_equal(window_slot(14400000 + 119999, 60000), 1);
}

static void check_name(const char *in, const char *want, enum reject want_why)
{
    struct arena a = ARENA_INIT;
    const char *out;
    size_t len;
    enum reject why;
    int rc = name_canonical(in, strlen(in), &a, &out, &len, &why);
    if (want) {
        assert_int_equal(rc, 0);
        assert_int_equal(len, strlen(want));
        assert_memory_equal(out, want, len);
    } else {
        assert_int_equal(rc, -1);
        assert_int_equal(why, want_why);
    }
    arena_release(&a);
}

static void names_are_checked_and_tags_sorted(void **state)
{
    check_name("servers.web-1.cpu.user", "servers.web-1.cpu.user", 0);
    check_name("odd.paren(1).v", "odd.paren(1).v", 0);
    check_name("odd.eq=1.v", "odd.eq=1.v", 0);
    check_name("caf\xc3\xa9.x", "caf\xc3\xa9.x", 0);
    check_name("disk.used;mount=/data;host=a", "disk.used;host=a;mount=/data", 0);
    check_name("x;a=1;b=2", "x;a=1;b=2", 0);
    check_name("x;b=2;a=1;b=3", "x;a=1;b=3", 0);
    const char *bad[] = {"",   ".a",  "a.",   "a..b", "a b",    "a\tb",   "a\x7f", "a\xff",
                         "a;", "a;x", "a;=1", "a;x=", "a;x=~1", "a;!x=1", ";a=1",  "\xc0\xaf"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_name(bad[i], NULL, REJECT_NAME);
    char name[10001];
    memset(name, 'a', 10000);
    name[10000] = 0;
    check_name(name, NULL, REJECT_NAME_TOO_LONG);
    name[NAME_MAX_BYTES] = 0;
    check_name(name, name, 0);
}

static void batches_round_trip(void **state)
{
    struct batch_builder bb = BATCH_BUILDER_INIT;
    struct buf out = BUF_INIT;
    for (int wide = 0; wide < 2; wide++) {
        batch_builder_clear(&bb, 1763800001234);
        buf_clear(&out);
        batch_builder_def(&bb, 7, 60000, "a.b", 3);
        batch_builder_def(&bb, 9, 10000, "c", 1);
        for (uint32_t i = 0; i < 1001; i++)
            batch_builder_point(&bb, i % 2 ? 7 : 9,
                                1763800000000 + i * 1000 - (wide && i == 5 ? 1ll << 40 : 0), i * 0.1);
        batch_builder_encode(&bb, &out);
        struct batch b;
        struct err err = ERR_INIT;
        assert_int_equal(batch_open(&b, out.data, out.len, &err), OK);
        assert_int_equal(b.npoints, 1001);
        assert_int_equal(b.received_ms, 1763800001234);
        assert_int_equal(!!(b.flags & BATCH_WIDE_TIMES), wide);
        for (uint32_t i = 0; i < 1001; i++) {
            assert_int_equal(batch_ref(&b, i), i % 2 ? 7 : 9);
            assert_int_equal(batch_ts_ms(&b, i), 1763800000000 + i * 1000 - (wide && i == 5 ? 1ll << 40 : 0));
            assert_true(batch_value(&b, i) == i * 0.1);
        }
        const uint8_t *pos = b.defs;
        struct batch_def def;
        assert_int_equal(batch_next_def(&b, &pos, &def), 0);
        assert_true(def.ref == 7 && def.step_ms == 60000 && def.name_len == 3 && !memcmp(def.name, "a.b", 3));
        assert_int_equal(batch_next_def(&b, &pos, &def), 0);
        assert_int_equal(batch_next_def(&b, &pos, &def), 1);
        /* Every truncation is refused, none is read past. */
        for (size_t n = 0; n < out.len; n++) {
            uint8_t *copy = malloc(n ? n : 1);
            memcpy(copy, out.data, n);
            assert_int_not_equal(batch_open(&b, copy, n, &err), OK);
            free(copy);
        }
    }
    batch_builder_release(&bb);
    buf_release(&out);
}

static void parts_notice_damage_and_wrong_keys(void **state)
{
    struct part p = {.key = {42, 60000, 14400000, 1000},
                     .lo = 990,
                     .data = (const uint8_t *)"block",
                     .size = 5},
                q;
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    part_encode(&p, &out);
    assert_int_equal(part_decode(&p.key, out.data, out.len, &q, &err), OK);
    assert_true(q.lo == 990 && q.size == 5 && !memcmp(q.data, "block", 5));
    struct part_key other = p.key;
    other.series++;
    assert_int_equal(part_decode(&other, out.data, out.len, &q, &err), ERR_CORRUPT);
    for (size_t i = 0; i < out.len * 8; i++) {
        out.data[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_not_equal(part_decode(&p.key, out.data, out.len, &q, &err), OK);
        out.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t n = 0; n < out.len; n++)
        assert_int_not_equal(part_decode(&p.key, out.data, n, &q, &err), OK);
    buf_release(&out);
}

static void overlay_prefers_the_newer(void **state)
{
    struct slots a, b;
    slots_init(&a, 240);
    slots_init(&b, 240);
    slot_set(a.present, 3), a.value[3] = 1;
    slot_set(a.present, 100), a.value[100] = 2;
    slot_set(b.present, 100), b.value[100] = 5;
    slot_set(b.present, 239), b.value[239] = 6;
    slots_overlay(&a, &b);
    assert_true(a.value[3] == 1 && a.value[100] == 5 && a.value[239] == 6);
    assert_int_equal(slots_count(a.present, 240), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_epoch_aligned), cmocka_unit_test(names_are_checked_and_tags_sorted),
        cmocka_unit_test(batches_round_trip),        cmocka_unit_test(parts_notice_damage_and_wrong_keys),
        cmocka_unit_test(overlay_prefers_the_newer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
