/* The fake; see the header. */
#include "schema/fake_schema_db.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/time.h"

static const char ledger_text[] =
    SCHEMA_LEDGER "(version INTEGER, name VARCHAR, checksum VARCHAR, applied_at TIMESTAMP, "
                  "execution_ms BIGINT, status VARCHAR)";

struct fake_table *
fake_table(struct fake_db *fake, const char *name)
{
    for (size_t i = 0; i < fake->now.table_count; i++) {
        if (strcmp(fake->now.tables[i].name, name) == 0) {
            return &fake->now.tables[i];
        }
    }
    return NULL;
}

bool
fake_has_table(struct fake_db *fake, const char *name)
{
    return fake_table(fake, name) != NULL;
}

static void
add_column(struct fake_table *table, struct slice text)
{
    struct slice rest = slice_trim(text);
    struct slice name;

    assert(table->column_count < FAKE_COLUMNS_MAX);
    slice_split(&rest, ' ', &name);
    char(*column)[32] = table->columns[table->column_count++];
    snprintf(column[0], sizeof(column[0]), "%.*s", SLICE_FMT(name));
    snprintf(column[1], sizeof(column[1]), "%.*s", SLICE_FMT(rest));
}

void
fake_add_table(struct fake_db *fake, const char *text)
{
    struct slice rest = slice_of(text);
    struct slice name;
    struct slice column;

    assert(fake->now.table_count < FAKE_TABLES_MAX);
    struct fake_table *table = &fake->now.tables[fake->now.table_count++];
    *table = (struct fake_table){0};
    bool has_columns = slice_split(&rest, '(', &name);
    snprintf(table->name, sizeof(table->name), "%.*s", SLICE_FMT(name));
    if (!has_columns) {
        add_column(table, slice_of("id INTEGER"));
        return;
    }
    slice_split(&rest, ')', &column);
    rest = column;
    while (slice_split(&rest, ',', &column)) {
        add_column(table, column);
    }
    add_column(table, column);
}

static void
drop_table(struct fake_db *fake, const char *name)
{
    struct fake_table *table = fake_table(fake, name);

    assert(table);
    *table = fake->now.tables[--fake->now.table_count];
}

void
fake_add_row(struct fake_db *fake, int64_t version, const char *name, const char *checksum,
             const char *status)
{
    if (!fake_has_table(fake, SCHEMA_LEDGER)) {
        fake_add_table(fake, ledger_text);
    }
    assert(fake->now.row_count < FAKE_ROWS_MAX);
    struct fake_row *row = &fake->now.rows[fake->now.row_count++];
    *row = (struct fake_row){.version = version, .applied_us = (int64_t)fake->now.row_count};
    snprintf(row->name, sizeof(row->name), "%s", name);
    snprintf(row->checksum, sizeof(row->checksum), "%s", checksum);
    snprintf(row->status, sizeof(row->status), "%s", status);
}

static enum err_code
count_call(struct fake_db *fake, const char *what, struct err *err)
{
    if (++fake->calls == fake->fail_at) {
        return err_set(err, ERR_IO, "made to fail: %.60s", what);
    }
    return ERR_OK;
}

static enum err_code
fake_begin(void *ctx, struct err *err)
{
    struct fake_db *fake = ctx;

    assert(!fake->in_transaction);
    enum err_code code = count_call(fake, "BEGIN", err);
    if (code) {
        return code;
    }
    fake->begins++;
    if (fake->on_begin) {
        fake->on_begin(fake);
    }
    fake->saved = fake->now;
    fake->in_transaction = true;
    return ERR_OK;
}

static enum err_code
fake_commit(void *ctx, struct err *err)
{
    struct fake_db *fake = ctx;

    assert(fake->in_transaction);
    enum err_code code = count_call(fake, "COMMIT", err);
    fake->in_transaction = code != ERR_OK;
    return code;
}

static void
fake_rollback(void *ctx)
{
    struct fake_db *fake = ctx;

    if (fake->in_transaction) {
        fake->now = fake->saved;
        fake->in_transaction = false;
    }
}

/* "VALUES (1, 'name', 'checksum', TIMESTAMP 'at', 5, 'applied')" */
static void
insert_row(struct fake_db *fake, const char *sql)
{
    struct slice parts[9]; /* what stands between quotes has the odd numbers */
    struct fake_row row = {0};
    const char *values = strstr(sql, "VALUES (");

    assert(values && fake_has_table(fake, SCHEMA_LEDGER) && fake->now.row_count < FAKE_ROWS_MAX);
    struct slice rest = slice_of(values + strlen("VALUES ("));
    for (size_t i = 0; i < 9; i++) {
        slice_split(&rest, '\'', &parts[i]);
    }
    row.version = strtoll(parts[0].ptr, NULL, 10);
    snprintf(row.name, sizeof(row.name), "%.*s", SLICE_FMT(parts[1]));
    snprintf(row.checksum, sizeof(row.checksum), "%.*s", SLICE_FMT(parts[3]));
    bool is_time = time_parse_iso8601(parts[5], &row.applied_us);
    row.execution_ms = strtoll(parts[6].ptr + strlen(", "), NULL, 10);
    snprintf(row.status, sizeof(row.status), "%.*s", SLICE_FMT(parts[7]));
    assert(is_time && slice_is(parts[8], ")"));
    fake->now.rows[fake->now.row_count++] = row;
}

static enum err_code
fake_exec(void *ctx, const char *sql, struct err *err)
{
    struct fake_db *fake = ctx;
    char table[48];
    char column[48];
    char type[48];

    enum err_code code = count_call(fake, sql, err);
    if (code) {
        return code;
    }
    if (strncmp(sql, "MAKE ", 5) == 0) {
        if (fake_has_table(fake, sql + 5)) {
            return err_set(err, ERR_CONFLICT, "table %s is there", sql + 5);
        }
        fake_add_table(fake, sql + 5);
    } else if (strncmp(sql, "DROP ", 5) == 0) {
        drop_table(fake, sql + 5);
    } else if (strncmp(sql, "CREATE TABLE IF NOT EXISTS " SCHEMA_LEDGER, 49) == 0) {
        if (!fake_has_table(fake, SCHEMA_LEDGER)) {
            fake_add_table(fake, ledger_text);
        }
    } else if (strncmp(sql, "INSERT INTO " SCHEMA_LEDGER, 35) == 0) {
        insert_row(fake, sql);
    } else if (sscanf(sql, "ALTER TABLE %47s ADD COLUMN \"%47[^\"]\" %47[^\n]", table, column,
                      type) == 3) {
        struct buf text BUF_AUTO;
        buf_init(&text, 0);
        buf_add_fmt(&text, "%s %s", column, type);
        add_column(fake_table(fake, table), buf_slice(&text));
    } else {
        assert(strstr(sql, "pg_advisory_xact_lock"));
        fake->locks++;
    }
    return ERR_OK;
}

static void
add_columns(struct batch *rows, enum col_type third)
{
    batch_init_answer(rows, 1 << 20);
    batch_add_column(rows, slice_of("a"), third == COL_TEXT ? COL_TEXT : COL_INT64);
    batch_add_column(rows, slice_of("b"), COL_TEXT);
    batch_add_column(rows, slice_of("c"), COL_TEXT);
}

static void
list_columns(const struct fake_db *fake, struct batch *rows)
{
    add_columns(rows, COL_TEXT);
    for (size_t i = 0; i < fake->now.table_count; i++) {
        const struct fake_table *table = &fake->now.tables[i];
        for (size_t c = 0; c < table->column_count; c++) {
            size_t row = batch_add_row(rows);
            batch_set_text(rows, 0, row, batch_keep_text(rows, slice_of(table->name)));
            batch_set_text(rows, 1, row, batch_keep_text(rows, slice_of(table->columns[c][0])));
            batch_set_text(rows, 2, row, batch_keep_text(rows, slice_of(table->columns[c][1])));
        }
    }
}

/* In the order of their times, as the statement asks. */
static int
by_time(const void *a, const void *b)
{
    const struct fake_row *x = a;
    const struct fake_row *y = b;

    return x->applied_us < y->applied_us ? -1 : x->applied_us > y->applied_us;
}

static void
list_ledger(const struct fake_db *fake, bool names_ledger, struct batch *rows)
{
    struct fake_row sorted[FAKE_ROWS_MAX];

    memcpy(sorted, fake->now.rows, sizeof(sorted));
    qsort(sorted, fake->now.row_count, sizeof(sorted[0]), by_time);
    add_columns(rows, COL_INT64);
    batch_add_column(rows, slice_of("d"), COL_TIMESTAMP);
    batch_add_column(rows, slice_of("e"), COL_INT64);
    batch_add_column(rows, slice_of("f"), COL_TEXT);
    if (names_ledger) {
        batch_add_column(rows, slice_of("g"), COL_TEXT);
    }
    for (size_t i = 0; i < fake->now.row_count; i++) {
        size_t row = batch_add_row(rows);
        batch_set_i64(rows, 0, row, sorted[i].version);
        batch_set_text(rows, 1, row, batch_keep_text(rows, slice_of(sorted[i].name)));
        batch_set_text(rows, 2, row, batch_keep_text(rows, slice_of(sorted[i].checksum)));
        batch_set_i64(rows, 3, row, sorted[i].applied_us);
        batch_set_i64(rows, 4, row, sorted[i].execution_ms);
        batch_set_text(rows, 5, row, batch_keep_text(rows, slice_of(sorted[i].status)));
        if (names_ledger) {
            batch_set_text(rows, 6, row, slice_of("eider"));
        }
    }
}

static enum err_code
fake_query(void *ctx, const char *sql, struct batch *ret_rows, struct err *err)
{
    struct fake_db *fake = ctx;

    enum err_code code = count_call(fake, sql, err);
    if (code) {
        return code;
    }
    if (strstr(sql, "duckdb_columns") || strstr(sql, "pg_attribute")) {
        list_columns(fake, ret_rows);
    } else {
        assert(strstr(sql, "FROM " SCHEMA_LEDGER));
        list_ledger(fake, strstr(sql, "'eider'") != NULL, ret_rows);
    }
    return ERR_OK;
}

const struct schema_db_ops fake_db_ops = {
    .begin = fake_begin,
    .exec = fake_exec,
    .query = fake_query,
    .commit = fake_commit,
    .rollback = fake_rollback,
};
