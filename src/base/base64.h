/* Base64 with padding (RFC 4648 section 4), as JSON APIs carry bytes. */
#ifndef CARAT_BASE_BASE64_H
#define CARAT_BASE_BASE64_H

#include "base/buf.h"

/* Appends n bytes as text. */
void base64_put(struct buf *out, const void *p, size_t n);
/* Appends what the text stands for. 0, or -1 if it is not base64 (then `out` is unchanged). */
int base64_get(struct buf *out, const char *text, size_t len);

#endif
