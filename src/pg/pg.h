/* A connection to PostgreSQL that comes back by itself. Used by one thread at a time. */
#ifndef CARAT_PG_PG_H
#define CARAT_PG_PG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* libpq's */
struct pg_conn;
struct pg_result;

struct pg {
    struct pg_conn *conn; /* NULL: never tried */
    char *conninfo, *password;
    int timeout_ms;   /* of a statement */
    int64_t retry_ms; /* monotonic: not connected again before */
    uint64_t dials;   /* connections made: whatever was prepared in an earlier one is gone */
};

/* ERR_INVALID: cannot be read, or holds a password, which --print-config would show. `key` is the
 * configuration's name for it. */
int pg_check_conninfo(const char *key, const char *conninfo, struct err *err) must_check;

/* Connects at the first use. password: NULL or "": none, or libpq's own places. */
void pg_init(struct pg *p, const char *conninfo, const char *password, int timeout_ms);
void pg_release(struct pg *p);

/* Connects if there is no connection, at most once a second; in between it fails at once, so that nothing
 * queues up behind a server that is away. */
int pg_connected(struct pg *p, struct err *err) must_check;
bool pg_lost(const struct pg *p);

/* ERR_IO with the server's words after "<doing> in PostgreSQL: ". */
int pg_err(struct pg *p, const char *doing, struct err *err);
/* r, or NULL after telling what failed. */
struct pg_result *pg_checked(struct pg *p, struct pg_result *r, const char *doing,
                             struct err *err) must_check;
/* Statements without an answer. */
int pg_run(struct pg *p, const char *sql, const char *doing, struct err *err) must_check;

#endif
