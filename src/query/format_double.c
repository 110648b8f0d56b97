#include "query/pynum.h"
#include "query/query.h"

#include <string.h>

size_t query_format_double(double v, char out[32])
{
    char text[PYNUM_TEXT_MAX];
    size_t n = pynum_repr(v, text);
    if (n > 2 && !memcmp(text + n - 2, ".0", 2))
        n -= 2;
    memcpy(out, text, n);
    out[n] = '\0';
    return n;
}
