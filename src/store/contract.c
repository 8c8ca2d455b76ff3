/* The suite's fixture and its form of rows. */
#include "store/contract_private.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "store/engine_testing.h"

enum { DAYS_MAX = 4096, CELL_MAX = 4096, TEXT_BYTES_MAX = 64 << 20 };

/* Behind every day that is sealed. */
static const int64_t MAX_US = INT64_C(253402214400000000);

/* cmocka hands a setup nothing but the test's state. */
static const struct store_contract *under_test;

static void
set_cell(struct batch *batch, size_t column, size_t row, struct slice cell)
{
    char text[CELL_MAX];
    int64_t micro;

    if (slice_is(cell, "-")) {
        return;
    }
    assert_true(slice_to_cstr(cell, text, sizeof(text)));
    switch (batch->columns[column].type) {
    case COL_BOOL:
        batch_set_bool(batch, column, row, slice_is(cell, "true"));
        break;
    case COL_INT32:
        batch_set_i32(batch, column, row, (int32_t)strtol(text, NULL, 10));
        break;
    case COL_INT64:
    case COL_TIMESTAMP:
        batch_set_i64(batch, column, row, strtoll(text, NULL, 10));
        break;
    case COL_DOUBLE:
        batch_set_f64(batch, column, row, strtod(text, NULL));
        break;
    case COL_DECIMAL:
        assert_true(decimal_parse(cell, &micro));
        batch_set_i64(batch, column, row, micro);
        break;
    case COL_TEXT:
    case COL_JSON:
        batch_set_text(batch, column, row, batch_keep_text(batch, cell));
        break;
    case COL_TYPE_COUNT:
        break;
    }
}

void
contract_fill(struct batch *batch, enum table_id table, const char *lines)
{
    struct slice rest = slice_of(lines);
    struct slice line;

    batch_init(batch, catalog_table(table), TEXT_BYTES_MAX);
    while (rest.len > 0) {
        struct slice cell;
        slice_split(&rest, '\n', &line);
        size_t row = batch_add_row(batch);
        for (size_t i = 0; i < batch->column_count; i++) {
            slice_split(&line, '|', &cell);
            set_cell(batch, i, row, cell);
        }
        assert_int_equal(line.len, 0);
    }
}

static void
dump_cell(const struct batch *rows, size_t column, size_t row, struct buf *out)
{
    char text[DECIMAL_TEXT_MAX];

    if (batch_is_null(rows, column, row)) {
        buf_add_char(out, '-');
        return;
    }
    switch (rows->columns[column].type) {
    case COL_BOOL:
        buf_add_cstr(out, rows->columns[column].b[row] ? "true" : "false");
        break;
    case COL_INT32:
    case COL_INT64:
    case COL_TIMESTAMP:
        buf_add_i64(out, batch_get_i64(rows, column, row));
        break;
    case COL_DOUBLE:
        if (isnan(batch_get_f64(rows, column, row))) {
            buf_add_cstr(out, "nan"); /* printf may show a sign */
        } else {
            buf_add_fmt(out, "%.15g", batch_get_f64(rows, column, row));
        }
        break;
    case COL_DECIMAL:
        buf_add(out, text, decimal_format(batch_get_i64(rows, column, row), text));
        break;
    case COL_TEXT:
    case COL_JSON:
        buf_add_slice(out, batch_get_text(rows, column, row));
        break;
    case COL_TYPE_COUNT:
        break;
    }
}

void
contract_dump(const struct batch *rows, struct buf *ret_text)
{
    for (size_t row = 0; row < rows->rows; row++) {
        for (size_t i = 0; i < rows->column_count; i++) {
            if (i > 0) {
                buf_add_char(ret_text, '|');
            }
            dump_cell(rows, i, row, ret_text);
        }
        buf_add_char(ret_text, '\n');
    }
}

static void
open_store(struct contract_store *at)
{
    struct store_open_options options = {.path = at->path, .threads = 1, .readers = 2};
    struct err err = {0};

    if (at->contract->open(&options, &at->store, &err)) {
        fail_msg("open: %s", err.msg);
    }
    assert_string_equal(at->store->ops->type, at->contract->name);
}

int
contract_setup(void **state)
{
    struct contract_store *at = mem_zalloc(1, sizeof(*at));

    at->contract = under_test;
    snprintf(at->dir, sizeof(at->dir), "%s", "/tmp/eider-store-XXXXXX");
    assert_non_null(mkdtemp(at->dir));
    snprintf(at->path, sizeof(at->path), "%.200s/test.duckdb", at->dir);
    open_store(at);
    *state = at;
    return 0;
}

int
contract_teardown(void **state)
{
    struct contract_store *at = *state;

    store_close(at->store);
    rig_remove_tree(at->dir);
    free(at);
    return 0;
}

void
contract_reopen(struct contract_store *at)
{
    store_close(at->store);
    open_store(at);
}

void
contract_seal(struct store *store)
{
    static bool merge;
    struct store_day days[DAYS_MAX];
    struct store_seal_result result = {0};
    struct err err = {0};
    size_t count;

    if (store_seal_find(store, &(struct store_seal_find){.before_us = MAX_US}, days, DAYS_MAX,
                        &count, &err)) {
        fail_msg("seal_find: %s", err.msg);
    }
    for (size_t i = 0; i < count; i++) {
        struct store_seal seal = {.table = days[i].table, .day = days[i].day, .merge = merge};
        struct store_sealing *sealing = NULL;
        merge = !merge;
        if (store_seal_begin(store, &seal, &sealing, &err) ||
            store_seal_commit(store, sealing, &result, &err)) {
            fail_msg("seal of %s, day %d: %s", catalog_table(seal.table)->name, (int)seal.day,
                     err.msg);
        }
        assert_true(result.rows >= days[i].hot_rows);
        store_seal_free(store, sealing);
    }
}

enum err_code
contract_try_group(struct contract_store *at, uint64_t first_lsn, uint64_t last_lsn,
                   const struct contract_part *parts, size_t count, struct err *err)
{
    struct batch batches[CONTRACT_BATCHES_MAX];
    struct store_group group = {
        .first_lsn = first_lsn, .last_lsn = last_lsn, .batch_count = count, .batches = batches};

    assert_true(count <= CONTRACT_BATCHES_MAX);
    for (size_t i = 0; i < count; i++) {
        contract_fill(&batches[i], parts[i].table, parts[i].lines);
    }
    enum err_code code = store_apply(at->store, &group, err);
    if (!code && at->contract->seals) {
        contract_seal(at->store);
    }
    for (size_t i = 0; i < count; i++) {
        batch_fini(&batches[i]);
    }
    return code;
}

void
contract_put_group(struct contract_store *at, const struct contract_part *parts, size_t count)
{
    struct err err = {0};

    at->lsn++;
    if (contract_try_group(at, at->lsn, at->lsn, parts, count, &err)) {
        fail_msg("apply: %s", err.msg);
    }
}

void
contract_put(struct contract_store *at, enum table_id table, const char *lines)
{
    contract_put_group(at, &(struct contract_part){table, lines}, 1);
}

struct store_scan
contract_all(enum table_id table)
{
    return (struct store_scan){.table = table, .from_us = INT64_MIN, .to_us = INT64_MAX};
}

void
contract_expect_rows(struct batch *rows, const char *lines)
{
    struct buf text BUF_AUTO;

    buf_init(&text, 0);
    contract_dump(rows, &text);
    batch_fini(rows);
    buf_add_char(&text, '\0');
    assert_string_equal(text.ptr, lines);
}

void
contract_apply(struct store *store, uint64_t lsn, enum table_id table, const char *lines)
{
    struct batch batch;
    struct err err = {0};
    struct store_group group = {
        .first_lsn = lsn, .last_lsn = lsn, .batch_count = 1, .batches = &batch};

    contract_fill(&batch, table, lines);
    if (store_apply(store, &group, &err)) {
        fail_msg("apply: %s", err.msg);
    }
    batch_fini(&batch);
}

void
contract_expect_scan(struct contract_store *at, const struct store_scan *scan, const char *lines)
{
    struct err err = {0};
    struct batch rows;

    if (store_scan(at->store, scan, &rows, &err)) {
        fail_msg("scan: %s", err.msg);
    }
    contract_expect_rows(&rows, lines);
}

void
contract_expect(struct contract_store *at, enum table_id table, const char *lines)
{
    struct store_scan scan = contract_all(table);

    contract_expect_scan(at, &scan, lines);
}

void
contract_expect_bucket(struct contract_store *at, const struct store_bucket *bucket,
                       const char *lines)
{
    struct err err = {0};
    struct batch rows;

    if (store_bucket(at->store, bucket, &rows, &err)) {
        fail_msg("bucket: %s", err.msg);
    }
    contract_expect_rows(&rows, lines);
}

void
contract_expect_latest(struct contract_store *at, enum table_id table, const char *lines)
{
    struct err err = {0};
    struct batch rows;

    if (store_latest(at->store, table, NULL, &rows, &err)) {
        fail_msg("latest: %s", err.msg);
    }
    contract_expect_rows(&rows, lines);
}

int
store_contract_run(const struct store_contract *contract)
{
    under_test = contract;
    return contract_run_apply() + contract_run_read() + contract_run_visit();
}
