/* Keys and windows as they come back from Redis: any bytes. */
#include "hot/hot_redis_format.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What can be read is a key of some name, and the key made of that name is read as the same one. */
static void key(const char *text, size_t n)
{
    static const struct hot_redis_naming naming = {"c:", 2};
    struct buf name = BUF_INIT, again = BUF_INIT, series = BUF_INIT, made = BUF_INIT;
    struct hot_redis_key k, k2;
    if (hot_redis_key_read(&naming, text, n, &k, &name) && name.len) {
        hot_redis_put_series(&naming, k.step_ms, (const char *)name.data, name.len, &series);
        hot_redis_put_window_key(&naming, (const char *)series.data, series.len, k.window_ms, k.partition,
                                 &made);
        assert(hot_redis_key_read(&naming, (const char *)made.data, made.len, &k2, &again));
        assert(k.step_ms == k2.step_ms && k.window_ms == k2.window_ms && k.partition == k2.partition);
        assert(again.len == name.len && memcmp(again.data, name.data, name.len) == 0);
    }
    buf_release(&name);
    buf_release(&again);
    buf_release(&series);
    buf_release(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hot_redis_header h;
    struct slots s;
    struct err err;
    key((const char *)data, size);
    if (hot_redis_header_read(data, size, &h, &err) == OK)
        assert(h.nslots <= WINDOW_SLOTS_MAX && h.lo <= h.hi);
    if (hot_redis_window_read(data, size, 240, &h, &s, &err) == OK)
        assert(h.nslots == 240);
    return 0;
}
