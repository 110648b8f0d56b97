/* A warm tier that fails when told: wraps another one, for tests of its callers. */
#ifndef CARAT_WARM_WARM_FAULT_H
#define CARAT_WARM_WARM_FAULT_H

#include "warm/warm.h"

#include <stdbool.h>

enum warm_fault_op {
    WARM_FAULT_PUT,
    WARM_FAULT_READ,
    WARM_FAULT_SCAN,
    WARM_FAULT_REMOVE,
    WARM_FAULT_EXPIRE,
    WARM_FAULT_SYNC,
    WARM_FAULT_OPS
};

/* What happens to calls first..first+count-1 (1 is the next call of that operation). */
struct warm_fault_rule {
    enum warm_fault_op op;
    uint64_t first, count;
    int code;          /* what the call returns: ERR_BUSY, ERR_IO, ...; OK: only delayed */
    bool after;        /* do the work, then return `code`: the answer was lost */
    uint32_t delay_ms; /* before anything else */
};

/* Takes `inner` over. */
struct warm *warm_fault_new(struct warm *inner);

/* Adds a rule; the first that fits a call counts. At most 16 at a time. Any thread. */
void warm_fault_add(struct warm *w, const struct warm_fault_rule *rule);
/* Forgets all rules. A sync that failed stays sticky: warm_fault_unwrap and wrap again, as a restart does. */
void warm_fault_clear(struct warm *w);
/* Calls of an operation so far, failed ones included. */
uint64_t warm_fault_calls(struct warm *w, enum warm_fault_op op);
struct warm *warm_fault_inner(struct warm *w);  /* borrowed */
struct warm *warm_fault_unwrap(struct warm *w); /* frees the wrapper, gives the inner tier back */

#endif
