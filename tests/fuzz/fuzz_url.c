/* Request targets and forms: any bytes are cut into arguments and levels within their bounds, and decoding
 * never makes anything longer. */
#include "http/url.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_args(const char *s, size_t n)
{
    struct arena arena = {.chunk_bytes = 256};
    struct http_pairs args = {0};
    size_t bytes = 0;
    if (url_parse_args(s, n, 20, &arena, &args, NULL) == OK)
        for (size_t i = 0; i < args.n; i++)
            bytes += strlen(args.v[i].name) + strlen(args.v[i].value);
    assert(args.n <= 20 && bytes <= n);
    arena_release(&arena);
}

static void check_path(const char *s, size_t n)
{
    struct arena arena = {.chunk_bytes = 256};
    struct url_path path;
    size_t bytes = 0;
    if (url_parse_path(s, n, &arena, &path, NULL) == OK)
        for (size_t i = 0; i < path.n; i++)
            bytes += strlen(path.level[i]) + 1;
    assert(path.n <= URL_MAX_LEVELS && bytes <= n + 1);
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *s = (const char *)data;
    char *apart = malloc(size + 1), *in_place = malloc(size + 1);
    memcpy(in_place, s, size);
    size_t n = url_decode(s, size, true, apart);
    assert(n <= size);
    assert(url_decode(in_place, size, true, in_place) == n && !memcmp(apart, in_place, n));
    free(apart);
    free(in_place);
    check_args(s, size);
    check_path(s, size);
    return 0;
}
