/* What the files of cold.h share; private to them. */
#ifndef EIDER_STORE_COLD_INTERNAL_H
#define EIDER_STORE_COLD_INTERNAL_H

#include "store/cold.h"

enum { COLD_FILE_BYTES_MAX = 256 << 20 }; /* of a list or manifest */

enum err_code cold_sync_dir(const char *path, struct err *err);

/* Writes `bytes` to "<path>.tmp", syncs, renames, syncs the directory. The fail-points behind the
 * first two steps are named, or NULL. */
enum err_code cold_replace_file(const char *path, struct slice bytes, const char *point_written,
                                const char *point_renamed, struct err *err);

/* Appends all of a file to `ret_bytes`. ERR_NOT_FOUND, ERR_IO, ERR_TOO_LARGE. */
enum err_code cold_read_file(const char *path, struct buf *ret_bytes, struct err *err);

/* XXH3-128 of bytes as 32 hex digits. */
void cold_hash_text(struct slice bytes, char ret_text[COLD_CHECKSUM_MAX]);

#endif
