/* /render?format=png|svg: see draw/chart.h for what is drawn. */
#ifndef CARAT_QUERY_FORMAT_PICTURE_H
#define CARAT_QUERY_FORMAT_PICTURE_H

#include "draw/chart.h"
#include "query/api_impl.h"
#include "query/query.h"

/* Reads width, height, title, vtitle, bgcolor, fgcolor, fontSize, lineWidth, lineMode, areaMode, yMin, yMax,
 * yUnitSystem, hideLegend, hideGrid, hideAxes, graphOnly. Texts are borrowed from the request. ERR_INVALID
 * names the argument. from_s, until_s, offset_s and svg are the caller's. */
int picture_options(const struct api_request *r, struct chart_options *o, struct err *err) must_check;
/* `colors` is the argument colorList, or NULL. */
int picture_write(const struct query_result *r, const struct chart_options *o, const char *colors,
                  struct buf *out, struct err *err) must_check;

#endif
