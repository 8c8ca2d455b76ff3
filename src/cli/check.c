/*
 * eider check: every record of the log, every table of the database, and whether the two fit
 * together; or the health of the server that has them open. Changes nothing.
 */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/target.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "store/duckdb/duckdb_reader.h"
#include "wal/wal_scan.h"

enum { PROBLEMS_MAX = 16 };

struct check {
    struct cli *cli;
    const struct config *config;
    bool json;
    /* the log */
    uint64_t segments;
    uint64_t records;
    uint64_t first_lsn;
    uint64_t durable_lsn;
    uint64_t torn_bytes;
    /* the database */
    bool has_database;
    uint64_t applied_lsn;
    struct store_table_stats tables[TABLE_ID_END];
    bool has_table[TABLE_ID_END];
    size_t problem_count;
    char problems[PROBLEMS_MAX][ERR_MSG_MAX];
};

static void __attribute__((format(printf, 2, 3)))
add_problem(struct check *check, const char *fmt, ...)
{
    va_list ap;

    if (check->problem_count < PROBLEMS_MAX) {
        va_start(ap, fmt);
        vsnprintf(check->problems[check->problem_count++], ERR_MSG_MAX, fmt, ap);
        va_end(ap);
    }
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
        add_problem(check, "log: %.400s", err.msg);
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
check_table(struct check *check, struct duckdb_reader *reader, const struct catalog_table *table)
{
    struct store_table_stats *stats = &check->tables[table->id];
    const struct batch *row;
    struct buf sql BUF_AUTO = {0};
    struct err err = {0};

    buf_init(&sql, 0);
    buf_add_cstr(&sql, "SELECT count(*)");
    if (table->time_column != CATALOG_NONE) {
        const char *time = table->columns[table->time_column].name;
        buf_add_fmt(&sql, ", min(\"%s\"), max(\"%s\")", time, time);
    }
    buf_add_fmt(&sql, " FROM %s", table->name);
    buf_add_char(&sql, '\0');
    if (ask(reader, sql.ptr, &row, &err) != ERR_OK || row->rows != 1) {
        add_problem(check, "table %s: %.400s", table->name, err.msg);
        return;
    }
    check->has_table[table->id] = true;
    stats->table = table->id;
    stats->rows = (uint64_t)batch_get_i64(row, 0, 0);
    if (row->column_count > 1) {
        stats->min_us = batch_get_i64(row, 1, 0);
        stats->max_us = batch_get_i64(row, 2, 0);
    }
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

/* A key that is there twice means that a replaced row was not removed. */
static void
check_keys(struct check *check, struct duckdb_reader *reader, const struct catalog_table *table)
{
    const struct batch *row;
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
                table->name, SLICE_FMT(buf_slice(&keys)));
    buf_add_char(&sql, '\0');
    if (ask(reader, sql.ptr, &row, &err) != ERR_OK || row->rows != 1) {
        add_problem(check, "table %s: %.400s", table->name, err.msg);
    } else if (batch_get_i64(row, 0, 0) != 0) {
        add_problem(check, "table %s: %" PRId64 " keys (%.*s) are there more than once",
                    table->name, batch_get_i64(row, 0, 0), SLICE_FMT(buf_slice(&keys)));
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
        if (check->first_lsn > 1) {
            add_problem(check, "%s is missing, and the log begins at record %" PRIu64, path,
                        check->first_lsn);
        }
        return;
    }
    if (duckdb_reader_open(path, DUCKDB_FILE_DATABASE, &reader, &err) != ERR_OK) {
        add_problem(check, "database: %.400s", err.msg);
        return;
    }
    check->has_database = true;
    if (ask(reader, "SELECT max(lsn) FROM eider_applied", &row, &err) != ERR_OK || row->rows != 1) {
        add_problem(check, "database: %.400s", err.msg);
    } else {
        check->applied_lsn = (uint64_t)batch_get_i64(row, 0, 0);
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
    if (check->has_database && check->segments > 0 && check->first_lsn > check->applied_lsn + 1) {
        add_problem(check,
                    "records %" PRIu64 " to %" PRIu64 " are neither in the database nor in the log",
                    check->applied_lsn + 1, check->first_lsn - 1);
    }
}

static void
add_table_lines(const struct check *check, struct buf *out)
{
    const struct catalog_table *table;

    buf_add_fmt(out, "%-22s %12s  %-26s  %s\n", "table", "rows", "from", "to");
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        const struct store_table_stats *stats = &check->tables[table->id];
        char from[TIME_TEXT_MAX] = "";
        char to[TIME_TEXT_MAX] = "";
        if (!check->has_table[table->id]) {
            continue;
        }
        if (stats->rows > 0 && table->time_column != CATALOG_NONE) {
            time_format_iso8601(stats->min_us, from);
            time_format_iso8601(stats->max_us, to);
        }
        buf_add_fmt(out, "%-22s %12" PRIu64 "  %-26s  %s\n", table->name, stats->rows, from, to);
    }
}

static void
make_text(const struct check *check, struct buf *out)
{
    uint64_t waiting =
        check->durable_lsn > check->applied_lsn ? check->durable_lsn - check->applied_lsn : 0;

    buf_add_fmt(out, "data directory  %s\n", check->config->data_dir);
    buf_add_fmt(out,
                "log             %" PRIu64 " segments, %" PRIu64 " records, LSN %" PRIu64
                " to %" PRIu64,
                check->segments, check->records, check->first_lsn, check->durable_lsn);
    if (check->torn_bytes) {
        buf_add_fmt(out, ", %" PRIu64 " bytes of an unfinished write", check->torn_bytes);
    }
    if (check->has_database) {
        buf_add_fmt(out, "\ndatabase        applied to LSN %" PRIu64, check->applied_lsn);
        if (waiting) {
            buf_add_fmt(out, "; %" PRIu64 " records wait for the next start", waiting);
        }
        buf_add_char(out, '\n');
        add_table_lines(check, out);
    } else {
        buf_add_cstr(out, "\ndatabase        none\n");
    }
    buf_add_cstr(out, check->problem_count ? "NOT OK\n" : "OK\n");
}

static void
add_time(struct json_writer *json, const char *key, bool known, int64_t us)
{
    json_key(json, key);
    if (known) {
        json_time_us(json, us);
    } else {
        json_write_null(json);
    }
}

static void
make_json(const struct check *check, struct buf *out)
{
    const struct catalog_table *table;
    struct json_writer json;

    json_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "ok");
    json_bool(&json, check->problem_count == 0);
    json_key(&json, "data_dir");
    json_cstr(&json, check->config->data_dir);
    json_key(&json, "wal");
    json_object_begin(&json);
    json_key(&json, "segments");
    json_u64(&json, check->segments);
    json_key(&json, "records");
    json_u64(&json, check->records);
    json_key(&json, "first_lsn");
    json_u64(&json, check->first_lsn);
    json_key(&json, "durable_lsn");
    json_u64(&json, check->durable_lsn);
    json_key(&json, "torn_bytes");
    json_u64(&json, check->torn_bytes);
    json_object_end(&json);
    json_key(&json, "applied_lsn");
    json_u64(&json, check->applied_lsn);
    json_key(&json, "tables");
    json_object_begin(&json);
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        const struct store_table_stats *stats = &check->tables[table->id];
        if (check->has_table[table->id]) {
            bool timed = stats->rows > 0 && table->time_column != CATALOG_NONE;
            json_key(&json, table->name);
            json_object_begin(&json);
            json_key(&json, "rows");
            json_u64(&json, stats->rows);
            add_time(&json, "from", timed, stats->min_us);
            add_time(&json, "to", timed, stats->max_us);
            json_object_end(&json);
        }
    }
    json_object_end(&json);
    json_key(&json, "problems");
    json_array_begin(&json);
    for (size_t i = 0; i < check->problem_count; i++) {
        json_cstr(&json, check->problems[i]);
    }
    json_array_end(&json);
    json_object_end(&json);
    buf_add_char(out, '\n');
}

static int
check_offline(struct cli *cli, const struct config *config, struct err *err)
{
    struct check *check MEM_AUTO = mem_zalloc(1, sizeof(*check));
    struct buf text BUF_AUTO = {0};

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
    int lock;
    if (target_share_lock(config->data_dir, &lock, err) != ERR_OK) {
        return cli_fail(cli, err);
    }
    check->cli = cli;
    check->config = config;
    check_log(check);
    check_database(check);
    check_together(check);
    if (lock >= 0) {
        close(lock);
    }
    buf_init(&text, 0);
    if (cli_has(cli, "json")) {
        make_json(check, &text);
    } else {
        make_text(check, &text);
    }
    if (cli_write(cli, &text, err) != ERR_OK) {
        return cli_fail(cli, err);
    }
    for (size_t i = 0; i < check->problem_count; i++) {
        cli_note(cli, "%s", check->problems[i]);
    }
    return check->problem_count ? CLI_FAILED : CLI_OK;
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
    int status = check_server(cli, client, &err);
    client_close(client);
    return status;
}
