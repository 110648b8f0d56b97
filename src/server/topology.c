#include "server/topology.h"

#include "server/presence.h"
#include "server/server_impl.h"

#include <stdlib.h>
#include <string.h>

#define SILENT_MS (4 * PRESENCE_EVERY_S * 1000)

struct topology {
    struct server *server;
    json_t *processes, *partitions, *problems;
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "?";
}

static void problem(struct topology *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void problem(struct topology *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    json_array_append_new(t->problems, json_vsprintf(fmt, ap));
    va_end(ap);
}

/* --- processes --- */

/* Takes over p. */
static void add_process(struct topology *t, const char *id, json_t *p, int64_t age_ms)
{
    bool alive = age_ms < SILENT_MS;
    const char *tier;
    json_t *told;
    json_object_set_new(p, "id", json_string(id));
    json_object_set_new(p, "seen_s", json_real((double)age_ms / 1e3));
    json_object_set_new(p, "alive", json_boolean(alive));
    json_array_append_new(t->processes, p);
    if (!alive) {
        problem(t, "%s (%s) is silent for %lld s", text_of(p, "url"), text_of(p, "roles"),
                (long long)age_ms / 1000);
        return;
    }
    json_object_foreach(json_object_get(p, "tiers"), tier,
                        told) if (strcmp(text_of(told, "state"), "ok") != 0)
        problem(t, "%s (%s): %s: %s", text_of(p, "url"), text_of(p, "roles"), tier, text_of(told, "state"));
}

static int on_process(void *ctx, const struct kv_entry *e)
{
    json_t *p = json_loads(e->value, 0, NULL);
    if (json_is_object(p))
        add_process(ctx, e->key + strlen("process."), p, e->age_ms);
    else
        json_decref(p);
    return 0;
}

static const json_t *process_of(const struct topology *t, const char *id)
{
    size_t i;
    const json_t *p;
    json_array_foreach(t->processes, i, p) if (!strcmp(text_of(p, "id"), id)) return p;
    return NULL;
}

/* --- partitions --- */

static const json_t *told_of(const json_t *process, unsigned partition)
{
    size_t i;
    const json_t *x;
    json_array_foreach(json_object_get(process, "partitions"), i,
                       x) if (json_integer_value(json_object_get(x, "partition")) == partition) return x;
    return NULL;
}

static int on_lease(void *ctx, const struct kv_entry *e)
{
    struct topology *t = ctx;
    uint64_t epoch;
    char owner[LEASE_OWNER_MAX];
    unsigned n = (unsigned)strtoul(e->key + strlen("lease."), NULL, 10);
    if (!lease_parse(e->value, &epoch, owner))
        return 0;
    int64_t ttl_ms = config_duration_ms(t->server->config, "writer.lease");
    bool held = owner[0] && e->age_ms < ttl_ms;
    const json_t *process = held ? process_of(t, owner) : NULL, *told = process ? told_of(process, n) : NULL;
    json_t *x = json_pack("{s:i, s:s, s:s?, s:I, s:f, s:b}", "partition", (int)n, "owner", owner, "url",
                          process ? text_of(process, "url") : NULL, "epoch", (json_int_t)epoch, "seen_s",
                          (double)e->age_ms / 1e3, "held", held);
    if (told) {
        json_object_set(x, "lag_records", json_object_get(told, "lag_records"));
        json_object_set(x, "lag_s", json_object_get(told, "lag_s"));
    }
    json_array_append_new(t->partitions, x);
    if (!held)
        problem(t, "partition %u has no writer", n);
    return 0;
}

/* Of a process that shares nothing: what it told is all there is. */
static void add_own_partitions(struct topology *t, const json_t *process)
{
    size_t i;
    json_t *x;
    json_array_foreach(json_object_get(process, "partitions"), i, x)
    {
        json_t *copy = json_deep_copy(x);
        json_object_set(copy, "url", json_object_get(process, "url"));
        json_object_set_new(copy, "held", json_true());
        json_array_append_new(t->partitions, copy);
    }
}

static int by_number(const void *a, const void *b)
{
    json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "partition"));
    json_int_t y = json_integer_value(json_object_get(*(json_t *const *)b, "partition"));
    return (x > y) - (x < y);
}

/* Keys are listed as texts: 10 comes before 2. */
static void sort_partitions(struct topology *t)
{
    json_t *v[STREAM_LANES_MAX], *sorted = json_array();
    size_t n = 0, i;
    json_t *x;
    json_array_foreach(t->partitions, i, x) if (n < STREAM_LANES_MAX) v[n++] = x;
    qsort(v, n, sizeof *v, by_number);
    for (i = 0; i < n; i++)
        json_array_append(sorted, v[i]);
    json_decref(t->partitions);
    t->partitions = sorted;
}

static int look(struct topology *t, struct err *err)
{
    struct server *s = t->server;
    int rc = OK;
    if (s->kv)
        rc = kv_list(s->kv, "process.", on_process, t, err);
    else
        add_process(t, "", presence_describe(s), 0);
    if (rc == OK && s->kv)
        rc = kv_list(s->kv, "lease.", on_lease, t, err);
    /* With all roles in one process there are no leases. */
    if (rc == OK && json_array_size(t->partitions) == 0 && json_array_size(t->processes) == 1)
        add_own_partitions(t, json_array_get(t->processes, 0));
    sort_partitions(t);
    return rc;
}

int topology_json(struct server *s, struct buf *out, struct err *err)
{
    struct topology t = {s, json_array(), json_array(), json_array()};
    int rc = look(&t, err);
    json_t *all = json_pack("{s:o, s:o, s:o}", "processes", t.processes, "partitions", t.partitions,
                            "problems", t.problems);
    char *text = json_dumps(all, JSON_COMPACT);
    if (rc == OK)
        buf_puts(out, text);
    free(text);
    json_decref(all);
    return rc;
}
