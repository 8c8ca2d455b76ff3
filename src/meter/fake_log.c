/* The log and store of the tests: durable records are decoded and their rows kept. */
#include "meter/fake_log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

enum { TEXT_MAX = 1 << 30, VISIT_ROWS = 100, ALIGN = 8, ANSWER_BYTES = 4096 };

static const enum table_id kept[] = {TABLE_EVENTS, TABLE_RESERVATION_CHANGES, TABLE_BUDGET_CHANGES,
                                     TABLE_PRICE_BOOK};

void
fake_log_init(struct fake_log *log)
{
    *log = (struct fake_log){0};
    arena_init(&log->texts, TEXT_MAX);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        batch_init(&log->rows[kept[i]], catalog_table(kept[i]), 0);
    }
}

void
fake_log_fini(struct fake_log *log)
{
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        batch_fini(&log->rows[kept[i]]);
    }
    arena_fini(&log->texts);
}

static void
keep_row(struct fake_log *log, const struct batch *from, size_t row)
{
    struct batch *to = &log->rows[from->table->id];

    batch_copy_row(to, from, row);
    for (size_t i = 0; i < to->column_count; i++) {
        enum col_type type = to->columns[i].type;
        size_t last = to->rows - 1;
        if ((type == COL_TEXT || type == COL_JSON) && !batch_is_null(to, i, last)) {
            batch_set_text(to, i, last, arena_dup(&log->texts, batch_get_text(to, i, last)));
        }
    }
}

static void
keep_record(struct fake_log *log, const struct wal_entry *entry)
{
    struct slice payload = entry->parts[0];
    size_t at = 0;

    assert(entry->part_count == 1);
    char *aligned = aligned_alloc(ALIGN, (payload.len + ALIGN) / ALIGN * ALIGN);
    assert(aligned);
    memcpy(aligned, payload.ptr, payload.len);
    while (at < payload.len) {
        struct batch batch;
        struct err err;
        size_t used = 0;
        enum err_code code =
            batch_decode(slice_make(aligned + at, payload.len - at), &batch, &used, &err);
        assert(code == ERR_OK && used > 0);
        for (size_t i = 0; i < batch.rows; i++) {
            keep_row(log, &batch, i);
        }
        batch_fini(&batch);
        at += used;
    }
    free(aligned);
    log->records++;
}

static void
end(struct fake_log *log, struct wal_entry *entry, enum err_code code)
{
    struct err err;

    if (code == ERR_OK) {
        keep_record(log, entry);
        entry->lsn = ++log->lsn;
        entry->done(entry, ERR_OK, NULL);
        return;
    }
    log->failures++;
    err_set(&err, code, "the log failed");
    entry->lsn = 0;
    entry->done(entry, code, &err);
}

static void
fake_submit(void *ctx, struct wal_entry *entry)
{
    struct fake_log *log = ctx;

    log->double_submits += log->held != NULL;
    switch (log->mode) {
    case FAKE_LOG_INSTANT:
        end(log, entry, ERR_OK);
        return;
    case FAKE_LOG_FAILING:
        end(log, entry, ERR_IO);
        return;
    case FAKE_LOG_HELD:
        log->held = entry;
        return;
    }
}

void
fake_log_end(struct fake_log *log, enum err_code code)
{
    struct wal_entry *entry = log->held;

    if (entry) {
        log->held = NULL;
        end(log, entry, code);
    }
}

void
fake_log_crash(struct fake_log *log, bool was_written)
{
    if (log->held && was_written) {
        keep_record(log, log->held);
        log->lsn++;
    }
    log->held = NULL;
}

/* ---- reading ---- */

static bool
passes(const struct batch *rows, const struct store_scan *scan, size_t row)
{
    int time = rows->table->time_column;
    int64_t at_us = batch_get_i64(rows, (size_t)time, row);

    if (at_us < scan->from_us || at_us > scan->to_us) {
        return false;
    }
    if (scan->at_least_column) {
        int column = batch_column_index(rows, slice_of(scan->at_least_column));
        if (batch_get_i64(rows, (size_t)column, row) < scan->at_least) {
            return false;
        }
    }
    for (size_t i = 0; i < scan->filter_count; i++) {
        int column = batch_column_index(rows, slice_of(scan->filters[i].column));
        if (!slice_eq(batch_get_text(rows, (size_t)column, row), scan->filters[i].values[0])) {
            return false;
        }
    }
    return true;
}

static enum err_code
fake_visit(void *ctx, const struct store_scan *scan, store_visit_fn *fn, void *fn_ctx,
           struct err *err)
{
    struct fake_log *log = ctx;
    const struct batch *rows = &log->rows[scan->table];
    enum err_code code = ERR_OK;
    size_t row = 0;

    if (log->read_code != ERR_OK) {
        return err_set(err, log->read_code, "the store cannot be read");
    }
    while (row < rows->rows && code == ERR_OK) {
        struct batch BATCH_AUTO some;
        batch_init(&some, rows->table, 0);
        for (; row < rows->rows && some.rows < VISIT_ROWS; row++) {
            if (passes(rows, scan, row)) {
                batch_copy_row(&some, rows, row);
            }
        }
        code = some.rows > 0 ? fn(fn_ctx, &some, err) : ERR_OK;
    }
    return code;
}

/* The meter asks for max(seq) only. */
static enum err_code
fake_bucket(void *ctx, const struct store_bucket *bucket, struct batch *ret_rows, struct err *err)
{
    struct fake_log *log = ctx;
    const struct batch *rows = &log->rows[bucket->scan.table];
    int64_t most = 0;

    assert(bucket->aggregate_count == 1 && bucket->aggregates[0].fn == AGG_MAX);
    if (log->read_code != ERR_OK) {
        return err_set(err, log->read_code, "the store cannot be read");
    }
    int column = batch_column_index(rows, slice_of(bucket->aggregates[0].column));
    for (size_t i = 0; i < rows->rows; i++) {
        int64_t value = batch_get_i64(rows, (size_t)column, i);
        most = value > most ? value : most;
    }
    batch_init_answer(ret_rows, ANSWER_BYTES);
    batch_add_column(ret_rows, slice_of(bucket->aggregates[0].as), COL_INT64);
    batch_set_i64(ret_rows, 0, batch_add_row(ret_rows), most);
    return ERR_OK;
}

static enum err_code
fake_settle(void *ctx, struct err *err)
{
    struct fake_log *log = ctx;

    return log->read_code == ERR_OK ? ERR_OK
                                    : err_set(err, log->read_code, "the store cannot be read");
}

void
fake_log_io(struct fake_log *log, struct meter_io *ret_io)
{
    *ret_io = (struct meter_io){.submit = fake_submit,
                                .visit = fake_visit,
                                .bucket = fake_bucket,
                                .settle = fake_settle,
                                .ctx = log};
}
