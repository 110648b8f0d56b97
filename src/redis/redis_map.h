/* Who has which slot: the answer to CLUSTER SLOTS, and the addresses in redirections. */
#ifndef CARAT_REDIS_REDIS_MAP_H
#define CARAT_REDIS_REDIS_MAP_H

#include "base/err.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

struct redis_address {
    const char *host; /* borrowed from the reply; "": the host that was asked */
    size_t host_len;
    int port;
};

/* A run of slots and those who have it: the master first. */
struct redis_range {
    unsigned from, to; /* both included */
    const redisReply *nodes;
    size_t n; /* at least one */
};
/* The i-th entry of an answer to CLUSTER SLOTS. ERR_INVALID: it is none. */
int redis_range_read(const redisReply *slots, size_t i, struct redis_range *out, struct err *err) must_check;
/* The k-th node of a range; false if it has no usable address. */
bool redis_range_node(const struct redis_range *r, size_t k, struct redis_address *out);

/* "MOVED 3999 127.0.0.1:6381" or "ASK ...": the slot and the address. False if it is not one. */
bool redis_redirection(const char *text, unsigned *slot, struct redis_address *out);

/* "host:port" or "[v6]:port" of `n` bytes. */
bool redis_address_parse(const char *text, size_t n, struct redis_address *out);

#endif
