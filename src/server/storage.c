#include "server/server_impl.h"

#include "base/log.h"
#include "base/secret_file.h"
#include "catalog/catalog_store.h"
#include "cold/cold_files.h"
#include "cold/warm_tiered.h"
#include "lease/kv_postgres.h"
#include "server/backends_aws.h"
#include "warm/warm_masked.h"
#include "warm/warm_rocksdb.h"

#include <string.h>
#include <sys/stat.h>

static uint32_t step_of(void *ctx, const char *name, size_t len)
{
    return rules_step_ms(ctx, name, len);
}

static bool admit(void *ctx, const char *name, size_t len, bool known)
{
    struct server *s = ctx;
    const char *prefix;
    if (quota_admit(s->quota, name, len, known, &prefix))
        return true;
    if (log_allowed(&s->quota_log, NULL))
        log_warn("limits", "new series refused: the quota of its prefix is reached", "prefix=%s name=%.*s",
                 prefix, (int)(len < 200 ? len : 200), name);
    return false;
}

static void leave(void *ctx, const char *name, size_t len)
{
    struct server *s = ctx;
    quota_release(s->quota, name, len);
}

static int load_quota(struct server *s, struct err *err)
{
    const char *path = config_string(s->config, "limits.quotas");
    return *path ? quota_load(path, &s->quota, err) : OK;
}

static int open_postgres(struct server *s, struct catalog_store **out, struct err *err)
{
    char password[256] = "";
    const char *conninfo = config_string(s->config, "catalog.postgres");
    const char *path = config_string(s->config, "catalog.postgres_password_file");
    int rc = *path ? secret_file_read(path, password, sizeof password, err) : OK;
    if (rc != OK)
        return err_prefix(err, "catalog.postgres_password_file");
    rc = catalog_store_postgres_open(conninfo, password, out, err);
    if (rc == OK)
        s->kv = kv_postgres_new(conninfo, password);
    explicit_bzero(password, sizeof password);
    return rc;
}

static int open_store(struct server *s, struct catalog_store **out, struct err *err)
{
    char path[PATH_MAX];
    const char *backend = config_string(s->config, "catalog.backend");
    if (!strcmp(backend, "postgres"))
        return open_postgres(s, out, err);
    if (strcmp(backend, "sqlite") != 0)
        return err_set(err, ERR_INVALID, "catalog.backend = %.40s: expected sqlite or postgres", backend);
    mkdir(data_dir_path(&s->dir, "catalog", path), 0750);
    return catalog_store_sqlite_open(data_dir_path(&s->dir, "catalog/catalog.db", path), out, err);
}

static int open_catalog(struct server *s, struct err *err)
{
    struct catalog_store *store;
    int rc = open_store(s, &store, err);
    if (rc != OK)
        return rc;
    struct catalog_options o = {
        .store = store,
        .max_series = (uint32_t)config_int(s->config, "catalog.max_series"),
        .step = step_of,
        .step_ctx = s->rules,
        .admit = s->quota ? admit : NULL,
        .leave = s->quota ? leave : NULL,
        .admit_ctx = s,
        .metrics = s->metrics,
    };
    rc = catalog_open(&o, &s->catalog, err);
    if (rc == OK)
        rules_set_catalog(s->rules, s->catalog);
    return rc;
}

static int open_warm(struct server *s, struct err *err)
{
    char path[PATH_MAX];
    const char *backend = config_string(s->config, "warm.backend");
    if (!strcmp(backend, "dynamodb"))
        return open_warm_dynamodb(s, err);
    if (strcmp(backend, "rocksdb") != 0)
        return err_set(err, ERR_INVALID, "warm.backend = %.40s: expected rocksdb or dynamodb", backend);
    struct warm_rocksdb_options o = {
        .dir = data_dir_path(&s->dir, "warm", path),
        .cache_bytes = config_size_bytes(s->config, "warm.cache"),
        .create = true,
        .metrics = s->metrics,
    };
    return warm_rocksdb_open(&o, &s->warm_store, err);
}

static int open_packs(struct server *s, struct err *err)
{
    char path[PATH_MAX];
    const char *backend = config_string(s->config, "cold.backend");
    const struct cold_options cold = {.metrics = s->metrics,
                                      .pack_bytes = config_size_bytes(s->config, "cold.pack_size"),
                                      .tombstones = catalog_tombstones(s->catalog)};
    if (!strcmp(backend, "s3"))
        return open_cold_s3(s, &cold, err);
    if (strcmp(backend, "files") != 0)
        return err_set(err, ERR_INVALID, "cold.backend = %.40s: expected files or s3", backend);
    struct cold_files_options o = {
        .cold = cold,
        .dir = data_dir_path(&s->dir, "cold", path),
        .fs = fs_posix(),
        .create = true,
    };
    return cold_files_open(&o, &s->cold, err);
}

/* Only where all changes are made in this process is a cache of what was read right. */
static int open_cold(struct server *s, struct err *err)
{
    int rc = open_packs(s, err);
    if (rc != OK)
        return rc;
    bool alone = (s->roles == ROLE_ALL && !s->kv) || !s->aws;
    size_t cache_bytes = alone ? config_size_bytes(s->config, "warm.read_cache") : 0;
    s->tiered = cache_bytes ? warm_tiered_cached_new(s->warm_store, s->cold, cache_bytes, s->metrics)
                            : warm_tiered_new(s->warm_store, s->cold);
    s->warm = warm_masked_new(s->tiered, catalog_tombstones(s->catalog));
    return OK;
}

/* Nothing is moved while the stream is still being applied: it would be moved once more. */
static size_t steps_to_move(void *ctx, uint32_t *steps_ms, size_t cap)
{
    struct server *s = ctx;
    struct err ignored;
    return !s->writer || writer_caught_up(s->writer, &ignored) ? rules_steps(s->rules, steps_ms, cap) : 0;
}

static int64_t keep_of_step(void *ctx, uint32_t step_ms)
{
    struct server *s = ctx;
    int64_t keep_ms = rules_step_keep_ms(s->rules, step_ms);
    if (!s->writer) /* what other processes have still to flush is not known here, but how old it gets */
        return keep_ms ? keep_ms + 2 * config_duration_ms(s->config, "hot.max_unflushed") : 0;
    return flush_gate_is_open(&s->may_expire) ? keep_ms : 0;
}

static void open_eraser(struct server *s)
{
    struct eraser_options o = {
        .catalog = s->catalog,
        .stream = s->stream,
        .lanes = s->lanes,
        .writer = s->writer,
        .store = s->warm_store,
        .cold = s->cold,
        .clock = s->clock,
        .metrics = s->metrics,
        .steps = rules_steps,
        .ctx = s->rules,
    };
    s->eraser = eraser_new(&o);
}

static void erase(void *ctx, cold_wait_fn wait, void *wait_ctx)
{
    struct server *s = ctx;
    struct err err = ERR_INIT;
    int rc = eraser_round(s->eraser, wait, wait_ctx, &err);
    if (rc < 0 && rc != ERR_CLOSED)
        log_error("eraser", "deleted points are not out of all files yet, trying again",
                  "status=%s why=\"%s\"", status_name(rc), err.text);
}

static int start_mover(struct server *s, struct err *err)
{
    if (s->roles == ROLE_ALL)
        open_eraser(s);
    struct mover_options o = {
        .warm = s->warm_store,
        .cold = s->cold,
        .clock = s->clock,
        .metrics = s->metrics,
        .steps = steps_to_move,
        .keep_ms = keep_of_step,
        .before_round = s->eraser ? erase : NULL,
        .ctx = s,
        .after_ms = config_duration_ms(s->config, "cold.after"),
        .interval_ms = config_duration_ms(s->config, "cold.interval"),
        .bytes_per_s = config_size_bytes(s->config, "cold.rate"),
    };
    s->mover = mover_new(&o);
    return mover_start(s->mover, err);
}

static uint64_t owns_partition(void *ctx, unsigned lane)
{
    return leases_epoch(ctx, lane);
}

static int start_writer(struct server *s, struct err *err)
{
    char path[PATH_MAX];
    int rc = open_leases(s, err);
    if (rc != OK)
        return rc;
    struct writer_options o = {
        .catalog = s->catalog,
        .stream = s->stream,
        .lanes = s->lanes,
        .hot = s->hot,
        .warm = s->warm,
        .clock = s->clock,
        .metrics = s->metrics,
        .fs = fs_posix(),
        .state_path = data_dir_path(&s->dir, "writer.positions", path),
        .flush_delay_ms = config_duration_ms(s->config, "hot.flush_delay"),
        .jitter_permille = (uint32_t)config_int(s->config, "hot.jitter"),
        .round_ms = config_duration_ms(s->config, "hot.flush_round"),
        .max_unflushed_ms = config_duration_ms(s->config, "hot.max_unflushed"),
        .checkpoint_ms = config_duration_ms(s->config, "stream.checkpoint_interval"),
        .hot_max_bytes = config_size_bytes(s->config, "hot.max_size"),
        .layouts = rules_layouts,
        .step_at = rules_step_at,
        .archives_ctx = s->rules,
        .owns = s->leases ? owns_partition : NULL,
        .owns_ctx = s->leases,
    };
    rc = writer_start(&o, &s->writer, err);
    /* It has gone over the definitions in the stream: every series is known, and none is made yet. */
    return rc == OK ? rules_begin(s->rules, err) : rc;
}

static int reads_complete(void *ctx, struct err *why)
{
    struct server *s = ctx;
    return !s->writer || writer_caught_up(s->writer, why) ? OK : ERR_BUSY;
}

static int64_t base_since(void *ctx, uint32_t series)
{
    struct server *s = ctx;
    return s->writer ? writer_base_whole_from(s->writer, series) : INT64_MIN;
}

static double hot_stat(void *ctx, uint64_t (*pick)(const struct hot_stats *))
{
    struct hot_stats st;
    hot_get_stats(ctx, &st);
    return (double)pick(&st);
}

static uint64_t pick_bytes(const struct hot_stats *st)
{
    return st->bytes;
}
static uint64_t pick_windows(const struct hot_stats *st)
{
    return st->windows;
}
static uint64_t pick_late(const struct hot_stats *st)
{
    return st->late_points;
}
static double hot_bytes(void *ctx)
{
    return hot_stat(ctx, pick_bytes);
}
static double hot_windows(void *ctx)
{
    return hot_stat(ctx, pick_windows);
}
static double hot_late(void *ctx)
{
    return hot_stat(ctx, pick_late);
}
static void register_gauges(struct server *s)
{
    metrics_gauge_fn(s->metrics, "carat_hot_bytes", NULL, "Memory of the hot tier.", "gauge", hot_bytes,
                     s->hot);
    metrics_gauge_fn(s->metrics, "carat_hot_windows", NULL, "Windows held in the hot tier.", "gauge",
                     hot_windows, s->hot);
    metrics_gauge_fn(s->metrics, "carat_points_late_total", NULL,
                     "Points applied to an older window than the newest.", "counter", hot_late, s->hot);
}

static void open_reader(struct server *s)
{
    struct reader_options o = {
        .catalog = s->catalog,
        .hot = s->hot,
        .warm = s->warm,
        .metrics = s->metrics,
        .layouts = rules_read_layouts,
        .aggregation = rules_aggregation,
        .rules_ctx = s->rules,
        .base_since_ms = base_since,
        .base_since_ctx = s,
        .complete = reads_complete,
        .complete_ctx = s,
    };
    s->reader = reader_new(&o);
}

/* Only what the roles of this process need: a reader has no business with the stream. */
static int open_tiers(struct server *s, struct err *err)
{
    unsigned stored = ROLE_WRITER | ROLE_MOVER | ROLE_READER;
    int rc = load_quota(s, err);
    if (rc == OK)
        rc = open_catalog(s, err);
    if (rc == OK && s->kv)
        rc = open_owner(s, err);
    if (rc == OK && s->roles & (ROLE_INGEST | ROLE_WRITER))
        rc = open_stream_backend(s, err);
    if (rc == OK && s->roles & stored)
        rc = open_warm(s, err);
    if (rc == OK && s->roles & stored)
        rc = open_cold(s, err);
    if (rc == OK && s->roles & (ROLE_WRITER | ROLE_READER))
        rc = open_hot_backend(s, err);
    if (rc == OK && s->hot)
        register_gauges(s);
    return rc;
}

int storage_open(struct server *s, struct err *err)
{
    retention_register(s);
    int rc = open_tiers(s, err);
    if (rc == OK && s->roles & ROLE_WRITER)
        rc = start_writer(s, err);
    if (rc == OK && s->writer)
        flush_gate_init(&s->may_expire, s->stream, s->writer, s->lanes, s->clock);
    else if (rc == OK)
        rc = rules_begin(s->rules, err);
    if (rc == OK && !s->writer)
        rc = follower_start(s->catalog, &s->follower, err);
    if (rc == OK && s->roles & ROLE_READER)
        open_reader(s);
    if (rc == OK && s->roles & ROLE_MOVER)
        rc = start_mover(s, err);
    return rc;
}

void storage_close(struct server *s, int64_t deadline_ms)
{
    int64_t left_ms = deadline_ms - clock_wall_ms(s->clock);
    aws_backends_hurry(s, clock_mono_us(s->clock) / 1000 + (left_ms > 0 ? left_ms : 0));
    if (s->mover)
        mover_stop(s->mover);
    if (s->writer)
        writer_stop(s->writer, deadline_ms);
    if (s->reader)
        reader_free(s->reader);
    if (s->leases)
        leases_stop(s->leases); /* after the writer: what it flushed at the end is its own */
    writer_free(s->writer);
    leases_free(s->leases);
    if (s->hot)
        hot_free(s->hot);
    if (s->mover)
        mover_free(s->mover);
    if (s->may_expire.stream)
        flush_gate_release(&s->may_expire);
    follower_stop(s->follower);
    eraser_free(s->eraser);
    if (s->warm)
        warm_free(s->warm);
    if (s->tiered)
        warm_free(s->tiered);
    if (s->cold)
        cold_free(s->cold);
    if (s->warm_store)
        warm_free(s->warm_store);
    aws_backends_free(s);
    if (s->stream)
        stream_free(s->stream);
    kv_free(s->kv);
    if (s->catalog)
        catalog_free(s->catalog);
    quota_free(s->quota);
}
