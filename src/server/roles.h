/* What one process of a deployment does. */
#ifndef CARAT_SERVER_ROLES_H
#define CARAT_SERVER_ROLES_H

#include "base/config.h"
#include "base/err.h"

enum role {
    ROLE_INGEST = 1, /* takes points and puts them into the stream */
    ROLE_WRITER = 2, /* stream -> hot -> warm */
    ROLE_MOVER = 4,  /* warm -> cold, expiry */
    ROLE_READER = 8, /* answers queries */
    ROLE_ALL = 15,
};

/* "all" or some of ingest, writer, mover, reader with commas. ERR_INVALID names the unknown word. Pure. */
int roles_parse(const char *text, unsigned *out, struct err *err) must_check;
/* ERR_INVALID if less than all roles are asked for while a tier lives in the process or on its disk, where
 * the other roles' processes cannot see it; the text names the keys to change. */
int roles_check(unsigned roles, const struct config *c, struct err *err) must_check;
/* "ingest,reader" */
void roles_name(unsigned roles, char out[40]);

#endif
