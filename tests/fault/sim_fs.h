/* A simulated disk: a struct fs in memory that forgets what was not synced.
 *
 * Each file has what the program sees and what the platter holds. datasync carries the sectors (512
 * bytes) written since over to the platter, and the size; sync_dir does the same for names. When the power
 * goes, each unsynced sector is kept, lost or torn on its own, each unsynced size and each unsynced create,
 * rename or unlink is kept or lost on its own. From then on everything fails with ERR_IO until
 * sim_fs_power_on.
 *
 * Any thread. All randomness comes from the seed. */
#ifndef CARAT_TESTS_SIM_FS_H
#define CARAT_TESTS_SIM_FS_H

#include "base/fs.h"

#include <stdbool.h>

struct sim_fs;

#define SIM_ROOT "/disk" /* a directory that is always there */

enum sim_fault {
    SIM_WRITE_FAILS, /* a write stores a part and returns ERR_IO */
    SIM_READ_FAILS,
    SIM_SYNC_FAILS, /* a datasync returns ERR_IO and the unsynced bytes are forgotten */
    SIM_FAULTS
};

struct sim_fs *sim_fs_new(uint64_t seed);
void sim_fs_free(struct sim_fs *s);
struct fs *sim_fs_base(struct sim_fs *s);

/* Bytes the disk has; UINT64_MAX by default. Beyond it allocating and growing fail with ERR_NO_SPACE. */
void sim_fs_capacity(struct sim_fs *s, uint64_t bytes);
uint64_t sim_fs_used(struct sim_fs *s);
/* The n-th operation of that kind from now (1 is the next one) fails, once. */
void sim_fs_fail(struct sim_fs *s, enum sim_fault kind, unsigned n);
/* The power goes in the middle of the n-th changing operation (write, sync, name, size) from now; 0: never.
 */
void sim_fs_cut_after(struct sim_fs *s, uint64_t n);
/* The process dies there instead: everything fails as after a cut, but nothing is forgotten. */
void sim_fs_kill_after(struct sim_fs *s, uint64_t n);
/* The power goes now, unless all is off already. */
void sim_fs_cut(struct sim_fs *s);
bool sim_fs_is_off(struct sim_fs *s);
/* After a cut only what the platter holds is left; open handles stay dead. */
void sim_fs_power_on(struct sim_fs *s);
/* Flips bits of a byte, on the platter and in what is seen. False if there is no such byte. */
bool sim_fs_flip(struct sim_fs *s, const char *path, uint64_t off, uint8_t bits);
/* Changing operations so far. */
uint64_t sim_fs_ops(struct sim_fs *s);

#endif
