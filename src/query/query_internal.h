/* What the files of the query part share. */
#ifndef EIDER_QUERY_QUERY_INTERNAL_H
#define EIDER_QUERY_QUERY_INTERNAL_H

#include "query/query.h"

enum {
    QUERY_BUCKETS_MAX = 500000,   /* of one answer */
    QUERY_SCAN_ROWS_MAX = 1000000 /* looked at where the store has no SQL */
};

/* ERR_INVALID when the range ends before it begins. */
enum err_code query_check_range(const struct query_range *range, struct err *err);

/* Reading an answer by column; absent columns and rows are NULL, NULL is 0. */
double query_f64(const struct batch *rows, int column, size_t row);
int64_t query_i64(const struct batch *rows, int column, size_t row);
bool query_is_null(const struct batch *rows, int column, size_t row);

#endif
