/*
 * Which statements of users may reach the server at all. The READ ONLY transaction keeps rows as
 * they are; what it does not keep from happening (files, other sessions, settings, statements in
 * texts) is refused here by name, wherever the name stands.
 */
#include <ctype.h>
#include <string.h>

#include "store/postgres/pg.h"

enum { WORD_MAX = 64, TAG_MAX = 64 };

static const char *const beginnings[] = {"select", "with", "values", "table", "explain", "show"};

/* Ends in '*': every name that begins so. */
static const char *const refused[] = {"pg_read_*",
                                      "pg_ls_*",
                                      "pg_stat_file",
                                      "pg_file_*",
                                      "pg_logdir_ls",
                                      "lo_*",
                                      "loread",
                                      "lowrite",
                                      "dblink*",
                                      "postgres_fdw*",
                                      "set_config",
                                      "pg_terminate_backend",
                                      "pg_cancel_backend",
                                      "pg_reload_conf",
                                      "pg_rotate_logfile*",
                                      "pg_advisory_*",
                                      "pg_try_advisory_*",
                                      "pg_switch_wal",
                                      "pg_create_*",
                                      "pg_drop_*",
                                      "pg_copy_*",
                                      "pg_logical_*",
                                      "pg_replication_*",
                                      "pg_promote",
                                      "pg_backup_*",
                                      "pg_start_*",
                                      "pg_stop_*",
                                      "pg_notify",
                                      "pg_export_snapshot",
                                      "pg_authid",
                                      "pg_shadow",
                                      "pg_user_mapping*",
                                      "pg_largeobject",
                                      "pg_hba_file_rules",
                                      "query_to_xml*",
                                      "cursor_to_xml*",
                                      "database_to_xml*",
                                      "schema_to_xml*",
                                      "table_to_xml*",
                                      "ts_stat",
                                      "ts_rewrite",
                                      "crosstab*",
                                      "connectby",
                                      "pg_sleep*",
                                      "into",
                                      "pg_import_system_collations",
                                      "pg_stat_reset*",
                                      "pg_wal_replay_*",
                                      "pg_execute_server_program",
                                      "pg_log_backend_memory_contexts"};

/* The end of "$tag$...$tag$", or `at` when none begins there. */
static size_t
skip_dollar(struct slice sql, size_t at)
{
    size_t end = at + 1;

    while (end < sql.len && (isalnum((unsigned char)sql.ptr[end]) || sql.ptr[end] == '_')) {
        end++;
    }
    if (end >= sql.len || sql.ptr[end] != '$' ||
        (end > at + 1 && isdigit((unsigned char)sql.ptr[at + 1]))) {
        return at;
    }
    size_t len = end + 1 - at;
    for (size_t i = end + 1; i + len <= sql.len; i++) {
        if (memcmp(sql.ptr + i, sql.ptr + at, len) == 0) {
            return i + len;
        }
    }
    return sql.len;
}

/* The end of a quoted text or name; doubled quotes stand for themselves. */
static size_t
skip_quoted(struct slice sql, size_t at, bool escapes)
{
    char quote = sql.ptr[at];
    size_t i = at + 1;

    while (i < sql.len) {
        if (escapes && sql.ptr[i] == '\\') {
            i += 2;
        } else if (sql.ptr[i] != quote) {
            i++;
        } else if (i + 1 < sql.len && sql.ptr[i + 1] == quote) {
            i += 2;
        } else {
            return i + 1;
        }
    }
    return sql.len;
}

/* The end of a comment in slash and asterisk; they nest. */
static size_t
skip_comment(struct slice sql, size_t at)
{
    unsigned depth = 0;
    size_t i = at;

    while (i + 1 < sql.len) {
        if (sql.ptr[i] == '/' && sql.ptr[i + 1] == '*') {
            depth++;
            i += 2;
        } else if (sql.ptr[i] == '*' && sql.ptr[i + 1] == '/') {
            i += 2;
            if (--depth == 0) {
                return i;
            }
        } else {
            i++;
        }
    }
    return sql.len;
}

/* E'...' has escapes; the letter belongs to it only when no name ends there. */
static bool
has_escapes(struct slice sql, size_t at)
{
    return at > 0 && (sql.ptr[at - 1] == 'e' || sql.ptr[at - 1] == 'E') &&
           (at == 1 || !(isalnum((unsigned char)sql.ptr[at - 2]) || sql.ptr[at - 2] == '_'));
}

size_t
pg_guard_skip(struct slice sql, size_t at)
{
    char c = sql.ptr[at];
    char next = at + 1 < sql.len ? sql.ptr[at + 1] : '\0';

    if (c == '\'') {
        return skip_quoted(sql, at, has_escapes(sql, at));
    }
    if (c == '"') {
        return skip_quoted(sql, at, false);
    }
    if (c == '$' &&
        (at == 0 || !(isalnum((unsigned char)sql.ptr[at - 1]) || sql.ptr[at - 1] == '_'))) {
        return skip_dollar(sql, at);
    }
    if (c == '/' && next == '*') {
        return skip_comment(sql, at);
    }
    if (c == '-' && next == '-') {
        const char *end = memchr(sql.ptr + at, '\n', sql.len - at);
        return end ? (size_t)(end - sql.ptr) + 1 : sql.len;
    }
    return at;
}

static bool
matches(const char *word, const char *pattern)
{
    size_t len = strlen(pattern);

    return pattern[len - 1] == '*' ? strncmp(word, pattern, len - 1) == 0
                                   : strcmp(word, pattern) == 0;
}

static enum err_code
check_word(const char *word, bool first, struct err *err)
{
    if (first) {
        for (size_t i = 0; i < sizeof(beginnings) / sizeof(*beginnings); i++) {
            if (strcmp(word, beginnings[i]) == 0) {
                return ERR_OK;
            }
        }
        return err_set(err, ERR_INVALID,
                       "only SELECT, WITH, VALUES, TABLE, EXPLAIN and SHOW are allowed, not %s",
                       word);
    }
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        if (matches(word, refused[i])) {
            return err_set(err, ERR_INVALID, "%s is not allowed here", word);
        }
    }
    return ERR_OK;
}

static bool
is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (c & 0x80);
}

/* Copies a word in lower case, as the server would read it; a longer one than any that is refused
 * is cut. */
static void
copy_word(struct slice sql, size_t from, size_t to, char ret_word[WORD_MAX])
{
    size_t len = to - from < WORD_MAX - 1 ? to - from : WORD_MAX - 1;

    for (size_t i = 0; i < len; i++) {
        ret_word[i] = (char)tolower((unsigned char)sql.ptr[from + i]);
    }
    ret_word[len] = '\0';
}

enum err_code
pg_guard_check(struct slice sql, struct err *err)
{
    char word[WORD_MAX];
    bool first = true;
    size_t at = 0;

    if (memchr(sql.ptr, '\0', sql.len)) {
        return err_set(err, ERR_INVALID, "the statement holds U+0000");
    }
    while (at < sql.len) {
        size_t end = pg_guard_skip(sql, at);
        bool name = end > at && sql.ptr[at] == '"';
        if (name && at >= 2 && sql.ptr[at - 1] == '&') {
            return err_set(err, ERR_INVALID, "names in U&\"...\" are not allowed");
        }
        if (name) {
            copy_word(sql, at + 1, end - 1 > at ? end - 1 : end, word);
        } else if (end == at && is_word_char(sql.ptr[at])) {
            while (end < sql.len && is_word_char(sql.ptr[end])) {
                end++;
            }
            copy_word(sql, at, end, word);
        } else {
            at = end > at ? end : at + 1;
            continue;
        }
        enum err_code code = check_word(word, first, err);
        if (code) {
            return code;
        }
        first = false;
        at = end;
    }
    return first ? err_set(err, ERR_INVALID, "the statement is empty") : ERR_OK;
}
