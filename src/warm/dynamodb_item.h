/* How the warm tier's parts lie in a DynamoDB table. Pure: bytes and JSON.
 *
 *   p  binary, the partition key    u32 step_ms | u32 series                        8 bytes
 *   s  binary, the sort key         u64 window_ms | u64 hi | u64 lo                24 bytes
 *   v  binary                       the part as model/part.h lays it out
 *   t  number, if data expires      seconds since the epoch: the service deletes it some time after
 *
 * Big-endian, so that byte order is number order. lo is in the key, unlike in other stores: of two parts with
 * one (window, hi) both are kept and the one with the smaller lo is read, so that a put is never a question.
 * See doc/dynamodb.md.
 *
 * Other items have a step of 0 in p: the owner of the table, and the groups of windows that have something.
 */
#ifndef CARAT_WARM_DYNAMODB_ITEM_H
#define CARAT_WARM_DYNAMODB_ITEM_H

#include "base/buf.h"
#include "base/err.h"
#include "model/part.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define DYNAMODB_PARTITION_BYTES 8
#define DYNAMODB_SORT_BYTES      24
#define DYNAMODB_OWNER           "ownr" /* the last four bytes of the owner's partition key */

struct dynamodb_key {
    uint8_t p[DYNAMODB_PARTITION_BYTES];
    uint8_t s[DYNAMODB_SORT_BYTES];
};
struct dynamodb_key dynamodb_part_key(const struct part_key *k, uint64_t lo);
/* The key of the mark for the group that begins at group_ms. */
struct dynamodb_key dynamodb_group_key(uint32_t step_ms, int64_t group_ms);
struct dynamodb_key dynamodb_owner_key(void);

/* Window, hi and lo of a part's sort key; -1 if these bytes are none for this step. */
int dynamodb_sort_get(const uint8_t *s, size_t n, uint32_t step_ms, int64_t *window_ms, uint64_t *hi,
                      uint64_t *lo);

/* "p":{"B":"..."},"s":{"B":"..."} */
void dynamodb_put_key(struct buf *out, const struct dynamodb_key *k);
/* A put of BatchWriteItem; expires_s 0: never. */
void dynamodb_put_request(struct buf *out, const struct part *p, int64_t expires_s);
void dynamodb_delete_request(struct buf *out, const struct dynamodb_key *k);
/* {"B":"..."} */
void dynamodb_put_binary(struct buf *out, const void *p, size_t n);

/* An item of an answer. */
struct dynamodb_item {
    struct buf s, v;    /* empty if they are not there */
    int64_t expires_s;  /* 0: never */
    int64_t written_ms; /* w, of a group's mark; 0: not there */
};
/* -1: it is none. Clears and fills *out, which keeps its memory. */
int dynamodb_item_get(const json_t *item, struct dynamodb_item *out);
void dynamodb_item_release(struct dynamodb_item *i);

/* Capacity units an answer tells of, times 1000: of one table or of several. */
uint64_t dynamodb_consumed(const json_t *answer);

#endif
