/*
 * CRC32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720 appendix B.4), as the log keeps it
 * for every record. Uses the processor's instruction where there is one (SSE4.2, three streams at a
 * time), tables otherwise.
 *
 * Threads: any; the tables are made once, on first use.
 */
#ifndef EIDER_WAL_CRC32C_H
#define EIDER_WAL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin) over `len` bytes; crc32c(crc32c(0, a), b) is that of a and b joined.
 */
uint32_t crc32c(uint32_t crc, const void *ptr, size_t len);

/* The same by tables alone; what other processors use, and what tests compare with. */
uint32_t crc32c_portable(uint32_t crc, const void *ptr, size_t len);

#endif
