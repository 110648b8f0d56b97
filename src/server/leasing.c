/* Who of several writers has which partition. */
#include "server/server_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define OWNER_BYTES 16 /* hex digits, as server.owner has room for */

/* A name that stays with data.dir: whoever has that directory is the one who had it before. */
int open_owner(struct server *s, struct err *err)
{
    char path[PATH_MAX], text[OWNER_BYTES + 2] = "";
    uint64_t random;
    FILE *f = fopen(data_dir_path(&s->dir, "lease_owner", path), "r");
    if (f) {
        bool read = fgets(text, sizeof text, f) != NULL;
        fclose(f);
        if (read && strspn(text, "0123456789abcdef") == OWNER_BYTES) {
            snprintf(s->owner, sizeof s->owner, "%.*s", OWNER_BYTES, text);
            return OK;
        }
    }
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return err_sys(err, ERR_IO, errno, "make a name for the owner of leases");
    snprintf(s->owner, sizeof s->owner, "%016llx", (unsigned long long)random);
    f = fopen(path, "w");
    if (!f || fprintf(f, "%s\n", s->owner) < 0 || fclose(f) != 0)
        return err_sys(err, ERR_IO, errno, "write %s", path);
    return OK;
}

int open_leases(struct server *s, struct err *err)
{
    if (s->roles == ROLE_ALL || !s->kv)
        return OK;
    const struct leases_options o = {
        .kv = s->kv,
        .owner = s->owner,
        .partitions = s->lanes,
        .ttl_ms = config_duration_ms(s->config, "writer.lease"),
        .clock = s->clock,
        .metrics = s->metrics,
    };
    int rc = leases_new(&o, &s->leases, err);
    return rc == OK ? leases_start(s->leases, err) : rc;
}
