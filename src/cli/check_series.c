/*
 * Series that nobody defines any more: of rows of the log whose definitions stood in the database
 * and its snapshots alone. They are given names, lest their numbers go to other series, and so that
 * the rows can be read.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "cli/check_repair.h"
#include "cli/cli.h"

enum { NAMES_A_RECORD = 4096, QUERY_MS = 600000, APPLY_MS = 600000 };

struct writing {
    struct wal_entry entry;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    struct err err;
};

static void
note_written(struct wal_entry *entry, enum err_code code, const struct err *err)
{
    struct writing *writing = entry->ctx;

    pthread_mutex_lock(&writing->lock);
    writing->done = true;
    writing->err = code == ERR_OK ? (struct err){0} : *err;
    pthread_cond_signal(&writing->changed);
    pthread_mutex_unlock(&writing->lock);
}

static enum err_code
write_record(struct engine *engine, const struct batch *rows, struct err *err)
{
    struct writing writing = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};
    struct buf bytes BUF_AUTO = {0};

    buf_init(&bytes, 0);
    batch_encode(rows, &bytes);
    writing.entry = (struct wal_entry){
        .part_count = 1, .parts = {buf_slice(&bytes)}, .done = note_written, .ctx = &writing};
    engine_submit(engine, &writing.entry);
    pthread_mutex_lock(&writing.lock);
    while (!writing.done) {
        pthread_cond_wait(&writing.changed, &writing.lock);
    }
    pthread_mutex_unlock(&writing.lock);
    if (writing.err.code != ERR_OK) {
        *err = writing.err;
        return err->code;
    }
    return engine_wait_applied(engine, writing.entry.lsn, APPLY_MS, err);
}

static enum err_code
write_names(struct engine *engine, const struct batch *ids, size_t from, size_t to, struct err *err)
{
    struct batch rows BATCH_AUTO = {0};

    batch_init(&rows, catalog_table(TABLE_SERIES), (size_t)NAMES_A_RECORD * 64);
    for (size_t i = from; i < to; i++) {
        char name[32];
        int64_t id = batch_get_i64(ids, 0, i);
        size_t row = batch_add_row(&rows);
        snprintf(name, sizeof(name), "unknown_series_%" PRId64, id);
        batch_set_i32(&rows, 0, row, (int32_t)id);
        batch_set_text(&rows, 1, row, batch_keep_text(&rows, slice_of(name)));
    }
    return write_record(engine, &rows, err);
}

enum err_code
repair_name_series(const struct repairing *repairing, struct engine *engine, struct err *err)
{
    const struct store_sql ask = {
        .sql = slice_of("SELECT DISTINCT series_id FROM samples WHERE series_id NOT IN (SELECT "
                        "series_id FROM series) ORDER BY 1"),
        .timeout_ms = QUERY_MS,
        .rows_max = BATCH_ROWS_MAX,
    };
    struct batch ids BATCH_AUTO = {0};
    enum err_code code = engine_sql(engine, &ask, &ids, NULL, err);

    for (size_t from = 0; from < ids.rows && code == ERR_OK; from += NAMES_A_RECORD) {
        size_t left = ids.rows - from;
        size_t to = from + (left < NAMES_A_RECORD ? left : NAMES_A_RECORD);
        code = write_names(engine, &ids, from, to, err);
    }
    if (code == ERR_OK && ids.rows > 0) {
        cli_note(repairing->check->cli,
                 "%zu series of rows in the log are defined nowhere: their metrics are "
                 "unknown_series_%" PRId64 " and the like, by their numbers",
                 ids.rows, batch_get_i64(&ids, 0, 0));
    }
    return code;
}
