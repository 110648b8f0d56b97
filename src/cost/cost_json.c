#include "cost/cost.h"

#include <string.h>

bool cost_measure(const struct cost_measured *m, struct cost_load *l)
{
    bool measured = m->flushed_points >= COST_POINTS_MEASURED;
    if (m->series > 0)
        l->series = m->series;
    if (measured)
        l->warm_bytes_point = m->warm_put_bytes / m->flushed_points;
    if (m->cold_points >= COST_POINTS_MEASURED)
        l->cold_bytes_point = m->cold_stored_bytes / m->cold_points;
    else if (measured)
        l->cold_bytes_point = l->warm_bytes_point;
    return measured;
}

static void put_windows(const struct cost_load *load, const struct prices *p, struct buf *out)
{
    bool any = false;
    buf_puts(out, "[");
    for (const double *h = cost_windows_h; *h; h++) {
        struct cost_load l = *load;
        struct cost c;
        l.window_points = *h * 3600 / l.step_s;
        if (l.window_points < 1)
            continue;
        cost_of(&l, p, &c);
        buf_printf(out, "%s{\"hours\":%.0f,\"points\":%.0f,\"hot\":%.4f,\"warm\":%.4f,\"total\":%.4f}",
                   any ? "," : "", *h, l.window_points, c.hot, c.warm_writes + c.warm_storage + c.warm_reads,
                   c.total);
        any = true;
    }
    buf_puts(out, "]");
}

void cost_json(const struct cost_load *l, bool measured, const struct prices *p, const struct cost *cost,
               struct buf *out)
{
    buf_puts(out, "{\"prices\":{\"date\":");
    buf_json_string(out, p->date, strlen(p->date));
    buf_puts(out, ",\"currency\":");
    buf_json_string(out, p->currency, strlen(p->currency));
    buf_printf(out,
               "},\"series\":%.0f,\"measured\":%s,\"step_s\":%.0f,\"keep_days\":%g,\"warm_days\":%g,"
               "\"reads_per_s\":%g,\"warm_bytes_point\":%.4g,\"cold_bytes_point\":%.4g,"
               "\"window_points\":%.0f,\"points_month\":%.0f,",
               l->series, measured ? "true" : "false", l->step_s, l->keep_days, l->warm_days, l->reads_per_s,
               l->warm_bytes_point, l->cold_bytes_point, l->window_points, cost->points_month);
    buf_printf(out,
               "\"month\":{\"stream\":%.4f,\"hot\":%.4f,\"warm_writes\":%.4f,\"warm_storage\":%.4f,"
               "\"warm_reads\":%.4f,\"cold_storage\":%.4f,\"cold_requests\":%.4f,\"total\":%.4f,"
               "\"embedded_disk\":%.4f},",
               cost->stream, cost->hot, cost->warm_writes, cost->warm_storage, cost->warm_reads,
               cost->cold_storage, cost->cold_requests, cost->total, cost->embedded_disk);
    buf_printf(out,
               "\"bytes\":{\"stream\":%.0f,\"hot\":%.0f,\"warm\":%.0f,\"cold\":%.0f},\"shards\":%.0f,"
               "\"write_units_month\":%.0f,\"windows\":",
               cost->stream_bytes, cost->hot_bytes, cost->warm_bytes, cost->cold_bytes, cost->shards,
               cost->write_units_month);
    put_windows(l, p, out);
    buf_puts(out, "}");
}
