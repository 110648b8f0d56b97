/* Which of the 16384 hash slots of a Redis Cluster a key belongs to. */
#ifndef CARAT_REDIS_REDIS_SLOT_H
#define CARAT_REDIS_REDIS_SLOT_H

#include <stddef.h>
#include <stdint.h>

#define REDIS_SLOTS 16384

/* CRC16 (XMODEM) of the key, or of what is between its first '{' and the '}' after it if that is not empty.
 */
uint16_t redis_slot(const char *key, size_t n);

#endif
