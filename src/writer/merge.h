/* Merging a window's parts into one. The rule and its proof: model/part.h. */
#ifndef CARAT_WRITER_MERGE_H
#define CARAT_WRITER_MERGE_H

#include "base/buf.h"
#include "base/err.h"
#include "warm/warm.h"

struct merge_keys {
    struct part_key *v;
    size_t n, cap;
};
void merge_keys_add(struct merge_keys *k, const struct part_key *key);
void merge_keys_release(struct merge_keys *k);

/* Lays `p` (fresh from hot) together with what warm has of the same window. When warm has nothing, *out is
 * *p. Else *out is one part that holds them all, its block appended to `blocks` at offset
 * (uintptr_t)out->data with *in_blocks set, and `remove` gets the keys it replaces. If warm's copy is
 * damaged, *out is *p and nothing is removed: what can still be saved is saved, the damage stays for the
 * scrubber. */
int merge_with_stored(struct warm *warm, const struct part *p, struct part *out, bool *in_blocks,
                      struct buf *blocks, struct merge_keys *remove, struct err *err) must_check;

#endif
