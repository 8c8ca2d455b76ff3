/* What eider check tells: as text for people, as JSON for programs. */
#include <inttypes.h>
#include <string.h>

#include "cli/check.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "store/maintain_json.h"

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

/* Files, rows and bytes of each table and rollup; what is listed, whether it is whole or not. */
static void
add_cold_lines(const struct check *check, struct buf *out)
{
    for (size_t i = 0; i < check->cold_count;) {
        const struct cold_file *first = &check->cold[i];
        uint64_t rows = 0;
        uint64_t bytes = 0;
        size_t begin = i;
        char name[COLD_RELATIVE_MAX];
        for (; i < check->cold_count && check->cold[i].table == first->table &&
               check->cold[i].kind == first->kind;
             i++) {
            rows += check->cold[i].rows;
            bytes += check->cold[i].bytes;
        }
        snprintf(name, sizeof(name), "%s%s", catalog_table(first->table)->name,
                 cold_kind_suffix(first->kind));
        buf_add_fmt(out,
                    "  %-22s %10" PRIu64 " rows in %4zu files, %12" PRIu64 " bytes, %.2f a row\n",
                    name, rows, i - begin, bytes, rows ? (double)bytes / (double)rows : 0.0);
    }
}

static const char *const severity_names[] = {"note", "warning", "error"};

static bool
is_explained_alike(const struct finding *a, const struct finding *b)
{
    return strcmp(a->code, b->code) == 0 && strcmp(a->meaning, b->meaning) == 0 &&
           strcmp(a->remedy, b->remedy) == 0;
}

/* For whoever was woken by it. What is the same of many files is said once, behind their names. */
static void
explain(const struct check *check, struct buf *out)
{
    for (size_t i = 0; i < check->finding_count; i++) {
        const struct finding *finding = &check->findings[i];
        bool first = i == 0 || !is_explained_alike(finding - 1, finding);
        buf_add_fmt(out, "%s%s (%s): %s\n", first ? "\n" : "", finding->code,
                    severity_names[finding->severity], finding->what);
        if (i + 1 < check->finding_count && is_explained_alike(finding, finding + 1)) {
            continue;
        }
        if (finding->meaning[0]) {
            buf_add_fmt(out, "  What it means: %s\n", finding->meaning);
        }
        if (finding->remedy[0]) {
            buf_add_fmt(out, "  --repair %s\n", finding->remedy);
        }
    }
    if (check->finding_count == 0) {
        buf_add_cstr(out, "\nNothing is wrong.\n");
    }
    if (check->findings_more > 0) {
        buf_add_fmt(out, "\nand %zu more\n", check->findings_more);
    }
    buf_add_char(out, '\n');
}

static void
add_other_store(const struct check *check, uint64_t waiting, struct buf *out)
{
    if (check->config->storage.type == CONFIG_STORAGE_MEMORY) {
        buf_add_cstr(out, "\ndatabase        none: the memory store is read from the log at every "
                          "start, so the log and its copy are all that was checked\n");
        return;
    }
    if (!check->where[0]) {
        buf_add_cstr(out, "\ndatabase        PostgreSQL, not checked: it could not be asked\n");
        return;
    }
    buf_add_fmt(out, "\ndatabase        PostgreSQL %s, schema version %" PRIu32 " of %" PRIu32,
                check->where, check->schema_version, check->schema_newest);
    if (check->has_database) {
        buf_add_fmt(out, ", applied to LSN %" PRIu64, check->applied_lsn);
    }
    if (waiting) {
        buf_add_fmt(out, "; %" PRIu64 " records wait for the next start", waiting);
    }
    buf_add_cstr(out, "\nrows            not read: look at them with psql, or start the server\n");
}

void
check_text(const struct check *check, struct buf *out)
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
    if (check->config->storage.type != CONFIG_STORAGE_DUCKDB) {
        add_other_store(check, waiting, out);
    } else if (check->has_database) {
        buf_add_fmt(out, "\ndatabase        applied to LSN %" PRIu64, check->applied_lsn);
        if (waiting) {
            buf_add_fmt(out, "; %" PRIu64 " records wait for the next start", waiting);
        }
        buf_add_char(out, '\n');
        add_table_lines(check, out);
    } else {
        buf_add_fmt(out, "\ndatabase        %s\n",
                    check->database_damaged ? "does not open" : "none");
    }
    if (check->cold_count > 0) {
        buf_add_fmt(out, "cold files      %zu of %zu whole, %" PRIu64 " bytes\n", check->cold_good,
                    check->cold_count, check->cold_bytes);
        add_cold_lines(check, out);
    }
    if (check->snapshots > 0) {
        buf_add_fmt(out, "snapshots       %zu, the newest of LSN %" PRIu64 "\n", check->snapshots,
                    check->snapshot_lsn);
    }
    if (cli_has(check->cli, "explain")) {
        explain(check, out);
    }
    buf_add_cstr(out, check_errors(check) ? "NOT OK\n" : "OK\n");
}

static const char *const storage_names[] = {[CONFIG_STORAGE_DUCKDB] = "duckdb",
                                            [CONFIG_STORAGE_MEMORY] = "memory",
                                            [CONFIG_STORAGE_POSTGRES] = "postgres"};

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
add_findings(const struct check *check, struct json_writer *json)
{
    json_key(json, "cold");
    json_object_begin(json);
    json_key(json, "files");
    json_u64(json, check->cold_count);
    json_key(json, "whole");
    json_u64(json, check->cold_good);
    json_key(json, "bytes");
    json_u64(json, check->cold_bytes);
    maintain_json_files(json, check->cold, check->cold_count);
    json_object_end(json);
    json_key(json, "snapshots");
    json_u64(json, check->snapshots);
    json_key(json, "findings");
    json_array_begin(json);
    for (size_t i = 0; i < check->finding_count; i++) {
        const struct finding *finding = &check->findings[i];
        json_object_begin(json);
        json_key(json, "code");
        json_cstr(json, finding->code);
        json_key(json, "severity");
        json_cstr(json, severity_names[finding->severity]);
        json_key(json, "what");
        json_cstr(json, finding->what);
        json_key(json, "meaning");
        json_cstr(json, finding->meaning);
        json_key(json, "repair");
        json_cstr(json, finding->remedy);
        json_object_end(json);
    }
    json_array_end(json);
}

void
check_json(const struct check *check, struct buf *out)
{
    const struct catalog_table *table;
    struct json_writer json;

    json_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "ok");
    json_bool(&json, check_errors(check) == 0);
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
    json_key(&json, "storage");
    json_cstr(&json, storage_names[check->config->storage.type]);
    json_key(&json, "database_checked");
    json_bool(&json, check->has_database || check->where[0]);
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
    for (size_t i = 0; i < check->finding_count; i++) {
        if (check->findings[i].severity == SEVERITY_ERROR) {
            json_cstr(&json, check->findings[i].what);
        }
    }
    json_array_end(&json);
    add_findings(check, &json);
    json_object_end(&json);
    buf_add_char(out, '\n');
}
