/* Users' statements that ask for rows as they are: the cache may have them (sql_scan.h). */
#include <string.h>

#include "store/hot_private.h"
#include "store/sql_scan.h"

/* Between a commit and its feed a statement may have shown what the cache has not yet: the next one
 * must not show less. */
static bool
is_settled(struct hot *hot)
{
    pthread_mutex_lock(&hot->lock);
    bool settled = !hot->in_flight;
    pthread_mutex_unlock(&hot->lock);
    return settled;
}

/* The columns of a scan stand in the table's order. */
static void
arrange(const struct sql_scan *plain, struct batch *rows)
{
    struct column columns[SQL_SCAN_COLUMNS_MAX];

    for (size_t i = 0; i < plain->column_count; i++) {
        size_t from = 0;
        for (size_t j = 0; j < plain->column_count; j++) {
            from += plain->columns[j] < plain->columns[i];
        }
        columns[i] = rows->columns[from];
        columns[i].name = batch_keep_text(rows, plain->names[i]).ptr;
    }
    memcpy(rows->columns, columns, plain->column_count * sizeof(*columns));
}

bool
hot_sql(struct hot *hot, struct store *store, const struct store_sql *sql, struct batch *ret_rows,
        bool *ret_truncated)
{
    struct sql_scan plain;
    struct batch rows;

    /* Without bounds of its own the store's are meant, which only it knows. */
    if (sql->rows_max == 0 || sql->rows_max >= HOT_ANSWER_POINTS_MAX || sql->bytes_max == 0 ||
        !sql_scan_find(sql, &plain) || !is_settled(hot)) {
        return false;
    }
    /* One more than is shown tells that there are more. */
    uint64_t limit = plain.scan.limit;
    plain.scan.timeout_ms = sql->timeout_ms;
    plain.scan.cancel = sql->cancel;
    plain.scan.limit = limit > 0 && limit <= sql->rows_max ? limit : sql->rows_max + 1;
    /* Any rows will do: the store stops at the first it meets, and a fill would look at all. */
    bool any_rows = !plain.ordered && plain.scan.from_us == INT64_MIN;
    if (!hot_scan_filled(hot, store, &plain.scan, !any_rows, &rows)) {
        return false;
    }
    bool truncated = rows.rows > sql->rows_max;
    if (truncated) {
        batch_drop_row(&rows);
    }
    if (batch_bytes(&rows) > sql->bytes_max) {
        batch_fini(&rows);
        return false; /* the store says so */
    }
    arrange(&plain, &rows);
    *ret_rows = rows;
    if (ret_truncated) {
        *ret_truncated = truncated;
    }
    return true;
}
