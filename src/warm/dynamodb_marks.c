/* Which groups of windows have something: an item for each, so that a scan asks all series only for these.
 *
 * A mark is written before a group's first part, and again every REMARK_MS as long as parts come. It is
 * removed when a scan has found nothing of its group, it was last written UNMARK_MS before, and it is still
 * the same when it is removed. Whoever puts a part has written the mark at most REMARK_MS before; a put lasts
 * minutes at most. So a part without a mark would have to come from a process that last wrote the mark
 * UNMARK_MS - REMARK_MS before it put it. */
#include "warm/dynamodb_impl.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "model/window.h"
#include "warm/warm_key.h"

#include <inttypes.h>
#include <stdlib.h>

#define REMARK_MS  (5 * 60 * 1000)
#define UNMARK_MS  (60 * 60 * 1000)
#define GROUPS_MAX 4096

static struct marked_group *find_group(struct warm_dynamodb *w, uint32_t step_ms, int64_t group_ms)
{
    for (size_t i = 0; i < w->ngroups; i++)
        if (w->groups[i].step_ms == step_ms && w->groups[i].group_ms == group_ms)
            return &w->groups[i];
    return NULL;
}

static int put_mark(struct warm_dynamodb *w, uint32_t step_ms, int64_t group_ms, struct err *err)
{
    struct dynamodb_key key = dynamodb_group_key(step_ms, group_ms);
    struct buf body = BUF_INIT;
    struct aws_call call;
    json_t *answer;
    dynamodb_body(w, &body);
    buf_puts(&body, ",\"Item\":{");
    dynamodb_put_key(&body, &key);
    buf_printf(&body, ",\"w\":{\"N\":\"%" PRId64 "\"}}}", clock_wall_ms(w->o.clock));
    dynamodb_prepare(w, &call, w->put_item, &body);
    int rc = dynamodb_call(w, &call, true, &answer, err);
    json_decref(answer);
    buf_release(&body);
    return rc;
}

static void remember(struct warm_dynamodb *w, uint32_t step_ms, int64_t group_ms, int64_t until_ms)
{
    struct marked_group *g = find_group(w, step_ms, group_ms);
    if (g) {
        g->until_ms = until_ms;
        return;
    }
    if (w->ngroups == GROUPS_MAX)
        w->ngroups = 0; /* marks are written again */
    if (w->ngroups == w->cap_groups) {
        w->cap_groups = w->cap_groups ? 2 * w->cap_groups : 16;
        w->groups = xrealloc(w->groups, w->cap_groups * sizeof *w->groups);
    }
    w->groups[w->ngroups++] = (struct marked_group){step_ms, group_ms, until_ms};
}

int dynamodb_mark_groups(struct warm_dynamodb *w, const struct part *parts, size_t n, struct err *err)
{
    int rc = OK;
    for (size_t i = 0; i < n && rc == OK; i++) {
        const struct part_key *k = &parts[i].key;
        int64_t group = floor_to(k->window_ms, warm_group_ms(k->step_ms)), now = clock_mono_ms(w->o.clock);
        const struct marked_group *g = find_group(w, k->step_ms, group);
        if (g && now < g->until_ms)
            continue;
        rc = put_mark(w, k->step_ms, group, err);
        if (rc == OK)
            remember(w, k->step_ms, group, now + REMARK_MS);
    }
    return rc;
}

int dynamodb_find_marks(struct warm_dynamodb *w, uint32_t step_ms, int64_t from_ms, int64_t until_ms,
                        struct dynamodb_marks *out, struct err *err)
{
    struct dynamodb_key from = dynamodb_group_key(step_ms, from_ms),
                        until = dynamodb_group_key(step_ms, until_ms - 1);
    struct dynamodb_item item = {BUF_INIT, BUF_INIT, 0, 0};
    struct dynamodb_query q;
    const json_t *json;
    size_t cap = 0;
    int rc;
    dynamodb_query_begin(&q, w, &from, &until, false);
    while ((rc = dynamodb_query_next(&q, &json, err)) == 1) {
        if (dynamodb_item_get(json, &item) < 0 || item.s.len != DYNAMODB_SORT_BYTES)
            continue;
        if (out->n == cap) {
            cap = cap ? 2 * cap : 16;
            out->v = xrealloc(out->v, cap * sizeof *out->v);
        }
        out->v[out->n++] = (struct dynamodb_mark){(int64_t)get_u64be(item.s.data), item.written_ms};
    }
    dynamodb_query_end(&q);
    dynamodb_item_release(&item);
    return rc;
}

void dynamodb_unmark(struct warm_dynamodb *w, uint32_t step_ms, const struct dynamodb_mark *m)
{
    struct dynamodb_key key = dynamodb_group_key(step_ms, m->group_ms);
    struct buf body = BUF_INIT;
    struct aws_call call;
    json_t *answer;
    if (clock_wall_ms(w->o.clock) - m->written_ms < UNMARK_MS)
        return;
    dynamodb_body(w, &body);
    buf_printf(&body,
               ",\"ConditionExpression\":\"w = :w\",\"ExpressionAttributeValues\":{\":w\":{\"N\":\"%" PRId64
               "\"}},\"Key\":{",
               m->written_ms);
    dynamodb_put_key(&body, &key);
    buf_puts(&body, "}}");
    dynamodb_prepare(w, &call, w->delete_item, &body);
    (void)!dynamodb_call(w, &call, true, &answer, NULL); /* else a later scan does */
    json_decref(answer);
    buf_release(&body);
}
