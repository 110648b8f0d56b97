/* Which stream and which hot tier the configuration asks for. */
#include "hot/hot_mem.h"
#include "hot/hot_redis.h"
#include "server/server_impl.h"
#include "stream/stream_jetstream.h"
#include "stream/stream_log.h"

#include <string.h>

static int unknown(const char *key, const char *value, const char *known, struct err *err)
{
    return err_set(err, ERR_INVALID, "%s = %.40s: expected %s", key, value, known);
}

static int open_stream_log(struct server *s, struct err *err)
{
    char path[PATH_MAX];
    struct stream_log_options o = {
        .dir = data_dir_path(&s->dir, "stream", path),
        .partitions = (unsigned)config_int(s->config, "stream.partitions"),
        .segment_bytes = config_size_bytes(s->config, "stream.segment_size"),
        .buffer_bytes = config_size_bytes(s->config, "stream.buffer"),
        .tail_bytes = config_size_bytes(s->config, "stream.tail"),
        .keep_ms = config_duration_ms(s->config, "stream.keep"),
        .fs = fs_posix(),
        .clock = s->clock,
        .metrics = s->metrics,
    };
    int rc = stream_log_open(&o, &s->stream, err);
    s->lanes = rc == OK ? stream_log_lanes(s->stream) : 0;
    return rc;
}

static int open_stream_jetstream(struct server *s, struct err *err)
{
    struct stream_jetstream_options o = {
        .servers = config_string(s->config, "jetstream.servers"),
        .name = config_string(s->config, "jetstream.stream"),
        .user = config_string(s->config, "jetstream.user"),
        .password = config_string(s->config, "jetstream.password"),
        .token = config_string(s->config, "jetstream.token"),
        .credentials = config_string(s->config, "jetstream.credentials"),
        .ca = config_string(s->config, "jetstream.ca"),
        .tls = config_bool(s->config, "jetstream.tls"),
        .partitions = (unsigned)config_int(s->config, "stream.partitions"),
        .replicas = (unsigned)config_int(s->config, "jetstream.replicas"),
        .buffer_bytes = config_size_bytes(s->config, "stream.buffer"),
        .keep_ms = config_duration_ms(s->config, "stream.keep"),
        .ack_timeout_ms = (int)config_duration_ms(s->config, "jetstream.ack_timeout"),
        .clock = s->clock,
        .metrics = s->metrics,
    };
    int rc = stream_jetstream_open(&o, &s->stream, err);
    s->lanes = rc == OK ? stream_jetstream_lanes(s->stream) : 0;
    return rc;
}

int open_stream_backend(struct server *s, struct err *err)
{
    const char *backend = config_string(s->config, "stream.backend");
    if (strcmp(backend, "jetstream") == 0)
        return open_stream_jetstream(s, err);
    if (strcmp(backend, "log") != 0)
        return unknown("stream.backend", backend, "log or jetstream", err);
    return open_stream_log(s, err);
}

static const char *name_of(void *ctx, uint32_t series, size_t *len)
{
    return catalog_name(ctx, series, len);
}

static uint32_t series_of(void *ctx, const char *name, size_t len)
{
    return catalog_lookup(ctx, name, len).id;
}

static int open_hot_redis(struct server *s, struct err *err)
{
    struct hot_redis_options o = {
        .nodes = config_string(s->config, "redis.nodes"),
        .user = config_string(s->config, "redis.user"),
        .password = config_string(s->config, "redis.password"),
        .prefix = config_string(s->config, "redis.prefix"),
        .host_levels = (unsigned)config_int(s->config, "redis.host_levels"),
        .partitions = s->lanes ? s->lanes : 1, /* a reader has none: it writes nothing */
        .timeout_ms = (int)config_duration_ms(s->config, "redis.timeout"),
        .readers = (unsigned)config_int(s->config, "redis.readers"),
        .read_replicas = config_bool(s->config, "redis.read_replicas"),
        .shared = s->roles != ROLE_ALL,
        .clean_interval_ms = config_duration_ms(s->config, "redis.clean_interval"),
        .name_of = name_of,
        .series_of = series_of,
        .ctx = s->catalog,
        .clock = s->clock,
        .metrics = s->metrics,
    };
    return hot_redis_open(&o, &s->hot, err);
}

int open_hot_backend(struct server *s, struct err *err)
{
    const char *backend = config_string(s->config, "hot.backend");
    if (strcmp(backend, "redis") == 0)
        return open_hot_redis(s, err);
    if (strcmp(backend, "memory") != 0)
        return unknown("hot.backend", backend, "memory or redis", err);
    s->hot = hot_mem_new(s->lanes);
    return OK;
}
