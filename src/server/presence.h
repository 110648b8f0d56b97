/* Every process tells of itself under "process.<owner>" among the keys all processes see, every few seconds:
 * its roles, where it listens, the partitions it writes with their lag, and whether each tier answers it. */
#ifndef CARAT_SERVER_PRESENCE_H
#define CARAT_SERVER_PRESENCE_H

#include "base/err.h"

#include <jansson.h>

struct server;
struct presence;

#define PRESENCE_EVERY_S 5

/* Begins to tell of this process; nothing, and *out stays, without shared keys. After the doors are open. */
int presence_start(struct server *s, struct presence **out, struct err *err) must_check;
/* Takes it back and ends. */
void presence_stop(struct presence *p);

/* What is told, owned by the caller. */
json_t *presence_describe(struct server *s);

#endif
