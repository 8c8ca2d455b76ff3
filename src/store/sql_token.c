/* The tokeniser of users' statements. */
#include "store/sql_token.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static bool
is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

/* isspace without the vertical tab, which DuckDB refuses. */
static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool
begins_block(struct slice sql, size_t at)
{
    return at + 1 < sql.len && sql.ptr[at] == '/' && sql.ptr[at + 1] == '*';
}

/* Skips a block comment, which nests; stays where it is when it does not end. */
static size_t
skip_block(struct slice sql, size_t at)
{
    size_t begin = at;
    size_t depth = 0;

    while (at < sql.len) {
        if (begins_block(sql, at)) {
            depth++;
            at += 2;
        } else if (sql.ptr[at] == '*' && at + 1 < sql.len && sql.ptr[at + 1] == '/') {
            at += 2;
            if (--depth == 0) {
                return at;
            }
        } else {
            at++;
        }
    }
    return begin;
}

size_t
sql_token_blanks(struct slice sql, size_t at)
{
    size_t from;

    do {
        from = at;
        if (at < sql.len && is_blank(sql.ptr[at])) {
            at++;
        } else if (at + 1 < sql.len && sql.ptr[at] == '-' && sql.ptr[at + 1] == '-') {
            while (at < sql.len && sql.ptr[at] != '\n' && sql.ptr[at] != '\r') {
                at++;
            }
        } else if (begins_block(sql, at)) {
            at = skip_block(sql, at);
        }
    } while (at > from);
    return at;
}

/* Adds a byte in lower case, unless the name is full. */
static void
put(char *dst, size_t *used, char c)
{
    if (*used + 1 < SQL_TOKEN_MAX) {
        dst[(*used)++] = (char)tolower((unsigned char)c);
        dst[*used] = '\0';
    }
}

/* A quoted run that starts at `at`; the quote doubled stands for itself, and in E'' strings a
 * backslash takes the next byte. Returns where it ends. */
static size_t
read_quoted(struct slice sql, size_t at, bool escapes, struct sql_token *token)
{
    char quote = sql.ptr[at++];
    size_t used = 0;

    token->kind = quote == '"' ? SQL_TOKEN_WORD : SQL_TOKEN_STRING;
    token->text[0] = '\0';
    while (at < sql.len) {
        if (sql.ptr[at] == quote) {
            if (at + 1 >= sql.len || sql.ptr[at + 1] != quote) {
                return at + 1;
            }
            at++;
        } else if (escapes && sql.ptr[at] == '\\' && at + 1 < sql.len) {
            at++;
        }
        put(token->text, &used, sql.ptr[at++]);
    }
    return at;
}

/* A dollar-quoted string, $$...$$ or $tag$...$tag$; `at` when there is none. */
static size_t
skip_dollar(struct slice sql, size_t at)
{
    size_t tag_end = at + 1;

    while (tag_end < sql.len && sql.ptr[tag_end] != '$' && is_word_char(sql.ptr[tag_end])) {
        tag_end++;
    }
    if (tag_end >= sql.len || sql.ptr[tag_end] != '$' || isdigit((unsigned char)sql.ptr[at + 1])) {
        return at;
    }
    struct slice tag = slice_sub(sql, at, tag_end + 1 - at);
    const char *rest = sql.ptr + tag_end + 1;
    const char *end = memmem(rest, sql.len - tag_end - 1, tag.ptr, tag.len);
    return end ? (size_t)(end - sql.ptr) + tag.len : sql.len;
}

/* Reads one token from `at` and returns where the next one may start. */
size_t
sql_token_next(struct slice sql, size_t at, struct sql_token *token)
{
    *token = (struct sql_token){.kind = SQL_TOKEN_END};
    at = sql_token_blanks(sql, at);
    if (at >= sql.len) {
        return at;
    }
    char c = sql.ptr[at];
    bool escapes = (c == 'e' || c == 'E') && at + 1 < sql.len && sql.ptr[at + 1] == '\'';
    if (c == '"' || c == '\'' || escapes) {
        return read_quoted(sql, at + escapes, escapes, token);
    }
    bool unicode = (c == 'u' || c == 'U') && sql.len - at > 2 && sql.ptr[at + 1] == '&' &&
                   (sql.ptr[at + 2] == '"' || sql.ptr[at + 2] == '\'');
    if (unicode) {
        token->kind = SQL_TOKEN_UNICODE;
        return at + 2;
    }
    if (c & 0x80) {
        token->kind = SQL_TOKEN_FOREIGN;
        return at + 1;
    }
    if (begins_block(sql, at)) {
        token->kind = SQL_TOKEN_FOREIGN; /* the rest is a comment without an end */
        return sql.len;
    }
    if (c == '$') {
        size_t end = skip_dollar(sql, at);
        if (end > at) {
            token->kind = SQL_TOKEN_STRING;
            return end;
        }
    }
    if (is_word_char(c)) {
        size_t used = 0;
        token->kind = SQL_TOKEN_WORD;
        while (at < sql.len && is_word_char(sql.ptr[at])) {
            put(token->text, &used, sql.ptr[at++]);
        }
        return at;
    }
    token->kind = SQL_TOKEN_SYMBOL;
    token->symbol = c;
    return at + 1;
}
