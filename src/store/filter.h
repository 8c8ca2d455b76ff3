/* What a store may be asked of a column, which is the same for every store. */
#ifndef EIDER_STORE_FILTER_H
#define EIDER_STORE_FILTER_H

#include "store/store.h"

/* ERR_INVALID unless the column can be filtered and the values fit its type. */
enum err_code store_check_filter(const struct store_filter *filter,
                                 const struct catalog_table *table, size_t column, struct err *err);

/* ERR_INVALID unless the values of scan->at_least_column can be compared with scan->at_least. */
enum err_code store_check_at_least(const struct store_scan *scan, const struct catalog_table *table,
                                   size_t column, struct err *err);

/* ERR_INVALID for sums and averages of what is not a number. */
enum err_code store_check_aggregate(const struct store_aggregate *aggregate,
                                    const struct catalog_table *table, size_t column,
                                    struct err *err);

#endif
