/* The id under which this machine posts its metrics: it must stay the same, or its graphs start anew. */
#ifndef CARAT_AGENT_HOST_ID_H
#define CARAT_AGENT_HOST_ID_H

#include "base/err.h"
#include "base/fs.h"

#include <stdbool.h>

#define HOST_ID_MAX 64

/* 1 to HOST_ID_MAX bytes of [A-Za-z0-9_-]. */
bool host_id_valid(const char *id);

/* The id kept in data_dir/host_id. If there is none yet, one is derived from machine_id_path
 * ("/etc/machine-id"), or is random if that is empty or missing, and is kept there. Without a data_dir (NULL)
 * it is derived each time, and a machine without an id is ERR_NOT_FOUND. */
int host_id_get(struct fs *fs, const char *data_dir, const char *machine_id_path, char out[HOST_ID_MAX + 1],
                struct err *err) must_check;

#endif
