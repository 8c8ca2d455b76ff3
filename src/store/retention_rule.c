/* Rules of retention as texts, and patterns. */
#include <string.h>

#include "catalog/catalog.h"
#include "codec/number.h"
#include "codec/time.h"
#include "store/retention.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit ages[] = {
    {"s", TIME_US_PER_S},
    {"m", 60 * TIME_US_PER_S},
    {"h", 3600 * TIME_US_PER_S},
    {"d", TIME_US_PER_DAY},
    {"w", 7 * TIME_US_PER_DAY},
    {"y", 365 * TIME_US_PER_DAY},
    {NULL, 0},
};

static const struct unit sizes[] = {
    {"B", 1},
    {"KB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", INT64_C(1000000000000)},
    {"KiB", INT64_C(1) << 10},
    {"MiB", INT64_C(1) << 20},
    {"GiB", INT64_C(1) << 30},
    {"TiB", INT64_C(1) << 40},
    {NULL, 0},
};

/* A whole number and a unit; above 0 and below 2^62. */
static bool
parse_amount(struct slice text, const struct unit *units, int64_t *ret_value)
{
    size_t digits = 0;
    int64_t number;

    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9') {
        digits++;
    }
    struct slice name = slice_sub(text, digits, text.len);
    if (digits == 0 || !number_parse_i64(slice_sub(text, 0, digits), &number) || number <= 0) {
        return false;
    }
    for (size_t i = 0; units[i].name; i++) {
        if (slice_is_nocase(name, units[i].name)) {
            if (number > (INT64_MAX / 2) / units[i].factor) {
                return false;
            }
            *ret_value = number * units[i].factor;
            return true;
        }
    }
    return false;
}

static enum err_code
refuse(struct err *err, struct slice key, struct slice value, const char *expected)
{
    return err_set(err, ERR_INVALID, "%.*s is \"%.*s\"; expected %s",
                   SLICE_FMT(slice_sub(key, 0, 40)), SLICE_FMT(slice_sub(value, 0, 80)), expected);
}

static enum err_code
set_table(struct retention_rule *rule, struct slice value, struct err *err)
{
    const struct catalog_table *table = catalog_find(value);
    struct slice key = SLICE_LITERAL("table");

    if (slice_is(value, "*")) {
        return ERR_OK;
    }
    if (!table) {
        const char *near = catalog_suggest_table(value);
        char names[CATALOG_NAMES_MAX];
        catalog_name_sealed(names);
        return err_set(err, ERR_INVALID, "table is \"%.*s\"; expected a table's name%s%s%s",
                       SLICE_FMT(slice_sub(value, 0, 80)), near ? "; did you mean " : ": ",
                       near ? near : names, near ? "?" : ", or *");
    }
    if (table->id == TABLE_METRICS) {
        table = catalog_table(TABLE_SAMPLES);
    }
    if (!table->sealed) {
        return refuse(err, key, value, "a table whose days are sealed; rows of this one are kept");
    }
    rule->table = table->id;
    return ERR_OK;
}

static enum err_code
set_key(struct retention_rule *rule, struct slice key, struct slice value, struct err *err)
{
    int64_t amount;

    if (slice_is(key, "table")) {
        return set_table(rule, value, err);
    }
    if (slice_is(key, "metric")) {
        return value.len > 0 && slice_to_cstr(value, rule->metric, sizeof(rule->metric))
                   ? ERR_OK
                   : refuse(err, key, value, "a pattern of 1 to 127 bytes");
    }
    if (slice_is(key, "rollup")) {
        return cold_kind_parse(value, &rule->kind)
                   ? ERR_OK
                   : refuse(err, key, value, "raw, 1m, 5m, 1h or 1d");
    }
    if (slice_is(key, "max_age")) {
        return parse_amount(value, ages, &rule->max_age_us)
                   ? ERR_OK
                   : refuse(err, key, value, "a whole number with s, m, h, d, w or y, as 90d");
    }
    if (slice_is(key, "max_bytes")) {
        if (!parse_amount(value, sizes, &amount) && !number_parse_i64(value, &amount)) {
            amount = 0;
        }
        rule->max_bytes = amount > 0 ? (uint64_t)amount : 0;
        return amount > 0 ? ERR_OK : refuse(err, key, value, "a size, as 10GiB");
    }
    if (slice_is(key, "even_event_log")) {
        rule->even_event_log = slice_is(value, "true");
        return rule->even_event_log || slice_is(value, "false")
                   ? ERR_OK
                   : refuse(err, key, value, "true or false");
    }
    return err_set(err, ERR_INVALID,
                   "\"%.*s\" is no part of a rule; expected table, metric, rollup, max_age, "
                   "max_bytes or even_event_log",
                   SLICE_FMT(slice_sub(key, 0, 40)));
}

static enum err_code
check_rule(const struct retention_rule *rule, struct err *err)
{
    if (rule->max_age_us == 0 && rule->max_bytes == 0) {
        return err_set(err, ERR_INVALID, "a rule needs max_age, max_bytes or both");
    }
    if (rule->max_bytes > 0 && rule->table == 0) {
        return err_set(err, ERR_INVALID, "max_bytes needs a table: it bounds each by itself");
    }
    if (rule->metric[0] && rule->table != TABLE_SAMPLES) {
        return err_set(err, ERR_INVALID, "metric needs table=metrics");
    }
    if (rule->metric[0] && rule->max_bytes > 0) {
        return err_set(err, ERR_INVALID,
                       "metric goes with max_age alone: a metric has no files of its own");
    }
    if (rule->metric[0] && rule->kind != COLD_RAW && rule->kind != COLD_KIND_COUNT) {
        return err_set(err, ERR_INVALID,
                       "metric goes with rollup=raw, or without rollup: metrics share the files of "
                       "a rollup");
    }
    if (rule->table == TABLE_EVENTS && !rule->even_event_log) {
        return err_set(err, ERR_INVALID,
                       "the event log is what calls are billed from; to drop its old days, say "
                       "even_event_log=true");
    }
    return ERR_OK;
}

enum err_code
retention_rule_parse(struct slice text, struct retention_rule *ret_rule, struct err *err)
{
    struct retention_rule rule = {.kind = COLD_KIND_COUNT};
    struct slice rest = slice_trim(text);
    enum err_code code = ERR_OK;

    if (!slice_to_cstr(rest, rule.text, sizeof(rule.text))) {
        return err_set(err, ERR_INVALID, "a rule is longer than %d bytes", RETENTION_TEXT_MAX - 1);
    }
    while (code == ERR_OK && rest.len > 0) {
        struct slice part;
        struct slice key;
        slice_split(&rest, ' ', &part);
        if (part.len > 0) {
            slice_split(&part, '=', &key);
            code = set_key(&rule, key, part, err);
        }
    }
    code = code ? code : check_rule(&rule, err);
    if (code == ERR_OK) {
        *ret_rule = rule;
    }
    return code;
}

/* Greedy with one place to go back to: the newest "*". */
bool
retention_matches(const char *pattern, const char *name)
{
    const char *star = NULL;
    const char *from = NULL;

    while (*name) {
        if (*pattern == '*') {
            star = ++pattern;
            from = name;
        } else if (*pattern == '?') {
            /* One character of UTF-8, not one byte. */
            pattern++;
            name++;
            while (((unsigned char)*name & 0xC0) == 0x80) {
                name++;
            }
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star;
            name = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}
