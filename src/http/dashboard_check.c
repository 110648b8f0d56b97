/* What a dashboard must be: known keys only, so that a mistyped one is told and not lost. */
#include "http/dashboards.h"

#include "base/mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TITLE_MAX  200
#define TARGET_MAX 16384

struct field {
    const char *name;
    json_type type;
    bool required;
    long long most; /* bytes of a string, elements of an array, the largest integer; integers from 1 */
};

static int check_value(const struct field *f, const json_t *v, const char *where, struct err *err)
{
    if (json_typeof(v) != f->type)
        return err_set(err, ERR_INVALID, "%s: \"%s\" is not %s", where, f->name,
                       f->type == JSON_STRING  ? "a string"
                       : f->type == JSON_ARRAY ? "an array"
                                               : "a whole number");
    if (f->type == JSON_STRING && json_string_length(v) > (size_t)f->most)
        return err_set(err, ERR_INVALID, "%s: \"%s\" is longer than %lld bytes", where, f->name, f->most);
    if (f->type == JSON_ARRAY && json_array_size(v) > (size_t)f->most)
        return err_set(err, ERR_INVALID, "%s: \"%s\" has more than %lld elements", where, f->name, f->most);
    if (f->type == JSON_INTEGER && (json_integer_value(v) < 1 || json_integer_value(v) > f->most))
        return err_set(err, ERR_INVALID, "%s: \"%s\" is a number from 1 to %lld", where, f->name, f->most);
    return OK;
}

static int check_object(const json_t *o, const struct field *fields, size_t n, const char *where,
                        struct err *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(o))
        return err_set(err, ERR_INVALID, "%s is not an object", where);
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(fields[i].name, key) != 0)
            i++;
        if (i == n)
            return err_set(err, ERR_INVALID, "%s: unknown key \"%.40s\"", where, key);
        int rc = check_value(&fields[i], value, where, err);
        if (rc != OK)
            return rc;
    }
    for (size_t i = 0; i < n; i++)
        if (fields[i].required && !json_object_get(o, fields[i].name))
            return err_set(err, ERR_INVALID, "%s: \"%s\" is missing", where, fields[i].name);
    return OK;
}

static int check_panel(const json_t *panel, size_t number, struct err *err)
{
    static const struct field fields[] = {{"title", JSON_STRING, true, TITLE_MAX},
                                          {"targets", JSON_ARRAY, true, DASHBOARD_TARGETS_MAX},
                                          {"unit", JSON_STRING, false, 16},
                                          {"width", JSON_INTEGER, false, 3}};
    char where[40];
    snprintf(where, sizeof where, "panel %zu", number);
    int rc = check_object(panel, fields, ARRAY_LEN(fields), where, err);
    const json_t *targets = json_object_get(panel, "targets");
    for (size_t i = 0; rc == OK && i < json_array_size(targets); i++) {
        const json_t *t = json_array_get(targets, i);
        if (!json_is_string(t) || json_string_length(t) > TARGET_MAX)
            rc = err_set(err, ERR_INVALID, "%s: target %zu is not a string of at most %d bytes", where, i + 1,
                         TARGET_MAX);
    }
    return rc;
}

static int check(const json_t *root, struct err *err)
{
    static const struct field fields[] = {{"title", JSON_STRING, true, TITLE_MAX},
                                          {"range", JSON_STRING, false, 32},
                                          {"panels", JSON_ARRAY, true, DASHBOARD_PANELS_MAX}};
    int rc = check_object(root, fields, ARRAY_LEN(fields), "the dashboard", err);
    const json_t *panels = json_object_get(root, "panels");
    for (size_t i = 0; rc == OK && i < json_array_size(panels); i++)
        rc = check_panel(json_array_get(panels, i), i + 1, err);
    if (rc == OK && json_string_length(json_object_get(root, "title")) == 0)
        rc = err_set(err, ERR_INVALID, "the dashboard: \"title\" is empty");
    return rc;
}

int dashboard_check(const char *json, size_t n, struct buf *out, char **title, size_t *panels,
                    struct err *err)
{
    json_error_t where;
    if (n > DASHBOARD_BYTES_MAX)
        return err_set(err, ERR_INVALID, "a dashboard has at most %d bytes, this one %zu",
                       DASHBOARD_BYTES_MAX, n);
    json_t *root = json_loadb(n ? json : "", n, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return err_set(err, ERR_INVALID, "not JSON: %s, line %d column %d", where.text, where.line,
                       where.column);
    int rc = check(root, err);
    if (rc == OK && title)
        *title = xstrdup(json_string_value(json_object_get(root, "title")));
    if (rc == OK && panels)
        *panels = json_array_size(json_object_get(root, "panels"));
    if (rc == OK && out) {
        char *text = json_dumps(root, JSON_COMPACT);
        buf_puts(out, text);
        free(text);
    }
    json_decref(root);
    return rc;
}
