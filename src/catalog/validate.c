/* Values into columns; see validate.h for the rules. */
#include "catalog/validate.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "codec/decimal.h"
#include "codec/json_read.h"
#include "codec/number.h"
#include "codec/utf8.h"

enum { DIGITS_EXACT = 19 };

int
catalog_column_expect(const struct catalog_table *table, struct slice name, int guess)
{
    if (guess >= 0 && (size_t)guess < table->column_count &&
        slice_is(name, table->columns[guess].name)) {
        return guess;
    }
    return catalog_column_index(table, name);
}

/* A value on its way into one cell. */
struct target {
    struct batch *batch;
    size_t column;
    size_t row;
    const struct catalog_column *rule;
    struct slice given; /* for the fault */
    enum time_precision precision;
    struct catalog_fault *fault;
};

static bool
refuse(const struct target *target, const char *expected)
{
    struct catalog_fault *fault = target->fault;

    fault->code = ERR_INVALID;
    fault->column = (int)target->column;
    fault->field = target->rule->name;
    fault->value = target->given;
    snprintf(fault->expected, sizeof(fault->expected), "%s", expected);
    return false;
}

static bool
refuse_type(const struct target *target)
{
    return refuse(target, catalog_type_expected(target->rule->type));
}

/* Whether a value keeps to the column's range; NaN does not. */
static bool
check_range(const struct target *target, double value)
{
    const struct catalog_column *rule = target->rule;
    char expected[CATALOG_EXPECTED_MAX];

    if (!(rule->min < rule->max) || (value >= rule->min && value <= rule->max)) {
        return true;
    }
    const char *what =
        rule->type == COL_DOUBLE || rule->type == COL_DECIMAL ? "a number" : "an integer";
    if (isinf(rule->max)) {
        snprintf(expected, sizeof(expected), "%s of at least %.15g", what, rule->min);
    } else {
        snprintf(expected, sizeof(expected), "%s from %.15g to %.15g", what, rule->min, rule->max);
    }
    return refuse(target, expected);
}

static bool
set_f64(const struct target *target, double value)
{
    if (!check_range(target, value)) {
        return false;
    }
    batch_set_f64(target->batch, target->column, target->row, value);
    return true;
}

static bool
set_integer(const struct target *target, const struct number *number)
{
    int64_t value;

    if (!number_to_i64(number, &value)) {
        return refuse_type(target);
    }
    if (target->rule->type == COL_INT32 && (value < INT32_MIN || value > INT32_MAX)) {
        return refuse_type(target);
    }
    if (!check_range(target, (double)value)) {
        return false;
    }
    if (target->rule->type == COL_INT32) {
        batch_set_i32(target->batch, target->column, target->row, (int32_t)value);
    } else {
        batch_set_i64(target->batch, target->column, target->row, value);
    }
    return true;
}

/* The text, not a double of it: credits are exact. */
static bool
set_decimal(const struct target *target, struct slice text)
{
    int64_t micro;

    if (!decimal_parse(text, &micro)) {
        return refuse_type(target);
    }
    if (!check_range(target, decimal_to_double(micro))) {
        return false;
    }
    batch_set_i64(target->batch, target->column, target->row, micro);
    return true;
}

static bool
set_time(const struct target *target, int64_t us)
{
    if (!time_in_range(us)) {
        return refuse(target, "a time in the years 1 to 9999 (is the precision right?)");
    }
    batch_set_i64(target->batch, target->column, target->row, us);
    return true;
}

/* digits * 10^exponent in units of the precision, as microseconds, cut towards the past. */
static bool
number_to_us(struct number number, enum time_precision precision, int64_t *ret_us)
{
    static const int shifts[] = {[TIME_PRECISION_DEFAULT] = 0,
                                 [TIME_PRECISION_NS] = -3,
                                 [TIME_PRECISION_US] = 0,
                                 [TIME_PRECISION_MS] = 3,
                                 [TIME_PRECISION_S] = 6};

    if (number.truncated) {
        return false;
    }
    number.exponent += shifts[precision];
    if (number.exponent < 0) {
        uint64_t divisor =
            number.exponent < -DIGITS_EXACT ? 0 : number_pow10((unsigned)-number.exponent);
        bool rest = number.digits > 0 && (divisor == 0 || number.digits % divisor != 0);
        number.digits = divisor == 0 ? 0 : number.digits / divisor;
        number.digits += rest && number.negative;
        number.exponent = 0;
    }
    return number_to_i64(&number, ret_us);
}

static bool
set_number(const struct target *target, const struct number *number)
{
    double value;
    int64_t us;

    switch (target->rule->type) {
    case COL_INT32:
    case COL_INT64:
        return set_integer(target, number);
    case COL_DOUBLE:
        if (!number_to_f64(number, &value)) {
            return refuse(target, "a number that fits a double");
        }
        return set_f64(target, value);
    case COL_TIMESTAMP:
        if (!number_to_us(*number, target->precision, &us)) {
            return refuse(target, "a time in the years 1 to 9999 (is the precision right?)");
        }
        return set_time(target, us);
    case COL_JSON:
        batch_set_text(target->batch, target->column, target->row, target->given);
        return true;
    case COL_DECIMAL:
        return set_decimal(target, number->text);
    case COL_BOOL:
    case COL_TEXT:
    case COL_TYPE_COUNT:
        break;
    }
    return refuse_type(target);
}

static bool
check_choice(const struct target *target, struct slice text)
{
    const char *const *choices = target->rule->choices;
    char expected[CATALOG_EXPECTED_MAX];
    size_t len;

    if (!choices) {
        return true;
    }
    len = (size_t)snprintf(expected, sizeof(expected), "one of:");
    for (size_t i = 0; choices[i]; i++) {
        if (slice_is(text, choices[i])) {
            return true;
        }
        if (len < sizeof(expected)) {
            len += (size_t)snprintf(expected + len, sizeof(expected) - len, "%s %s", i ? "," : "",
                                    choices[i]);
        }
    }
    return refuse(target, expected);
}

static bool
set_plain_text(const struct target *target, struct slice text)
{
    if (text.len > CATALOG_TEXT_MAX) {
        return refuse(target, "a text of at most 65536 bytes");
    }
    if (text.len == 0 && target->rule->missing == MISSING_REFUSE) {
        return refuse(target, "a text that is not empty");
    }
    if (!utf8_is_text(text)) {
        return refuse(target, "UTF-8 text without NUL");
    }
    if (!check_choice(target, text)) {
        return false;
    }
    batch_set_text(target->batch, target->column, target->row, text);
    return true;
}

/* Bytes that are JSON already when `checked`, or have to prove it. */
static bool
set_json(const struct target *target, struct slice text, bool checked)
{
    if (text.len > CATALOG_JSON_MAX) {
        return refuse(target, "JSON of at most 1048576 bytes");
    }
    if (!checked && !json_valid(text)) {
        return refuse_type(target);
    }
    batch_set_text(target->batch, target->column, target->row, text);
    return true;
}

static bool
set_string(const struct target *target, struct slice text)
{
    int64_t us;

    switch (target->rule->type) {
    case COL_TEXT:
        return set_plain_text(target, text);
    case COL_JSON:
        return set_json(target, text, false);
    case COL_TIMESTAMP:
        if (time_parse_iso8601(text, &us)) {
            return set_time(target, us);
        }
        break;
    case COL_DECIMAL:
        return set_decimal(target, text);
    case COL_BOOL:
    case COL_INT32:
    case COL_INT64:
    case COL_DOUBLE:
    case COL_TYPE_COUNT:
        break;
    }
    return refuse_type(target);
}

static struct target
aim(struct batch *batch, size_t column, size_t row, struct slice given,
    enum time_precision precision, struct catalog_fault *fault)
{
    assert(batch->table && column < batch->table->column_count);
    return (struct target){.batch = batch,
                           .column = column,
                           .row = row,
                           .rule = &batch->table->columns[column],
                           .given = given,
                           .precision = precision,
                           .fault = fault};
}

bool
catalog_set(struct batch *batch, size_t column, size_t row, const struct scalar *value,
            enum time_precision precision, struct catalog_fault *ret_fault)
{
    struct target target = aim(batch, column, row, value->text, precision, ret_fault);
    enum col_type type = target.rule->type;

    switch (value->type) {
    case SCALAR_NULL:
        batch_set_null(batch, column, row);
        return true;
    case SCALAR_BOOL:
        if (type == COL_BOOL) {
            batch_set_bool(batch, column, row, value->boolean);
            return true;
        }
        return type == COL_JSON ? set_json(&target, value->text, true) : refuse_type(&target);
    case SCALAR_NUMBER:
        return set_number(&target, &value->number);
    case SCALAR_STRING:
        return set_string(&target, value->text);
    case SCALAR_OBJECT:
    case SCALAR_ARRAY:
        return type == COL_JSON ? set_json(&target, value->text, true) : refuse_type(&target);
    }
    return refuse_type(&target);
}

static bool
set_text_bool(const struct target *target, struct slice text)
{
    static const char *const names[] = {"true", "t", "1", "false", "f", "0"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (slice_is_nocase(text, names[i])) {
            batch_set_bool(target->batch, target->column, target->row, i < 3);
            return true;
        }
    }
    return refuse_type(target);
}

static bool
set_text_special(const struct target *target, struct slice text)
{
    static const struct {
        const char *name;
        double value;
    } names[] = {{"nan", NAN},
                 {"inf", INFINITY},
                 {"infinity", INFINITY},
                 {"-inf", -INFINITY},
                 {"-infinity", -INFINITY}};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (slice_is_nocase(text, names[i].name)) {
            return set_f64(target, names[i].value);
        }
    }
    return refuse_type(target);
}

bool
catalog_set_text(struct batch *batch, size_t column, size_t row, struct slice text,
                 enum time_precision precision, struct catalog_fault *ret_fault)
{
    struct target target = aim(batch, column, row, text, precision, ret_fault);
    struct number number;

    switch (target.rule->type) {
    case COL_BOOL:
        return set_text_bool(&target, text);
    case COL_INT32:
    case COL_INT64:
    case COL_DOUBLE:
    case COL_TIMESTAMP:
        if (number_parse(text, &number)) {
            return set_number(&target, &number);
        }
        return target.rule->type == COL_DOUBLE ? set_text_special(&target, text)
                                               : set_string(&target, text);
    case COL_TEXT:
    case COL_JSON:
    case COL_DECIMAL:
    case COL_TYPE_COUNT:
        break;
    }
    return set_string(&target, text);
}

static bool
fill_uuid(const struct target *target, int64_t now_us)
{
    char text[ID_UUID_LEN + 1];

    id_uuid7(now_us, text);
    struct slice kept = batch_keep_text(target->batch, slice_make(text, ID_UUID_LEN));
    if (kept.len == 0) {
        refuse(target, "fewer rows at once: no room for new identifiers");
        target->fault->code = ERR_TOO_LARGE;
        return false;
    }
    batch_set_text(target->batch, target->column, target->row, kept);
    return true;
}

static void
fill_zero(const struct target *target)
{
    switch (target->rule->type) {
    case COL_BOOL:
        batch_set_bool(target->batch, target->column, target->row, false);
        return;
    case COL_INT32:
        batch_set_i32(target->batch, target->column, target->row, 0);
        return;
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DECIMAL:
        batch_set_i64(target->batch, target->column, target->row, 0);
        return;
    case COL_DOUBLE:
        batch_set_f64(target->batch, target->column, target->row, 0);
        return;
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    assert(target->rule->missing != MISSING_ZERO); /* texts have no zero */
}

static bool
fill(const struct target *target, int64_t now_us)
{
    switch (target->rule->missing) {
    case MISSING_NULL:
        return true;
    case MISSING_REFUSE:
        refuse(target, catalog_type_expected(target->rule->type));
        strncat(target->fault->expected, " (required)",
                sizeof(target->fault->expected) - strlen(target->fault->expected) - 1);
        return false;
    case MISSING_ZERO:
        fill_zero(target);
        return true;
    case MISSING_NOW:
        batch_set_i64(target->batch, target->column, target->row, now_us);
        return true;
    case MISSING_TEXT:
        batch_set_text(target->batch, target->column, target->row,
                       slice_of(target->rule->default_text));
        return true;
    case MISSING_UUID:
        return fill_uuid(target, now_us);
    }
    return true;
}

bool
catalog_fill_missing(struct batch *batch, size_t row, int64_t now_us,
                     struct catalog_fault *ret_fault)
{
    for (size_t i = 0; i < batch->column_count; i++) {
        if (batch_is_null(batch, i, row)) {
            struct target target =
                aim(batch, i, row, (struct slice){"", 0}, TIME_PRECISION_DEFAULT, ret_fault);
            if (!fill(&target, now_us)) {
                return false;
            }
        }
    }
    return true;
}

bool
catalog_check_batch(const struct batch *batch, size_t *ret_row, struct catalog_fault *ret_fault)
{
    assert(batch->table);
    for (size_t i = 0; i < batch->column_count; i++) {
        const struct catalog_column *rule = &batch->table->columns[i];
        for (size_t row = 0; row < batch->rows && rule->missing != MISSING_NULL; row++) {
            if (batch_is_null(batch, i, row)) {
                *ret_fault = (struct catalog_fault){
                    .code = ERR_INVALID, .column = (int)i, .field = rule->name, .value = {"", 0}};
                snprintf(ret_fault->expected, sizeof(ret_fault->expected), "%s (required)",
                         catalog_type_expected(rule->type));
                *ret_row = row;
                return false;
            }
        }
    }
    return true;
}
