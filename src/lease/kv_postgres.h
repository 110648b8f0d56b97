/* Keys in the catalog's PostgreSQL, in a connection of their own: a heartbeat waits for nobody. */
#ifndef CARAT_LEASE_KV_POSTGRES_H
#define CARAT_LEASE_KV_POSTGRES_H

#include "lease/kv.h"

/* As catalog_store_postgres_open, which must have been there before: it makes the table. Connects at the
 * first use. */
struct kv *kv_postgres_new(const char *conninfo, const char *password);

#endif
