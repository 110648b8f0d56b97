#include "base/killpoint.h"

#ifdef CARAT_KILL_POINTS

#include "base/mem.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* In the order in which the work goes by. One name a line: tests/system/kills.py and tests/check/check.py
 * read this list. */
static const char *const names[] = {
    /* data directory */
    "data_dir.format_temp",
    "data_dir.format_named",
    /* stream: a group, a segment, the checkpoint, the trim, the open */
    "stream.written",
    "stream.synced",
    "stream.spare_made",
    "stream.seal_cut",
    "stream.sealed",
    "stream.header_written",
    "stream.segment_named",
    "stream.rolled",
    "stream.checkpoint_temp",
    "stream.checkpoint_renamed",
    "stream.checkpoint_stored",
    "stream.trim_listed",
    "stream.trim_removed",
    "stream.open_cut",
    "stream.open_dropped",
    /* writer: hot to warm, the checkpoint, the start */
    "writer.defined",
    "writer.applied",
    "flush.sealed",
    "flush.merged",
    "flush.rolled_up",
    "flush.put",
    "flush.released",
    "rollup.window_made",
    "checkpoint.begun",
    "checkpoint.warm_synced",
    "checkpoint.catalog_flushed",
    "checkpoint.done",
    "positions.temp",
    "catalog.rows_added",
    "catalog.committed",
    /* second writers */
    "rebuild.made",
    "rebuild.put",
    "mend.made",
    "mend.put",
    "mend.rebuilt",
    "mend.synced",
    /* mover and cold */
    "move.copied",
    "move.committed",
    "move.removed",
    "cold.pack_written",
    "cold.pack_synced",
    "cold.pack_named",
    "cold.read_back",
    "cold.manifest_temp",
    "cold.manifest_renamed",
    "cold.manifest_stored",
    "cold.pack_removed",
    "cold.compact_merged",
    "cold.compact_switched",
    "cold.orphan_removed",
    "cold.heal_written",
    "cold.heal_switched",
    "expire.begun",
    "expire.warm_marked",
    "expire.warm_done",
    "expire.cold_done",
    "rules.read",
    "rules.reloaded",
    "history.temp",
    "history.renamed",
    "apply.begun",
    "apply.built",
    "apply.synced",
    "apply.switched",
    "apply.steps_dropped",
    "apply.warm_dropped",
    "apply.cold_dropped",
    /* backup and restore */
    "snapshot.begun",
    "snapshot.warm",
    "snapshot.others",
    "snapshot.stream",
    "snapshot.catalog",
    "snapshot.listed",
    "snapshot.removed",
    "backup.opened",
    "backup.file_copied",
    "backup.files_synced",
    "backup.small_file_temp",
    "backup.committed",
    "backup.forgotten",
    "backup.pruned",
    "restore.marked",
    "restore.file_copied",
    "restore.files_synced",
    "restore.format_written",
    "restore.unmarked",
};

struct shared {
    char armed[56];
    _Atomic int64_t left;
    _Atomic uint64_t passes[ARRAY_LEN(names)];
};

static struct shared *shared; /* NULL: nobody tests */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void map_file(void)
{
    const char *path = getenv("CARAT_KILL_POINTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    assert(p != MAP_FAILED);
    shared = p;
}

void kill_point(const char *name)
{
    pthread_once(&once, map_file);
    if (!shared)
        return;
    size_t i = 0;
    while (i < ARRAY_LEN(names) && strcmp(names[i], name) != 0)
        i++;
    assert(i < ARRAY_LEN(names));
    atomic_fetch_add(&shared->passes[i], 1);
    if (!strncmp(shared->armed, name, sizeof shared->armed) && atomic_fetch_sub(&shared->left, 1) == 1)
        kill(getpid(), SIGKILL);
}

#endif
