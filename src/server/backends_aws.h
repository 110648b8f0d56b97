/* The tiers in AWS-style services, opened from the configuration: cold.backend = s3, warm.backend = dynamodb.
 */
#ifndef CARAT_SERVER_BACKENDS_AWS_H
#define CARAT_SERVER_BACKENDS_AWS_H

#include "base/err.h"
#include "cold/cold.h"

#include <stdint.h>

struct server;

/* After the catalog (and what processes share) is open. They set server.warm_store and server.cold. */
int open_warm_dynamodb(struct server *s, struct err *err) must_check;
int open_cold_s3(struct server *s, const struct cold_options *cold, struct err *err) must_check;

/* From now on no request lasts longer than until_ms (of clock_mono_us / 1000). */
void aws_backends_hurry(struct server *s, int64_t until_ms);
/* After the tiers are freed. */
void aws_backends_free(struct server *s);

#endif
