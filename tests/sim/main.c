/* See sim.h. The seed is printed first; the same options give the same run. */
#include "base/log.h"
#include "base/mem.h"

#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/sim.h"

#define TICK_SLOTS_MAX 120

uint64_t sim_random(struct sim *s)
{
    uint64_t z = (s->rng += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void print_options(const struct sim *s, FILE *to)
{
    fprintf(to, "--seed %llu --days %u --series %u%s", (unsigned long long)s->o.seed, s->o.days, s->o.series,
            s->o.rocksdb ? "" : " --warm mem");
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "day %.3f (slot %zu): ", (double)s->slot / MODEL_DAY, s->slot);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nagain with: sim ");
    print_options(s, stderr);
    fprintf(stderr, "\nleft in %s and %s\n", s->dir, s->w ? s->w->dir : "nothing");
    exit(1);
}

void sim_log(struct sim *s, const char *fmt, ...)
{
    va_list ap;
    if (!s->o.verbose)
        return;
    printf("day %8.3f  ", (double)s->slot / MODEL_DAY);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

void sim_name(unsigned series, char name[64])
{
    snprintf(name, 64, "sim.host%u.metric%u", series / SIM_HOST_SERIES, series % SIM_HOST_SERIES);
}

uint32_t sim_id(struct sim *s, unsigned series)
{
    char name[64];
    sim_name(series, name);
    return world_id(s->w, name);
}

/* --- one step in time --- */

static void checkpoint(struct sim *s)
{
    struct err err = ERR_INIT;
    if (sim_went_well(s, writer_checkpoint(s->w->writer, &err), &err, "checkpoint") && sim_once_in(s, 4))
        world_mark_warm(s->w);
}

static void flush(struct sim *s)
{
    struct err err = ERR_INIT;
    if (sim_went_well(s, writer_apply(s->w->writer, &err), &err, "apply"))
        (void)sim_went_well(s, writer_flush(s->w->writer, &err), &err, "flush");
}

static void move(struct sim *s)
{
    struct err err = ERR_INIT;
    (void)sim_went_well(s, mover_round(s->w->mover, &err), &err, "mover");
}

static void points(struct sim *s, size_t slots)
{
    sim_usual_points(s, slots);
    sim_odd_points(s, slots);
    sim_send(s);
    if (!sim_once_in(s, 20)) /* or the writer is behind */
        flush(s);
}

static void upkeep(struct sim *s, size_t slots)
{
    if (sim_every_days(s, 0.2, slots))
        checkpoint(s);
    if (sim_every_days(s, 1, slots))
        move(s);
    if (s->unbuilt && sim_every_days(s, 1, slots))
        sim_rebuild(s);
    if (sim_every_days(s, s->o.days / 12.0, slots))
        sim_rules_change(s);
}

static void mishaps(struct sim *s, size_t slots)
{
    if (sim_every_days(s, 1, slots))
        world_mark_warm(s->w);
    if (sim_every_days(s, 2, slots))
        sim_make_trouble(s);
    if (sim_every_days(s, 4, slots) || (s->trouble && sim_once_in(s, 10)))
        sim_restart(s);
}

static void check(struct sim *s, size_t slots)
{
    struct err err = ERR_INIT;
    if (!sim_every_days(s, s->o.days / 40.0, slots))
        return;
    if (s->trouble)
        sim_restart(s);
    if (writer_apply(s->w->writer, &err) != OK)
        sim_fail(s, "apply: %s", err.text);
    if (sim_once_in(s, 3))
        sim_check_all(s);
    else
        sim_check_some(s);
}

static void tick(struct sim *s)
{
    size_t slots = 1 + sim_below(s, TICK_SLOTS_MAX), left = s->m->nslots - s->slot;
    slots = slots < left ? slots : left;
    s->slot += slots;
    atomic_store(&s->w->clock.now_ms, sim_now_ms(s));
    mishaps(s, slots);
    points(s, slots);
    upkeep(s, slots);
    check(s, slots);
}

/* --- the run --- */

static void begin(struct sim *s)
{
    sim_rules_init(s);
    struct world_options o = sim_rules_options(s);
    bool small = s->o.days < 100;
    o.log = true;
    o.rocksdb = s->o.rocksdb;
    o.cold = true;
    o.seed = s->o.seed;
    o.now_ms = MODEL_T0;
    o.stream_segment_bytes = 1 << 20;
    o.stream_keep_ms = 3600000ll * (1 + sim_below(s, 48));
    o.pack_bytes = small ? 128 << 10 : 2 << 20;
    o.writer = (struct writer_options){.flush_delay_ms = 120000,
                                       .jitter_permille = 100,
                                       .round_ms = 10000,
                                       .max_unflushed_ms = 6 * 3600000ll,
                                       .checkpoint_ms = 60000};
    o.mover.after_ms = (small ? 2 : 30) * MODEL_DAY_MS;
    o.mover.slice_bytes = small ? 64 << 10 : 1 << 20;
    o.mover.compact_least = 3;
    sim_rules_begin(s);
    s->w = world_new(&o);
    sim_rules_started(s);
}

static void end(struct sim *s)
{
    if (s->trouble)
        sim_restart(s);
    flush(s);
    sim_check_all(s);
    world_stop(s->w);
    sim_rules_end(s);
    sim_rules_begin(s);
    world_start(s->w);
    sim_rules_started(s);
    sim_check_all(s);
    struct cold_verify_ctx v = {0};
    struct err err = ERR_INIT;
    if (cold_verify(s->w->cold, &v, &err) != OK)
        sim_fail(s, "packs: %s", err.text);
}

/* --- what was done --- */

static uint64_t counted(struct sim *s, const char *name)
{
    return counter_get(metrics_counter(s->w->metrics, name, NULL, ""));
}

static void report(struct sim *s, int64_t began_us)
{
    struct cold_stats cold;
    cold_get_stats(s->w->cold, &cold);
    const struct {
        const char *what;
        uint64_t n;
    } did[] = {
        {"points sent", s->did.points},
        {"late", s->did.late},
        {"the same again", s->did.again},
        {"with another value", s->did.rewrites},
        {"sent again after a crash", s->did.resent},
        {"starts", s->did.crashes},
        {"faults", s->did.faults},
        {"changes of rules", s->did.reloads},
        {"rebuilds", s->did.rebuilds},
        {"windows flushed", counted(s, "carat_windows_flushed_total")},
        {"roll-up slots kept", counted(s, "carat_rollup_slots_kept_total")},
        {"parts moved to cold", counted(s, "carat_mover_moved_parts_total")},
        {"packs merged", counted(s, "carat_mover_merged_packs_total")},
        {"packs expired", counted(s, "carat_cold_expired_packs_total")},
        {"packs at the end", cold.packs},
        {"points in them", cold.points},
        {"checks", s->did.checks},
        {"slots read", s->did.read},
    };
    for (size_t i = 0; i < ARRAY_LEN(did); i++)
        printf("%12llu %s\n", (unsigned long long)did[i].n, did[i].what);
    printf("%12.1f s, %.1f of them checks\n", (double)(clock_mono_us(clock_system()) - began_us) / 1e6,
           s->did.check_s);
}

static void run(const struct sim_options *o)
{
    struct sim s = {.o = *o, .rng = o->seed};
    int64_t began_us = clock_mono_us(clock_system());
    printf("sim ");
    print_options(&s, stdout);
    printf("\n");
    fflush(stdout);
    s.m = model_new(o->series, (size_t)o->days * MODEL_DAY);
    begin(&s);
    while (s.slot < s.m->nslots)
        tick(&s);
    end(&s);
    report(&s, began_us);
    world_free(s.w);
    sim_rules_end(&s);
    sim_rules_release(&s);
    model_free(s.m);
    free(s.batch.v);
    free(s.queue.v);
}

static void usage(void)
{
    fputs("usage: sim [--seed N] [--days N] [--series N] [--warm rocksdb|mem] [--verbose]\n", stderr);
    exit(2);
}

static struct sim_options options(int argc, char **argv)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},   {"days", required_argument, NULL, 'd'},
        {"series", required_argument, NULL, 'n'}, {"warm", required_argument, NULL, 'w'},
        {"verbose", no_argument, NULL, 'v'},      {0}};
    bool full = getenv("CARAT_LONG") != NULL;
    struct sim_options o = {.seed = (uint64_t)clock_wall_ms(clock_system()) ^ (uint64_t)getpid() << 40,
                            .days = full ? 400 : 40,
                            .series = full ? 200 : 20,
                            .rocksdb = true};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        if (c == 's')
            o.seed = strtoull(optarg, NULL, 10);
        else if (c == 'd')
            o.days = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'n')
            o.series = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'w' && (strcmp(optarg, "mem") == 0 || strcmp(optarg, "rocksdb") == 0))
            o.rocksdb = strcmp(optarg, "mem") != 0;
        else if (c == 'v')
            o.verbose = true;
        else
            usage();
    if (optind != argc || !o.days || !o.series)
        usage();
    return o;
}

int main(int argc, char **argv)
{
    struct sim_options o = options(argc, argv);
    if (!o.verbose)
        log_set_level((enum log_level)(LOG_ERROR + 1)); /* what goes wrong on purpose is not worth a line */
    run(&o);
    return 0;
}
