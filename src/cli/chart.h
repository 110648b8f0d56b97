/* Draws an answer for a terminal: a plot area with value and time labels, and a legend.
 *
 * One series, or several in colour, are drawn in braille dots (2 x 4 a cell); several without colour get
 * a letter each, so that they can be told apart in a file or a pipe. */
#ifndef CARAT_CLI_CHART_H
#define CARAT_CLI_CHART_H

#include "base/buf.h"
#include "cli/answer.h"

#include <stdbool.h>
#include <stddef.h>

#define CHART_WIDTH_MIN 40
#define CHART_WIDTH_MAX 500

struct chart_style {
    size_t width;  /* of everything, in columns; brought into CHART_WIDTH_MIN..MAX */
    size_t height; /* of the plot area, in rows; at least 4 */
    bool colour;   /* ANSI colours */
};

/* Appends lines of text. Times are UTC. Without any point it says so. */
void chart_draw(const struct answer *a, const struct chart_style *style, struct buf *out);

#endif
