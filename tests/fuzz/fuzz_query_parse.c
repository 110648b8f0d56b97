/* Any text as a target: parses or tells where it does not, and positions lie within the text. */
#include "query/ast.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct ast *a, size_t len)
{
    if (a->pos > a->end || a->end > len)
        abort();
    for (size_t i = 0; i < a->nargs; i++)
        check(a->args[i], len);
    for (size_t i = 0; i < a->nkwargs; i++)
        check(a->kwargs[i].value, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct err err = ERR_INIT;
    struct ast *a;
    size_t rest;
    const char *text = arena_strndup(&arena, (const char *)data, size);
    if (ast_parse(text, &arena, &a, &rest, &err) == OK) {
        if (rest > strlen(text))
            abort();
        check(a, strlen(text));
    } else if (!err.text[0]) {
        abort();
    }
    arena_release(&arena);
    return 0;
}
