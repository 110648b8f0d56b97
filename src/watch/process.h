/* What the kernel and the allocator say of this process, as metrics: memory, files, faults, CPU time. */
#ifndef CARAT_WATCH_PROCESS_H
#define CARAT_WATCH_PROCESS_H

#include "base/metrics.h"

/* carat_process_*; each is read when it is shown. Linux: /proc/self. */
void process_metrics_register(struct metrics *m);

#endif
