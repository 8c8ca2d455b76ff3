/*
 * What backups do to files: copy, link, sum, sync. Nothing is in its place before all of its bytes
 * are on disk, and no name is durable before its directory is synced.
 *
 * Threads: any; nothing is kept between calls.
 */
#ifndef EIDER_BACKUP_FILES_H
#define EIDER_BACKUP_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum { FILES_PATH_MAX = 4096, FILES_SUM_LEN = 32, FILES_SUM_MAX = FILES_SUM_LEN + 1 };

/* Makes a directory and those above it that are missing, each made durable. */
enum err_code files_make_dirs(const char *path, struct err *err);

/* Syncs a directory, or the one that a file is in. */
enum err_code files_sync_dir(const char *path, struct err *err);
enum err_code files_sync_parent(const char *path, struct err *err);

/* XXH3-128 in hex, of bytes and of a file. ERR_NOT_FOUND when there is none. */
void files_sum_bytes(struct slice bytes, char ret_sum[FILES_SUM_MAX]);
enum err_code files_sum(const char *path, char ret_sum[FILES_SUM_MAX], uint64_t *ret_bytes,
                        struct err *err);

/*
 * Copies the first `bytes_max` bytes (UINT64_MAX: all) to a temporary name beside `to`, syncs,
 * renames over `to`; sums on the way when ret_sum is not NULL. The directory is not synced:
 * files_sync_parent. ERR_NOT_FOUND when `from` is not there.
 */
struct files_copy {
    const char *from;
    const char *to;
    uint64_t bytes_max;
};
enum err_code files_copy(const struct files_copy *copy, char *ret_sum, struct err *err);

/* A second name for a file whose bytes are synced; a name that is there is replaced. *ret_linked
 * false: it cannot be had (another file system). ERR_NOT_FOUND. */
enum err_code files_link(const char *from, const char *to, bool *ret_linked, struct err *err);

/* files_link, else a copy. The directory is not synced. */
enum err_code files_link_or_copy(const char *from, const char *to, struct err *err);

/* Writes a whole small file: temporary name, sync, rename, sync of the directory. */
enum err_code files_write(const char *path, struct slice bytes, struct err *err);

/* Reads a whole file of at most max_bytes. ERR_NOT_FOUND, ERR_TOO_LARGE. */
enum err_code files_read(const char *path, size_t max_bytes, struct buf *ret_bytes,
                         struct err *err);

/* Bytes of a file, or UINT64_MAX when there is none. */
uint64_t files_bytes(const char *path);

/* The names in a directory but "." and "..", in order, as one array that files_names_free frees. A
 * directory that is not there has none. */
struct files_names {
    char **at;
    size_t count;
};
enum err_code files_list(const char *dir, struct files_names *ret_names, struct err *err);
void files_names_free(struct files_names *names);

#define FILES_NAMES_AUTO __attribute__((cleanup(files_names_free)))

/* Calls fn with every file below `dir`, directories left out; `fn` gets the path from `dir` on. It
 * may remove the file. A directory that is not there is empty. */
typedef enum err_code files_walk_fn(void *ctx, const char *relative, struct err *err);
enum err_code files_walk(const char *dir, files_walk_fn *fn, void *ctx, struct err *err);

/* Removes a directory with all that is in it; one that is not there is fine. */
enum err_code files_remove_tree(const char *path, struct err *err);

/* dir/name into a buffer of FILES_PATH_MAX; ERR_INVALID when it is too long. */
enum err_code files_join(const char *dir, const char *name, char ret_path[FILES_PATH_MAX],
                         struct err *err);

#endif
