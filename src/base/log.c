#include "base/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic int min_level = LOG_INFO;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_set_level(enum log_level level)
{
    atomic_store(&min_level, (int)level);
}

int log_level_from(const char *word)
{
    for (int i = 0; i < 4; i++)
        if (!strcmp(word, level_names[i]))
            return i;
    return -1;
}

void log_write(enum log_level level, const char *part, const char *msg, const char *fmt, ...)
{
    if ((int)level < atomic_load_explicit(&min_level, memory_order_relaxed))
        return;
    int64_t now = clock_wall_ms(clock_system());
    time_t sec = (time_t)(now / 1000);
    struct tm tm;
    gmtime_r(&sec, &tm);
    char line[2048];
    size_t n = strftime(line, sizeof line, "ts=%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03dZ level=%s part=%s msg=\"%s\"", (int)(now % 1000),
                          level_names[level], part, msg);
    if (*fmt && n + 2 < sizeof line) {
        line[n++] = ' ';
        va_list ap;
        va_start(ap, fmt);
        int m = vsnprintf(line + n, sizeof line - n - 1, fmt, ap);
        va_end(ap);
        if (m > 0)
            n += (size_t)m;
    }
    if (n > sizeof line - 2)
        n = sizeof line - 2;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n++] = '\n';
    /* One write per line keeps lines of several threads apart. Nobody is left to tell if it fails. */
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}

int log_allowed(struct log_limit *l, uint32_t *suppressed)
{
    uint32_t burst = l->burst ? l->burst : 5;
    int64_t minute = clock_mono_ms(clock_system()) / 60000 + 1;
    int64_t old = atomic_load(&l->minute);
    if (suppressed)
        *suppressed = 0;
    if (old != minute && atomic_compare_exchange_strong(&l->minute, &old, minute)) {
        uint32_t seen = atomic_exchange(&l->seen, 0);
        if (suppressed && seen > burst)
            *suppressed = seen - burst;
    }
    return atomic_fetch_add(&l->seen, 1) < burst;
}
