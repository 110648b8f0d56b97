#include "model/window.h"

int64_t window_span_ms(int64_t step_ms)
{
    switch (step_ms) {
    case 60000:
        return 4 * 3600000ll;
    case 300000:
        return 86400000ll;
    case 3600000:
        return 7 * 86400000ll;
    case 86400000:
        return 365 * 86400000ll;
    default:
        return 240 * step_ms;
    }
}
