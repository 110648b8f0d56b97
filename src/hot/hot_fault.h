/* A hot tier that fails when told: wraps another one, for tests of its callers. */
#ifndef CARAT_HOT_HOT_FAULT_H
#define CARAT_HOT_HOT_FAULT_H

#include "hot/hot.h"

#include <stdbool.h>

enum hot_fault_op {
    HOT_FAULT_APPLY,
    HOT_FAULT_READ,
    HOT_FAULT_TAKE,
    HOT_FAULT_RELEASE,
    HOT_FAULT_ERASE,
    HOT_FAULT_OLDEST,
    HOT_FAULT_OPS
};

/* What happens to calls first..first+count-1 (1 is the next call of that operation). */
struct hot_fault_rule {
    enum hot_fault_op op;
    uint64_t first, count;
    int code;   /* what the call returns: ERR_IO, ... */
    bool after; /* do the work, then return `code`: the answer was lost */
};

/* Takes `inner` over. */
struct hot *hot_fault_new(struct hot *inner);

/* Adds a rule; the first that fits a call counts. At most 16 at a time. Any thread. */
void hot_fault_add(struct hot *h, const struct hot_fault_rule *rule);
/* Forgets all rules. */
void hot_fault_clear(struct hot *h);
/* Calls of an operation so far, failed ones included. */
uint64_t hot_fault_calls(struct hot *h, enum hot_fault_op op);

#endif
