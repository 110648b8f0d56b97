#include "cost/prices.h"

#include "base/mem.h"

#include <ini.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *section, *key;
    size_t offset;
} fields[] = {
    {"kinesis", "shard_hour", offsetof(struct prices, kinesis_shard_hour)},
    {"kinesis", "put_units_million", offsetof(struct prices, kinesis_put_units_million)},
    {"redis", "gb_hour", offsetof(struct prices, redis_gb_hour)},
    {"dynamodb", "write_units_million", offsetof(struct prices, dynamodb_write_units_million)},
    {"dynamodb", "read_units_million", offsetof(struct prices, dynamodb_read_units_million)},
    {"dynamodb", "gb_month", offsetof(struct prices, dynamodb_gb_month)},
    {"s3", "gb_month", offsetof(struct prices, s3_gb_month)},
    {"s3", "put_thousand", offsetof(struct prices, s3_put_thousand)},
    {"s3", "get_thousand", offsetof(struct prices, s3_get_thousand)},
    {"disk", "gb_month", offsetof(struct prices, disk_gb_month)},
};

struct parsing {
    struct prices *out;
    const char *name;
    bool seen[ARRAY_LEN(fields)];
    struct err *err;
    int rc;
};

static int set_text(struct parsing *p, const char *key, const char *value)
{
    bool date = !strcmp(key, "date");
    if (!date && strcmp(key, "currency") != 0)
        return err_set(p->err, ERR_INVALID, "%s: unknown key %.40s", p->name, key);
    snprintf(date ? p->out->date : p->out->currency, date ? sizeof p->out->date : sizeof p->out->currency,
             "%s", value);
    return OK;
}

static int set_price(struct parsing *p, const char *section, const char *key, const char *value)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].section, section) != 0 || strcmp(fields[i].key, key) != 0)
            continue;
        char *end;
        double v = strtod(value, &end);
        if (end == value || *end || !isfinite(v) || v < 0)
            return err_set(p->err, ERR_INVALID, "%s: [%s] %s = %.40s: expected a price from 0", p->name,
                           section, key, value);
        *(double *)((char *)p->out + fields[i].offset) = v;
        p->seen[i] = true;
        return OK;
    }
    return err_set(p->err, ERR_INVALID, "%s: unknown key [%.40s] %.40s", p->name, section, key);
}

static int on_key(void *ctx, const char *section, const char *key, const char *value)
{
    struct parsing *p = ctx;
    if (p->rc == OK)
        p->rc = *section ? set_price(p, section, key, value) : set_text(p, key, value);
    return 1;
}

int prices_parse(const char *text, const char *name, struct prices *out, struct err *err)
{
    struct parsing p = {.out = out, .name = name, .err = err};
    *out = (struct prices){.date = "", .currency = ""};
    int line = ini_parse_string(text, on_key, &p);
    if (p.rc != OK)
        return p.rc;
    if (line != 0)
        return err_set(err, ERR_INVALID, "%s:%d: not \"key = value\" or \"[section]\"", name, line);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (!p.seen[i])
            return err_set(err, ERR_INVALID, "%s: [%s] %s is missing", name, fields[i].section,
                           fields[i].key);
    if (!*out->date || !*out->currency)
        return err_set(err, ERR_INVALID, "%s: date and currency must be there: prices are of a day", name);
    return OK;
}
