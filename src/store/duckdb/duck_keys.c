/*
 * Which rows are new and which are late, decided in memory. A memory that knows more than the
 * table has (after a transaction that failed) only sends rows the slow way, so nothing is undone;
 * but a series definition that is wrongly taken for known would be lost, so that one is forgotten.
 *
 * A table is read when its first row comes, not at open: a start must not wait for tables that
 * nobody writes to.
 */
#include "store/duckdb/duck.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/duckdb/duck_cold.h"
#include "store/duckdb/duck_views.h"

enum { TOUCHED_BYTES_MAX = 1 << 20, COLD_IDS_MAX = 8000000 };

static enum duck_policy
policy_of(const struct catalog_table *table)
{
    if (table->id == TABLE_SERIES) {
        return DUCK_ONCE;
    }
    if (table->kind != TABLE_REPLACE) {
        return DUCK_APPEND;
    }
    bool time_in_key =
        table->time_column != CATALOG_NONE && (table->key_mask >> table->time_column & 1);
    return time_in_key ? DUCK_NEWEST : DUCK_KNOWN;
}

static void
forget_keys(struct duck_table *table)
{
    key_map_fini(&table->newest);
    key_set_fini(&table->known);
}

void
duck_table_init(struct duck_table *table, const struct catalog_table *catalog,
                size_t keys_bytes_max)
{
    *table = (struct duck_table){
        .table = catalog,
        .policy = policy_of(catalog),
        .columns = column_list_of_table(catalog),
        .key = column_list_of_key(catalog, true),
        .series = column_list_of_key(catalog, false),
    };
    if (table->policy == DUCK_ONCE) {
        assert(catalog->series_column >= 0);
        table->key = (struct column_list){1, {(uint8_t)catalog->series_column}};
        table->series = table->key;
    }
    /* A series that is appended twice would show its values twice in the view, so this memory has
     * no bound but the number of series. */
    key_map_init(&table->newest, table->policy == DUCK_ONCE ? SIZE_MAX : keys_bytes_max);
    key_set_init(&table->known, keys_bytes_max);
    key_map_init(&table->touched, TOUCHED_BYTES_MAX);
}

void
duck_table_fini(struct duck_table *table)
{
    forget_keys(table);
    key_map_fini(&table->touched);
    free(table->cold_days);
    table->cold_days = NULL;
}

static void
overflow(struct duck_table *table)
{
    assert(table->policy != DUCK_ONCE);
    table->overflowed = true;
    forget_keys(table);
}

static void
remember(struct duck_table *table, struct key_hash hash, int64_t newest)
{
    bool is_new;

    if (table->policy == DUCK_KNOWN) {
        if (!key_set_add(&table->known, hash)) {
            overflow(table);
        }
        return;
    }
    int64_t *value = key_map_put(&table->newest, hash, newest, &is_new);
    if (!value) {
        overflow(table);
    } else if (*value < newest) {
        *value = newest;
    }
}

/* "SELECT key columns but the time, newest time": the key columns stand first. */
static void
add_load_sql(const struct duck_table *table, struct buf *sql)
{
    const struct catalog_column *columns = table->table->columns;
    char name[DUCK_NAME_MAX];

    duck_hot_name(table->table, name);
    buf_add_cstr(sql, "SELECT ");
    for (size_t i = 0; i < table->series.count; i++) {
        buf_add_fmt(sql, "%s\"%s\"", i ? ", " : "", columns[table->series.index[i]].name);
    }
    if (table->policy == DUCK_NEWEST) {
        buf_add_fmt(sql, "%smax(\"%s\")", table->series.count ? ", " : "",
                    columns[table->table->time_column].name);
    }
    buf_add_fmt(sql, " FROM main.\"%s\"", name);
    if (table->policy == DUCK_NEWEST && table->series.count) {
        buf_add_cstr(sql, " GROUP BY ALL");
    }
}

static void
remember_rows(struct duck_table *table, const struct batch *rows)
{
    struct column_list columns = {.count = table->series.count};

    for (size_t i = 0; i < columns.count; i++) {
        columns.index[i] = (uint8_t)i;
    }
    for (size_t row = 0; row < rows->rows && !table->overflowed; row++) {
        int64_t newest = 0;
        if (table->policy == DUCK_NEWEST) {
            if (batch_is_null(rows, columns.count, row)) {
                continue; /* the maximum of an empty table */
            }
            newest = batch_get_i64(rows, columns.count, row);
        }
        remember(table, key_hash_row(rows, &columns, row), newest);
    }
}

/* Chunk by chunk: the whole answer may be larger than a batch. */
static enum err_code
load_rows(struct duck_store *duck, struct duck_table *table, duckdb_connection connection,
          enum duck_side side, const struct buf *sql, struct err *err)
{
    struct duck_statement statement = {.sql = buf_slice(sql)};
    struct batch rows BATCH_AUTO = {0};
    struct duck_cursor cursor;
    size_t got;

    enum err_code code = duck_cursor_open(&cursor, duck, connection, side, &statement, err);
    while (!code && !table->overflowed) {
        batch_fini(&rows);
        batch_init_answer(&rows, DUCK_TEXT_BYTES_MAX);
        duck_cursor_columns(&cursor, &rows);
        code = duck_cursor_next(&cursor, &rows, SIZE_MAX, &got, err);
        if (code || got == 0) {
            break;
        }
        remember_rows(table, &rows);
    }
    duck_cursor_close(&cursor);
    return code;
}

/* Ids of the newest files, as many as a first write may wait for; those of older files, and of
 * files that cannot be read, are asked of the files when a row comes (duck_unseal.c). */
static void
load_cold_ids(struct duck_store *duck, struct duck_table *table)
{
    const struct catalog_column *columns = table->table->columns;
    size_t first;
    size_t end = duck_cold_range(&duck->cold, table->table->id, COLD_RAW, &first);
    uint64_t rows = 0;
    struct buf sql BUF_AUTO;

    buf_init(&sql, 1 << 20);
    table->partly = false;
    for (size_t i = end; i-- > first && !table->overflowed && !table->partly;) {
        const struct cold_file *file = &duck->cold.files[i];
        rows += file->rows;
        if (rows > COLD_IDS_MAX) {
            table->partly = true;
            break;
        }
        buf_reset(&sql);
        buf_add_fmt(&sql, "SELECT \"%s\" FROM ", columns[table->key.index[0]].name);
        duck_cold_add_files(duck, &file, 1, COLD_ALL_COLUMNS, &sql);
        table->partly = load_rows(duck, table, duck->prober, DUCK_SIDE_READ, &sql, NULL) != ERR_OK;
    }
}

/* Of a key with time, only the days are remembered: a start must not read all cold rows. */
static void
load_cold(struct duck_store *duck, struct duck_table *table)
{
    size_t first;
    size_t end = duck_cold_range(&duck->cold, table->table->id, COLD_RAW, &first);

    free(table->cold_days);
    table->cold_days = mem_zalloc(end - first + 1, sizeof(*table->cold_days));
    table->cold_day_count = 0;
    for (size_t i = first; i < end; i++) {
        int32_t day = duck->cold.files[i].day;
        if (i == first || duck->cold.files[i - 1].day != day) {
            table->cold_days[table->cold_day_count++] = day;
        }
    }
    if (table->policy == DUCK_KNOWN) {
        load_cold_ids(duck, table);
    }
}

enum err_code
duck_table_load(struct duck_store *duck, struct duck_table *table, struct err *err)
{
    struct buf sql BUF_AUTO = {0};

    if (table->loaded || table->policy == DUCK_APPEND) {
        return ERR_OK;
    }
    buf_init(&sql, 0);
    add_load_sql(table, &sql);
    enum err_code code = load_rows(duck, table, duck->writer, DUCK_SIDE_APPLY, &sql, err);
    if (!code) {
        load_cold(duck, table);
    }
    table->loaded = !code;
    if (code) {
        forget_keys(table);
        err_context(err, code, "reading the keys of %s", table->table->name);
    }
    return code;
}

static bool
is_cold_day(const struct duck_table *table, int64_t time_us)
{
    size_t first = 0;
    size_t end = table->cold_day_count;
    int32_t day = end > 0 ? cold_day_of(time_us) : 0;

    if (end == 0 || day > table->cold_days[end - 1]) {
        return false;
    }
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (table->cold_days[middle] == day) {
            return true;
        }
        if (table->cold_days[middle] < day) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return false;
}

enum duck_row
duck_table_place(struct duck_table *table, const struct batch *batch, size_t row)
{
    bool is_new;

    assert(table->loaded);
    if (table->overflowed) {
        return DUCK_ROW_LATE;
    }
    struct key_hash hash = key_hash_row(batch, &table->series, row);
    if (table->policy == DUCK_KNOWN) {
        if (key_set_has(&table->known, hash)) {
            return DUCK_ROW_LATE;
        }
        remember(table, hash, 0);
        return table->overflowed || table->partly ? DUCK_ROW_LATE : DUCK_ROW_NEW;
    }
    if (table->policy == DUCK_ONCE) {
        key_map_put(&table->newest, hash, 0, &is_new);
        return is_new ? DUCK_ROW_NEW : DUCK_ROW_DROP;
    }
    int64_t time_us = batch_get_i64(batch, (size_t)table->table->time_column, row);
    if (is_cold_day(table, time_us)) {
        return DUCK_ROW_LATE;
    }
    int64_t *newest = key_map_put(&table->newest, hash, time_us, &is_new);
    if (!newest) {
        overflow(table);
        return DUCK_ROW_LATE;
    }
    if (!is_new && time_us <= *newest) {
        return DUCK_ROW_LATE;
    }
    *newest = time_us;
    return DUCK_ROW_NEW;
}

void
duck_table_undo(struct duck_table *table)
{
    if (table->policy == DUCK_ONCE) {
        forget_keys(table);
        table->loaded = false;
    }
}

static struct key_hash
day_hash(int32_t day)
{
    return (struct key_hash){.lo = (uint64_t)(uint32_t)day * 0x9E3779B97F4A7C15ULL | 1,
                             .hi = (uint32_t)day};
}

void
duck_table_touch_day(struct duck_table *table, int32_t day, uint64_t lsn)
{
    bool is_new;
    int64_t *last = key_map_put(&table->touched, day_hash(day), 0, &is_new);

    if (last) {
        *last = (int64_t)lsn;
    } else {
        key_map_fini(&table->touched);
        table->touched_all = lsn;
    }
}

void
duck_table_touch(struct duck_table *table, const struct batch *batch, uint64_t lsn)
{
    int64_t begin_us = 0; /* of the day that was noted last */
    int64_t end_us = 0;

    for (size_t row = 0; row < batch->rows && table->table->sealed; row++) {
        int64_t time_us = batch_get_i64(batch, (size_t)table->table->time_column, row);
        if (time_us >= begin_us && time_us < end_us) {
            continue;
        }
        int32_t day = cold_day_of(time_us);
        begin_us = cold_day_begin_us(day);
        end_us = cold_day_end_us(day);
        duck_table_touch_day(table, day, lsn);
    }
}

uint64_t
duck_table_touched(const struct duck_table *table, int32_t day)
{
    const int64_t *last = key_map_find(&table->touched, day_hash(day));
    uint64_t lsn = last ? (uint64_t)*last : 0;

    return lsn > table->touched_all ? lsn : table->touched_all;
}
