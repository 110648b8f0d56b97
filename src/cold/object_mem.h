/* Objects in memory, with faults: the reference for the other stores, and for tests. Several stores may share
 * one bucket, as several processes do. */
#ifndef CARAT_COLD_OBJECT_MEM_H
#define CARAT_COLD_OBJECT_MEM_H

#include "cold/object_store.h"

struct object_bucket;

/* No objects, and a clock at 0. */
struct object_bucket *object_bucket_new(void);
/* After all its stores. */
void object_bucket_free(struct object_bucket *b);

struct object_mem_options {
    size_t part_bytes;   /* 0: 8 MiB */
    bool conditional;    /* knows OBJECT_PUT_NEW */
    bool list_is_behind; /* list does not show what was written or removed since object_bucket_settle */
};
struct object_store *object_mem_new(struct object_bucket *b, const struct object_mem_options *o);

/* The n-th operation from now on (1: the next) fails with `code`, `times` times; `after`: it has its effect
 * all the same. Of all stores of the bucket. */
void object_bucket_fail(struct object_bucket *b, uint64_t nth, uint64_t times, int code, bool after);
void object_bucket_mend(struct object_bucket *b);
uint64_t object_bucket_ops(struct object_bucket *b); /* so far */

void object_bucket_pass(struct object_bucket *b, int64_t ms); /* time */
void object_bucket_settle(struct object_bucket *b);

size_t object_bucket_count(struct object_bucket *b, const char *prefix);
size_t object_bucket_uploads(struct object_bucket *b); /* begun and not ended */
/* Inverts a bit of the byte at `at`. 0, or -1 if there is none. */
int object_bucket_damage(struct object_bucket *b, const char *name, uint64_t at);

#endif
