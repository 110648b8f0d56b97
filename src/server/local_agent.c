/* The agent inside the server: this machine's metrics, posted through the public door like anybody's. */
#include "server/server_impl.h"

#include "agent/agent.h"
#include "agent/host_id.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

/* A server that listens on every address is reached at the loopback one. */
void server_own_url(struct server *s, char *out, size_t size)
{
    const char *listen = config_string(s->config, "http.listen");
    unsigned port = http_server_port(s->http);
    const char *colon = strrchr(listen, ':');
    int host = colon ? (int)(colon - listen) : 0;
    bool any = host == 0 || !strncmp(listen, "0.0.0.0:", 8) || !strncmp(listen, "*:", 2);
    if (!strncmp(listen, "[::]:", 5))
        snprintf(out, size, "http://[::1]:%u", port);
    else if (any)
        snprintf(out, size, "http://127.0.0.1:%u", port);
    else
        snprintf(out, size, "http://%.*s:%u", host, listen, port);
}

int local_agent_start(struct server *s, struct err *err)
{
    char url[300], id[HOST_ID_MAX + 1];
    if (!s->sink || !config_bool(s->config, "agent.enabled"))
        return OK;
    server_own_url(s, url, sizeof url);
    const char *host_id = config_string(s->config, "agent.host_id");
    if (!*host_id) {
        int rc = host_id_get(fs_posix(), s->dir.path, "/etc/machine-id", id, err);
        if (rc != OK)
            return rc;
        host_id = id;
    }
    struct agent_options o = {
        .url = url,
        .host_id = host_id,
        .direct = true,
        .clock = s->clock,
        .metrics = s->metrics,
    };
    int rc = agent_new(&o, &s->agent, err);
    if (rc == OK)
        rc = agent_start(s->agent, err);
    if (rc == OK)
        log_info("agent", "measuring this machine", "host_id=%s url=%s", host_id, url);
    return rc;
}

void local_agent_stop(struct server *s)
{
    if (!s->agent)
        return;
    agent_stop(s->agent, 1500);
    agent_free(s->agent);
    s->agent = NULL;
}
