#include "base/log.h"
#include "base/mem.h"
#include "lease/kv_impl.h"
#include "lease/kv_mem.h"
#include "lease/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TTL 10000

/* --- a store that fails when told --- */

struct bad_kv {
    struct kv base;
    struct kv *inner;
    bool away;        /* nothing answers */
    bool lose_answer; /* the next put is stored and then fails */
};

static struct bad_kv *bad(struct kv *kv)
{
    return container_of(kv, struct bad_kv, base);
}

static int away(struct err *err)
{
    return err_set(err, ERR_TIMEOUT, "the store is away");
}

static int bad_get(struct kv *kv, const char *key, struct buf *value, uint64_t *revision, struct err *err)
{
    return bad(kv)->away ? away(err) : kv_get(bad(kv)->inner, key, value, revision, err);
}

static int bad_put(struct kv *kv, const char *key, const char *value, uint64_t expected, uint64_t *revision,
                   struct err *err)
{
    struct bad_kv *b = bad(kv);
    uint64_t hidden;
    if (b->away)
        return away(err);
    if (!b->lose_answer)
        return kv_put(b->inner, key, value, expected, revision, err);
    b->lose_answer = false;
    (void)!kv_put(b->inner, key, value, expected, &hidden, err);
    return away(err);
}

static int bad_remove(struct kv *kv, const char *key, struct err *err)
{
    return bad(kv)->away ? away(err) : kv_remove(bad(kv)->inner, key, err);
}

static int bad_list(struct kv *kv, const char *prefix, kv_entry_fn fn, void *ctx, struct err *err)
{
    return bad(kv)->away ? away(err) : kv_list(bad(kv)->inner, prefix, fn, ctx, err);
}

static void bad_free(struct kv *kv) {}

static void bad_init(struct bad_kv *b, struct kv *inner)
{
    static const struct kv_ops ops = {"bad", bad_get, bad_put, bad_remove, bad_list, bad_free};
    *b = (struct bad_kv){.base = {&ops}, .inner = inner};
}

/* --- owners --- */

struct owner {
    char name[16];
    struct bad_kv kv;
    struct clock_fake clock;
    struct leases *l;
};

static void join(struct owner *o, struct kv *kv, const char *name, unsigned partitions)
{
    struct err err = ERR_INIT;
    snprintf(o->name, sizeof o->name, "%s", name);
    bad_init(&o->kv, kv);
    clock_fake_init(&o->clock, 1000000);
    const struct leases_options opts = {
        .kv = &o->kv.base, .owner = name, .partitions = partitions, .ttl_ms = TTL, .clock = &o->clock.base};
    assert_int_equal(leases_new(&opts, &o->l, &err), OK);
}

static void tick(struct owner *o)
{
    struct err err = ERR_INIT;
    if (leases_tick(o->l, &err) != OK)
        fail_msg("%s: %s", o->name, err.text);
}

static void later(struct owner *o, int64_t ms)
{
    atomic_fetch_add(&o->clock.now_ms, ms);
}

static unsigned held(struct owner *o, unsigned partitions)
{
    unsigned n = 0;
    for (unsigned p = 0; p < partitions; p++)
        n += leases_own(o->l, p);
    return n;
}

static void one_owner_takes_everything_at_once(void **state)
{
    struct kv *kv = kv_mem_new(clock_system());
    struct owner a;
    join(&a, kv, "a", 5);
    assert_int_equal(held(&a, 5), 0);
    tick(&a);
    assert_int_equal(held(&a, 5), 5);
    assert_int_equal(leases_epoch(a.l, 3), 1);
    struct lease_view v;
    leases_view(a.l, 3, &v);
    assert_string_equal(v.owner, "a");
    leases_free(a.l);
    kv_free(kv);
}

static void two_share_and_never_have_the_same(void **state)
{
    struct kv *kv = kv_mem_new(clock_system());
    struct owner a, b;
    join(&a, kv, "a", 5);
    join(&b, kv, "b", 5);
    tick(&a);
    for (int i = 0; i < 20; i++) {
        tick(&b);
        tick(&a);
        for (unsigned p = 0; p < 5; p++)
            assert_false(leases_own(a.l, p) && leases_own(b.l, p));
        later(&a, TTL / 4);
        later(&b, TTL / 4);
    }
    assert_int_equal(held(&a, 5) + held(&b, 5), 5);
    assert_int_equal(held(&a, 5), 3);
    leases_free(a.l);
    leases_free(b.l);
    kv_free(kv);
}

static void a_dead_owner_is_replaced_not_sooner_than_it_stops(void **state)
{
    struct kv *kv = kv_mem_new(clock_system());
    struct owner a, b;
    join(&a, kv, "a", 2);
    join(&b, kv, "b", 2);
    tick(&a);
    tick(&b);
    assert_int_equal(held(&b, 2), 0);
    int64_t waited = 0;
    while (held(&b, 2) < 2) { /* a does nothing any more */
        later(&a, TTL / 4);
        later(&b, TTL / 4);
        waited += TTL / 4;
        assert_true(waited <= TTL + TTL / 2);
        tick(&b);
        if (held(&b, 2))
            assert_int_equal(held(&a, 2), 0);
    }
    assert_int_equal(leases_epoch(b.l, 0), 2);
    /* a wakes up: it has nothing, and is told so. */
    assert_false(leases_own(a.l, 0));
    tick(&a);
    assert_int_equal(held(&a, 2), 0);
    leases_free(a.l);
    leases_free(b.l);
    kv_free(kv);
}

static void a_restarted_owner_takes_back_what_it_had(void **state)
{
    struct kv *kv = kv_mem_new(clock_system());
    struct owner a, again;
    join(&a, kv, "a", 3);
    tick(&a);
    leases_free(a.l); /* killed */
    join(&again, kv, "a", 3);
    tick(&again);
    assert_int_equal(held(&again, 3), 3);
    assert_int_equal(leases_epoch(again.l, 0), 2);
    leases_free(again.l);
    kv_free(kv);
}

static void who_stops_in_order_is_replaced_at_once(void **state)
{
    struct kv *kv = kv_mem_new(clock_system());
    struct owner a, b;
    join(&a, kv, "a", 3);
    join(&b, kv, "b", 3);
    tick(&a);
    tick(&b);
    leases_stop(a.l);
    assert_int_equal(held(&a, 3), 0);
    tick(&b);
    assert_int_equal(held(&b, 3), 3);
    leases_free(a.l);
    leases_free(b.l);
    kv_free(kv);
}

static void without_the_store_leases_run_out_and_come_back(void **state)
{
    struct kv *kv = kv_mem_new(clock_system());
    struct owner a;
    struct err err = ERR_INIT;
    join(&a, kv, "a", 2);
    tick(&a);
    a.kv.away = true;
    later(&a, TTL / 2);
    assert_true(leases_tick(a.l, &err) < 0);
    assert_int_equal(held(&a, 2), 2);
    later(&a, TTL / 2);
    assert_int_equal(held(&a, 2), 0);
    a.kv.away = false;
    tick(&a);
    assert_int_equal(held(&a, 2), 2);
    assert_int_equal(leases_epoch(a.l, 0), 1); /* nobody else was there */
    leases_free(a.l);
    kv_free(kv);
}

static void a_lost_answer_costs_nothing(void **state)
{
    struct kv *kv = kv_mem_new(clock_system());
    struct owner a;
    struct err err = ERR_INIT;
    join(&a, kv, "a", 1);
    tick(&a);
    a.kv.lose_answer = true;
    assert_true(leases_tick(a.l, &err) < 0);
    tick(&a);
    assert_int_equal(held(&a, 1), 1);
    assert_int_equal(leases_epoch(a.l, 0), 1);
    leases_free(a.l);
    kv_free(kv);
}

static void an_owner_needs_a_name(void **state)
{
    struct leases *l;
    struct err err = ERR_INIT;
    struct leases_options o = {.owner = "a.b", .partitions = 1, .clock = clock_system()};
    assert_int_equal(leases_new(&o, &l, &err), ERR_INVALID);
    o.owner = "";
    assert_int_equal(leases_new(&o, &l, &err), ERR_INVALID);
}

/* Owners whose clocks run up to 5 % apart, that hang, die, come back and cannot reach the store: no partition
 * is ever two owners', and when all is well again every partition is somebody's. */
#define OWNERS     4
#define PARTITIONS 7
static void no_partition_is_ever_two_owners(void **state)
{
    unsigned seed = (unsigned)clock_mono_us(clock_system());
    print_message("# seed %u\n", seed);
    srand(seed);
    struct kv *kv = kv_mem_new(clock_system());
    struct owner o[OWNERS];
    int hangs[OWNERS] = {0};
    const double rate[OWNERS] = {0.95, 1.0, 1.05, 1.02};
    static const char *const names[OWNERS] = {"a", "b", "c", "d"};
    for (int i = 0; i < OWNERS; i++)
        join(&o[i], kv, names[i], PARTITIONS);
    int steps = getenv("CARAT_LONG") ? 200000 : 5000;
    for (int step = 0; step < steps; step++) {
        bool calm = step > steps - 200; /* at the end */
        for (int i = 0; i < OWNERS; i++) {
            struct err err = ERR_INIT;
            later(&o[i], (int64_t)(rate[i] * TTL / 8));
            if (calm) {
                hangs[i] = 0;
                o[i].kv.away = false;
            } else if (rand() % 100 == 0) {
                hangs[i] = rand() % 30;
            } else if (rand() % 100 == 0) {
                o[i].kv.away = !o[i].kv.away;
            } else if (rand() % 50 == 0) {
                o[i].kv.lose_answer = true;
            } else if (rand() % 300 == 0) { /* killed and started again */
                leases_free(o[i].l);
                join(&o[i], kv, names[i], PARTITIONS);
            }
            if (hangs[i] == 0 && rand() % 4)
                (void)!leases_tick(o[i].l, &err);
            hangs[i] -= hangs[i] > 0;
        }
        for (unsigned p = 0; p < PARTITIONS; p++) {
            int owners = 0;
            for (int i = 0; i < OWNERS; i++)
                owners += leases_own(o[i].l, p);
            assert_true(owners <= 1);
            if (step == steps - 1)
                assert_int_equal(owners, 1);
        }
    }
    for (int i = 0; i < OWNERS; i++)
        leases_free(o[i].l);
    kv_free(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_owner_takes_everything_at_once),
        cmocka_unit_test(two_share_and_never_have_the_same),
        cmocka_unit_test(a_dead_owner_is_replaced_not_sooner_than_it_stops),
        cmocka_unit_test(a_restarted_owner_takes_back_what_it_had),
        cmocka_unit_test(who_stops_in_order_is_replaced_at_once),
        cmocka_unit_test(without_the_store_leases_run_out_and_come_back),
        cmocka_unit_test(a_lost_answer_costs_nothing),
        cmocka_unit_test(an_owner_needs_a_name),
        cmocka_unit_test(no_partition_is_ever_two_owners),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
