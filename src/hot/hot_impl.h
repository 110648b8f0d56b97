#ifndef CARAT_HOT_HOT_IMPL_H
#define CARAT_HOT_HOT_IMPL_H

#include "hot/hot.h"

struct hot_ops {
    const char *name;
    /* These four may be NULL: of a backend that lives and dies with the process. */
    int (*begin)(struct hot *, unsigned partition, uint64_t checkpoint, struct err *);
    void (*leave)(struct hot *, unsigned partition);
    bool (*lost)(struct hot *, unsigned partition);
    int (*again)(struct hot *, unsigned partition, uint64_t checkpoint, uint64_t *from, struct err *);
    int (*apply)(struct hot *, unsigned partition, uint64_t pos, const struct hot_point *, size_t n,
                 struct err *);
    int (*read)(struct hot *, uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                hot_window_fn, void *ctx, struct err *);
    int (*take)(struct hot *, unsigned partition, const struct hot_due *, uint32_t *cursor, size_t budget,
                struct hot_taken *, struct err *);
    int (*release)(struct hot *, unsigned partition, const struct hot_taken *, size_t *released,
                   struct err *);
    /* May be NULL: then nothing can be deleted while this backend is used. */
    int (*erase)(struct hot *, unsigned partition, uint32_t series, int64_t from_ms, int64_t until_ms,
                 struct err *);
    int (*oldest)(struct hot *, unsigned partition, uint64_t *lo, struct err *);
    void (*get_stats)(struct hot *, struct hot_stats *);
    void (*free)(struct hot *);
};
struct hot {
    const struct hot_ops *ops;
};

#endif
