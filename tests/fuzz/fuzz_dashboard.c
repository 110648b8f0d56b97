/* Dashboards from clients and from disk: what is accepted is accepted again in the form that is stored, and
 * that form is the same each time. */
#include "http/dashboards.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct err err = ERR_INIT;
    char *title = NULL;
    size_t panels = 0;
    if (dashboard_check((const char *)data, size, &once, &title, &panels, &err) == OK) {
        assert(*title && panels <= DASHBOARD_PANELS_MAX);
        if (once.len <= DASHBOARD_BYTES_MAX) {
            assert(dashboard_check((const char *)once.data, once.len, &twice, NULL, NULL, &err) == OK);
            assert(once.len == twice.len && !memcmp(once.data, twice.data, once.len));
        }
    } else {
        assert(err.code == ERR_INVALID && *err.text);
    }
    free(title);
    buf_release(&once);
    buf_release(&twice);
    return 0;
}
