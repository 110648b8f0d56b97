/* Saved dashboards: one file of JSON each, `<dir>/<id>.json` (doc/ui.md has its fields), all of them in
 * memory as well. A file is replaced as a whole, so that after a crash it is the old one or the new one.
 *
 * Any thread. What writes waits for the disk, with nothing held that a read needs. */
#ifndef CARAT_HTTP_DASHBOARDS_H
#define CARAT_HTTP_DASHBOARDS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"

#include <stddef.h>

#define DASHBOARD_ID_MAX      64
#define DASHBOARD_BYTES_MAX   65536
#define DASHBOARDS_MAX        500
#define DASHBOARD_TAG_SIZE    17
#define DASHBOARD_PANELS_MAX  60
#define DASHBOARD_TARGETS_MAX 20

struct dashboards;

/* Makes the directory if it is missing. A file that is no dashboard is logged and left where it is. */
int dashboards_open(struct fs *fs, const char *dir, struct dashboards **out, struct err *err) must_check;
void dashboards_free(struct dashboards *d);

/* {"dashboards":[{"id","title","panels":N},...]} by id. */
void dashboards_list(struct dashboards *d, struct buf *json);
/* ERR_NOT_FOUND. `tag` changes with the content. */
int dashboards_get(struct dashboards *d, const char *id, struct buf *json, char tag[DASHBOARD_TAG_SIZE],
                   struct err *err) must_check;
/* Durable on OK. `expected`: NULL, or the tag the caller has seen ("": it must not exist yet); another one
 * is ERR_LOCKED, and nothing changes. ERR_INVALID: the id or the content, in words. ERR_LIMIT: there are
 * DASHBOARDS_MAX. */
int dashboards_put(struct dashboards *d, const char *id, const char *json, size_t n, const char *expected,
                   char tag[DASHBOARD_TAG_SIZE], struct err *err) must_check;
/* ERR_NOT_FOUND. */
int dashboards_delete(struct dashboards *d, const char *id, struct err *err) must_check;

/* Checks the bytes of a dashboard: `out` (may be NULL) gets them in the form that is stored, `title` (freed
 * by the caller, may be NULL) and `panels` what the list shows. ERR_INVALID says which part is wrong. Pure.
 */
int dashboard_check(const char *json, size_t n, struct buf *out, char **title, size_t *panels,
                    struct err *err) must_check;

#endif
