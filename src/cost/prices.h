/* A price file: what the services of a distributed deployment charge. */
#ifndef CARAT_COST_PRICES_H
#define CARAT_COST_PRICES_H

#include "base/err.h"

#include <stddef.h>

struct prices {
    char date[16], currency[8];
    double kinesis_shard_hour, kinesis_put_units_million;
    double redis_gb_hour;
    double dynamodb_write_units_million, dynamodb_read_units_million, dynamodb_gb_month;
    double s3_gb_month, s3_put_thousand, s3_get_thousand;
    double disk_gb_month;
};

/* The file that comes with this version, NUL-terminated. */
extern const char prices_default_text[];

/* Reads a price file (INI). `name` is for messages. ERR_INVALID names the line or what is missing: every
 * price must be there, so that none is silently 0. */
int prices_parse(const char *text, const char *name, struct prices *out, struct err *err) must_check;

#endif
