/* "Did you mean": the known word closest to a mistyped one. */
#ifndef CARAT_BASE_NEAREST_H
#define CARAT_BASE_NEAREST_H

#include <stddef.h>

/* Words longer than this are never near to anything: it bounds the work. */
#define NEAREST_MAX_BYTES 128

/* How many single-byte insertions, removals, replacements and swaps of neighbours turn `a` into `b`;
 * SIZE_MAX if one of them is longer than NEAREST_MAX_BYTES. */
size_t edit_distance(const char *a, const char *b);

/* i-th known word, NULL past the last. */
typedef const char *(*nearest_word_fn)(const void *ctx, size_t i);

/* The known word with the least distance to `word` (the first of equals), or NULL if none is close enough
 * to be worth naming: more than a third of the word would have to change. */
const char *nearest_word(const char *word, nearest_word_fn known, const void *ctx);

#endif
