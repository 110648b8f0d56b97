#include "model/aggregation.h"

#include "base/buf.h"
#include "base/mem.h"
#include "model/rule_file.h"

#include <stdlib.h>
#include <string.h>

static const struct aggregation_rule fallback = {"default", AGGREGATION_AVERAGE, 0.5};

/* What a section says; the section of the same number in the set. */
struct rule {
    struct aggregation_rule rule;
    bool has_factor, has_method;
};

struct aggregation_rules {
    struct rule_set *set;
    struct rule *v;
    size_t n, cap;
};

struct aggregation_rules *aggregation_rules_default(void)
{
    struct aggregation_rules *r = xcalloc(1, sizeof *r);
    r->set = rule_set_new("aggregation");
    return r;
}

void aggregation_rules_free(struct aggregation_rules *r)
{
    if (!r)
        return;
    rule_set_free(r->set);
    free(r->v);
    free(r);
}

const struct aggregation_rule *aggregation_match(const struct aggregation_rules *r, const char *name,
                                                 size_t len)
{
    long i = rule_set_match(r->set, name, len);
    return i < 0 ? &fallback : &r->v[i].rule;
}

static void begin_section(void *ctx, const struct rule_set *s, size_t i)
{
    struct aggregation_rules *r = ctx;
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->v = xrealloc(r->v, r->cap * sizeof *r->v);
    }
    r->v[r->n] = (struct rule){.rule = fallback};
    r->v[r->n++].rule.rule = rule_set_section(s, i);
}

/* A decimal between 0 and 1: digits with at most one point among them. */
static int parse_factor(struct rule_parser *p, struct span value, double *out)
{
    char text[32];
    size_t points = 0, digits = 0;
    for (size_t i = 0; i < value.len; i++) {
        points += value.p[i] == '.';
        digits += value.p[i] >= '0' && value.p[i] <= '9';
    }
    bool number = digits && points <= 1 && digits + points == value.len && value.len < sizeof text;
    if (number) {
        memcpy(text, value.p, value.len);
        text[value.len] = '\0';
        *out = strtod(text, NULL);
    }
    if (!number || *out > 1)
        return rule_bad(p, p->line, "xFilesFactor '%.*s' is not a number from 0 to 1", SPAN_SHOW(value));
    return OK;
}

static int parse_method(struct rule_parser *p, struct span value, enum aggregation *out)
{
    struct err why = ERR_INIT;
    if (aggregation_parse(value.p, value.len, out, &why) == OK)
        return OK;
    return rule_bad(p, p->line, "%s", why.text);
}

static int parse_key(void *ctx, struct rule_parser *p, const char *section, struct span key,
                     struct span value)
{
    struct aggregation_rules *r = ctx;
    struct rule *rule = &r->v[r->n - 1];
    bool factor = span_is(key, "xFilesFactor"), method = span_is(key, "aggregationMethod");
    if (!factor && !method)
        return 1;
    bool *given = factor ? &rule->has_factor : &rule->has_method;
    if (*given)
        return rule_bad(p, p->line, "'%.*s' is given twice in [%.100s]", SPAN_SHOW(key), section);
    *given = true;
    return factor ? parse_factor(p, value, &rule->rule.x_files_factor)
                  : parse_method(p, value, &rule->rule.method);
}

int aggregation_rules_parse(const char *text, const char *filename, struct aggregation_rules **out,
                            struct err *err)
{
    static const struct rule_keys keys = {"xFilesFactor and aggregationMethod", begin_section, parse_key,
                                          NULL};
    struct aggregation_rules *r = aggregation_rules_default();
    int rc = rule_set_parse(r->set, text, filename, &keys, r, err);
    if (rc < 0)
        aggregation_rules_free(r);
    else
        *out = r;
    return rc;
}

int aggregation_rules_load(const char *path, struct aggregation_rules **out, struct err *err)
{
    struct buf text = BUF_INIT;
    int rc = rule_file_read(path, &text, err);
    if (rc == OK)
        rc = aggregation_rules_parse(buf_str(&text), path, out, err);
    buf_release(&text);
    return rc;
}
