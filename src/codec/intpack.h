/* Runs of 64-bit integers as fixed-width offsets from a base, with patches for the few that are too
 * wide, and lists of positions. The parts from which the scaled and dictionary formats are made.
 *
 * All arithmetic is modulo 2^64, so any bytes decode to something and nothing overflows. */
#ifndef CARAT_CODEC_INTPACK_H
#define CARAT_CODEC_INTPACK_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

#define INTPACK_MAX       512 /* most integers in a run */
#define INTPACK_WIDTH_MAX 56  /* one 8-byte load gets any offset, wherever in a byte it starts */
#define INTPACK_WORDS     (INTPACK_MAX / 64)

/* Bytes being read; a reader that finds too few returns -1. */
struct span {
    const uint8_t *p, *end;
};

/* value = base + offset + (patch << width), offset < 2^width, most patches 0. */
struct packing {
    uint64_t base;
    unsigned width;
    uint32_t patches; /* values with a patch: exact */
    size_t size;      /* bytes of offsets and patches: estimated */
};

/* Looks for the smallest packing of n <= INTPACK_MAX integers; width is INTPACK_WIDTH_MAX at most, size is
 * SIZE_MAX if there is none. `centre` is a guess of where most are (intpack_centre()), `typical` of the bits
 * that most need as distances from it, 0 if not known. */
void packing_choose(const int64_t *v, uint32_t n, int64_t centre, unsigned typical, struct packing *p);
int64_t intpack_centre(const int64_t *v, uint32_t n);

/* Patches: varint count (1..n), positions, count zigzag varints. The base and the width are the caller's
 * to store. Nothing is written if there are no patches. */
void packing_put_patches(const struct packing *p, const int64_t *v, uint32_t n, struct buf *out);
/* Offsets: ceil(n * width / 8) bytes, lowest bit first, unused bits zero. */
void packing_put_offsets(const struct packing *p, const int64_t *v, uint32_t n, struct buf *out);

struct patches {
    uint32_t n;
    uint16_t at[INTPACK_MAX];
    uint64_t add[INTPACK_MAX]; /* the patch << width */
};
int patches_get(struct span *s, unsigned width, uint32_t n, struct patches *out);
/* Writes n offsets with their patches, without the base. */
int intpack_get_offsets(struct span *s, unsigned width, uint32_t n, const struct patches *patches,
                        uint64_t *v);

/* A run whole, where nothing is shared with a format's header: u8 width (6 bits) | HAS_PATCHES, zigzag base,
 * [patches], offsets. */
#define INTPACK_WIDTH_MASK  0x3f
#define INTPACK_HAS_PATCHES 0x40
void intpack_put(const int64_t *v, uint32_t n, struct buf *out);
int intpack_get(struct span *s, uint32_t n, uint64_t *v);

/* Positions below n, ascending, one bit each in INTPACK_WORDS words: varint count (1..n), then ceil(n / 8)
 * bytes of bitmap if count * 8 >= n, else count varints of positions skipped before each. */
void positions_put(const uint64_t *set, uint32_t n, struct buf *out);
int positions_get(struct span *s, uint32_t n, uint16_t *at, uint32_t *count);

#endif
