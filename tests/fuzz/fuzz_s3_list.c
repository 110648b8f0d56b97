/* A page of objects or uploads as a service sent it: bounded, every entry whole, a list that goes on says
 * where. */
#include "cold/object_s3.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct s3_list l;
    if (s3_list_parse(data, size, &l, NULL) < 0) {
        assert(!l.n && !l.v && !l.next);
        return 0;
    }
    for (size_t i = 0; i < l.n; i++)
        assert(l.v[i].name && l.v[i].time_ms >= 0 && strlen(l.v[i].name) <= 4096);
    assert(!l.truncated || l.next);
    s3_list_release(&l);
    return 0;
}
