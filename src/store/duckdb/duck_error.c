/* What DuckDB's errors mean to us. */
#include "store/duckdb/duck.h"

#include <string.h>

/* DuckDB reports a full disk as an IO or as a transaction error; the text of errno tells. */
static bool
is_no_space(const char *message)
{
    return strstr(message, "No space left on device") || strstr(message, "File too large") ||
           strstr(message, "Disk quota exceeded");
}

static bool
is_io(const char *message)
{
    return strstr(message, "Could not write") || strstr(message, "Could not read") ||
           strstr(message, "Could not sync") || strstr(message, "fsync failed") ||
           strstr(message, "Cannot open file");
}

/* A checkpoint waits for the transactions that began before a change of the catalogue was
 * committed, such as those of backups beside sealing. Nothing is wrong with the database. */
static bool
is_busy(const char *message)
{
    return strstr(message, "Cannot CHECKPOINT: there are other") != NULL;
}

static enum err_code
code_of_apply(duckdb_error_type type, const char *message)
{
    if (is_no_space(message) || type == DUCKDB_ERROR_OUT_OF_MEMORY) {
        return ERR_NO_SPACE;
    }
    if (is_busy(message)) {
        return ERR_BUSY;
    }
    switch ((int)type) {
    case DUCKDB_ERROR_IO:
        return ERR_IO;
    case DUCKDB_ERROR_INTERRUPT:
        return ERR_TIMEOUT;
    case DUCKDB_ERROR_CONSTRAINT:
    case DUCKDB_ERROR_CONVERSION:
    case DUCKDB_ERROR_OUT_OF_RANGE:
        return ERR_INVALID;
    default:
        return is_io(message) ? ERR_IO : ERR_INTERNAL;
    }
}

static enum err_code
code_of_read(enum duck_side side, duckdb_error_type type, const char *message)
{
    if (side == DUCK_SIDE_READ && is_no_space(message)) {
        return ERR_NO_SPACE;
    }
    switch ((int)type) {
    case DUCKDB_ERROR_IO:
        return ERR_IO;
    case DUCKDB_ERROR_INTERRUPT:
        return ERR_TIMEOUT;
    case DUCKDB_ERROR_OUT_OF_MEMORY:
        return ERR_TOO_LARGE;
    case DUCKDB_ERROR_INTERNAL:
        return ERR_INTERNAL;
    default:
        return side == DUCK_SIDE_USER ? ERR_INVALID : ERR_INTERNAL;
    }
}

/* Prepare and pending results carry no type, only DuckDB's prefix; a text that a user's statement
 * chose stands behind another prefix. An internal error of a read need not end the database:
 * duck_select looks. */
static bool
is_fatal(enum duck_side side, duckdb_error_type type, const char *message)
{
    if (type == DUCKDB_ERROR_FATAL || slice_starts(slice_of(message), "FATAL Error")) {
        return true;
    }
    return side == DUCK_SIDE_APPLY &&
           (type == DUCKDB_ERROR_INTERNAL || strstr(message, "FATAL Error") ||
            strstr(message, "INTERNAL Error"));
}

/* A block whose checksum is wrong or that is not there: the handle lives, but the file is no good.
 * The prefix is DuckDB's own; a text that a statement raises has another. */
static bool
is_damaged(const char *message)
{
    struct slice text = slice_of(message);

    return slice_starts(text, "IO Error: Corrupt database file") ||
           slice_starts(text, "IO Error: Could not read enough bytes from file");
}

/* What DuckDB says of a cold file says nothing of the database. */
static bool
is_of_cold_file(const char *message)
{
    return strstr(message, ".parquet\"") || strstr(message, ".parquet'");
}

/* What a failed prepare says by its message alone. */
static duckdb_error_type
type_of_message(const char *message)
{
    static const struct {
        const char *prefix;
        duckdb_error_type type;
    } known[] = {{"INTERRUPT Error", DUCKDB_ERROR_INTERRUPT},
                 {"Out of Memory Error", DUCKDB_ERROR_OUT_OF_MEMORY},
                 {"IO Error", DUCKDB_ERROR_IO},
                 {"INTERNAL Error", DUCKDB_ERROR_INTERNAL}};

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (slice_starts(slice_of(message), known[i].prefix)) {
            return known[i].type;
        }
    }
    return DUCKDB_ERROR_INVALID;
}

/* A statement that failed before it ran is told of as one that was run in vain; why it failed
 * stands behind that. */
static const char *
unwrap(const char *message)
{
    static const char vain[] = "Invalid Input Error: Attempting to execute an unsuccessful or "
                               "closed pending query result\nError: ";

    return slice_starts(slice_of(message), vain) ? message + sizeof(vain) - 1 : message;
}

/* The second line of a message, when it proposes names that are there. */
static struct slice
proposal_of(const char *message)
{
    const char *end = message + strcspn(message, "\n");
    const char *next = end + strspn(end, "\n");
    struct slice line = slice_trim(slice_make(next, strcspn(next, "\n")));
    bool proposes = slice_starts(line, "Did you mean ") || slice_starts(line, "Candidate ");

    return proposes ? line : slice_make(next, 0);
}

enum err_code
duck_fail(struct duck_store *duck, enum duck_side side, duckdb_error_type type, const char *message,
          struct err *err)
{
    enum err_code code;

    message = unwrap(message && *message ? message : "DuckDB failed without a reason");
    type = type == DUCKDB_ERROR_INVALID || type == DUCKDB_ERROR_INVALID_INPUT
               ? type_of_message(message)
               : type;
    if (is_of_cold_file(message) && side == DUCK_SIDE_READ && type != DUCKDB_ERROR_FATAL &&
        !is_no_space(message)) {
        code = ERR_IO;
    } else if (is_damaged(message)) {
        code = ERR_CORRUPT;
    } else if (is_fatal(side, type, message)) {
        atomic_store(&duck->broken, true);
        code = side == DUCK_SIDE_APPLY ? ERR_CORRUPT : ERR_UNAVAILABLE;
    } else if (side == DUCK_SIDE_APPLY) {
        code = code_of_apply(type, message);
    } else {
        code = code_of_read(side, type, message);
    }
    struct slice line = slice_trim(slice_make(message, strcspn(message, "\n")));
    bool exhausted = side != DUCK_SIDE_APPLY && code == ERR_TOO_LARGE;
    atomic_fetch_add(&duck->queries_out_of_memory, exhausted);
    struct slice proposal = side == DUCK_SIDE_USER ? proposal_of(message) : slice_of("");
    if (proposal.len > 0) {
        return err_set(err, code, "%.*s %.*s", SLICE_FMT(line), SLICE_FMT(proposal));
    }
    return err_set(err, code, "%.*s%s", SLICE_FMT(line),
                   exhausted ? "; more memory than storage.duckdb.memory_limit or "
                               "server.memory_max leave: ask of fewer rows, or in another way "
                               "(docs/sql.md)"
                             : "");
}

enum err_code
duck_fail_result(struct duck_store *duck, enum duck_side side, duckdb_result *result,
                 struct err *err)
{
    return duck_fail(duck, side, duckdb_result_error_type(result), duckdb_result_error(result),
                     err);
}

enum err_code
duck_run_count(struct duck_store *duck, const char *sql, uint64_t *ret_rows, struct err *err)
{
    duckdb_result result;
    enum err_code code = ERR_OK;

    if (duckdb_query(duck->writer, sql, &result) != DuckDBSuccess) {
        code = duck_fail_result(duck, DUCK_SIDE_APPLY, &result, err);
    } else {
        *ret_rows = duckdb_rows_changed(&result);
    }
    duckdb_destroy_result(&result);
    return code;
}

enum err_code
duck_run(struct duck_store *duck, const char *sql, struct err *err)
{
    duckdb_result result;
    enum err_code code = ERR_OK;

    if (duckdb_query(duck->writer, sql, &result) != DuckDBSuccess) {
        code = duck_fail_result(duck, DUCK_SIDE_APPLY, &result, err);
    }
    duckdb_destroy_result(&result);
    return code;
}
