/* The HTTP API of graphite-web, without the HTTP: a request's path and arguments to an answer.
 *
 *   /render                     targets to series, in the formats of format.h
 *   /metrics/find               one pattern to nodes: treejson, completer, nodelist, json, pickle, msgpack
 *   /metrics/expand             patterns to paths
 *   /metrics/index.json         every untagged name
 *   /tags, /tags/TAG, /tags/findSeries, /tags/autoComplete/tags, /tags/autoComplete/values, /tags/tagSeries,
 *   /tags/tagMultiSeries
 *   /functions, /functions/NAME
 *   /events/get_data            no events
 *
 * Each also with a slash at the end, where graphite-web has that. Blocks while it reads; any thread. */
#ifndef CARAT_QUERY_API_H
#define CARAT_QUERY_API_H

#include "base/buf.h"
#include "query/query.h"

struct api_arg {
    const char *name, *value;
};
struct api_request {
    const char *method, *path;
    const struct api_arg *args; /* query string, then form body: of equal names the last counts */
    size_t nargs;
    int64_t now_s;
    bool may_stream; /* a long answer may come as a stream */
};

struct json_stream;

/* The status where nobody waits for the answer any more (env->cancelled): what nginx logs for it. */
#define API_CLIENT_GONE 499

struct api_reply {
    unsigned status;
    const char *content_type;
    struct buf body;            /* of an error: its message as plain text, for the server to wrap */
    struct json_stream *stream; /* the body, if not NULL (query/format.h); the caller frees it */
    bool incomplete;            /* a tier could not be read; 200 only if the request allows it (partial=1) */
    char why[200];              /* then: the first reason */
};

/* false: no such path (the reply is untouched). The caller releases reply->body. */
bool api_answer(const struct query_env *env, const struct api_request *r, struct api_reply *reply);

#endif
