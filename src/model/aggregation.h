/* Aggregation rules: how a coarse slot of a series becomes one value, from Graphite's own
 * storage-aggregation.conf.
 *
 *   [counts]
 *   pattern = \.count$
 *   xFilesFactor = 0
 *   aggregationMethod = sum
 *
 * The form and the matching are those of retention.h. Both keys may be left out: xFilesFactor is then 0.5 (a
 * slot with fewer than half its points has no value), aggregationMethod average. Roll-ups keep what every
 * method needs, so a changed rule applies to old data too.
 *
 * Rules do not change once parsed; any number of threads may match at the same time. */
#ifndef CARAT_MODEL_AGGREGATION_H
#define CARAT_MODEL_AGGREGATION_H

#include "base/err.h"
#include "model/rollup.h"

struct aggregation_rule {
    const char *rule; /* name of the section, "default" if none matched; lives as long as the rules */
    enum aggregation method;
    double x_files_factor; /* 0..1: the least share of a slot's points that makes a value */
};

/* The rule of a series by its id; NULL: average, 0.5. As retention_of_fn. */
typedef const struct aggregation_rule *(*aggregation_of_fn)(void *ctx, uint32_t series);

struct aggregation_rules;

/* `filename` is for messages only, which name it, the line and what is wrong. */
int aggregation_rules_parse(const char *text, const char *filename, struct aggregation_rules **out,
                            struct err *err) must_check;
int aggregation_rules_load(const char *path, struct aggregation_rules **out, struct err *err) must_check;
/* No sections: average, 0.5. */
struct aggregation_rules *aggregation_rules_default(void);
void aggregation_rules_free(struct aggregation_rules *r);

/* Never NULL. Lives as long as the rules. */
const struct aggregation_rule *aggregation_match(const struct aggregation_rules *r, const char *name,
                                                 size_t len);

#endif
