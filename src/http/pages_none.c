/* What a binary without pages shows. */
#include "http/pages.h"

static const char text[] =
    "This carat was built without its web pages: Node.js and the packages of web/ were not there.\n"
    "script/bootstrap installs them; then build again. Everything else is here: /render, /metrics/find,\n"
    "/metrics, /api/v1/status and the others of doc/http.md.\n";

const struct page pages[] = {
    {"/", "text/plain; charset=utf-8", "none", (const unsigned char *)text, sizeof text - 1, NULL, 0},
};
const size_t pages_n = 1;
