#include "server/server.h"

#include "base/log.h"
#include "server/backup_job.h"
#include "server/presence.h"
#include "server/server_impl.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#define STOP_MS 8000 /* of the 10 s a SIGTERM may take */

/* SIGHUP. Bad rules leave the old ones in force. */
static void reload(struct server *s)
{
    struct err err = ERR_INIT;
    if (server_reload_rules(s, &err) == OK) {
        log_info("server", "rules reloaded", "retention.schemas=%s retention.aggregation=%s",
                 config_string(s->config, "retention.schemas"),
                 config_string(s->config, "retention.aggregation"));
        retention_tell(s);
    } else
        log_error("server", "rules not reloaded, the old ones stay in force", "why=\"%s\"", err.text);
}

/* Every connection and every stored file needs one. */
static void raise_file_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &l) < 0)
            log_warn("server", "cannot raise the limit of open files", "limit=%llu",
                     (unsigned long long)l.rlim_cur);
    }
}

/* Blocked in every thread, taken by sigwaitinfo in one: no handler ever runs. */
static sigset_t block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return set;
}

static void wait_for_stop(struct server *s, const sigset_t *set)
{
    for (;;) {
        int sig = sigwaitinfo(set, NULL);
        if (sig == SIGHUP)
            reload(s);
        else if (sig > 0) {
            log_info("server", "stopping", "signal=%s", sig == SIGTERM ? "SIGTERM" : "SIGINT");
            return;
        }
    }
}

static int watch_disk(struct server *s, struct err *err)
{
    struct disk_watch_options o = {
        .fs = fs_posix(),
        .path = s->dir.path,
        .min_free_bytes = config_size_bytes(s->config, "disk.min_free"),
        .metrics = s->metrics,
    };
    return disk_watch_start(&o, &s->disk, err);
}

static int open_rules(struct server *s, struct err *err)
{
    char path[PATH_MAX];
    struct rules_options o = {
        .schemas_path = config_string(s->config, "retention.schemas"),
        .aggregation_path = config_string(s->config, "retention.aggregation"),
        .history_path = data_dir_path(&s->dir, "retention.history", path),
        .fs = fs_posix(),
        .clock = s->clock,
        .max_future_ms = config_duration_ms(s->config, "ingest.max_future"),
    };
    /* Data that several processes share is not followed by the history of one of them. */
    if (s->roles != ROLE_ALL)
        o.history_path = NULL, o.as_is = true;
    return rules_new(&o, &s->rules, err);
}

static int open_all(struct server *s, struct err *err)
{
    int rc = roles_parse(config_string(s->config, "server.roles"), &s->roles, err);
    if (rc == OK)
        rc = roles_check(s->roles, s->config, err);
    if (rc == OK)
        rc = data_dir_open(&s->dir, config_string(s->config, "data.dir"), err);
    if (rc == OK)
        rc = open_rules(s, err);
    if (rc == OK)
        rc = storage_open(s, err);
    if (rc == OK)
        rc = watch_disk(s, err);
    if (rc == OK)
        rc = backup_job_new(s, &s->backup_job, err);
    if (rc == OK)
        rc = jobs_open(s, err);
    if (rc == OK)
        rc = doors_open(s, err);
    if (rc == OK)
        rc = backup_job_start(s->backup_job, err);
    if (rc == OK)
        rc = local_agent_start(s, err);
    if (rc == OK)
        rc = self_watch_start(s, err);
    if (rc == OK)
        rc = presence_start(s, &s->presence, err);
    return rc;
}

static void close_all(struct server *s)
{
    int64_t deadline_ms = clock_wall_ms(s->clock) + STOP_MS;
    presence_stop(s->presence);
    local_agent_stop(s);
    self_watch_stop(s);
    doors_close(s);
    backup_job_stop(s->backup_job);
    jobs_close(s);
    if (s->stream)
        stream_close(s->stream);
    self_watch_free(s);
    doors_free(s);
    disk_watch_stop(s->disk);
    jobs_free(s->jobs);
    backup_job_free(s->backup_job);
    storage_close(s, deadline_ms);
    rules_free(s->rules);
    data_dir_close(&s->dir);
    metrics_free(s->metrics);
}

int server_run(const struct config *config, struct err *err)
{
    sigset_t set = block_signals();
    raise_file_limit();
    int level = log_level_from(config_string(config, "log.level"));
    if (level < 0)
        return err_set(err, ERR_INVALID, "log.level = %.40s: expected debug, info, warn or error",
                       config_string(config, "log.level"));
    log_set_level((enum log_level)level);
    struct server s = {
        .config = config, .clock = clock_system(), .metrics = metrics_new(), .dir = {.lock_fd = -1}};
    int rc = open_all(&s, err);
    if (rc == OK)
        wait_for_stop(&s, &set);
    close_all(&s);
    return rc;
}
