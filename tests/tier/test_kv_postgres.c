/* Keys in a real PostgreSQL. Started by tests/system/with_server.py postgres. */
#include "catalog/catalog_store.h"
#include "lease/kv_postgres.h"
#include "tier/kv_suite.h"

#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    const char *conninfo = getenv("CARAT_TEST_POSTGRES");
    struct catalog_store *store;
    struct err err = ERR_INIT;
    if (!conninfo || catalog_store_postgres_open(conninfo, NULL, &store, &err) != OK) {
        fprintf(stderr, "%s\n", conninfo ? err.text : "CARAT_TEST_POSTGRES is not set");
        return 1;
    }
    struct kv *kv = kv_postgres_new(conninfo, NULL);
    int failed = kv_suite_run("kv_postgres", kv);
    kv_free(kv);
    store->ops->free(store);
    return failed;
}
