/* The rules' files and history, and how one set of rules takes the place of another. */
#include "server/rules_impl.h"

#include "base/killpoint.h"
#include "base/log.h"
#include "base/mem.h"
#include "model/rule_file.h"

#include <stdlib.h>
#include <string.h>

#define SWITCH_MS 2000 /* least time from a switch on disk to the first point it concerns */

/* --- files --- */

void rules_candidate_release(struct rules_candidate *c)
{
    if (c->retention)
        retention_free(c->retention);
    if (c->aggregation)
        aggregation_rules_free(c->aggregation);
    free(c->text);
    *c = (struct rules_candidate){0};
}

static int read_schemas(const struct rules *r, struct rules_candidate *out, struct err *err)
{
    struct buf text = BUF_INIT;
    if (!*r->schemas_path) {
        out->retention = retention_default();
        return OK;
    }
    int rc = rule_file_read(r->schemas_path, &text, err);
    if (rc == OK)
        rc = retention_parse(buf_str(&text), r->schemas_path, &out->retention, err);
    if (rc == OK)
        out->text = xstrdup(buf_str(&text));
    buf_release(&text);
    return rc;
}

int rules_read_files(struct rules *r, struct rules_candidate *out, struct err *err)
{
    *out = (struct rules_candidate){0};
    int rc = read_schemas(r, out, err);
    if (rc == OK && *r->aggregation_path)
        rc = aggregation_rules_load(r->aggregation_path, &out->aggregation, err);
    else if (rc == OK)
        out->aggregation = aggregation_rules_default();
    if (rc != OK)
        rules_candidate_release(out);
    return rc;
}

/* The next line that says something, without spaces around it; false: the text is over. */
static bool next_line(const char **text, struct span *out)
{
    while (*text && **text) {
        const char *end = strchrnul(*text, '\n');
        *out = span_trim((struct span){*text, (size_t)(end - *text)});
        *text = *end ? end + 1 : end;
        if (out->len && *out->p != '#' && *out->p != ';')
            return true;
    }
    return false;
}

/* The same but for comments, empty lines and indentation. */
static bool same_text(const char *a, const char *b)
{
    struct span x, y;
    if (!a != !b)
        return false;
    for (;;) {
        bool more = next_line(&a, &x);
        if (more != next_line(&b, &y))
            return false;
        if (!more)
            return true;
        if (x.len != y.len || memcmp(x.p, y.p, x.len) != 0)
            return false;
    }
}

/* What the history says becomes what is asked for. Under `changing`. */
static int publish(struct rules *r, struct err *err)
{
    if (r->n == RULES_GENERATIONS)
        return err_set(err, ERR_LIMIT,
                       "the rules were changed %d times; restart the server to change them again",
                       RULES_GENERATIONS - 1);
    struct generation *g = generation_new(r);
    r->all[r->n++] = g;
    atomic_store_explicit(&r->now, g, memory_order_release);
    return OK;
}

/* --- changes; under `changing` --- */

/* Entries that nobody was born under and of which nothing was made tell nothing. */
static void forget_unused(struct rules *r)
{
    struct rules_history *h = &r->history;
    size_t n = 0;
    for (size_t i = 0; i < h->n; i++) {
        bool unborn = i + 1 < h->n && h->v[i + 1].after_series == h->v[i].after_series;
        if (i > 0 && unborn && h->v[i].state == RULES_SEEN) {
            free(h->v[i].text);
            continue;
        }
        h->v[n] = h->v[i];
        r->parsed[n++] = r->parsed[i];
    }
    h->n = n;
}

static void keep_old(struct rules *r, struct rules_candidate *c)
{
    r->old = xrealloc(r->old, (r->nold + 1) * sizeof *r->old);
    r->old[r->nold++] = *c;
    *c = (struct rules_candidate){0};
}

static int store(struct rules *r, const struct rules_history *h, struct err *err)
{
    return r->history_path ? rules_history_store(h, r->o.fs, r->history_path, err) : OK;
}

/* Takes the candidate over, in any case. The rules of its text are the last entry from here on. */
static int put_in_force(struct rules *r, struct rules_candidate *c, struct err *err)
{
    struct rules_history *h = &r->history;
    int rc = OK;
    for (; r->o.as_is && h->n; h->n--)
        free(h->v[h->n - 1].text);
    bool other = !h->n || !same_text(h->v[h->n - 1].text, c->text);
    if (other) {
        if (h->n && h->v[h->n - 1].state == RULES_BUILDING) {
            h->v[h->n - 1].state = RULES_ABANDONED;
            log_warn("retention", "the rules were changed while the ones before were being applied",
                     "given_up=true");
        }
        uint32_t after = h->n && r->catalog ? catalog_max_id(r->catalog) : 0;
        rules_history_add(h, c->text, after, h->n ? RULES_SEEN : RULES_DONE);
        r->parsed = xrealloc(r->parsed, h->n * sizeof(struct retention_rules *));
        r->parsed[h->n - 1] = c->retention;
        forget_unused(r);
        if (h->n > RULES_HISTORY_MAX)
            rc = err_set(err, ERR_LIMIT, "the retention rules were changed more than %d times",
                         RULES_HISTORY_MAX);
        if (rc == OK)
            rc = store(r, h, err);
        if (rc != OK)
            free(h->v[--h->n].text);
    }
    if (rc == OK)
        r->aggregation = c->aggregation;
    keep_old(r, c);
    return rc == OK ? publish(r, err) : rc;
}

int rules_reload(struct rules *r, struct err *err)
{
    struct rules_candidate c;
    pthread_mutex_lock(&r->changing);
    int rc = rules_read_files(r, &c, err);
    KILL_POINT("rules.read");
    if (rc == OK)
        rc = put_in_force(r, &c, err);
    KILL_POINT("rules.reloaded");
    pthread_mutex_unlock(&r->changing);
    return rc;
}

int rules_begin(struct rules *r, struct err *err)
{
    pthread_mutex_lock(&r->changing);
    int rc = r->files.retention ? put_in_force(r, &r->files, err) : OK;
    pthread_mutex_unlock(&r->changing);
    return rc;
}

static int parse_history(struct rules *r, struct err *err)
{
    r->parsed = xcalloc(r->history.n + 1, sizeof(struct retention_rules *));
    for (size_t i = 0; i < r->history.n; i++) {
        struct rules_candidate c = {0};
        const char *text = r->history.v[i].text;
        int rc = OK;
        if (text)
            rc = retention_parse(text, "rules of the past", &c.retention, err);
        else
            c.retention = retention_default();
        if (rc != OK)
            return err ? err_prefix(err, "%s", r->history_path) : rc;
        r->parsed[i] = c.retention;
        keep_old(r, &c);
    }
    return OK;
}

static int load_history(struct rules *r, struct err *err)
{
    struct err why = ERR_INIT;
    if (!r->history_path)
        return OK;
    int rc = rules_history_load(r->o.fs, r->history_path, &r->history, &why);
    if (rc == ERR_NOT_FOUND)
        return OK;
    if (rc != OK) {
        *err = why;
        return rc;
    }
    return parse_history(r, err);
}

int rules_new(const struct rules_options *o, struct rules **out, struct err *err)
{
    struct rules *r = xcalloc(1, sizeof *r);
    r->o = *o;
    r->schemas_path = xstrdup(o->schemas_path ? o->schemas_path : "");
    r->aggregation_path = xstrdup(o->aggregation_path ? o->aggregation_path : "");
    r->history_path = o->history_path ? xstrdup(o->history_path) : NULL;
    pthread_mutex_init(&r->changing, NULL);
    pthread_mutex_init(&r->switching, NULL);
    pthread_mutex_init(&r->steps_mtx, NULL);
    int rc = load_history(r, err);
    if (rc == OK)
        rc = rules_read_files(r, &r->files, err);
    if (rc == OK && !r->history.n)
        rc = put_in_force(r, &r->files, err);
    else if (rc == OK) {
        /* Until rules_begin those of the last time are in force. */
        r->aggregation = r->files.aggregation;
        rc = publish(r, err);
    }
    if (rc != OK) {
        rules_free(r);
        return rc;
    }
    *out = r;
    return OK;
}

void rules_free(struct rules *r)
{
    if (!r)
        return;
    for (unsigned i = 0; i < r->n; i++)
        generation_free(r->all[i]);
    for (size_t i = 0; i < r->nold; i++)
        rules_candidate_release(&r->old[i]);
    rules_candidate_release(&r->files);
    rules_history_release(&r->history);
    free(r->old);
    free(r->parsed);
    free(r->schemas_path);
    free(r->aggregation_path);
    free(r->history_path);
    pthread_mutex_destroy(&r->changing);
    pthread_mutex_destroy(&r->switching);
    pthread_mutex_destroy(&r->steps_mtx);
    free(r);
}

void rules_set_catalog(struct rules *r, struct catalog *c)
{
    r->catalog = c;
}

void rules_get_status(struct rules *r, struct rules_status *out)
{
    pthread_mutex_lock(&r->changing);
    const struct rules_history *h = &r->history;
    const struct rules_entry *last = &h->v[h->n - 1];
    *out = (struct rules_status){last->state, false, last->decided_ms, last->from_ms};
    for (size_t i = 0; i + 1 < h->n; i++)
        out->leftovers |= h->v[i].state == RULES_DROPPING;
    pthread_mutex_unlock(&r->changing);
}

/* Changes the last entry, on disk first. On an error it is as it was. */
static int change_last(struct rules *r, struct rules_entry to, struct err *err)
{
    struct rules_entry *last = &r->history.v[r->history.n - 1], before = *last;
    *last = to;
    int rc = store(r, &r->history, err);
    if (rc != OK)
        *last = before;
    return rc;
}

/* Rules that were applied once are applied anew by a second entry: a series may follow them now that could
 * not then. */
static int add_again(struct rules *r, struct rules_entry *e, struct err *err)
{
    struct rules_history *h = &r->history;
    if (h->n == RULES_HISTORY_MAX)
        return err_set(err, ERR_LIMIT, "the retention rules were changed more than %d times",
                       RULES_HISTORY_MAX);
    rules_history_add(h, e->text, catalog_max_id(r->catalog), RULES_SEEN);
    r->parsed = xrealloc(r->parsed, h->n * sizeof(struct retention_rules *));
    r->parsed[h->n - 1] = r->parsed[h->n - 2];
    *e = h->v[h->n - 1];
    return OK;
}

int rules_apply_begin(struct rules *r, struct err *err)
{
    int rc = OK;
    pthread_mutex_lock(&r->changing);
    struct rules_entry e = r->history.v[r->history.n - 1];
    if (e.state != RULES_BUILDING) {
        if (rules_applied(e.state))
            rc = add_again(r, &e, err);
        e.state = RULES_BUILDING;
        e.decided_ms = clock_wall_ms(r->o.clock);
        e.from_ms = 0;
        if (rc == OK)
            rc = change_last(r, e, err);
        if (rc == OK)
            rc = publish(r, err);
    }
    pthread_mutex_unlock(&r->changing);
    return rc;
}

/* Of a series whose step changes each point that is accepted from now on, and none that was before, may
 * belong to the new step: so the switch lies beyond what may have been accepted when it is published. */
static int switch_last(struct rules *r, struct err *err)
{
    struct rules_entry e = r->history.v[r->history.n - 1];
    int64_t margin = SWITCH_MS;
    e.state = RULES_DROPPING;
    for (;;) {
        e.from_ms = clock_wall_ms(r->o.clock) + r->o.max_future_ms + margin;
        int rc = change_last(r, e, err);
        if (rc != OK || clock_wall_ms(r->o.clock) + r->o.max_future_ms < e.from_ms - SWITCH_MS / 2)
            return rc;
        margin *= 4; /* the disk was slow */
    }
}

int rules_apply_switch(struct rules *r, struct err *err)
{
    pthread_mutex_lock(&r->switching);
    pthread_mutex_lock(&r->changing);
    int rc = r->history.v[r->history.n - 1].state == RULES_BUILDING
                 ? switch_last(r, err)
                 : err_set(err, ERR_CLOSED, "other rules have come in force; apply them");
    if (rc == OK)
        rc = publish(r, err);
    pthread_mutex_unlock(&r->changing);
    pthread_mutex_unlock(&r->switching);
    return rc;
}

void rules_hold(void *ctx)
{
    struct rules *r = ctx;
    pthread_mutex_lock(&r->switching);
}

void rules_release(void *ctx)
{
    struct rules *r = ctx;
    pthread_mutex_unlock(&r->switching);
}

int rules_apply_end(struct rules *r, struct err *err)
{
    pthread_mutex_lock(&r->changing);
    struct rules_history *h = &r->history;
    for (size_t i = 0; i < h->n; i++)
        if (h->v[i].state == RULES_DROPPING)
            h->v[i].state = RULES_DONE;
    int rc = store(r, h, err);
    pthread_mutex_unlock(&r->changing);
    return rc;
}

bool rules_applying(struct rules *r)
{
    const struct generation *g = generation_now(r);
    return g->era[g->n - 1].state == RULES_BUILDING;
}
