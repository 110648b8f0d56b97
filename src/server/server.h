/* The server: builds every part from the configuration, runs them, and stops them in order. */
#ifndef CARAT_SERVER_SERVER_H
#define CARAT_SERVER_SERVER_H

#include "base/config.h"
#include "base/err.h"

#include <stddef.h>

/* Every key `carat serve` knows, with its default. */
extern const struct config_key server_config_keys[];
extern const size_t server_config_keys_n;

/* Runs until SIGTERM or SIGINT; OK after a clean stop. Borrows the configuration. Called once per process,
 * from its main thread. */
int server_run(const struct config *c, struct err *err) must_check;

#endif
