/* A run compressed in time: what agents send for months goes through the stream's log, the writer, hot, warm,
 * the mover and cold, by a clock that jumps, with crashes, late and repeated points, faults of the disk and
 * changes of the rules thrown in; and whatever is read is compared with a plain model.
 *
 * Everything happens in one thread, in an order that follows from the seed alone; only the log's commit and
 * RocksDB have threads of their own. */
#ifndef CARAT_TESTS_SIM_H
#define CARAT_TESTS_SIM_H

#include "base/buf.h"
#include "server/flush_gate.h"
#include "sim/model.h"
#include "sim/plain_rules.h"
#include "tier/world.h"

#define SIM_HOST_SERIES 8

struct sim_options {
    uint64_t seed;
    unsigned days, series;
    bool rocksdb;
    bool verbose;
};

struct sim_point {
    uint32_t series, slot;
    uint8_t version;
};
struct sim_points {
    struct sim_point *v;
    size_t n, cap;
};

/* A host that cannot reach the server; its points wait with it. */
struct sim_outage {
    unsigned host;
    size_t until; /* slot */
    bool on;
};

struct sim {
    struct sim_options o;
    uint64_t rng;
    struct world *w;
    struct model *m;
    size_t slot; /* now */
    /* traffic.c */
    struct sim_points batch; /* in the model, not acknowledged yet */
    struct sim_points queue; /* of an outage that is over */
    struct sim_outage outage;
    /* rules.c */
    char dir[64];
    struct plain_rules *rules;
    struct flush_gate gate;
    bool unbuilt; /* an archive waits for a rebuild */
    /* crashes.c */
    bool trouble; /* something is set to go wrong, so calls may fail */
    struct {
        uint64_t points, late, again, rewrites, resent, crashes, faults, reloads, rebuilds, replays, checks,
            read;
        double check_s;
    } did;
};

uint64_t sim_random(struct sim *s);
static inline uint32_t sim_below(struct sim *s, uint32_t n)
{
    return (uint32_t)((sim_random(s) >> 32) * n >> 32);
}
/* True about once in n. */
static inline bool sim_once_in(struct sim *s, double n)
{
    return (double)(sim_random(s) >> 11) * 0x1p-53 * n < 1;
}
/* Once in so many days, if asked each time the clock has moved by `slots`. */
static inline bool sim_every_days(struct sim *s, double days, size_t slots)
{
    return sim_once_in(s, days * MODEL_DAY / (double)slots);
}

/* Ends the run. */
_Noreturn void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline int64_t sim_now_ms(const struct sim *s)
{
    return model_ms(s->slot);
}
void sim_name(unsigned series, char name[64]);
uint32_t sim_id(struct sim *s, unsigned series); /* 0: never sent */
void sim_log(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- traffic.c: all of them put points into the batch and into the model --- */

/* What agents send for the slots before now, the last `slots` of them. */
void sim_usual_points(struct sim *s, size_t slots);
/* Some of: late ones of all ages, the same again, other values for slots that have one, a burst of one host;
 * and what an outage left, newest and oldest mixed. */
void sim_odd_points(struct sim *s, size_t slots);
/* Sends the batch, however often it takes. */
void sim_send(struct sim *s);

/* --- rules.c --- */

void sim_rules_init(struct sim *s); /* writes the first file; before the world is made */
void sim_rules_release(struct sim *s);
struct world_options sim_rules_options(struct sim *s); /* the callbacks */
void sim_rules_begin(struct sim *s);                   /* before a process starts */
void sim_rules_started(struct sim *s);
void sim_rules_end(struct sim *s);                                     /* after it ended */
const struct retention *sim_retention(struct sim *s, unsigned series); /* NULL: never sent */
/* Brings the model's promises up to now. */
void sim_rules_note(struct sim *s);
/* Other rules, by SIGHUP. Archives they add are made by a later rebuild. */
void sim_rules_change(struct sim *s);
void sim_rebuild(struct sim *s);

/* --- crashes.c --- */

/* What a call of the world returned: an error is fine only while there is trouble, and then means a restart.
 */
bool sim_went_well(struct sim *s, int rc, const struct err *err, const char *what);
/* Ends the process in one of the ways there are, and starts it again with everything applied. */
void sim_restart(struct sim *s);
/* Sets something to go wrong soon. */
void sim_make_trouble(struct sim *s);

/* --- check.c --- */

/* Everything, all archives. */
void sim_check_all(struct sim *s);
/* The last days of all series, and a stretch of one. */
void sim_check_some(struct sim *s);

#endif
