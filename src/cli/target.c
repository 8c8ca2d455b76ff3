/* Finding the server or opening the data directory, and asking either in SQL. */
#include "cli/target.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/time.h"
#include "server/config_databases.h"
#include "server/open_engine.h"

enum { ANSWER_TEXT_MAX = 1 << 30, APPLY_TIMEOUT_MS = 10 * 60 * 1000 };

/*
 * Whether the process that wrote the file still has it. A lock can only be asked for by taking it,
 * and taking it might refuse a server that starts at this moment; so only when that process lives.
 */
static bool
is_held(int fd, long pid)
{
    if (pid <= 0 || (kill((pid_t)pid, 0) != 0 && errno == ESRCH)) {
        return false;
    }
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK;
    }
    flock(fd, LOCK_UN);
    return false;
}

/* "123\nhttp://127.0.0.1:8000\n"; a line without its end is still being written. */
static void
parse_lock(const char *text, struct target_lock *ret_lock)
{
    char *rest = NULL;
    long pid = strtol(text, &rest, 10);

    if (rest == text || *rest != '\n') {
        return;
    }
    ret_lock->pid = pid;
    rest++;
    size_t len = strcspn(rest, "\n");
    if (rest[len] == '\n' && len < sizeof(ret_lock->url) && strncmp(rest, "http", 4) == 0) {
        memcpy(ret_lock->url, rest, len);
        ret_lock->url[len] = '\0';
    }
}

void
target_read_lock(const char *data_dir, struct target_lock *ret_lock)
{
    struct buf path BUF_AUTO = {0};
    char text[512] = "";

    *ret_lock = (struct target_lock){0};
    buf_init(&path, 0);
    buf_add_fmt(&path, "%s/lock", data_dir);
    buf_add_char(&path, '\0');
    int fd = open(path.ptr, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    ssize_t len = read(fd, text, sizeof(text) - 1);
    text[len > 0 ? len : 0] = '\0';
    parse_lock(text, ret_lock);
    ret_lock->held = is_held(fd, ret_lock->pid);
    close(fd);
}

enum err_code
target_share_lock(const char *data_dir, int *ret_fd, struct err *err)
{
    struct buf path BUF_AUTO = {0};

    buf_init(&path, 0);
    buf_add_fmt(&path, "%s/lock", data_dir);
    buf_add_char(&path, '\0');
    int fd = open(path.ptr, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        close(fd);
        return err_set(err, ERR_CONFLICT, "another process has just opened %s; try again",
                       data_dir);
    }
    *ret_fd = fd;
    return ERR_OK;
}

static enum err_code
open_client(const struct config *config, const char *url, bool same_machine,
            struct client **ret_client, struct err *err)
{
    struct client_options options = {
        .url = url,
        .token = config->server.token,
        .ca_file = same_machine ? config->server.tls.certfile : NULL,
        .same_machine = same_machine,
    };
    enum err_code code = config_need(config, "server.token", err);

    if (code == ERR_OK && same_machine) {
        code = config_need(config, "server.tls.certfile", err);
    }
    return code == ERR_OK ? client_open(&options, ret_client, err) : code;
}

/* A flag is nearer than the environment: --data-dir says where, whatever EIDER_URL is. */
const char *
target_url(const struct cli *cli)
{
    const char *url = cli_value(cli, "url");

    if (url) {
        return url;
    }
    for (size_t i = 0; i < cli->flag_count; i++) {
        const char *name = cli->flags[i].name;
        if (strcmp(name, "data-dir") == 0 || strcmp(name, "data_dir") == 0) {
            return NULL;
        }
    }
    for (char *const *entry = cli->env ? cli->env : environ; *entry; entry++) {
        if (strncmp(*entry, "EIDER_URL=", 10) == 0 && (*entry)[10]) {
            return *entry + 10;
        }
    }
    return NULL;
}

enum err_code
target_choose_database(const struct cli *cli, struct config *config, struct err *err)
{
    const char *name = cli_value(cli, "database");

    if (!name) {
        return ERR_OK;
    }
    struct slice text = slice_of(name);
    if (!config_database_name_fits(text)) {
        return err_set(err, ERR_USAGE,
                       "--database is \"%.100s\"; expected the name of a database: a-z, 0-9, "
                       "\"_\" and \"-\"",
                       name);
    }
    if (config_database_choose(config, text)) {
        return ERR_OK;
    }
    const char *near = config_database_suggest(config, text);
    return err_set(err, ERR_USAGE, "--database %s: %s has no such database%s%s%s", name,
                   config->file, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* A server has each of its databases below a path of its own. */
static enum err_code
open_database_client(const struct cli *cli, const struct config *config, const char *url,
                     struct client **ret_client, struct err *err)
{
    const char *name = cli_value(cli, "database");
    struct buf full BUF_AUTO = {0};
    size_t len = strlen(url);

    if (!name) {
        return open_client(config, url, false, ret_client, err);
    }
    while (len > 0 && url[len - 1] == '/') {
        len--;
    }
    buf_init(&full, 0);
    buf_add_fmt(&full, "%.*s/db/%s%c", (int)len, url, name, '\0');
    return open_client(config, full.ptr, false, ret_client, err);
}

/* To whom the directory is closed it looks as if it were not there, or no server ran. */
static enum err_code
refuse_denied(const struct config *config, struct err *err)
{
    struct buf path BUF_AUTO = {0};

    buf_init(&path, 0);
    buf_add_fmt(&path, "%s/lock%c", config->data_dir, '\0');
    if (access(path.ptr, R_OK) == 0 || errno != EACCES) {
        return ERR_OK;
    }
    return err_sys(err, EACCES,
                   "the data directory %s cannot be read by this user; be the user that the server "
                   "runs as, or give --url",
                   config->data_dir);
}

/*
 * A database that a running server has and could not open holds no lock. The server tells why, as
 * its API does; one that does not know the database says 404, and then the directory is anybody's.
 */
static enum err_code
find_failed(const struct cli *cli, const struct config *config, struct client **ret_client,
            struct err *err)
{
    const struct client_request request = {.path = "/health"};
    const char *name = cli_value(cli, "database");
    struct client_reply reply;
    struct target_lock lock = {0};
    struct buf url BUF_AUTO = {0};
    struct client *client;
    struct err ignored;

    if (!name || !config->process_data_dir) {
        return ERR_OK;
    }
    target_read_lock(config->process_data_dir, &lock);
    if (!lock.held || !lock.url[0]) {
        return ERR_OK;
    }
    buf_init(&url, 0);
    buf_add_fmt(&url, "%s/db/%s%c", lock.url, name, '\0');
    enum err_code code = open_client(config, url.ptr, true, &client, err);
    if (code != ERR_OK) {
        return code;
    }
    if (client_send(client, &request, &reply, &ignored) != ERR_OK || reply.status == 404) {
        client_close(client);
        return ERR_OK;
    }
    *ret_client = client;
    return ERR_OK;
}

enum err_code
target_find_server(const struct cli *cli, const struct config *config, struct client **ret_client,
                   struct err *err)
{
    const char *url = target_url(cli);
    struct target_lock lock;

    *ret_client = NULL;
    if (url) {
        return open_database_client(cli, config, url, ret_client, err);
    }
    enum err_code code = refuse_denied(config, err);
    if (code != ERR_OK) {
        return code;
    }
    target_read_lock(config->data_dir, &lock);
    if (!lock.held) {
        return find_failed(cli, config, ret_client, err);
    }
    if (!lock.url[0]) {
        return err_set(err, ERR_CONFLICT,
                       "process %ld has %s open and names no address; wait for it, or give --url",
                       lock.pid, config->data_dir);
    }
    return open_client(config, lock.url, true, ret_client, err);
}

char *
target_database_path(const struct config *config)
{
    struct buf path;

    buf_init(&path, 0);
    buf_add_fmt(&path, "%s/%s", config->data_dir, config->storage.duckdb.path);
    buf_add_char(&path, '\0');
    return buf_take(&path, &(size_t){0});
}

bool
target_has_data(const struct config *config)
{
    char *path MEM_AUTO = target_database_path(config);
    struct buf wal BUF_AUTO = {0};

    buf_init(&wal, 0);
    buf_add_fmt(&wal, "%s/wal", config->data_dir);
    buf_add_char(&wal, '\0');
    return access(wal.ptr, F_OK) == 0 || access(path, F_OK) == 0;
}

/* On the applier's thread; what it does when all is well is nobody's concern here. */
static void
tell_event(void *ctx, bool is_problem, const char *text)
{
    if (is_problem) {
        cli_note(ctx, "%s", text);
    }
}

static enum err_code
open_engine(struct cli *cli, const struct config *config, enum target_use use,
            struct engine **ret_engine, struct err *err)
{
    struct engine_options options;
    enum err_code code = server_engine_options(config, &options, err);

    if (code != ERR_OK) {
        return code;
    }
    options.store.readers = 1;
    options.maintain.enabled = options.maintain.enabled && use == TARGET_MAINTAIN;
    options.maintain.watch_off = true;
    options.event = tell_event;
    options.event_ctx = cli;
    return engine_open(&options, ret_engine, err);
}

static enum err_code
open_ingest(const struct config *config, struct target *target, struct err *err)
{
    struct ingest_options options = {
        .engine = target->engine,
        .request_bytes_max = (uint64_t)config->ingest.request_bytes_max,
        .inflight_bytes_max = (uint64_t)config->ingest.inflight_bytes_max,
        .unapplied_bytes_max = (uint64_t)config->wal.unapplied_bytes_max,
        .series_max = (uint64_t)config->ingest.series_max,
    };

    return ingest_open(&options, &target->ingest, err);
}

/* After a crash the newest rows are only in the log; an answer must not lack them. */
static enum err_code
wait_applied(struct engine *engine, struct err *err)
{
    struct engine_status status;

    engine_status(engine, &status);
    if (status.durable_lsn == 0) {
        return ERR_OK;
    }
    return engine_wait_applied(engine, status.durable_lsn, APPLY_TIMEOUT_MS, err);
}

static bool
takes_url(const struct cli *cli)
{
    const struct cli_option *option = cli->command ? cli->command->options : NULL;

    while (option && option->name && strcmp(option->name, "url") != 0) {
        option++;
    }
    return option && option->name;
}

enum err_code
target_open(struct cli *cli, const struct config *config, enum target_use use,
            struct target *ret_target, struct err *err)
{
    struct target target = {.config = config};
    enum err_code code = target_find_server(cli, config, &target.client, err);

    if (code != ERR_OK || target.client) {
        *ret_target = target;
        return code;
    }
    if (config->storage.type != CONFIG_STORAGE_DUCKDB) {
        return err_set(err, ERR_UNAVAILABLE,
                       "storage.type is %s, whose rows a server alone has, and none runs; start "
                       "`eider serve`%s",
                       config->storage.type == CONFIG_STORAGE_MEMORY ? "memory" : "postgres",
                       takes_url(cli) ? ", or give --url" : "");
    }
    bool wants_data = use == TARGET_READ || use == TARGET_MAINTAIN;
    if (wants_data && access(config->data_dir, F_OK) != 0) {
        return err_set(err, ERR_NOT_FOUND,
                       "no server runs and there is no data directory %s; start `eider serve`, or "
                       "give --data-dir or --url",
                       config->data_dir);
    }
    if (wants_data && !target_has_data(config)) {
        return err_set(err, ERR_NOT_FOUND,
                       "no server runs and %s is no data directory of Eider; start `eider serve`, "
                       "or give --data-dir or --url",
                       config->data_dir);
    }
    code = open_engine(cli, config, use, &target.engine, err);
    if (code == ERR_OK && wants_data) {
        code = wait_applied(target.engine, err);
    } else if (code == ERR_OK && use == TARGET_WRITE) {
        code = open_ingest(config, &target, err);
    }
    if (code != ERR_OK) {
        target_close(&target);
        return code;
    }
    *ret_target = target;
    return ERR_OK;
}

void
target_close(struct target *target)
{
    client_close(target->client);
    if (target->ingest) {
        ingest_close(target->ingest);
    }
    if (target->engine) {
        engine_close(target->engine);
    }
    *target = (struct target){0};
}

/* ---- an answer in JSON becomes a batch ---- */

static enum col_type
type_of(const char *name)
{
    for (int type = 0; name && type < COL_TYPE_COUNT; type++) {
        if (strcmp(name, catalog_sql_type((enum col_type)type)) == 0) {
            return (enum col_type)type;
        }
    }
    return COL_TEXT;
}

/* A fraction arrives as a double; the nearest millionth is what the server wrote, up to 15 digits.
 */
static bool
set_decimal(struct batch *rows, size_t column, size_t row, const json_t *value)
{
    int64_t micro;

    if (json_is_integer(value)) {
        if (__builtin_mul_overflow(json_integer_value(value), DECIMAL_ONE, &micro)) {
            return false;
        }
    } else if (!json_is_real(value) || !decimal_from_double(json_real_value(value), &micro)) {
        return false;
    }
    batch_set_i64(rows, column, row, micro);
    return true;
}

bool
target_set_value(struct batch *rows, size_t column, size_t row, const json_t *value)
{
    struct slice text = slice_make(json_string_value(value), json_string_length(value));
    int64_t us;

    if (json_is_null(value)) {
        return true; /* the row was added with NULLs */
    }
    switch (rows->columns[column].type) {
    case COL_BOOL:
        batch_set_bool(rows, column, row, json_is_true(value));
        return json_is_boolean(value);
    case COL_INT32:
        batch_set_i32(rows, column, row, (int32_t)json_integer_value(value));
        return json_is_integer(value);
    case COL_INT64:
        batch_set_i64(rows, column, row, json_integer_value(value));
        return json_is_integer(value);
    case COL_DOUBLE:
        batch_set_f64(rows, column, row, json_number_value(value));
        return json_is_number(value);
    case COL_TIMESTAMP:
        if (!json_is_string(value) || !time_parse_iso8601(text, &us)) {
            return false;
        }
        batch_set_i64(rows, column, row, us);
        return true;
    case COL_DECIMAL:
        return set_decimal(rows, column, row, value);
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    if (json_is_string(value)) {
        batch_set_text(rows, column, row, batch_keep_text(rows, text));
        return true;
    }
    char *dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    batch_set_text(rows, column, row, batch_keep_text(rows, slice_of(dump)));
    free(dump);
    return true;
}

static bool
read_columns(json_t *columns, struct batch *rows)
{
    size_t index;
    json_t *column;

    if (!json_is_array(columns)) {
        return false;
    }
    json_array_foreach(columns, index, column)
    {
        const char *name = json_string_value(json_object_get(column, "name"));
        const char *type = json_string_value(json_object_get(column, "type"));
        if (!name) {
            return false;
        }
        batch_add_column(rows, slice_of(name), type_of(type));
    }
    return true;
}

static bool
read_rows(json_t *list, struct batch *rows)
{
    size_t index;
    json_t *values;

    if (!json_is_array(list) || json_array_size(list) > BATCH_ROWS_MAX) {
        return false;
    }
    batch_reserve(rows, json_array_size(list));
    json_array_foreach(list, index, values)
    {
        size_t row = batch_add_row(rows);
        if (json_array_size(values) != rows->column_count) {
            return false;
        }
        for (size_t column = 0; column < rows->column_count; column++) {
            if (!target_set_value(rows, column, row, json_array_get(values, column))) {
                return false;
            }
        }
    }
    return true;
}

static enum err_code
sql_by_server(struct target *target, const char *sql, struct batch *ret_rows, bool *ret_truncated,
              struct err *err)
{
    json_t *question = json_pack("{s:s}", "sql", sql);
    struct client_reply reply;

    if (!question) {
        return err_set(err, ERR_INVALID, "the statement is not UTF-8 text");
    }
    char *body = json_dumps(question, JSON_COMPACT);
    json_decref(question);
    struct client_request request = {
        .path = "/api/v1/sql", .content_type = "application/json", .body = slice_of(body)};
    enum err_code code = client_send(target->client, &request, &reply, err);
    free(body);
    if (code != ERR_OK) {
        return code;
    }
    if (reply.status != 200) {
        return client_refusal(target->client, &reply, err);
    }
    json_t *answer = json_loadb(reply.body.ptr, reply.body.len, 0, NULL);
    struct batch rows;
    batch_init_answer(&rows, ANSWER_TEXT_MAX);
    if (!read_columns(json_object_get(answer, "columns"), &rows) ||
        !read_rows(json_object_get(answer, "rows"), &rows) || rows.arena.overflow) {
        batch_fini(&rows);
        code = err_set(err, ERR_INTERNAL, "%s answered with something that is no result of SQL",
                       client_url(target->client));
    } else {
        *ret_rows = rows;
        *ret_truncated = json_is_true(json_object_get(answer, "truncated"));
    }
    json_decref(answer);
    return code;
}

enum err_code
target_sql(struct target *target, const char *sql, struct batch *ret_rows, bool *ret_truncated,
           struct err *err)
{
    if (target->client) {
        return sql_by_server(target, sql, ret_rows, ret_truncated, err);
    }
    struct store_sql statement = {
        .sql = slice_of(sql),
        .timeout_ms = (int)target->config->storage.duckdb.query_timeout_ms,
        .rows_max = (uint64_t)target->config->sql.rows_max,
        .bytes_max = (uint64_t)target->config->sql.bytes_max,
    };
    *ret_truncated = false;
    return engine_sql(target->engine, &statement, ret_rows, ret_truncated, err);
}
