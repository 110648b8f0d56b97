#include "agent/agent.h"

#include "agent/host_id.h"
#include "agent/reading.h"
#include "agent/schedule.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread_name.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define POST_TIMEOUT_S 30
/* Longest sleep: a step of the wall clock is noticed within it. */
#define TURN_MS 5000

struct agent {
    char *url, *host_id, *proc_dir, *key_header;
    struct clock *clock;
    struct counter *posted, *refused, *unreachable, *points, *lost_full, *lost_failures, *lost_stopped;
    struct gauge *queued;

    /* any thread */
    _Atomic bool stop_asked;
    _Atomic int64_t deadline_mono_ms;

    /* owned by the thread */
    struct schedule schedule;
    struct reading *before, *now;
    int64_t minute; /* last collected, since the epoch */
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body;
    int64_t post_start_ms;
    bool transferring, stopping, failing;

    bool running;
    pthread_t thread;
};

static int check_options(const struct agent_options *o, struct err *err)
{
    if (!o->url || (strncmp(o->url, "http://", 7) && strncmp(o->url, "https://", 8)))
        return err_set(err, ERR_INVALID, "agent.url must start with http:// or https://");
    if (!o->host_id || !host_id_valid(o->host_id))
        return err_set(err, ERR_INVALID, "agent.host_id must be 1 to %d letters, digits, _ or -",
                       HOST_ID_MAX);
    for (const char *c = o->api_key; c && *c; c++)
        if (*c <= 0x20 || *c > 0x7e)
            return err_set(err, ERR_INVALID, "agent.api_key has a byte that is not printable ASCII");
    return OK;
}

static void ask_metrics(struct agent *a, struct metrics *m)
{
    static const char posts[] = "Posts of the agent by result.";
    static const char lost[] = "Points the agent could not deliver, by reason.";
    a->posted = metrics_counter(m, "carat_agent_posts_total", "result=\"ok\"", posts);
    a->refused = metrics_counter(m, "carat_agent_posts_total", "result=\"refused\"", posts);
    a->unreachable = metrics_counter(m, "carat_agent_posts_total", "result=\"network_error\"", posts);
    a->points = metrics_counter(m, "carat_agent_points_total", NULL, "Points the agent delivered.");
    a->lost_full = metrics_counter(m, "carat_agent_points_lost_total", "reason=\"queue_full\"", lost);
    a->lost_failures = metrics_counter(m, "carat_agent_points_lost_total", "reason=\"failures\"", lost);
    a->lost_stopped = metrics_counter(m, "carat_agent_points_lost_total", "reason=\"stopped\"", lost);
    a->queued =
        metrics_gauge(m, "carat_agent_queue_length", NULL, "Minutes of points the agent has to post.");
}

static size_t ignore_answer(char *data, size_t size, size_t n, void *ctx)
{
    return size * n; /* the status says it all */
}

static void init_transfer(struct agent *a, const struct agent_options *o)
{
    a->multi = curl_multi_init();
    a->easy = curl_easy_init();
    assert(a->multi && a->easy);
    a->headers = curl_slist_append(a->headers, "Content-Type: application/json");
    a->headers = curl_slist_append(a->headers, "Expect:");
    if (a->key_header)
        a->headers = curl_slist_append(a->headers, a->key_header);
    curl_easy_setopt(a->easy, CURLOPT_URL, a->url);
    curl_easy_setopt(a->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(a->easy, CURLOPT_HTTPHEADER, a->headers);
    curl_easy_setopt(a->easy, CURLOPT_USERAGENT, "carat-agent/" CARAT_VERSION);
    curl_easy_setopt(a->easy, CURLOPT_TIMEOUT, (long)POST_TIMEOUT_S);
    curl_easy_setopt(a->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(a->easy, CURLOPT_QUICK_EXIT, 1L); /* a name being resolved must not hold up the stop */
    curl_easy_setopt(a->easy, CURLOPT_WRITEFUNCTION, ignore_answer);
    if (o->direct)
        curl_easy_setopt(a->easy, CURLOPT_NOPROXY, "*");
}

static char *joined(const char *a, const char *b)
{
    struct buf text = BUF_INIT;
    buf_puts(&text, a);
    buf_puts(&text, b);
    return buf_detach(&text, NULL);
}

int agent_new(const struct agent_options *o, struct agent **out, struct err *err)
{
    int rc = check_options(o, err);
    if (rc)
        return rc;
    struct agent *a = xcalloc(1, sizeof *a);
    size_t slash = strlen(o->url) && o->url[strlen(o->url) - 1] == '/';
    a->url = joined(o->url, &"/api/v0/tsdb"[slash]);
    a->host_id = xstrdup(o->host_id);
    a->proc_dir = xstrdup(o->proc_dir ? o->proc_dir : "/proc");
    a->key_header = o->api_key && *o->api_key ? joined("X-Api-Key: ", o->api_key) : NULL;
    a->clock = o->clock ? o->clock : clock_system();
    a->before = xcalloc(1, sizeof *a->before);
    a->now = xcalloc(1, sizeof *a->now);
    ask_metrics(a, o->metrics);
    init_transfer(a, o);
    schedule_init(&a->schedule, schedule_jitter_s(a->host_id), clock_mono_ms(a->clock));
    a->minute = clock_wall_ms(a->clock) / 60000;
    reading_take(a->before, a->proc_dir, clock_mono_us(a->clock)); /* so that the first minute has rates */
    *out = a;
    return OK;
}

/* Collecting. */

struct collected {
    struct agent *a;
    struct post_batch *batch;
    int64_t time_s;
};

static void add_point(void *ctx, const char *name, double value)
{
    struct collected *c = ctx;
    struct buf *b = &c->batch->json;
    if (c->batch->points++)
        buf_putc(b, ',');
    buf_printf(b, "{\"hostId\":\"%s\",\"name\":\"%s\",\"time\":%lld,\"value\":%.17g}", c->a->host_id, name,
               (long long)c->time_s, value);
}

static void collect(struct agent *a)
{
    struct collected c = {a, post_batch_new(), a->minute * 60};
    reading_take(a->now, a->proc_dir, clock_mono_us(a->clock));
    reading_metrics(a->before, a->now, add_point, &c);
    struct reading *was = a->before;
    a->before = a->now;
    a->now = was;
    if (c.batch->points && schedule_push(&a->schedule, c.batch))
        return;
    if (c.batch->points)
        counter_add(a->lost_full, c.batch->points);
    post_batch_free(c.batch);
}

/* At second 0 of each minute; a clock set back starts over from where it is, one set forward skips. */
static void collect_if_due(struct agent *a)
{
    int64_t minute = clock_wall_ms(a->clock) / 60000;
    bool due = minute > a->minute;
    a->minute = minute;
    if (due)
        collect(a);
}

/* Posting. */

static void begin_transfer(struct agent *a)
{
    curl_easy_setopt(a->easy, CURLOPT_POSTFIELDS, (const char *)a->body.data);
    curl_easy_setopt(a->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)a->body.len);
    a->post_start_ms = clock_mono_ms(a->clock);
    curl_multi_add_handle(a->multi, a->easy);
    a->transferring = true;
}

static void post(struct agent *a)
{
    buf_clear(&a->body);
    for (size_t i = 0; i < a->schedule.ntaken; i++) {
        buf_putc(&a->body, i ? ',' : '[');
        buf_append(&a->body, a->schedule.taken[i]->json.data, a->schedule.taken[i]->json.len);
    }
    buf_putc(&a->body, ']');
    begin_transfer(a);
}

static void post_succeeded(struct agent *a)
{
    for (size_t i = 0; i < a->schedule.ntaken; i++)
        counter_add(a->points, a->schedule.taken[i]->points);
    counter_add(a->posted, 1);
    schedule_posted(&a->schedule);
    if (a->failing)
        log_info("agent", "posts succeed again", "url=%s queued_minutes=%zu", a->url,
                 schedule_length(&a->schedule));
    a->failing = false;
}

static void post_failed(struct agent *a, CURLcode code, long status)
{
    size_t lost;
    counter_add(code ? a->unreachable : a->refused, 1);
    int64_t took_ms = clock_mono_ms(a->clock) - a->post_start_ms;
    bool again = schedule_failed(&a->schedule, code != CURLE_OK, took_ms, &lost);
    counter_add(a->lost_failures, lost);
    if (lost)
        log_warn("agent", "points given up after too many failed posts", "points=%zu", lost);
    if (!a->failing)
        log_warn("agent", "post failed, trying on", "url=%s status=%ld error=\"%s\"", a->url, status,
                 code ? curl_easy_strerror(code) : "");
    a->failing = true;
    if (again)
        begin_transfer(a);
}

static void transfer_done(struct agent *a, CURLcode code)
{
    long status = 0;
    curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(a->multi, a->easy);
    a->transferring = false;
    if (code == CURLE_OK && status / 100 == 2)
        post_succeeded(a);
    else
        post_failed(a, code, status);
}

static void drive_transfer(struct agent *a)
{
    int running, left;
    curl_multi_perform(a->multi, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(a->multi, &left));)
        if (m->msg == CURLMSG_DONE)
            transfer_done(a, m->data.result);
}

/* The loop. */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What is still there when the time is over. */
static void give_up(struct agent *a)
{
    size_t points = schedule_points(&a->schedule);
    if (a->transferring)
        curl_multi_remove_handle(a->multi, a->easy);
    a->transferring = false;
    counter_add(a->lost_stopped, points);
    if (points)
        log_warn("agent", "stopped before everything was posted", "points=%zu", points);
    schedule_release(&a->schedule);
}

bool agent_turn(struct agent *a, int max_wait_ms)
{
    int64_t wall = clock_wall_ms(a->clock), mono = clock_mono_ms(a->clock), until = INT64_MAX;
    if (atomic_load(&a->stop_asked) && !a->stopping) {
        a->stopping = true;
        schedule_stop(&a->schedule, mono);
    }
    int64_t deadline = a->stopping ? atomic_load(&a->deadline_mono_ms) : INT64_MAX;
    if (mono >= deadline) {
        give_up(a);
        return false;
    }
    if (!a->stopping)
        collect_if_due(a);
    if (!a->transferring) {
        enum schedule_step step = schedule_next(&a->schedule, wall, mono, &until);
        if (step == SCHEDULE_FINISHED)
            return false;
        if (step == SCHEDULE_POST)
            post(a);
    }
    if (a->transferring)
        drive_transfer(a);
    gauge_set(a->queued, (int64_t)schedule_length(&a->schedule));
    int64_t wait = least(least(max_wait_ms, 60000 - wall % 60000), least(until, deadline) - mono);
    if (a->schedule.in_flight || wait > 0)
        curl_multi_poll(a->multi, NULL, 0, (int)(wait > 0 ? wait : 0), NULL);
    return true;
}

static void *run(void *ctx)
{
    struct agent *a = ctx;
    thread_name("carat-agent");
    while (agent_turn(a, TURN_MS))
        ;
    return NULL;
}

int agent_start(struct agent *a, struct err *err)
{
    assert(!a->running);
    int rc = pthread_create(&a->thread, NULL, run, a);
    if (rc)
        return err_sys(err, ERR_IO, rc, "cannot start the agent's thread");
    a->running = true;
    log_info("agent", "started", "url=%s host_id=%s second=%u", a->url, a->host_id, a->schedule.jitter_s);
    return OK;
}

void agent_ask_stop(struct agent *a, int timeout_ms)
{
    atomic_store(&a->deadline_mono_ms, clock_mono_ms(a->clock) + timeout_ms);
    atomic_store(&a->stop_asked, true);
    curl_multi_wakeup(a->multi);
}

void agent_stop(struct agent *a, int timeout_ms)
{
    if (!a->running)
        return;
    agent_ask_stop(a, timeout_ms);
    pthread_join(a->thread, NULL);
    a->running = false;
}

void agent_free(struct agent *a)
{
    if (!a)
        return;
    agent_stop(a, 0);
    if (a->transferring)
        curl_multi_remove_handle(a->multi, a->easy);
    schedule_release(&a->schedule);
    curl_easy_cleanup(a->easy);
    curl_multi_cleanup(a->multi);
    curl_slist_free_all(a->headers);
    buf_release(&a->body);
    free(a->before);
    free(a->now);
    free(a->url);
    free(a->host_id);
    free(a->proc_dir);
    free(a->key_header);
    free(a);
}
