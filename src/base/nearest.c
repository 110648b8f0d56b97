#include "base/nearest.h"

#include <stdint.h>
#include <string.h>

static size_t min2(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment, three rows of the table at a time. */
size_t edit_distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b);
    if (na > NEAREST_MAX_BYTES || nb > NEAREST_MAX_BYTES)
        return SIZE_MAX;
    size_t rows[3][NEAREST_MAX_BYTES + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= nb; j++)
        last[j] = j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t change = last[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = min2(change, min2(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = min2(now[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[nb];
}

const char *nearest_word(const char *word, nearest_word_fn known, const void *ctx)
{
    size_t limit = strlen(word) / 3;
    size_t best = limit > 1 ? limit : 1;
    const char *found = NULL, *w;
    for (size_t i = 0; (w = known(ctx, i)); i++) {
        size_t d = edit_distance(word, w);
        if (d < best || (d == best && !found)) {
            best = d;
            found = w;
        }
    }
    return found;
}
