#include "base/bytes.h"
#include "base/mem.h"
#include "stream/jetstream_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void a_frame_is_what_the_page_says(void **state)
{
    uint8_t bytes[JS_FRAME_BYTES + 5];
    struct js_frame f = {1795388600174, 3, (const uint8_t *)"hello", 5}, back;
    struct err err = ERR_INIT;
    js_frame_encode(bytes, &f);
    assert_memory_equal(bytes, "CJS1", 4);
    assert_int_equal(get_u64le(bytes + 8), 1795388600174);
    assert_int_equal(get_u32le(bytes + 16), 3);
    assert_int_equal(get_u32le(bytes + 20), 0);
    assert_memory_equal(bytes + 24, "hello", 5);
    assert_int_equal(js_frame_decode(bytes, sizeof bytes, &back, &err), OK);
    assert_true(back.appended_ms == f.appended_ms && back.points == 3 && back.size == 5);
    assert_ptr_equal(back.payload, bytes + 24);
}

static void every_damaged_byte_is_noticed(void **state)
{
    uint8_t bytes[JS_FRAME_BYTES + 5];
    struct js_frame f = {1, 1, (const uint8_t *)"hello", 5}, back;
    struct err err = ERR_INIT;
    js_frame_encode(bytes, &f);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 1;
        assert_int_equal(js_frame_decode(bytes, sizeof bytes, &back, &err), ERR_CORRUPT);
        bytes[i] ^= 1;
    }
    for (size_t n = 0; n < sizeof bytes; n++)
        assert_int_equal(js_frame_decode(bytes, n, &back, &err), ERR_CORRUPT);
}

static void a_reply_subject_tells_consumer_and_sequences(void **state)
{
    static const char *const good[] = {"$JS.ACK.T.abc.1.5.3.1795388600175583687.0",
                                       "$JS.ACK.domain.hash.T.abc.1.5.3.1795388600175583687.0",
                                       "$JS.ACK.domain.hash.T.abc.1.5.3.1795388600175583687.0.random"};
    static const char *const bad[] = {"",
                                      "_INBOX.x.1",
                                      "$JS.ACK.T.abc.1.5.3.17953886",
                                      "$JS.ACK.T.abc.1.x.3.1795388600175583687.0",
                                      "$JS.ACK.T.abc.1.5.-3.1795388600175583687.0",
                                      "$JS.ACK.T.abc.1.99999999999999999999.3.1795388600175583687.0"};
    struct js_delivery d;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(js_delivery_read(good[i], &d));
        assert_true(d.stream_seq == 5 && d.consumer_seq == 3 && d.consumer_len == 3);
        assert_memory_equal(d.consumer, "abc", 3);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(js_delivery_read(bad[i], &d));
    assert_false(js_delivery_read(NULL, &d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_what_the_page_says),
        cmocka_unit_test(every_damaged_byte_is_noticed),
        cmocka_unit_test(a_reply_subject_tells_consumer_and_sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
