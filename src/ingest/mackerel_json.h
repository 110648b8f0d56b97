/* The bodies of Mackerel's two posts of points.
 *
 *   POST /api/v0/tsdb                [{"hostId":"2eQ","name":"loadavg5","time":1763800000,"value":0.5},...]
 *   POST /api/v0/services/<s>/tsdb   [{"name":"requests","time":1763800000,"value":12},...]
 *
 * They become the series host.<hostId>.<name> and service.<service>.<name>. Times are whole seconds since
 * 1970. A hostId is [a-zA-Z0-9_-]+, so is the name of a service; a name is [a-zA-Z0-9._-]+ without empty
 * levels. Other keys are ignored; a key given twice is refused. */
#ifndef CARAT_INGEST_MACKEREL_JSON_H
#define CARAT_INGEST_MACKEREL_JSON_H

#include "base/err.h"
#include "model/sample.h"

#include <stddef.h>

/* Adds the points to `out`; their names are in out->names. One bad element refuses the whole body, as the
 * sender can only repeat the whole: ERR_INVALID says which (elements count from 0) and what was expected,
 * nothing is added, and the element is counted in out->rejected. The caller bounds len; the parser takes
 * some ten times as much memory for the time of the call. */
int mackerel_parse_host(const char *body, size_t len, struct sample_batch *out, struct err *err) must_check;
int mackerel_parse_service(const char *service, size_t service_len, const char *body, size_t len,
                           struct sample_batch *out, struct err *err) must_check;

#endif
