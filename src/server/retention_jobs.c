/* The jobs of `carat retention`, and going on with one that a restart has interrupted. */
#include "server/retention_apply.h"
#include "server/retention_check.h"
#include "server/server_impl.h"

#include <string.h>

static bool on_cancelled(void *ctx)
{
    return job_cancelled(ctx);
}

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    job_progress(ctx, done, total);
}

static void on_stage(void *ctx, const char *what)
{
    job_message(ctx, "%s", what);
}

/* --- check --- */

int retention_check_job(struct job *j, void *ctx, void *args, struct err *err)
{
    struct server *s = ctx;
    struct retention_check c = {.rules = s->rules,
                                .catalog = s->catalog,
                                .warm = s->warm,
                                .clock = s->clock,
                                .cancelled = on_cancelled,
                                .progress = on_progress,
                                .ctx = j};
    struct retention_checked r;
    struct buf json = BUF_INIT;
    int rc = retention_check_run(&c, &json, &r, err);
    if (rc == OK) {
        job_result(j, &json);
        job_message(j, "%llu of %llu series would change", (unsigned long long)r.changing,
                    (unsigned long long)r.series);
    }
    buf_release(&json);
    return rc;
}

/* --- apply --- */

/* Not NULL: go on with what is begun, without looking at the files. */
int retention_apply_parse(void *ctx, const json_t *request, void **args, struct err *err)
{
    const json_t *resume = json_object_get(request, "resume");
    if (resume && !json_is_boolean(resume))
        return err_set(err, ERR_INVALID, "resume is true or false");
    *args = json_is_true(resume) ? ctx : NULL;
    return OK;
}

static void show(const struct retention_applied *r, struct job *j)
{
    struct buf json = BUF_INIT;
    buf_printf(&json, "{\"series\":%llu,\"warmWindows\":%llu,\"warmBytes\":%llu,\"coldPacks\":%llu}",
               (unsigned long long)r->series, (unsigned long long)r->warm_windows,
               (unsigned long long)r->warm_bytes, (unsigned long long)r->cold_packs);
    job_result(j, &json);
    job_message(j,
                "%llu series brought to the rules in force, %llu windows dropped, %llu packs written again",
                (unsigned long long)r->series, (unsigned long long)r->warm_windows,
                (unsigned long long)r->cold_packs);
}

int retention_apply_job(struct job *j, void *ctx, void *args, struct err *err)
{
    struct server *s = ctx;
    struct retention_apply a = {
        .rules = s->rules,
        .catalog = s->catalog,
        .writer = s->writer,
        .reader = s->reader,
        .warm = s->warm_store,
        .cold = s->cold,
        .mover = s->mover,
        .clock = s->clock,
        .settle_ms = 1000,
        .bytes_per_s = config_size_bytes(s->config, "cold.rate"),
        .cancelled = on_cancelled,
        .progress = on_progress,
        .stage = on_stage,
        .ctx = j,
    };
    struct retention_applied r;
    if (s->roles != ROLE_ALL)
        return err_set(err, ERR_UNSUPPORTED, "retention is applied where one process has all roles");
    int rc = args ? OK : server_reload_rules(s, err);
    if (rc == OK)
        rc = retention_apply_run(&a, &r, err);
    if (rc == OK)
        show(&r, j);
    return rc;
}

/* --- the state of things --- */

int server_reload_rules(struct server *s, struct err *err)
{
    if (!s->writer)
        return rules_reload(s->rules, err);
    flush_gate_close(&s->may_expire);
    int rc = rules_reload(s->rules, err);
    flush_gate_close(&s->may_expire);
    return rc;
}

static bool is_unfinished(const struct rules_status *s)
{
    return s->state == RULES_BUILDING || s->state == RULES_DROPPING || s->leftovers;
}

void retention_tell(struct server *s)
{
    struct rules_status st;
    rules_get_status(s->rules, &st);
    if (is_unfinished(&st))
        log_warn("retention", "stored data is being brought to the rules in force; not finished",
                 "state=\"%s\"", rules_state_name(st.state));
    else if (st.state != RULES_DONE)
        log_warn(
            "retention",
            "stored data does not follow the rules in force: carat retention check shows what would change, "
            "carat retention apply changes it",
            "state=\"%s\"", rules_state_name(st.state));
}

int retention_resume(struct server *s, struct err *err)
{
    static const char request[] = "{\"kind\":\"retention-apply\",\"resume\":true}";
    struct rules_status st;
    uint64_t id;
    rules_get_status(s->rules, &st);
    retention_tell(s);
    return is_unfinished(&st) ? jobs_start(s->jobs, request, strlen(request), &id, err) : OK;
}

void retention_status(void *ctx, struct buf *json)
{
    struct server *s = ctx;
    struct rules_status st;
    rules_get_status(s->rules, &st);
    buf_printf(json, "{\"state\":\"%s\",\"unfinished\":%s,\"decidedMs\":%lld}", rules_state_name(st.state),
               is_unfinished(&st) ? "true" : "false", (long long)st.decided_ms);
}

static double unapplied(void *ctx)
{
    struct rules_status st;
    rules_get_status(ctx, &st);
    return is_unfinished(&st) || st.state != RULES_DONE;
}

void retention_register(struct server *s)
{
    metrics_gauge_fn(s->metrics, "carat_retention_unapplied", NULL,
                     "1 while stored data does not follow the retention rules in force.", "gauge", unapplied,
                     s->rules);
}
