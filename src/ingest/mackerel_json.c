#include "ingest/mackerel_json.h"

#include "base/hash.h"
#include "model/name.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_BYTES 60

/* One post while it is parsed. */
struct post {
    const char *prefix; /* "host" or "service" */
    const char *owner;  /* the service; NULL: each element has its hostId */
    size_t owner_len;
    struct sample_batch *out;
    struct err *err;
    size_t index;
};

static bool is_owner_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static bool is_owner(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_owner_char((unsigned char)s[i]))
            return false;
    return len > 0;
}

static bool is_metric_name(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_owner_char((unsigned char)s[i]) && s[i] != '.')
            return false;
    return len > 0;
}

/* `element 3: "time" must be ..., got "abc"`. */
static int refuse(struct post *p, enum reject reason, const char *key, const char *must, const json_t *got)
{
    p->out->rejected[reason]++;
    if (!got)
        return err_set(p->err, ERR_INVALID, "element %zu: \"%s\" is missing, it must be %s", p->index, key,
                       must);
    char *text = json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    size_t len = text ? strlen(text) : 0;
    int rc = err_set(p->err, ERR_INVALID, "element %zu: \"%s\" must be %s, got %.*s%s", p->index, key, must,
                     (int)(len < SHOWN_BYTES ? len : SHOWN_BYTES), text ? text : "",
                     len > SHOWN_BYTES ? "..." : "");
    free(text);
    return rc;
}

/* Numbers are decoded as reals, whole ones too: jansson refuses integers over 63 bits, and counters have
 * them. Up to 2^53 that is exact, beyond it rounds once. */
static int parse_time(struct post *p, const json_t *v, int64_t *ts_ms)
{
    double s = json_is_real(v) ? json_real_value(v) : -1;
    if (!(s >= 0 && s < 9e15) || s != floor(s))
        return refuse(p, REJECT_TIME, "time", "a number of seconds since 1970", v);
    *ts_ms = (int64_t)s * 1000;
    return OK;
}

/* prefix.owner.name in the arena, canonical: it has neither tags nor bytes that would be rewritten. */
static int build_name(struct post *p, const json_t *host, const json_t *name, struct sample *s)
{
    const char *owner = p->owner ? p->owner : json_string_value(host);
    size_t owner_len = p->owner ? p->owner_len : json_string_length(host);
    size_t prefix_len = strlen(p->prefix), name_len = json_string_length(name);
    size_t len = prefix_len + 1 + owner_len + 1 + name_len;
    if (len > NAME_MAX_BYTES)
        return refuse(p, REJECT_NAME_TOO_LONG, "name", "shorter", name);
    char *q = arena_alloc(&p->out->names, len + 1);
    snprintf(q, len + 1, "%s.%.*s.%s", p->prefix, (int)owner_len, owner, json_string_value(name));
    const char *canonical;
    size_t canonical_len;
    enum reject why;
    if (name_canonical(q, len, &p->out->names, &canonical, &canonical_len, &why) < 0)
        return refuse(p, why, "name", "a name without empty levels (two dots, or a dot at an end)", name);
    s->name = canonical;
    s->name_len = (uint32_t)canonical_len;
    s->hash = hash_bytes(canonical, canonical_len);
    return OK;
}

static int parse_element(struct post *p, const json_t *e)
{
    if (!json_is_object(e)) {
        p->out->rejected[REJECT_SYNTAX]++;
        return err_set(p->err, ERR_INVALID, "element %zu: must be an object", p->index);
    }
    const json_t *host = json_object_get(e, "hostId"), *name = json_object_get(e, "name");
    const json_t *value = json_object_get(e, "value");
    if (!p->owner && !(json_is_string(host) && is_owner(json_string_value(host), json_string_length(host))))
        return refuse(p, REJECT_NAME, "hostId", "of letters, digits, _ and -", host);
    if (!json_is_string(name) || !is_metric_name(json_string_value(name), json_string_length(name)))
        return refuse(p, REJECT_NAME, "name", "of letters, digits, dots, _ and -", name);
    struct sample s;
    int rc = parse_time(p, json_object_get(e, "time"), &s.ts_ms);
    if (rc)
        return rc;
    if (!json_is_real(value))
        return refuse(p, REJECT_VALUE, "value", "a number", value);
    s.value = json_real_value(value); /* finite: jansson refuses an overflow */
    rc = build_name(p, host, name, &s);
    if (rc)
        return rc;
    *sample_batch_add(p->out) = s;
    return OK;
}

static int parse_array(struct post *p, const json_t *root)
{
    if (!json_is_array(root)) {
        p->out->rejected[REJECT_SYNTAX]++;
        return err_set(p->err, ERR_INVALID, "the body must be a JSON array of points");
    }
    size_t before = p->out->n;
    for (p->index = 0; p->index < json_array_size(root); p->index++) {
        int rc = parse_element(p, json_array_get(root, p->index));
        if (rc) {
            p->out->n = before;
            return rc;
        }
    }
    return OK;
}

static int parse_body(struct post *p, const char *body, size_t len)
{
    json_error_t e;
    json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &e);
    if (!root) {
        p->out->rejected[REJECT_SYNTAX]++;
        return err_set(p->err, ERR_INVALID, "the body is not JSON: line %d, column %d: %s", e.line, e.column,
                       e.text);
    }
    int rc = parse_array(p, root);
    json_decref(root);
    return rc;
}

int mackerel_parse_host(const char *body, size_t len, struct sample_batch *out, struct err *err)
{
    struct post p = {.prefix = "host", .out = out, .err = err};
    return parse_body(&p, body, len);
}

int mackerel_parse_service(const char *service, size_t service_len, const char *body, size_t len,
                           struct sample_batch *out, struct err *err)
{
    struct post p = {.prefix = "service", .owner = service, .owner_len = service_len, .out = out, .err = err};
    if (!is_owner(service, service_len)) {
        out->rejected[REJECT_NAME]++;
        return err_set(err, ERR_INVALID, "a service's name must be of letters, digits, _ and -");
    }
    return parse_body(&p, body, len);
}
