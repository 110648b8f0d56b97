/* Laying windows over each other in a column: the merge rule of model/part.h, done in place.
 *
 * Windows come in (window, hi) order, so that each may simply overwrite what is there. */
#ifndef CARAT_READER_OVERLAY_H
#define CARAT_READER_OVERLAY_H

#include "base/err.h"
#include "hot/hot.h"
#include "model/column.h"
#include "model/part.h"

/* Copies of what hot holds of a series. */
struct hot_copies {
    struct hot_window *v;
    size_t n, cap;
};
int hot_copies_add(void *ctx, const struct hot_window *w); /* a hot_window_fn; ctx is the hot_copies */
void hot_copies_sort(struct hot_copies *c);                /* by (window, hi) */
void hot_copies_release(struct hot_copies *c);

struct overlay {
    struct column *column;
    uint32_t window_slots;
    const struct hot_copies *hot; /* sorted */
    size_t next;                  /* first of them that is not laid yet */
    int64_t last_window_ms;       /* of the last part laid */
    uint64_t points;              /* laid so far */
    struct err damage;            /* the first block that could not be decoded */
};

/* The column's values must be missing everywhere. */
void overlay_init(struct overlay *o, struct column *column, const struct hot_copies *hot);
/* Lays a part, and before it the hot windows whose turn it is. Damage is noted in o->damage. */
void overlay_part(struct overlay *o, const struct part *p);
/* Lays the hot windows that are left. */
void overlay_finish(struct overlay *o);

#endif
