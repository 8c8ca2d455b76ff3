/* Space that a directory takes. */
#ifndef EIDER_SERVER_DISK_H
#define EIDER_SERVER_DISK_H

#include <stdint.h>

/*
 * Bytes on disk of everything below `dir`, allocated blocks, not lengths. Leaves out the directory
 * `skip` (may be NULL) of the first level, symbolic links, and what vanishes meanwhile. Blocks on
 * the file system.
 */
uint64_t disk_usage(const char *dir, const char *skip);

#endif
