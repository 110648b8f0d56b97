/* Colours as Graphite writes them. Pure. */
#ifndef CARAT_DRAW_COLOR_H
#define CARAT_DRAW_COLOR_H

#include <stddef.h>

struct color {
    double r, g, b, a; /* 0..1 */
};

/* A name of Graphite ("blue", "darkgrey") or 3, 6 or 8 hexadecimal digits, with or without '#'. 0, or -1. */
int color_parse(const char *text, size_t len, struct color *out);

/* The i-th line's: a list that repeats, readable on light and dark grounds. */
struct color color_of_line(size_t i);

#endif
