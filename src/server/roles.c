#include "server/roles.h"

#include "base/buf.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum role role;
} names[] = {
    {"ingest", ROLE_INGEST}, {"writer", ROLE_WRITER}, {"mover", ROLE_MOVER}, {"reader", ROLE_READER}};

static unsigned role_of(const char *word, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strlen(names[i].name) == len && !memcmp(names[i].name, word, len))
            return names[i].role;
    return len == 3 && !memcmp(word, "all", 3) ? ROLE_ALL : 0;
}

int roles_parse(const char *text, unsigned *out, struct err *err)
{
    *out = 0;
    for (const char *p = text;;) {
        p += strspn(p, " ");
        size_t len = strcspn(p, ", ");
        unsigned role = role_of(p, len);
        if (!role)
            return err_set(
                err, ERR_INVALID,
                "server.roles: \"%.*s\" is no role; expected all, or some of ingest, writer, mover, reader",
                (int)(len < 40 ? len : 40), p);
        *out |= role;
        p += len + strspn(p + len, " ");
        if (!*p)
            return OK;
        p++;
    }
}

void roles_name(unsigned roles, char out[40])
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (roles & names[i].role)
            n += (size_t)snprintf(out + n, 40 - n, "%s%s", n ? "," : "", names[i].name);
}

int roles_check(unsigned roles, const struct config *c, struct err *err)
{
    static const struct {
        const char *key, *local, *instead;
        unsigned needed_by; /* processes with these roles and those without must see the same */
    } tiers[] = {
        {"catalog.backend", "sqlite", "postgres", ROLE_ALL},
        {"stream.backend", "log", "jetstream or kinesis", ROLE_INGEST | ROLE_WRITER},
        {"hot.backend", "memory", "redis", ROLE_WRITER | ROLE_READER},
        {"warm.backend", "rocksdb", "dynamodb", ROLE_WRITER | ROLE_MOVER | ROLE_READER},
        {"cold.backend", "files", "s3", ROLE_WRITER | ROLE_MOVER | ROLE_READER},
    };
    struct buf wrong = BUF_INIT;
    bool alone = roles == ROLE_ALL || config_bool(c, "server.local_tiers");
    for (size_t i = 0; !alone && i < ARRAY_LEN(tiers); i++)
        if (roles & tiers[i].needed_by && !strcmp(config_string(c, tiers[i].key), tiers[i].local))
            buf_printf(&wrong, "%s%s = %s", wrong.len ? ", " : "", tiers[i].key, tiers[i].instead);
    int rc =
        wrong.len
            ? err_set(err, ERR_INVALID,
                      "server.roles: with roles in several processes the tiers must be outside of them: %s",
                      buf_str(&wrong))
            : OK;
    buf_release(&wrong);
    return rc;
}
