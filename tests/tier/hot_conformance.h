/* What every hot backend must do; each test makes a fresh one through `make`. */
#ifndef CARAT_TESTS_HOT_CONFORMANCE_H
#define CARAT_TESTS_HOT_CONFORMANCE_H

#include "hot/hot.h"

typedef struct hot *(*hot_make_fn)(unsigned partitions);

/* Runs the suite; returns the number of failed tests (cmocka). */
int hot_conformance(const char *backend, hot_make_fn make);

#endif
