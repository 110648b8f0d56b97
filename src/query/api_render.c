/* /render */
#include "query/api_impl.h"
#include "query/format.h"
#include "query/format_picture.h"
#include "query/pynum.h"
#include "query/timespec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything a render request says. */
struct render {
    struct arena arena;
    struct query_request query;
    struct format_options options;
    const struct format *format; /* NULL: a picture */
    struct chart_options picture;
    struct query_zone *zone;
};

static int read_time(const struct api_request *r, const char *name, const char *def, const struct render *q,
                     int64_t now_s, int64_t *out, struct err *err)
{
    const char *text = api_get(r, name);
    int rc = query_parse_time(text ? text : def, q->zone, now_s, out, err);
    return rc < 0 ? err_prefix(err, "argument '%s'", name) : rc;
}

static int read_range(const struct api_request *r, struct render *q, struct err *err)
{
    int64_t from, until, now = r->now_s;
    if ((api_get(r, "now") && read_time(r, "now", "", q, r->now_s, &now, err) < 0) ||
        read_time(r, "until", "now", q, now, &until, err) < 0 ||
        read_time(r, "from", "-1d", q, now, &from, err) < 0)
        return err->code;
    if (from == until)
        return err_set(err, ERR_INVALID, "from and until are the same moment: the time range is empty");
    q->query.from_s = from < until ? from : until;
    q->query.until_s = from < until ? until : from;
    q->query.now_s = now;
    q->query.clock_s = r->now_s;
    return OK;
}

/* template[name]=value */
static void read_variables(const struct api_request *r, struct render *q)
{
    struct query_variable *v = arena_alloc(&q->arena, (r->nargs + 1) * sizeof *v);
    size_t n = 0;
    for (size_t i = 0; i < r->nargs; i++) {
        const char *name = r->args[i].name;
        size_t len = strlen(name);
        if (strncmp(name, "template[", 9) || len < 10)
            continue;
        v[n++] = (struct query_variable){arena_strndup(&q->arena, name + 9, len - 10), r->args[i].value};
    }
    q->query.variables = v;
    q->query.nvariables = n;
}

static int read_format(const struct api_request *r, struct render *q, struct err *err)
{
    const char *format = api_get(r, "format"), *type = api_get(r, "graphType");
    if (!format)
        format = api_get(r, "rawData") ? "raw" : api_get(r, "pickle") ? "pickle" : "png";
    else
        q->options.jsonp = api_get(r, "jsonp");
    bool svg = !strcmp(format, "svg");
    q->format = format_find(format);
    if (type && strcmp(type, "line"))
        return err_set(err, ERR_INVALID, "graphType must be line, not '%.40s': Carat draws no others", type);
    if (!q->format && !svg && strcmp(format, "png"))
        return err_set(
            err, ERR_INVALID,
            "format must be json, csv, raw, dygraph, rickshaw, pickle, msgpack, png or svg, not '%.40s'",
            format);
    int rc = q->format ? OK : picture_options(r, &q->picture, err);
    q->picture.svg = svg;
    return rc;
}

static int read_request(const struct api_request *r, struct render *q, struct err *err)
{
    int64_t ignored;
    const char *max = api_get(r, "maxDataPoints"), *xff = api_get(r, "xFilesFactor"), *tz = api_get(r, "tz");
    if (read_format(r, q, err) < 0)
        return err->code;
    if (!api_int(r, "cacheTimeout", 0, &ignored))
        return err_set(err, ERR_INVALID, "argument 'cacheTimeout': expected a number of seconds, not '%.40s'",
                       api_get(r, "cacheTimeout"));
    q->zone =
        tz && strcmp(tz, "UTC") ? query_zone_load(tz) : NULL; /* an unknown zone is UTC, as in graphite-web */
    q->query.zone = q->options.zone = q->zone;
    q->query.targets = api_list(r, "target", &q->arena, &q->query.ntargets);
    read_variables(r, q);
    q->options.no_null_points = api_get(r, "noNullPoints");
    if (max && *max && max[strspn(max, "0123456789")] == '\0' && strlen(max) < 16) {
        q->options.has_max_points = true;
        q->options.max_points = atoll(max);
    }
    q->options.meta = api_is(r, "meta", "1");
    if (q->format && q->format->write == format_json) {
        q->query.meta = q->options.meta;
        q->query.max_points = q->options.max_points;
    }
    if (xff && !pynum_parse(xff, &q->query.x_files_factor))
        return err_set(err, ERR_INVALID, "argument 'xFilesFactor': expected a number, not '%.40s'", xff);
    return read_range(r, q, err);
}

/* From about a megabyte of JSON on. */
#define STREAM_POINTS 40000

static bool should_stream(const struct api_request *r, const struct render *q,
                          const struct query_result *result)
{
    size_t points = 0;
    for (size_t i = 0; i < result->n; i++)
        points += result->series[i]->n;
    return r->may_stream && q->format && q->format->write == format_json && !q->options.jsonp &&
           points >= STREAM_POINTS;
}

static int write(const struct query_env *env, const struct api_request *r, struct render *q,
                 struct query_result *result, struct api_reply *reply, struct err *err)
{
    q->options.max_bytes = env->limits.max_bytes ? env->limits.max_bytes : QUERY_MAX_BYTES;
    if (should_stream(r, q, result))
        return json_stream_new(result, &q->options, env->helpers, env->spare, &reply->stream, err);
    if (q->format)
        return q->format->write(result, &q->options, &reply->body, err);
    q->picture.from_s = q->query.from_s;
    q->picture.until_s = q->query.until_s;
    q->picture.offset_s = query_zone_offset(q->zone, q->query.until_s);
    return picture_write(result, &q->picture, api_get(r, "colorList"), &reply->body, err);
}

static int run(const struct query_env *env, const struct api_request *r, struct render *q,
               struct api_reply *reply, struct err *err)
{
    struct query_result result;
    int rc = read_request(r, q, err);
    if (rc < 0 || (rc = query_run(env, &q->query, &result, err)) < 0)
        return rc;
    reply->incomplete = result.report.incomplete;
    snprintf(reply->why, sizeof reply->why, "%.190s", result.report.why.text);
    if (reply->incomplete && !api_is(r, "partial", "1"))
        rc = err_set(err, ERR_BUSY, "not all data could be read (%.300s); partial=1 gives what there is",
                     result.report.why.text);
    else
        rc = write(env, r, q, &result, reply, err);
    query_result_release(&result);
    return rc;
}

void api_render(const struct query_env *env, const struct api_request *r, struct api_reply *reply)
{
    struct render q = {.arena = ARENA_INIT};
    struct err err = ERR_INIT;
    if (run(env, r, &q, reply, &err) < 0) {
        api_fail_err(reply, &err);
    } else {
        reply->content_type = q.format        ? q.format->content_type
                              : q.picture.svg ? "image/svg+xml"
                                              : "image/png";
        api_wrap_jsonp(reply, q.format && q.format->jsonp ? q.options.jsonp : NULL);
    }
    query_zone_free(q.zone);
    arena_release(&q.arena);
}
