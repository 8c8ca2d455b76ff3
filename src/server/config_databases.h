/*
 * The map `databases` of the configuration file: databases beside the top level's, which is called
 * "default". What one does not say is as at the top level.
 *
 *   databases:
 *     eu:
 *       data_dir: /srv/eider-eu            # default: <data_dir>/databases/eu
 *       storage: {type: duckdb, duckdb: {threads: 2}}
 *       limits: {disk_bytes_max: 20GiB, memory_limit: 1GiB, series_max: 100000, readers: 2}
 *       tokens: [{name: eu-writer, token: "${EU_TOKEN}", scopes: [ingest]}]
 *       meter: false
 *
 * The keys are settings of the table under their own names, but for those of the process
 * (server.*, log.*, ...), and a few short names (limits.*, tokens, collect, meter). It cannot be
 * given by environment or flags; ${VAR} expands in all values.
 *
 * Each becomes a `struct config` of its own, so that whatever opens the top level's database opens
 * another one alike. Ownership: config_databases_read makes the map, the configuration frees it; a
 * view's texts belong to the map where the database said them, else to the top level.
 */
#ifndef EIDER_SERVER_CONFIG_DATABASES_H
#define EIDER_SERVER_CONFIG_DATABASES_H

#include <yaml.h>

#include "server/config.h"
#include "server/config_upstreams.h"

#define CONFIG_DATABASE_DEFAULT "default"

enum { CONFIG_DATABASES_MAX = 64, CONFIG_DATABASE_NAME_MAX = 63 };

struct config_database {
    char name[CONFIG_DATABASE_NAME_MAX + 1];
    size_t line;
    struct config view;            /* not for config_fini */
    bool own[CONFIG_SETTINGS_MAX]; /* settings that the database says itself, by index */
    char *made_data_dir;           /* the view's, when it follows from the top level's */
    char *made_head_file;
    char *made_backup_dir;
    char *made_wal_archive;
};

struct config_databases {
    const char *file; /* for messages; the configuration's */
    size_t count;
    struct config_database items[];
};

/* 1 to 63 of a-z, 0-9, "_" and "-", not beginning with the last two. */
bool config_database_name_fits(struct slice name);

/* Reads the map; errors are ERR_USAGE and name database, file and line. */
enum err_code config_databases_read(const struct config_yaml *yaml, const yaml_node_t *node,
                                    struct config_databases **ret_databases, struct err *err);
void config_databases_free(struct config_databases *databases); /* NULL is fine */

/* Once all layers of the top level are known: fills the views, refuses directories used twice.
 * With `for_a_server` also adds a note when all memory limits together are more than there is. */
enum err_code config_databases_settle(struct config *config, bool for_a_server, struct err *err);

/* The view of a named database; "default" is `config` itself. NULL when there is none. */
const struct config *config_database_find(const struct config *config, struct slice name);

/*
 * Makes `config` that of a named database, for a program that works with one alone; its texts are
 * its own again. A name that is not in the map is the database at its default place, if there is no
 * map at all. False: there is a map, and it is not in it.
 */
bool config_database_choose(struct config *config, struct slice name);

/* The name nearest to one that is none, or NULL. */
const char *config_database_suggest(const struct config *config, struct slice name);

/* Whether it says a setting itself. */
bool config_database_says(const struct config_database *database, const char *setting);

/* Whether a setting can be given for one database (its names here are config_database_key's). */
bool config_database_takes(const struct config_setting *setting);

#endif
