#include "writer/writer_impl.h"

#include "base/thread_name.h"

#define READ_TIMEOUT_MS 200

static void note_minute(struct lane *l, const struct stream_record *rec)
{
    int64_t minute = rec->appended_ms / 60000;
    size_t i = (size_t)minute % MINUTES;
    if (atomic_load_explicit(&l->minutes[i].minute, memory_order_relaxed) == minute)
        return;
    atomic_store(&l->minutes[i].pos, rec->pos);
    atomic_store(&l->minutes[i].minute, minute);
}

uint64_t lane_pos_at(struct lane *l, int64_t wall_ms)
{
    uint64_t best = 0;
    for (size_t i = 0; i < MINUTES; i++) {
        int64_t minute = atomic_load(&l->minutes[i].minute);
        uint64_t pos = atomic_load(&l->minutes[i].pos);
        if (minute && minute * 60000 <= wall_ms && pos > best)
            best = pos;
    }
    return best;
}

/* Hot is over its hard bound because warm does not take windows: let the stream hold the rest. */
static void wait_for_room(struct writer *w)
{
    if (atomic_load_explicit(&w->hot_bytes, memory_order_relaxed) <= 2 * w->o.hot_max_bytes)
        return;
    counter_add(w->apply_waits, 1);
    while (atomic_load(&w->hot_bytes) > 2 * w->o.hot_max_bytes && !writer_sleep(w, 100))
        ;
}

/* A part claims that every point of its run was applied, and of two parts the one that ends later wins. A run
 * across a damaged stretch would claim points it never saw, and bring back values they had replaced, so all
 * windows end where the stretch begins. */
static void end_runs(struct lane *l)
{
    for (;;) {
        struct err err = ERR_INIT;
        if (flush_all(l, &err) == OK)
            return;
        counter_add(l->writer->flush_errors, 1);
        if (log_allowed(&l->corrupt_log, NULL))
            log_error("writer", "windows before a damaged stretch not flushed, trying again",
                      "lane=%u why=\"%s\"", l->number, err.text);
        if (writer_sleep(l->writer, 500))
            return;
    }
}

/* Applies until it sticks. Only our own memory is involved, so a failure that is not damage cannot heal by
 * itself; it is tried again rather than skipped, because a skipped record would be a lost one.
 * False: the writer is stopping and it is not applied. */
static bool apply_record(struct lane *l, const struct stream_record *rec)
{
    struct writer *w = l->writer;
    for (;;) {
        struct err err = ERR_INIT;
        int64_t start = clock_mono_us(w->o.clock);
        int rc = lane_apply(l, rec, &err);
        histogram_observe_us(w->apply_seconds, (uint64_t)(clock_mono_us(w->o.clock) - start));
        if (rc == OK)
            return true;
        if (log_allowed(&l->corrupt_log, NULL))
            log_error("writer", "record not applied", "lane=%u pos=%llu status=%s why=\"%s\"", l->number,
                      (unsigned long long)rec->pos, status_name(rc), err.text);
        if (rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED) {
            counter_add(w->corrupt_records, 1);
            end_runs(l);
            return true;
        }
        if (writer_sleep(w, 500))
            return false;
    }
}

static void lane_loop(struct lane *l, struct stream_reader *reader)
{
    struct writer *w = l->writer;
    while (!atomic_load_explicit(&w->stopping, memory_order_relaxed)) {
        struct err err = ERR_INIT;
        struct stream_record rec;
        int rc = stream_reader_next(reader, &rec, READ_TIMEOUT_MS, &err);
        if (rc == ERR_CLOSED)
            return;
        if (rc == ERR_CORRUPT) {
            counter_add(w->corrupt_records, 1);
            end_runs(l);
            continue;
        }
        if (rc < 0) {
            if (log_allowed(&l->corrupt_log, NULL))
                log_error("writer", "cannot read the stream", "lane=%u why=\"%s\"", l->number, err.text);
            if (writer_sleep(w, 1000))
                return;
            continue;
        }
        if (rc > 0) {
            /* All that is durable has been read; what was missing to the target was damaged. */
            atomic_store(&l->target, 0);
            continue;
        }
        wait_for_room(w);
        if (!apply_record(l, &rec))
            return; /* stopping: it stays after the checkpoint and is applied at the next start */
        note_minute(l, &rec);
        atomic_store_explicit(&l->applied_ms, rec.appended_ms, memory_order_relaxed);
        atomic_store_explicit(&l->applied, rec.pos, memory_order_release);
    }
}

void *lane_main(void *arg)
{
    struct lane *l = arg;
    struct writer *w = l->writer;
    struct stream_start start = {.from = STREAM_POSITION, .from_pos = atomic_load(&l->applied)};
    struct stream_reader *reader;
    struct err err = ERR_INIT;
    thread_name("carat-lane");
    while (stream_reader_open(w->o.stream, l->number, start, &reader, &err) != OK) {
        log_error("writer", "cannot open the stream for reading", "lane=%u why=\"%s\"", l->number, err.text);
        if (writer_sleep(w, 1000))
            return NULL;
    }
    lane_loop(l, reader);
    stream_reader_close(reader);
    atomic_store(&l->done, true);
    return NULL;
}
