/* Where a database stands: its ledger, judged by what the program has. */
#include <inttypes.h>
#include <stdio.h>

#include "schema/schema_internal.h"

static const char rows_sql[] =
    "SELECT CAST(version AS BIGINT), name, checksum, applied_at, execution_ms, status "
    "FROM " SCHEMA_LEDGER " ORDER BY applied_at, version";

enum { VERSION, NAME, CHECKSUM, APPLIED_AT, EXECUTION_MS, STATUS };

static void
copy_text(char *to, size_t size, struct slice from)
{
    snprintf(to, size, "%.*s", SLICE_FMT(from));
}

/* The last row of a version counts; they come in the order they were written in. */
static enum err_code
take_row(struct schema_status *status, const struct batch *rows, size_t row)
{
    int64_t version = batch_get_i64(rows, VERSION, row);
    struct slice word = batch_get_text(rows, STATUS, row);
    bool applied = slice_is(word, "applied");

    if (version < 1 || version > SCHEMA_VERSIONS_MAX) {
        return err_set(&status->problem, ERR_CONFLICT,
                       "the ledger " SCHEMA_LEDGER " has version %" PRId64
                       ", expected is 1 to %d: it was changed by hand; restore a backup",
                       version, SCHEMA_VERSIONS_MAX);
    }
    if (!applied && !slice_is(word, "rolled_back")) {
        return err_set(&status->problem, ERR_CONFLICT,
                       "the ledger " SCHEMA_LEDGER " has status %.*s for version %" PRId64
                       ", expected is applied or rolled_back: it was changed by hand; restore a "
                       "backup",
                       SLICE_FMT(word), version);
    }
    struct schema_line *line = &status->lines[version - 1];
    line->state = applied ? SCHEMA_APPLIED : SCHEMA_ROLLED_BACK;
    copy_text(line->name, sizeof(line->name), batch_get_text(rows, NAME, row));
    copy_text(line->checksum, sizeof(line->checksum), batch_get_text(rows, CHECKSUM, row));
    line->at_us = batch_get_i64(rows, APPLIED_AT, row);
    line->execution_ms = batch_get_i64(rows, EXECUTION_MS, row);
    return ERR_OK;
}

/* One line beside the program's migration; the first thing that is wrong is the problem. */
static void
judge(const struct schema_db *db, struct schema_status *status, struct schema_line *line)
{
    const struct schema_migration *own = schema_find(db, line->version);
    struct err *problem = status->problem.code ? NULL : &status->problem;

    if (!own) {
        bool is_gap = line->version < status->version && line->state != SCHEMA_APPLIED;
        line->state = is_gap                          ? SCHEMA_MISSING
                      : line->state == SCHEMA_APPLIED ? SCHEMA_NEWER
                                                      : line->state;
        return;
    }
    bool applied = line->state == SCHEMA_APPLIED;
    if (!applied && line->version < status->version) {
        line->state = SCHEMA_MISSING;
        err_set(problem, ERR_CONFLICT,
                "the ledger " SCHEMA_LEDGER " lacks migration %" PRIu32
                " %s though version %" PRIu32
                " is applied: it was changed by hand; restore a backup",
                own->version, own->name, status->version);
    } else if (applied && (!slice_is(slice_of(line->name), own->name) ||
                           !slice_is(slice_of(line->checksum), own->checksum))) {
        line->state = SCHEMA_CHANGED;
        err_set(problem, ERR_CONFLICT,
                "migration %" PRIu32 " %s was changed after it was applied: recorded %s %s, this "
                "program has %s; start the program that applied it, or restore a backup",
                own->version, own->name, line->name, line->checksum, own->checksum);
        return; /* both are shown: the ledger's here, the program's in the message */
    } else if (!applied) {
        copy_text(line->checksum, sizeof(line->checksum), slice_of(own->checksum));
    }
    copy_text(line->name, sizeof(line->name), slice_of(own->name));
}

static void
judge_all(const struct schema_db *db, struct schema_status *status)
{
    for (uint32_t i = 0; i < SCHEMA_VERSIONS_MAX; i++) {
        status->lines[i].version = i + 1;
        if (status->lines[i].state == SCHEMA_APPLIED) {
            status->version = i + 1;
        }
        if (status->lines[i].at_us || i < status->newest) {
            status->line_count = i + 1;
        }
    }
    if (status->version > status->newest && !status->problem.code) {
        err_set(&status->problem, ERR_CONFLICT,
                "the database is at version %" PRIu32 " (%s), this program knows versions up to "
                "%" PRIu32 ": a newer program wrote it; start that one, or let it go back with "
                "\"eider migrate schema down --to %" PRIu32 "\"",
                status->version, status->lines[status->version - 1].name, status->newest,
                status->newest);
    }
    for (size_t i = 0; i < status->line_count; i++) {
        judge(db, status, &status->lines[i]);
    }
}

static bool
has_catalogue(const struct batch *columns)
{
    const struct catalog_table *table;
    size_t first;
    size_t end;
    bool found = false;

    for (size_t i = 0; (table = catalog_at(i)) && !found; i++) {
        struct buf hot BUF_AUTO;
        buf_init(&hot, 0);
        catalog_hot_name(table, &hot);
        buf_add_char(&hot, '\0');
        found = table->kind != TABLE_VIEW && (schema_table(columns, table->name, &first, &end) ||
                                              schema_table(columns, hot.ptr, &first, &end));
    }
    return found;
}

enum err_code
schema_ledger_read(const struct schema_db *db, struct schema_status *ret_status,
                   int64_t *ret_last_us, struct err *err)
{
    struct batch columns BATCH_AUTO = {0};
    struct batch rows BATCH_AUTO = {0};
    struct schema_status *status = ret_status;
    size_t first;
    size_t end;

    enum err_code code = schema_columns(db, &columns, err);
    if (code) {
        return code;
    }
    bool has_ledger = schema_table(&columns, SCHEMA_LEDGER, &first, &end);
    bool is_ours = schema_has(&columns, SCHEMA_LEDGER, schema_ledger_columns);
    if (is_ours) {
        code = db->ops->query(db->ctx, rows_sql, &rows, err);
        if (code) {
            return err_context(err, code, "reading the ledger " SCHEMA_LEDGER);
        }
    }
    *status = (struct schema_status){.newest = (uint32_t)schema_list_of(db)->count,
                                     .has_ledger = has_ledger,
                                     .has_tables = has_catalogue(&columns)};
    if (has_ledger && !is_ours) {
        err_set(&status->problem, ERR_CONFLICT,
                "the table " SCHEMA_LEDGER " is not the ledger of this program: rename it");
    }
    *ret_last_us = INT64_MIN;
    for (size_t row = 0; row < rows.rows && !status->problem.code; row++) {
        take_row(status, &rows, row);
        *ret_last_us = batch_get_i64(&rows, APPLIED_AT, row);
    }
    judge_all(db, status);
    return ERR_OK;
}

enum err_code
schema_status(const struct schema_db *db, struct schema_status *ret_status, struct err *err)
{
    int64_t last_us;

    enum err_code code = schema_ledger_read(db, ret_status, &last_us, err);
    return code ? err_context(err, code, "%s", db->where) : ERR_OK;
}
