/* What every backend of src/lease/kv.h must do. */
#ifndef CARAT_TESTS_KV_SUITE_H
#define CARAT_TESTS_KV_SUITE_H

#include "lease/kv.h"

/* Runs all cases on an empty store, which the caller frees; the number of failed ones. */
int kv_suite_run(const char *name, struct kv *kv);

#endif
