/* The embedded hot tier: memory of this process. doc/hot.md describes the layout. */
#ifndef CARAT_HOT_HOT_MEM_H
#define CARAT_HOT_HOT_MEM_H

#include "hot/hot.h"

/* One shard a partition; each has its own lock and its own writer thread. */
struct hot *hot_mem_new(unsigned partitions);

#endif
