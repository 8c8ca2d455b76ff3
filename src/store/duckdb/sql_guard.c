/* A call is a name with an opening parenthesis behind it; the tokens are those of sql_token.h. */
#include "store/duckdb/sql_guard.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "store/sql_token.h"

static const char *const harmless[] = {"duckdb_columns",
                                       "duckdb_constraints",
                                       "duckdb_functions",
                                       "duckdb_indexes",
                                       "duckdb_keywords",
                                       "duckdb_schemas",
                                       "duckdb_tables",
                                       "duckdb_types",
                                       "duckdb_views",
                                       "generate_series",
                                       "histogram",
                                       "histogram_values",
                                       "json_each",
                                       "json_tree",
                                       "pg_timezone_names",
                                       "pragma_show",
                                       "pragma_storage_info",
                                       "pragma_table_info",
                                       "pragma_version",
                                       "range",
                                       "repeat",
                                       "repeat_row",
                                       "summary",
                                       "unnest"};

static const char *const starters[] = {"select",    "from",     "with",   "values",
                                       "table",     "describe", "desc",   "show",
                                       "summarize", "pivot",    "unpivot"};

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

/*
 * What this lexer could read in another way than DuckDB's, so that a call would look like a text:
 * U& names, bytes beyond ASCII, and texts that go on in the next line (those of E'' go on with
 * their backslashes).
 */
static enum err_code
refuse_doubtful(struct slice sql, struct err *err)
{
    struct sql_token token = {.kind = SQL_TOKEN_SYMBOL};
    enum sql_token_kind last = SQL_TOKEN_END;

    for (size_t at = 0; token.kind != SQL_TOKEN_END;) {
        last = token.kind;
        at = sql_token_next(sql, at, &token);
        if (token.kind == SQL_TOKEN_UNICODE) {
            return err_set(err, ERR_INVALID, "U&\"...\" names and texts are not allowed here");
        }
        if (token.kind == SQL_TOKEN_FOREIGN) {
            return err_set(err, ERR_INVALID,
                           "a character beyond ASCII stands outside of quotes; write such names in "
                           "double quotes and blanks as blanks");
        }
        if (token.kind == SQL_TOKEN_STRING && last == SQL_TOKEN_STRING) {
            return err_set(err, ERR_INVALID,
                           "a text cannot be continued by another one; join them with ||");
        }
    }
    return ERR_OK;
}

/* What DuckDB reads as a file when it stands where a table's name does. */
static const char *const suffixes[] = {".parquet", ".json", ".jsonl", ".ndjson", ".geojson",
                                       ".csv",     ".tsv",  ".db",    ".ddb",    ".duckdb",
                                       ".avro",    ".xlsx", ".arrow", ".arrows"};

static bool
contains_nocase(struct slice text, const char *part)
{
    size_t len = strlen(part);

    for (size_t i = 0; i + len <= text.len; i++) {
        if (strncasecmp(text.ptr + i, part, len) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a quoted piece of the statement may hide a character behind its number. */
static bool
has_numbers(struct slice raw)
{
    for (size_t i = 0; i + 1 < raw.len; i++) {
        if (raw.ptr[i] == '\\' &&
            (strchr("xuU", raw.ptr[i + 1]) || isdigit((unsigned char)raw.ptr[i + 1]))) {
            return true;
        }
        i += raw.ptr[i] == '\\';
    }
    return false;
}

/*
 * DuckDB may read the files of the cold directory, for the views; by their own names they are not
 * for users (FROM '/.../x.parquet', "/.../x"."parquet"). A path into that directory has a slash, so
 * quoted pieces with a slash that end like a file, or go on behind a point, are refused.
 */
static enum err_code
refuse_paths(struct slice sql, struct err *err)
{
    struct sql_token token = {.kind = SQL_TOKEN_SYMBOL};
    bool path_before = false;

    for (size_t at = 0; token.kind != SQL_TOKEN_END;) {
        size_t from = sql_token_blanks(sql, at);
        at = sql_token_next(sql, at, &token);
        struct slice raw = slice_sub(sql, from < at ? from : at, from < at ? at - from : 0);
        bool quoted = token.kind == SQL_TOKEN_STRING ||
                      (token.kind == SQL_TOKEN_WORD && raw.len > 0 && raw.ptr[0] == '"');
        if (path_before && token.kind == SQL_TOKEN_SYMBOL && token.symbol == '.') {
            return err_set(err, ERR_INVALID, "files cannot be read here, only tables and views");
        }
        path_before = quoted && memchr(raw.ptr, '/', raw.len);
        if (token.kind == SQL_TOKEN_STRING && raw.ptr[0] != '\'' && raw.ptr[0] != '$' &&
            has_numbers(raw)) {
            return err_set(err, ERR_INVALID,
                           "write the character itself: E'' texts take no numbers of characters "
                           "here");
        }
        for (size_t i = 0; i < COUNT_OF(suffixes) && path_before; i++) {
            if (contains_nocase(raw, suffixes[i])) {
                return err_set(err, ERR_INVALID,
                               "files cannot be read here, only tables and views; a text with a "
                               "slash and \"%s\" counts as a file",
                               suffixes[i]);
            }
        }
    }
    return ERR_OK;
}

static bool
is_starter(const struct sql_token *token)
{
    if (token->kind == SQL_TOKEN_SYMBOL && token->symbol == '(') {
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(starters) && token->kind == SQL_TOKEN_WORD; i++) {
        if (strcmp(token->text, starters[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Skips EXPLAIN, ANALYZE and (options): what is explained must be allowed by itself. */
static size_t
skip_explain(struct slice sql, struct sql_token *token)
{
    size_t at = sql_token_next(sql, 0, token);

    if (token->kind != SQL_TOKEN_WORD || strcmp(token->text, "explain") != 0) {
        return at;
    }
    at = sql_token_next(sql, at, token);
    if (token->kind == SQL_TOKEN_SYMBOL && token->symbol == '(') {
        size_t options = at;
        struct sql_token option;
        options = sql_token_next(sql, options, &option);
        if (!is_starter(&option)) { /* otherwise a SELECT in parentheses */
            while (option.kind != SQL_TOKEN_END &&
                   (option.kind != SQL_TOKEN_SYMBOL || option.symbol != ')')) {
                options = sql_token_next(sql, options, &option);
            }
            return sql_token_next(sql, options, token);
        }
    }
    if (token->kind == SQL_TOKEN_WORD && strcmp(token->text, "analyze") == 0) {
        at = sql_token_next(sql, at, token);
    }
    return at;
}

static int
compare_names(const void *key, const void *element)
{
    return strcmp(key, *(char *const *)element);
}

static bool
is_refused(const char *name, char *const *refused)
{
    size_t count = 0;

    while (refused[count]) {
        count++;
    }
    return bsearch(name, refused, count, sizeof(*refused), compare_names) != NULL;
}

enum err_code
sql_guard_check(struct slice sql, char *const *refused, struct err *err)
{
    struct sql_token token;
    struct sql_token last = {.kind = SQL_TOKEN_END};
    size_t at = skip_explain(sql, &token);

    if (memchr(sql.ptr, '\0', sql.len)) {
        return err_set(err, ERR_INVALID, "the statement contains a NUL byte");
    }
    if (token.kind == SQL_TOKEN_END) {
        return err_set(err, ERR_INVALID, "the statement is empty; expected a SELECT");
    }
    if (!is_starter(&token)) {
        return err_set(err, ERR_INVALID,
                       "only reading statements are allowed (SELECT, WITH, FROM, VALUES, DESCRIBE, "
                       "SHOW, SUMMARIZE, EXPLAIN), not \"%s\"",
                       token.kind == SQL_TOKEN_WORD ? token.text : "this");
    }
    enum err_code code = refuse_doubtful(sql, err);
    code = code ? code : refuse_paths(sql, err);
    while (!code && token.kind != SQL_TOKEN_END) {
        bool call =
            token.kind == SQL_TOKEN_SYMBOL && token.symbol == '(' && last.kind == SQL_TOKEN_WORD;
        if (call && is_refused(last.text, refused)) {
            return err_set(err, ERR_INVALID, "the function %s is not allowed here", last.text);
        }
        last = token;
        at = sql_token_next(sql, at, &token);
    }
    return code;
}

bool
sql_guard_allows(struct slice function)
{
    for (size_t i = 0; i < COUNT_OF(harmless); i++) {
        if (slice_is(function, harmless[i])) {
            return true;
        }
    }
    return false;
}
