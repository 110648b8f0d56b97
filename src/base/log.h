/* One line per event on stderr, key=value, with a level. Nothing per point.
 *
 *   log_info("stream", "segment opened", "path=%s size_bytes=%zu", path, size);
 *   -> ts=2026-11-22T10:00:00.123Z level=info part=stream msg="segment opened" path=... size_bytes=...
 *
 * Control bytes in the finished line become '?', so no input can forge a line.
 * Any thread. Never log secrets. */
#ifndef CARAT_BASE_LOG_H
#define CARAT_BASE_LOG_H

#include <stdatomic.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
/* "debug", "info", "warn", "error"; -1 if it is none of them. */
int log_level_from(const char *word);

/* `fmt` gives the key=value pairs after msg; "" for none. */
void log_write(enum log_level level, const char *part, const char *msg, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#define log_debug(part, msg, ...) log_write(LOG_DEBUG, part, msg, __VA_ARGS__)
#define log_info(part, msg, ...)  log_write(LOG_INFO, part, msg, __VA_ARGS__)
#define log_warn(part, msg, ...)  log_write(LOG_WARN, part, msg, __VA_ARGS__)
#define log_error(part, msg, ...) log_write(LOG_ERROR, part, msg, __VA_ARGS__)

/* Lets through `burst` events a minute and counts the rest. */
struct log_limit {
    _Atomic int64_t minute;
    _Atomic uint32_t seen;
    uint32_t burst; /* 0 means 5 */
};
/* 1 if this event may be logged. *suppressed (may be NULL) gets how many were held
 * back in the minute before, once, with the first event of a new minute. */
int log_allowed(struct log_limit *l, uint32_t *suppressed);

#endif
