/*
 * eider check: every record of the log, every table of the database, every cold file and snapshot,
 * and whether they fit together; or the health of the server that has them open. Changes nothing
 * without --repair.
 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/check.h"
#include "cli/cli.h"
#include "cli/target.h"
#include "store/duckdb/duckdb_reader.h"
#include "wal/wal_scan.h"

enum { REPAIRS_MAX = 64 };

struct finding *
check_add(struct check *check, const char *code, enum severity severity, const char *fmt, ...)
{
    struct finding *finding;
    va_list ap;

    if (check->finding_count < FINDINGS_MAX) {
        finding = &check->findings[check->finding_count++];
    } else {
        check->findings_more++;
        finding = &check->findings[FINDINGS_MAX - 1];
    }
    *finding = (struct finding){.severity = severity};
    snprintf(finding->code, sizeof(finding->code), "%s", code);
    va_start(ap, fmt);
    vsnprintf(finding->what, sizeof(finding->what), fmt, ap);
    va_end(ap);
    return finding;
}

size_t
check_errors(const struct check *check)
{
    size_t errors = check->findings_more;

    for (size_t i = 0; i < check->finding_count; i++) {
        errors += check->findings[i].severity == SEVERITY_ERROR;
    }
    return errors;
}

static void __attribute__((format(printf, 2, 3))) set_text(char *to, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(to, ERR_MSG_MAX, fmt, ap);
    va_end(ap);
}

static void
check_log(struct check *check)
{
    struct wal_scan scan = {0};
    struct err err = {0};
    struct buf dir BUF_AUTO = {0};

    buf_init(&dir, 0);
    buf_add_fmt(&dir, "%s/wal", check->config->data_dir);
    buf_add_char(&dir, '\0');
    if (wal_scan_dir(dir.ptr, wal_sys_real(), NULL, NULL, &scan, &err) != ERR_OK) {
        struct finding *finding =
            check_add(check, "LOG_DAMAGED", SEVERITY_ERROR, "log: %.400s", err.msg);
        finding->repair = REPAIR_LOG;
        set_text(finding->meaning, "What the database has applied is safe. Records behind the "
                                   "damage that are not applied cannot be read; the server does "
                                   "not start.");
        set_text(finding->remedy, "keeps the whole records in front of the damage and moves the "
                                  "log to quarantine/. A backup and the archived log may have "
                                  "more: see \"eider restore\".");
        check->log_damaged = true;
        wal_scan_fini(&scan);
        return;
    }
    check->segments = scan.extent_count;
    check->records = scan.records;
    check->torn_bytes = scan.torn_bytes;
    if (scan.extent_count > 0) {
        check->first_lsn = scan.extents[0].first_lsn;
        check->durable_lsn = scan.extents[scan.extent_count - 1].last_lsn;
    }
    if (scan.torn_bytes > 0) {
        struct finding *finding =
            check_add(check, "LOG_TORN", SEVERITY_NOTE,
                      "the log ends in %" PRIu64 " bytes of an unfinished write", scan.torn_bytes);
        finding->repair = REPAIR_OPEN;
        set_text(finding->meaning, "It was never acknowledged to anybody; nothing is lost.");
        set_text(finding->remedy, "cuts it off, as the next start does.");
    }
    wal_scan_fini(&scan);
}

/* One row of numbers. */
static enum err_code
ask(struct duckdb_reader *reader, const char *sql, const struct batch **ret_row, struct err *err)
{
    enum err_code code = duckdb_reader_sql(reader, sql, err);

    return code == ERR_OK ? duckdb_reader_next(reader, ret_row, err) : code;
}

static void
tell_table(struct check *check, const struct catalog_table *table, const struct err *err)
{
    struct finding *finding = check_add(check, "TABLE_UNREADABLE", SEVERITY_ERROR,
                                        "table %s: %.400s", table->name, err->msg);

    set_text(finding->meaning,
             "Rows of %s cannot be read: the database is damaged there, or a "
             "cold file of it is missing (then that is told below).",
             table->name);
    set_text(finding->remedy, "does nothing by itself: when no cold file is to blame, move the "
                              "database away (the next start rebuilds it from the snapshot and "
                              "the log), or restore a backup.");
}

static bool
has_table(const struct duckdb_reader *reader, const char *name)
{
    const char *there;

    for (size_t i = 0; (there = duckdb_reader_table(reader, i)); i++) {
        if (strcmp(there, name) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * The table that holds rows itself. What the view of a sealed table adds is in cold files, which
 * are looked at one by one; their rows are counted by the list, since the paths in the view may be
 * those of another place.
 */
static const char *
hot_name(const struct duckdb_reader *reader, const struct catalog_table *table, struct buf *name)
{
    buf_init(name, 1 << 16);
    catalog_hot_name(table, name);
    buf_add_char(name, '\0');
    return has_table(reader, name->ptr) ? name->ptr : table->name;
}

static void
add_cold_rows(const struct check *check, struct store_table_stats *stats)
{
    for (size_t i = 0; i < check->cold_count; i++) {
        const struct cold_file *file = &check->cold[i];
        if (file->table != stats->table || file->kind != COLD_RAW) {
            continue;
        }
        if (stats->rows == 0 || file->min_us < stats->min_us) {
            stats->min_us = file->min_us;
        }
        if (stats->rows == 0 || file->max_us > stats->max_us) {
            stats->max_us = file->max_us;
        }
        stats->rows += file->rows;
    }
}

static void
check_table(struct check *check, struct duckdb_reader *reader, const struct catalog_table *table)
{
    struct store_table_stats *stats = &check->tables[table->id];
    const struct batch *row;
    struct buf name BUF_AUTO = {0};
    struct buf sql BUF_AUTO = {0};
    struct err err = {0};

    buf_init(&sql, 0);
    buf_add_cstr(&sql, "SELECT count(*)");
    if (table->time_column != CATALOG_NONE) {
        const char *time = table->columns[table->time_column].name;
        buf_add_fmt(&sql, ", min(\"%s\"), max(\"%s\")", time, time);
    }
    buf_add_fmt(&sql, " FROM %s", hot_name(reader, table, &name));
    buf_add_char(&sql, '\0');
    if (ask(reader, sql.ptr, &row, &err) != ERR_OK || row->rows != 1) {
        tell_table(check, table, &err);
        return;
    }
    check->has_table[table->id] = true;
    stats->table = table->id;
    stats->rows = (uint64_t)batch_get_i64(row, 0, 0);
    if (row->column_count > 1) {
        stats->min_us = batch_get_i64(row, 1, 0);
        stats->max_us = batch_get_i64(row, 2, 0);
    }
    add_cold_rows(check, stats);
}

/* A key that is there twice means that a replaced row was not removed. */
static void
check_keys(struct check *check, struct duckdb_reader *reader, const struct catalog_table *table)
{
    const struct batch *row;
    struct buf name BUF_AUTO = {0};
    struct buf sql BUF_AUTO = {0};
    struct buf keys BUF_AUTO = {0};
    struct err err = {0};

    if (table->kind != TABLE_REPLACE || table->key_mask == 0 || !check->has_table[table->id]) {
        return;
    }
    buf_init(&sql, 0);
    buf_init(&keys, 0);
    for (size_t i = 0; i < table->column_count; i++) {
        if (table->key_mask >> i & 1) {
            buf_add_fmt(&keys, "%s\"%s\"", keys.len ? ", " : "", table->columns[i].name);
        }
    }
    buf_add_fmt(&sql, "SELECT count(*) FROM (SELECT 1 FROM %s GROUP BY %.*s HAVING count(*) > 1)",
                hot_name(reader, table, &name), SLICE_FMT(buf_slice(&keys)));
    buf_add_char(&sql, '\0');
    if (ask(reader, sql.ptr, &row, &err) != ERR_OK || row->rows != 1) {
        tell_table(check, table, &err);
    } else if (batch_get_i64(row, 0, 0) != 0) {
        struct finding *finding =
            check_add(check, "KEYS_DOUBLED", SEVERITY_ERROR,
                      "table %s: %" PRId64 " keys (%.*s) are there more than once", table->name,
                      batch_get_i64(row, 0, 0), SLICE_FMT(buf_slice(&keys)));
        set_text(finding->meaning,
                 "Replaced rows of %s are still there: sums and counts over "
                 "them are too large.",
                 table->name);
        set_text(finding->remedy, "does nothing: which of two rows is right is told by the log; "
                                  "restore a backup and let it be replayed.");
    }
}

static void
check_database(struct check *check)
{
    char *path MEM_AUTO = target_database_path(check->config);
    const struct catalog_table *table;
    struct duckdb_reader *reader;
    const struct batch *row;
    struct err err = {0};

    if (access(path, F_OK) != 0) {
        return;
    }
    if (duckdb_reader_open(path, DUCKDB_FILE_DATABASE, &reader, &err) != ERR_OK) {
        check->database_damaged = true;
        set_text(check->database_problem, "database: %.400s", err.msg);
        return;
    }
    check->has_database = true;
    if (ask(reader, "SELECT max(lsn) FROM eider_applied", &row, &err) != ERR_OK || row->rows != 1) {
        check_add(check, "DATABASE_STRANGE", SEVERITY_ERROR, "database: %.400s", err.msg);
    } else {
        check->applied_lsn = (uint64_t)batch_get_i64(row, 0, 0);
    }
    if (has_table(reader, "eider_cold_files")) {
        check_cold_list(check, reader);
    }
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        /* The next start adds what a database of an earlier version does not have. */
        bool expected = table->id < TABLE_EVENTS || has_table(reader, table->name);
        if (table->kind != TABLE_VIEW && expected) {
            check_table(check, reader, table);
            check_keys(check, reader, table);
        }
    }
    duckdb_reader_close(reader);
}

/* Durable records that neither the log nor the database has are lost. */
static void
check_together(struct check *check)
{
    if (check->has_database && !check->database_empty && check->segments > 0 &&
        check->first_lsn > check->applied_lsn + 1) {
        bool helps = check->snapshots > 0 && check->first_lsn <= check->snapshot_lsn + 1;
        struct finding *finding = check_add(check, "RECORDS_MISSING", SEVERITY_ERROR,
                                            "records %" PRIu64 " to %" PRIu64
                                            " are neither in the database nor in the log",
                                            check->applied_lsn + 1, check->first_lsn - 1);
        finding->repair = helps ? REPAIR_OPEN : REPAIR_NONE;
        set_text(finding->meaning,
                 "The database is older than the log: a copy from elsewhere, most likely.");
        if (helps) {
            set_text(finding->remedy,
                     "sets the database aside and takes the snapshot of LSN "
                     "%" PRIu64 " in its place, as the next start does.",
                     check->snapshot_lsn);
        } else {
            set_text(finding->remedy, "does nothing: a backup with the archived log has them, see "
                                      "\"eider restore\".");
        }
    }
}

/* What becomes of a database that is not there or does not open depends on what else there is. */
static void
check_rebuild(struct check *check)
{
    char *path MEM_AUTO = target_database_path(check->config);
    bool log_whole = check->log_whole;
    bool empty = check->database_empty;
    bool snapshot_reaches = check->snapshots > 0 &&
                            (check->records == 0 || check->first_lsn <= check->snapshot_lsn + 1);

    if ((check->has_database && !empty) ||
        (!check->database_damaged && log_whole && check->snapshots == 0)) {
        return; /* the next start makes it of the log */
    }
    bool lost = !log_whole && !snapshot_reaches;
    struct finding *finding =
        check_add(check, lost ? "DATABASE_LOST" : "DATABASE_DAMAGED", SEVERITY_ERROR, "%s", "");
    if (check->database_damaged) {
        set_text(finding->what, "%s", check->database_problem);
    } else if (empty) {
        set_text(finding->what, "%.300s is empty: nothing was ever applied to it", path);
    } else {
        set_text(finding->what, "%.300s is missing, and the log begins at record %" PRIu64, path,
                 check->first_lsn);
    }
    if (!lost) {
        finding->repair = REPAIR_OPEN;
        set_text(finding->meaning, "Nothing acknowledged is lost: %s.",
                 snapshot_reaches ? "the snapshot in backup/ and the log have all of it"
                                  : "the log has all of it, from record 1 on");
        set_text(finding->remedy,
                 "sets the file aside and rebuilds the database, as the next start "
                 "does.");
        return;
    }
    if (!check->has_manifest) {
        set_text(finding->meaning, "No snapshot, no whole log and no list of cold files makes up "
                                   "for it.");
        set_text(finding->remedy, "does nothing: restore a backup, \"eider restore\".");
        return;
    }
    finding->repair = REPAIR_ADOPT;
    const char *series = check->series > 0 ? "definitions of series are in cold/series"
                                           : "definitions of series are in a backup or nowhere";
    if (check->records > 0) {
        set_text(finding->meaning,
                 "No snapshot makes up for it: rows of records before %" PRIu64 " are in cold "
                 "files, or in a backup, or nowhere; %s.",
                 check->first_lsn, series);
    } else {
        set_text(finding->meaning,
                 "No snapshot and no log make up for it: rows are in cold files, or in a backup, "
                 "or nowhere; %s.",
                 series);
    }
    set_text(finding->remedy,
             "makes a new database that lists the cold files and replays the log. "
             "If there is a backup, restore it instead: \"eider restore --from DIR "
             "--wal %.100s\" loses less.",
             check->config->data_dir);
}

static enum err_code
look(struct check *check, struct err *err)
{
    int lock;
    enum err_code code = target_share_lock(check->config->data_dir, &lock, err);

    if (code != ERR_OK) {
        return code;
    }
    bool remote = check->config->storage.type == CONFIG_STORAGE_POSTGRES;
    check_log(check);
    if (remote) {
        check_postgres(check);
    } else if (check->config->storage.type == CONFIG_STORAGE_DUCKDB) {
        check_database(check);
    }
    check_files(check);
    check_together(check);
    if (!remote) {
        check_rebuild(check);
    }
    if (lock >= 0) {
        close(lock);
    }
    return ERR_OK;
}

static enum err_code
print(const struct check *check, struct err *err)
{
    struct buf text BUF_AUTO = {0};

    buf_init(&text, 0);
    if (cli_has(check->cli, "json")) {
        check_json(check, &text);
    } else {
        check_text(check, &text);
    }
    enum err_code code = cli_write(check->cli, &text, err);
    for (size_t i = 0; i < check->finding_count && code == ERR_OK; i++) {
        if (check->findings[i].severity != SEVERITY_NOTE) {
            cli_note(check->cli, "%s", check->findings[i].what);
        }
    }
    return code;
}

static struct check *
check_new(struct cli *cli, const struct config *config)
{
    struct check *check = mem_zalloc(1, sizeof(*check));

    check->cli = cli;
    check->config = config;
    return check;
}

static void
check_free(struct check *check)
{
    free(check->cold);
    free(check);
}

/* The next finding from *at on that --repair does something about, or NULL. */
static const struct finding *
next_mendable(const struct check *check, size_t *at)
{
    while (*at < check->finding_count) {
        const struct finding *finding = &check->findings[(*at)++];
        if (finding->repair != REPAIR_NONE) {
            return finding;
        }
    }
    return NULL;
}

/* Whether a repair has left, or made, something that another one may mend. */
static bool
is_to_go_on(const struct check *before, const struct check *after)
{
    const struct finding *one = NULL;
    const struct finding *other = NULL;
    bool same = before->findings_more == after->findings_more;
    size_t i = 0;
    size_t j = 0;

    do {
        one = next_mendable(before, &i);
        other = next_mendable(after, &j);
        same = same && !one == !other && (!one || strcmp(one->what, other->what) == 0);
    } while (one && other && same);
    j = 0;
    return !same && next_mendable(after, &j);
}

/*
 * Repairs and looks again, and does so anew where there is more to mend than the first look could
 * tell: a database that is made of the log alone lists none of the cold files that the old one had,
 * and no look holds more than FINDINGS_MAX. Else files that nobody lists behind a repair wait to be
 * collected, as after any start: the engine merged them, or brought their rows back.
 */
static enum err_code
repair(struct check **check, const struct check_pools *pools, struct check_refusals *refusals,
       struct err *err)
{
    enum err_code code = ERR_OK;
    bool again = (*check)->finding_count > 0;
    bool of_log = (*check)->database_damaged && (*check)->log_whole && (*check)->snapshots == 0;

    for (int i = 0; i < REPAIRS_MAX && again && code == ERR_OK; i++) {
        struct check *after = check_new((*check)->cli, (*check)->config);
        after->refusals = refusals;
        refusals->count = 0; /* of the last start */
        code = check_repair(*check, pools, refusals, err);
        code = code ? code : look(after, err);
        again = (of_log || (*check)->findings_more > 0) && is_to_go_on(*check, after);
        check_free(*check);
        *check = after; /* what is still wrong */
    }
    return code;
}

static enum err_code
repair_from(struct check **check, struct err *err)
{
    struct check_pools pools CHECK_POOLS_AUTO = {0};
    struct check_refusals refusals = {0};
    enum err_code code = check_find_backups(*check, &pools, err);

    code = code ? code : repair(check, &pools, &refusals, err);
    (*check)->refusals = NULL;
    free(refusals.at);
    return code;
}

static int
check_offline(struct cli *cli, const struct config *config, struct err *err)
{
    if (access(config->data_dir, F_OK) != 0) {
        err_set(err, ERR_NOT_FOUND, "there is no data directory %s; give --data-dir or --url",
                config->data_dir);
        return cli_fail(cli, err);
    }
    if (!target_has_data(config)) {
        err_set(err, ERR_NOT_FOUND, "%s is no data directory of Eider; give --data-dir or --url",
                config->data_dir);
        return cli_fail(cli, err);
    }
    if (cli_has(cli, "forget-missing") && !cli_has(cli, "repair")) {
        err_set(err, ERR_USAGE, "check: --forget-missing is for --repair");
        return cli_fail(cli, err);
    }
    struct check *check = check_new(cli, config);
    enum err_code code = look(check, err);
    if (code == ERR_OK && cli_has(cli, "repair")) {
        code = repair_from(&check, err);
    }
    code = code ? code : print(check, err);
    bool wrong = check_errors(check) > 0;
    check_free(check);
    if (code != ERR_OK) {
        return cli_fail(cli, err);
    }
    return wrong ? CLI_FAILED : CLI_OK;
}

/* ---- a running server ---- */

static enum err_code
get(struct client *client, const char *path, json_t **ret_body, bool *ret_healthy, struct err *err)
{
    struct client_request request = {.path = path};
    struct client_reply reply;
    enum err_code code = client_send(client, &request, &reply, err);

    if (code != ERR_OK) {
        return code;
    }
    /* A red health is an answer too: 503 with a body. */
    *ret_body = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
    if (!*ret_body || (reply.status != 200 && reply.status != 503)) {
        json_decref(*ret_body);
        return client_refusal(client, &reply, err);
    }
    *ret_healthy = *ret_healthy && reply.status == 200;
    return ERR_OK;
}

static void
print_health(struct cli *cli, const char *title, const json_t *body)
{
    char *text = json_dumps(body, JSON_INDENT(2));

    fprintf(cli->out, "%s %s\n", title, text);
    free(text);
}

static int
check_server(struct cli *cli, struct client *client, struct err *err)
{
    json_t *health = NULL;
    json_t *database = NULL;
    bool healthy = true;
    enum err_code code = get(client, "/health", &health, &healthy, err);

    if (code == ERR_OK) {
        code = get(client, "/database/health", &database, &healthy, err);
    }
    if (code != ERR_OK) {
        json_decref(health);
        return cli_fail(cli, err);
    }
    const char *state = json_string_value(json_object_get(health, "status"));
    healthy = healthy && (!state || strcmp(state, "healthy") == 0) &&
              !json_is_false(json_object_get(database, "database_healthy"));
    if (cli_has(cli, "json")) {
        json_t *all = json_pack("{s:b, s:s, s:O, s:O}", "ok", healthy, "url", client_url(client),
                                "health", health, "database", database);
        char *text = json_dumps(all, JSON_COMPACT);
        fprintf(cli->out, "%s\n", text);
        free(text);
        json_decref(all);
    } else {
        fprintf(cli->out, "server %s\n", client_url(client));
        print_health(cli, "/health", health);
        print_health(cli, "/database/health", database);
        fputs(healthy ? "OK\n" : "NOT OK\n", cli->out);
    }
    json_decref(health);
    json_decref(database);
    return healthy ? CLI_OK : CLI_FAILED;
}

int
cli_check(struct cli *cli)
{
    struct config config CONFIG_AUTO = {0};
    struct client *client;
    struct err err = {0};

    if (cli_load_config(cli, false, &config, &err) != ERR_OK ||
        target_find_server(cli, &config, &client, &err) != ERR_OK) {
        return cli_fail(cli, &err);
    }
    if (!client) {
        return check_offline(cli, &config, &err);
    }
    if (cli_has(cli, "repair")) {
        err_set(&err, ERR_CONFLICT, "%s has the data open: stop it before a repair",
                client_url(client));
        client_close(client);
        return cli_fail(cli, &err);
    }
    int status = check_server(cli, client, &err);
    client_close(client);
    return status;
}
