/* eider serve: load the configuration, then be the server. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "server/config_databases.h"
#include "server/server.h"
#include "store/duckdb/duckdb_reader.h"

/*
 * DUCKDB_PATH of an installation of the originals names their database. Opening that as ours would
 * set it aside as damaged; whoever comes from there wants its contents.
 */
static enum err_code
refuse_foreign_database(const struct config *config, struct err *err)
{
    struct buf path BUF_AUTO = {0};
    struct buf wal BUF_AUTO = {0};

    if (config->storage.type != CONFIG_STORAGE_DUCKDB) {
        return ERR_OK;
    }
    buf_init(&path, 0);
    buf_init(&wal, 0);
    buf_add_fmt(&path, "%s/%s", config->data_dir, config->storage.duckdb.path);
    buf_add_char(&path, '\0');
    buf_add_fmt(&wal, "%s/wal", config->data_dir);
    buf_add_char(&wal, '\0');
    /* A directory with a log and the usual name is ours; no need to open the file twice. */
    bool usual = strcmp(config->storage.duckdb.path, "eider.duckdb") == 0;
    if (access(path.ptr, F_OK) != 0 || (usual && access(wal.ptr, F_OK) == 0)) {
        return ERR_OK;
    }
    bool ours = true;
    if (duckdb_reader_is_ours(path.ptr, &ours, err) == ERR_OK && !ours) {
        return err_set(err, ERR_USAGE,
                       "%.200s is a database that Eider did not write; start with another "
                       "--data-dir and bring it in with `eider import %.200s`",
                       path.ptr, path.ptr);
    }
    return ERR_OK;
}

static enum err_code
refuse_foreign_databases(const struct config *config, struct err *err)
{
    const struct config_databases *others = config->databases;
    enum err_code code = ERR_OK;

    for (size_t i = 0; others && i < others->count && code == ERR_OK; i++) {
        code = refuse_foreign_database(&others->items[i].view, err);
    }
    return code;
}

/* Settings without effect belong into the log: nobody runs `eider config` before there is need. */
static void
tell_notes(const struct config *config)
{
    const struct log_options options = {.level = (enum log_level)config->log.level,
                                        .json = config->log.json};

    log_init(&options);
    for (size_t i = 0; i < config->note_count; i++) {
        log_write(LOG_WARNING, "config", "%s", config->notes[i]);
    }
}

int
cli_serve(struct cli *cli)
{
    struct config config CONFIG_AUTO = {0};
    struct config_options sources = {
        .file = cli_value(cli, "config"),
        .flags = cli->flags,
        .flag_count = cli->flag_count,
        .env = cli->env,
        .for_a_server = true,
    };
    struct err err = {0};

    if (config_load(&sources, &config, &err) != ERR_OK ||
        refuse_foreign_database(&config, &err) != ERR_OK ||
        refuse_foreign_databases(&config, &err) != ERR_OK) {
        return cli_fail(cli, &err);
    }
    tell_notes(&config);
    if (server_run(&config, &sources, &err) != ERR_OK) {
        return cli_fail(cli, &err);
    }
    return CLI_OK;
}
