/* The web pages at `/` (doc/ui.md): files that the build put into the binary, from web/.
 *
 * Each is there as it is and compressed, with a tag made of its bytes. A binary that was built without
 * pages (-Dweb=disabled, or no Node.js) has one that says so. */
#ifndef CARAT_HTTP_PAGES_H
#define CARAT_HTTP_PAGES_H

#include "http/http.h"

struct page {
    const char *path, *type;
    const char *tag; /* changes with the bytes */
    const unsigned char *plain;
    size_t plain_n;
    const unsigned char *zipped; /* gzip; NULL if there is none */
    size_t zipped_n;
};

/* pages_none.c, or made by web/build.mjs. */
extern const struct page pages[];
extern const size_t pages_n;

/* Before http_server_start. */
void pages_routes(struct http_server *s);

#endif
