/* A plain model of what tiers hold, and parts to put into them.
 *
 * The stream of a window is a list of writes, at positions 1, 2, ...; each sets a slot to its own position. A
 * part is made from a run of them. By the rule of model/part.h whatever was put anywhere, a slot reads as the
 * latest write that any of the runs covers. */
#ifndef CARAT_TESTS_COLD_MODEL_H
#define CARAT_TESTS_COLD_MODEL_H

#include "codec/codec.h"
#include "model/part.h"
#include "warm/warm.h"

#include <stdbool.h>

#define MODEL_SERIES  5
#define MODEL_STEPS   2
#define MODEL_WINDOWS 80
#define MODEL_WRITES  12

static const uint32_t model_steps[MODEL_STEPS] = {60000, 1000};

struct model_window {
    uint16_t slot[MODEL_WRITES + 1]; /* by position */
    bool covered[MODEL_WRITES + 1];
};
struct model {
    uint64_t rng;
    struct model_window w[MODEL_STEPS][MODEL_SERIES][MODEL_WINDOWS];
};

static inline uint32_t model_below(struct model *m, uint32_t n)
{
    m->rng = m->rng * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((m->rng >> 33) % n);
}

static inline void model_init(struct model *m, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    m->rng = seed;
    for (int s = 0; s < MODEL_STEPS; s++)
        for (int i = 0; i < MODEL_SERIES; i++)
            for (int w = 0; w < MODEL_WINDOWS; w++)
                for (int p = 1; p <= MODEL_WRITES; p++)
                    m->w[s][i][w].slot[p] = (uint16_t)model_below(m, 6);
}

/* A part of the run lo..hi, its block appended to `blocks` (which must not move). */
static inline struct part model_part(struct model *m, int step, int series, int window, int lo, int hi,
                                     struct buf *blocks)
{
    struct slots s;
    slots_init(&s, window_slots(model_steps[step]));
    for (int p = lo; p <= hi; p++) {
        slot_set(s.present, m->w[step][series][window].slot[p]);
        s.value[m->w[step][series][window].slot[p]] = p;
    }
    size_t at = blocks->len;
    codec_encode(&(struct codec_in){s.n, s.present, s.value}, blocks);
    return (struct part){
        {(uint32_t)series, model_steps[step], window * window_span_ms(model_steps[step]), (uint64_t)hi},
        (uint64_t)lo,
        blocks->data + at,
        blocks->len - at};
}

/* A run to be put somewhere, noted as covered. It leaves no hole: what was flushed from the stream and what
 * is applied again after a crash begin at or before the end of what is stored. */
static inline void model_run(struct model *m, int step, int series, int window, int *lo, int *hi)
{
    bool *covered = m->w[step][series][window].covered;
    int next = 1;
    while (next <= MODEL_WRITES && covered[next])
        next++;
    *lo = 1 + (int)model_below(m, (uint32_t)(next < MODEL_WRITES ? next : MODEL_WRITES));
    *hi = *lo + (int)model_below(m, (uint32_t)(MODEL_WRITES - *lo + 1));
    for (int p = *lo; p <= *hi; p++)
        covered[p] = true;
}

/* What the slot reads as; 0: nothing. */
static inline int model_want(const struct model *m, int step, int series, int window, int slot)
{
    const struct model_window *w = &m->w[step][series][window];
    for (int p = MODEL_WRITES; p > 0; p--)
        if (w->covered[p] && w->slot[p] == slot)
            return p;
    return 0;
}

/* Lays parts as they come. A warm_part_fn; ctx is a model_view. */
struct model_view {
    int step, series;
    struct part_key last;
    struct slots window[MODEL_WINDOWS];
};
static inline int model_lay(void *ctx, const struct part *p)
{
    struct model_view *v = ctx;
    struct slots s;
    int64_t n = p->key.window_ms / window_span_ms(model_steps[v->step]);
    assert_int_equal(p->key.series, v->series);
    assert_int_equal(p->key.step_ms, model_steps[v->step]);
    assert_true(n >= 0 && n < MODEL_WINDOWS);
    assert_true(p->key.window_ms > v->last.window_ms ||
                (p->key.window_ms == v->last.window_ms && p->key.hi >= v->last.hi));
    v->last = p->key;
    slots_init(&s, window_slots(model_steps[v->step]));
    assert_int_equal(codec_decode(p->data, p->size, s.n, s.present, s.value, NULL), OK);
    if (!v->window[n].n)
        slots_init(&v->window[n], s.n);
    slots_overlay(&v->window[n], &s);
    return 0;
}

/* That the windows from..until-1 of a series are as the model says, and the others were not delivered. */
static inline void model_check_view(const struct model *m, const struct model_view *v, int from, int until)
{
    for (int w = 0; w < MODEL_WINDOWS; w++) {
        bool in = w >= from && w < until;
        for (int slot = 0; slot < 6; slot++) {
            int want = in ? model_want(m, v->step, v->series, w, slot) : 0;
            int got = v->window[w].n && slot_get(v->window[w].present, (size_t)slot)
                          ? (int)v->window[w].value[slot]
                          : 0;
            if (want != got)
                fail_msg("step %u series %d window %d slot %d: %d, not %d", model_steps[v->step], v->series,
                         w, slot, got, want);
        }
    }
}

#endif
