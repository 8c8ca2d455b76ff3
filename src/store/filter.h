/* What a store may be asked to filter by; for the stores. */
#ifndef EIDER_STORE_FILTER_H
#define EIDER_STORE_FILTER_H

#include "store/store.h"

/* ERR_INVALID unless the column can be filtered and the values fit its type. */
enum err_code store_check_filter(const struct store_filter *filter,
                                 const struct catalog_table *table, size_t column, struct err *err);

#endif
