/* Is what Redis acknowledged still there?
 *
 * Replication is asynchronous: a replica that is promoted may lack the newest writes, and a node may come
 * back with nothing. Either shows as a slot whose node or connection changed. Before anything is built on
 * such a slot, the positions in the headers of our windows there are compared with those that were
 * acknowledged. */
#include "hot/hot_redis_impl.h"

#include <stdlib.h>

#define LOOK 1024 /* headers in one batch */

/* Positions after `from` have to be applied again. */
static void lose(struct hot_redis_part *p, const struct hot_redis_win *w, uint64_t from)
{
    struct hot_redis *r = p->hot;
    hot_redis_count(r->lost_windows, 1);
    if (!atomic_load(&p->lost) || log_allowed(&r->log, NULL))
        log_warn("hot", "Redis lost what it had acknowledged; it is applied again from the stream",
                 "partition=%u series=%u window=%lld acknowledged=%llu from=%llu", p->number, w->series,
                 (long long)w->start_ms, (unsigned long long)w->hi, (unsigned long long)from);
    p->lost_from = from < p->lost_from ? from : p->lost_from;
    pthread_mutex_lock(&p->mtx);
    p->hold_from = from < p->hold_from ? from : p->hold_from;
    p->hold_until = p->tried > p->hold_until ? p->tried : p->hold_until;
    pthread_mutex_unlock(&p->mtx);
    atomic_store(&p->gap, true);
    atomic_store(&p->lost, true);
}

static void remove_win(struct hot_redis_part *p, struct hot_redis_win *w)
{
    pthread_mutex_lock(&p->mtx);
    p->value_bytes -= hot_redis_value_bytes(window_slots(w->step_ms)) + HOT_REDIS_KEY_BYTES;
    hot_redis_index_remove(&p->index, w);
    pthread_mutex_unlock(&p->mtx);
}

bool hot_redis_judge(struct hot_redis_part *p, struct hot_redis_win *w, const struct hot_redis_seen *seen)
{
    const struct hot_redis_header *h = &seen->header;
    if (w->state == HOT_REDIS_NEW || w->state == HOT_REDIS_JUNK)
        return true;
    if (seen->status == ERR_NOT_FOUND) {
        bool left = w->state == HOT_REDIS_LEAVING; /* our own deletion, whose answer did not come */
        if (!left)
            lose(p, w, w->lo - 1);
        remove_win(p, w);
        return left;
    }
    bool ours = seen->status == OK && h->partition == p->number && h->lo == w->lo &&
                h->nslots == window_slots(w->step_ms);
    if (ours && h->hi >= w->hi && (h->hi == w->hi || h->hi <= p->tried))
        return true;
    bool older = ours && h->hi < w->hi;
    lose(p, w, older ? h->hi - 1 : w->lo - 1); /* its last record may be there in part */
    pthread_mutex_lock(&p->mtx);
    w->version = ++p->versions;
    if (older)
        w->hi = h->hi;
    else
        w->state = HOT_REDIS_JUNK;
    pthread_mutex_unlock(&p->mtx);
    return false;
}

void hot_redis_seen_from(struct hot_redis_seen *out, const redisReply *reply, struct err *err)
{
    struct err ignored;
    if (reply->type == REDIS_REPLY_NIL || (reply->type == REDIS_REPLY_STRING && reply->len == 0))
        out->status = ERR_NOT_FOUND;
    else if (reply->type == REDIS_REPLY_STRING)
        out->status = hot_redis_header_read((const uint8_t *)reply->str, reply->len, &out->header, &ignored);
    else if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "WRONGTYPE", 9) == 0)
        out->status = ERR_CORRUPT;
    else if (reply->type == REDIS_REPLY_ERROR)
        out->status = redis_reply_error(reply, "look at a window", err);
    else
        out->status = err_set(err, ERR_IO, "look at a window: an answer of type %d", reply->type);
}

struct looking {
    struct hot_redis_seen *seen;
    int status;
    struct err err;
};

static void on_header(void *ctx, size_t i, const redisReply *reply)
{
    struct looking *l = ctx;
    hot_redis_seen_from(&l->seen[i], reply, &l->err);
    if (l->seen[i].status < 0 && l->seen[i].status != ERR_NOT_FOUND && l->seen[i].status != ERR_CORRUPT)
        l->status = l->seen[i].status;
}

int hot_redis_look(struct hot_redis_part *p, struct hot_redis_win *const *wins, size_t n,
                   struct hot_redis_seen *seen, struct err *err)
{
    struct looking l = {.seen = seen, .err = ERR_INIT};
    redis_batch_clear(&p->batch);
    for (size_t i = 0; i < n; i++) {
        int rc = hot_redis_series_text(p->hot, wins[i]->series, wins[i]->step_ms, &p->series, err);
        if (rc != OK)
            return rc;
        hot_redis_window_key(p->hot, &p->series, wins[i]->start_ms, p->number, &p->key);
        redis_batch_begin(&p->batch, wins[i]->slot, 4);
        redis_batch_str(&p->batch, "GETRANGE");
        redis_batch_arg(&p->batch, p->key.data, p->key.len);
        redis_batch_str(&p->batch, "0");
        redis_batch_i64(&p->batch, HOT_REDIS_HEADER_BYTES - 1);
    }
    int rc = redis_cluster_exec(p->client, &p->batch, REDIS_STEADY, on_header, &l, err);
    if (rc == OK && l.status != OK) {
        *err = l.err;
        rc = l.status;
    }
    return rc;
}

static void reserve_wins(struct hot_redis_part *p, size_t n)
{
    if (n <= p->wins_cap)
        return;
    p->wins_cap = n + n / 2;
    p->wins = xrealloc(p->wins, p->wins_cap * sizeof *p->wins);
}

/* The windows in these slots into p->wins. */
static size_t wins_in(struct hot_redis_part *p, const uint64_t slots[REDIS_SLOT_WORDS])
{
    size_t n = 0;
    pthread_mutex_lock(&p->mtx);
    reserve_wins(p, p->index.windows);
    for (uint32_t s = hot_redis_index_next(&p->index, 0); s != UINT32_MAX;
         s = hot_redis_index_next(&p->index, s + 1))
        for (struct hot_redis_win *w = hot_redis_index_head(&p->index, s); w; w = w->next)
            if (slots[w->slot / 64] >> (w->slot % 64) & 1)
                p->wins[n++] = w;
    pthread_mutex_unlock(&p->mtx);
    return n;
}

static int verify(struct hot_redis_part *p, const uint64_t slots[REDIS_SLOT_WORDS], struct err *err)
{
    size_t n = wins_in(p, slots);
    struct hot_redis_seen *seen = xmalloc(LOOK * sizeof *seen);
    int rc = OK;
    for (size_t from = 0; from < n && rc == OK; from += LOOK) {
        size_t some = n - from < LOOK ? n - from : LOOK;
        rc = hot_redis_look(p, p->wins + from, some, seen, err);
        for (size_t i = 0; i < some && rc == OK; i++)
            hot_redis_judge(p, p->wins[from + i], &seen[i]);
    }
    free(seen);
    return rc;
}

int hot_redis_settle(struct hot_redis_part *p, struct err *err)
{
    struct clock *clock = p->hot->o.clock;
    int64_t until = clock_mono_ms(clock) + p->hot->o.timeout_ms;
    if (atomic_exchange(&p->suspect, false)) {
        uint64_t all[REDIS_SLOT_WORDS];
        memset(all, 0xff, sizeof all);
        redis_cluster_doubt(p->client, all);
    }
    while (redis_cluster_doubts(p->client)) {
        uint64_t slots[REDIS_SLOT_WORDS];
        redis_cluster_take_doubts(p->client, slots);
        int rc = verify(p, slots, err);
        if (rc == OK)
            continue;
        redis_cluster_doubt(p->client, slots);
        if (rc < 0)
            return rc;
        if (clock_mono_ms(clock) > until)
            return err_set(err, ERR_TIMEOUT, "the Redis Cluster does not come to rest");
    }
    return atomic_load(&p->lost) ? 1 : OK;
}

static void forget(struct hot_redis_part *p, uint64_t checkpoint)
{
    turn_take(&p->io);
    pthread_mutex_lock(&p->mtx);
    hot_redis_index_release(&p->index);
    p->value_bytes = 0;
    p->nstrays = 0;
    p->hold_from = UINT64_MAX;
    p->hold_until = 0;
    pthread_mutex_unlock(&p->mtx);
    p->tried = checkpoint;
    p->lost_from = UINT64_MAX;
    atomic_store(&p->applied, checkpoint);
    atomic_store(&p->lost, false);
    atomic_store(&p->gap, false);
    atomic_store(&p->suspect, false);
    turn_give(&p->io);
}

int hot_redis_begin(struct hot *h, unsigned partition, uint64_t checkpoint, struct err *err)
{
    forget(&hot_redis_of(h)->parts[partition], checkpoint);
    return OK;
}

/* With nothing applied no window is stray either: the new owner looks for those. */
void hot_redis_leave(struct hot *h, unsigned partition)
{
    forget(&hot_redis_of(h)->parts[partition], 0);
}

bool hot_redis_lost(struct hot *h, unsigned partition)
{
    struct hot_redis_part *p = &hot_redis_of(h)->parts[partition];
    return atomic_load_explicit(&p->lost, memory_order_relaxed) ||
           atomic_load_explicit(&p->suspect, memory_order_relaxed);
}

/* The gap stays until the first record is applied again: by then the owner has told its readers. */
int hot_redis_again(struct hot *h, unsigned partition, uint64_t checkpoint, uint64_t *from, struct err *err)
{
    struct hot_redis_part *p = &hot_redis_of(h)->parts[partition];
    turn_take(&p->io);
    int rc = hot_redis_settle(p, err);
    if (rc == 1) {
        *from = p->lost_from > checkpoint ? p->lost_from : checkpoint;
        p->lost_from = UINT64_MAX;
        atomic_store(&p->lost, false);
        rc = OK;
    }
    turn_give(&p->io);
    return rc;
}
