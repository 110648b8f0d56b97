/* How a process ends, and what goes wrong before. */
#include "warm/warm_fault.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "sim/sim.h"

/* Operations of the disk: some tens of them are one flush of the stream or one pack. */
#define SOON 80

static void clear_trouble(struct sim *s)
{
    sim_fs_cut_after(s->w->disk, 0);
    for (int kind = 0; kind < SIM_FAULTS; kind++)
        sim_fs_fail(s->w->disk, (enum sim_fault)kind, 0);
    s->trouble = false;
}

static void fault_of_warm(struct sim *s)
{
    static const int codes[] = {ERR_BUSY, ERR_IO};
    warm_fault_add(s->w->faults, &(struct warm_fault_rule){
                                     .op = (enum warm_fault_op)sim_below(s, WARM_FAULT_OPS),
                                     .first = 1 + sim_below(s, 4),
                                     .count = 1 + sim_below(s, 3),
                                     .code = codes[sim_below(s, 2)],
                                     .after = sim_below(s, 2),
                                 });
}

void sim_make_trouble(struct sim *s)
{
    unsigned soon = 1 + sim_below(s, SOON);
    if (s->trouble)
        return;
    s->trouble = true;
    s->did.faults++;
    switch (sim_below(s, 4)) {
    case 0:
        sim_fs_cut_after(s->w->disk, soon);
        break;
    case 1:
        sim_fs_kill_after(s->w->disk, soon);
        break;
    case 2:
        sim_fs_fail(s->w->disk, (enum sim_fault)sim_below(s, SIM_FAULTS), soon);
        break;
    default:
        fault_of_warm(s);
    }
}

static void start(struct sim *s)
{
    struct err err = ERR_INIT;
    s->w->o.lanes = 1 + sim_below(s, 3);
    sim_rules_begin(s);
    world_start(s->w);
    sim_rules_started(s);
    if (writer_apply(s->w->writer, &err) != OK)
        sim_fail(s, "catching up: %s", err.text);
}

void sim_restart(struct sim *s)
{
    uint32_t how = sim_below(s, 4);
    s->did.crashes++;
    sim_log(s, "restart%s", s->trouble ? " out of trouble" : "");
    if (how == 0 && !s->trouble)
        world_stop(s->w);
    else
        world_crash(s->w, how == 1 ? WORLD_KILL : WORLD_CUT);
    clear_trouble(s);
    sim_rules_end(s);
    start(s);
}

bool sim_went_well(struct sim *s, int rc, const struct err *err, const char *what)
{
    if (rc == OK)
        return true;
    if (!s->trouble)
        sim_fail(s, "%s: %s %s", what, status_name(rc), err->text);
    sim_restart(s);
    return false;
}
