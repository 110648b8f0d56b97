/* Pickle and msgpack: a list of dictionaries with name, start, end, step, values, pathExpression,
 * valuesPerPoint, consolidationFunc and xFilesFactor. */
#include "query/binary.h"
#include "query/format.h"

static void put_series(struct buf *b, const struct binary_writer *w, const struct query_series *s)
{
    w->begin_map(b, 9);
    w->text(b, "name");
    w->text(b, s->name);
    w->text(b, "start");
    w->integer(b, s->start_s);
    w->text(b, "end");
    w->integer(b, s->end_s);
    w->text(b, "step");
    w->integer(b, s->step_s);
    w->text(b, "values");
    w->begin_list(b, s->n);
    for (size_t i = 0; i < s->n; i++)
        if (s->text)
            w->text(b, s->text);
        else
            w->number(b, s->values[i]);
    w->end_list(b);
    w->text(b, "pathExpression");
    w->text(b, s->path_expression);
    w->text(b, "valuesPerPoint");
    w->integer(b, s->values_per_point);
    w->text(b, "consolidationFunc");
    w->text(b, s->consolidation);
    w->text(b, "xFilesFactor");
    w->number(b, s->x_files_factor);
    w->end_map(b);
}

static int put_all(struct buf *b, const struct binary_writer *w, const struct query_result *r,
                   const struct format_options *o, struct err *err)
{
    int rc = OK;
    w->begin(b);
    w->begin_list(b, r->n);
    for (size_t i = 0; i < r->n && rc == OK; i++) {
        put_series(b, w, r->series[i]);
        rc = format_check(b, o, err);
    }
    w->end_list(b);
    w->end(b);
    return rc;
}

int format_pickle(struct query_result *r, const struct format_options *o, struct buf *out, struct err *err)
{
    return put_all(out, &binary_pickle, r, o, err);
}

int format_msgpack(struct query_result *r, const struct format_options *o, struct buf *out, struct err *err)
{
    return put_all(out, &binary_msgpack, r, o, err);
}
