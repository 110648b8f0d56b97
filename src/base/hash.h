/* 64-bit hash of bytes (XXH3, from libxxhash). Not stored anywhere: it may change. */
#ifndef CARAT_BASE_HASH_H
#define CARAT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *p, size_t n);

#endif
