/* Routing: a batch is sent in passes. In a pass every command that has no answer yet goes to the node that
 * should have it; between passes redirections have been noted, the map may be asked for again, and where a
 * node was not ready a short time goes by. */
#include "redis/redis_cluster.h"

#include "base/mem.h"
#include "redis/redis_map.h"
#include "redis/redis_node.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define NONE            UINT16_MAX
#define TIMEOUT_MS      2000
#define IN_FLIGHT       512
#define WAIT_FIRST_US   1000
#define WAIT_LONGEST_US 50000

struct redis_cluster {
    char *seeds, *user, *password;
    struct redis_login login;
    struct clock *clock;
    struct redis_metrics m;
    unsigned in_flight;
    struct redis_node *nodes[REDIS_NODES_MAX]; /* numbers stay; unused ones have port 0 */
    size_t n;
    uint16_t owner[REDIS_SLOTS]; /* the node that has it as master, or NONE */
    bool mapped, stale;          /* asked once; to be asked again */
    uint64_t doubt[REDIS_SLOT_WORDS];
    uint64_t doubt_events; /* grows with every new doubt */
    bool any_doubt;
    unsigned spread; /* replicas take turns */
    struct pollfd polls[REDIS_NODES_MAX];
    /* of the run under way */
    uint8_t *done;
    uint16_t *target;
    size_t run_cap;
};

/* A batch on its way. */
struct run {
    struct redis_cluster *c;
    const struct redis_batch *b;
    redis_reply_fn fn;
    void *ctx;
    uint8_t *done;
    uint16_t *target; /* where ASK sent a command; NONE: to the owner of its slot */
    size_t left;
    bool plain;     /* redirections are answers like others */
    bool wait;      /* something was not ready */
    struct err why; /* the last thing that was in the way */
};

static void count(struct counter *k, uint64_t n)
{
    if (k)
        counter_add(k, n);
}

/* --- nodes and doubts ------------------------------------------------------------------------------------
 */

static uint16_t node_number(struct redis_cluster *c, const struct redis_address *a, const char *same_host)
{
    char host[REDIS_HOST_MAX];
    size_t len = a->host_len ? a->host_len : strlen(same_host), free_at = c->n;
    if (len >= sizeof host)
        return NONE;
    memcpy(host, a->host_len ? a->host : same_host, len);
    host[len] = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (c->nodes[i]->port == a->port && strcmp(c->nodes[i]->host, host) == 0)
            return (uint16_t)i;
        if (c->nodes[i]->port == 0 && free_at == c->n)
            free_at = i;
    }
    if (free_at == REDIS_NODES_MAX)
        return NONE;
    if (free_at == c->n) {
        c->nodes[c->n++] = xcalloc(1, sizeof *c->nodes[0]);
        redis_node_init(c->nodes[free_at], host, a->port);
    } else {
        redis_node_release(c->nodes[free_at]);
        redis_node_init(c->nodes[free_at], host, a->port);
    }
    return (uint16_t)free_at;
}

static void doubt_slot(struct redis_cluster *c, unsigned slot)
{
    c->doubt[slot / 64] |= 1ull << slot % 64;
    c->any_doubt = true;
    c->doubt_events++;
}

static void set_owner(struct redis_cluster *c, unsigned slot, uint16_t node)
{
    if (c->owner[slot] == node)
        return;
    if (c->owner[slot] != NONE)
        doubt_slot(c, slot);
    c->owner[slot] = node;
}

/* A broken connection: what comes after it may be another process, or one that forgot what it had. */
static void fail_node(struct run *r, struct redis_node *n, const struct err *why)
{
    struct redis_cluster *c = r->c;
    redis_node_close(n);
    n->failed = true;
    c->stale = r->wait = true;
    r->why = *why;
    count(c->m.failures, 1);
    for (unsigned s = 0; s < REDIS_SLOTS; s++)
        if (c->owner[s] != NONE && c->nodes[c->owner[s]] == n)
            doubt_slot(c, s);
}

static int connect_node(struct run *r, struct redis_node *n)
{
    struct err err = ERR_INIT;
    if (n->ctx)
        return OK;
    count(r->c->m.connects, 1);
    int rc = redis_node_connect(n, &r->c->login, &err);
    if (rc != OK)
        fail_node(r, n, &err);
    return rc == ERR_INVALID ? rc : OK;
}

/* --- one pass --------------------------------------------------------------------------------------------
 */

static bool starts(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

/* True if the error passes by itself and was seen to. */
static bool redirected(struct run *r, struct redis_node *n, uint32_t i, const char *text)
{
    static const char *const later[] = {"TRYAGAIN", "CLUSTERDOWN", "LOADING",   "MASTERDOWN",
                                        "READONLY", "BUSY ",       "NOREPLICAS"};
    struct redis_cluster *c = r->c;
    struct redis_address a;
    unsigned slot;
    bool moved = starts(text, "MOVED "), ask = starts(text, "ASK ");
    if ((moved || ask) && redis_redirection(text, &slot, &a)) {
        uint16_t to = node_number(c, &a, n->host);
        count(moved ? c->m.moved : c->m.asked, 1);
        r->wait |= to == NONE;
        if (moved) {
            c->stale = true;
            set_owner(c, slot, to);
        } else {
            r->target[i] = to;
        }
        return true;
    }
    for (size_t k = 0; k < ARRAY_LEN(later); k++)
        if (starts(text, later[k])) {
            count(c->m.waits, 1);
            err_set(&r->why, ERR_BUSY, "redis %s: %.200s", n->name, text);
            c->stale = r->wait = true;
            return true;
        }
    return false;
}

static void on_reply(void *ctx, struct redis_node *n, uint32_t i, const redisReply *reply)
{
    struct run *r = ctx;
    r->target[i] = NONE;
    if (reply->type == REDIS_REPLY_ERROR && !r->plain && redirected(r, n, i, reply->str))
        return;
    r->done[i] = 1;
    r->left--;
    r->fn(r->ctx, i, reply);
}

/* The master of the slot, or one of its replicas where they are to be asked. */
static uint16_t route(struct redis_cluster *c, unsigned slot)
{
    uint16_t node = c->owner[slot];
    if (node == NONE || !c->login.replicas || c->nodes[node]->nreplicas == 0)
        return node;
    return c->nodes[node]->replicas[c->spread++ % c->nodes[node]->nreplicas];
}

/* Queues every command without an answer. */
static int queue_all(struct run *r)
{
    struct redis_cluster *c = r->c;
    for (size_t i = 0; i < c->n; i++)
        c->nodes[i]->failed = false;
    for (size_t i = 0; i < r->b->n; i++) {
        if (r->done[i])
            continue;
        bool asked = r->target[i] != NONE && !r->plain;
        uint16_t to = r->target[i] != NONE ? r->target[i] : route(c, r->b->v[i].slot);
        if (to == NONE) {
            err_set(&r->why, ERR_BUSY, "no node of the Redis Cluster has slot %u", r->b->v[i].slot);
            c->stale = r->wait = true;
            continue;
        }
        struct redis_node *n = c->nodes[to];
        int rc = n->failed ? OK : connect_node(r, n);
        if (rc != OK)
            return rc;
        if (n->failed)
            continue;
        if (asked)
            redis_node_queue(n, REDIS_ASKING);
        redis_node_queue(n, (uint32_t)i);
    }
    return OK;
}

static void serve_node(struct run *r, struct redis_node *n, short events)
{
    struct err err = ERR_INIT;
    int rc = OK;
    if (events)
        n->progress_us = clock_mono_us(r->c->clock);
    if (events & POLLOUT)
        rc = redis_node_send(n, &err);
    if (rc == OK && events & (POLLIN | POLLHUP | POLLERR))
        rc = redis_node_receive(n, on_reply, r, &err);
    if (rc == OK && !events && clock_mono_us(r->c->clock) - n->progress_us > r->c->login.timeout_ms * 1000ll)
        rc = err_set(&err, ERR_TIMEOUT, "redis %s: no answer within %d ms", n->name, r->c->login.timeout_ms);
    if (rc != OK)
        fail_node(r, n, &err);
}

/* Until every node has answered what it was sent, or failed. */
static void exchange(struct run *r)
{
    struct redis_cluster *c = r->c;
    for (;;) {
        struct redis_node *busy[REDIS_NODES_MAX];
        nfds_t n = 0;
        for (size_t i = 0; i < c->n; i++) {
            struct redis_node *node = c->nodes[i];
            if (!redis_node_busy(node))
                continue;
            redis_node_fill(node, r->b, c->in_flight);
            c->polls[n] = (struct pollfd){.fd = node->ctx->fd, .events = redis_node_events(node)};
            busy[n++] = node;
        }
        if (n == 0)
            return;
        poll(c->polls, n, 100);
        for (nfds_t i = 0; i < n; i++)
            serve_node(r, busy[i], c->polls[i].revents);
    }
}

static int pass(struct run *r)
{
    struct redis_cluster *c = r->c;
    int64_t now = clock_mono_us(c->clock);
    r->wait = false;
    for (size_t i = 0; i < c->n; i++) {
        c->nodes[i]->n = c->nodes[i]->filled = c->nodes[i]->answered = 0;
        c->nodes[i]->progress_us = now;
    }
    int rc = queue_all(r);
    if (rc == OK)
        exchange(r);
    return rc;
}

/* --- the map ---------------------------------------------------------------------------------------------
 */

struct map_answer {
    struct redis_cluster *c;
    struct redis_node *from;
    int status;
    struct err err;
};

static void take_range(struct map_answer *m, const struct redis_range *range, uint16_t owner[REDIS_SLOTS],
                       bool used[REDIS_NODES_MAX])
{
    struct redis_cluster *c = m->c;
    struct redis_address a;
    uint16_t master = redis_range_node(range, 0, &a) ? node_number(c, &a, m->from->host) : NONE;
    if (master == NONE)
        return;
    struct redis_node *n = c->nodes[master];
    if (!used[master])
        n->nreplicas = 0;
    used[master] = n->has_slots = true;
    for (unsigned s = range->from; s <= range->to; s++)
        owner[s] = master;
    for (size_t k = 1; k < range->n && n->nreplicas < REDIS_REPLICAS_MAX; k++) {
        uint16_t replica = redis_range_node(range, k, &a) ? node_number(c, &a, m->from->host) : NONE;
        bool known = replica == NONE;
        for (unsigned i = 0; i < n->nreplicas; i++)
            known |= n->replicas[i] == replica;
        if (replica != NONE)
            used[replica] = true;
        if (!known)
            n->replicas[n->nreplicas++] = replica;
    }
}

/* Addresses the cluster does not name any more; a connection that is in use stays. */
static void forget_nodes(struct redis_cluster *c, const bool used[REDIS_NODES_MAX],
                         const struct redis_node *keep)
{
    for (size_t i = 0; i < c->n; i++)
        if (!used[i] && c->nodes[i] != keep) {
            redis_node_close(c->nodes[i]);
            c->nodes[i]->port = 0;
            c->nodes[i]->has_slots = false;
            c->nodes[i]->nreplicas = 0;
        }
}

static void on_map(void *ctx, size_t i, const redisReply *reply)
{
    struct map_answer *m = ctx;
    struct redis_cluster *c = m->c;
    uint16_t *owner = xmalloc(REDIS_SLOTS * sizeof *owner);
    bool used[REDIS_NODES_MAX] = {false};
    m->status = OK;
    if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "cluster support disabled"))
        m->status =
            err_set(&m->err, ERR_INVALID,
                    "redis %s is not a node of a cluster: start it with cluster-enabled yes", m->from->name);
    else if (reply->type == REDIS_REPLY_ERROR)
        m->status = redis_reply_error(reply, m->from->name, &m->err);
    else if (reply->type != REDIS_REPLY_ARRAY)
        m->status =
            err_set(&m->err, ERR_INVALID, "redis %s: no list in the answer to CLUSTER SLOTS", m->from->name);
    for (unsigned s = 0; s < REDIS_SLOTS; s++)
        owner[s] = NONE;
    for (size_t k = 0; m->status == OK && k < reply->elements; k++) {
        struct redis_range range;
        m->status = redis_range_read(reply, k, &range, &m->err);
        if (m->status == OK)
            take_range(m, &range, owner, used);
    }
    if (m->status == OK) {
        for (size_t k = 0; k < c->n; k++)
            c->nodes[k]->has_slots = false;
        for (unsigned s = 0; s < REDIS_SLOTS; s++) {
            set_owner(c, s, owner[s]);
            if (owner[s] != NONE)
                c->nodes[owner[s]]->has_slots = true;
        }
        forget_nodes(c, used, m->from);
    }
    free(owner);
}

/* Sends the batch, which is short, to that node and nowhere else. */
static int ask_node(struct redis_cluster *c, uint16_t node, const struct redis_batch *b, redis_reply_fn fn,
                    void *ctx, struct err *err)
{
    struct run r = {.c = c, .b = b, .fn = fn, .ctx = ctx, .left = b->n, .plain = true};
    r.done = xcalloc(b->n ? b->n : 1, 1);
    r.target = xmalloc((b->n ? b->n : 1) * sizeof *r.target);
    for (size_t i = 0; i < b->n; i++)
        r.target[i] = node;
    int rc = pass(&r);
    if (r.left && rc == OK)
        rc = r.why.code ? r.why.code : ERR_IO;
    if (rc != OK && err)
        *err = r.why;
    free(r.done);
    free(r.target);
    return rc;
}

static int refresh_from(struct redis_cluster *c, uint16_t node, struct err *err)
{
    struct map_answer m = {.c = c, .from = c->nodes[node], .status = ERR_IO, .err = ERR_INIT};
    struct redis_batch b = REDIS_BATCH_INIT;
    redis_batch_begin(&b, 0, 2);
    redis_batch_str(&b, "CLUSTER");
    redis_batch_str(&b, "SLOTS");
    int rc = ask_node(c, node, &b, on_map, &m, err);
    redis_batch_release(&b);
    if (rc == OK && m.status != OK) {
        rc = m.status;
        *err = m.err;
    }
    return rc;
}

static void add_seeds(struct redis_cluster *c)
{
    for (const char *p = c->seeds; *p;) {
        size_t n = strcspn(p, ",");
        struct redis_address a;
        if (redis_address_parse(p, n, &a))
            (void)node_number(c, &a, "");
        p += n + (p[n] == ',');
    }
}

int redis_cluster_refresh(struct redis_cluster *c, struct err *err)
{
    struct err why = ERR_INIT;
    int rc = err_set(&why, ERR_IO, "no node of the Redis Cluster is known");
    add_seeds(c);
    /* Those we talk to, then those that were there the last time, then the rest. */
    for (int turn = 0; turn < 3 && rc != OK && rc != ERR_INVALID; turn++)
        for (size_t i = 0; i < c->n && rc != OK && rc != ERR_INVALID; i++) {
            const struct redis_node *n = c->nodes[i];
            int its_turn = n->ctx ? 0 : n->has_slots ? 1 : 2;
            if (n->port != 0 && its_turn == turn)
                rc = refresh_from(c, (uint16_t)i, &why);
        }
    c->stale = rc != OK;
    c->mapped |= rc == OK;
    if (rc != OK && err)
        *err = why;
    return rc;
}

/* --- a batch ---------------------------------------------------------------------------------------------
 */

static void prepare(struct run *r)
{
    struct redis_cluster *c = r->c;
    if (r->b->n > c->run_cap) {
        c->run_cap = r->b->n + r->b->n / 2;
        c->done = xrealloc(c->done, c->run_cap);
        c->target = xrealloc(c->target, c->run_cap * sizeof *c->target);
    }
    r->done = c->done;
    r->target = c->target;
    r->left = r->b->n;
    memset(r->done, 0, r->b->n);
    memset(r->target, 0xff, r->b->n * sizeof *r->target);
}

static void rest(int64_t *us)
{
    poll(NULL, 0, (int)((*us + 999) / 1000));
    *us = *us * 2 < WAIT_LONGEST_US ? *us * 2 : WAIT_LONGEST_US;
}

int redis_cluster_exec(struct redis_cluster *c, const struct redis_batch *b, enum redis_mode mode,
                       redis_reply_fn fn, void *ctx, struct err *err)
{
    struct run r = {.c = c, .b = b, .fn = fn, .ctx = ctx};
    int64_t wait_us = WAIT_FIRST_US, progress_us = clock_mono_us(c->clock);
    assert(b->args_due == 0);
    prepare(&r);
    count(c->m.commands, b->n);
    while (r.left) {
        size_t left = r.left;
        uint64_t doubts = c->doubt_events;
        int rc = OK;
        if (!c->mapped || c->stale) {
            rc = redis_cluster_refresh(c, &r.why);
            memset(r.target, 0xff, b->n * sizeof *r.target); /* numbers may have been given anew */
            if (mode == REDIS_STEADY && c->doubt_events != doubts)
                return 1;
        }
        if (rc == OK)
            rc = pass(&r);
        if (rc == ERR_INVALID) {
            *err = r.why;
            return rc;
        }
        if (mode == REDIS_STEADY && c->doubt_events != doubts && r.left)
            return 1;
        if (r.left < left) {
            progress_us = clock_mono_us(c->clock);
            wait_us = WAIT_FIRST_US;
        }
        if (clock_mono_us(c->clock) - progress_us > c->login.timeout_ms * 1000ll) {
            if (r.why.code == OK)
                err_set(&r.why, ERR_TIMEOUT, "nothing came back");
            *err = r.why;
            err_prefix(err, "%zu of %zu commands not answered", r.left, b->n);
            return ERR_TIMEOUT;
        }
        if (r.left && (rc != OK || r.wait))
            rest(&wait_us);
    }
    return OK;
}

int redis_cluster_exec_on(struct redis_cluster *c, unsigned node, const struct redis_batch *b,
                          redis_reply_fn fn, void *ctx, struct err *err)
{
    assert(node < c->n && b->args_due == 0);
    if (c->nodes[node]->port == 0)
        return err_set(err, ERR_NOT_FOUND, "redis %s is not in the cluster any more", c->nodes[node]->name);
    count(c->m.commands, b->n);
    return ask_node(c, (uint16_t)node, b, fn, ctx, err);
}

size_t redis_cluster_masters(const struct redis_cluster *c, unsigned *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n && n < max; i++)
        if (c->nodes[i]->port && c->nodes[i]->has_slots)
            out[n++] = (unsigned)i;
    return n;
}

const char *redis_cluster_node_name(const struct redis_cluster *c, unsigned node)
{
    assert(node < c->n);
    return c->nodes[node]->name;
}

bool redis_cluster_doubts(const struct redis_cluster *c)
{
    return c->any_doubt;
}

void redis_cluster_take_doubts(struct redis_cluster *c, uint64_t slots[REDIS_SLOT_WORDS])
{
    memcpy(slots, c->doubt, sizeof c->doubt);
    memset(c->doubt, 0, sizeof c->doubt);
    c->any_doubt = false;
}

void redis_cluster_doubt(struct redis_cluster *c, const uint64_t slots[REDIS_SLOT_WORDS])
{
    for (size_t i = 0; i < REDIS_SLOT_WORDS; i++) {
        c->doubt[i] |= slots[i];
        c->any_doubt |= slots[i] != 0;
    }
}

/* --- life ------------------------------------------------------------------------------------------------
 */

static int check_nodes(const char *nodes, struct err *err)
{
    size_t found = 0;
    for (const char *p = nodes; *p; found++) {
        size_t n = strcspn(p, ",");
        struct redis_address a;
        if (!redis_address_parse(p, n, &a) || a.host_len == 0 || a.host_len >= REDIS_HOST_MAX)
            return err_set(err, ERR_INVALID, "%.*s is not host:port; expected host:port,host:port,...",
                           (int)(n < 100 ? n : 100), p);
        p += n + (p[n] == ',');
    }
    return found ? OK : err_set(err, ERR_INVALID, "no node is named; expected host:port,host:port,...");
}

int redis_cluster_new(const struct redis_cluster_options *o, struct redis_cluster **out, struct err *err)
{
    int rc = check_nodes(o->nodes, err);
    if (rc != OK)
        return rc;
    struct redis_cluster *c = xcalloc(1, sizeof *c);
    c->seeds = xstrdup(o->nodes);
    c->user = o->user && *o->user ? xstrdup(o->user) : NULL;
    c->password = o->password && *o->password ? xstrdup(o->password) : NULL;
    c->login =
        (struct redis_login){c->user, c->password, o->replicas, o->timeout_ms ? o->timeout_ms : TIMEOUT_MS};
    c->clock = o->clock;
    c->in_flight = o->in_flight ? o->in_flight : IN_FLIGHT;
    if (o->metrics)
        c->m = *o->metrics;
    memset(c->owner, 0xff, sizeof c->owner);
    *out = c;
    return OK;
}

void redis_cluster_free(struct redis_cluster *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++) {
        redis_node_release(c->nodes[i]);
        free(c->nodes[i]);
    }
    if (c->password)
        explicit_bzero(c->password, strlen(c->password));
    free(c->password);
    free(c->user);
    free(c->seeds);
    free(c->done);
    free(c->target);
    free(c);
}

int redis_reply_error(const redisReply *reply, const char *what, struct err *err)
{
    static const char *const refused[] = {"NOAUTH", "WRONGPASS", "NOPERM", "WRONGTYPE",
                                          "ERR unknown command"};
    if (starts(reply->str, "OOM"))
        return err_set(err, ERR_NO_SPACE, "%s: Redis is full (maxmemory): %.200s", what, reply->str);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (starts(reply->str, refused[i]))
            return err_set(err, ERR_INVALID, "%s: %.300s", what, reply->str);
    return err_set(err, ERR_IO, "%s: %.300s", what, reply->str);
}
