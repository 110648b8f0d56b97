/* Any text parses or is refused with a message; what parses keeps the promises of retention.h. */
#include "base/mem.h"
#include "model/retention.h"
#include "model/window.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct retention *r)
{
    assert(r->rule && r->narchives >= 1 && r->narchives <= RETENTION_ARCHIVES);
    for (size_t i = 0; i < r->narchives; i++) {
        const struct retention_archive *a = &r->archives[i];
        assert(a->step_ms >= STEP_MIN_MS && a->step_ms <= STEP_MAX_MS);
        assert(a->keep_ms >= a->step_ms && a->keep_ms % a->step_ms == 0);
        if (i) {
            assert(a->step_ms > a[-1].step_ms && a->step_ms % a[-1].step_ms == 0);
            assert(a->keep_ms > a[-1].keep_ms);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xstrndup((const char *)data, size);
    struct retention_rules *r = NULL;
    struct err err = ERR_INIT;
    int rc = retention_parse(text, "f", &r, &err);
    if (rc == OK) {
        check(retention_match(r, "servers.web-1.cpu.user", 22));
        check(retention_match(r, "disk.used;host=a\xff", 17));
        check(retention_match(r, text, strlen(text) < 1024 ? strlen(text) : 1024));
        retention_free(r);
    } else {
        assert(rc == ERR_INVALID && err.code == rc && !strncmp(err.text, "f:", 2));
    }
    free(text);
    return 0;
}
