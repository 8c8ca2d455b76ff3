/* Opening: configuration, tables, the applied LSN. Closing. The vtable. */
#include "store/duckdb/store_duckdb.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "store/duckdb/duck_cold.h"
#include "store/duckdb/duck_schema.h"
#include "store/duckdb/duck_views.h"

static const uint64_t mib = 1 << 20;

enum {
    THREADS_MAX = 16,
    MEMORY_MIN_MIB = 128,
    MEMORY_MAX_MIB = 4096,
    KEYS_SHARE = 4,
    CLOSE_TRIES = 16
};

static uint64_t
duck_applied_lsn(struct store *store)
{
    return atomic_load(&((struct duck_store *)store)->applied_lsn);
}

static void
duck_stats(struct store *store, struct store_stats *ret_stats)
{
    struct duck_store *duck = (struct duck_store *)store;

    *ret_stats = (struct store_stats){
        .type = store->ops->type,
        .applied_lsn = atomic_load(&duck->applied_lsn),
        .groups = atomic_load(&duck->groups),
        .rows = atomic_load(&duck->rows),
        .late_rows = atomic_load(&duck->late_rows),
        .size_bytes = duck_size_bytes(duck),
        .memory_bytes = atomic_load(&duck->memory_bytes),
        .memory_limit_bytes = duck->memory_limit_bytes,
        .checkpoints = atomic_load(&duck->checkpoints),
        .apply_p50_us = hist_quantile(&duck->apply_us, 0.5),
        .apply_p99_us = hist_quantile(&duck->apply_us, 0.99),
        .query_p50_us = hist_quantile(&duck->query_us, 0.5),
        .query_p99_us = hist_quantile(&duck->query_us, 0.99),
        .queries = atomic_load(&duck->queries),
        .query_errors = atomic_load(&duck->query_errors),
        .queries_out_of_memory = atomic_load(&duck->queries_out_of_memory),
        .readers = duck->pool.count,
    };
    pthread_mutex_lock(&duck->pool.lock);
    ret_stats->readers_busy = duck->pool.busy;
    pthread_mutex_unlock(&duck->pool.lock);
    if (duck->pool.guard) {
        memory_guard_stats(duck->pool.guard, &ret_stats->guard);
    }
}

static void
duck_interrupt(struct store *store)
{
    struct duck_store *duck = (struct duck_store *)store;

    duck_pool_interrupt(&duck->pool);
    duck_pool_interrupt(&duck->sealers);
}

static void
free_refused(struct duck_store *duck)
{
    char **refused = atomic_load(&duck->refused);

    for (size_t i = 0; refused && refused[i]; i++) {
        free(refused[i]);
    }
    free(refused);
}

/* What DuckDB has in memory is in doubt: closing must not write it to the file. */
static void
forgo_checkpoint(struct duck_store *duck)
{
    duckdb_state state = DuckDBError;
    duckdb_result result;

    for (int i = 0; i < CLOSE_TRIES && state != DuckDBSuccess; i++) {
        state = duckdb_query(duck->writer, "PRAGMA disable_checkpoint_on_shutdown", &result);
        duckdb_destroy_result(&result);
    }
}

static void
duck_close(struct store *store)
{
    struct duck_store *duck = (struct duck_store *)store;

    duck_pool_stop(&duck->sealers);
    duck_pool_stop(&duck->pool);
    if (duck->prober) {
        duckdb_disconnect(&duck->prober);
    }
    if (duck->writer && atomic_load(&duck->broken)) {
        forgo_checkpoint(duck);
    }
    if (duck->writer) {
        duckdb_disconnect(&duck->writer);
    }
    if (duck->database) {
        duckdb_close(&duck->database);
    }
    if (duck->snapshot_fd >= 0) {
        close(duck->snapshot_fd);
    }
    for (int id = 1; id < TABLE_ID_END; id++) {
        duck_table_fini(&duck->tables[id]);
    }
    duck_cold_fini(duck);
    free_refused(duck);
    pthread_mutex_destroy(&duck->refused_lock);
    free(duck->path);
    free(duck);
}

static const struct store_ops duck_ops = {
    .type = "duckdb",
    .apply = duck_apply,
    .scan = duck_scan,
    .bucket = duck_bucket,
    .visit = duck_visit,
    .speaks_duckdb = true,
    .sql = duck_sql,
    .latest = duck_latest,
    .checkpoint = duck_checkpoint,
    .wait_reads = duck_wait_reads,
    .snapshot = duck_snapshot,
    .applied_lsn = duck_applied_lsn,
    .stats = duck_stats,
    .table_stats = duck_table_stats,
    .interrupt = duck_interrupt,
    .seal_find = duck_seal_find,
    .seal_begin = duck_seal_begin,
    .seal_commit = duck_seal_commit,
    .seal_free = duck_seal_free,
    .cold_list = duck_cold_list,
    .cold_drop = duck_cold_drop,
    .compact = duck_compact,
    .export = duck_export,
    .import_rows = duck_import_rows,
    .import_end = duck_import_end,
    .close = duck_close,
};

/* Of the jemalloc within libduckdb, where it has one and shows it. */
extern int duckdb_je_mallctl(const char *name, void *old, size_t *old_len, void *new,
                             size_t new_len) __attribute__((weak));

void
store_duckdb_trim(void)
{
    if (duckdb_je_mallctl) {
        duckdb_je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* 4096: all arenas */
    }
}

uint64_t
store_duckdb_memory_limit(uint64_t wanted)
{
    uint64_t limit = wanted ? wanted : limits_memory_bytes() / 4;

    if (!wanted && limit > MEMORY_MAX_MIB * mib) {
        limit = MEMORY_MAX_MIB * mib;
    }
    return limit < MEMORY_MIN_MIB * mib && !wanted ? MEMORY_MIN_MIB * mib : limit;
}

static enum err_code
configure(const struct duck_store *duck, unsigned threads, duckdb_config *ret_config,
          struct err *err)
{
    char threads_text[16];
    char memory_text[32];
    snprintf(threads_text, sizeof(threads_text), "%u", threads);
    snprintf(memory_text, sizeof(memory_text), "%" PRIu64 "KiB", duck->memory_limit_bytes / 1024);
    const char *const settings[][2] = {
        {"threads", threads_text},
        {"memory_limit", memory_text},
        {"checkpoint_threshold", "1TB"}, /* ours alone */
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
        {"allow_persistent_secrets", "false"},
    };
    duckdb_config config;

    if (duckdb_create_config(&config) != DuckDBSuccess) {
        return err_set(err, ERR_INTERNAL, "DuckDB gave no configuration");
    }
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        if (duckdb_set_config(config, settings[i][0], settings[i][1]) != DuckDBSuccess) {
            duckdb_destroy_config(&config);
            return err_set(err, ERR_INVALID, "DuckDB does not take %s = %s", settings[i][0],
                           settings[i][1]);
        }
    }
    *ret_config = config;
    return ERR_OK;
}

/* Failures that say nothing about the file. Everything else means that it is no good. */
static enum err_code
code_of_open(const char *message)
{
    static const char *const system[] = {"Permission denied",
                                         "Too many open files",
                                         "Cannot allocate memory",
                                         "Read-only file system",
                                         "Is a directory",
                                         "Operation not permitted",
                                         "No such file or directory",
                                         "Out of Memory",
                                         "bad_alloc",
                                         "Resource temporarily unavailable"};

    if (strstr(message, "lock on file")) {
        return ERR_CONFLICT;
    }
    if (strstr(message, "No space left") || strstr(message, "File too large")) {
        return ERR_NO_SPACE;
    }
    for (size_t i = 0; i < sizeof(system) / sizeof(*system); i++) {
        if (strstr(message, system[i])) {
            return ERR_IO;
        }
    }
    return ERR_CORRUPT;
}

/* Shuts every door but the cold directory's; DuckDB takes a list of doors only before. Times are in
 * UTC, and now() is to be compared with them so, wherever the machine is. */
static enum err_code
confine(struct duck_store *duck, struct err *err)
{
    struct buf sql BUF_AUTO;

    buf_init(&sql, 1 << 16);
    buf_add_cstr(&sql, "SET allowed_directories = [");
    duck_cold_add_literal(slice_of(duck->cold.dir), &sql);
    buf_add_cstr(&sql, " || '/', ");
    duck_cold_add_path(duck->cold.dir, &sql); /* what is read is asked for as a pattern */
    buf_add_cstr(&sql, " || '/']; SET immediate_transaction_mode = true; "
                       "SET GLOBAL TimeZone = 'UTC'; "
                       "SET enable_external_access = false; SET lock_configuration = true");
    buf_add_char(&sql, '\0');
    return sql.overflow ? err_set(err, ERR_INVALID, "the path of %s is too long", duck->path)
                        : duck_run(duck, sql.ptr, err);
}

static enum err_code
open_database(struct duck_store *duck, unsigned threads, struct err *err)
{
    duckdb_config config = NULL;
    char *message = NULL;

    enum err_code code = configure(duck, threads, &config, err);
    if (code) {
        return code;
    }
    if (duckdb_open_ext(duck->path, &duck->database, config, &message) != DuckDBSuccess) {
        const char *why = message ? message : "no reason given";
        code = err_set(err, code_of_open(why), "opening %s: %.*s", duck->path,
                       (int)strcspn(why, "\n"), why);
        duck->database = NULL;
    }
    duckdb_free(message);
    duckdb_destroy_config(&config);
    if (!code && duckdb_connect(duck->database, &duck->writer) != DuckDBSuccess) {
        duck->writer = NULL;
        code = err_set(err, ERR_INTERNAL, "DuckDB gave no connection to write by");
    }
    if (!code && duckdb_connect(duck->database, &duck->prober) != DuckDBSuccess) {
        duck->prober = NULL;
        code = err_set(err, ERR_INTERNAL, "DuckDB gave no connection to read cold files by");
    }
    code = code ? code : confine(duck, err);
    if (code) {
        return code;
    }
    duck->snapshot_fd = open(duck->path, O_RDONLY | O_CLOEXEC);
    return duck->snapshot_fd < 0 ? err_sys(err, errno, "opening %s to copy it", duck->path)
                                 : ERR_OK;
}

/* Runs a statement on the writer and gathers its (small) answer. */
static enum err_code
ask(struct duck_store *duck, const char *sql, struct batch *ret_rows, struct err *err)
{
    struct duck_reader writer = {.connection = duck->writer};
    struct duck_statement statement = {.sql = slice_of(sql)};
    struct duck_bounds bounds = {.rows_max = BATCH_ROWS_MAX, .bytes_max = DUCK_TEXT_BYTES_MAX};

    return duck_select(duck, &writer, DUCK_SIDE_APPLY, &statement, &bounds, ret_rows, NULL, err);
}

/* Tables by migrations, then the views over them. */
static enum err_code
make_tables(struct duck_store *duck, const struct store_open_options *options, struct err *err)
{
    struct schema_db db = duck_schema_db(duck);

    enum err_code code = schema_open(&db, err);
    laps_mark(options->laps, "schema");
    code = code ? code : duck_cold_open(duck, options, err);
    laps_mark(options->laps, "cold files");
    code = code ? code : duck_views_make(duck, err);
    laps_mark(options->laps, "views");
    return code;
}

static enum err_code
read_applied(struct duck_store *duck, struct err *err)
{
    struct batch rows BATCH_AUTO = {0};

    enum err_code code = ask(duck, "SELECT max(lsn) FROM main.eider_applied", &rows, err);
    if (!code) {
        atomic_store(&duck->applied_lsn, (uint64_t)batch_get_i64(&rows, 0, 0));
    }
    return code;
}

static unsigned
clamp(unsigned value, unsigned fallback, unsigned max)
{
    value = value ? value : fallback;
    return value < max ? value : max;
}

/* What DuckDB opened as a database but cannot work with. */
static enum err_code
unreadable(const char *path, struct err *err)
{
    if (err) {
        err->code = ERR_CORRUPT;
    }
    return err_context(err, ERR_CORRUPT, "%s", path);
}

enum err_code
store_duckdb_open(const struct store_open_options *options, struct store **ret_store,
                  struct err *err)
{
    struct duck_store *duck = mem_zalloc(1, sizeof(*duck));
    const struct catalog_table *table;

    assert(options->path);
    duck->store.ops = &duck_ops;
    duck->path = mem_strdup(slice_of(options->path));
    duck->clock = options->clock ? options->clock : clock_system();
    duck->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : DUCK_TIMEOUT_MS;
    duck->memory_limit_bytes = store_duckdb_memory_limit(options->memory_limit_bytes);
    duck->keys_bytes_max = (size_t)(duck->memory_limit_bytes / KEYS_SHARE);
    duck->snapshot_fd = -1;
    pthread_mutex_init(&duck->refused_lock, NULL);
    duck_cold_init(duck);
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        duck_table_init(&duck->tables[table->id], table, duck->keys_bytes_max);
    }

    enum err_code code = duck_cold_locate(duck, err);
    if (!code) {
        code = open_database(duck, clamp(options->threads, limits_cpus(), THREADS_MAX), err);
        laps_mark(options->laps, "database");
    }
    code = code ? code : make_tables(duck, options, err);
    code = code ? code : read_applied(duck, err);
    if (!code) {
        unsigned readers = clamp(options->readers, DUCK_READERS, DUCK_READERS_MAX);
        code = duck_pool_start(&duck->pool, duck->database, readers, options->guard, err);
        code = code ? code : duck_pool_start(&duck->sealers, duck->database, 1, NULL, err);
    }
    if (code) {
        duck_close(&duck->store);
        return code == ERR_INTERNAL || code == ERR_INVALID ? unreadable(options->path, err) : code;
    }
    *ret_store = &duck->store;
    return ERR_OK;
}
