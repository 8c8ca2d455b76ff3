/*
 * Reading a user's statement token by token, by those who answer a known form of it themselves and
 * leave every other to the store. A reader stands on a token; what begins with "take" or "read"
 * moves it, and may leave it anywhere when it says false: copy a reader to look ahead.
 *
 * Pure; any thread. A reader borrows the statement.
 */
#ifndef EIDER_STORE_SQL_READER_H
#define EIDER_STORE_SQL_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "store/sql_token.h"
#include "store/store.h"

struct sql_reader {
    const struct store_sql *sql;
    size_t from; /* where the token begins */
    size_t at;   /* where it ends */
    bool glued;  /* to the token before it, as the second byte of <= and :: is */
    struct sql_token token;
    size_t questions; /* "?" that were passed */
    uint64_t dollars; /* bit n: $n was read as a parameter */
};

/* On the first token. */
void sql_reader_init(struct sql_reader *reader, const struct store_sql *sql);
void sql_advance(struct sql_reader *reader);

/* The token as it is written. */
struct slice sql_raw(const struct sql_reader *reader);

/* Whether the token is a name, quoted or not; a keyword or unquoted name (in lower case); one of
 * several; a single byte; the end. */
bool sql_is_name(const struct sql_reader *reader);
bool sql_is_word(const struct sql_reader *reader, const char *word);
bool sql_is_one_of(const struct sql_reader *reader, const char *const *words, size_t count);
bool sql_is_symbol(const struct sql_reader *reader, char symbol);
bool sql_is_end(const struct sql_reader *reader);

/* Moves on when the token is this word, or byte. */
bool sql_take_word(struct sql_reader *reader, const char *word);
bool sql_take_symbol(struct sql_reader *reader, char symbol);

/* [qualifier .] column, both in lower case; `qualifier` is empty without one. */
struct sql_name {
    char qualifier[SQL_TOKEN_MAX];
    char column[SQL_TOKEN_MAX];
};

bool sql_read_name(struct sql_reader *reader, struct sql_name *ret_name);

/* ? or $1 to $9, when such a parameter was given. */
bool sql_read_param(struct sql_reader *reader, const struct store_param **ret_param);

/* A text in plain single quotes without a quote in it, or a text parameter. */
bool sql_read_text(struct sql_reader *reader, struct slice *ret_text);

struct sql_time {
    int64_t us;
    bool of_now; /* told from now_us: the store's own now() may be a little later */
};

/* [TIMESTAMP | DATE] 'text', 'text'::TIMESTAMP, or a text parameter: a time without a zone and no
 * finer than microseconds, which DuckDB would round. Or now() or current_timestamp, when now_us is
 * given: [::TIMESTAMP] [- INTERVAL '90 minutes' | '90' MINUTE | 90 MINUTE], seconds to weeks. */
bool sql_read_time(struct sql_reader *reader, struct sql_time *ret_time);

/* name =, >, >=, <, <= or BETWEEN times: which the column may have. */
struct sql_bound {
    struct sql_name name;
    struct sql_time from; /* INT64_MIN: not bounded */
    struct sql_time to;   /* INT64_MAX: not bounded */
    bool from_open;       /* > or <: the bound itself is not meant */
    bool to_open;
};

bool sql_read_bound(struct sql_reader *reader, struct sql_bound *ret_bound);

#endif
