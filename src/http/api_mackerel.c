#include "http/api_mackerel.h"

#include "base/mem.h"
#include "ingest/mackerel_json.h"
#include "model/name.h"
#include "query/pynum.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The JSON parser takes ten times the body. mackerel-agent posts some 50 KB. */
#define POST_BYTES_MAX (4u << 20)
/* Slots in one answer: a year of minutes and some more. */
#define READ_SLOTS_MAX 600000
/* Series in one GET of the latest values. */
#define LATEST_SERIES_MAX 10000
/* How old a latest value may be. */
#define LATEST_AGE_MS 86400000
/* Tree nodes of one host's or service's names. */
#define NAMES_MAX 1000000
/* Seconds since 1970 as we take them: the year 9999. */
#define SECONDS_MAX 253402300799

/* What one submission needs; a session is for one thread at a time. */
struct post_slot {
    struct post_slot *next;
    struct sink_session *session;
    struct sample_batch batch;
};

struct api_mackerel {
    struct api_mackerel_options o;
    pthread_mutex_t mtx;
    struct post_slot *idle; /* under mtx; at most one for each thread of the server */
};

struct api_mackerel *api_mackerel_new(const struct api_mackerel_options *o)
{
    struct api_mackerel *a = xcalloc(1, sizeof *a);
    a->o = *o;
    pthread_mutex_init(&a->mtx, NULL);
    return a;
}

void api_mackerel_free(struct api_mackerel *a)
{
    if (!a)
        return;
    while (a->idle) {
        struct post_slot *s = a->idle;
        a->idle = s->next;
        sink_session_free(s->session);
        sample_batch_release(&s->batch);
        free(s);
    }
    pthread_mutex_destroy(&a->mtx);
    free(a);
}

/* Posts. */

static struct post_slot *take_slot(struct api_mackerel *a)
{
    pthread_mutex_lock(&a->mtx);
    struct post_slot *s = a->idle;
    if (s)
        a->idle = s->next;
    pthread_mutex_unlock(&a->mtx);
    if (s)
        return s;
    s = xcalloc(1, sizeof *s);
    s->session = sink_session_new(a->o.sink, "mackerel");
    return s;
}

static void give_slot(struct api_mackerel *a, struct post_slot *s)
{
    sample_batch_clear(&s->batch);
    pthread_mutex_lock(&a->mtx);
    s->next = a->idle;
    a->idle = s;
    pthread_mutex_unlock(&a->mtx);
}

static void reply_retry(struct http_request *r, const char *after_s, const char *why)
{
    http_reply_header(r, "Retry-After", after_s);
    http_reply_error(r, 503, "%s", why);
}

/* From a thread of the stream. */
static void post_done(void *ctx, const struct sink_result *result)
{
    struct http_request *r = ctx;
    struct buf b = BUF_INIT;
    switch (result->status) {
    case OK:
        buf_puts(&b, "{\"success\":true}");
        http_reply(r, 200, "application/json", &b);
        break;
    case ERR_INVALID:
        http_reply_error(r, 400, "element %zu: %s; nothing of this request was stored",
                         result->first_rejected, reject_help(result->first_reason));
        break;
    case ERR_BUSY:
        reply_retry(r, "1", result->err.code ? result->err.text : "the stream's buffer is full; try again");
        break;
    default:
        reply_retry(r, "30", result->err.code ? result->err.text : "the stream takes no points");
    }
}

/* `service` NULL: the body names hosts. */
static void post_points(struct api_mackerel *a, struct http_request *r, const char *service)
{
    struct err err = ERR_INIT;
    size_t n;
    const char *body = (const char *)http_body(r, &n);
    if (n > POST_BYTES_MAX) {
        http_reply_error(r, 413, "the body is larger than %u bytes", POST_BYTES_MAX);
        return;
    }
    struct post_slot *s = take_slot(a);
    int rc = service ? mackerel_parse_service(service, strlen(service), body, n, &s->batch, &err)
                     : mackerel_parse_host(body, n, &s->batch, &err);
    if (rc) {
        sink_submit(s->session, &s->batch, SINK_REFUSE, true, NULL,
                    NULL); /* empty: counts what was refused */
        http_reply_error(r, 400, "%s", err.text);
    } else {
        sink_submit(s->session, &s->batch, SINK_REFUSE, true, post_done, r);
    }
    give_slot(a, s);
}

static void post_hosts(void *ctx, struct http_request *r)
{
    post_points(ctx, r, NULL);
}

static void post_service(void *ctx, struct http_request *r)
{
    post_points(ctx, r, http_path_var(r, 0));
}

/* Reads. */

/* 0, or -1 after having told the client that the answer would not be complete yet. */
static int check_ready(struct api_mackerel *a, struct http_request *r)
{
    struct readiness_wait wait[1];
    if (readiness_waiting(&a->o.readiness, wait, 1) == 0)
        return 0;
    http_reply_header(r, "Retry-After", "1");
    http_reply_error(r, 503, "catching up: %s", wait[0].text);
    return -1;
}

static void reply_read_error(struct http_request *r, int rc, const struct err *err)
{
    if (rc == ERR_NOT_FOUND)
        http_reply_error(r, 404, "%s", err->text);
    else if (rc == ERR_LIMIT)
        http_reply_error(r, 400, "%s", err->text);
    else
        reply_retry(r, "5", err->text);
}

/* -1 after having answered. */
static int check_report(struct http_request *r, const struct read_report *report)
{
    if (!report->incomplete)
        return 0;
    http_reply_header(r, "Retry-After", "5");
    http_reply_error(r, 503, "the answer would be incomplete: %s",
                     report->why.code ? report->why.text : "a tier could not be read");
    return -1;
}

static bool is_word(const char *s, bool dots)
{
    for (const char *c = s; *c; c++) {
        bool word =
            (*c >= '0' && *c <= '9') || ((*c | 32) >= 'a' && (*c | 32) <= 'z') || *c == '_' || *c == '-';
        if (!word && !(dots && *c == '.'))
            return false;
    }
    return *s;
}

/* The series of a host's or service's metric; id 0 if there is none. An owner with a dot in it must not
 * reach into another owner's metrics, so both are checked. */
static struct catalog_entry find_series(struct api_mackerel *a, const char *kind, const char *owner,
                                        const char *metric)
{
    char name[NAME_MAX_BYTES + 1];
    int n = snprintf(name, sizeof name, "%s.%s.%s", kind, owner, metric);
    if (!is_word(owner, false) || !is_word(metric, true) || n < 0 || n > NAME_MAX_BYTES)
        return (struct catalog_entry){0};
    return catalog_lookup(a->o.catalog, name, (size_t)n);
}

/* Whole seconds. The npm client "mackerel" 0.1.1 appends "?{}" to every address of a GET, which lands in the
 * last argument: that one tail is taken as nothing. */
static int parse_seconds(const char *text, int64_t *ms)
{
    int64_t v = 0;
    size_t digits = text ? strspn(text, "0123456789") : 0;
    if (digits == 0 || digits > 12 || (text[digits] && strcmp(text + digits, "?{}")))
        return -1;
    for (size_t i = 0; i < digits; i++)
        v = v * 10 + (text[i] - '0');
    *ms = v * 1000;
    return v <= SECONDS_MAX ? 0 : -1;
}

static void append_point(struct buf *b, int64_t ts_ms, double value)
{
    char text[PYNUM_TEXT_MAX] = "null"; /* JSON has no word for NaN and infinity, which no door takes */
    size_t n = isfinite(value) ? pynum_repr(value, text) : strlen(text);
    if (n > 2 && !memcmp(text + n - 2, ".0", 2))
        n -= 2;
    buf_printf(b, "{\"time\":%lld,\"value\":", (long long)(ts_ms / 1000));
    buf_append(b, text, n);
    buf_putc(b, '}');
}

static void reply_column(struct http_request *r, const struct column *c)
{
    struct buf b = BUF_INIT;
    bool first = true;
    buf_puts(&b, "{\"metrics\":[");
    for (size_t i = 0; i < c->n; i++) {
        if (column_is_missing(c->values[i]))
            continue;
        if (!first)
            buf_putc(&b, ',');
        first = false;
        append_point(&b, c->start_ms + (int64_t)i * c->step_ms, c->values[i]);
    }
    buf_puts(&b, "]}");
    http_reply(r, 200, "application/json", &b);
}

static void get_metrics(struct api_mackerel *a, struct http_request *r, const char *kind)
{
    const char *owner = http_path_var(r, 0), *metric = http_arg(r, "name");
    int64_t from, to;
    if (!metric || !*metric) {
        http_reply_error(r, 400, "the argument name is missing");
        return;
    }
    if (parse_seconds(http_arg(r, "from"), &from) || parse_seconds(http_arg(r, "to"), &to) || from > to) {
        http_reply_error(r, 400, "from and to must be seconds since 1970, from not after to");
        return;
    }
    if (check_ready(a, r))
        return;
    struct catalog_entry e = find_series(a, kind, owner, metric);
    if (!e.id) {
        http_reply_error(r, 404, "%s %s has no metric %s", kind, owner, metric);
        return;
    }
    struct err err = ERR_INIT;
    struct column c = {0};
    struct read_report report = {0};
    struct read_spans spans;
    struct read_sums none; /* they are for coarser steps than are needed */
    struct read_range range = {.from_ms = from,
                               .until_ms = to + 1,
                               .now_ms = clock_wall_ms(a->o.clock),
                               .max_slots = READ_SLOTS_MAX};
    int rc = reader_fetch_planned(a->o.reader, e.id, &range, &c, &spans, &none, &report, &err);
    if (rc)
        reply_read_error(r, rc, &err);
    else if (check_report(r, &report) == 0)
        reply_column(r, &c);
    free(c.values);
}

static void get_host_metrics(void *ctx, struct http_request *r)
{
    get_metrics(ctx, r, "host");
}

static void get_service_metrics(void *ctx, struct http_request *r)
{
    get_metrics(ctx, r, "service");
}

/* Latest values. */

struct latest {
    struct api_mackerel *a;
    struct http_request *r;
    struct buf b;
    int64_t since_ms;
};

/* Appends "name":{...} if there is a value; -1 after having answered. */
static int append_latest(struct latest *l, const char *host, const char *metric, bool *first)
{
    struct catalog_entry e = find_series(l->a, "host", host, metric);
    struct read_report report = {0};
    struct err err = ERR_INIT;
    int64_t ts_ms;
    double value;
    int rc = e.id ? reader_latest(l->a->o.reader, e.id, l->since_ms, &ts_ms, &value, &report, &err) : 1;
    if (rc < 0) {
        reply_read_error(l->r, rc, &err);
        return -1;
    }
    if (check_report(l->r, &report))
        return -1;
    if (rc)
        return 0;
    if (!*first)
        buf_putc(&l->b, ',');
    *first = false;
    buf_json_string(&l->b, metric, strlen(metric));
    buf_putc(&l->b, ':');
    append_point(&l->b, ts_ms, value);
    return 0;
}

/* The value of a repeated argument, without the tail of parse_seconds; NULL past the last. The buffer is for
 * the one value that has it. */
static const char *word_arg(struct http_request *r, const char *name, unsigned i, char *buf, size_t size)
{
    const char *v = http_arg_at(r, name, i);
    size_t n = v ? strlen(v) : 0;
    if (n < 3 || strcmp(v + n - 3, "?{}") || n - 3 >= size)
        return v;
    memcpy(buf, v, n - 3);
    buf[n - 3] = '\0';
    return buf;
}

static int append_host(struct latest *l, unsigned i)
{
    char host_buf[256], metric_buf[256];
    const char *host = word_arg(l->r, "hostId", i, host_buf, sizeof host_buf), *metric;
    bool first = true;
    buf_puts(&l->b, i ? "," : "");
    buf_json_string(&l->b, host, strlen(host));
    buf_puts(&l->b, ":{");
    for (unsigned k = 0; (metric = word_arg(l->r, "name", k, metric_buf, sizeof metric_buf)); k++)
        if (append_latest(l, host, metric, &first))
            return -1;
    buf_putc(&l->b, '}');
    return 0;
}

static unsigned count_args(struct http_request *r, const char *name)
{
    unsigned n = 0;
    while (http_arg_at(r, name, n))
        n++;
    return n;
}

static void get_latest(void *ctx, struct http_request *r)
{
    struct api_mackerel *a = ctx;
    struct latest l = {.a = a, .r = r, .since_ms = clock_wall_ms(a->o.clock) - LATEST_AGE_MS};
    unsigned hosts = count_args(r, "hostId"), names = count_args(r, "name");
    if (!hosts || !names) {
        http_reply_error(r, 400, "the arguments hostId and name are needed, each at least once");
        return;
    }
    if ((uint64_t)hosts * names > LATEST_SERIES_MAX) {
        http_reply_error(r, 400, "more than %d values in one request", LATEST_SERIES_MAX);
        return;
    }
    if (check_ready(a, r))
        return;
    buf_puts(&l.b, "{\"tsdbLatest\":{");
    for (unsigned i = 0; i < hosts; i++) {
        if (append_host(&l, i)) {
            buf_release(&l.b);
            return;
        }
    }
    buf_puts(&l.b, "}}");
    http_reply(r, 200, "application/json", &l.b);
}

/* Names. */

struct names {
    struct buf b;
    size_t prefix, count;
};

static int append_name(void *ctx, const struct catalog_node *node)
{
    struct names *names = ctx;
    if (!node->id)
        return 0;
    if (names->count++)
        buf_putc(&names->b, ',');
    buf_json_string(&names->b, node->path + names->prefix, node->path_len - names->prefix);
    return 0;
}

static void get_names(struct api_mackerel *a, struct http_request *r, const char *kind)
{
    const char *owner = http_path_var(r, 0);
    struct names names = {0};
    struct err err = ERR_INIT;
    char pattern[NAME_MAX_BYTES];
    int n = snprintf(pattern, sizeof pattern, "%s.%s.**", kind, owner);
    if (check_ready(a, r))
        return;
    names.prefix = (size_t)n - 2;
    buf_puts(&names.b, "{\"names\":[");
    int rc = OK;
    if (is_word(owner, false) && n < (int)sizeof pattern)
        rc = catalog_find(a->o.catalog, pattern, (size_t)n, NAMES_MAX, append_name, &names, &err);
    buf_puts(&names.b, "]}");
    if (rc)
        reply_retry(r, "60", err.text);
    else if (!names.count)
        http_reply_error(r, 404, "no such %s: %s", kind, owner);
    else
        http_reply(r, 200, "application/json", &names.b);
    buf_release(&names.b);
}

static void get_host_names(void *ctx, struct http_request *r)
{
    get_names(ctx, r, "host");
}

static void get_service_names(void *ctx, struct http_request *r)
{
    get_names(ctx, r, "service");
}

void api_mackerel_routes(struct api_mackerel *a, struct http_server *s)
{
    if (a->o.sink) {
        http_server_route(s, "POST", "/api/v0/tsdb", post_hosts, a);
        http_server_route(s, "POST", "/api/v0/services/:service/tsdb", post_service, a);
    }
    if (!a->o.reader)
        return;
    http_server_route(s, "GET", "/api/v0/hosts/:id/metrics", get_host_metrics, a);
    http_server_route(s, "GET", "/api/v0/services/:service/metrics", get_service_metrics, a);
    http_server_route(s, "GET", "/api/v0/tsdb/latest", get_latest, a);
    http_server_route(s, "GET", "/api/v0/hosts/:id/metric-names", get_host_names, a);
    http_server_route(s, "GET", "/api/v0/services/:service/metric-names", get_service_names, a);
}
