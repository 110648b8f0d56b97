/* Names and priority of threads: names so that a profile, a debugger and the server's own CPU counters tell
 * them apart. */
#ifndef CARAT_BASE_THREAD_NAME_H
#define CARAT_BASE_THREAD_NAME_H

#include <pthread.h>
#include <unistd.h>

/* Of the calling thread: at most 15 bytes. By convention "carat-" and a stage (watch/stages.h). */
static inline void thread_name(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}

/* For a thread whose work can wait: where cores are short it gets a tenth of what others get. */
static inline void thread_background(void)
{
    (void)!nice(10); /* of Linux: of this thread alone */
}

#endif
