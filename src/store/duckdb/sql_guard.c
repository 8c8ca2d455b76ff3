/*
 * A tokeniser for what matters here: words, quoted names, strings and comments, told apart as
 * DuckDB (PostgreSQL's lexer) does. A call is a name with an opening parenthesis behind it. DuckDB
 * takes many of Unicode's blanks for blanks, so bytes beyond ASCII are for quotes and comments
 * only.
 */
#include "store/duckdb/sql_guard.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_BYTES = 128 };

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_STRING, TOKEN_SYMBOL, TOKEN_UNICODE, TOKEN_FOREIGN };

struct token {
    enum token_kind kind;
    char text[NAME_MAX_BYTES]; /* TOKEN_WORD: lower case, without quotes; cut when longer */
    char symbol;
};

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

static bool
is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

/* Skips a block comment, which nests. */
static size_t
skip_block(struct slice sql, size_t at)
{
    size_t depth = 0;

    while (at < sql.len) {
        if (sql.ptr[at] == '/' && at + 1 < sql.len && sql.ptr[at + 1] == '*') {
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
    return at;
}

static size_t
skip_blanks(struct slice sql, size_t at)
{
    while (at < sql.len) {
        bool two = at + 1 < sql.len;
        if (isspace((unsigned char)sql.ptr[at])) {
            at++;
        } else if (two && sql.ptr[at] == '-' && sql.ptr[at + 1] == '-') {
            while (at < sql.len && sql.ptr[at] != '\n' && sql.ptr[at] != '\r') {
                at++;
            }
        } else if (two && sql.ptr[at] == '/' && sql.ptr[at + 1] == '*') {
            at = skip_block(sql, at);
        } else {
            break;
        }
    }
    return at;
}

/* Adds a byte in lower case, unless the name is full. */
static void
put(char *dst, size_t *used, char c)
{
    if (*used + 1 < NAME_MAX_BYTES) {
        dst[(*used)++] = (char)tolower((unsigned char)c);
        dst[*used] = '\0';
    }
}

/* A quoted run that starts at `at`; the quote doubled stands for itself, and in E'' strings a
 * backslash takes the next byte. Returns where it ends. */
static size_t
read_quoted(struct slice sql, size_t at, bool escapes, struct token *token)
{
    char quote = sql.ptr[at++];
    size_t used = 0;

    token->kind = quote == '"' ? TOKEN_WORD : TOKEN_STRING;
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
static size_t
next_token(struct slice sql, size_t at, struct token *token)
{
    *token = (struct token){.kind = TOKEN_END};
    at = skip_blanks(sql, at);
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
        token->kind = TOKEN_UNICODE;
        return at + 2;
    }
    if (c & 0x80) {
        token->kind = TOKEN_FOREIGN;
        return at + 1;
    }
    if (c == '$') {
        size_t end = skip_dollar(sql, at);
        if (end > at) {
            token->kind = TOKEN_STRING;
            return end;
        }
    }
    if (is_word_char(c)) {
        size_t used = 0;
        token->kind = TOKEN_WORD;
        while (at < sql.len && is_word_char(sql.ptr[at])) {
            put(token->text, &used, sql.ptr[at++]);
        }
        return at;
    }
    token->kind = TOKEN_SYMBOL;
    token->symbol = c;
    return at + 1;
}

/*
 * What this lexer could read in another way than DuckDB's, so that a call would look like a text:
 * U& names, bytes beyond ASCII, and texts that go on in the next line (those of E'' go on with
 * their backslashes).
 */
static enum err_code
refuse_doubtful(struct slice sql, struct err *err)
{
    struct token token = {.kind = TOKEN_SYMBOL};
    enum token_kind last = TOKEN_END;

    for (size_t at = 0; token.kind != TOKEN_END;) {
        last = token.kind;
        at = next_token(sql, at, &token);
        if (token.kind == TOKEN_UNICODE) {
            return err_set(err, ERR_INVALID, "U&\"...\" names and texts are not allowed here");
        }
        if (token.kind == TOKEN_FOREIGN) {
            return err_set(err, ERR_INVALID,
                           "a character beyond ASCII stands outside of quotes; write such names in "
                           "double quotes and blanks as blanks");
        }
        if (token.kind == TOKEN_STRING && last == TOKEN_STRING) {
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
    struct token token = {.kind = TOKEN_SYMBOL};
    bool path_before = false;

    for (size_t at = 0; token.kind != TOKEN_END;) {
        size_t from = skip_blanks(sql, at);
        at = next_token(sql, at, &token);
        struct slice raw = slice_sub(sql, from < at ? from : at, from < at ? at - from : 0);
        bool quoted = token.kind == TOKEN_STRING ||
                      (token.kind == TOKEN_WORD && raw.len > 0 && raw.ptr[0] == '"');
        if (path_before && token.kind == TOKEN_SYMBOL && token.symbol == '.') {
            return err_set(err, ERR_INVALID, "files cannot be read here, only tables and views");
        }
        path_before = quoted && memchr(raw.ptr, '/', raw.len);
        if (token.kind == TOKEN_STRING && raw.ptr[0] != '\'' && raw.ptr[0] != '$' &&
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
is_starter(const struct token *token)
{
    if (token->kind == TOKEN_SYMBOL && token->symbol == '(') {
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(starters) && token->kind == TOKEN_WORD; i++) {
        if (strcmp(token->text, starters[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Skips EXPLAIN, ANALYZE and (options): what is explained must be allowed by itself. */
static size_t
skip_explain(struct slice sql, struct token *token)
{
    size_t at = next_token(sql, 0, token);

    if (token->kind != TOKEN_WORD || strcmp(token->text, "explain") != 0) {
        return at;
    }
    at = next_token(sql, at, token);
    if (token->kind == TOKEN_SYMBOL && token->symbol == '(') {
        size_t options = at;
        struct token option;
        options = next_token(sql, options, &option);
        if (!is_starter(&option)) { /* otherwise a SELECT in parentheses */
            while (option.kind != TOKEN_END &&
                   (option.kind != TOKEN_SYMBOL || option.symbol != ')')) {
                options = next_token(sql, options, &option);
            }
            return next_token(sql, options, token);
        }
    }
    if (token->kind == TOKEN_WORD && strcmp(token->text, "analyze") == 0) {
        at = next_token(sql, at, token);
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
    struct token token;
    struct token last = {.kind = TOKEN_END};
    size_t at = skip_explain(sql, &token);

    if (memchr(sql.ptr, '\0', sql.len)) {
        return err_set(err, ERR_INVALID, "the statement contains a NUL byte");
    }
    if (token.kind == TOKEN_END) {
        return err_set(err, ERR_INVALID, "the statement is empty; expected a SELECT");
    }
    if (!is_starter(&token)) {
        return err_set(err, ERR_INVALID,
                       "only reading statements are allowed (SELECT, WITH, FROM, VALUES, DESCRIBE, "
                       "SHOW, SUMMARIZE, EXPLAIN), not \"%s\"",
                       token.kind == TOKEN_WORD ? token.text : "this");
    }
    enum err_code code = refuse_doubtful(sql, err);
    code = code ? code : refuse_paths(sql, err);
    while (!code && token.kind != TOKEN_END) {
        bool call = token.kind == TOKEN_SYMBOL && token.symbol == '(' && last.kind == TOKEN_WORD;
        if (call && is_refused(last.text, refused)) {
            return err_set(err, ERR_INVALID, "the function %s is not allowed here", last.text);
        }
        last = token;
        at = next_token(sql, at, &token);
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
