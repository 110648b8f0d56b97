/* A password or key in a file of its own, so that it is on no command line and in no configuration that is
 * shown. */
#ifndef CARAT_BASE_SECRET_FILE_H
#define CARAT_BASE_SECRET_FILE_H

#include "base/err.h"

#include <stddef.h>

/* The first line of the file, NUL-terminated, without spaces at its end. ERR_INVALID: empty, too long for
 * `size`, or the file can be read by everybody; the text never holds what is in it. */
int secret_file_read(const char *path, char *out, size_t size, struct err *err) must_check;

#endif
