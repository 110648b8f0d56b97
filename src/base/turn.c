#include "base/turn.h"

void turn_init(struct turn *t)
{
    t->next = t->serving = 0;
    pthread_mutex_init(&t->mtx, NULL);
    pthread_cond_init(&t->changed, NULL);
}

void turn_release(struct turn *t)
{
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->mtx);
}

void turn_take(struct turn *t)
{
    pthread_mutex_lock(&t->mtx);
    uint64_t mine = t->next++;
    while (t->serving != mine)
        pthread_cond_wait(&t->changed, &t->mtx);
    pthread_mutex_unlock(&t->mtx);
}

void turn_give(struct turn *t)
{
    pthread_mutex_lock(&t->mtx);
    t->serving++;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->mtx);
}
