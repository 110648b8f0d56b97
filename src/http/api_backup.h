/* Snapshots for backups (doc/backup.md). The files are read on this machine, not over HTTP.
 *   POST   /api/v1/snapshots      200
 * {"id":"...","path":"/...","files":12,"bytes":3400,"time_ms":1763800000000} 503 while another is being made
 *   DELETE /api/v1/snapshots/:id  200 {}, 404 */
#ifndef CARAT_HTTP_API_BACKUP_H
#define CARAT_HTTP_API_BACKUP_H

#include "backup/snapshots.h"
#include "http/http.h"

struct api_backup;

/* `s` is borrowed. */
struct api_backup *api_backup_new(struct snapshots *s);
/* Before http_server_start. */
void api_backup_routes(struct api_backup *a, struct http_server *s);
/* After http_server_stop; waits for a snapshot that is being made. NULL is fine. */
void api_backup_free(struct api_backup *a);

#endif
