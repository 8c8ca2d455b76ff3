/*
 * Whom a command talks to: the server that has the data directory (or --url), or, when none runs,
 * the data directory itself, opened in this process with the same engine the server uses.
 *
 * Ownership: open/close. The configuration must outlive. One thread.
 */
#ifndef EIDER_CLI_TARGET_H
#define EIDER_CLI_TARGET_H

#include "catalog/batch.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "ingest/ingest.h"
#include "store/engine.h"

/* What the lock file says about a data directory. */
struct target_lock {
    bool held;
    long pid;
    char url[256]; /* empty: unknown */
};

void target_read_lock(const char *data_dir, struct target_lock *ret_lock);

/*
 * Shares the lock of a data directory while its file is read without the engine, so that a server
 * that starts meanwhile is told, instead of finding its database locked. ERR_CONFLICT when somebody
 * has it; *ret_fd is -1 when there is no lock file (a copied directory). Close the descriptor.
 */
enum err_code target_share_lock(const char *data_dir, int *ret_fd, struct err *err);

enum target_use {
    TARGET_READ,
    TARGET_WRITE,   /* rows, through ingest */
    TARGET_ENGINE,  /* records of another kind: the engine alone */
    TARGET_MAINTAIN /* the engine, which seals and drops what it is asked to, nothing by itself */
};

struct target {
    const struct config *config;
    struct client *client; /* either this */
    struct engine *engine; /* or this */
    struct ingest *ingest; /* with the engine, for TARGET_WRITE */
};

/*
 * Finds and opens the target. Without a server TARGET_READ and TARGET_MAINTAIN want a data
 * directory that is there (ERR_NOT_FOUND) and wait until all that is durable is applied; the others
 * make one.
 */
enum err_code target_open(struct cli *cli, const struct config *config, enum target_use use,
                          struct target *ret_target, struct err *err);
void target_close(struct target *target);

/*
 * Makes `config` that of --database, if it is given: of `databases` in the configuration, or, when
 * that names none, of the place where a server keeps one that says nothing else. ERR_USAGE for a
 * name that is unknown there, or is none.
 */
enum err_code target_choose_database(const struct cli *cli, struct config *config, struct err *err);

/* The address of --url, or of EIDER_URL unless --data-dir is given; NULL: neither. */
const char *target_url(const struct cli *cli);

/* Opens only a server: that of target_url, or the one that holds the data directory. *ret_client is
 * NULL when none runs. */
enum err_code target_find_server(const struct cli *cli, const struct config *config,
                                 struct client **ret_client, struct err *err);

/* Sets a value of JSON, as the server writes the column's type; null leaves NULL. False when it is
 * of another type. */
struct json_t;
bool target_set_value(struct batch *rows, size_t column, size_t row, const struct json_t *value);

/* Runs one read-only statement. The rows belong to the caller. */
enum err_code target_sql(struct target *target, const char *sql, struct batch *ret_rows,
                         bool *ret_truncated, struct err *err);

/* The path of the database file. The caller frees. */
char *target_database_path(const struct config *config);

/* Whether a server, or an import, ever kept its data there. */
bool target_has_data(const struct config *config);

#endif
