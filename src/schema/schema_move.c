/*
 * Up and down, one step a transaction. What is to be done is decided inside the transaction, behind
 * the lock: another program may have done it since we looked.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "codec/time.h"
#include "schema/schema_internal.h"

enum { SQL_BYTES = 1024, SHOWN_BYTES = 60 };

static const struct clock *
clock_of(const struct schema_db *db)
{
    return db->clock ? db->clock : clock_system();
}

/* The version to end at, and whether it lies the right way. */
static enum err_code
find_target(const struct schema_db *db, const struct schema_move *move,
            const struct schema_status *status, uint32_t *ret_to, struct err *err)
{
    uint32_t at = status->version;
    uint32_t to = move->to;

    if (!move->has_to) {
        to = !move->down ? status->newest : at > 0 ? at - 1 : 0;
    }
    if (to > status->newest) {
        return err_set(err, ERR_INVALID,
                       "there is no version %" PRIu32 ": %s has versions 0 to %" PRIu32, to,
                       db->list ? "the list" : "this program", status->newest);
    }
    if (move->has_to && (move->down ? to > at : to < at)) {
        return err_set(err, ERR_INVALID,
                       "the database is at version %" PRIu32 ", which is %s %" PRIu32
                       ": \"eider migrate schema %s --to %" PRIu32 "\" goes there",
                       at, move->down ? "below" : "above", to, move->down ? "up" : "down", to);
    }
    *ret_to = to;
    return ERR_OK;
}

/* The step from version `at` towards `to`, or NULL at the end. */
static const struct schema_migration *
next_step(const struct schema_db *db, bool down, uint32_t at, uint32_t to)
{
    if (down) {
        return at > to ? schema_find(db, at) : NULL;
    }
    return at < to ? schema_find(db, at + 1) : NULL;
}

/* A statement that changes nothing and refuses a step back that would lose rows; such stand first
 * in a file. */
static bool
is_guard(const char *statement)
{
    struct slice text = slice_of(statement);

    return slice_starts(text, "SELECT CASE WHEN count(*) > 0 THEN error(") ||
           slice_starts(text, "DO $$\nBEGIN\n    IF EXISTS (SELECT FROM");
}

/* Receipts tell what retention dropped; no other rows may be lost knowingly. */
static bool
is_waived(const struct schema_move *move, const char *statement)
{
    return move->drop_receipts && is_guard(statement) && strstr(statement, "retention_receipts");
}

static enum err_code
name_statement(const char *statement, size_t at, size_t count, enum err_code code, struct err *err)
{
    size_t len = strcspn(statement, "\n(");

    return err_context(err, code, "statement %zu of %zu (%.*s)", at + 1, count,
                       (int)(len < SHOWN_BYTES ? len : SHOWN_BYTES), statement);
}

static enum err_code
name_step(const struct schema_migration *step, bool down, enum err_code code, struct err *err)
{
    return err_context(err, code, "migration %" PRIu32 " %s, %s", step->version, step->name,
                       down ? "down" : "up");
}

static enum err_code
run_guards(const struct schema_db *db, const struct schema_move *move,
           const struct schema_migration *step, struct err *err)
{
    for (size_t i = 0; i < step->down_count; i++) {
        const char *statement = step->down[i];
        if (is_guard(statement) && !is_waived(move, statement)) {
            enum err_code code = db->ops->exec(db->ctx, statement, err);
            if (code) {
                name_statement(statement, i, step->down_count, code, err);
                return name_step(step, true, code, err);
            }
        }
    }
    return ERR_OK;
}

/* What a later step refuses is refused before the first one: what that drops does not come back. */
static enum err_code
run_all_guards(const struct schema_db *db, const struct schema_move *move, uint32_t at, uint32_t to,
               struct err *err)
{
    const struct schema_migration *step;
    enum err_code code = ERR_OK;

    while (!code && (step = next_step(db, true, at, to))) {
        code = run_guards(db, move, step, err);
        at--;
    }
    return code;
}

static enum err_code
run_statements(const struct schema_db *db, const struct schema_move *move,
               const struct schema_migration *step, struct err *err)
{
    bool down = move->down;
    const char *const *statements = down ? step->down : step->up;
    size_t count = down ? step->down_count : step->up_count;

    for (size_t i = 0; i < count; i++) {
        if (down && is_waived(move, statements[i])) {
            continue;
        }
        enum err_code code = db->ops->exec(db->ctx, statements[i], err);
        if (code) {
            return name_statement(statements[i], i, count, code, err);
        }
    }
    return ERR_OK;
}

/* Names and checksums come from the embedded lists: letters, digits and underscores. */
static enum err_code
write_row(const struct schema_db *db, const struct schema_migration *step, bool down,
          int64_t last_us, int64_t execution_ms, struct err *err)
{
    int64_t now_us = clock_wall_us(clock_of(db));
    char at[TIME_TEXT_MAX];
    struct buf sql BUF_AUTO;

    /* The order of the rows is that of their times, also when the clock went back. */
    time_format_iso8601(now_us > last_us ? now_us : last_us + 1, at);
    buf_init(&sql, SQL_BYTES);
    buf_add_fmt(&sql,
                "INSERT INTO " SCHEMA_LEDGER
                " (version, name, checksum, applied_at, execution_ms, status) VALUES (%" PRIu32
                ", '%s', '%s', TIMESTAMP '%s', %" PRId64 ", '%s')",
                step->version, step->name, step->checksum, at, execution_ms,
                down ? "rolled_back" : "applied");
    buf_add_char(&sql, '\0');
    assert(!sql.overflow);
    enum err_code code = ERR_OK;
    if (!down) {
        code = db->ops->exec(db->ctx, schema_dialect_text(db->dialect)->ledger, err);
    }
    code = code ? code : db->ops->exec(db->ctx, sql.ptr, err);
    return code ? err_context(err, code, "writing the ledger " SCHEMA_LEDGER) : ERR_OK;
}

static enum err_code
run_step(const struct schema_db *db, const struct schema_move *move,
         const struct schema_migration *step, int64_t last_us, int64_t *ret_ms, struct err *err)
{
    bool down = move->down;
    int64_t start_us = clock_mono_us(clock_of(db));

    enum err_code code = run_statements(db, move, step, err);
    if (!code && !down && step->version == 1) {
        code = schema_adopt(db, err);
    }
    *ret_ms = (clock_mono_us(clock_of(db)) - start_us) / 1000;
    code = code ? code : write_row(db, step, down, last_us, *ret_ms, err);
    code = code ? code : db->ops->commit(db->ctx, err);
    return code ? name_step(step, down, code, err) : ERR_OK;
}

/* One transaction; *ret_more is whether it did a step. */
static enum err_code
move_once(const struct schema_db *db, const struct schema_move *move, bool first, uint32_t *to,
          bool *ret_more, struct err *err)
{
    const char *lock = schema_dialect_text(db->dialect)->lock;
    const struct schema_migration *step = NULL;
    struct schema_status status;
    int64_t last_us;
    int64_t execution_ms = 0;

    enum err_code code = db->ops->begin(db->ctx, err);
    if (code) {
        return code;
    }
    code = lock ? db->ops->exec(db->ctx, lock, err) : ERR_OK;
    code = code ? code : schema_ledger_read(db, &status, &last_us, err);
    if (!code && status.problem.code) {
        code = err_set(err, status.problem.code, "%s", status.problem.msg);
    }
    if (!code && first) {
        code = find_target(db, move, &status, to, err);
        if (!code && move->down) {
            code = run_all_guards(db, move, status.version, *to, err);
        }
    }
    if (!code) {
        step = next_step(db, move->down, status.version, *to);
    }
    if (step) {
        code = run_step(db, move, step, last_us, &execution_ms, err);
    }
    if (code || !step) {
        db->ops->rollback(db->ctx);
    } else if (move->step) {
        move->step(move->step_ctx, step, !move->down, execution_ms);
    }
    *ret_more = step != NULL;
    return code;
}

static enum err_code
rehearse(const struct schema_db *db, const struct schema_move *move, struct err *err)
{
    const struct schema_migration *step;
    struct schema_status status;
    int64_t last_us;
    uint32_t to = 0;

    enum err_code code = schema_ledger_read(db, &status, &last_us, err);
    if (!code && status.problem.code) {
        code = err_set(err, status.problem.code, "%s", status.problem.msg);
    }
    code = code ? code : find_target(db, move, &status, &to, err);
    for (uint32_t at = status.version; !code && (step = next_step(db, move->down, at, to));) {
        if (move->step) {
            move->step(move->step_ctx, step, !move->down, -1);
        }
        code = move->down ? run_guards(db, move, step, err) : ERR_OK;
        at = move->down ? at - 1 : at + 1;
    }
    return code;
}

enum err_code
schema_move(const struct schema_db *db, const struct schema_move *move, struct err *err)
{
    enum err_code code = ERR_OK;
    bool more = true;
    uint32_t to = 0;

    if (move->dry_run) {
        code = rehearse(db, move, err);
    }
    for (int i = 0; i <= SCHEMA_VERSIONS_MAX && more && !code && !move->dry_run; i++) {
        code = move_once(db, move, i == 0, &to, &more, err);
    }
    return code ? err_context(err, code, "%s", db->where) : ERR_OK;
}
