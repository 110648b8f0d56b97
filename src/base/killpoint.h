/* Named places at which a test can have the process killed, as SIGKILL or the OOM killer would.
 *
 * KILL_POINT("flush.put") stands between two durable steps, where a crash must find everything as it should
 * be. It is nothing at all unless the build has -Dkill_points=true; script/test builds that way, a release
 * does not. Each name is in the list in killpoint.c, which the tests go through: a new name there is tested
 * at once if the work it belongs to is done by tests/system/kills.py. doc/testing.md tells more.
 *
 * The environment names a file in CARAT_KILL_POINTS, which tester and process both map. Little-endian:
 *
 *   0  char armed[56]     the name, zeros behind it; empty: none
 *  56  i64  left          passes to go, the last one kills; set it before the name
 *  64  u64  passes[]      of each name, in the order of the list; they outlive the process
 */
#ifndef CARAT_BASE_KILLPOINT_H
#define CARAT_BASE_KILLPOINT_H

#ifdef CARAT_KILL_POINTS
/* Any thread. A name that is not in the list is a bug and aborts. */
void kill_point(const char *name);
#define KILL_POINT(name) kill_point(name)
#else
#define KILL_POINT(name) ((void)0)
#endif

#endif
