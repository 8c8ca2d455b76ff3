/*
 * What the files of eider check share: findings about a stopped data directory, and their repairs.
 * A repair sets aside and puts back; it deletes nothing, and doing it twice does no harm.
 */
#ifndef EIDER_CLI_CHECK_H
#define EIDER_CLI_CHECK_H

#include "backup/files.h"
#include "cli/cli.h"
#include "store/store.h"

enum { FINDINGS_MAX = 256, FINDING_CODE_MAX = 32 };

enum severity { SEVERITY_NOTE, SEVERITY_WARNING, SEVERITY_ERROR };

/* What --repair does about it. */
enum repair {
    REPAIR_NONE,
    REPAIR_OPEN,      /* a start of the engine does it */
    REPAIR_SET_ASIDE, /* `path` goes to quarantine/ */
    REPAIR_COLD_FILE, /* the cold file `file` comes from a backup, or is set aside */
    REPAIR_GIVEN_UP,  /* as above, of one that is off the list: a start lists it again */
    REPAIR_BACK,      /* a start lists `file` again or refuses it; then it may be forgotten */
    REPAIR_FORGET,    /* nothing is known of `file` but its name, which may be forgotten */
    REPAIR_LOG,       /* what can be read of the log stays, the rest is set aside */
    REPAIR_ADOPT      /* a new database with the cold files of their manifest */
};

struct finding {
    char code[FINDING_CODE_MAX]; /* stable: COLD_MISSING and the like; docs/backup.md lists them */
    enum severity severity;
    enum repair repair;
    char what[ERR_MSG_MAX];
    char meaning[ERR_MSG_MAX]; /* for the data: which rows, which days */
    char remedy[ERR_MSG_MAX];  /* what --repair does, or what else to do */
    char path[FILES_PATH_MAX];
    struct cold_file file;
    bool unreadable; /* what is at `path` was not read, so nothing is known against its bytes */
};

/* Directories of backups that were read: --from, backup.dir. */
enum { CHECK_POOLS_MAX = 2 };
struct check_pools {
    char *at[CHECK_POOLS_MAX];
    size_t count;
};
void check_pools_free(struct check_pools *pools);

#define CHECK_POOLS_AUTO __attribute__((cleanup(check_pools_free)))

/* Files that are there again and that a start did not list, with its reason. */
struct check_refusal {
    struct cold_file file;
    const char *why; /* static */
};
struct check_refusals {
    struct check_refusal *at; /* the caller frees */
    size_t count;
};

struct check {
    struct cli *cli;
    const struct config *config;
    const struct check_refusals *refusals; /* of the repair before this look, or NULL */
    /* the log */
    uint64_t segments;
    uint64_t records;
    uint64_t first_lsn;
    uint64_t durable_lsn;
    uint64_t torn_bytes;
    bool log_damaged;
    /* the database */
    bool has_database;
    bool database_damaged; /* it is there and does not open */
    char database_problem[ERR_MSG_MAX];
    uint64_t applied_lsn;
    char where[ERR_MSG_MAX]; /* PostgreSQL's, when it answered; no password */
    uint32_t schema_version;
    uint32_t schema_newest; /* this program's */
    struct store_table_stats tables[TABLE_ID_END];
    bool has_table[TABLE_ID_END];
    /* cold files and snapshots */
    struct cold_file *cold; /* as the database lists them; the check's */
    size_t cold_count;
    bool cold_known; /* that list was read whole; without it no file can be called listed or not */
    size_t cold_good;
    uint64_t cold_bytes;
    bool has_manifest;   /* cold/manifest.json can be read */
    bool has_cold;       /* there are cold files, whoever lists them */
    uint64_t series;     /* that cold/series defines */
    bool log_whole;      /* a database can be made of the log alone */
    bool database_empty; /* it opens, and is none: made by a start that came to nothing */
    size_t snapshots;    /* that open */
    uint64_t snapshot_lsn;
    size_t finding_count;
    size_t findings_more; /* that did not fit */
    struct finding findings[FINDINGS_MAX];
};

/* Adds one; the caller fills what else there is to say. Never NULL: past the bound the last one is
 * used again and the rest counted. */
struct finding *check_add(struct check *check, const char *code, enum severity severity,
                          const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* The errors among the findings. */
size_t check_errors(const struct check *check);

/* check_files.c: cold files, snapshots, what is set aside, half restores. */
struct duckdb_reader;
void check_cold_list(struct check *check, struct duckdb_reader *reader);
void check_files(struct check *check);

/* check_remote.c: asks PostgreSQL, the log being looked at already. */
void check_postgres(struct check *check);

/* check_report.c: appends what was found, as text or as a JSON object. */
void check_text(const struct check *check, struct buf *out);
void check_json(const struct check *check, struct buf *out);

/*
 * check_repair.c: the directories of backups that --from or backup.dir names; none when neither
 * does. Asked before anything is touched: files are given up when no backup has them, so a
 * directory that is mistyped or not mounted must not be taken for one that has none. One that is
 * only configured may not have been written to yet: that is told. With --forget-missing, which
 * cannot be taken back, every place that is named or configured must be there and be read whole.
 */
enum err_code check_find_backups(const struct check *check, struct check_pools *ret_pools,
                                 struct err *err);

/* check_repair.c: does what the findings say, and prints each deed; adds what the start that ends
 * it did not list. */
enum err_code check_repair(const struct check *check, const struct check_pools *pools,
                           struct check_refusals *refusals, struct err *err);

#endif
