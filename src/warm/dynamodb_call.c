#include "warm/dynamodb_impl.h"

#include <string.h>

void dynamodb_body(const struct warm_dynamodb *w, struct buf *body)
{
    buf_clear(body);
    buf_puts(body, "{\"TableName\":");
    buf_json_string(body, w->table, strlen(w->table));
    buf_puts(body, ",\"ReturnConsumedCapacity\":\"TOTAL\"");
}

/* What x-amz-target has for each operation. */
static const struct aws_pair *headers_of(const struct warm_dynamodb *w, const struct aws_operation *op)
{
#define HEADERS(name)                                                                                        \
    {                                                                                                        \
        {"content-type", "application/x-amz-json-1.0"},                                                      \
        {                                                                                                    \
            "x-amz-target", "DynamoDB_20120810." name                                                        \
        }                                                                                                    \
    }
    static const struct aws_pair batch_write[] = HEADERS("BatchWriteItem"), query[] = HEADERS("Query"),
                                 put_item[] = HEADERS("PutItem"), get_item[] = HEADERS("GetItem"),
                                 delete_item[] = HEADERS("DeleteItem"), create[] = HEADERS("CreateTable"),
                                 describe[] = HEADERS("DescribeTable"),
                                 describe_ttl[] = HEADERS("DescribeTimeToLive"),
                                 update_ttl[] = HEADERS("UpdateTimeToLive");
    return op == w->batch_write      ? batch_write
           : op == w->query          ? query
           : op == w->put_item       ? put_item
           : op == w->get_item       ? get_item
           : op == w->delete_item    ? delete_item
           : op == w->create_table   ? create
           : op == w->describe_table ? describe
           : op == w->describe_ttl   ? describe_ttl
                                     : update_ttl;
}

void dynamodb_prepare(struct warm_dynamodb *w, struct aws_call *call, const struct aws_operation *op,
                      const struct buf *body)
{
    *call = (struct aws_call){.op = op,
                              .method = "POST",
                              .path = "/",
                              .headers = headers_of(w, op),
                              .nheaders = 2,
                              .body = body->data,
                              .body_len = body->len};
}

int dynamodb_wait(struct warm_dynamodb *w, struct aws_call *call, bool writes, json_t **answer,
                  struct err *err)
{
    json_error_t why;
    *answer = NULL;
    int rc = aws_wait(w->o.client, call, err);
    if (rc == OK) {
        *answer = json_loadb((const char *)call->answer.data, call->answer.len, 0, &why);
        if (!json_is_object(*answer)) {
            json_decref(*answer);
            *answer = NULL;
            rc = err_set(err, ERR_IO, "warm tier: an answer of the service is no JSON object");
        } else {
            atomic_fetch_add(writes ? &w->write_units_milli : &w->read_units_milli,
                             dynamodb_consumed(*answer));
        }
    }
    aws_call_release(call);
    call->answer = call->answer_headers = (struct buf)BUF_INIT;
    return rc;
}

int dynamodb_call(struct warm_dynamodb *w, struct aws_call *call, bool writes, json_t **answer,
                  struct err *err)
{
    *answer = NULL;
    int rc = aws_submit(w->o.client, call, err);
    return rc == OK ? dynamodb_wait(w, call, writes, answer, err) : rc;
}
