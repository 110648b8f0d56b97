/* Graphite's line protocol: one point a line.
 *
 *   servers.web-1.cpu.user 12.5 1763800000\n
 *   disk.used;host=web-1;mount=/ 40 1763800000.25\r\n
 *
 * Name, value and time are separated by spaces or tabs; more of them around the fields, and empty lines, are
 * ignored. The time is in seconds since 1970, a whole number or with a fraction (kept to the millisecond);
 * -1 and N mean now. A number of milliseconds is not guessed: it is a time far ahead, and is refused as such
 * later. The value is a decimal number, read exactly as strtod() reads it; no hex, no digit groups.
 *
 * A bad line costs itself only: it is counted in out->rejected and the lines around it are taken. */
#ifndef CARAT_INGEST_GRAPHITE_TEXT_H
#define CARAT_INGEST_GRAPHITE_TEXT_H

#include "model/sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GRAPHITE_ERRORS_KEPT   4
#define GRAPHITE_EXCERPT_BYTES 80

/* The start of a refused line, quotes and bytes that are not printable ASCII shown as '?'. */
struct graphite_error {
    enum reject reason;
    char excerpt[GRAPHITE_EXCERPT_BYTES + 1];
};

/* One thread. The caller sets the first two; n is set to 0 to forget the errors. */
struct graphite_parser {
    int64_t now_ms;
    size_t max_line_bytes; /* without its newline; a longer line is refused */
    unsigned n;            /* errors kept; later ones are only counted */
    struct graphite_error error[GRAPHITE_ERRORS_KEPT];
};

/* Adds the points of all complete lines to `out` and returns how many bytes they took: everything up to and
 * including the last newline, or, if `final`, everything. Names point into `data` where they were canonical
 * as sent, so it must live as long as the samples. */
size_t graphite_parse(struct graphite_parser *g, const char *data, size_t len, bool final,
                      struct sample_batch *out);

/* Counts one refused line that the caller cut itself. */
void graphite_reject(struct graphite_parser *g, const char *line, size_t len, enum reject reason,
                     struct sample_batch *out);

#endif
