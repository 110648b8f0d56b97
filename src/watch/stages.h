/* CPU time and waiting of each stage of the pipeline, from the kernel's books of our threads.
 *
 * A stage is all threads of one name (base/thread_name.h). For each: the time on a core, and the time it was
 * ready but waited for one (/proc/self/task/<id>/schedstat). What is left of the time a stage was busy
 * (its histogram, such as carat_writer_apply_seconds) it waited for something else: a disk, a peer, a lock.
 * So cpu / busy near 1: CPU bound        near 0: I/O bound and carat_stage_cpu_ratio says it in one number
 * for the stages that have such a histogram. */
#ifndef CARAT_WATCH_STAGES_H
#define CARAT_WATCH_STAGES_H

#include "base/metrics.h"

struct stages;

/* Registers carat_stage_*; they are as of the last stages_look. */
struct stages *stages_new(struct metrics *m);
void stages_free(struct stages *s); /* after the last rendering of the registry */

/* Reads the books. One thread. proc_dir is "/proc/self/task" (NULL) or a copy of such a directory. */
void stages_look(struct stages *s, const char *proc_dir);

/* The stage of a thread's name: "carat-lane" is "lane", "rocksdb:low" is "rocksdb", "MHD-single" is "http".
 */
const char *stage_of_thread(const char *name);

#endif
