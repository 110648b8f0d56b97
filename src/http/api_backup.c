#include "http/api_backup.h"

#include "base/mem.h"
#include "base/thread_name.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct api_backup {
    struct snapshots *snapshots;
    pthread_mutex_t mtx;
    /* under mtx: a snapshot takes longer than a handler may, so it has a thread */
    pthread_t thread;
    bool started; /* to be joined */
    bool busy;
    struct http_request *request; /* for the thread that starts */
};

static void reply_failure(struct http_request *r, int rc, const struct err *err)
{
    if (rc == ERR_BUSY)
        http_reply_header(r, "Retry-After", "1");
    http_reply_error(r, rc == ERR_BUSY ? 503 : rc == ERR_NOT_FOUND ? 404 : 500, "%s", err->text);
}

static void reply_snapshot(struct http_request *r, const struct snapshot_info *s)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "{\"id\":\"%s\",\"path\":", s->id);
    buf_json_string(&b, s->path, strlen(s->path));
    buf_printf(&b, ",\"files\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"time_ms\":%" PRId64 "}", s->files,
               s->bytes, s->time_ms);
    http_reply(r, 200, "application/json", &b);
}

static void *take_main(void *arg)
{
    struct api_backup *a = arg;
    thread_name("carat-backup");
    struct http_request *r = a->request;
    struct snapshot_info info;
    struct err err = ERR_INIT;
    int rc = snapshots_take(a->snapshots, &info, &err);
    pthread_mutex_lock(&a->mtx);
    a->busy = false; /* before the client can ask for the next */
    pthread_mutex_unlock(&a->mtx);
    if (rc == OK)
        reply_snapshot(r, &info);
    else
        reply_failure(r, rc, &err);
    return NULL;
}

/* Under mtx. */
static int start(struct api_backup *a, struct http_request *r, struct err *err)
{
    if (a->busy)
        return err_set(err, ERR_BUSY, "another snapshot is being made; try again");
    if (a->started)
        pthread_join(a->thread, NULL);
    a->request = r;
    int rc = pthread_create(&a->thread, NULL, take_main, a);
    a->started = a->busy = rc == 0;
    return rc ? err_sys(err, ERR_BUSY, rc, "start a thread for the snapshot") : OK;
}

static void post_snapshot(void *ctx, struct http_request *r)
{
    struct api_backup *a = ctx;
    struct err err = ERR_INIT;
    pthread_mutex_lock(&a->mtx);
    int rc = start(a, r, &err);
    pthread_mutex_unlock(&a->mtx);
    if (rc < 0)
        reply_failure(r, rc, &err);
}

static void delete_snapshot(void *ctx, struct http_request *r)
{
    struct api_backup *a = ctx;
    struct err err = ERR_INIT;
    int rc = snapshots_drop(a->snapshots, http_path_var(r, 0), &err);
    if (rc < 0) {
        reply_failure(r, rc, &err);
        return;
    }
    struct buf b = BUF_INIT;
    buf_puts(&b, "{}");
    http_reply(r, 200, "application/json", &b);
}

struct api_backup *api_backup_new(struct snapshots *s)
{
    struct api_backup *a = xcalloc(1, sizeof *a);
    a->snapshots = s;
    pthread_mutex_init(&a->mtx, NULL);
    return a;
}

void api_backup_routes(struct api_backup *a, struct http_server *s)
{
    http_server_route(s, "POST", "/api/v1/snapshots", post_snapshot, a);
    http_server_route(s, "DELETE", "/api/v1/snapshots/:id", delete_snapshot, a);
}

void api_backup_free(struct api_backup *a)
{
    if (!a)
        return;
    if (a->started)
        pthread_join(a->thread, NULL);
    pthread_mutex_destroy(&a->mtx);
    free(a);
}
