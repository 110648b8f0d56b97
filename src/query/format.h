/* Answers in the formats of graphite-web's /render. */
#ifndef CARAT_QUERY_FORMAT_H
#define CARAT_QUERY_FORMAT_H

#include "base/buf.h"
#include "query/query.h"

struct format_options {
    bool has_max_points;
    int64_t max_points;  /* JSON: points of a series are put together until there are no more than so many */
    bool no_null_points; /* JSON: leave out missing values, and series without any other */
    bool meta;           /* JSON: tell what each series was read from */
    const char *jsonp;   /* NULL, or the function to call with the answer */
    const struct query_zone *zone;
    size_t max_bytes; /* of an answer that is in memory as a whole; 0: any */
};

/* Whether an answer may grow on; ERR_LIMIT. */
static inline int format_check(const struct buf *b, const struct format_options *o, struct err *err)
{
    if (!o->max_bytes || b->len <= o->max_bytes)
        return OK;
    return err_set(err, ERR_LIMIT, "the answer needs more than %zu bytes (limit query.max_memory)",
                   o->max_bytes);
}

typedef int (*format_fn)(struct query_result *r, const struct format_options *o, struct buf *out,
                         struct err *err);

struct format {
    const char *name, *content_type;
    format_fn write; /* may change the result's series; ERR_INVALID: they do not fit the format */
    bool jsonp;      /* is wrapped if asked for */
};
/* "json", "csv", "raw", "dygraph", "rickshaw", "pickle", "msgpack"; NULL if there is none of that name. */
const struct format *format_find(const char *name);

/* [{"target":"...","tags":{...},"datapoints":[[1.5,1763800000],[null,...]]},...] with the shortest decimals
 * that read back to the same double. */
int format_json(struct query_result *r, const struct format_options *o, struct buf *out,
                struct err *err) must_check;

/* The same a bit at a time, for long answers: written by several threads, and in memory as a whole only up to
 * some size. Takes the result if it
 * returns OK; ERR_INVALID as format_json. Helpers and spare buffers may be NULL; both
 * are borrowed. */
struct json_stream;
int json_stream_new(struct query_result *r, const struct format_options *o, struct pool *helpers,
                    struct spare *spare, struct json_stream **out, struct err *err) must_check;
/* How long all of it is; 0: that is not known. Before the first json_stream_next. */
uint64_t json_stream_size(const struct json_stream *s);
/* The next bytes, valid until the next call; false: there are no more. */
bool json_stream_next(struct json_stream *s, const char **p, size_t *n);
void json_stream_free(struct json_stream *s);

/* These two are in files of their own: binary formats. */
int format_pickle(struct query_result *r, const struct format_options *o, struct buf *out,
                  struct err *err) must_check;
int format_msgpack(struct query_result *r, const struct format_options *o, struct buf *out,
                   struct err *err) must_check;

#endif
