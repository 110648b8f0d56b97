/* The server watching itself (watch/watch.h), as the configuration asks for it. */
#include "server/server_impl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_MS       86400000ll
#define FAR_EVERY_MS 600000

void server_node_name(const struct config *c, char *out, size_t size)
{
    const char *node = config_string(c, "watch.node");
    char host[256] = "";
    if (!*node && gethostname(host, sizeof host - 1) == 0) {
        host[strcspn(host, ".")] = '\0';
        node = host;
    }
    snprintf(out, size, "%s", *node ? node : "localhost");
    for (char *p = out; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-')
            *p = '_';
}

/* Known points in warm and in cold, as far as points are kept so long. */
static size_t far_days(struct server *s, unsigned *out)
{
    static const char name[] = "service.carat.probe_far.x";
    int64_t keep_ms = rules_keep_ms(s->rules, name, strlen(name));
    int64_t cold_days = config_duration_ms(s->config, "cold.after") / DAY_MS + 10;
    size_t n = 0;
    out[n++] = 0;
    if (2 * DAY_MS < keep_ms)
        out[n++] = 2;
    if (cold_days * DAY_MS < keep_ms)
        out[n++] = (unsigned)cold_days;
    return n;
}

int self_watch_start(struct server *s, struct err *err)
{
    char url[300], node[65];
    if (!s->sink || !config_bool(s->config, "watch.store"))
        return OK;
    server_own_url(s, url, sizeof url);
    server_node_name(s->config, node, sizeof node);
    int64_t probe_ms = config_duration_ms(s->config, "watch.probe_interval");
    struct watch_options o = {
        .metrics = s->metrics,
        .sink = s->sink,
        .clock = s->clock,
        .node = node,
        .interval_ms = config_duration_ms(s->config, "watch.interval"),
        .probe_interval_ms = s->reader ? probe_ms : 0, /* what cannot be read here is probed from elsewhere */
        .far_interval_ms = probe_ms > FAR_EVERY_MS ? probe_ms : FAR_EVERY_MS,
        .probe = {.url = url,
                  .direct = true,
                  .timeout_ms = config_duration_ms(s->config, "watch.probe_timeout")},
    };
    o.nfar = far_days(s, o.far_days);
    int rc = watch_start(&o, &s->watch, err);
    if (rc == OK)
        log_info("watch", "keeping own metrics", "series=carat.%s.* probe_interval_ms=%lld", node,
                 (long long)probe_ms);
    return rc;
}

void self_watch_stop(struct server *s)
{
    watch_stop(s->watch);
}

void self_watch_free(struct server *s)
{
    watch_free(s->watch);
    s->watch = NULL;
}
