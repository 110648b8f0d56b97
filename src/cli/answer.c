#include "cli/answer.h"

#include "base/mem.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int parse_points(const json_t *points, struct answer_series *s)
{
    size_t n = json_array_size(points);
    s->time_s = xcalloc(n, sizeof *s->time_s);
    s->value = xcalloc(n, sizeof *s->value);
    for (size_t i = 0; i < n; i++) {
        const json_t *p = json_array_get(points, i);
        const json_t *v = json_array_get(p, 0), *t = json_array_get(p, 1);
        if (!json_is_number(t) || !(json_is_number(v) || json_is_null(v)))
            return -1;
        s->time_s[i] = (int64_t)json_number_value(t);
        s->value[i] = json_is_null(v) ? NAN : json_number_value(v);
        s->n++;
    }
    return 0;
}

static int parse_series(const json_t *one, struct answer_series *s)
{
    const json_t *name = json_object_get(one, "target"), *points = json_object_get(one, "datapoints");
    if (!json_is_string(name) || !json_is_array(points))
        return -1;
    s->name = xstrdup(json_string_value(name));
    return parse_points(points, s);
}

int answer_parse(const char *json, size_t len, struct answer *out, struct err *err)
{
    json_error_t why;
    json_t *root = json_loadb(json, len, 0, &why);
    *out = (struct answer){NULL, 0};
    if (!root)
        return err_set(err, ERR_INVALID, "the answer is not JSON: line %d: %s", why.line, why.text);
    int rc = json_is_array(root) ? 0 : -1;
    size_t n = json_array_size(root);
    out->series = xcalloc(n, sizeof *out->series);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        out->n++;
        rc = parse_series(json_array_get(root, i), &out->series[i]);
    }
    json_decref(root);
    if (rc < 0) {
        answer_release(out);
        return err_set(err, ERR_INVALID, "the answer is not what /render gives");
    }
    return OK;
}

void answer_release(struct answer *a)
{
    for (size_t i = 0; i < a->n; i++) {
        free(a->series[i].name);
        free(a->series[i].time_s);
        free(a->series[i].value);
    }
    free(a->series);
    *a = (struct answer){NULL, 0};
}
