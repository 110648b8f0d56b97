/* The parts of a running server and who starts them. Only this folder names backends. */
#ifndef CARAT_SERVER_SERVER_IMPL_H
#define CARAT_SERVER_SERVER_IMPL_H

#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "catalog/catalog.h"
#include "cold/cold.h"
#include "erase/eraser.h"
#include "hot/hot.h"
#include "http/api_admin.h"
#include "http/api_backup.h"
#include "http/api_cost.h"
#include "http/api_dashboards.h"
#include "http/api_delete.h"
#include "http/api_graphite.h"
#include "http/api_mackerel.h"
#include "http/api_status.h"
#include "http/http.h"
#include "http/pages.h"
#include "ingest/deleter.h"
#include "ingest/graphite_listener.h"
#include "ingest/sink.h"
#include "lease/kv.h"
#include "lease/lease.h"
#include "model/quota.h"
#include "mover/mover.h"
#include "reader/reader.h"
#include "server/data_dir.h"
#include "server/disk.h"
#include "server/flush_gate.h"
#include "server/follow.h"
#include "server/jobs.h"
#include "server/roles.h"
#include "server/rules.h"
#include "server/scrub.h"
#include "stream/stream.h"
#include "warm/warm.h"
#include "watch/watch.h"
#include "writer/writer.h"

struct agent;
struct backup_job;

struct server {
    const struct config *config;
    unsigned roles; /* enum role */
    struct clock *clock;
    struct metrics *metrics;
    struct data_dir dir;
    struct rules *rules;
    struct disk_watch *disk;
    /* storage.c, in the order they are opened */
    struct quota *quota; /* NULL if there are none */
    struct log_limit quota_log;
    struct catalog *catalog;
    char owner[17]; /* this process, among others */
    struct kv *kv;  /* what all processes of the deployment see; NULL: there is only this one */
    struct stream *stream;
    unsigned lanes;
    struct hot *hot;
    struct aws_backends *aws; /* NULL: none is asked for */
    struct warm *warm_store;  /* warm itself */
    struct cold *cold;
    struct warm *tiered; /* warm with cold below it */
    struct warm *warm;   /* that, without what was deleted */
    struct mover *mover;
    struct eraser *eraser;
    struct leases *leases; /* NULL: this writer has every partition */
    struct writer *writer;
    struct flush_gate may_expire;
    struct reader *reader;
    struct follower *follower; /* NULL if the writer follows the catalog */
    /* doors.c */
    struct sink *sink;
    struct deleter *deleter;
    struct graphite_listener *graphite;
    struct http_server *http;
    struct api_mackerel *api_mackerel;
    struct snapshots *snapshots;
    struct api_backup *api_backup;
    struct api_delete *api_delete;
    struct dashboards *dashboards;
    struct api_status api_status;
    char node[65], role_names[40]; /* for api_status */
    struct api_graphite *api_graphite;
    struct query_source *query_source;
    struct api_admin api_admin;
    struct jobs *jobs;
    struct backup_job *backup_job;
    struct scrub *scrub; /* NULL if switched off */
    struct agent *agent; /* NULL if switched off */
    struct watch *watch; /* NULL if switched off */
    struct presence *presence;
};

/* storage.c: catalog, stream, tiers, writer, reader. What was opened before a failure stays for
 * storage_close. */
int storage_open(struct server *s, struct err *err) must_check;
/* Applies and flushes what is left, as far as deadline_ms (wall clock) allows, and closes everything. */
void storage_close(struct server *s, int64_t deadline_ms);

/* backends.c: the parts that can be one of several; what the configuration says decides. */
int open_stream_backend(struct server *s, struct err *err) must_check;
int open_hot_backend(struct server *s, struct err *err) must_check;
/* leasing.c: a name for this process that stays with data.dir. */
int open_owner(struct server *s, struct err *err) must_check;
/* Several writers share the partitions. Nothing if this one is alone. */
int open_leases(struct server *s, struct err *err) must_check;

/* doors.c: everything a client can reach. */
int doors_open(struct server *s, struct err *err) must_check;
/* No more requests; those under way are answered as far as a short time allows. */
void doors_close(struct server *s);
/* After stream_close: until then batches in flight refer to the sink. */
void doors_free(struct server *s);

/* job_kinds.c: after storage_open. */
int jobs_open(struct server *s, struct err *err) must_check;
/* Of a job's request: seconds, 2026-11-22T10:00:00Z, now, -90min. `what` names it in the error. */
int job_take_time(const json_t *value, const char *what, int64_t now_ms, int64_t *out,
                  struct err *err) must_check;
/* Before the stream is closed: cancels what runs and waits for it. */
void jobs_close(struct server *s);

/* retention_jobs.c */
int retention_check_job(struct job *j, void *server, void *args, struct err *err) must_check;
int retention_apply_parse(void *server, const json_t *request, void **args, struct err *err) must_check;
int retention_apply_job(struct job *j, void *server, void *args, struct err *err) must_check;
void retention_register(struct server *s);
/* Reads the files again; nothing expires until what they were still accepted under others for has left hot.
 */
int server_reload_rules(struct server *s, struct err *err) must_check;
/* Says in the log if stored data does not follow the rules in force. */
void retention_tell(struct server *s);
/* Goes on with what a restart has interrupted; after jobs_open. */
int retention_resume(struct server *s, struct err *err) must_check;
void retention_status(void *server, struct buf *json);

/* local_agent.c: after doors_open, before doors_close. */
int local_agent_start(struct server *s, struct err *err) must_check;
void local_agent_stop(struct server *s);
/* Where this server is reached from this machine, once the doors are open. */
void server_own_url(struct server *s, char *out, size_t size);

/* self_watch.c: after doors_open; stopped before doors_close, freed after stream_close and before
 * doors_free. */
/* This server's level in carat.<node>.*: watch.node, or the host's name. */
void server_node_name(const struct config *c, char *out, size_t size);
int self_watch_start(struct server *s, struct err *err) must_check;
void self_watch_stop(struct server *s);
void self_watch_free(struct server *s);

#endif
