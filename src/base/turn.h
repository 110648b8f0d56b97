/* A mutex that is given out in the order of asking, for long critical sections: with glibc's mutex a thread
 * that takes it again at once can keep others out for ever. */
#ifndef CARAT_BASE_TURN_H
#define CARAT_BASE_TURN_H

#include <pthread.h>
#include <stdint.h>

struct turn {
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    uint64_t next, serving; /* under mtx */
};

void turn_init(struct turn *t);
void turn_release(struct turn *t);
void turn_take(struct turn *t);
void turn_give(struct turn *t);

#endif
