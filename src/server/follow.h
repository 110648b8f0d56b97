/* Follows a catalog that other processes change, where no writer does it anyway. */
#ifndef CARAT_SERVER_FOLLOW_H
#define CARAT_SERVER_FOLLOW_H

#include "base/err.h"
#include "catalog/catalog.h"

struct follower;

/* Flushes and follows once a second on a thread of its own. Failures are logged at a limited rate. */
int follower_start(struct catalog *c, struct follower **out, struct err *err) must_check;
void follower_stop(struct follower *f); /* and frees it; NULL is fine */

#endif
