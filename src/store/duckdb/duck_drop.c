/* Retention: files leave the list, hot rows of whole days are deleted; one transaction. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/time.h"
#include "store/duckdb/duck_cold.h"
#include "store/duckdb/duck_views.h"
#include "store/failpoint.h"

enum { SQL_BYTES = 2048 };

static bool
is_named(const struct cold_drop *drop, const struct cold_file *file)
{
    if (drop->kind != COLD_KIND_COUNT && drop->kind != file->kind) {
        return false;
    }
    for (size_t i = 0; drop->names && drop->names[i]; i++) {
        if (strcmp(drop->names[i], file->name) == 0) {
            return true;
        }
    }
    return false;
}

static enum err_code
delete_days(struct duck_store *duck, const struct cold_drop *drop, struct err *err)
{
    const struct catalog_table *table = catalog_table(drop->table);
    const char *time = table->columns[table->time_column].name;
    char hot[DUCK_NAME_MAX];
    struct buf sql BUF_AUTO = {0};

    duck_hot_name(table, hot);
    buf_init(&sql, SQL_BYTES);
    buf_add_fmt(&sql,
                "DELETE FROM main.\"%s\" WHERE \"%s\" >= make_timestamp(%" PRId64
                ") AND \"%s\" < make_timestamp(%" PRId64 ")",
                hot, time, cold_day_begin_us(drop->first_day), time,
                cold_day_end_us(drop->last_day));
    buf_add_char(&sql, '\0');
    assert(!sql.overflow);
    return duck_run(duck, sql.ptr, err);
}

static enum err_code
run_drop(struct duck_store *duck, const struct cold_drop *drop, const struct cold_file *gone,
         size_t gone_count, struct cold_file *files, size_t count, struct err *err)
{
    enum err_code code = drop->hot ? delete_days(duck, drop, err) : ERR_OK;

    code = code ? code : duck_cold_delete(duck, gone, gone_count, err);
    for (size_t i = 0; i < gone_count && !code; i++) {
        if (i == 0 || gone[i].table != gone[i - 1].table) {
            code = duck_views_update(duck, gone[i].table, files, count, err);
        }
    }
    code = code ? code : failpoint_fails("drop.delisted", err);
    return code ? code : duck_cold_commit(duck, files, count, err);
}

enum err_code
duck_cold_drop(struct store *store, const struct cold_drop *drop, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    struct cold_file *gone MEM_AUTO = mem_zalloc(duck->cold.count + 1, sizeof(*gone));
    size_t gone_count = 0;
    size_t count;

    if (drop->metrics) {
        return err_set(err, ERR_UNSUPPORTED, "metrics are dropped by writing their day anew");
    }
    if (atomic_load(&duck->broken)) {
        return err_set(err, ERR_CORRUPT, "%s was invalidated by an earlier error", duck->path);
    }
    enum err_code code = duck_run(duck, "BEGIN TRANSACTION", err);
    if (code) {
        return code;
    }
    for (size_t i = 0; i < duck->cold.count; i++) {
        if (is_named(drop, &duck->cold.files[i])) {
            gone[gone_count++] = duck->cold.files[i];
        }
    }
    struct cold_file *files = duck_cold_changed(&duck->cold, gone, gone_count, NULL, 0, &count);
    code = run_drop(duck, drop, gone, gone_count, files, count, err);
    if (code) {
        duck_roll_back(duck->writer, NULL); /* the transaction may be gone already */
        free(files);
        return code;
    }
    failpoint("drop.done"); /* it is done, whatever the point says */
    return ERR_OK;
}
