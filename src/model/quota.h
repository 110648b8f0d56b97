/* Quotas: how many series may exist under a prefix of their path.
 *
 *   # prefix            at most
 *   servers.staging     5000
 *   apps                200000
 *
 * A line a rule. A prefix is whole levels of a path: `apps` covers apps, apps.web.load and apps;env=x, not
 * apps2.load. Every rule that covers a name counts it. What exists is never refused: a quota is looked at
 * only when a series is created. */
#ifndef CARAT_MODEL_QUOTA_H
#define CARAT_MODEL_QUOTA_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUOTA_RULES_MAX 10000

struct quota;

/* ERR_INVALID names file, line and what is wrong. */
int quota_parse(const char *text, const char *filename, struct quota **out, struct err *err) must_check;
int quota_load(const char *path, struct quota **out, struct err *err) must_check;
void quota_free(struct quota *q);

/* Counts a new name; false, and nothing counted, if a rule is full: *prefix (may be NULL) then names it. With
 * `force` it is counted whatever the rules say. Calls must not overlap. */
bool quota_admit(struct quota *q, const char *name, size_t len, bool force, const char **prefix);

/* A name that was counted is no more. Calls of this and quota_admit must not overlap. */
void quota_release(struct quota *q, const char *name, size_t len);

/* i-th rule in order of prefixes: 0, or 1 past the last. Any thread. */
int quota_rule(struct quota *q, size_t i, const char **prefix, uint64_t *max, uint64_t *count);

#endif
