/* What requests ask of columns. */
#include "store/filter.h"

#include "codec/number.h"

enum { SHOWN_BYTES = 40 };

enum err_code
store_check_filter(const struct store_filter *filter, const struct catalog_table *table,
                   size_t column, struct err *err)
{
    enum col_type type = table->columns[column].type;

    if (type != COL_TEXT && type != COL_INT32) {
        return err_set(err, ERR_INVALID, "column \"%s\" of %s is not a text and cannot be filtered",
                       filter->column, table->name);
    }
    for (size_t i = 0; i < filter->value_count && type == COL_INT32; i++) {
        int64_t number;
        if (!number_parse_i64(filter->values[i], &number) || number < INT32_MIN ||
            number > INT32_MAX) {
            return err_set(err, ERR_INVALID,
                           "a filter of \"%s\" has the value \"%.*s\"; expected a whole number of "
                           "32 bits",
                           filter->column, SLICE_FMT(slice_sub(filter->values[i], 0, SHOWN_BYTES)));
        }
    }
    return ERR_OK;
}

enum err_code
store_check_at_least(const struct store_scan *scan, const struct catalog_table *table,
                     size_t column, struct err *err)
{
    enum col_type type = table->columns[column].type;

    if (type != COL_INT64 && type != COL_TIMESTAMP) {
        return err_set(err, ERR_INVALID,
                       "column \"%s\" of %s is no whole number of 64 bits and has no least value",
                       scan->at_least_column, table->name);
    }
    return ERR_OK;
}

enum err_code
store_check_aggregate(const struct store_aggregate *aggregate, const struct catalog_table *table,
                      size_t column, struct err *err)
{
    enum col_type type = table->columns[column].type;
    bool sums = aggregate->fn == AGG_SUM || aggregate->fn == AGG_AVG;

    if (sums && (type == COL_TEXT || type == COL_JSON || type == COL_TIMESTAMP)) {
        return err_set(err, ERR_INVALID, "column \"%s\" of %s is not a number", aggregate->column,
                       table->name);
    }
    return ERR_OK;
}
