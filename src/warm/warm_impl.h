#ifndef CARAT_WARM_WARM_IMPL_H
#define CARAT_WARM_WARM_IMPL_H

#include "warm/warm.h"

struct warm_ops {
    const char *name;
    int (*put)(struct warm *, const struct part *, size_t n, const struct part_key *remove, size_t nremove,
               struct err *);
    int (*read)(struct warm *, uint32_t series, uint32_t step_ms, int64_t from_window_ms,
                int64_t until_window_ms, warm_part_fn, void *ctx, struct err *);
    int (*expire)(struct warm *, uint32_t step_ms, int64_t before_ms, struct err *);
    int (*sync)(struct warm *, struct err *);
    void (*get_stats)(struct warm *, struct warm_stats *);
    void (*free)(struct warm *);
};
struct warm {
    const struct warm_ops *ops;
};

#endif
