/* What the whole deployment consists of, as this process can see it: GET /api/v1/topology (doc/roles.md). */
#ifndef CARAT_SERVER_TOPOLOGY_H
#define CARAT_SERVER_TOPOLOGY_H

#include "base/buf.h"
#include "base/err.h"

struct server;

/* ERR_IO: what the processes share cannot be read now. */
int topology_json(struct server *s, struct buf *out, struct err *err) must_check;

#endif
