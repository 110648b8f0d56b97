/* What a process tells of itself. */
#include "server/presence.h"

#include "base/mem.h"
#include "base/thread_name.h"
#include "server/server_impl.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FORGET_MS (24 * 3600 * 1000ll)

struct presence {
    struct server *server;
    char key[KV_KEY_MAX];
    uint64_t revision;
    struct log_limit log;
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t wake;
    bool stopping; /* under mu */
};

/* --- what is told --- */

static int ignore_window(void *ctx, const struct hot_window *w)
{
    return 0;
}

static int ignore_part(void *ctx, const struct part *p)
{
    return 0;
}

/* Asks hot for a series that exists, so that a backend on the network is asked, too. */
static int ask_hot(struct server *s, struct err *err)
{
    size_t len;
    return catalog_name(s->catalog, 1, &len) ? hot_read(s->hot, 1, 60000, 0, 60000, ignore_window, NULL, err)
                                             : OK;
}

static int ask_warm(struct server *s, struct err *err)
{
    return warm_read(s->warm_store, 1, 60000, 0, 60000, ignore_part, NULL, err);
}

static int ask_stream(struct server *s, struct err *err)
{
    struct stream_stats st;
    stream_get_stats(s->stream, &st);
    return st.failed ? err_set(err, ERR_FAILED, "it gave up after a failed write") : OK;
}

static void add_tier(json_t *tiers, struct server *s, const char *tier,
                     int (*ask)(struct server *, struct err *))
{
    char key[32];
    struct err err = ERR_INIT;
    snprintf(key, sizeof key, "%s.backend", tier);
    const char *backend = config_string(s->config, key);
    /* What ERR_CORRUPT complains of was read. */
    int rc = ask ? ask(s, &err) : OK;
    bool bad = rc < 0 && rc != ERR_CORRUPT;
    json_object_set_new(tiers, tier,
                        json_pack("{s:s, s:s}", "backend", backend, "state", bad ? err.text : "ok"));
}

static json_t *tiers_of(struct server *s)
{
    json_t *tiers = json_object();
    add_tier(tiers, s, "catalog", NULL); /* whoever reads this has it from there */
    if (s->stream)
        add_tier(tiers, s, "stream", ask_stream);
    if (s->hot)
        add_tier(tiers, s, "hot", ask_hot);
    if (s->warm_store)
        add_tier(tiers, s, "warm", ask_warm);
    if (s->cold)
        add_tier(tiers, s, "cold", NULL);
    return tiers;
}

static json_t *partitions_of(struct server *s)
{
    json_t *list = json_array();
    for (unsigned i = 0; s->writer && i < s->lanes; i++) {
        uint64_t records;
        int64_t ms;
        if (writer_lag(s->writer, i, &records, &ms))
            json_array_append_new(list, json_pack("{s:i, s:I, s:f}", "partition", (int)i, "lag_records",
                                                  (json_int_t)records, "lag_s", (double)ms / 1e3));
    }
    return list;
}

json_t *presence_describe(struct server *s)
{
    char name[65], roles[40], url[300];
    struct err why = ERR_INIT;
    server_node_name(s->config, name, sizeof name);
    roles_name(s->roles, roles);
    server_own_url(s, url, sizeof url);
    bool ready = !s->writer || writer_caught_up(s->writer, &why);
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:o, s:o}", "node", name, "pid", (int)getpid(), "roles",
                     roles, "url", url, "version", CARAT_VERSION, "state", ready ? "ready" : why.text,
                     "partitions", partitions_of(s), "tiers", tiers_of(s));
}

/* --- telling --- */

static int put(struct presence *p, const char *text, struct err *err)
{
    struct kv *kv = p->server->kv;
    int rc = kv_put(kv, p->key, text, p->revision, &p->revision, err);
    if (rc != ERR_LOCKED)
        return rc;
    struct buf before = BUF_INIT; /* of our life before, or an answer of ours was lost */
    rc = kv_get(kv, p->key, &before, &p->revision, err);
    buf_release(&before);
    if (rc == ERR_NOT_FOUND)
        p->revision = 0;
    return rc == OK || rc == ERR_NOT_FOUND ? kv_put(kv, p->key, text, p->revision, &p->revision, err) : rc;
}

static int tell(struct presence *p, struct err *err)
{
    json_t *me = presence_describe(p->server);
    char *text = json_dumps(me, JSON_COMPACT);
    int rc = strlen(text) <= KV_VALUE_MAX
                 ? put(p, text, err)
                 : err_set(err, ERR_LIMIT, "there is too much to tell of this process");
    free(text);
    json_decref(me);
    return rc;
}

static int forget_old(void *ctx, const struct kv_entry *e)
{
    struct err ignored = ERR_INIT;
    return e->age_ms > FORGET_MS ? kv_remove(ctx, e->key, &ignored) : OK;
}

/* True when stopping. */
static bool rest(struct presence *p)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PRESENCE_EVERY_S;
    pthread_mutex_lock(&p->mu);
    while (!p->stopping && pthread_cond_timedwait(&p->wake, &p->mu, &until) != ETIMEDOUT)
        ;
    bool stopping = p->stopping;
    pthread_mutex_unlock(&p->mu);
    return stopping;
}

static void *main_loop(void *arg)
{
    struct presence *p = arg;
    struct err err = ERR_INIT;
    thread_name("carat-presence");
    (void)!kv_list(p->server->kv, "process.", forget_old, p->server->kv, &err);
    do {
        if (tell(p, &err) < 0 && log_allowed(&p->log, NULL))
            log_warn("server", "others are not told of this process, trying again", "why=\"%s\"", err.text);
    } while (!rest(p));
    return NULL;
}

int presence_start(struct server *s, struct presence **out, struct err *err)
{
    if (!s->kv)
        return OK;
    struct presence *p = xcalloc(1, sizeof *p);
    pthread_condattr_t attr;
    p->server = s;
    snprintf(p->key, sizeof p->key, "process.%s", s->owner);
    pthread_mutex_init(&p->mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&p->thread, NULL, main_loop, p);
    if (rc) {
        free(p);
        return err_sys(err, ERR_FAILED, rc, "start the thread that tells of this process");
    }
    *out = p;
    return OK;
}

void presence_stop(struct presence *p)
{
    struct err err = ERR_INIT;
    if (!p)
        return;
    pthread_mutex_lock(&p->mu);
    p->stopping = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mu);
    pthread_join(p->thread, NULL);
    if (kv_remove(p->server->kv, p->key, &err) != OK)
        log_warn("server", "others are not told that this process is gone", "why=\"%s\"", err.text);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mu);
    free(p);
}
