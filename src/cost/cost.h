/* What a distributed deployment costs a month, from its load and a price list. Pure arithmetic.
 *
 *   items    = points a month / points an item        DynamoDB charges items, in steps of 1 KB
 *   DynamoDB = items x ceil(item / 1 KB) x write unit + stored items x (item + 100 B) x GB
 *   Kinesis  = shards x hours + units of 25 KB;       shards = ceil(max(records/s / 1,000, MB/s))
 *   S3       = bytes x GB + objects x PUT + reads x GET
 *   Redis    = windows in memory x 8 B a slot, both copies
 *
 * A month has 730 hours. Prices are those of the price file, without free tiers, discounts, traffic and the
 * machines the roles run on. */
#ifndef CARAT_COST_COST_H
#define CARAT_COST_COST_H

#include "base/buf.h"
#include "cost/prices.h"

#include <stdbool.h>
#include <stdint.h>

#define COST_HOURS_MONTH 730.0

struct cost_load {
    double series;
    double step_s;
    double keep_days;        /* the whole retention of the finest archive */
    double warm_days;        /* of these in DynamoDB, the rest in S3 */
    double window_points;    /* points an item of warm holds */
    double reads_per_s;      /* series read a second */
    double read_days;        /* span of such a read, counted back from now */
    double warm_bytes_point; /* of blocks, keys apart */
    double cold_bytes_point;
    double item_bytes; /* key and header of an item */
    double stream_bytes_point;
    double replicas; /* copies of hot, the first one included */
    double pack_bytes;
};
/* The figures of a Carat that was not measured: one-minute steps, 460 days, 30 of them warm. */
struct cost_load cost_load_default(void);

struct cost {
    double points_month, items_month, points_item;
    double shards, put_units_month;
    double hot_bytes, warm_bytes, cold_bytes, stream_bytes; /* stored */
    double write_units_month, read_units_month;
    double gets_month, puts_month;
    /* money a month */
    double stream, hot, warm_writes, warm_storage, warm_reads, cold_storage, cold_requests;
    double total;
    double embedded_disk; /* the same data on one machine's disk */
};
void cost_of(const struct cost_load *l, const struct prices *p, struct cost *out);

/* Of the windows that divide a day or are a few of them, the one with the smallest total; *points gets its
 * slots. Longer windows make fewer items and stay in memory longer. */
void cost_best_window(const struct cost_load *l, const struct prices *p, double *points, struct cost *out);

/* What a server says of itself: bytes a point are taken from it once it has so many points of a tier. */
struct cost_measured {
    double series, flushed_points, warm_put_bytes, cold_points, cold_stored_bytes;
};
#define COST_POINTS_MEASURED 10000 /* fewer say nothing about bytes a point */
/* Puts what is known into `l`; true: the bytes a point are measured. */
bool cost_measure(const struct cost_measured *m, struct cost_load *l);

/* {"prices":{...},"series":N,"measured":true,...,"month":{...},"bytes":{...},"windows":[...]}, see
 * doc/cost.md. */
void cost_json(const struct cost_load *l, bool measured, const struct prices *p, const struct cost *cost,
               struct buf *out);

/* The windows that cost_best_window looks at, in hours, ascending; ends with 0. */
extern const double cost_windows_h[];

#endif
