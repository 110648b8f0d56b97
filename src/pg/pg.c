#include "pg/pg.h"

#include "base/clock.h"
#include "base/mem.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECONNECT_MS 1000

bool pg_lost(const struct pg *p)
{
    return !p->conn || PQstatus(p->conn) != CONNECTION_OK;
}

/* libpq's texts end in a newline and never hold the password. */
int pg_err(struct pg *p, const char *doing, struct err *err)
{
    const char *text = p->conn ? PQerrorMessage(p->conn) : "no connection";
    int len = (int)strcspn(text, "\n");
    return err_set(err, ERR_IO, "%s in PostgreSQL: %.*s", doing, len, text);
}

PGresult *pg_checked(struct pg *p, PGresult *r, const char *doing, struct err *err)
{
    ExecStatusType s = PQresultStatus(r);
    if (s == PGRES_TUPLES_OK || s == PGRES_COMMAND_OK)
        return r;
    pg_err(p, doing, err);
    PQclear(r);
    return NULL;
}

int pg_run(struct pg *p, const char *sql, const char *doing, struct err *err)
{
    PGresult *r = pg_checked(p, PQexec(p->conn, sql), doing, err);
    if (!r)
        return ERR_IO;
    PQclear(r);
    return OK;
}

static PGconn *dial(struct pg *p)
{
    char options[128], tcp[16];
    const char *keys[] = {"dbname",           "fallback_application_name",
                          "connect_timeout",  "client_encoding",
                          "tcp_user_timeout", "options",
                          "password",         NULL};
    const char *values[] = {p->conninfo, "carat", "5", "UTF8", tcp, options, p->password, NULL};
    int third = p->timeout_ms / 3;
    snprintf(tcp, sizeof tcp, "%d", third);
    snprintf(options, sizeof options,
             "-c statement_timeout=%d -c lock_timeout=%d -c client_min_messages=warning", p->timeout_ms,
             third);
    return PQconnectdbParams(keys, values, 1);
}

int pg_connected(struct pg *p, struct err *err)
{
    if (!pg_lost(p))
        return OK;
    int64_t now = clock_mono_ms(clock_system());
    if (p->conn && now < p->retry_ms)
        return pg_err(p, "connect", err);
    PQfinish(p->conn);
    p->conn = dial(p);
    p->dials++;
    p->retry_ms = clock_mono_ms(clock_system()) + RECONNECT_MS;
    return pg_lost(p) ? pg_err(p, "connect", err) : OK;
}

void pg_init(struct pg *p, const char *conninfo, const char *password, int timeout_ms)
{
    *p = (struct pg){.conninfo = xstrdup(conninfo),
                     .password = password && *password ? xstrdup(password) : NULL,
                     .timeout_ms = timeout_ms};
}

void pg_release(struct pg *p)
{
    PQfinish(p->conn);
    if (p->password)
        explicit_bzero(p->password, strlen(p->password));
    free(p->password);
    free(p->conninfo);
}

int pg_check_conninfo(const char *key, const char *conninfo, struct err *err)
{
    char *why = NULL;
    PQconninfoOption *list = PQconninfoParse(conninfo, &why);
    if (!list) {
        int rc = err_set(err, ERR_INVALID, "%s cannot be read: %.*s", key,
                         (int)(why ? strcspn(why, "\n") : 0), why ? why : "");
        PQfreemem(why);
        return rc;
    }
    bool secret = false;
    for (PQconninfoOption *o = list; o->keyword; o++)
        secret |= !strcmp(o->keyword, "password") && o->val && *o->val;
    PQconninfoFree(list);
    return secret ? err_set(err, ERR_INVALID,
                            "%s holds a password, which would show up in --print-config; put it into the "
                            "file of %s_password_file, PGPASSFILE or PGPASSWORD",
                            key, key)
                  : OK;
}
