/* What readers of statements share. */
#include "store/sql_reader.h"

#include <string.h>

#include "codec/number.h"
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
    reader->glued = reader->from == reader->at;
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
    struct slice text = sql_raw(reader);

    if (reader->token.kind != SQL_TOKEN_WORD || text.len >= SQL_TOKEN_MAX) {
        return false;
    }
    return text.ptr[0] != '"' || (text.len > 1 && text.ptr[text.len - 1] == '"');
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

/* Microseconds of a unit of time; 0: another word. */
static int64_t
unit_us(struct slice word)
{
    static const struct {
        const char *name;
        int64_t us;
    } units[] = {{"second", TIME_US_PER_S},
                 {"minute", 60 * TIME_US_PER_S},
                 {"hour", 3600 * TIME_US_PER_S},
                 {"day", TIME_US_PER_DAY},
                 {"week", 7 * TIME_US_PER_DAY}};

    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        size_t len = strlen(units[i].name);
        bool plural = word.len == len + 1 && (word.ptr[len] | ' ') == 's';
        if (slice_is_nocase(slice_sub(word, 0, word.len - plural), units[i].name)) {
            return units[i].us;
        }
    }
    return 0;
}

/* '90 minutes', '90' MINUTE or 90 MINUTE */
static bool
read_interval(struct sql_reader *reader, int64_t *ret_us)
{
    struct slice count = sql_raw(reader);
    struct slice unit = {0};
    int64_t number;

    if (is_plain_text(reader)) {
        count = slice_sub(count, 1, count.len - 2);
        const char *blank = memchr(count.ptr, ' ', count.len);
        if (blank) {
            size_t at = (size_t)(blank - count.ptr);
            unit = slice_sub(count, at + 1, count.len - at - 1);
            count = slice_sub(count, 0, at);
        }
    } else if (!sql_is_name(reader)) {
        return false;
    }
    sql_advance(reader);
    if (!unit.ptr) {
        unit = sql_raw(reader);
        if (!sql_is_name(reader)) {
            return false;
        }
        sql_advance(reader);
    }
    return number_parse_i64(count, &number) && number >= 0 && unit_us(unit) > 0 &&
           !__builtin_mul_overflow(number, unit_us(unit), ret_us);
}

/* Behind a time: whether nothing, or a cast that changes nothing, follows. */
static bool
take_cast(struct sql_reader *reader)
{
    return !sql_take_symbol(reader, ':') ||
           (reader->glued && sql_take_symbol(reader, ':') && sql_take_word(reader, "timestamp"));
}

static bool
read_now(struct sql_reader *reader, int64_t *ret_us)
{
    int64_t back_us = 0;

    if (sql_take_word(reader, "now")) {
        if (!sql_take_symbol(reader, '(') || !sql_take_symbol(reader, ')')) {
            return false;
        }
    } else if (!sql_take_word(reader, "current_timestamp")) {
        return false;
    }
    if (reader->sql->now_us == 0 || !take_cast(reader)) {
        return false;
    }
    if (sql_take_symbol(reader, '-') &&
        (!sql_take_word(reader, "interval") || !read_interval(reader, &back_us))) {
        return false;
    }
    return !__builtin_sub_overflow(reader->sql->now_us, back_us, ret_us) && time_in_range(*ret_us);
}

bool
sql_read_time(struct sql_reader *reader, struct sql_time *ret_time)
{
    struct slice text;
    bool date = sql_is_word(reader, "date");
    bool typed = date || sql_is_word(reader, "timestamp");

    ret_time->of_now = sql_is_word(reader, "now") || sql_is_word(reader, "current_timestamp");
    if (ret_time->of_now) {
        return read_now(reader, &ret_time->us);
    }
    if (typed) {
        sql_advance(reader);
        return is_plain_text(reader) && sql_read_text(reader, &text) &&
               parse_time(text, date, &ret_time->us);
    }
    return sql_read_text(reader, &text) && parse_time(text, false, &ret_time->us) &&
           take_cast(reader);
}

bool
sql_read_bound(struct sql_reader *reader, struct sql_bound *ret_bound)
{
    struct sql_bound bound = {.from.us = INT64_MIN, .to.us = INT64_MAX};
    struct sql_time time;

    if (!sql_read_name(reader, &bound.name)) {
        return false;
    }
    if (sql_take_word(reader, "between")) {
        if (!sql_read_time(reader, &bound.from) || !sql_take_word(reader, "and") ||
            !sql_read_time(reader, &bound.to)) {
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
    bool open = (less || more) && !(reader->glued && sql_take_symbol(reader, '='));
    if (!sql_read_time(reader, &time)) {
        return false;
    }
    bound.from = less ? bound.from : time;
    bound.to = more ? bound.to : time;
    bound.from_open = open && more;
    bound.to_open = open && less;
    *ret_bound = bound;
    return true;
}
