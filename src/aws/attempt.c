/* One attempt of a call: from the call to a signed request, and from what came back to a verdict. */
#include "aws/client_impl.h"

#include "base/log.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SKEW_NOTED_MS    1000
#define ATTEMPT_LEAST_MS 50

int attempt_prepare(struct aws_client *c, struct aws_call_state *s, int64_t now_ms, struct err *err)
{
    struct aws_call *call = s->call;
    struct aws_key_copy keys;
    int rc = aws_credentials_get(c->o.credentials, &keys, err);
    if (rc < 0)
        return rc;
    struct sigv4_request r = {
        .method = call->method,
        .host = c->host,
        .path = call->path,
        .query = call->query,
        .nquery = call->nquery,
        .headers = call->headers,
        .nheaders = call->nheaders,
        .service = c->service,
        .region = c->region,
        .payload_hash = s->payload_hash,
        .s3 = !strcmp(c->service, "s3"),
        .time_ms = clock_wall_ms(c->o.clock) + atomic_load(&c->skew_ms),
    };
    struct aws_keys view = aws_key_copy_view(&keys);
    sigv4_sign(&r, &view, &s->sent);
    OPENSSL_cleanse(&keys, sizeof keys);
    buf_clear(&s->url);
    buf_printf(&s->url, "%s%s", c->endpoint, buf_str(&s->sent.target));
    int64_t left = s->deadline_ms - now_ms, most = call->attempt_ms ? call->attempt_ms : c->o.attempt_ms;
    left = left < ATTEMPT_LEAST_MS ? ATTEMPT_LEAST_MS : left;
    s->x = (struct aws_exchange){
        .method = call->method,
        .url = buf_str(&s->url),
        .headers = (const char *)s->sent.headers.data,
        .headers_len = s->sent.headers.len,
        .body = call->body,
        .body_len = call->body_len,
        .connect_ms = left < c->o.connect_ms ? left : c->o.connect_ms,
        .timeout_ms = left < most ? left : most,
        .silence_ms = c->o.attempt_ms,
        .answer_max = call->answer_max ? call->answer_max : AWS_ANSWER_MAX,
    };
    call->attempts++;
    return OK;
}

void attempt_clear(struct aws_call_state *s)
{
    OPENSSL_cleanse(s->sent.headers.data, s->sent.headers.len);
    sigv4_release(&s->sent);
    buf_release(&s->url);
    buf_release(&s->x.answer);
    buf_release(&s->x.answer_headers);
}

/* --- the verdict --- */

/* The difference to the service's clock, from its Date. False if there is none to be had. */
static bool set_clock(struct aws_client *c, const struct aws_exchange *x)
{
    char date[64];
    struct tm tm;
    memset(&tm, 0, sizeof tm);
    if (!aws_header(&x->answer_headers, "date", date, sizeof date) ||
        !strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return false;
    int64_t skew = (int64_t)timegm(&tm) * 1000 - clock_wall_ms(c->o.clock);
    if (llabs(skew - atomic_load(&c->skew_ms)) < SKEW_NOTED_MS)
        return false;
    atomic_store(&c->skew_ms, skew);
    log_warn("aws", "this machine's clock differs from the service's, which is used for signatures",
             "service=%s ahead_seconds=%lld", c->service, (long long)(-skew / 1000));
    return true;
}

/* What the last attempt makes of the call, were it the last. */
static int code_of(const struct aws_exchange *x, const struct aws_error *e, enum aws_error_kind kind)
{
    if (x->code != OK)
        return x->code;
    if (x->http_status / 100 == 2)
        return OK;
    if (kind == AWS_ERROR_THROTTLED)
        return ERR_BUSY;
    if (kind == AWS_ERROR_TRANSIENT)
        return ERR_IO;
    if (x->http_status == 404 || strstr(e->code, "NotFound"))
        return ERR_NOT_FOUND;
    if (x->http_status == 409 || x->http_status == 412 || !strcmp(e->code, "ConditionalCheckFailedException"))
        return ERR_LOCKED;
    return x->http_status == 501 ? ERR_UNSUPPORTED : ERR_INVALID;
}

static void tell(const struct aws_client *c, struct aws_call *call, const struct aws_exchange *x)
{
    if (x->code != OK)
        err_set(&call->err, call->code, "%s %s at %.120s: %s (attempt %u)", c->service, call->op->name,
                c->endpoint, x->why, call->attempts);
    else
        err_set(&call->err, call->code, "%s %s at %.120s: HTTP %d%s%s%s%s (attempt %u)", c->service,
                call->op->name, c->endpoint, x->http_status, call->error.code[0] ? " " : "", call->error.code,
                call->error.message[0] ? ": " : "", call->error.message, call->attempts);
}

static void keep_answer(struct aws_call *call, struct aws_exchange *x)
{
    buf_release(&call->answer);
    buf_release(&call->answer_headers);
    call->answer = x->answer;
    call->answer_headers = x->answer_headers;
    x->answer = x->answer_headers = (struct buf)BUF_INIT;
    call->http_status = x->code == OK ? x->http_status : 0;
}

static void count(struct counter *c)
{
    if (c)
        counter_add(c, 1);
}

/* Whether another attempt makes sense, and is paid for; s->due_ms is when. */
static bool again(struct aws_client *c, struct aws_call_state *s, enum aws_error_kind kind, int64_t now_ms)
{
    struct aws_call *call = s->call;
    bool lost = s->x.code == ERR_IO || s->x.code == ERR_TIMEOUT;
    if (call->most_attempts && call->attempts >= call->most_attempts)
        return false;
    if (s->x.code == OK && kind == AWS_ERROR_CLOCK && !s->clock_set && set_clock(c, &s->x)) {
        s->clock_set = true;
        s->due_ms = now_ms;
        return true;
    }
    if (s->x.code == OK && kind == AWS_ERROR_KEYS && !s->keys_read) {
        aws_credentials_refused(c->o.credentials);
        s->keys_read = true;
        s->due_ms = now_ms;
        return true;
    }
    if (!lost && (s->x.code != OK || (kind != AWS_ERROR_THROTTLED && kind != AWS_ERROR_TRANSIENT)))
        return false;
    s->due_ms = now_ms + backoff_ms(call->attempts, c->o.backoff_base_ms, c->o.backoff_cap_ms, c->o.random);
    if (s->due_ms >= s->deadline_ms)
        return false;
    if (!retry_budget_take(&c->budget)) {
        count(c->no_budget);
        return false;
    }
    return true;
}

enum attempt_end attempt_judge(struct aws_client *c, struct aws_call_state *s, int64_t now_ms)
{
    struct aws_call *call = s->call;
    struct aws_exchange *x = &s->x;
    const struct aws_operation *op = call->op;
    enum aws_error_kind kind = AWS_ERROR_OTHER;
    bool good = x->code == OK && x->http_status / 100 == 2;
    call->error = (struct aws_error){"", ""};
    call->unsure = call->unsure || x->resent;
    if (x->code == OK && !good) {
        aws_error_parse(x->answer.data, x->answer.len, &call->error);
        kind = aws_error_kind(x->http_status, call->error.code, call->error.message);
    }
    if (kind == AWS_ERROR_THROTTLED) {
        count(op->throttles);
        parallel_limit_throttled(&c->parallel, now_ms);
    } else if (good) {
        parallel_limit_good(&c->parallel);
        retry_budget_refund(&c->budget);
    } else if (x->code != OK || kind == AWS_ERROR_TRANSIENT) {
        count(op->errors);
    }
    if (!good && again(c, s, kind, now_ms)) {
        call->unsure = call->unsure || (x->code != OK && !x->unsent) || kind == AWS_ERROR_TRANSIENT;
        count(op->retries);
        return ATTEMPT_AGAIN;
    }
    call->code = code_of(x, &call->error, kind);
    keep_answer(call, x);
    if (call->code != OK)
        tell(c, call, x);
    return ATTEMPT_DONE;
}
