/* A reader of statements that gives up at whatever it does not know. */
#include "store/duckdb/sql_range.h"

#include <string.h>

#include "codec/time.h"
#include "store/sql_reader.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

/* Where one of these stands at the top, the statement is not of the known form. */
static const char *const strange[] = {"anti",      "asof",    "except",  "from",  "full",
                                      "intersect", "lateral", "natural", "pivot", "positional",
                                      "right",     "sample",  "select",  "semi",  "tablesample",
                                      "union",     "unpivot", "values",  "where", "with"};

/* What ends WHERE. */
static const char *const clauses[] = {"fetch",  "group", "having",  "limit",
                                      "offset", "order", "qualify", "window"};

static bool
is_strange(const struct sql_reader *reader)
{
    return sql_is_one_of(reader, strange, COUNT_OF(strange)) ||
           reader->token.kind == SQL_TOKEN_UNICODE || reader->token.kind == SQL_TOKEN_FOREIGN;
}

static bool
is_clause(const struct sql_reader *reader)
{
    return sql_is_one_of(reader, clauses, COUNT_OF(clauses));
}

/* Behind the parenthesis that closes the one that the reader stands on; false when none does. */
static bool
skip_group(struct sql_reader *reader)
{
    size_t depth = 0;

    do {
        if (reader->token.kind == SQL_TOKEN_SYMBOL) {
            depth += strchr("([{", reader->token.symbol) != NULL;
            depth -= strchr(")]}", reader->token.symbol) != NULL;
        }
        if (reader->token.kind == SQL_TOKEN_END) {
            return false;
        }
        sql_advance(reader);
    } while (depth > 0);
    return true;
}

/* Past one token, or a group of them; false at what is not known, and at the end. */
static bool
skip(struct sql_reader *reader)
{
    if (sql_is_symbol(reader, '(') || sql_is_symbol(reader, '[') || sql_is_symbol(reader, '{')) {
        return skip_group(reader);
    }
    if (sql_is_end(reader) || is_strange(reader)) {
        return false;
    }
    sql_advance(reader);
    return true;
}

/* ---- FROM ---- */

static const struct catalog_table *
find_table(const char *name)
{
    const struct catalog_table *table;

    for (size_t i = 0; (table = catalog_at(i)); i++) {
        if ((table->sealed || table->kind == TABLE_VIEW) && strcmp(table->name, name) == 0) {
            return table;
        }
    }
    return NULL;
}

static bool
ends_ref(const struct sql_reader *reader)
{
    static const char *const words[] = {"cross", "inner", "join", "left", "on", "using", "where"};

    return sql_is_one_of(reader, words, COUNT_OF(words)) || is_clause(reader);
}

/* name [[AS] alias], or a subquery in the place of the name. */
static bool
read_ref(struct sql_reader *reader, struct sql_ranges *ranges)
{
    struct sql_range_ref *ref = &ranges->refs[ranges->count];

    if (ranges->count == SQL_RANGE_REFS_MAX || is_strange(reader) || ends_ref(reader)) {
        return false;
    }
    *ref = (struct sql_range_ref){.from_us = INT64_MIN, .to_us = INT64_MAX};
    if (sql_is_symbol(reader, '(')) {
        if (!skip_group(reader)) {
            return false;
        }
    } else if (sql_is_name(reader)) {
        ref->table = find_table(reader->token.text);
        ref->begin = reader->from;
        ref->end = reader->at;
        memcpy(ref->alias, reader->token.text, sizeof(ref->alias));
        sql_advance(reader);
    } else {
        return false;
    }
    ref->aliased = sql_take_word(reader, "as");
    if (sql_is_name(reader) && !ends_ref(reader) && !is_strange(reader)) {
        ref->aliased = true;
        memcpy(ref->alias, reader->token.text, sizeof(ref->alias));
        sql_advance(reader);
    } else if (ref->aliased) {
        return false;
    }
    for (size_t i = 0; i < ranges->count; i++) {
        if (strcmp(ranges->refs[i].alias, ref->alias) == 0) {
            return false;
        }
    }
    ranges->count++;
    return true;
}

/* The condition of a join, up to what follows it. */
static bool
skip_condition(struct sql_reader *reader)
{
    bool named = sql_is_word(reader, "using");

    if (!named && !sql_is_word(reader, "on")) {
        return true;
    }
    sql_advance(reader);
    if (named) {
        return sql_is_symbol(reader, '(') && skip_group(reader);
    }
    while (!sql_is_symbol(reader, ',') && !ends_ref(reader)) {
        if (!skip(reader)) {
            return false;
        }
    }
    return true;
}

/* Up to WHERE. */
static bool
read_from(struct sql_reader *reader, struct sql_ranges *ranges)
{
    if (!read_ref(reader, ranges)) {
        return false;
    }
    while (!sql_is_word(reader, "where")) {
        if (sql_is_symbol(reader, ',')) {
            sql_advance(reader);
        } else {
            if (sql_take_word(reader, "left")) {
                sql_take_word(reader, "outer");
            } else if (!sql_take_word(reader, "inner")) {
                sql_take_word(reader, "cross");
            }
            if (!sql_take_word(reader, "join")) {
                return false;
            }
        }
        if (!read_ref(reader, ranges) || !skip_condition(reader)) {
            return false;
        }
    }
    sql_advance(reader);
    return true;
}

/* ---- WHERE ---- */

static bool
ends_where(const struct sql_reader *reader)
{
    return sql_is_end(reader) || sql_is_symbol(reader, ';') || is_clause(reader);
}

/* A bound that is told from now(), moved away by what the store's own now() may differ: a statement
 * may wait for a reader, and the clock may be set meanwhile. A file has a whole day. */
static int64_t
widened(struct sql_time bound, int64_t by_us)
{
    return bound.of_now ? bound.us + by_us : bound.us;
}

static void
apply(const struct sql_bound *bound, struct sql_ranges *ranges)
{
    const int64_t hour_us = 3600 * TIME_US_PER_S;
    int64_t from_us = widened(bound->from, -hour_us);
    int64_t to_us = widened(bound->to, hour_us);

    for (size_t i = 0; i < ranges->count; i++) {
        struct sql_range_ref *ref = &ranges->refs[i];
        bool meant = bound->name.qualifier[0] ? strcmp(bound->name.qualifier, ref->alias) == 0
                                              : ranges->count == 1;
        if (!meant || !ref->table ||
            strcmp(bound->name.column, ref->table->columns[ref->table->time_column].name) != 0) {
            continue;
        }
        ref->from_us = from_us > ref->from_us ? from_us : ref->from_us;
        ref->to_us = to_us < ref->to_us ? to_us : ref->to_us;
    }
}

/* Past a token of another condition; false at what may bind less tightly than AND. */
static bool
skip_where(struct sql_reader *reader)
{
    static const char *const loose[] = {"between", "case", "lambda", "or", "using"};
    bool minus = sql_is_symbol(reader, '-');

    if (sql_is_one_of(reader, loose, COUNT_OF(loose)) ||
        (reader->token.kind == SQL_TOKEN_SYMBOL &&
         !strchr("=<>!+-*/%.([:|?", reader->token.symbol))) {
        return false;
    }
    return skip(reader) && !(minus && sql_is_symbol(reader, '>'));
}

static bool
read_where(struct sql_reader *reader, struct sql_ranges *ranges)
{
    for (;;) {
        struct sql_reader ahead = *reader;
        struct sql_bound bound;
        if (sql_read_bound(&ahead, &bound) && (ends_where(&ahead) || sql_is_word(&ahead, "and"))) {
            apply(&bound, ranges);
            *reader = ahead;
        }
        while (!ends_where(reader) && !sql_is_word(reader, "and")) {
            if (!skip_where(reader)) {
                return false;
            }
        }
        if (ends_where(reader)) {
            return true;
        }
        sql_advance(reader);
    }
}

/* What follows WHERE changes nothing, unless it is strange. */
static bool
read_rest(struct sql_reader *reader)
{
    while (reader->token.kind != SQL_TOKEN_END) {
        bool last = sql_is_symbol(reader, ';');
        if (!skip(reader) || (last && reader->token.kind != SQL_TOKEN_END)) {
            return false;
        }
    }
    return true;
}

static bool
read_select(struct sql_reader *reader, struct sql_ranges *ranges)
{
    if (sql_take_word(reader, "explain")) {
        sql_take_word(reader, "analyze");
    }
    if (!sql_take_word(reader, "select")) {
        return false;
    }
    while (!sql_is_word(reader, "from")) {
        if (!skip(reader)) {
            return false;
        }
    }
    sql_advance(reader);
    return read_from(reader, ranges) && read_where(reader, ranges) && read_rest(reader);
}

bool
sql_ranges_find(const struct store_sql *sql, struct sql_ranges *ret_ranges)
{
    struct sql_reader reader;
    bool bounded = false;

    *ret_ranges = (struct sql_ranges){0};
    sql_reader_init(&reader, sql);
    if (!read_select(&reader, ret_ranges)) {
        return false;
    }
    for (size_t i = 0; i < ret_ranges->count; i++) {
        bounded |=
            ret_ranges->refs[i].from_us != INT64_MIN || ret_ranges->refs[i].to_us != INT64_MAX;
    }
    return bounded;
}
