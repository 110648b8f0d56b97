/* Any text as a time: one within years 1 to 9999, or a reason. */
#include "query/timespec.h"

#include "base/arena.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct err err = ERR_INIT;
    int64_t at;
    const char *text = arena_strndup(&arena, (const char *)data, size);
    if (query_parse_time(text, NULL, 1795264496, &at, &err) == OK) {
        if (at < -62135596800 || at > 253402300799)
            abort();
    } else if (!err.text[0]) {
        abort();
    }
    if (query_parse_interval(text, &at, &err) != OK && !err.text[0])
        abort();
    arena_release(&arena);
    return 0;
}
