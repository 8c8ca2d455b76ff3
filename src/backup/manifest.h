/*
 * manifest.json of one backup: what it is, which files of the pool belong to it, and a checksum of
 * itself. Format: docs/formats/backup.md.
 *
 * Ownership: manifest_read fills a struct that manifest_fini empties. One thread at a time.
 */
#ifndef EIDER_BACKUP_MANIFEST_H
#define EIDER_BACKUP_MANIFEST_H

#include "backup/files.h"
#include "base/buf.h"
#include "base/id.h"
#include "store/store.h"

enum {
    MANIFEST_FORMAT = 1,
    MANIFEST_ID_MAX = 32,
    MANIFEST_VERSION_MAX = 32,
    MANIFEST_FILES_MAX = 4 << 20,
    MANIFEST_BYTES_MAX = 1 << 30
};

/* A file of the pool. Hot rows have no name in `file`; the day of a table without time is
 * STORE_DAY_NONE. */
struct manifest_file {
    struct cold_file file;
    bool cold;   /* listed by the database, with its name; else rows that were hot */
    bool reused; /* the pool had it already */
};

struct manifest {
    char id[MANIFEST_ID_MAX];
    char version[MANIFEST_VERSION_MAX]; /* of the program */
    char database_id[ID_UUID_LEN + 1];
    char store_type[16];
    uint64_t schema; /* version of the database's schema; 0: unknown */
    uint64_t lsn;    /* everything up to here is in it, nothing behind */
    int64_t taken_us;
    int64_t ended_us;
    struct manifest_file *files;
    size_t file_count;
};

void manifest_fini(struct manifest *manifest);

#define MANIFEST_AUTO __attribute__((cleanup(manifest_fini)))

/* Adds a copy; the array grows. */
void manifest_add(struct manifest *manifest, const struct manifest_file *file);

/* "files/<table>[_kind]/date=YYYY-MM-DD/<checksum>.parquet" (date=none without time). */
enum { MANIFEST_PATH_MAX = 192 };
void manifest_pool_path(const struct manifest_file *file, char ret_path[MANIFEST_PATH_MAX]);

/* Rows and bytes: of raw and hot files only, and of all. */
struct manifest_sums {
    uint64_t rows[TABLE_ID_END];
    uint64_t rows_all;
    uint64_t bytes;
    uint64_t bytes_new;
    uint64_t files_new;
};
void manifest_sum(const struct manifest *manifest, struct manifest_sums *ret_sums);

void manifest_encode(const struct manifest *manifest, struct buf *ret_json);

/* ERR_CORRUPT for a wrong checksum or wrong contents, ERR_UNSUPPORTED for a later format. */
enum err_code manifest_decode(struct slice json, struct manifest *ret_manifest, struct err *err);

/* <dir>/<id>/manifest.json. ERR_NOT_FOUND too; errors name the file. */
enum err_code manifest_read(const char *dir, const char *id, struct manifest *ret_manifest,
                            struct err *err);

#endif
