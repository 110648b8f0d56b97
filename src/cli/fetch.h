/* One HTTP request for the commands that ask a running server. */
#ifndef CARAT_CLI_FETCH_H
#define CARAT_CLI_FETCH_H

#include "base/buf.h"
#include "base/err.h"

struct fetched {
    long status;
    struct buf body;
    struct buf warning; /* the Warning header of the answer, empty if there is none */
};

/* Appends `text` as it must stand in a URL's query. */
void fetch_escape(const char *text, struct buf *out);

/* ERR_IO: no answer (the text names the URL and says what to check). ERR_LIMIT: over 1 GiB. ERR_INVALID: the
 * server refused; the text is the message it sent. `out` is for fetched_release in any case. */
int fetch_get(const char *url, struct fetched *out, struct err *err) must_check;
/* Another method, with a JSON body if `json` is not NULL. Any 2xx is good. Waits longer than
 * fetch_get. */
int fetch_send(const char *method, const char *url, const char *json, struct fetched *out,
               struct err *err) must_check;
void fetched_release(struct fetched *f);

#endif
