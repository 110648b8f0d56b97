#include "warm/dynamodb_item.h"

#include "base/base64.h"
#include "base/bytes.h"
#include "model/window.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct dynamodb_key dynamodb_part_key(const struct part_key *k, uint64_t lo)
{
    struct dynamodb_key key;
    put_u32be(key.p, k->step_ms);
    put_u32be(key.p + 4, k->series);
    put_u64be(key.s, (uint64_t)k->window_ms);
    put_u64be(key.s + 8, k->hi);
    put_u64be(key.s + 16, lo);
    return key;
}

struct dynamodb_key dynamodb_group_key(uint32_t step_ms, int64_t group_ms)
{
    struct dynamodb_key key = {{0}, {0}};
    put_u32be(key.p + 4, step_ms);
    put_u64be(key.s, (uint64_t)group_ms);
    return key;
}

struct dynamodb_key dynamodb_owner_key(void)
{
    struct dynamodb_key key = {{0}, {0}};
    memcpy(key.p + 4, DYNAMODB_OWNER, 4);
    return key;
}

int dynamodb_sort_get(const uint8_t *s, size_t n, uint32_t step_ms, int64_t *window_ms, uint64_t *hi,
                      uint64_t *lo)
{
    if (n != DYNAMODB_SORT_BYTES)
        return -1;
    *window_ms = (int64_t)get_u64be(s);
    *hi = get_u64be(s + 8);
    *lo = get_u64be(s + 16);
    return *window_ms < 0 || *window_ms % window_span_ms(step_ms) || *lo > *hi ? -1 : 0;
}

/* --- JSON out --- */

void dynamodb_put_binary(struct buf *out, const void *p, size_t n)
{
    buf_puts(out, "{\"B\":\"");
    base64_put(out, p, n);
    buf_puts(out, "\"}");
}

void dynamodb_put_key(struct buf *out, const struct dynamodb_key *k)
{
    buf_puts(out, "\"p\":");
    dynamodb_put_binary(out, k->p, sizeof k->p);
    buf_puts(out, ",\"s\":");
    dynamodb_put_binary(out, k->s, sizeof k->s);
}

void dynamodb_put_request(struct buf *out, const struct part *p, int64_t expires_s)
{
    struct dynamodb_key key = dynamodb_part_key(&p->key, p->lo);
    struct buf value = BUF_INIT;
    part_encode(p, &value);
    buf_puts(out, "{\"PutRequest\":{\"Item\":{");
    dynamodb_put_key(out, &key);
    buf_puts(out, ",\"v\":");
    dynamodb_put_binary(out, value.data, value.len);
    if (expires_s)
        buf_printf(out, ",\"t\":{\"N\":\"%" PRId64 "\"}", expires_s);
    buf_puts(out, "}}}");
    buf_release(&value);
}

void dynamodb_delete_request(struct buf *out, const struct dynamodb_key *k)
{
    buf_puts(out, "{\"DeleteRequest\":{\"Key\":{");
    dynamodb_put_key(out, k);
    buf_puts(out, "}}}");
}

/* --- JSON in --- */

static int get_binary(const json_t *item, const char *name, struct buf *out)
{
    buf_clear(out);
    const json_t *attribute = json_object_get(item, name);
    if (!attribute)
        return 0;
    const json_t *b = json_object_get(attribute, "B");
    return json_is_string(b) ? base64_get(out, json_string_value(b), json_string_length(b)) : -1;
}

static int get_number(const json_t *item, const char *name, int64_t *out)
{
    *out = 0;
    const json_t *attribute = json_object_get(item, name);
    if (!attribute)
        return 0;
    const char *text = json_string_value(json_object_get(attribute, "N"));
    char *end;
    if (!text || !*text)
        return -1;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return *end || errno || *out < 0 ? -1 : 0;
}

int dynamodb_item_get(const json_t *item, struct dynamodb_item *out)
{
    if (!json_is_object(item) || get_binary(item, "s", &out->s) < 0 || get_binary(item, "v", &out->v) < 0 ||
        get_number(item, "t", &out->expires_s) < 0 || get_number(item, "w", &out->written_ms) < 0)
        return -1;
    return 0;
}

void dynamodb_item_release(struct dynamodb_item *i)
{
    buf_release(&i->s);
    buf_release(&i->v);
}

static uint64_t units_of(const json_t *capacity)
{
    double units = json_number_value(json_object_get(capacity, "CapacityUnits"));
    return units > 0 && units < 1e12 ? (uint64_t)(units * 1000 + 0.5) : 0;
}

uint64_t dynamodb_consumed(const json_t *answer)
{
    const json_t *c = json_object_get(answer, "ConsumedCapacity");
    uint64_t sum = json_is_object(c) ? units_of(c) : 0;
    for (size_t i = 0; json_is_array(c) && i < json_array_size(c); i++)
        sum += units_of(json_array_get(c, i));
    return sum;
}
