/* Reads the small XML documents of S3's answers: no attributes, no namespaces, no document types. */
#ifndef CARAT_AWS_XML_H
#define CARAT_AWS_XML_H

#include "base/err.h"

#include <stddef.h>

#define XML_DEPTH_MAX 8
#define XML_TEXT_MAX  4096

/* Called at the end of each element with its path ("ListBucketResult/Contents/Key") and the text that was
 * directly in it ("" for an element of elements); non-zero stops. */
typedef int (*xml_element_fn)(void *ctx, const char *path, const char *text);

/* ERR_CORRUPT: not XML, or deeper or longer than the bounds. What fn returned if it stopped. */
int xml_read(const void *bytes, size_t n, xml_element_fn fn, void *ctx, struct err *err) must_check;

#endif
