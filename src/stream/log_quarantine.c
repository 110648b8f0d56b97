/* Damaged stretches are counted once, logged, and copied to `quarantine/` for whoever wants to look: at most
 * MAX_COPY bytes of each and MAX_TOTAL bytes in MAX_FILES files between two opens. */
#include "stream/log_lane.h"

#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_COPY   (1u << 20)
#define MAX_TOTAL  (64u << 20)
#define MAX_FILES  256
#define MAX_PLACES 4096

/* Under mu. False if the place was counted before. */
static bool first_time(struct log_lane *l, uint64_t segment, uint64_t off)
{
    for (size_t i = 0; i < l->damage_n; i++)
        if (l->damage[i].segment == segment && l->damage[i].off == off)
            return false;
    if (l->damage_n < MAX_PLACES) {
        if ((l->damage_n & (l->damage_n + 1)) == 0 || !l->damage)
            l->damage = xrealloc(l->damage, 2 * (l->damage_n + 1) * sizeof *l->damage);
        l->damage[l->damage_n++] = (struct log_damage_place){.segment = segment, .off = off};
    }
    return true;
}

static int copy(struct log_lane *l, uint64_t segment, struct fs_file *from, const struct log_damage *bad,
                struct err *err)
{
    struct stream_log *log = l->log;
    uint64_t n = bad->to - bad->from < MAX_COPY ? bad->to - bad->from : MAX_COPY;
    if (atomic_fetch_add(&log->quarantine_files, 1) >= MAX_FILES ||
        atomic_fetch_add(&log->quarantine_bytes, n) + n > MAX_TOTAL)
        return OK;
    char path[LOG_PATH_MAX];
    snprintf(path, sizeof path, "%s/quarantine", log->o.dir);
    int rc = fs_mkdir(log->o.fs, path, err);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "%s/quarantine/p%02u-%016" PRIx64 "-%08" PRIx64 ".bin", log->o.dir, l->index,
             segment, bad->from);
    struct fs_file *to;
    rc = fs_open(log->o.fs, path, FS_CREATE | FS_TRUNCATE, &to, err);
    if (rc < 0)
        return rc;
    uint8_t *bytes = xmalloc(n);
    size_t got = 0;
    rc = fs_pread(from, bytes, n, bad->from, &got, err);
    if (rc == OK)
        rc = fs_pwrite(to, bytes, got, 0, err);
    free(bytes);
    fs_close(to);
    return rc;
}

void log_quarantine(struct log_lane *l, uint64_t segment, struct fs_file *f, const struct log_damage *bad)
{
    pthread_mutex_lock(&l->mu);
    bool first = first_time(l, segment, bad->from);
    if (first) {
        l->stats.quarantined_records += bad->records;
        l->stats.quarantined_bytes += bad->to - bad->from;
    }
    pthread_mutex_unlock(&l->mu);
    if (!first)
        return;
    if (l->m.quarantined_bytes)
        counter_add(l->m.quarantined_bytes, bad->to - bad->from);
    struct err err = ERR_INIT;
    int rc = copy(l, segment, f, bad, &err);
    log_error("stream", "damaged records skipped",
              "partition=%u segment=%016" PRIx64 " from=%" PRIu64 " to=%" PRIu64 " copy=\"%s\"", l->index,
              segment, bad->from, bad->to, rc < 0 ? err.text : "quarantine");
}
