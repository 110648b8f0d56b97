/* Regular expressions as users of graphite-web write them: Python's, run by PCRE2, which reads nearly all of
 * them alike. Matching is bounded; a text that exceeds the bound does not match. */
#ifndef CARAT_QUERY_REGEX_H
#define CARAT_QUERY_REGEX_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>

struct regex;

/* ERR_INVALID says what is wrong where. */
int regex_new(const char *pattern, struct regex **out, struct err *err) must_check;
void regex_free(struct regex *r);
bool regex_search(const struct regex *r, const char *text);
bool regex_match(const struct regex *r, const char *text); /* from the start of the text */

/* Every match replaced; \1, \g<1> and \g<name> in `with` stand for groups. ERR_INVALID: no such group or
 * escape; ERR_LIMIT: the text gets too long. */
int regex_replace(const struct regex *r, const char *text, const char *with, struct arena *arena,
                  const char **out, struct err *err) must_check;

#endif
