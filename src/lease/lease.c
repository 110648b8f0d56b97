#include "lease/lease.h"

#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TTL_MS      15000
#define TICKS       4   /* in a ttl */
#define SAFE        0.8 /* of the ttl: how long an owner uses what it could not renew */
#define MEMBERS_MAX 256
#define FORGET      20 /* ttls after which a silent member's key is removed */

struct member {
    char key[KV_KEY_MAX];
    uint64_t revision;
    int64_t changed_ms; /* when this was seen first */
    bool seen;          /* in the look under way */
};

struct lease {
    /* as last read; owned by who ticks, written under mu for leases_view */
    char owner[LEASE_OWNER_MAX];
    uint64_t epoch, beat, revision;
    int64_t changed_ms; /* when this was seen first */
    bool known;
    bool mine, leaving; /* leaving: not used any more, given back at the next tick */
    /* any thread */
    _Atomic int64_t good_until_ms; /* 0: not ours */
    _Atomic uint64_t our_epoch;
};

struct leases {
    struct leases_options o;
    char *owner;
    pthread_mutex_t mu;
    struct lease *v;
    struct member members[MEMBERS_MAX];
    size_t nmembers;
    uint64_t beat, member_revision;
    struct counter *taken, *lost;
    struct gauge *held;
    struct log_limit log;
    pthread_t thread;
    bool runs;
    pthread_mutex_t wake_mu;
    pthread_cond_t wake;
    bool stopping; /* under wake_mu */
};

static int64_t now_ms(const struct leases *l)
{
    return clock_mono_ms(l->o.clock);
}

/* --- values --- */

static void lease_key(unsigned partition, char key[KV_KEY_MAX])
{
    snprintf(key, KV_KEY_MAX, "lease.%u", partition);
}

/* "<epoch> <beat> <owner>"; the owner may be empty. */
static int parse(const char *text, struct lease *out)
{
    char *end;
    errno = 0;
    uint64_t epoch = strtoull(text, &end, 10);
    if (end == text || *end != ' ' || errno)
        return -1;
    text = end + 1;
    uint64_t beat = strtoull(text, &end, 10);
    if (end == text || *end != ' ' || errno || strlen(end + 1) >= LEASE_OWNER_MAX)
        return -1;
    out->epoch = epoch;
    out->beat = beat;
    snprintf(out->owner, sizeof out->owner, "%s", end + 1);
    return 0;
}

/* Stores it and takes over what is stored. */
static int store(struct leases *l, unsigned p, const char *owner, uint64_t epoch, uint64_t beat,
                 struct err *err)
{
    struct lease *x = &l->v[p];
    char key[KV_KEY_MAX], text[LEASE_OWNER_MAX + 64];
    uint64_t revision;
    lease_key(p, key);
    snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %s", epoch, beat, owner);
    int rc = kv_put(l->o.kv, key, text, x->revision, &revision, err);
    if (rc != OK)
        return rc;
    pthread_mutex_lock(&l->mu);
    snprintf(x->owner, sizeof x->owner, "%s", owner);
    x->epoch = epoch;
    x->beat = beat;
    x->revision = revision;
    x->changed_ms = now_ms(l);
    x->known = true;
    pthread_mutex_unlock(&l->mu);
    return OK;
}

static int look(struct leases *l, unsigned p, struct err *err)
{
    struct lease *x = &l->v[p], read = {.owner = ""};
    struct buf value = BUF_INIT;
    char key[KV_KEY_MAX];
    lease_key(p, key);
    int rc = kv_get(l->o.kv, key, &value, &read.revision, err);
    if (rc == OK && parse(buf_str(&value), &read) < 0)
        rc = err_set(err, ERR_CORRUPT, "%s is no lease: %.60s", key, buf_str(&value));
    buf_release(&value);
    if (rc != OK && rc != ERR_NOT_FOUND)
        return rc;
    pthread_mutex_lock(&l->mu);
    if (!x->known || x->revision != read.revision)
        x->changed_ms = now_ms(l);
    x->known = true;
    memcpy(x->owner, read.owner, sizeof x->owner);
    x->epoch = read.epoch;
    x->beat = read.beat;
    x->revision = read.revision;
    pthread_mutex_unlock(&l->mu);
    return OK;
}

/* --- members --- */

static int announce(struct leases *l, struct err *err)
{
    char key[KV_KEY_MAX], text[32];
    snprintf(key, sizeof key, "member.%s", l->owner);
    int rc = OK;
    snprintf(text, sizeof text, "%" PRIu64, ++l->beat);
    for (int i = 0; i < 3; i++) {
        struct buf value = BUF_INIT;
        rc = kv_put(l->o.kv, key, text, l->member_revision, &l->member_revision, err);
        if (rc != ERR_LOCKED)
            break;
        rc = kv_get(l->o.kv, key, &value, &l->member_revision, err); /* of our life before */
        buf_release(&value);
        if (rc != OK && rc != ERR_NOT_FOUND)
            break;
    }
    return rc;
}

static struct member *member_of(struct leases *l, const char *key)
{
    for (size_t i = 0; i < l->nmembers; i++)
        if (strcmp(l->members[i].key, key) == 0)
            return &l->members[i];
    if (l->nmembers == MEMBERS_MAX)
        return NULL;
    struct member *m = &l->members[l->nmembers++];
    *m = (struct member){.changed_ms = now_ms(l)};
    snprintf(m->key, sizeof m->key, "%s", key);
    return m;
}

static int meet(void *ctx, const struct kv_entry *e)
{
    struct leases *l = ctx;
    struct member *m = member_of(l, e->key);
    if (!m)
        return 0;
    m->seen = true;
    if (m->revision != e->revision)
        m->changed_ms = now_ms(l);
    m->revision = e->revision;
    return 0;
}

static bool alive(const struct leases *l, const struct member *m)
{
    return now_ms(l) - m->changed_ms < l->o.ttl_ms;
}

/* Who is there; those silent for long are struck off. */
static int meet_all(struct leases *l, struct err *err)
{
    for (size_t i = 0; i < l->nmembers; i++)
        l->members[i].seen = false;
    int rc = kv_list(l->o.kv, "member.", meet, l, err);
    if (rc != OK)
        return rc;
    size_t n = 0;
    for (size_t i = 0; i < l->nmembers; i++) {
        struct member *m = &l->members[i];
        if (m->seen && now_ms(l) - m->changed_ms > FORGET * l->o.ttl_ms) {
            rc = kv_remove(l->o.kv, m->key, err);
            if (rc != OK)
                return rc;
        } else if (m->seen) {
            l->members[n++] = *m;
        }
    }
    l->nmembers = n;
    return OK;
}

/* At most so many of the partitions are ours. */
static unsigned fair_share(const struct leases *l)
{
    unsigned n = 0;
    for (size_t i = 0; i < l->nmembers; i++)
        n += alive(l, &l->members[i]);
    n = n ? n : 1;
    return (l->o.partitions + n - 1) / n;
}

/* --- leases --- */

static void hold(struct leases *l, struct lease *x, int64_t since_ms)
{
    x->mine = true;
    atomic_store(&x->our_epoch, x->epoch);
    atomic_store(&x->good_until_ms, since_ms + (int64_t)(SAFE * (double)l->o.ttl_ms));
}

static void let_go(struct lease *x)
{
    atomic_store(&x->good_until_ms, 0);
    atomic_store(&x->our_epoch, 0);
    x->mine = x->leaving = false;
}

static void count(struct counter *c)
{
    if (c)
        counter_add(c, 1);
}

/* A write of ours whose answer was lost looks like somebody else's, but nobody else keeps owner and epoch. */
static bool still_ours(struct leases *l, const struct lease *x)
{
    return strcmp(x->owner, l->owner) == 0 && x->epoch == atomic_load(&x->our_epoch);
}

static int renew_once(struct leases *l, unsigned p, struct err *err)
{
    struct lease *x = &l->v[p];
    int64_t since = now_ms(l); /* before the request: our time ends before that of those who watch */
    int rc = store(l, p, x->leaving ? "" : l->owner, x->epoch, x->beat + 1, err);
    if (rc == OK && x->leaving) {
        let_go(x);
        log_info("lease", "partition given back", "partition=%u epoch=%" PRIu64, p, x->epoch);
    } else if (rc == OK) {
        hold(l, x, since);
    }
    return rc;
}

/* Ours: still? */
static int renew(struct leases *l, unsigned p, struct err *err)
{
    struct lease *x = &l->v[p];
    int rc = renew_once(l, p, err);
    if (rc != ERR_LOCKED)
        return rc;
    rc = look(l, p, err);
    if (rc == OK && still_ours(l, x))
        rc = renew_once(l, p, err);
    else if (rc == OK)
        rc = ERR_LOCKED;
    if (rc != ERR_LOCKED)
        return rc;
    let_go(x);
    count(l->lost);
    log_warn("lease", "partition lost to another writer", "partition=%u", p);
    return OK;
}

static int take(struct leases *l, unsigned p, struct err *err)
{
    struct lease *x = &l->v[p];
    char before[LEASE_OWNER_MAX];
    memcpy(before, x->owner, sizeof before);
    int64_t since = now_ms(l);
    int rc = store(l, p, l->owner, x->epoch + 1, 0, err);
    if (rc == OK) {
        hold(l, x, since);
        count(l->taken);
        log_info("lease", "partition taken", "partition=%u epoch=%" PRIu64 " before=%s", p, x->epoch,
                 before[0] ? before : "nobody");
    }
    return rc == ERR_LOCKED ? look(l, p, err) : rc;
}

static bool is_free(const struct leases *l, const struct lease *x)
{
    if (!x->owner[0] || strcmp(x->owner, l->owner) == 0) /* nobody's, or ours in a life before */
        return true;
    return now_ms(l) - x->changed_ms >= l->o.ttl_ms;
}

static unsigned count_mine(const struct leases *l)
{
    unsigned n = 0;
    for (unsigned p = 0; p < l->o.partitions; p++)
        n += l->v[p].mine && !l->v[p].leaving;
    return n;
}

/* Another alive member has less than its share: one more of ours is given back, and not used from now on. */
static void give_one_back(struct leases *l, unsigned share)
{
    if (count_mine(l) <= share)
        return;
    for (unsigned p = l->o.partitions; p-- > 0;)
        if (l->v[p].mine && !l->v[p].leaving) {
            l->v[p].leaving = true;
            atomic_store(&l->v[p].good_until_ms, 0);
            return;
        }
}

int leases_tick(struct leases *l, struct err *err)
{
    int rc = OK;
    /* What we have comes first: the rest may take its time. */
    for (unsigned p = 0; p < l->o.partitions; p++) {
        int one = l->v[p].mine ? renew(l, p, err) : OK;
        rc = rc == OK ? one : rc;
    }
    if (rc == OK)
        rc = announce(l, err);
    if (rc == OK)
        rc = meet_all(l, err);
    unsigned share = fair_share(l);
    for (unsigned p = 0; p < l->o.partitions && rc == OK; p++) {
        struct lease *x = &l->v[p];
        rc = x->mine ? OK : look(l, p, err);
        if (rc == OK && !x->mine && count_mine(l) < share && is_free(l, x))
            rc = take(l, p, err);
    }
    if (rc == OK)
        give_one_back(l, share);
    if (l->held)
        gauge_set(l->held, count_mine(l));
    return rc;
}

bool lease_parse(const char *value, uint64_t *epoch, char owner[LEASE_OWNER_MAX])
{
    struct lease x;
    if (parse(value, &x) < 0)
        return false;
    *epoch = x.epoch;
    memcpy(owner, x.owner, LEASE_OWNER_MAX);
    return true;
}

bool leases_own(struct leases *l, unsigned partition)
{
    return now_ms(l) < atomic_load_explicit(&l->v[partition].good_until_ms, memory_order_acquire);
}

uint64_t leases_epoch(struct leases *l, unsigned partition)
{
    return leases_own(l, partition) ? atomic_load(&l->v[partition].our_epoch) : 0;
}

void leases_view(struct leases *l, unsigned partition, struct lease_view *out)
{
    struct lease *x = &l->v[partition];
    pthread_mutex_lock(&l->mu);
    *out = (struct lease_view){.epoch = x->epoch, .seen_ms = now_ms(l) - x->changed_ms};
    memcpy(out->owner, x->owner, sizeof out->owner);
    pthread_mutex_unlock(&l->mu);
}

/* --- life --- */

/* True when stopping. */
static bool rest(struct leases *l, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&l->wake_mu);
    while (!l->stopping && pthread_cond_timedwait(&l->wake, &l->wake_mu, &until) != ETIMEDOUT)
        ;
    bool stopping = l->stopping;
    pthread_mutex_unlock(&l->wake_mu);
    return stopping;
}

static void *main_loop(void *arg)
{
    struct leases *l = arg;
    do {
        struct err err = ERR_INIT;
        if (leases_tick(l, &err) != OK && log_allowed(&l->log, NULL))
            log_warn("lease", "leases were not renewed, trying again", "why=\"%s\"", err.text);
    } while (!rest(l, l->o.ttl_ms / TICKS));
    return NULL;
}

int leases_start(struct leases *l, struct err *err)
{
    int rc = pthread_create(&l->thread, NULL, main_loop, l);
    l->runs = rc == 0;
    return rc ? err_sys(err, ERR_FAILED, rc, "start the thread of the leases") : OK;
}

void leases_stop(struct leases *l)
{
    pthread_mutex_lock(&l->wake_mu);
    l->stopping = true;
    pthread_cond_broadcast(&l->wake);
    pthread_mutex_unlock(&l->wake_mu);
    if (l->runs)
        pthread_join(l->thread, NULL);
    l->runs = false;
    for (unsigned p = 0; p < l->o.partitions; p++) {
        struct err ignored = ERR_INIT;
        if (!l->v[p].mine)
            continue;
        l->v[p].leaving = true;
        atomic_store(&l->v[p].good_until_ms, 0);
        if (renew(l, p, &ignored) != OK)
            let_go(&l->v[p]);
    }
    char key[KV_KEY_MAX];
    struct err ignored = ERR_INIT;
    snprintf(key, sizeof key, "member.%s", l->owner);
    if (l->member_revision && kv_remove(l->o.kv, key, &ignored) != OK)
        log_warn("lease", "others will wait before they take over", "why=\"%s\"", ignored.text);
    l->member_revision = 0;
}

static bool good_owner(const char *owner)
{
    size_t n = strspn(owner, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return n > 0 && n < LEASE_OWNER_MAX && owner[n] == 0;
}

int leases_new(const struct leases_options *o, struct leases **out, struct err *err)
{
    assert(o->partitions > 0);
    if (!good_owner(o->owner))
        return err_set(err, ERR_INVALID, "%.80s cannot name an owner of leases: letters, digits, _ and - can",
                       o->owner);
    struct leases *l = xcalloc(1, sizeof *l);
    pthread_condattr_t attr;
    l->o = *o;
    l->o.ttl_ms = o->ttl_ms ? o->ttl_ms : TTL_MS;
    l->owner = xstrdup(o->owner);
    l->v = xcalloc(o->partitions, sizeof *l->v);
    pthread_mutex_init(&l->mu, NULL);
    pthread_mutex_init(&l->wake_mu, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (o->metrics) {
        l->taken = metrics_counter(o->metrics, "carat_leases_taken_total", NULL,
                                   "Partitions this writer took, at its start or from others.");
        l->lost = metrics_counter(o->metrics, "carat_leases_lost_total", NULL,
                                  "Partitions another writer took from this one.");
        l->held = metrics_gauge(o->metrics, "carat_leases_held", NULL, "Partitions this writer has.");
    }
    *out = l;
    return OK;
}

void leases_free(struct leases *l)
{
    if (!l)
        return;
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->wake_mu);
    pthread_mutex_destroy(&l->mu);
    free(l->v);
    free(l->owner);
    free(l);
}
