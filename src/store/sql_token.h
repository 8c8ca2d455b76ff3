/*
 * The tokens of a statement, as far as they matter to whoever looks at users' SQL: words, quoted
 * names, strings and comments, told apart as DuckDB (PostgreSQL's lexer) does. DuckDB takes many of
 * Unicode's blanks for blanks, so bytes beyond ASCII are for quotes and comments only.
 *
 * Pure; any thread.
 */
#ifndef EIDER_STORE_SQL_TOKEN_H
#define EIDER_STORE_SQL_TOKEN_H

#include "base/slice.h"

enum { SQL_TOKEN_MAX = 128 };

enum sql_token_kind {
    SQL_TOKEN_END,
    SQL_TOKEN_WORD, /* a name in double quotes, too */
    SQL_TOKEN_STRING,
    SQL_TOKEN_SYMBOL,
    SQL_TOKEN_UNICODE, /* the beginning of a U& name or text */
    SQL_TOKEN_FOREIGN  /* a byte beyond ASCII outside of quotes; a comment without an end */
};

struct sql_token {
    enum sql_token_kind kind;
    char text[SQL_TOKEN_MAX]; /* words and strings: lower case, without quotes; cut when longer */
    char symbol;
};

/* Reads the token that begins at `at` or behind the blanks there; returns where the next may. */
size_t sql_token_next(struct slice sql, size_t at, struct sql_token *token);

/* Where the blanks and comments from `at` on end. */
size_t sql_token_blanks(struct slice sql, size_t at);

#endif
