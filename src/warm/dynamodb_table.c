/* The table: made if it is missing and may be, looked at, and claimed for this deployment. */
#include "warm/dynamodb_impl.h"

#include <string.h>

#define ACTIVE_TRIES 200 /* with waits of up to 5 s; a table takes about 10 s */

static int describe(struct warm_dynamodb *w, json_t **answer, struct err *err)
{
    struct buf body = BUF_INIT;
    struct aws_call call;
    buf_puts(&body, "{\"TableName\":");
    buf_json_string(&body, w->table, strlen(w->table));
    buf_puts(&body, "}");
    dynamodb_prepare(w, &call, w->describe_table, &body);
    int rc = dynamodb_call(w, &call, false, answer, err);
    buf_release(&body);
    return rc;
}

static int create(struct warm_dynamodb *w, struct err *err)
{
    struct buf body = BUF_INIT;
    struct aws_call call;
    json_t *answer;
    buf_puts(&body, "{\"TableName\":");
    buf_json_string(&body, w->table, strlen(w->table));
    buf_puts(&body, ",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":["
                    "{\"AttributeName\":\"p\",\"AttributeType\":\"B\"},{\"AttributeName\":\"s\","
                    "\"AttributeType\":\"B\"}],"
                    "\"KeySchema\":[{\"AttributeName\":\"p\",\"KeyType\":\"HASH\"},"
                    "{\"AttributeName\":\"s\",\"KeyType\":\"RANGE\"}]}");
    dynamodb_prepare(w, &call, w->create_table, &body);
    int rc = dynamodb_call(w, &call, true, &answer, err);
    json_decref(answer);
    buf_release(&body);
    if (rc < 0 && !strcmp(call.error.code, "ResourceInUseException"))
        return OK; /* another process is making it */
    if (rc == OK)
        log_info("warm", "table made", "table=%s", w->table);
    return rc;
}

static bool has_key(const json_t *table, const char *name, const char *kind)
{
    const json_t *keys = json_object_get(table, "KeySchema"),
                 *types = json_object_get(table, "AttributeDefinitions");
    bool kept = false, binary = false;
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const char *n = json_string_value(json_object_get(json_array_get(keys, i), "AttributeName"));
        const char *k = json_string_value(json_object_get(json_array_get(keys, i), "KeyType"));
        kept = kept || (n && k && !strcmp(n, name) && !strcmp(k, kind));
    }
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *n = json_string_value(json_object_get(json_array_get(types, i), "AttributeName"));
        const char *t = json_string_value(json_object_get(json_array_get(types, i), "AttributeType"));
        binary = binary || (n && t && !strcmp(n, name) && !strcmp(t, "B"));
    }
    return kept && binary;
}

/* OK: it can be used. ERR_BUSY: not yet. */
static int look(struct warm_dynamodb *w, struct err *err)
{
    json_t *answer;
    int rc = describe(w, &answer, err);
    if (rc < 0)
        return rc;
    const json_t *table = json_object_get(answer, "Table");
    const char *status = json_string_value(json_object_get(table, "TableStatus"));
    atomic_store(&w->stored_bytes, (int64_t)json_integer_value(json_object_get(table, "TableSizeBytes")));
    if (!status || !has_key(table, "p", "HASH") || !has_key(table, "s", "RANGE"))
        rc = err_set(err, ERR_INVALID,
                     "the DynamoDB table %s was not made by carat: its keys are not the binary p and s; "
                     "choose another",
                     w->table);
    else if (strcmp(status, "ACTIVE") != 0 && strcmp(status, "UPDATING") != 0)
        rc = err_set(err, ERR_BUSY, "the DynamoDB table %s is %.40s", w->table, status);
    json_decref(answer);
    return rc;
}

static int find_table(struct warm_dynamodb *w, struct err *err)
{
    int rc = look(w, err);
    if (rc == ERR_NOT_FOUND && w->o.create) {
        rc = create(w, err);
        rc = rc == OK ? ERR_BUSY : rc;
    }
    /* A table that is being made is not always found at once. */
    for (unsigned i = 1; (rc == ERR_BUSY || (rc == ERR_NOT_FOUND && w->o.create)) && i < ACTIVE_TRIES; i++) {
        if (!aws_pause(w->o.client, i))
            return err_set(err, ERR_CLOSED, "stopped while the DynamoDB table %s was being made", w->table);
        rc = look(w, err);
    }
    return rc;
}

/* --- expiry by the service --- */

static int ask_ttl(struct warm_dynamodb *w, bool *enabled, struct err *err)
{
    struct buf body = BUF_INIT;
    struct aws_call call;
    json_t *answer;
    buf_puts(&body, "{\"TableName\":");
    buf_json_string(&body, w->table, strlen(w->table));
    buf_puts(&body, "}");
    dynamodb_prepare(w, &call, w->describe_ttl, &body);
    int rc = dynamodb_call(w, &call, false, &answer, err);
    const json_t *ttl = json_object_get(answer, "TimeToLiveDescription");
    const char *status = json_string_value(json_object_get(ttl, "TimeToLiveStatus"));
    const char *name = json_string_value(json_object_get(ttl, "AttributeName"));
    *enabled = status && !strncmp(status, "ENABL", 5) && name && !strcmp(name, "t");
    json_decref(answer);
    buf_release(&body);
    return rc;
}

static int enable_ttl(struct warm_dynamodb *w, struct err *err)
{
    struct buf body = BUF_INIT;
    struct aws_call call;
    json_t *answer;
    buf_puts(&body, "{\"TableName\":");
    buf_json_string(&body, w->table, strlen(w->table));
    buf_puts(&body, ",\"TimeToLiveSpecification\":{\"AttributeName\":\"t\",\"Enabled\":true}}");
    dynamodb_prepare(w, &call, w->update_ttl, &body);
    int rc = dynamodb_call(w, &call, true, &answer, err);
    json_decref(answer);
    buf_release(&body);
    return rc;
}

/* Not having it is no failure: then expiry looks for what is old itself. */
static void find_ttl(struct warm_dynamodb *w)
{
    struct err why = ERR_INIT;
    bool enabled;
    int rc = ask_ttl(w, &enabled, &why);
    if (rc == OK && !enabled && w->o.create && w->o.keep_ms) {
        rc = enable_ttl(w, &why);
        enabled = rc == OK;
    }
    if (!enabled && w->o.keep_ms)
        log_warn("warm", "the service does not remove what has expired; carat does, which costs more",
                 "table=%s why=\"%s\"", w->table,
                 rc < 0 ? why.text : "TTL is not enabled on the attribute t");
    atomic_store(&w->ttl, enabled);
}

/* --- the owner --- */

static int read_owner(struct warm_dynamodb *w, struct err *err)
{
    struct dynamodb_key key = dynamodb_owner_key();
    struct dynamodb_item item = {BUF_INIT, BUF_INIT, 0, 0};
    struct buf body = BUF_INIT;
    struct aws_call call;
    json_t *answer;
    dynamodb_body(w, &body);
    buf_puts(&body, ",\"ConsistentRead\":true,\"Key\":{");
    dynamodb_put_key(&body, &key);
    buf_puts(&body, "}}");
    dynamodb_prepare(w, &call, w->get_item, &body);
    int rc = dynamodb_call(w, &call, false, &answer, err);
    if (rc == OK && dynamodb_item_get(json_object_get(answer, "Item"), &item) < 0)
        rc = err_set(err, ERR_INVALID, "the owner of the DynamoDB table %s cannot be read", w->table);
    if (rc == OK && (item.v.len != strlen(w->identity) || memcmp(item.v.data, w->identity, item.v.len) != 0))
        rc = err_set(
            err, ERR_INVALID,
            "the DynamoDB table %s belongs to another deployment (owner %.*s, this one is %s), whose "
            "series have other ids: choose another table",
            w->table, (int)(item.v.len < 100 ? item.v.len : 100), (const char *)item.v.data, w->identity);
    json_decref(answer);
    dynamodb_item_release(&item);
    buf_release(&body);
    return rc;
}

static int claim(struct warm_dynamodb *w, struct err *err)
{
    struct dynamodb_key key = dynamodb_owner_key();
    struct buf body = BUF_INIT;
    struct aws_call call;
    json_t *answer;
    dynamodb_body(w, &body);
    buf_puts(&body, ",\"ConditionExpression\":\"attribute_not_exists(p)\",\"Item\":{");
    dynamodb_put_key(&body, &key);
    buf_puts(&body, ",\"v\":");
    dynamodb_put_binary(&body, w->identity, strlen(w->identity));
    buf_puts(&body, "}}");
    dynamodb_prepare(w, &call, w->put_item, &body);
    int rc = dynamodb_call(w, &call, true, &answer, err);
    json_decref(answer);
    buf_release(&body);
    return rc == ERR_LOCKED ? read_owner(w, err) : rc;
}

int dynamodb_ready(struct warm_dynamodb *w, struct err *err)
{
    if (atomic_load(&w->ready))
        return OK;
    pthread_mutex_lock(&w->opening);
    int rc = OK;
    if (!atomic_load(&w->ready)) {
        rc = find_table(w, err);
        if (rc == OK)
            rc = claim(w, err);
        if (rc == OK)
            find_ttl(w);
        atomic_store(&w->ready, rc == OK);
        if (rc == OK)
            log_info("warm", "table open", "table=%s ttl=%s", w->table, atomic_load(&w->ttl) ? "yes" : "no");
    }
    pthread_mutex_unlock(&w->opening);
    return rc;
}
