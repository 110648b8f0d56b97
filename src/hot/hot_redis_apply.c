/* Points into windows: at most one round trip for windows that are known, and one more for those that are
 * met for the first time.
 *
 * A window is written with one BITFIELD, which is atomic: the record's cells and the position hi. Its answer
 * is the hi that was there before; anything but what was acknowledged means that the window is not what we
 * think it is. */
#include "hot/hot_redis_impl.h"

#include <stdlib.h>

#define SLICE    4096 /* points in one batch */
#define ATTEMPTS 8    /* times the cluster may change under one slice */
#define FULL_MS  1000 /* after a refusal so long hot counts as over its bound */
#define END      UINT32_MAX

static struct hot_redis_win *win_of(struct hot_redis_part *p, const struct hot_point *pt, struct err *err)
{
    int64_t start = window_start(pt->ts_ms, pt->step_ms);
    struct hot_redis_win *w = hot_redis_index_find(&p->index, pt->series, pt->step_ms, start);
    if (w)
        return w;
    if (hot_redis_series_text(p->hot, pt->series, pt->step_ms, &p->series, err) != OK)
        return NULL;
    hot_redis_window_key(p->hot, &p->series, start, p->number, &p->key);
    w = hot_redis_index_add(&p->index, pt->series, pt->step_ms, start);
    w->slot = redis_slot((const char *)p->key.data, p->key.len);
    p->value_bytes += hot_redis_value_bytes(window_slots(pt->step_ms)) + HOT_REDIS_KEY_BYTES;
    return w;
}

static struct hot_redis_op *op_of(struct hot_redis_part *p, struct hot_redis_win *w, uint64_t pos)
{
    if (w->call == p->calls)
        return &p->ops[w->op];
    if (p->nops == p->ops_cap) {
        p->ops_cap = p->ops_cap ? 2 * p->ops_cap : 1024;
        p->ops = xrealloc(p->ops, p->ops_cap * sizeof *p->ops);
    }
    w->call = p->calls;
    w->op = (uint32_t)p->nops;
    if (w->state == HOT_REDIS_NEW || w->state == HOT_REDIS_JUNK)
        w->lo = w->hi = pos;
    p->ops[p->nops] = (struct hot_redis_op){.w = w, .cell = END, .drop = w->state == HOT_REDIS_JUNK};
    return &p->ops[p->nops++];
}

/* A slot that comes twice is written once, with its later value. */
static void add_cell(struct hot_redis_part *p, struct hot_redis_op *op, uint16_t slot, double value)
{
    for (uint32_t i = op->cell; i != END; i = p->cells[i].next)
        if (p->cells[i].slot == slot) {
            p->cells[i].bits = hot_redis_cell(value);
            return;
        }
    if (p->ncells == p->cells_cap) {
        p->cells_cap = p->cells_cap ? 2 * p->cells_cap : 1024;
        p->cells = xrealloc(p->cells, p->cells_cap * sizeof *p->cells);
    }
    p->cells[p->ncells] = (struct hot_redis_cell){op->cell, slot, hot_redis_cell(value)};
    op->cell = (uint32_t)p->ncells++;
    op->ncells++;
}

/* Points by window. What a window has already (a record that comes again) is left out. */
static int gather(struct hot_redis_part *p, uint64_t pos, const struct hot_point *points, size_t n,
                  struct err *err)
{
    int rc = OK;
    p->calls++;
    p->nops = p->ncells = 0;
    pthread_mutex_lock(&p->mtx);
    for (size_t i = 0; i < n && rc == OK; i++) {
        struct hot_redis_win *w = win_of(p, &points[i], err);
        if (!w) {
            rc = ERR_NOT_FOUND;
            break;
        }
        p->late_points += w != hot_redis_index_head(&p->index, w->series);
        if (w->state >= HOT_REDIS_HELD && pos < w->hi)
            continue;
        add_cell(p, op_of(p, w, pos), (uint16_t)window_slot(points[i].ts_ms, points[i].step_ms),
                 points[i].value);
    }
    pthread_mutex_unlock(&p->mtx);
    return rc;
}

/* A window met for the first time may be there from an earlier life. It is built on only if its run holds
 * this position, for then it has everything from there to its end; in all other cases what it has is in
 * warm, or comes again after this. */
static int meet(struct hot_redis_part *p, uint64_t pos, struct err *err)
{
    size_t n = 0;
    if (p->nops > p->wins_cap) {
        p->wins_cap = p->nops + p->nops / 2;
        p->wins = xrealloc(p->wins, p->wins_cap * sizeof *p->wins);
    }
    for (size_t i = 0; i < p->nops; i++)
        if (p->ops[i].w->state == HOT_REDIS_NEW)
            p->wins[n++] = p->ops[i].w;
    if (n == 0)
        return OK;
    struct hot_redis_seen *seen = xmalloc(n * sizeof *seen);
    int rc = hot_redis_look(p, p->wins, n, seen, err);
    pthread_mutex_lock(&p->mtx);
    for (size_t i = 0; i < n && rc == OK; i++) {
        struct hot_redis_win *w = p->wins[i];
        const struct hot_redis_header *h = &seen[i].header;
        if (seen[i].status == OK && h->partition == p->number && h->nslots == window_slots(w->step_ms) &&
            h->lo <= pos && pos <= h->hi) {
            w->lo = h->lo;
            w->hi = h->hi;
            w->state = HOT_REDIS_HELD;
            w->version = ++p->versions;
            p->tried = h->hi > p->tried ? h->hi : p->tried;
        } else {
            p->ops[w->op].drop = seen[i].status != ERR_NOT_FOUND;
        }
    }
    pthread_mutex_unlock(&p->mtx);
    free(seen);
    return rc;
}

/* --- commands --------------------------------------------------------------------------------------------
 */

static void note_command(struct hot_redis_part *p, uint32_t op)
{
    if (p->batch.n > p->command_op_cap) {
        p->command_op_cap = 2 * p->batch.n;
        p->command_op = xrealloc(p->command_op, p->command_op_cap * sizeof *p->command_op);
    }
    p->command_op[p->batch.n - 1] = op;
}

static void put_set(struct redis_batch *b, uint32_t word, uint64_t v)
{
    redis_batch_arg(b, "SET", 3);
    redis_batch_arg(b, "i64", 3);
    redis_batch_numbered(b, '#', word);
    redis_batch_i64(b, (int64_t)v);
}

static void put_delete(struct hot_redis_part *p, uint16_t slot)
{
    redis_batch_begin(&p->batch, slot, 2);
    redis_batch_str(&p->batch, "DEL");
    redis_batch_arg(&p->batch, p->key.data, p->key.len);
    note_command(p, END);
}

/* The set of the series' windows is for those who do not have our index: before the window itself. */
static void put_member(struct hot_redis_part *p, const struct hot_redis_win *w)
{
    struct buf set = BUF_INIT;
    hot_redis_set_key(p->hot, &p->series, &set);
    redis_batch_begin(&p->batch, w->slot, 3); /* the hash tag is the same */
    redis_batch_str(&p->batch, "SADD");
    redis_batch_arg(&p->batch, set.data, set.len);
    redis_batch_i64(&p->batch, hot_redis_member(w->start_ms, w->step_ms, p->number));
    note_command(p, END);
    buf_release(&set);
}

static int put_op(struct hot_redis_part *p, uint32_t number, uint64_t pos, struct err *err)
{
    struct hot_redis_op *op = &p->ops[number];
    const struct hot_redis_win *w = op->w;
    uint32_t nslots = window_slots(w->step_ms);
    int rc = hot_redis_series_text(p->hot, w->series, w->step_ms, &p->series, err);
    if (rc != OK)
        return rc;
    hot_redis_window_key(p->hot, &p->series, w->start_ms, p->number, &p->key);
    op->fresh = w->state < HOT_REDIS_HELD;
    if (op->drop)
        put_delete(p, w->slot);
    if (op->fresh)
        put_member(p, w);
    redis_batch_begin(&p->batch, w->slot, 2 + 4 * (op->ncells + 1 + (op->fresh ? 3 : 0)));
    redis_batch_arg(&p->batch, "BITFIELD", 8);
    redis_batch_arg(&p->batch, p->key.data, p->key.len);
    put_set(&p->batch, 2, pos);
    if (op->fresh) {
        put_set(&p->batch, HOT_REDIS_HEADER_WORDS + nslots - 1, 0); /* makes it as long as it will be */
        put_set(&p->batch, 0, hot_redis_mark(p->number, nslots));
        put_set(&p->batch, 1, pos);
    }
    for (uint32_t i = op->cell; i != END; i = p->cells[i].next)
        put_set(&p->batch, HOT_REDIS_HEADER_WORDS + p->cells[i].slot, p->cells[i].bits);
    note_command(p, number);
    return OK;
}

struct writing {
    struct hot_redis_part *p;
    int status;
    struct err err;
};

static void on_written(void *ctx, size_t i, const redisReply *reply)
{
    struct writing *w = ctx;
    uint32_t op = w->p->command_op[i];
    if (reply->type == REDIS_REPLY_ERROR)
        w->status = redis_reply_error(reply, "write a window", &w->err);
    else if (op == END)
        return;
    else if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
             reply->element[0]->type == REDIS_REPLY_INTEGER)
        w->p->ops[op].old_hi = (uint64_t)reply->element[0]->integer;
    else
        w->status = err_set(&w->err, ERR_IO, "write a window: an answer of type %d", reply->type);
}

static int write_ops(struct hot_redis_part *p, uint64_t pos, struct err *err)
{
    struct writing w = {.p = p, .err = ERR_INIT};
    int rc = OK;
    redis_batch_clear(&p->batch);
    for (uint32_t i = 0; i < p->nops && rc == OK; i++)
        if (p->ops[i].w->state < HOT_REDIS_HELD || pos >= p->ops[i].w->hi)
            rc = put_op(p, i, pos, err);
        else
            p->ops[i].old_hi = p->ops[i].w->hi; /* met just now, and has it */
    if (rc != OK)
        return rc;
    p->tried = pos > p->tried ? pos : p->tried;
    rc = redis_cluster_exec(p->client, &p->batch, REDIS_STEADY, on_written, &w, err);
    if (rc == OK && w.status != OK) {
        *err = w.err;
        rc = w.status;
    }
    if (rc == ERR_NO_SPACE)
        atomic_store(&p->hot->full_until_ms, clock_mono_ms(p->hot->o.clock) + FULL_MS);
    return rc;
}

/* --- what was acknowledged -------------------------------------------------------------------------------
 */

static void ignore_reply(void *ctx, size_t i, const redisReply *reply) {}

/* Windows that were not as acknowledged when they were written: they go, and are made anew from their first
 * position. Their headers lie until then, so this comes before anything else. */
static int drop_broken(struct hot_redis_part *p, const struct hot_redis_op *const *broken, size_t n,
                       struct err *err)
{
    redis_batch_clear(&p->batch);
    for (size_t i = 0; i < n; i++) {
        struct hot_redis_win *w = broken[i]->w;
        const struct hot_redis_seen seen = {.status = ERR_CORRUPT};
        hot_redis_judge(p, w, &seen);
        int rc = hot_redis_series_text(p->hot, w->series, w->step_ms, &p->series, err);
        if (rc != OK)
            return rc;
        hot_redis_window_key(p->hot, &p->series, w->start_ms, p->number, &p->key);
        put_delete(p, w->slot);
    }
    int rc = redis_cluster_exec(p->client, &p->batch, REDIS_FOLLOW, ignore_reply, NULL, err);
    return rc == OK ? 1 : rc;
}

static int acknowledge(struct hot_redis_part *p, uint64_t pos, struct err *err)
{
    const struct hot_redis_op **broken = NULL;
    size_t nbroken = 0;
    pthread_mutex_lock(&p->mtx);
    for (size_t i = 0; i < p->nops; i++) {
        struct hot_redis_op *op = &p->ops[i];
        struct hot_redis_win *w = op->w;
        if (w->state >= HOT_REDIS_HELD && pos < w->hi)
            continue;
        if (!op->fresh && (op->old_hi < w->hi || op->old_hi > p->tried)) {
            broken = broken ? broken : xmalloc(p->nops * sizeof *broken);
            broken[nbroken++] = op;
            continue;
        }
        w->hi = pos;
        w->state = HOT_REDIS_HELD;
        w->version = ++p->versions;
    }
    pthread_mutex_unlock(&p->mtx);
    int rc = nbroken ? drop_broken(p, broken, nbroken, err) : OK;
    free(broken);
    return rc;
}

static int apply_slice(struct hot_redis_part *p, uint64_t pos, const struct hot_point *points, size_t n,
                       struct err *err)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        int rc = hot_redis_settle(p, err);
        if (rc == OK)
            rc = gather(p, pos, points, n, err);
        if (rc != OK)
            return rc;
        rc = meet(p, pos, err);
        if (rc == OK)
            rc = write_ops(p, pos, err);
        if (rc == OK)
            return acknowledge(p, pos, err);
        if (rc < 0)
            return rc;
    }
    return err_set(err, ERR_BUSY, "the Redis Cluster changes all the time");
}

static void note_applied(struct hot_redis_part *p, uint64_t pos)
{
    pthread_mutex_lock(&p->mtx);
    if (pos > p->hold_until)
        p->hold_from = UINT64_MAX;
    pthread_mutex_unlock(&p->mtx);
    atomic_store(&p->applied, pos);
    atomic_store(&p->gap, false);
}

int hot_redis_apply(struct hot *h, unsigned partition, uint64_t pos, const struct hot_point *points, size_t n,
                    struct err *err)
{
    struct hot_redis_part *p = &hot_redis_of(h)->parts[partition];
    int rc = OK;
    for (size_t from = 0; from < n && rc == OK; from += SLICE) {
        turn_take(&p->io);
        rc = apply_slice(p, pos, points + from, n - from < SLICE ? n - from : SLICE, err);
        if (rc == OK && from + SLICE >= n)
            note_applied(p, pos);
        turn_give(&p->io);
    }
    return rc;
}
