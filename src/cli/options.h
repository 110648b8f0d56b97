/* Walks the options of one command: --name VALUE, --name=VALUE, -n VALUE, --flag, -- and operands. */
#ifndef CARAT_CLI_OPTIONS_H
#define CARAT_CLI_OPTIONS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct option_spec {
    const char *name; /* without dashes */
    char letter;      /* short form, 0 for none */
    bool has_value;
    int id; /* what options_next returns; > OPTIONS_OPERAND */
};

enum { OPTIONS_END = 0, OPTIONS_OPERAND = 1 };

struct options {
    const struct option_spec *specs; /* ends with a NULL name */
    int argc;
    char **argv;
    int at;             /* next argument; start with 1 */
    bool only_operands; /* "--" was seen */
};

/* The id of the next option with *value set (NULL for a flag), OPTIONS_OPERAND for a plain argument,
 * OPTIONS_END, or ERR_INVALID with the nearest known option named. */
int options_next(struct options *o, const char **value, struct err *err);

/* A whole number from `least` to `most` given to option --`name`; else ERR_INVALID. */
int options_count(const char *name, const char *text, uint64_t least, uint64_t most, uint64_t *out,
                  struct err *err);

#endif
