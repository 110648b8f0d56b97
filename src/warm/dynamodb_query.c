#include "warm/dynamodb_impl.h"

#include "base/bytes.h"

#include <string.h>

void dynamodb_range(uint32_t series, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                    struct dynamodb_key *from, struct dynamodb_key *until)
{
    *from = dynamodb_part_key(&(struct part_key){series, step_ms, from_ms, 0}, 0);
    *until = dynamodb_part_key(&(struct part_key){series, step_ms, until_ms - 1, UINT64_MAX}, UINT64_MAX);
}

static void put_body(struct dynamodb_query *q)
{
    dynamodb_body(q->w, &q->body);
    buf_printf(&q->body,
               ",\"ConsistentRead\":true,\"ProjectionExpression\":\"%s\","
               "\"KeyConditionExpression\":\"p = :p AND s BETWEEN :a AND "
               ":b\",\"ExpressionAttributeValues\":{\":p\":",
               q->values ? "s, v, t" : "s, w");
    dynamodb_put_binary(&q->body, q->from.p, sizeof q->from.p);
    buf_puts(&q->body, ",\":a\":");
    dynamodb_put_binary(&q->body, q->from.s, sizeof q->from.s);
    buf_puts(&q->body, ",\":b\":");
    dynamodb_put_binary(&q->body, q->until.s, sizeof q->until.s);
    buf_puts(&q->body, "}");
    if (q->next) {
        char *text = json_dumps(q->next, JSON_COMPACT);
        buf_puts(&q->body, ",\"ExclusiveStartKey\":");
        buf_puts(&q->body, text);
        free(text);
    }
    buf_puts(&q->body, "}");
}

static int ask(struct dynamodb_query *q, struct err *err)
{
    put_body(q);
    dynamodb_prepare(q->w, &q->call, q->w->query, &q->body);
    int rc = aws_submit(q->w->o.client, &q->call, err);
    q->under_way = rc == OK;
    return rc;
}

void dynamodb_query_begin(struct dynamodb_query *q, struct warm_dynamodb *w, const struct dynamodb_key *from,
                          const struct dynamodb_key *until, bool values)
{
    *q = (struct dynamodb_query){.w = w, .from = *from, .until = *until, .values = values, .body = BUF_INIT};
    (void)!ask(q, NULL); /* if there was no room, it is tried again when it is needed */
}

static int take_page(struct dynamodb_query *q, struct err *err)
{
    json_decref(q->answer);
    q->answer = q->items = NULL;
    int rc = q->under_way ? OK : ask(q, err);
    if (rc < 0)
        return rc;
    q->under_way = false;
    rc = dynamodb_wait(q->w, &q->call, false, &q->answer, err);
    if (rc < 0)
        return rc;
    q->items = json_object_get(q->answer, "Items");
    q->at = 0;
    json_decref(q->next);
    q->next = json_incref(json_object_get(q->answer, "LastEvaluatedKey"));
    if (!json_is_array(q->items) || (q->next && !json_is_object(q->next)))
        return err_set(err, ERR_IO, "warm tier: an answer of the service is no page of items");
    q->over = !q->next;
    if (!q->over) /* the next page comes while this one is read */
        (void)!ask(q, NULL);
    return OK;
}

int dynamodb_query_next(struct dynamodb_query *q, const json_t **item, struct err *err)
{
    while (!q->items || q->at == json_array_size(q->items)) {
        if (q->items && q->over)
            return 0;
        int rc = take_page(q, err);
        if (rc < 0)
            return rc;
    }
    *item = json_array_get(q->items, q->at++);
    return 1;
}

void dynamodb_query_end(struct dynamodb_query *q)
{
    if (q->under_way) {
        (void)!aws_wait(q->w->o.client, &q->call, NULL);
        aws_call_release(&q->call);
    }
    json_decref(q->answer);
    json_decref(q->next);
    buf_release(&q->body);
}
