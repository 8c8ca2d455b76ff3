/*
 * The part of eider check for a store that is no file: PostgreSQL is asked what it is and what it
 * has applied; of the memory store there is nothing but the log and its copy. Changes nothing.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/check.h"
#include "schema/schema.h"
#include "server/open_schema.h"

enum { IDENTITY_MAX = 64 };

static enum err_code
query(const struct schema_session *session, const char *sql, struct batch *ret_rows,
      struct err *err)
{
    return session->db.ops->query(session->db.ctx, sql, ret_rows, err);
}

/* Which database the log belongs to; "" when it has known none yet. */
static void
read_known(const struct check *check, char ret_text[IDENTITY_MAX])
{
    char path[FILES_PATH_MAX];
    ssize_t len = 0;

    snprintf(path, sizeof(path), "%.4000s/database", check->config->data_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = read(fd, ret_text, IDENTITY_MAX - 1);
        close(fd);
    }
    ret_text[len > 0 ? len : 0] = '\0';
    ret_text[strcspn(ret_text, "\n")] = '\0';
}

static void
compare_identity(struct check *check, const struct batch *rows)
{
    char known[IDENTITY_MAX];
    char is[IDENTITY_MAX] = "";

    read_known(check, known);
    if (rows->rows == 1) {
        slice_to_cstr(batch_get_text(rows, 0, 0), is, sizeof(is));
    }
    if (!known[0] || strcmp(known, is) == 0) {
        return;
    }
    bool empty = check->applied_lsn == 0;
    struct finding *finding =
        check_add(check, "DATABASE_OTHER", empty ? SEVERITY_WARNING : SEVERITY_ERROR,
                  "database: PostgreSQL has the database %s, and the log belongs to %s", is, known);
    snprintf(finding->meaning, sizeof(finding->meaning), "%s",
             empty ? "It is empty: the next start fills it from the log."
                   : "Another data directory has written to it: the server does not start.");
    snprintf(finding->remedy, sizeof(finding->remedy),
             "does nothing: see storage.postgres, and docs/postgres.md.");
}

static enum err_code
ask(struct check *check, const struct schema_session *session, struct err *err)
{
    struct schema_status status;
    struct batch applied BATCH_AUTO = {0};
    struct batch identity BATCH_AUTO = {0};
    enum err_code code = schema_status(&session->db, &status, err);

    if (code != ERR_OK) {
        return code;
    }
    check->schema_version = status.version;
    check->schema_newest = status.newest;
    if (status.problem.code) {
        check_add(check, "DATABASE_STRANGE", SEVERITY_ERROR, "database: %.400s",
                  status.problem.msg);
        return ERR_OK;
    }
    if (status.version == 0) {
        return ERR_OK; /* the next start makes the tables */
    }
    code = query(session, "SELECT coalesce(max(lsn), 0) FROM eider_applied", &applied, err);
    code = code ? code : query(session, "SELECT id FROM eider_database", &identity, err);
    if (code == ERR_OK && applied.rows == 1) {
        check->applied_lsn = (uint64_t)batch_get_i64(&applied, 0, 0);
        check->has_database = true;
        compare_identity(check, &identity);
    }
    return code;
}

/* Records that PostgreSQL has and the log has not: the log was lost, or is an old copy. */
static void
compare_log(struct check *check)
{
    if (check->log_damaged || check->applied_lsn <= check->durable_lsn) {
        return;
    }
    struct finding *finding =
        check_add(check, "LOG_OLDER", SEVERITY_WARNING,
                  "PostgreSQL has record %" PRIu64 " and the log ends at %" PRIu64,
                  check->applied_lsn, check->durable_lsn);
    snprintf(finding->meaning, sizeof(finding->meaning),
             "The log was lost, or is an old copy. What PostgreSQL has stays.");
    snprintf(finding->remedy, sizeof(finding->remedy),
             "does nothing: the next start goes on behind what PostgreSQL has.");
}

void
check_postgres(struct check *check)
{
    struct schema_session *session = NULL;
    struct err err = {0};
    enum err_code code = server_schema_open(check->config, false, &session, &err);

    if (code == ERR_OK) {
        snprintf(check->where, sizeof(check->where), "%s", session->db.where);
        code = ask(check, session, &err);
    }
    schema_session_close(session);
    if (code == ERR_OK) {
        compare_log(check);
        return;
    }
    snprintf(check->database_problem, sizeof(check->database_problem), "%s", err.msg);
    struct finding *finding = check_add(check, "DATABASE_AWAY", SEVERITY_ERROR,
                                        "database: PostgreSQL was not checked: %.400s", err.msg);
    snprintf(finding->meaning, sizeof(finding->meaning),
             "What it has cannot be compared with the log. A server acknowledges writes all the "
             "same, as far as the log may grow.");
    snprintf(finding->remedy, sizeof(finding->remedy),
             "does nothing: start PostgreSQL, or mend storage.postgres, and check again.");
}
