#include "redis/redis_map.h"

#include "redis/redis_slot.h"

#include <string.h>

static bool is_int(const redisReply *r, long long min, long long max)
{
    return r->type == REDIS_REPLY_INTEGER && r->integer >= min && r->integer <= max;
}

int redis_range_read(const redisReply *slots, size_t i, struct redis_range *out, struct err *err)
{
    const redisReply *e = slots->element[i];
    if (e->type != REDIS_REPLY_ARRAY || e->elements < 3 || !is_int(e->element[0], 0, REDIS_SLOTS - 1) ||
        !is_int(e->element[1], e->element[0]->integer, REDIS_SLOTS - 1))
        return err_set(err, ERR_INVALID, "the answer to CLUSTER SLOTS has no slots in entry %zu", i);
    *out = (struct redis_range){.from = (unsigned)e->element[0]->integer,
                                .to = (unsigned)e->element[1]->integer,
                                .nodes = e,
                                .n = e->elements - 2};
    return OK;
}

bool redis_range_node(const struct redis_range *r, size_t k, struct redis_address *out)
{
    const redisReply *e = r->nodes->element[2 + k];
    if (e->type != REDIS_REPLY_ARRAY || e->elements < 2 || !is_int(e->element[1], 1, 65535))
        return false;
    const redisReply *host = e->element[0];
    *out = (struct redis_address){.host = "", .port = (int)e->element[1]->integer};
    if (host->type == REDIS_REPLY_STRING && !(host->len == 1 && host->str[0] == '?')) {
        out->host = host->str;
        out->host_len = host->len;
    }
    return host->type == REDIS_REPLY_STRING || host->type == REDIS_REPLY_NIL;
}

static bool number(const char **p, const char *end, unsigned max, unsigned *out)
{
    const char *q = *p;
    unsigned v = 0;
    while (q < end && *q >= '0' && *q <= '9' && v <= max)
        v = v * 10 + (unsigned)(*q++ - '0');
    if (q == *p || v > max)
        return false;
    *p = q;
    *out = v;
    return true;
}

bool redis_address_parse(const char *text, size_t n, struct redis_address *out)
{
    const char *end = text + n, *colon = n ? memrchr(text, ':', n) : NULL, *p = colon ? colon + 1 : NULL;
    unsigned port;
    if (!colon || !number(&p, end, 65535, &port) || p != end || port == 0)
        return false;
    size_t len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    *out = (struct redis_address){text, len, (int)port};
    return true;
}

bool redis_redirection(const char *text, unsigned *slot, struct redis_address *out)
{
    const char *end = text + strlen(text), *p = strchr(text, ' ');
    if (!p)
        return false;
    p++;
    if (!number(&p, end, REDIS_SLOTS - 1, slot) || p == end || *p++ != ' ')
        return false;
    return redis_address_parse(p, (size_t)(end - p), out);
}
