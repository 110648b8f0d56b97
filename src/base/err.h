/* Status codes and error texts.
 *
 * Every function that can fail because of the world returns an int: 0 is good,
 * a negative `enum status` says what class of thing went wrong (callers branch
 * on it), a positive value means "end" where a header says so. The optional last
 * argument `struct err *` takes the words; it is written only on failure, by the
 * layer that knows the name and the offset. Our own bugs are asserts, never a status.
 */
#ifndef CARAT_BASE_ERR_H
#define CARAT_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

enum status {
    OK = 0,
    ERR_IO = -1,          /* the kernel or a peer refused; saved_errno may say why */
    ERR_CORRUPT = -2,     /* stored bytes do not hold what their checksum or format says */
    ERR_INVALID = -3,     /* bad input from a user, a client or a configuration */
    ERR_NOT_FOUND = -4,   /* no such series, file, host */
    ERR_BUSY = -5,        /* a bound is reached; the same call may succeed later */
    ERR_NO_SPACE = -6,    /* the disk or a quota is full */
    ERR_FAILED = -7,      /* sticky: this object gave up after an earlier fault */
    ERR_UNSUPPORTED = -8, /* a known thing this backend or version does not do */
    ERR_TIMEOUT = -9,     /* no answer in time; the effect is unknown */
    ERR_LOCKED = -10,     /* another process holds it */
    ERR_LIMIT = -11,      /* a configured limit on size, count or time was hit */
    ERR_CLOSED = -12,     /* the object is shutting down */
};

struct err {
    int code;        /* enum status; 0 = nothing written */
    int saved_errno; /* 0 where errno had no part in it */
    char text[480];  /* one sentence: what, where, and if possible what to do */
};

#define ERR_INIT                                                                                             \
    {                                                                                                        \
        0, 0, ""                                                                                             \
    }

/* Writes `code` and the text into `e` (which may be NULL) and returns `code`, so
 * that `return err_set(e, ERR_INVALID, "...")` reads well. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same with ": strerror(errnum)" appended and errnum kept. ENOSPC and EDQUOT
 * turn into ERR_NO_SPACE, everything else keeps `code`. */
int err_sys(struct err *e, int code, int errnum, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Puts "prefix: " before the text already there; returns e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A short word for a status: "io", "corrupt", ... Never NULL. */
const char *status_name(int code);

#define must_check __attribute__((warn_unused_result))

#endif
