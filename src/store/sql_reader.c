/* What readers of statements share. */
#include "store/sql_reader.h"

#include <string.h>

#include "codec/time.h"

struct slice
sql_raw(const struct sql_reader *reader)
{
    return slice_sub(reader->sql->sql, reader->from, reader->at - reader->from);
}

void
sql_advance(struct sql_reader *reader)
{
    reader->questions += reader->token.kind == SQL_TOKEN_SYMBOL && reader->token.symbol == '?';
    reader->from = sql_token_blanks(reader->sql->sql, reader->at);
    reader->at = sql_token_next(reader->sql->sql, reader->at, &reader->token);
}

void
sql_reader_init(struct sql_reader *reader, const struct store_sql *sql)
{
    *reader = (struct sql_reader){.sql = sql};
    sql_advance(reader);
}

bool
sql_is_name(const struct sql_reader *reader)
{
    return reader->token.kind == SQL_TOKEN_WORD && reader->at - reader->from < SQL_TOKEN_MAX;
}

bool
sql_is_word(const struct sql_reader *reader, const char *word)
{
    return reader->token.kind == SQL_TOKEN_WORD && sql_raw(reader).ptr[0] != '"' &&
           strcmp(reader->token.text, word) == 0;
}

bool
sql_is_one_of(const struct sql_reader *reader, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sql_is_word(reader, words[i])) {
            return true;
        }
    }
    return false;
}

bool
sql_is_symbol(const struct sql_reader *reader, char symbol)
{
    return reader->token.kind == SQL_TOKEN_SYMBOL && reader->token.symbol == symbol;
}

bool
sql_is_end(const struct sql_reader *reader)
{
    return reader->token.kind == SQL_TOKEN_END;
}

bool
sql_take_word(struct sql_reader *reader, const char *word)
{
    bool taken = sql_is_word(reader, word);

    if (taken) {
        sql_advance(reader);
    }
    return taken;
}

bool
sql_take_symbol(struct sql_reader *reader, char symbol)
{
    bool taken = sql_is_symbol(reader, symbol);

    if (taken) {
        sql_advance(reader);
    }
    return taken;
}

bool
sql_read_name(struct sql_reader *reader, struct sql_name *ret_name)
{
    struct sql_name name = {0};

    if (!sql_is_name(reader)) {
        return false;
    }
    memcpy(name.column, reader->token.text, sizeof(name.column));
    sql_advance(reader);
    if (sql_take_symbol(reader, '.')) {
        memcpy(name.qualifier, name.column, sizeof(name.qualifier));
        if (!sql_is_name(reader)) {
            return false;
        }
        memcpy(name.column, reader->token.text, sizeof(name.column));
        sql_advance(reader);
    }
    *ret_name = name;
    return true;
}

bool
sql_read_param(struct sql_reader *reader, const struct store_param **ret_param)
{
    const struct store_sql *sql = reader->sql;
    struct slice text = sql_raw(reader);
    size_t index = reader->questions;

    if (reader->token.kind == SQL_TOKEN_WORD && text.len == 2 && text.ptr[0] == '$' &&
        text.ptr[1] > '0' && text.ptr[1] <= '9') {
        index = (size_t)(text.ptr[1] - '1');
        reader->dollars |= 1ULL << (index + 1);
    } else if (!sql_is_symbol(reader, '?')) {
        return false;
    }
    if (index >= sql->param_count) {
        return false;
    }
    *ret_param = &sql->params[index];
    sql_advance(reader);
    return true;
}

static bool
is_plain_text(const struct sql_reader *reader)
{
    struct slice text = sql_raw(reader);

    return reader->token.kind == SQL_TOKEN_STRING && text.len >= 2 && text.ptr[0] == '\'' &&
           text.ptr[text.len - 1] == '\'' && !memchr(text.ptr + 1, '\'', text.len - 2);
}

static bool
read_text_param(struct sql_reader *reader, struct slice *ret_text)
{
    const struct store_param *param;

    if (!sql_read_param(reader, &param) || param->type != PARAM_TEXT) {
        return false;
    }
    *ret_text = param->text;
    return true;
}

bool
sql_read_text(struct sql_reader *reader, struct slice *ret_text)
{
    struct slice text = sql_raw(reader);

    if (!is_plain_text(reader)) {
        return read_text_param(reader, ret_text);
    }
    *ret_text = slice_sub(text, 1, text.len - 2);
    sql_advance(reader);
    return true;
}

/* YYYY-MM-DD[[T ]hh:mm[:ss[.f]]] */
static bool
parse_time(struct slice text, bool date_only, int64_t *ret_us)
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

bool
sql_read_time(struct sql_reader *reader, int64_t *ret_us)
{
    struct slice text;
    bool date = sql_is_word(reader, "date");
    bool typed = date || sql_is_word(reader, "timestamp");

    if (typed) {
        sql_advance(reader);
        return is_plain_text(reader) && sql_read_text(reader, &text) &&
               parse_time(text, date, ret_us);
    }
    if (!sql_read_text(reader, &text) || !parse_time(text, false, ret_us)) {
        return false;
    }
    return !sql_take_symbol(reader, ':') ||
           (sql_take_symbol(reader, ':') && sql_take_word(reader, "timestamp"));
}

bool
sql_read_bound(struct sql_reader *reader, struct sql_bound *ret_bound)
{
    int64_t time_us;
    struct sql_bound bound = {.from_us = INT64_MIN, .to_us = INT64_MAX};

    if (!sql_read_name(reader, &bound.name)) {
        return false;
    }
    if (sql_take_word(reader, "between")) {
        if (!sql_read_time(reader, &bound.from_us) || !sql_take_word(reader, "and") ||
            !sql_read_time(reader, &bound.to_us)) {
            return false;
        }
        *ret_bound = bound;
        return true;
    }
    bool less = sql_is_symbol(reader, '<');
    bool more = sql_is_symbol(reader, '>');
    if (!less && !more && !sql_is_symbol(reader, '=')) {
        return false;
    }
    sql_advance(reader);
    bool open = (less || more) && !sql_take_symbol(reader, '=');
    if (!sql_read_time(reader, &time_us)) {
        return false;
    }
    bound.from_us = less ? INT64_MIN : time_us;
    bound.to_us = more ? INT64_MAX : time_us;
    bound.from_open = open && more;
    bound.to_open = open && less;
    *ret_bound = bound;
    return true;
}
