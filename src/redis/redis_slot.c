#include "redis/redis_slot.h"

#include <string.h>

/* CRC16 of a nibble, polynomial 0x1021: two look-ups a byte in a table that stays in one cache line. */
static const uint16_t crc_nibble[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
                                        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};

static uint16_t crc16(const char *p, size_t n)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t b = (uint8_t)p[i];
        crc = (uint16_t)(crc << 4 ^ crc_nibble[crc >> 12 ^ b >> 4]);
        crc = (uint16_t)(crc << 4 ^ crc_nibble[(crc >> 12 ^ b) & 15]);
    }
    return crc;
}

uint16_t redis_slot(const char *key, size_t n)
{
    const char *open = memchr(key, '{', n);
    if (open) {
        size_t left = n - (size_t)(open + 1 - key);
        const char *close = memchr(open + 1, '}', left);
        if (close && close > open + 1)
            return crc16(open + 1, (size_t)(close - open - 1)) % REDIS_SLOTS;
    }
    return crc16(key, n) % REDIS_SLOTS;
}
