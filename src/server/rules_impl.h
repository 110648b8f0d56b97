/* What the files of the rules share. */
#ifndef CARAT_SERVER_RULES_IMPL_H
#define CARAT_SERVER_RULES_IMPL_H

#include "server/rules.h"

#include <pthread.h>
#include <stdatomic.h>

#define RULES_PAGE_SERIES 4096
#define RULES_PAGES       (1u << 20)
#define RULES_CLASSES_MAX 65535 /* 0 in a page means not looked up yet */
#define RULES_GENERATIONS 256
#define RULES_STEPS_MAX   256

/* Series that are alike in everything. */
struct class {
    const struct aggregation_rule *aggregation;
    struct layout stored, read, next;
    bool has_next;
};

/* An entry of the history, parsed. */
struct era {
    const struct retention_rules *rules;
    uint32_t after_series;
    enum rules_state state;
    int64_t decided_ms, from_ms;
};

struct generation {
    size_t n;
    struct era *era; /* the last is in force */
    const struct aggregation_rules *aggregation;
    bool steps_change; /* some series may have changed its step */
    pthread_mutex_t mtx;
    uint32_t nclasses; /* under mtx */
    _Atomic(uint16_t) *_Atomic pages[RULES_PAGES];
    struct class *_Atomic by_number[RULES_CLASSES_MAX + 1]; /* once set, a class never changes */
};

struct step_keep {
    uint32_t step_ms;
    int64_t keep_ms; /* 0: no series has it */
};

struct rules {
    struct rules_options o;
    char *schemas_path, *aggregation_path, *history_path;
    struct catalog *catalog;
    struct generation *_Atomic now;
    pthread_mutex_t switching; /* held by who copies the history beside the data; before `changing` */
    pthread_mutex_t changing;
    /* under `changing` */
    struct rules_history history;
    struct retention_rules **parsed; /* of each entry of the history */
    size_t nparsed;
    struct rules_candidate files; /* as read at the start, until rules_begin; then no retention */
    struct rules_candidate *old;  /* all there ever were, kept because generations refer to them */
    size_t nold;
    struct aggregation_rules *aggregation;
    struct generation *all[RULES_GENERATIONS];
    unsigned n;
    pthread_mutex_t steps_mtx;
    /* under steps_mtx: as of the last rules_steps */
    struct step_keep steps[RULES_STEPS_MAX];
    size_t nsteps;
    const struct generation *steps_of;
};

/* The rules of now, with nothing looked up yet. */
struct generation *generation_new(const struct rules *r);
void generation_free(struct generation *g);
static inline struct generation *generation_now(struct rules *r)
{
    return atomic_load_explicit(&r->now, memory_order_acquire);
}
static inline bool rules_applied(enum rules_state s)
{
    return s == RULES_DROPPING || s == RULES_DONE;
}

#endif
