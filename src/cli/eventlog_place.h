/*
 * Where the event log of a --db-path lives: the original's program named a DuckDB file, Eider keeps
 * a data directory.
 *
 *   named by --url, EIDER_URL, --data-dir, EIDER_DATA_DIR or eider.yaml    that, nothing else
 *   DB_PATH is a directory                                                that directory
 *   there is DB_PATH.eider (".duckdb" or ".db" taken off)                  that
 *   the directory of DB_PATH is a data directory (a server's, next to it)  that
 *   else                                                                  DB_PATH.eider is made
 *
 * A file that the original wrote at DB_PATH is brought into a directory of the last three kinds
 * once; a mark in the directory says so. The file itself is never changed.
 */
#ifndef EIDER_CLI_EVENTLOG_PLACE_H
#define EIDER_CLI_EVENTLOG_PLACE_H

#include "cli/ledger.h"

struct place {
    bool exists;         /* there is something to read, or a server to ask */
    bool must_import;    /* the original's file, not brought in yet */
    const char *db_path; /* borrowed */
};

/* Finds the place, makes the parent directory as the original did, and points config->data_dir to
 * it. */
enum err_code place_find(const struct cli *cli, const char *db_path, struct config *config,
                         struct place *ret_place, struct err *err);

/* Brings the original's file in (the ledger is open for writing) and marks the directory. */
enum err_code place_import(struct ledger *ledger, const struct place *place, struct err *err);

/* What an import of one file came to. */
struct place_imported {
    uint64_t read;
    uint64_t stored;
    uint64_t duplicates;
    uint64_t refused;
    char refusal[256]; /* the first one's reason */
};

/* Books every row of api_event_log in a database of the original. ERR_NOT_FOUND without that
 * table. */
enum err_code place_import_file(struct ledger *ledger, const char *path,
                                struct place_imported *ret_imported, struct err *err);

/* The directory made of a database's path: "a/log.duckdb" -> "a/log.eider". The caller frees. */
char *place_derive(const char *db_path);

#endif
