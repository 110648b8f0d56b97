/* Any text parses or is refused with a message; what parses keeps the promises of aggregation.h. */
#include "base/mem.h"
#include "model/aggregation.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct aggregation_rule *r)
{
    assert(r->rule && r->method < AGGREGATION_KINDS);
    assert(r->x_files_factor >= 0 && r->x_files_factor <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xstrndup((const char *)data, size);
    struct aggregation_rules *r = NULL;
    struct err err = ERR_INIT;
    int rc = aggregation_rules_parse(text, "f", &r, &err);
    if (rc == OK) {
        check(aggregation_match(r, "servers.web-1.requests.count", 28));
        check(aggregation_match(r, "disk.used;host=a\xff", 17));
        check(aggregation_match(r, text, strlen(text) < 1024 ? strlen(text) : 1024));
        aggregation_rules_free(r);
    } else {
        assert(rc == ERR_INVALID && err.code == rc && !strncmp(err.text, "f:", 2));
    }
    free(text);
    return 0;
}
