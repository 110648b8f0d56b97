/* The warm tier in memory: the reference the other backends are compared with, and for tests. */
#ifndef CARAT_WARM_WARM_MEM_H
#define CARAT_WARM_WARM_MEM_H

#include "base/metrics.h"
#include "warm/warm.h"

struct warm *warm_mem_new(struct metrics *m); /* m may be NULL */

/* Forgets everything since the last sync, as a crash would. */
void warm_mem_cut(struct warm *w);

/* Inverts a bit of the value stored under a key. 0, or -1 if there is none. */
int warm_mem_damage(struct warm *w, const struct part_key *key);

#endif
