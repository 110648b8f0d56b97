/* Leases of partitions: several writer processes share them, and one that dies is replaced.
 *
 * A lease is a key "lease.<partition>" of a kv: who has it, an epoch that grows with every change of owner,
 * and a beat that the owner makes grow. Nobody compares clocks: whoever sees the same beat for ttl_ms on its
 * own clock may take the lease, and an owner that could not renew it for a little less than that does not use
 * it any more. Owners tell of themselves under "member.<owner>", so that each knows its fair share.
 *
 * doc/roles.md says why a process that does not know yet that it lost a lease does no harm. */
#ifndef CARAT_LEASE_LEASE_H
#define CARAT_LEASE_LEASE_H

#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "lease/kv.h"

#include <stdbool.h>
#include <stdint.h>

struct leases;

#define LEASE_OWNER_MAX 64

struct leases_options {
    struct kv *kv; /* borrowed */
    /* Names this process and stays the same when it is started again: what it had it takes back at once, so
     * no two may have the same. Letters, digits, '_' and '-'. */
    const char *owner;
    unsigned partitions;
    int64_t ttl_ms;      /* 0: 15 s; a dead owner's partitions are taken over after up to 1.5 times this */
    struct clock *clock; /* the monotonic one */
    struct metrics *metrics; /* may be NULL */
};

/* Has nothing yet. */
int leases_new(const struct leases_options *o, struct leases **out, struct err *err) must_check;
/* Renews, takes, gives: once, for who owns the time. An error means that the store could not be reached;
 * leases that are not renewed run out by themselves. */
int leases_tick(struct leases *l, struct err *err) must_check;
/* Does so in a thread, four times in ttl_ms. */
int leases_start(struct leases *l, struct err *err) must_check;
/* Gives everything back, so that others need not wait, and ends the thread. */
void leases_stop(struct leases *l);
void leases_free(struct leases *l);

/* Is the partition ours at this moment? Cheap, any thread. */
bool leases_own(struct leases *l, unsigned partition);
/* The epoch of our lease; 0 if it is not ours. */
uint64_t leases_epoch(struct leases *l, unsigned partition);

/* Reads a lease as it is stored; false: it is none. */
bool lease_parse(const char *value, uint64_t *epoch, char owner[LEASE_OWNER_MAX]);

/* What is known of a partition, for people. */
struct lease_view {
    char owner[LEASE_OWNER_MAX]; /* "": nobody */
    uint64_t epoch;
    int64_t seen_ms; /* since its last sign of life, as seen from here */
};
void leases_view(struct leases *l, unsigned partition, struct lease_view *out);

#endif
