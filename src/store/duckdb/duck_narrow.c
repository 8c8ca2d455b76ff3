/*
 * Users' statements over the cold files of their times alone. The views name all files: DuckDB
 * opens and asks each of them for its times (some 0.1 ms a file), plans for them twice, and cannot
 * keep a plan.
 */
#include "store/duckdb/duck_read.h"

#include <ctype.h>
#include <stdio.h>

/* The number in "$12", or another one beyond those that parameters have; 0: another thing. */
static size_t
number_behind(struct slice sql, size_t at)
{
    size_t number = 0;

    for (size_t i = at + 1; i < sql.len && isdigit((unsigned char)sql.ptr[i]); i++) {
        number = number * 10 + (size_t)(sql.ptr[i] - '0');
        number = number <= STORE_PARAMS_MAX ? number : STORE_PARAMS_MAX + 1;
    }
    return number;
}

/* The number of one parameter more; 0 when one of the statement's own, or a text that may be taken
 * for one, could be the same: it would be given a value that nobody gave it. */
static size_t
next_number(const struct store_sql *sql)
{
    for (size_t i = 0; i < sql->sql.len; i++) {
        if (sql->sql.ptr[i] == '?') {
            return 0;
        }
        if (sql->sql.ptr[i] == '$') {
            size_t number = number_behind(sql->sql, i);
            if (number == 0 || number > sql->param_count) {
                return 0;
            }
        }
    }
    return sql->param_count + 1;
}

bool
duck_narrow(const struct duck_store *duck, const struct sql_ranges *ranges,
            const struct store_sql *sql, struct buf *text, bool *ret_once)
{
    struct duck_source how = {.form = DUCK_FORM_VIEW};
    size_t number = next_number(sql);
    char once[24];
    size_t named = 0;
    size_t all = 0;
    size_t copied = 0;
    size_t first;

    if (number > 0) {
        snprintf(once, sizeof(once), "$%zu", number);
        how.once = once;
    }
    for (size_t i = 0; i < ranges->count; i++) {
        const struct sql_range_ref *ref = &ranges->refs[i];
        if (ref->from_us == INT64_MIN && ref->to_us == INT64_MAX) {
            continue;
        }
        enum table_id id = ref->table->kind == TABLE_VIEW ? TABLE_SAMPLES : ref->table->id;
        size_t end = duck_cold_range(&duck->cold, id, COLD_RAW, &first);
        all += end - first;
        buf_add_slice(text, slice_sub(sql->sql, copied, ref->begin - copied));
        named += duck_cold_add_table(duck, ref->table, ref->from_us, ref->to_us, how, text);
        copied = ref->end;
        if (!ref->aliased) {
            buf_add_fmt(text, " AS \"%s\"", ref->table->name);
        }
    }
    buf_add_slice(text, slice_sub(sql->sql, copied, sql->sql.len - copied));
    *ret_once = how.once && named > 0;
    return (named < all || *ret_once) && !text->overflow;
}
