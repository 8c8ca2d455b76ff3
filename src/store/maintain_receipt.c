/*
 * Receipts of retention: rows of retention_receipts, written through the log as everything else,
 * and the note cold/receipt that makes exactly one of each step.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "catalog/catalog.h"
#include "codec/json_read.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "store/cold_internal.h"
#include "store/maintain_private.h"

enum { ARENA_BYTES_MAX = 64 << 20, APPLIED_MS = 60000 };

/* Columns of TABLE_RETENTION_RECEIPTS. */
enum {
    RECEIPT_ID,
    RECEIPT_TIMESTAMP,
    RECEIPT_RULE,
    RECEIPT_ACTION,
    RECEIPT_TABLE,
    RECEIPT_KIND,
    RECEIPT_DAY,
    RECEIPT_FILES,
    RECEIPT_ROWS,
    RECEIPT_BYTES,
    RECEIPT_METRICS
};

/* What the note says. Texts are the arena's. */
struct note {
    struct slice id;
    int64_t at_us;
    struct slice rule;
    struct slice metrics; /* JSON object, or empty */
    int64_t action;
    struct retention_step step; /* files are its own */
};

static void
note_path(const struct maintain *maintain, char ret_path[COLD_PATH_MAX])
{
    snprintf(ret_path, COLD_PATH_MAX, "%.4000s/receipt", maintain->cold_dir);
}

static void
write_metrics(struct json_writer *json, const struct retention_step *step)
{
    json_object_begin(json);
    for (size_t i = 0; i < step->metric_count; i++) {
        json_key(json, step->metrics[i].name);
        json_u64(json, step->metrics[i].rows);
    }
    json_object_end(json);
}

static void
write_note(const struct maintain *maintain, const struct retention_step *step, const char *rule,
           const struct cold_file *files, size_t count, struct buf *ret_text)
{
    struct json_writer json;

    json_init(&json, ret_text);
    json_object_begin(&json);
    json_key(&json, "id");
    json_cstr(&json, maintain->receipt_id);
    json_key(&json, "at");
    json_i64(&json, maintain->receipt_us);
    json_key(&json, "rule");
    json_cstr(&json, rule);
    json_key(&json, "action");
    json_i64(&json, step->action);
    json_key(&json, "table");
    json_i64(&json, step->table);
    json_key(&json, "kind");
    json_i64(&json, step->kind);
    json_key(&json, "day");
    json_i64(&json, step->day);
    json_key(&json, "rows");
    json_u64(&json, step->rows);
    json_key(&json, "hot_rows");
    json_u64(&json, step->seal_first ? 0 : step->hot_rows);
    json_key(&json, "bytes");
    json_u64(&json, step->bytes);
    json_key(&json, "metrics");
    write_metrics(&json, step);
    json_key(&json, "files");
    json_array_begin(&json);
    for (size_t i = 0; i < count; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&files[i], relative);
        json_cstr(&json, relative);
    }
    json_array_end(&json);
    json_object_end(&json);
    buf_add_char(ret_text, '\n');
}

enum err_code
maintain_receipt_begin(struct maintain *maintain, const struct retention_step *step,
                       const char *rule, const struct cold_file *replaced, size_t replaced_count,
                       struct err *err)
{
    bool rewrites = step->action == RETENTION_DROP_METRICS;
    char path[COLD_PATH_MAX];
    struct buf text BUF_AUTO = {0};

    maintain->receipt_us = clock_wall_us(maintain->engine->clock);
    id_uuid7(maintain->receipt_us, maintain->receipt_id);
    buf_init(&text, COLD_FILE_BYTES_MAX);
    write_note(maintain, step, rule, rewrites ? replaced : step->files,
               rewrites ? replaced_count : step->file_count, &text);
    if (text.overflow) {
        return err_set(err, ERR_TOO_LARGE, "a step of retention has too many files");
    }
    note_path(maintain, path);
    return cold_replace_file(path, buf_slice(&text), NULL, NULL, err);
}

static enum err_code
remove_note(const struct maintain *maintain, struct err *err)
{
    char path[COLD_PATH_MAX];

    note_path(maintain, path);
    if (unlink(path) != 0 && errno != ENOENT) {
        return err_sys(err, errno, "cannot remove %s", path);
    }
    return cold_sync_dir(maintain->cold_dir, err);
}

/* One row, durable when this returns. */
static enum err_code
write_receipt(struct maintain *maintain, const struct note *note, struct err *err)
{
    const struct retention_step *step = &note->step;
    struct buf bytes BUF_AUTO = {0};
    struct batch batch BATCH_AUTO = {0};
    char day[COLD_DAY_TEXT];
    uint64_t lsn;

    buf_init(&bytes, 0);
    cold_day_format(step->day, day);
    batch_init(&batch, catalog_table(TABLE_RETENTION_RECEIPTS), 0);
    size_t row = batch_add_row(&batch);
    batch_set_text(&batch, RECEIPT_ID, row, note->id);
    batch_set_i64(&batch, RECEIPT_TIMESTAMP, row, note->at_us);
    batch_set_text(&batch, RECEIPT_RULE, row, note->rule);
    batch_set_text(&batch, RECEIPT_ACTION, row, slice_of(retention_action_name(step->action)));
    batch_set_text(&batch, RECEIPT_TABLE, row, slice_of(catalog_table(step->table)->name));
    batch_set_text(&batch, RECEIPT_KIND, row, slice_of(cold_kind_name(step->kind)));
    batch_set_text(&batch, RECEIPT_DAY, row, slice_of(day));
    batch_set_i64(&batch, RECEIPT_FILES, row, (int64_t)step->file_count);
    batch_set_i64(&batch, RECEIPT_ROWS, row, (int64_t)step->rows);
    batch_set_i64(&batch, RECEIPT_BYTES, row, (int64_t)step->bytes);
    if (note->metrics.len > 2) {
        batch_set_text(&batch, RECEIPT_METRICS, row, note->metrics);
    }
    batch_encode(&batch, &bytes);
    assert(bytes.len > 0 && !bytes.overflow);
    enum err_code code =
        wal_append(maintain->engine->wal, RECORD_BATCHES, buf_slice(&bytes), &lsn, err);
    return code ? err_context(err, code, "writing a receipt of retention") : ERR_OK;
}

enum err_code
maintain_receipt_end(struct maintain *maintain, const struct retention_step *step, const char *rule,
                     struct err *err)
{
    struct buf metrics BUF_AUTO = {0};
    struct json_writer json;

    buf_init(&metrics, 0);
    json_init(&json, &metrics);
    write_metrics(&json, step);
    const struct note note = {
        .id = slice_of(maintain->receipt_id),
        .at_us = maintain->receipt_us,
        .rule = slice_of(rule),
        .metrics = buf_slice(&metrics),
        .step = *step,
    };
    enum err_code code = write_receipt(maintain, &note, err);
    return code ? code : remove_note(maintain, err);
}

/* ---- reading the note ---- */

static bool
read_file_names(struct json_reader *json, struct retention_step *step)
{
    struct scalar value;

    while (json_read_element(json)) {
        struct cold_file file;
        if (!json_read_value(json, &value) || value.type != SCALAR_STRING ||
            !cold_parse_relative(value.text, &file)) {
            return false;
        }
        step->files = mem_resize(step->files, step->file_count + 1, sizeof(*step->files));
        step->files[step->file_count++] = file;
    }
    return !json_read_failed(json);
}

static bool
take_number(struct slice key, const struct scalar *value, struct note *note)
{
    int64_t number;

    if (value->type != SCALAR_NUMBER || !number_to_i64(&value->number, &number)) {
        return false;
    }
    if (slice_is(key, "at")) {
        note->at_us = number;
    } else if (slice_is(key, "action")) {
        note->action = number;
    } else if (slice_is(key, "table")) {
        note->step.table = (enum table_id)number;
    } else if (slice_is(key, "kind")) {
        note->step.kind = (enum cold_kind)number;
    } else if (slice_is(key, "day")) {
        note->step.day = (int32_t)number;
    } else if (slice_is(key, "rows")) {
        note->step.rows = (uint64_t)number;
    } else if (slice_is(key, "hot_rows")) {
        note->step.hot_rows = (uint64_t)number;
    } else if (slice_is(key, "bytes")) {
        note->step.bytes = (uint64_t)number;
    }
    return true;
}

static bool
take_member(struct json_reader *json, struct slice key, struct note *note)
{
    struct scalar value;

    if (!json_read_value(json, &value)) {
        return false;
    }
    if (slice_is(key, "files")) {
        return value.type == SCALAR_ARRAY && read_file_names(json, &note->step);
    }
    if (slice_is(key, "metrics")) {
        bool is_fine = value.type == SCALAR_OBJECT && json_read_rest(json, &value);
        note->metrics = value.text;
        return is_fine;
    }
    if (slice_is(key, "id") || slice_is(key, "rule")) {
        *(slice_is(key, "id") ? &note->id : &note->rule) = value.text;
        return value.type == SCALAR_STRING;
    }
    return take_number(key, &value, note);
}

static bool
read_note(struct slice text, struct arena *arena, struct note *note)
{
    struct json_reader json;
    struct scalar value;
    struct slice key;

    json_read_init(&json, text, arena);
    bool is_fine = json_read_value(&json, &value) && value.type == SCALAR_OBJECT;
    while (is_fine && json_read_key(&json, &key)) {
        is_fine = take_member(&json, key, note);
    }
    note->step.action = (enum retention_action)note->action;
    const struct catalog_table *table = catalog_table(note->step.table);
    return is_fine && json_read_end(&json) && note->id.len == ID_UUID_LEN && table &&
           table->sealed && note->action >= 0 && note->action <= RETENTION_DROP_METRICS &&
           (int)note->step.kind >= 0 && note->step.kind < COLD_KIND_COUNT;
}

/* ---- recovery ---- */

/* Whether the receipt is in the store already: the crash came before the note was removed. */
static enum err_code
has_receipt(struct maintain *maintain, struct slice id, bool *ret_has, struct err *err)
{
    struct engine *engine = maintain->engine;
    struct wal_status status;
    struct batch rows;
    const struct store_scan scan = {
        .table = TABLE_RETENTION_RECEIPTS,
        .filters = {{.column = "id", .values = &id, .value_count = 1}},
        .filter_count = 1,
        .from_us = INT64_MIN,
        .to_us = INT64_MAX,
    };

    wal_status(engine->wal, &status);
    enum err_code code = engine_wait_applied(engine, status.durable_lsn, APPLIED_MS, err);
    code = code ? code : engine_scan(engine, &scan, &rows, err);
    if (code == ERR_OK) {
        *ret_has = rows.rows > 0;
        batch_fini(&rows);
    }
    return code;
}

/* Whether a day that was to be written anew was: nobody lists the files any more that it had. */
static enum err_code
was_rewritten(struct maintain *maintain, const struct retention_step *step, bool *ret_was,
              struct err *err)
{
    struct cold_file *files MEM_AUTO = NULL;
    size_t count = 0;
    enum err_code code = engine_cold_list(maintain->engine, &files, &count, err);
    bool was = code == ERR_OK && step->file_count > 0;

    for (size_t i = 0; i < step->file_count && was; i++) {
        was = !bsearch(&step->files[i], files, count, sizeof(*files), cold_file_compare);
    }
    *ret_was = was;
    return code;
}

/* The names and rows of the note's metrics. */
static bool
read_metrics(struct note *note, struct arena *arena)
{
    struct retention_step *step = &note->step;
    struct json_reader json;
    struct scalar value;
    struct slice key;
    int64_t rows;

    json_read_init(&json, note->metrics, arena);
    bool is_fine = json_read_value(&json, &value) && value.type == SCALAR_OBJECT;
    while (is_fine && json_read_key(&json, &key)) {
        is_fine = json_read_value(&json, &value) && value.type == SCALAR_NUMBER &&
                  number_to_i64(&value.number, &rows);
        step->metrics = mem_resize(step->metrics, step->metric_count + 1, sizeof(*step->metrics));
        step->metrics[step->metric_count++] =
            (struct retention_metric){.day = step->day,
                                      .name = arena_dup(arena, key).ptr,
                                      .rows = is_fine ? (uint64_t)rows : 0};
    }
    return is_fine && json_read_end(&json) && step->metric_count > 0;
}

static enum err_code
recover(struct maintain *maintain, struct note *note, struct arena *arena, struct err *err)
{
    bool rewrites = note->step.action == RETENTION_DROP_METRICS && !maintain->rows_only;
    bool is_due = true;
    bool has = false;
    enum err_code code = has_receipt(maintain, note->id, &has, err);

    if (code == ERR_OK && !has && !rewrites && note->step.action == RETENTION_DROP_METRICS &&
        !read_metrics(note, arena)) {
        code = err_set(err, ERR_CORRUPT, "the note of retention names no metrics");
    }
    if (code == ERR_OK && !has && rewrites) {
        code = was_rewritten(maintain, &note->step, &is_due, err);
        note->step.file_count = 0;
    } else if (code == ERR_OK && !has) {
        code = maintain_drop(maintain, &note->step, err);
    }
    if (code == ERR_OK && !has && is_due) {
        code = write_receipt(maintain, note, err);
    }
    return code ? code : remove_note(maintain, err);
}

enum err_code
maintain_receipt_recover(struct maintain *maintain, struct err *err)
{
    char path[COLD_PATH_MAX];
    struct arena arena ARENA_AUTO = {0};
    struct buf text BUF_AUTO = {0};
    struct note note = {.at_us = 0};

    arena_init(&arena, ARENA_BYTES_MAX);
    buf_init(&text, COLD_FILE_BYTES_MAX);
    note_path(maintain, path);
    enum err_code code = cold_read_file(path, &text, err);
    if (code != ERR_OK) {
        return code == ERR_NOT_FOUND ? ERR_OK : code;
    }
    if (read_note(buf_slice(&text), &arena, &note)) {
        code = recover(maintain, &note, &arena, err);
    } else {
        /* It is written whole or not at all, so somebody changed it. */
        engine_event(maintain->engine, true,
                     "%s cannot be read and is removed: a receipt of retention may be missing",
                     path);
        code = remove_note(maintain, err);
    }
    free(note.step.files);
    free(note.step.metrics);
    return code;
}
