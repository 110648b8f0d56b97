/* A client of a Redis Cluster: knows which node has which hash slot, keeps one connection to each, and sends
 * batches of commands to all of them at once.
 *
 * hiredis does the connecting and reads the replies; who is asked, what a redirection means and when to try
 * again is decided here. One thread at a time for each client; several clients are independent. */
#ifndef CARAT_REDIS_REDIS_CLUSTER_H
#define CARAT_REDIS_REDIS_CLUSTER_H

#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "redis/redis_batch.h"
#include "redis/redis_slot.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>

#define REDIS_NODES_MAX 512

struct redis_cluster;

/* Shared by the clients of a process; all may be NULL. */
struct redis_metrics {
    struct counter *commands, *moved, *asked, *waits, *connects, *failures;
};

struct redis_cluster_options {
    const char *nodes;    /* "host:port,host:port": some of the cluster, the others are asked for */
    const char *user;     /* NULL or "": none */
    const char *password; /* NULL or "": none */
    int timeout_ms;       /* a node that is silent for so long is given up; 0: 2000 */
    unsigned in_flight;   /* commands sent to a node and not answered; 0: 512 */
    bool replicas;        /* ask replicas where there are any: what they say may be old */
    struct clock *clock;
    const struct redis_metrics *metrics; /* may be NULL; borrowed */
};

/* Connects to nothing yet. ERR_INVALID: `nodes` cannot be read. */
int redis_cluster_new(const struct redis_cluster_options *o, struct redis_cluster **out,
                      struct err *err) must_check;
void redis_cluster_free(struct redis_cluster *c);

/* Told of the answer to command i of the batch; the reply is valid during the call. */
typedef void (*redis_reply_fn)(void *ctx, size_t i, const redisReply *reply);

enum redis_mode {
    /* Redirections are followed, and a node that went away is looked for, until every command has an answer.
     */
    REDIS_FOLLOW,
    /* For writes that build on earlier ones: as soon as a slot's data may not be what it was (another node
     * has it, or the connection to its node broke), 1 is returned instead of sending the rest there. */
    REDIS_STEADY,
};

/* Sends all commands, those for one node in order, and calls fn for each answer. Errors that pass by
 * themselves (MOVED, ASK, TRYAGAIN, CLUSTERDOWN, LOADING, a lost connection) are seen to here; every other
 * answer, errors of Redis included, goes to fn.
 * OK: every command was answered. 1 (only REDIS_STEADY): see there. ERR_TIMEOUT, ERR_IO, ERR_INVALID (a wrong
 * password): some commands were answered and were told to fn, of the others the effect is unknown. */
int redis_cluster_exec(struct redis_cluster *c, const struct redis_batch *b, enum redis_mode mode,
                       redis_reply_fn fn, void *ctx, struct err *err) must_check;

/* Slots whose data may not be what it was since redis_cluster_trust: their node changed, or the connection to
 * it was lost (it may be a new process with nothing in it, or a replica that was promoted before it had
 * everything). */
#define REDIS_SLOT_WORDS (REDIS_SLOTS / 64)
bool redis_cluster_doubts(const struct redis_cluster *c);
/* Takes the doubtful slots as a bit set and trusts all from here on. */
void redis_cluster_take_doubts(struct redis_cluster *c, uint64_t slots[REDIS_SLOT_WORDS]);
/* Puts them back. */
void redis_cluster_doubt(struct redis_cluster *c, const uint64_t slots[REDIS_SLOT_WORDS]);

/* Asks the cluster who has what. */
int redis_cluster_refresh(struct redis_cluster *c, struct err *err) must_check;
/* Nodes that have slots, as of the last refresh: at most `max` numbers for the two calls below. */
size_t redis_cluster_masters(const struct redis_cluster *c, unsigned *out, size_t max);
/* "host:port", for messages; valid until the client is freed. */
const char *redis_cluster_node_name(const struct redis_cluster *c, unsigned node);
/* One batch to one node, without redirections: MOVED and the like go to fn. */
int redis_cluster_exec_on(struct redis_cluster *c, unsigned node, const struct redis_batch *b,
                          redis_reply_fn fn, void *ctx, struct err *err) must_check;

/* Turns an error reply into a status and words: ERR_NO_SPACE for OOM, ERR_INVALID where the configuration or
 * the rights are wrong, else ERR_IO. */
int redis_reply_error(const redisReply *reply, const char *what, struct err *err);

#endif
