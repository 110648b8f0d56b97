/* Shared by the files of the API. */
#ifndef CARAT_QUERY_API_IMPL_H
#define CARAT_QUERY_API_IMPL_H

#include "query/api.h"

/* The last value of an argument; NULL if absent. */
const char *api_get(const struct api_request *r, const char *name);
/* Whether it is there with this value. */
bool api_is(const struct api_request *r, const char *name, const char *value);
/* All values of an argument, or if there are none those of "name[]"; in the arena. */
const char *const *api_list(const struct api_request *r, const char *name, struct arena *a, size_t *n);
/* A decimal number; false if the argument is there and is none. */
bool api_int(const struct api_request *r, const char *name, int64_t def, int64_t *out);

void api_fail(struct api_reply *reply, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void api_fail_err(struct api_reply *reply, const struct err *err);
/* Turns the JSON in the body into a call if the request asks for it. */
void api_wrap_jsonp(struct api_reply *reply, const char *function);

typedef void (*api_fn)(const struct query_env *env, const struct api_request *r, struct api_reply *reply);
void api_render(const struct query_env *env, const struct api_request *r, struct api_reply *reply);
void api_find(const struct query_env *env, const struct api_request *r, struct api_reply *reply);
void api_expand(const struct query_env *env, const struct api_request *r, struct api_reply *reply);
void api_index(const struct query_env *env, const struct api_request *r, struct api_reply *reply);
void api_tags(const struct query_env *env, const struct api_request *r, struct api_reply *reply);
void api_functions(const struct query_env *env, const struct api_request *r, struct api_reply *reply);

#endif
