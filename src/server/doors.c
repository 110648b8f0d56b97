#include "server/server_impl.h"

#include "base/log.h"
#include "base/mem.h"
#include "server/deletions.h"
#include "server/topology.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HTTP_STOP_MS      2000
#define QUERY_HELPERS_MAX 15
#define DAY_MS            86400000ll

static int64_t oldest_of(void *ctx, const char *name, size_t len, int64_t now_ms)
{
    return now_ms - rules_keep_ms(ctx, name, len);
}

/* A deletion must be known to whoever applies, moves and reads, and hot must be able to drop slots. */
static const char *why_no_deletion(struct server *s)
{
    if (s->roles != ROLE_ALL)
        return "that takes a process with all roles";
    if (!catalog_keeps_deletions(s->catalog))
        return "a catalog that several processes share cannot keep what is deleted";
    return hot_can_erase(s->hot) ? NULL : "with this hot.backend points cannot be taken out";
}

/* Points younger than a day are not asked about, unless a rule keeps less from the start: matching the name
 * of every point would cost more than everything else. */
static void open_sink(struct server *s)
{
    int64_t shortest_ms = rules_shortest_keep_ms(s->rules);
    struct sink_options o = {
        .catalog = s->catalog,
        .stream = s->stream,
        .clock = s->clock,
        .metrics = s->metrics,
        .max_future_ms = config_duration_ms(s->config, "ingest.max_future"),
        .oldest_ms = oldest_of,
        .oldest_ctx = s->rules,
        .sure_ms = shortest_ms < DAY_MS ? shortest_ms : DAY_MS,
        .accepting = disk_accepting,
        .accepting_ctx = s->disk,
    };
    s->sink = sink_new(&o);
    struct deleter_options d = {.catalog = s->catalog,
                                .stream = s->stream,
                                .clock = s->clock,
                                .metrics = s->metrics,
                                .impossible = why_no_deletion(s)};
    s->deleter = deleter_new(&d);
}

static int open_graphite(struct server *s, struct err *err)
{
    const char *address = config_string(s->config, "graphite.listen");
    if (!*address || !s->sink)
        return OK;
    struct graphite_listener_options o = {
        .address = address,
        .no_udp = !config_bool(s->config, "graphite.udp"),
        .threads = (unsigned)config_int(s->config, "graphite.threads"),
        .max_line_bytes = config_size_bytes(s->config, "graphite.max_line"),
        .max_connections = (uint32_t)config_int(s->config, "graphite.max_connections"),
        .idle_timeout_ms = config_duration_ms(s->config, "graphite.idle_timeout"),
        .sink = s->sink,
        .clock = s->clock,
        .metrics = s->metrics,
    };
    return graphite_listener_start(&o, &s->graphite, err);
}

static size_t what_is_waited_for(void *ctx, struct readiness_wait *out, size_t max)
{
    struct server *s = ctx;
    struct err why = ERR_INIT;
    if (max == 0 || !s->writer || writer_caught_up(s->writer, &why))
        return 0;
    snprintf(out[0].text, sizeof out[0].text, "%.*s", (int)sizeof out[0].text - 1, why.text);
    return 1;
}

/* One for each further processor. */
static unsigned helping_threads(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 2 ? 0 : n > QUERY_HELPERS_MAX ? QUERY_HELPERS_MAX : (unsigned)n - 1;
}

static int add_graphite_api(struct server *s, struct readiness ready, struct err *err)
{
    s->query_source = query_source_new(s->catalog, s->reader);
    struct api_graphite_options o = {
        .source = s->query_source,
        .limits =
            {
                .max_series = (size_t)config_int(s->config, "query.max_series"),
                .max_points = (size_t)config_int(s->config, "query.max_points"),
                .max_ms = config_duration_ms(s->config, "query.timeout"),
                .max_bytes = config_size_bytes(s->config, "query.max_memory"),
                .coarse_from = (size_t)config_int(s->config, "query.coarse_from"),
            },
        .helpers = helping_threads(),
        .clock = s->clock,
        .metrics = s->metrics,
        .readiness = ready,
    };
    int rc = api_graphite_new(&o, &s->api_graphite, err);
    if (rc == OK)
        api_graphite_routes(s->api_graphite, s->http);
    return rc;
}

static int start_job(void *ctx, const char *body, size_t n, uint64_t *id, struct err *err)
{
    struct server *s = ctx;
    if (!s->writer || !s->reader)
        return err_set(err, ERR_UNSUPPORTED,
                       "jobs run in a process with the roles writer and reader; this one has not both");
    return jobs_start(s->jobs, body, n, id, err);
}

static int show_job(void *ctx, uint64_t id, struct buf *json, struct err *err)
{
    return jobs_show(((struct server *)ctx)->jobs, id, json, err);
}

static int cancel_job(void *ctx, uint64_t id, struct err *err)
{
    return jobs_cancel(((struct server *)ctx)->jobs, id, err);
}

static void list_jobs(void *ctx, struct buf *json)
{
    jobs_list(((struct server *)ctx)->jobs, json);
}

static int topology_page(void *ctx, struct buf *json, struct err *err)
{
    return topology_json(ctx, json, err);
}

static void add_backup_api(struct server *s)
{
    struct snapshot_source from = {
        .data_dir = s->dir.path,
        .stream = s->stream,
        .warm = s->warm_store,
        .catalog = s->catalog,
        .clock = s->clock,
        .hold = rules_hold,
        .release = rules_release,
        .hold_ctx = s->rules,
    };
    s->snapshots = snapshots_new(&from);
    s->api_backup = api_backup_new(s->snapshots);
    api_backup_routes(s->api_backup, s->http);
}

static int add_delete_api(struct server *s, struct err *err)
{
    struct api_delete_options o = {.request = deletion_request, .names = deletion_of_names, .ctx = s};
    int rc = api_delete_new(&o, &s->api_delete, err);
    if (rc == OK)
        api_delete_routes(s->api_delete, s->http);
    return rc;
}

static void add_status_api(struct server *s, struct readiness ready)
{
    static const char *const told[] = {"stream.backend", "hot.backend", "warm.backend", "cold.backend",
                                       "catalog.backend"};
    struct api_status *a = &s->api_status;
    *a = (struct api_status){.metrics = s->metrics, .clock = s->clock, .readiness = ready};
    server_node_name(s->config, s->node, sizeof s->node);
    roles_name(s->roles, s->role_names);
    a->fact[a->nfacts++] = (struct api_status_fact){"node", s->node};
    a->fact[a->nfacts++] = (struct api_status_fact){"roles", s->role_names};
    bool history = s->sink && config_bool(s->config, "watch.store");
    a->fact[a->nfacts++] = (struct api_status_fact){"history", history ? "true" : "false"};
    for (size_t i = 0; i < ARRAY_LEN(told); i++)
        a->fact[a->nfacts++] = (struct api_status_fact){told[i], config_string(s->config, told[i])};
    api_status_routes(a, s->http);
}

static int add_routes(struct server *s, struct err *err)
{
    struct readiness ready = {what_is_waited_for, s};
    add_status_api(s, ready);
    char dir[PATH_MAX];
    int rc = dashboards_open(fs_posix(), data_dir_path(&s->dir, "dashboards", dir), &s->dashboards, err);
    if (rc != OK)
        return rc;
    api_dashboards_routes(s->dashboards, s->http);
    api_cost_routes(s->metrics, s->http);
    pages_routes(s->http);
    struct api_mackerel_options mackerel = {
        .sink = s->sink,
        .catalog = s->catalog,
        .reader = s->reader,
        .clock = s->clock,
        .readiness = ready,
    };
    s->api_mackerel = api_mackerel_new(&mackerel);
    api_mackerel_routes(s->api_mackerel, s->http);
    s->api_admin = (struct api_admin){
        .catalog = s->catalog,
        .clock = s->clock,
        .job_start = start_job,
        .job_show = show_job,
        .job_cancel = cancel_job,
        .retention = retention_status,
        .retention_ctx = s,
        .topology = topology_page,
        .topology_ctx = s,
        .job_list = list_jobs,
        .jobs = s,
    };
    api_admin_routes(&s->api_admin, s->http);
    rc = s->roles == ROLE_ALL ? add_delete_api(s, err) : OK;
    if (s->roles == ROLE_ALL)
        add_backup_api(s);
    return rc == OK && s->reader ? add_graphite_api(s, ready, err) : rc;
}

static int open_http(struct server *s, struct err *err)
{
    struct http_options o = {
        .listen = config_string(s->config, "http.listen"),
        .threads = (unsigned)config_int(s->config, "http.threads"),
        .max_body_bytes = config_size_bytes(s->config, "http.max_body"),
        .max_connections = (unsigned)config_int(s->config, "http.max_connections"),
        .metrics = s->metrics,
    };
    int rc = http_server_new(&o, &s->http, err);
    if (rc != OK)
        return rc;
    rc = add_routes(s, err);
    return rc == OK ? http_server_start(s->http, err) : rc;
}

int doors_open(struct server *s, struct err *err)
{
    if (s->roles & ROLE_INGEST)
        open_sink(s);
    int rc = open_http(s, err);
    if (rc == OK)
        rc = open_graphite(s, err);
    if (rc != OK)
        return rc;
    char roles[40];
    roles_name(s->roles, roles);
    log_info("server", "serving", "roles=%s http.listen=%s graphite.listen=%s data.dir=%s version=%s", roles,
             config_string(s->config, "http.listen"), config_string(s->config, "graphite.listen"),
             s->dir.path, CARAT_VERSION);
    return OK;
}

void doors_close(struct server *s)
{
    if (s->graphite)
        graphite_listener_stop(s->graphite);
    if (s->api_graphite)
        api_graphite_stop(s->api_graphite);
    if (s->api_delete)
        api_delete_stop(s->api_delete);
    if (s->http)
        http_server_stop(s->http, HTTP_STOP_MS);
}

void doors_free(struct server *s)
{
    api_backup_free(s->api_backup);
    api_delete_free(s->api_delete);
    snapshots_free(s->snapshots);
    if (s->api_graphite)
        api_graphite_free(s->api_graphite);
    if (s->query_source)
        query_source_free(s->query_source);
    if (s->api_mackerel)
        api_mackerel_free(s->api_mackerel);
    if (s->http)
        http_server_free(s->http);
    dashboards_free(s->dashboards);
    if (s->sink)
        sink_free(s->sink);
    deleter_free(s->deleter);
}
