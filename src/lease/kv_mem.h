/* Keys in memory: the reference, and for tests of several owners in one process. */
#ifndef CARAT_LEASE_KV_MEM_H
#define CARAT_LEASE_KV_MEM_H

#include "base/clock.h"
#include "lease/kv.h"

struct kv *kv_mem_new(struct clock *clock);

#endif
