/*
 * Users' statements over the cold files of their times alone. The views name all files: DuckDB
 * opens and asks each of them for its times (some 0.1 ms a file), plans for them, and cannot keep a
 * plan.
 */
#include "store/duckdb/duck_read.h"

bool
duck_narrow(const struct duck_store *duck, const struct sql_ranges *ranges, struct slice sql,
            struct buf *text)
{
    size_t named = 0;
    size_t all = 0;
    size_t copied = 0;
    size_t first;

    for (size_t i = 0; i < ranges->count; i++) {
        const struct sql_range_ref *ref = &ranges->refs[i];
        if (ref->from_us == INT64_MIN && ref->to_us == INT64_MAX) {
            continue;
        }
        enum table_id id = ref->table->kind == TABLE_VIEW ? TABLE_SAMPLES : ref->table->id;
        size_t end = duck_cold_range(&duck->cold, id, COLD_RAW, &first);
        all += end - first;
        buf_add_slice(text, slice_sub(sql, copied, ref->begin - copied));
        named +=
            duck_cold_add_table(duck, ref->table, ref->from_us, ref->to_us, DUCK_SOURCE_VIEW, text);
        copied = ref->end;
        if (!ref->aliased) {
            buf_add_fmt(text, " AS \"%s\"", ref->table->name);
        }
    }
    buf_add_slice(text, slice_sub(sql, copied, sql.len - copied));
    return named < all && !text->overflow;
}
