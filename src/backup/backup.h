/*
 * Backups of one data directory, the archive of its log, and the way back.
 *
 *   DIR/                                   one directory for any number of backups; lock
 *     20261121T103000.123Z/manifest.json   a backup: LSN, time, every file with its checksum;
 * written last, so that a directory without it is no backup files/<table>/date=.../<sum>.parquet
 * the pool: named by content, shared by all backups
 *
 *   ARCHIVE/<database id>/<seq>.wal        closed segments of the log, kept as they are
 *
 * A backup is what the database was at one LSN: its hot rows as Parquet by day, and the cold files
 * that it lists. A day that did not change has the same bytes, hence the same name, and is not
 * stored twice.
 *
 * Threads: one backup or prune at a time for one DIR (ERR_CONFLICT: another process has its lock);
 * everything here blocks and must not be called from an event loop.
 */
#ifndef EIDER_BACKUP_BACKUP_H
#define EIDER_BACKUP_BACKUP_H

#include "backup/manifest.h"
#include "base/clock.h"
#include "store/engine.h"

enum { BACKUP_TIMEOUT_MS = 6 * 3600 * 1000, BACKUP_APPLY_MS = 60000 };

/* ---- taking ---- */

struct backup_options {
    const char *dir;
    const char *data_dir;
    struct engine *engine;
    const char *wal_archive; /* NULL: none */
    unsigned keep;           /* backups to keep of each database, this one included; 0: all */
    const char *version;     /* of the program */
    const struct clock *clock;
};

struct backup_result {
    char id[MANIFEST_ID_MAX];
    uint64_t lsn;
    int64_t taken_us;
    struct manifest_sums sums;
    size_t files;
    uint64_t archived; /* segments of the log, new in the archive */
    uint64_t pruned;   /* backups removed */
    int64_t elapsed_us;
};

/*
 * Takes a backup of everything that was durable when it was called. ERR_UNSUPPORTED from a store
 * that cannot, ERR_CONFLICT while another process is at work in DIR, ERR_NO_SPACE, ERR_IO. What a
 * failed one leaves is removed by the next. Several databases may share DIR.
 */
enum err_code backup_take(const struct backup_options *options, struct backup_result *ret_result,
                          struct err *err);

/* ---- looking ---- */

struct backup_entry {
    char id[MANIFEST_ID_MAX];
    struct err problem; /* of its manifest; code ERR_OK: none, and the rest is set */
    char database_id[ID_UUID_LEN + 1];
    uint64_t lsn;
    int64_t taken_us;
    size_t files;
    struct manifest_sums sums;
};

/* The backups in DIR, oldest first; the caller frees the array. ERR_NOT_FOUND without DIR. */
enum err_code backup_list(const char *dir, struct backup_entry **ret_entries, size_t *ret_count,
                          struct err *err);

/* Whether a text could be the name of a backup. */
bool backup_is_id(const char *name);

enum backup_damage { BACKUP_MISSING, BACKUP_WRONG_BYTES, BACKUP_UNREADABLE, BACKUP_WRONG_ROWS };

/* Gets each file that is not as the manifest says. */
typedef void backup_damage_fn(void *ctx, const struct manifest_file *file,
                              enum backup_damage damage, const char *text);

/* What reads the rows of a Parquet file, so that this part does not need to know how. NULL: rows
 * are not counted. */
typedef enum err_code backup_rows_fn(void *ctx, const char *path, uint64_t *ret_rows,
                                     struct err *err);

struct backup_verify {
    const char *dir;
    const char *id; /* NULL: the newest */
    backup_rows_fn *rows;
    backup_damage_fn *damage;
    void *ctx;
};

struct backup_verified {
    char id[MANIFEST_ID_MAX];
    size_t files;
    size_t damaged;
    uint64_t bytes;
    uint64_t rows;
};

/* Reads every byte. ERR_CORRUPT when anything is wrong (damage was called for each file). */
enum err_code backup_verify(const struct backup_verify *verify, struct backup_verified *ret_result,
                            struct err *err);

/* ---- pruning ---- */

struct backup_pruned {
    size_t backups;
    size_t files;
    uint64_t bytes;
    size_t segments;
};

/* Removes all but the newest `keep` backups (at least 1) of each database, then the files that no
 * manifest names, then the archived log behind the oldest backup. A manifest that cannot be read
 * keeps everything: ERR_CORRUPT. */
enum err_code backup_prune(const char *dir, const char *wal_archive, unsigned keep,
                           struct backup_pruned *ret_pruned, struct err *err);

/* ---- the database's id and the archive of its log ---- */

/* Reads <data_dir>/id, making one when there is none and `make` is set (else ERR_NOT_FOUND). */
enum err_code backup_database_id(const char *data_dir, bool make, const struct clock *clock,
                                 char ret_id[ID_UUID_LEN + 1], struct err *err);

/*
 * Puts every closed segment of data_dir's log into the archive, durably: a second name where that
 * can be had, else a copy. Segments that are there are passed over. Beside a running log; the
 * applier calls it before it drops segments.
 */
enum err_code backup_archive(const char *data_dir, const char *wal_archive,
                             const struct clock *clock, uint64_t *ret_new, struct err *err);

/* Copies what can be read of a log from from_lsn on, in order and without a gap, to a new log in
 * the directory `to`, which is not made when there is nothing. *ret_last_lsn is where it ends. */
enum err_code backup_salvage_log(const char *wal_dir, const char *to, uint64_t from_lsn,
                                 uint64_t *ret_last_lsn, struct err *err);

/* ---- the way back ---- */

struct restore_options {
    const char *dir;
    const char *id; /* NULL: the newest that is not behind to_lsn and to_us */
    const char *data_dir;
    const char *store_file;
    const char *const *logs; /* further directories with segments: an archive, a data directory's
                                wal/; ends in NULL; or NULL */
    bool has_lsn;
    uint64_t to_lsn;
    bool has_time;
    int64_t to_us;
    bool dry_run;
    store_open_fn *store_open;
    struct store_open_options store;
    backup_rows_fn *rows;
    backup_damage_fn *damage; /* of the verification that comes first */
    engine_event_fn *event;   /* each step in words */
    void *ctx;
    const struct clock *clock;
};

struct restore_result {
    char id[MANIFEST_ID_MAX];
    uint64_t backup_lsn;
    int64_t backup_us;
    uint64_t lsn;         /* what the directory has in the end */
    int64_t last_us;      /* when the last record was written; the backup's time without any */
    uint64_t log_end_lsn; /* how far the logs go */
    bool is_open;         /* to_us was asked for, and no record behind it was seen: there may have
                             been more before it, in a log that was not given */
    uint64_t rows[TABLE_ID_END];
    size_t cold_files;
    int64_t elapsed_us;
};

/*
 * Makes a new data directory of a backup and the log behind it. Steps, each of which may be the
 * last before a crash:
 *
 *   verify ─► mark data_dir unfinished ─► rows, cold files ─► LSN ─► log, cut at N
 *          ─► applied ─► mark removed
 *
 * The engine opens no directory that is marked; a restore into a marked one starts over.
 * ERR_CONFLICT: data_dir is not empty, or somebody has it. ERR_NOT_FOUND: no such backup, or
 * records are missing from the log. ERR_CORRUPT: the backup is damaged.
 */
enum err_code backup_restore(const struct restore_options *options,
                             struct restore_result *ret_result, struct err *err);

#endif
