/* What the files of this part share. */
#ifndef EIDER_BACKUP_PRIVATE_H
#define EIDER_BACKUP_PRIVATE_H

#include "backup/backup.h"
#include "wal/wal_scan.h"

/* ---- pool.c ---- */

/* Opens DIR/lock, exclusively or shared. ERR_CONFLICT. Close the descriptor. */
enum err_code pool_lock(const char *dir, bool exclusive, int *ret_fd, struct err *err);

/* Removes what a backup that did not end has left: directories without manifest, temporary files.
 */
enum err_code pool_clean(const char *dir, struct err *err);

/* Puts a file into the pool under the name that its checksum gives; file->file.checksum is set
 * (cold) or made (hot). Sets file->reused and file->file.bytes. */
enum err_code pool_put(const char *dir, const char *from, struct manifest_file *file,
                       struct err *err);

/* The ids of backups with a manifest, oldest first. */
enum err_code pool_ids(const char *dir, struct files_names *ret_ids, struct err *err);

/* ---- archive.c ---- */

/* Removes archived segments that end at or below `lsn`. */
enum err_code archive_prune(const char *wal_archive, const char *database_id, uint64_t lsn,
                            size_t *ret_removed, struct err *err);

/* Reads the header of a segment; ERR_CORRUPT when it has none, ERR_NOT_FOUND. */
struct wal_header;
enum err_code archive_header(const char *path, struct wal_header *ret_header, struct err *err);

/* ---- replay.c ---- */

struct replay {
    const char *const *logs; /* ends in NULL */
    const char *staging;     /* directory for the new log: made, filled */
    uint64_t from_lsn;       /* first record wanted */
    bool has_lsn;
    uint64_t to_lsn;
    bool has_time;
    int64_t to_us;
    bool dry_run;
    bool salvage; /* stop at damage and gaps instead of refusing */
};

struct replay_result {
    uint64_t last_lsn; /* of the staged log; from_lsn - 1: nothing is staged */
    int64_t last_us;
    uint64_t log_end_lsn;
    bool went_on; /* a record behind what was wanted was seen: nothing that is wanted is missing */
};

/* Gathers the segments from from_lsn on out of all logs into `staging`, as copies, and cuts the
 * last behind to_lsn or the last record that is not younger than to_us. ERR_NOT_FOUND with the
 * numbers when records are missing. */
enum err_code replay_stage(const struct replay *replay, struct replay_result *ret_result,
                           struct err *err);

/* backup_prune of one database (NULL: of each); the backups of others all stay. */
struct pool_prune {
    const char *dir;
    const char *wal_archive; /* NULL: none */
    const char *database_id;
    unsigned keep; /* at least 1 */
};
enum err_code pool_prune(const struct pool_prune *prune, struct backup_pruned *ret_pruned,
                         struct err *err);

#endif
