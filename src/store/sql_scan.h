/*
 * Statements that ask for rows of trading_metrics as they are, which need no planning: the hot
 * cache may have them. Told from the text, and only where there is no doubt what it means:
 *
 *   SELECT timestamp [AS time], symbol, value FROM trading_metrics
 *   WHERE metric_name = 'price' AND symbol IN ('A', 'B') AND timestamp >= TIMESTAMP '2026-01-02'
 *   [ORDER BY timestamp [ASC | DESC]] [LIMIT 100 [OFFSET 5]]
 *
 * Also: *, the table's name before columns, text parameters in the place of texts and times, >, >=,
 * <, <=, = and BETWEEN for times. There is a filter on metric_name.
 *
 * Pure; any thread.
 */
#ifndef EIDER_STORE_SQL_SCAN_H
#define EIDER_STORE_SQL_SCAN_H

#include "store/store.h"

enum { SQL_SCAN_COLUMNS_MAX = 8, SQL_SCAN_VALUES_MAX = 64 };

struct sql_scan {
    struct store_scan scan; /* its filters stand in `values`, its texts in the statement; `limit`
                               0: none is written */
    struct slice values[SQL_SCAN_VALUES_MAX];
    size_t value_count;
    size_t columns[SQL_SCAN_COLUMNS_MAX];     /* of the table, as the answer is to have them */
    struct slice names[SQL_SCAN_COLUMNS_MAX]; /* in the answer */
    size_t column_count;
    bool ordered; /* it says in which order; the scan's is that of time, anyway */
};

/* False: it is another statement, or a wrong one; ask the store. Borrows from the statement, and
 * points into itself: it must not be copied. */
bool sql_scan_find(const struct store_sql *sql, struct sql_scan *ret_scan);

#endif
