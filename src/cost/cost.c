#include "cost/cost.h"

#include <math.h>

#define GB            1e9
#define KINESIS_UNIT  25e3 /* bytes of a PUT unit, and what a batch is filled towards */
#define SHARD_BYTES_S 1e6
#define SHARD_RECORDS 1000.0
#define WRITE_UNIT    1024.0
#define READ_UNIT     4096.0
#define ITEM_BILLED   100.0 /* bytes DynamoDB adds to each stored item */
#define STREAM_KEPT_S 86400.0
#define CELL_BYTES    8.0
#define REDIS_KEY     150.0 /* bytes of a key, its entry and the string's header */
#define DAY_S         86400.0

const double cost_windows_h[] = {1, 2, 4, 6, 12, 24, 48, 0};

struct cost_load cost_load_default(void)
{
    return (struct cost_load){
        .series = 1e6,
        .step_s = 60,
        .keep_days = 460,
        .warm_days = 30,
        .window_points = 240,
        .reads_per_s = 10,
        .read_days = 1,
        .warm_bytes_point = 1.8,
        .cold_bytes_point = 1.6,
        .item_bytes = 60,
        .stream_bytes_point = 16,
        .replicas = 2,
        .pack_bytes = 64e6,
    };
}

static void stream_cost(const struct cost_load *l, const struct prices *p, struct cost *c)
{
    double bytes_s = l->series / l->step_s * l->stream_bytes_point, records_s = bytes_s / KINESIS_UNIT;
    c->shards = ceil(fmax(fmax(records_s / SHARD_RECORDS, bytes_s / SHARD_BYTES_S), 1));
    c->put_units_month = ceil(c->points_month * l->stream_bytes_point / KINESIS_UNIT);
    c->stream_bytes = bytes_s * STREAM_KEPT_S;
    c->stream = c->shards * COST_HOURS_MONTH * p->kinesis_shard_hour +
                c->put_units_month / 1e6 * p->kinesis_put_units_million;
}

/* A window is in memory until it is full and flushed: on average one and a half of them a series. */
static void hot_cost(const struct cost_load *l, const struct prices *p, struct cost *c)
{
    c->hot_bytes = l->series * 1.5 * (l->window_points * CELL_BYTES + REDIS_KEY) * l->replicas;
    c->hot = c->hot_bytes / GB * p->redis_gb_hour * COST_HOURS_MONTH;
}

static double item_size(const struct cost_load *l)
{
    return l->window_points * l->warm_bytes_point + l->item_bytes;
}

static void warm_cost(const struct cost_load *l, const struct prices *p, struct cost *c)
{
    double size = item_size(l), stored_points = l->series * l->warm_days * DAY_S / l->step_s;
    c->items_month = c->points_month / l->window_points;
    c->points_item = l->window_points;
    c->write_units_month = c->items_month * ceil(size / WRITE_UNIT);
    c->warm_bytes = stored_points / l->window_points * (size + ITEM_BILLED);
    double read_bytes = fmin(l->read_days, l->warm_days) * DAY_S / l->step_s / l->window_points * size;
    c->read_units_month =
        l->reads_per_s * COST_HOURS_MONTH * 3600 * ceil(fmax(read_bytes, 1) / READ_UNIT) / 2;
    c->warm_writes = c->write_units_month / 1e6 * p->dynamodb_write_units_million;
    c->warm_storage = c->warm_bytes / GB * p->dynamodb_gb_month;
    c->warm_reads = c->read_units_month / 1e6 * p->dynamodb_read_units_million;
}

static void cold_cost(const struct cost_load *l, const struct prices *p, struct cost *c)
{
    double days = fmax(l->keep_days - l->warm_days, 0);
    c->cold_bytes = l->series * days * DAY_S / l->step_s * l->cold_bytes_point;
    c->puts_month = days > 0 ? ceil(c->points_month * l->cold_bytes_point / l->pack_bytes) : 0;
    double packs_read = l->read_days > l->warm_days ? ceil(fmin(l->read_days - l->warm_days, days) / 30) : 0;
    c->gets_month = l->reads_per_s * COST_HOURS_MONTH * 3600 * packs_read;
    c->cold_storage = c->cold_bytes / GB * p->s3_gb_month;
    c->cold_requests = c->puts_month / 1e3 * p->s3_put_thousand + c->gets_month / 1e3 * p->s3_get_thousand;
}

void cost_of(const struct cost_load *l, const struct prices *p, struct cost *out)
{
    *out = (struct cost){.points_month = l->series * COST_HOURS_MONTH * 3600 / l->step_s};
    stream_cost(l, p, out);
    hot_cost(l, p, out);
    warm_cost(l, p, out);
    cold_cost(l, p, out);
    out->total = out->stream + out->hot + out->warm_writes + out->warm_storage + out->warm_reads +
                 out->cold_storage + out->cold_requests;
    double local = out->stream_bytes + out->cold_bytes +
                   l->series * l->warm_days * DAY_S / l->step_s / l->window_points * item_size(l);
    out->embedded_disk = local / GB * p->disk_gb_month;
}

void cost_best_window(const struct cost_load *l, const struct prices *p, double *points, struct cost *out)
{
    *points = 0;
    for (const double *h = cost_windows_h; *h; h++) {
        struct cost_load with = *l;
        struct cost c;
        with.window_points = *h * 3600 / l->step_s;
        if (with.window_points < 1)
            continue;
        cost_of(&with, p, &c);
        if (*points == 0 || c.total < out->total) {
            *points = with.window_points;
            *out = c;
        }
    }
}
