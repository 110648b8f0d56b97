/* CRC-32C (Castagnoli, reflected polynomial 0x82f63b78; RFC 3720 appendix B.4 has
 * test vectors). Uses the SSE4.2 instruction where the processor has it. */
#ifndef CARAT_BASE_CRC32C_H
#define CARAT_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin) over n bytes. crc32c(crc32c(0,a),b) == crc32c(0,ab). */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
