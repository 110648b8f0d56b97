/* Rules in force and what they give for each series, without a memory of those before them: archives are what
 * the files say now.
 *
 * Rules are matched by name once a series and then remembered by its id, since the writer asks for every
 * window and the reader for every read. A reload makes a new generation; older ones stay until the end,
 * because any thread may be using them. */
#ifndef CARAT_TESTS_PLAIN_RULES_H
#define CARAT_TESTS_PLAIN_RULES_H

#include "base/err.h"
#include "catalog/catalog.h"
#include "model/aggregation.h"
#include "model/retention.h"

struct plain_rules;

/* Empty paths mean the shipped defaults. Errors name file and line. */
int plain_rules_new(const char *schemas_path, const char *aggregation_path, struct plain_rules **out,
                    struct err *err) must_check;
void plain_rules_free(struct plain_rules *r);
/* Reads the files again. On an error the rules in force stay. ERR_LIMIT after 64 reloads. */
int plain_rules_reload(struct plain_rules *r, struct err *err) must_check;

/* Before the first of the two calls after it. */
void plain_rules_set_catalog(struct plain_rules *r, struct catalog *c);
/* retention_of_fn and aggregation_of_fn; ctx is the struct plain_rules. */
const struct retention *plain_rules_retention(void *ctx, uint32_t series);
const struct aggregation_rule *plain_rules_aggregation(void *ctx, uint32_t series);

/* By name, for series that have no id yet. Any thread. */
uint32_t plain_rules_step_ms(struct plain_rules *r, const char *name, size_t len);
int64_t plain_rules_keep_ms(struct plain_rules *r, const char *name, size_t len);
/* For the mover, ctx is the struct plain_rules: every step that stored windows may have (those of the rules
 * in force and the series' own), and how long the longest rule keeps such windows; 0: no rule in force has
 * that step, so nothing says when its windows may go. */
size_t plain_rules_steps(void *ctx, uint32_t *steps_ms, size_t cap);
int64_t plain_rules_step_keep_ms(void *ctx, uint32_t step_ms);
/* No series keeps its points for less. */
int64_t plain_rules_shortest_keep_ms(struct plain_rules *r);

#endif
