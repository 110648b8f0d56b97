/* One Redis server as a client sees it: its address, a connection, and a pipeline of commands on it. */
#ifndef CARAT_REDIS_REDIS_NODE_H
#define CARAT_REDIS_REDIS_NODE_H

#include "base/err.h"
#include "redis/redis_batch.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdbool.h>

#define REDIS_HOST_MAX     256
#define REDIS_REPLICAS_MAX 8

/* In a queue instead of a command: an ASKING, whose answer is dropped. */
#define REDIS_ASKING UINT32_MAX

struct redis_node {
    char host[REDIS_HOST_MAX];
    int port;
    char name[REDIS_HOST_MAX + 8]; /* host:port */
    bool has_slots;                /* as a master, by the last map */
    uint16_t replicas[REDIS_REPLICAS_MAX];
    unsigned nreplicas;

    redisContext *ctx; /* NULL: not connected */
    struct buf out;    /* to be sent: */
    size_t out_from;   /* from here on */
    /* commands of the pass under way; [0, answered) are done, [answered, filled) are in flight or in `out` */
    uint32_t *queue;
    size_t n, cap, filled, answered;
    int64_t progress_us; /* when it last took or gave bytes */
    bool failed;         /* during the pass */
};

struct redis_login {
    const char *user, *password; /* NULL: none */
    bool replicas;               /* read from replicas */
    int timeout_ms;
};

void redis_node_init(struct redis_node *n, const char *host, int port);
void redis_node_release(struct redis_node *n);

/* Blocks up to the timeout. ERR_INVALID: it does not let us in. */
int redis_node_connect(struct redis_node *n, const struct redis_login *login, struct err *err) must_check;
void redis_node_close(struct redis_node *n);

void redis_node_queue(struct redis_node *n, uint32_t command);
static inline bool redis_node_busy(const struct redis_node *n)
{
    return n->answered < n->n;
}
/* Takes as much of the queue into `out` as may be in flight. */
void redis_node_fill(struct redis_node *n, const struct redis_batch *b, size_t in_flight);
static inline short redis_node_events(const struct redis_node *n)
{
    return (short)(POLLIN | (n->out.len > n->out_from ? POLLOUT : 0));
}
/* Sends what the socket takes. */
int redis_node_send(struct redis_node *n, struct err *err) must_check;
/* Told of each answer with its entry of the queue; frees nothing. */
typedef void (*redis_node_reply_fn)(void *ctx, struct redis_node *n, uint32_t command,
                                    const redisReply *reply);
/* Reads what is there. */
int redis_node_receive(struct redis_node *n, redis_node_reply_fn fn, void *ctx, struct err *err) must_check;

#endif
