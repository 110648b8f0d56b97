#include "server/flush_gate.h"

/* What passed a door under the rules before is in the stream so long after they ended. */
#define SETTLE_MS 1000

void flush_gate_init(struct flush_gate *g, struct stream *stream, struct writer *writer, unsigned lanes,
                     struct clock *clock)
{
    *g = (struct flush_gate){.stream = stream, .writer = writer, .lanes = lanes, .clock = clock};
    g->closed_ms = clock_mono_ms(clock) - SETTLE_MS;
    pthread_mutex_init(&g->mtx, NULL);
}

void flush_gate_release(struct flush_gate *g)
{
    pthread_mutex_destroy(&g->mtx);
}

void flush_gate_close(struct flush_gate *g)
{
    pthread_mutex_lock(&g->mtx);
    g->open = g->noted = false;
    g->closed_ms = clock_mono_ms(g->clock);
    pthread_mutex_unlock(&g->mtx);
}

/* Under mtx. */
static void note_positions(struct flush_gate *g)
{
    for (unsigned i = 0; i < g->lanes; i++)
        g->upto[i] = stream_synced_pos(g->stream, i);
    g->noted = true;
}

/* Under mtx. Where the stream ends with damage this waits for the next record. */
static bool all_flushed(struct flush_gate *g)
{
    struct err ignored;
    uint64_t flushed;
    for (unsigned i = 0; i < g->lanes; i++)
        if (writer_flushed(g->writer, i, &flushed, &ignored) != OK || flushed < g->upto[i])
            return false;
    return true;
}

bool flush_gate_is_open(struct flush_gate *g)
{
    struct err ignored;
    pthread_mutex_lock(&g->mtx);
    if (!g->open && !g->noted && clock_mono_ms(g->clock) - g->closed_ms >= SETTLE_MS)
        note_positions(g);
    if (!g->open && g->noted && writer_caught_up(g->writer, &ignored))
        g->open = all_flushed(g);
    bool open = g->open;
    pthread_mutex_unlock(&g->mtx);
    return open;
}
