#include "cli/options.h"

#include "base/nearest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *option_name_at(const void *ctx, size_t i)
{
    return ((const struct option_spec *)ctx)[i].name;
}

static int unknown_option(const struct options *o, const char *arg, size_t len, struct err *err)
{
    char name[NEAREST_MAX_BYTES];
    snprintf(name, sizeof name, "%.*s", (int)len, arg + strspn(arg, "-"));
    name[strcspn(name, "=")] = '\0';
    const char *near = nearest_word(name, option_name_at, o->specs);
    if (near)
        return err_set(err, ERR_INVALID, "unknown option %.100s; did you mean --%s?", arg, near);
    return err_set(err, ERR_INVALID, "unknown option %.100s", arg);
}

static const struct option_spec *find_option(const struct options *o, const char *arg)
{
    for (const struct option_spec *s = o->specs; s->name; s++) {
        size_t n = strlen(s->name);
        if (arg[1] == '-' && !strncmp(arg + 2, s->name, n) && (arg[2 + n] == '\0' || arg[2 + n] == '='))
            return s;
        if (arg[1] != '-' && s->letter && arg[1] == s->letter && arg[2] == '\0')
            return s;
    }
    return NULL;
}

int options_next(struct options *o, const char **value, struct err *err)
{
    *value = NULL;
    if (o->at >= o->argc)
        return OPTIONS_END;
    const char *arg = o->argv[o->at++];
    if (!o->only_operands && !strcmp(arg, "--")) {
        o->only_operands = true;
        return options_next(o, value, err);
    }
    if (o->only_operands || arg[0] != '-' || arg[1] == '\0') {
        *value = arg;
        return OPTIONS_OPERAND;
    }
    const struct option_spec *s = find_option(o, arg);
    if (!s)
        return unknown_option(o, arg, strlen(arg), err);
    const char *eq = arg[1] == '-' ? strchr(arg, '=') : NULL;
    if (!s->has_value)
        return eq ? err_set(err, ERR_INVALID, "--%s takes no value", s->name) : s->id;
    if (!eq && o->at >= o->argc)
        return err_set(err, ERR_INVALID, "--%s needs a value", s->name);
    *value = eq ? eq + 1 : o->argv[o->at++];
    return s->id;
}

int options_count(const char *name, const char *text, uint64_t least, uint64_t most, uint64_t *out,
                  struct err *err)
{
    size_t n = strlen(text);
    bool digits = n > 0 && n < 19 && strspn(text, "0123456789") == n;
    unsigned long long v = digits ? strtoull(text, NULL, 10) : 0;
    if (!digits || v < least || v > most)
        return err_set(err, ERR_INVALID, "--%s %.40s: expected a whole number from %llu to %llu", name, text,
                       (unsigned long long)least, (unsigned long long)most);
    *out = v;
    return OK;
}
