/* Warm as if deleted points had never come: wraps another tier and takes dead slots out of every part on its
 * way, in both directions. Everybody but those who move or sweep stored bytes works with this one. */
#ifndef CARAT_WARM_WARM_MASKED_H
#define CARAT_WARM_WARM_MASKED_H

#include "model/tombstones.h"
#include "warm/warm.h"

/* Both borrowed; warm_free frees only the wrapper.
 *
 * A part with nothing left is not delivered, and not put (what is stored under its key stays, as dead as it
 * was). A read looks the tombstones up part by part: who needs one state of them for all compares
 * tombstones_stamp before and after. warm_remove_if wants what is stored, and so does not match parts that
 * were masked. */
struct warm *warm_masked_new(struct warm *inner, struct tombstones *t);

#endif
