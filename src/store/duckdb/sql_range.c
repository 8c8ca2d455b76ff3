/* A reader of statements that gives up at whatever it does not know. */
#include "store/duckdb/sql_range.h"

#include <stdlib.h>
#include <string.h>

#include "codec/time.h"

/* The reader stands on a token of the top level or on an opening parenthesis. */
struct reader {
    const struct store_sql *sql;
    size_t from; /* where the token begins */
    size_t at;   /* where it ends */
    struct sql_token token;
    size_t questions; /* "?" that were passed */
};

struct bound {
    char qualifier[SQL_TOKEN_MAX]; /* "": none */
    char column[SQL_TOKEN_MAX];
    int64_t from_us;
    int64_t to_us;
};

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

/* Where one of these stands at the top, the statement is not of the known form. */
static const char *const strange[] = {"anti",      "asof",    "except",  "from",  "full",
                                      "intersect", "lateral", "natural", "pivot", "positional",
                                      "right",     "sample",  "select",  "semi",  "tablesample",
                                      "union",     "unpivot", "values",  "where", "with"};

/* What ends WHERE. */
static const char *const clauses[] = {"fetch",  "group", "having",  "limit",
                                      "offset", "order", "qualify", "window"};

static struct slice
raw(const struct reader *reader)
{
    return slice_sub(reader->sql->sql, reader->from, reader->at - reader->from);
}

static void
advance(struct reader *reader)
{
    reader->questions += reader->token.kind == SQL_TOKEN_SYMBOL && reader->token.symbol == '?';
    reader->from = sql_token_blanks(reader->sql->sql, reader->at);
    reader->at = sql_token_next(reader->sql->sql, reader->at, &reader->token);
}

static bool
is_name(const struct reader *reader)
{
    return reader->token.kind == SQL_TOKEN_WORD && reader->at - reader->from < SQL_TOKEN_MAX;
}

static bool
is_word(const struct reader *reader, const char *word)
{
    return reader->token.kind == SQL_TOKEN_WORD && raw(reader).ptr[0] != '"' &&
           strcmp(reader->token.text, word) == 0;
}

static bool
is_one_of(const struct reader *reader, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_word(reader, words[i])) {
            return true;
        }
    }
    return false;
}

static bool
is_symbol(const struct reader *reader, char symbol)
{
    return reader->token.kind == SQL_TOKEN_SYMBOL && reader->token.symbol == symbol;
}

static bool
is_strange(const struct reader *reader)
{
    return is_one_of(reader, strange, COUNT_OF(strange)) ||
           reader->token.kind == SQL_TOKEN_UNICODE || reader->token.kind == SQL_TOKEN_FOREIGN;
}

static bool
is_clause(const struct reader *reader)
{
    return is_one_of(reader, clauses, COUNT_OF(clauses));
}

static bool
take_word(struct reader *reader, const char *word)
{
    bool taken = is_word(reader, word);

    if (taken) {
        advance(reader);
    }
    return taken;
}

/* Behind the parenthesis that closes the one that the reader stands on; false when none does. */
static bool
skip_group(struct reader *reader)
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
        advance(reader);
    } while (depth > 0);
    return true;
}

/* Past one token, or a group of them; false at what is not known, and at the end. */
static bool
skip(struct reader *reader)
{
    if (is_symbol(reader, '(') || is_symbol(reader, '[') || is_symbol(reader, '{')) {
        return skip_group(reader);
    }
    if (reader->token.kind == SQL_TOKEN_END || is_strange(reader)) {
        return false;
    }
    advance(reader);
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
ends_ref(const struct reader *reader)
{
    static const char *const words[] = {"cross", "inner", "join", "left", "on", "using", "where"};

    return is_one_of(reader, words, COUNT_OF(words)) || is_clause(reader);
}

/* name [[AS] alias], or a subquery in the place of the name. */
static bool
read_ref(struct reader *reader, struct sql_ranges *ranges)
{
    struct sql_range_ref *ref = &ranges->refs[ranges->count];

    if (ranges->count == SQL_RANGE_REFS_MAX || is_strange(reader) || ends_ref(reader)) {
        return false;
    }
    *ref = (struct sql_range_ref){.from_us = INT64_MIN, .to_us = INT64_MAX};
    if (is_symbol(reader, '(')) {
        if (!skip_group(reader)) {
            return false;
        }
    } else if (is_name(reader)) {
        ref->table = find_table(reader->token.text);
        ref->begin = reader->from;
        ref->end = reader->at;
        memcpy(ref->alias, reader->token.text, sizeof(ref->alias));
        advance(reader);
    } else {
        return false;
    }
    ref->aliased = take_word(reader, "as");
    if (is_name(reader) && !ends_ref(reader) && !is_strange(reader)) {
        ref->aliased = true;
        memcpy(ref->alias, reader->token.text, sizeof(ref->alias));
        advance(reader);
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
skip_condition(struct reader *reader)
{
    bool named = is_word(reader, "using");

    if (!named && !is_word(reader, "on")) {
        return true;
    }
    advance(reader);
    if (named) {
        return is_symbol(reader, '(') && skip_group(reader);
    }
    while (!is_symbol(reader, ',') && !ends_ref(reader)) {
        if (!skip(reader)) {
            return false;
        }
    }
    return true;
}

/* Up to WHERE. */
static bool
read_from(struct reader *reader, struct sql_ranges *ranges)
{
    if (!read_ref(reader, ranges)) {
        return false;
    }
    while (!is_word(reader, "where")) {
        if (is_symbol(reader, ',')) {
            advance(reader);
        } else {
            if (take_word(reader, "left")) {
                take_word(reader, "outer");
            } else if (!take_word(reader, "inner")) {
                take_word(reader, "cross");
            }
            if (!take_word(reader, "join")) {
                return false;
            }
        }
        if (!read_ref(reader, ranges) || !skip_condition(reader)) {
            return false;
        }
    }
    advance(reader);
    return true;
}

/* ---- WHERE ---- */

/* YYYY-MM-DD[[T ]hh:mm[:ss[.f]]], without a zone; no finer than microseconds, which DuckDB would
 * round. */
static bool
read_time_text(struct slice text, bool date_only, int64_t *ret_us)
{
    for (size_t i = 0; i < text.len; i++) {
        bool minus = text.ptr[i] == '-' && (i == 4 || i == 7);
        if (!minus && !strchr("0123456789:. T", text.ptr[i])) {
            return false;
        }
    }
    size_t len_max = strlen(date_only ? "2026-01-02" : "2026-01-02 03:04:05.123456");
    return text.len <= len_max && time_parse_iso8601(text, ret_us);
}

static bool
read_param(const struct reader *reader, size_t index, int64_t *ret_us)
{
    const struct store_sql *sql = reader->sql;

    return index < sql->param_count && sql->params[index].type == PARAM_TEXT &&
           read_time_text(sql->params[index].text, false, ret_us);
}

/* [TIMESTAMP | DATE] 'text', 'text'::TIMESTAMP, ?, $1 */
static bool
read_time(struct reader *reader, int64_t *ret_us)
{
    bool date = is_word(reader, "date");
    bool typed = date || is_word(reader, "timestamp");
    bool read;

    if (typed) {
        advance(reader);
    }
    struct slice text = raw(reader);
    if (reader->token.kind == SQL_TOKEN_STRING && text.len > 2 && text.ptr[0] == '\'') {
        read = read_time_text(slice_sub(text, 1, text.len - 2), date, ret_us);
    } else if (!typed && is_symbol(reader, '?')) {
        read = read_param(reader, reader->questions, ret_us);
    } else if (!typed && is_name(reader) && text.len == 2 && text.ptr[0] == '$' &&
               text.ptr[1] > '0' && text.ptr[1] <= '9') {
        read = read_param(reader, (size_t)(text.ptr[1] - '1'), ret_us);
    } else {
        return false;
    }
    advance(reader);
    if (read && !typed && is_symbol(reader, ':')) {
        advance(reader);
        read = is_symbol(reader, ':');
        advance(reader);
        return read && take_word(reader, "timestamp");
    }
    return read;
}

/* [alias .] column */
static bool
read_column(struct reader *reader, struct bound *bound)
{
    if (!is_name(reader)) {
        return false;
    }
    memcpy(bound->column, reader->token.text, sizeof(bound->column));
    advance(reader);
    if (is_symbol(reader, '.')) {
        memcpy(bound->qualifier, bound->column, sizeof(bound->qualifier));
        advance(reader);
        if (!is_name(reader)) {
            return false;
        }
        memcpy(bound->column, reader->token.text, sizeof(bound->column));
        advance(reader);
    }
    return true;
}

/* A comparison of a column with a time; the reader ends behind it, or anywhere when it is not. */
static bool
read_comparison(struct reader *reader, struct bound *ret_bound)
{
    int64_t time_us;
    struct bound bound = {.from_us = INT64_MIN, .to_us = INT64_MAX};

    if (!read_column(reader, &bound)) {
        return false;
    }
    if (take_word(reader, "between")) {
        if (!read_time(reader, &bound.from_us) || !take_word(reader, "and") ||
            !read_time(reader, &bound.to_us)) {
            return false;
        }
        *ret_bound = bound;
        return true;
    }
    bool less = is_symbol(reader, '<');
    bool more = is_symbol(reader, '>');
    bool equal = is_symbol(reader, '=');
    if (!less && !more && !equal) {
        return false;
    }
    advance(reader);
    if (!equal && is_symbol(reader, '=')) {
        advance(reader);
    }
    if (!read_time(reader, &time_us)) {
        return false;
    }
    bound.from_us = less ? INT64_MIN : time_us;
    bound.to_us = more ? INT64_MAX : time_us;
    *ret_bound = bound;
    return true;
}

static bool
ends_where(const struct reader *reader)
{
    return reader->token.kind == SQL_TOKEN_END || is_symbol(reader, ';') || is_clause(reader);
}

static void
apply(const struct bound *bound, struct sql_ranges *ranges)
{
    for (size_t i = 0; i < ranges->count; i++) {
        struct sql_range_ref *ref = &ranges->refs[i];
        bool meant =
            bound->qualifier[0] ? strcmp(bound->qualifier, ref->alias) == 0 : ranges->count == 1;
        if (!meant || !ref->table ||
            strcmp(bound->column, ref->table->columns[ref->table->time_column].name) != 0) {
            continue;
        }
        ref->from_us = bound->from_us > ref->from_us ? bound->from_us : ref->from_us;
        ref->to_us = bound->to_us < ref->to_us ? bound->to_us : ref->to_us;
    }
}

/* Past a token of another condition; false at what may bind less tightly than AND. */
static bool
skip_where(struct reader *reader)
{
    static const char *const loose[] = {"between", "case", "lambda", "or", "using"};
    bool minus = is_symbol(reader, '-');

    if (is_one_of(reader, loose, COUNT_OF(loose)) ||
        (reader->token.kind == SQL_TOKEN_SYMBOL &&
         !strchr("=<>!+-*/%.([:|?", reader->token.symbol))) {
        return false;
    }
    return skip(reader) && !(minus && is_symbol(reader, '>'));
}

static bool
read_where(struct reader *reader, struct sql_ranges *ranges)
{
    for (;;) {
        struct reader ahead = *reader;
        struct bound bound;
        if (read_comparison(&ahead, &bound) && (ends_where(&ahead) || is_word(&ahead, "and"))) {
            apply(&bound, ranges);
            *reader = ahead;
        }
        while (!ends_where(reader) && !is_word(reader, "and")) {
            if (!skip_where(reader)) {
                return false;
            }
        }
        if (ends_where(reader)) {
            return true;
        }
        advance(reader);
    }
}

/* What follows WHERE changes nothing, unless it is strange. */
static bool
read_rest(struct reader *reader)
{
    while (reader->token.kind != SQL_TOKEN_END) {
        bool last = is_symbol(reader, ';');
        if (!skip(reader) || (last && reader->token.kind != SQL_TOKEN_END)) {
            return false;
        }
    }
    return true;
}

static bool
read_select(struct reader *reader, struct sql_ranges *ranges)
{
    advance(reader);
    if (take_word(reader, "explain")) {
        take_word(reader, "analyze");
    }
    if (!take_word(reader, "select")) {
        return false;
    }
    while (!is_word(reader, "from")) {
        if (!skip(reader)) {
            return false;
        }
    }
    advance(reader);
    return read_from(reader, ranges) && read_where(reader, ranges) && read_rest(reader);
}

bool
sql_ranges_find(const struct store_sql *sql, struct sql_ranges *ret_ranges)
{
    struct reader reader = {.sql = sql};
    bool bounded = false;

    *ret_ranges = (struct sql_ranges){0};
    if (!read_select(&reader, ret_ranges)) {
        return false;
    }
    for (size_t i = 0; i < ret_ranges->count; i++) {
        bounded |=
            ret_ranges->refs[i].from_us != INT64_MIN || ret_ranges->refs[i].to_us != INT64_MAX;
    }
    return bounded;
}
