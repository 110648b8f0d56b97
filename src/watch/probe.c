#include "watch/probe.h"

#include "base/buf.h"
#include "base/mem.h"

#include <ctype.h>
#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWER_MAX  (1u << 20)
#define WAIT_MAX_MS 200
#define DAY_S       86400
#define FAR_DAYS    8 /* known points remembered as posted */

struct probe {
    char *url, *node;
    bool direct;
    int64_t timeout_ms;
    struct clock *clock;
    _Atomic bool stopped;
    pthread_mutex_t mtx;
    pthread_cond_t wake; /* stopped */

    /* owned by the thread */
    CURL *curl;
    struct curl_slist *headers;
    struct buf body, answer;
    int64_t until_mono_ms;
    int64_t posted_s[FAR_DAYS]; /* times of known points posted by this process, a ring */
    unsigned nposted;
};

static const char *const step_names[PROBE_STEPS] = {"ok", "post", "read", "missing", "wrong"};

const char *probe_step_name(enum probe_step step)
{
    return step_names[step];
}

static int check_options(const struct probe_options *o, struct err *err)
{
    if (!o->url || (strncmp(o->url, "http://", 7) && strncmp(o->url, "https://", 8)))
        return err_set(err, ERR_INVALID, "the URL must start with http:// or https://");
    size_t n = strlen(o->node);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)o->node[i]) && !strchr("_-", o->node[i]))
            n = 0;
    if (n == 0 || n > 64)
        return err_set(err, ERR_INVALID, "the node's name must be 1 to 64 letters, digits, _ or -");
    for (const char *c = o->api_key; c && *c; c++)
        if (*c <= 0x20 || *c > 0x7e)
            return err_set(err, ERR_INVALID, "the API key has a byte that is not printable ASCII");
    return OK;
}

static void init_cond(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

static size_t on_answer(char *data, size_t size, size_t n, void *ctx)
{
    struct probe *p = ctx;
    if (p->answer.len + size * n > ANSWER_MAX)
        return 0;
    buf_append(&p->answer, data, size * n);
    return size * n;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct probe *p = ctx;
    return atomic_load(&p->stopped);
}

static int open_curl(struct probe *p, const char *api_key, struct err *err)
{
    p->curl = curl_easy_init();
    if (!p->curl)
        return err_set(err, ERR_FAILED, "libcurl does not start");
    p->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (api_key && *api_key) {
        struct buf b = BUF_INIT;
        buf_printf(&b, "X-Api-Key: %s", api_key);
        p->headers = curl_slist_append(p->headers, buf_str(&b));
        buf_release(&b);
    }
    curl_easy_setopt(p->curl, CURLOPT_HTTPHEADER, p->headers);
    curl_easy_setopt(p->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(p->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(p->curl, CURLOPT_USERAGENT, "carat-probe/" CARAT_VERSION);
    curl_easy_setopt(p->curl, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(p->curl, CURLOPT_WRITEDATA, p);
    curl_easy_setopt(p->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(p->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(p->curl, CURLOPT_XFERINFODATA, p);
    if (p->direct)
        curl_easy_setopt(p->curl, CURLOPT_NOPROXY, "*");
    return OK;
}

int probe_new(const struct probe_options *o, struct probe **out, struct err *err)
{
    int rc = check_options(o, err);
    if (rc)
        return rc;
    struct probe *p = xcalloc(1, sizeof *p);
    p->url = xstrdup(o->url);
    for (size_t n = strlen(p->url); n && p->url[n - 1] == '/';)
        p->url[--n] = '\0';
    p->node = xstrdup(o->node);
    p->direct = o->direct;
    p->timeout_ms = o->timeout_ms;
    p->clock = o->clock;
    pthread_mutex_init(&p->mtx, NULL);
    init_cond(&p->wake);
    rc = open_curl(p, o->api_key, err);
    if (rc) {
        probe_free(p);
        return rc;
    }
    *out = p;
    return OK;
}

void probe_free(struct probe *p)
{
    if (!p)
        return;
    curl_easy_cleanup(p->curl);
    curl_slist_free_all(p->headers);
    buf_release(&p->body);
    buf_release(&p->answer);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mtx);
    free(p->url);
    free(p->node);
    free(p);
}

void probe_stop(struct probe *p)
{
    pthread_mutex_lock(&p->mtx);
    atomic_store(&p->stopped, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mtx);
}

/* True when it was stopped. */
static bool wait_ms(struct probe *p, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&p->mtx);
    while (!atomic_load(&p->stopped) && !pthread_cond_timedwait(&p->wake, &p->mtx, &until))
        ;
    pthread_mutex_unlock(&p->mtx);
    return atomic_load(&p->stopped);
}

/* One request; json NULL: a GET. Anything but a 2xx is an error with the server's own words. */
static int request(struct probe *p, const char *path, const char *json, struct err *err)
{
    struct buf url = BUF_INIT;
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    int64_t left = p->until_mono_ms - clock_mono_ms(p->clock);
    buf_printf(&url, "%s%s", p->url, path);
    buf_clear(&p->answer);
    curl_easy_setopt(p->curl, CURLOPT_URL, buf_str(&url));
    curl_easy_setopt(p->curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(p->curl, CURLOPT_TIMEOUT_MS, (long)(left > 1 ? left : 1));
    if (json)
        curl_easy_setopt(p->curl, CURLOPT_POSTFIELDS, json);
    else
        curl_easy_setopt(p->curl, CURLOPT_HTTPGET, 1L);
    CURLcode code = curl_easy_perform(p->curl);
    curl_easy_setopt(p->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_getinfo(p->curl, CURLINFO_RESPONSE_CODE, &status);
    buf_release(&url);
    if (atomic_load(&p->stopped))
        return err_set(err, ERR_CLOSED, "stopped");
    if (code != CURLE_OK)
        return err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO, "%s%.60s: %.200s",
                       p->url, path, *why ? why : curl_easy_strerror(code));
    if (status / 100 == 2)
        return OK;
    json_t *root = json_loadb((const char *)p->answer.data, p->answer.len, 0, NULL);
    const char *text = json_string_value(json_object_get(json_object_get(root, "error"), "message"));
    int rc = err_set(err, ERR_INVALID, "%s%.60s answered HTTP %ld%s%.200s", p->url, path, status,
                     text ? ": " : "", text ? text : "");
    json_decref(root);
    return rc;
}

static int post_point(struct probe *p, const char *series, int64_t time_s, double value, struct err *err)
{
    buf_clear(&p->body);
    buf_printf(&p->body, "[{\"name\":\"%s.%s\",\"time\":%lld,\"value\":%.0f}]", series, p->node,
               (long long)time_s, value);
    return request(p, "/api/v0/services/carat/tsdb", buf_str(&p->body), err);
}

enum found { FOUND_NOTHING, FOUND_OTHER, FOUND_IT };

/* Whether the value is among the points of the answer. */
static enum found look_for(const struct buf *answer, double value)
{
    enum found found = FOUND_NOTHING;
    size_t i;
    json_t *point, *root = json_loadb((const char *)answer->data, answer->len, 0, NULL);
    json_array_foreach(json_object_get(json_array_get(root, 0), "datapoints"), i, point)
    {
        json_t *v = json_array_get(point, 0);
        if (json_is_number(v) && found != FOUND_IT)
            found = json_number_value(v) == value ? FOUND_IT : FOUND_OTHER;
    }
    json_decref(root);
    return found;
}

/* The minute of time_s, and its neighbours for the probe that is younger than its slot. */
static int read_point(struct probe *p, const char *series, int64_t from_s, int64_t until_s, double value,
                      enum found *found, struct err *err)
{
    char path[256];
    snprintf(path, sizeof path,
             "/render?target=service.carat.%s.%s&from=%lld&until=%lld&format=json&noCache=1", series, p->node,
             (long long)from_s, (long long)until_s);
    int rc = request(p, path, NULL, err);
    *found = rc == OK ? look_for(&p->answer, value) : FOUND_NOTHING;
    return rc;
}

static double seconds_since(struct probe *p, int64_t start_us)
{
    return (double)(clock_mono_us(p->clock) - start_us) / 1e6;
}

/* Asks until the value is there or the time is over. An unanswered question is asked again: what counts is
 * whether the point can be read in time. */
static int wait_for_value(struct probe *p, int64_t time_s, double value, struct probe_result *out,
                          struct err *err)
{
    for (int64_t pause_ms = 2;; pause_ms = pause_ms * 2 < WAIT_MAX_MS ? pause_ms * 2 : WAIT_MAX_MS) {
        enum found found;
        int rc = read_point(p, "probe", time_s - 120, time_s + 120, value, &found, err);
        out->step = rc == OK ? PROBE_MISSING : PROBE_READ;
        if (rc == ERR_CLOSED || found == FOUND_IT)
            return rc;
        if (clock_mono_ms(p->clock) + pause_ms >= p->until_mono_ms)
            return rc ? rc
                      : err_set(err, ERR_TIMEOUT,
                                "the point was acknowledged but cannot be read back after %.1f s",
                                (double)p->timeout_ms / 1e3);
        if (wait_ms(p, pause_ms))
            return err_set(err, ERR_CLOSED, "stopped");
    }
}

int probe_near(struct probe *p, struct probe_result *out, struct err *err)
{
    int64_t start_us = clock_mono_us(p->clock), now_ms = clock_wall_ms(p->clock);
    double value = (double)((now_ms * 1000 + start_us % 1000) & ((1ll << 52) - 1));
    *out = (struct probe_result){.step = PROBE_POST};
    p->until_mono_ms = start_us / 1000 + p->timeout_ms;
    int rc = post_point(p, "probe", now_ms / 1000, value, err);
    if (rc)
        return rc;
    out->ack_seconds = seconds_since(p, start_us);
    rc = wait_for_value(p, now_ms / 1000, value, out, err);
    if (rc)
        return rc;
    out->step = PROBE_OK;
    out->read_seconds = seconds_since(p, start_us);
    return OK;
}

double probe_far_value(int64_t time_s)
{
    uint64_t x =
        (uint64_t)time_s + 0x9e3779b97f4a7c15ull; /* splitmix64, cut to what a double holds exactly */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return (double)((x ^ (x >> 31)) >> 12);
}

static bool was_posted(const struct probe *p, int64_t time_s)
{
    for (unsigned i = 0; i < p->nposted && i < FAR_DAYS; i++)
        if (p->posted_s[i] == time_s)
            return true;
    return false;
}

static enum probe_step far_one(struct probe *p, int64_t time_s, struct err *err)
{
    enum found found;
    p->until_mono_ms = clock_mono_ms(p->clock) + p->timeout_ms;
    if (read_point(p, "probe_far", time_s - 1, time_s + 59, probe_far_value(time_s), &found, err))
        return PROBE_READ;
    if (found == FOUND_IT)
        return PROBE_OK;
    if (found == FOUND_OTHER) {
        err_set(err, ERR_CORRUPT, "the known point of %lld has another value", (long long)time_s);
        return PROBE_WRONG;
    }
    if (was_posted(p, time_s)) {
        err_set(err, ERR_NOT_FOUND, "the known point of %lld is not there any more", (long long)time_s);
        return PROBE_MISSING;
    }
    if (post_point(p, "probe_far", time_s, probe_far_value(time_s), err))
        return PROBE_POST;
    p->posted_s[p->nposted++ % FAR_DAYS] = time_s;
    return PROBE_OK;
}

int probe_far(struct probe *p, const unsigned *days, size_t n, enum probe_step *worst, struct err *err)
{
    int64_t today_s = clock_wall_ms(p->clock) / 1000 / DAY_S * DAY_S;
    *worst = PROBE_OK;
    for (size_t i = 0; i < n; i++) {
        struct err e = ERR_INIT;
        enum probe_step step = far_one(p, today_s - (int64_t)days[i] * DAY_S, &e);
        if (step > *worst) {
            *worst = step;
            *err = e;
        }
    }
    return *worst == PROBE_OK ? OK : err->code;
}
