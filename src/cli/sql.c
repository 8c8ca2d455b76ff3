/* eider sql: one statement, standard input, or a prompt. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/rows.h"
#include "cli/target.h"

enum { STATEMENT_BYTES_MAX = 1 << 20 };

struct session {
    struct cli *cli;
    struct target target;
    enum rows_format format;
};

static enum err_code
run_statement(struct session *session, const char *sql, struct err *err)
{
    struct rows_writer writer = {.out = session->cli->out, .format = session->format};
    struct batch rows;
    bool truncated = false;
    enum err_code code = target_sql(&session->target, sql, &rows, &truncated, err);

    if (code != ERR_OK) {
        return code;
    }
    code = rows_write(&writer, &rows, err);
    if (code == ERR_OK) {
        code = rows_end(&writer, err);
    }
    if (code == ERR_OK && truncated) {
        cli_note(session->cli,
                 "only the first %zu rows are shown; sql.rows_max is the limit, `eider export` has "
                 "none",
                 rows.rows);
    }
    batch_fini(&rows);
    return code;
}

/* Reads all of standard input. */
static enum err_code
read_statement(struct cli *cli, struct buf *ret_sql, struct err *err)
{
    char chunk[4096];
    size_t got;

    while ((got = fread(chunk, 1, sizeof(chunk), cli->in)) > 0) {
        buf_add(ret_sql, chunk, got);
        if (ret_sql->overflow) {
            return err_set(err, ERR_USAGE, "sql: the statement is larger than %d bytes",
                           STATEMENT_BYTES_MAX);
        }
    }
    if (ferror(cli->in)) {
        return err_sys(err, errno, "cannot read standard input");
    }
    return ERR_OK;
}

static void
print_prompt(struct session *session, bool begun)
{
    fputs(begun ? "    -> " : "eider> ", session->cli->out);
    fflush(session->cli->out);
}

/* One line of the prompt that is for us, not SQL. True when it was one; *ret_end ends the prompt.
 */
static bool
run_meta(struct session *session, struct slice line, bool *ret_end)
{
    static const char help[] = "End a statement with ; and Enter.\n"
                               "  \\d   list the tables\n"
                               "  \\q   quit (also Ctrl-D)\n";
    struct err err = {0};

    *ret_end = slice_is(line, "\\q") || slice_is(line, "quit") || slice_is(line, "exit");
    if (*ret_end) {
        return true;
    }
    if (slice_is(line, "\\?") || slice_is(line, "help")) {
        fputs(help, session->cli->out);
        return true;
    }
    if (slice_is(line, "\\d")) {
        if (run_statement(session,
                          "SELECT table_name, column_name, data_type FROM "
                          "information_schema.columns ORDER BY table_name, ordinal_position",
                          &err) != ERR_OK) {
            cli_fail(session->cli, &err);
        }
        return true;
    }
    return false;
}

static int
run_prompt(struct session *session)
{
    struct buf sql BUF_AUTO = {0};
    char *line = NULL;
    size_t cap = 0;
    bool end = false;

    buf_init(&sql, STATEMENT_BYTES_MAX);
    fprintf(session->cli->out, "eider %s, %s. \\? for help.\n", EIDER_VERSION,
            session->target.client ? client_url(session->target.client)
                                   : session->target.config->data_dir);
    while (!end) {
        print_prompt(session, sql.len > 0);
        ssize_t len = getline(&line, &cap, session->cli->in);
        if (len < 0) {
            fputc('\n', session->cli->out);
            break;
        }
        struct slice text = slice_trim(slice_make(line, (size_t)len));
        if (text.len == 0 || (sql.len == 0 && run_meta(session, text, &end))) {
            continue;
        }
        buf_add_slice(&sql, text);
        buf_add_char(&sql, '\n');
        if (slice_ends(text, ";")) {
            struct err err = {0};
            buf_add_char(&sql, '\0');
            if (sql.overflow) {
                err_set(&err, ERR_USAGE, "the statement is larger than %d bytes",
                        STATEMENT_BYTES_MAX);
                cli_fail(session->cli, &err);
            } else if (run_statement(session, sql.ptr, &err) != ERR_OK) {
                cli_fail(session->cli, &err);
            }
            buf_reset(&sql);
        }
    }
    free(line);
    return CLI_OK;
}

static enum err_code
choose_format(struct cli *cli, enum rows_format *ret_format, struct err *err)
{
    const char *format = cli_value(cli, "format");

    *ret_format = ROWS_TABLE;
    if (cli_has(cli, "json")) {
        if (format && strcmp(format, "json") != 0) {
            return err_set(err, ERR_USAGE, "sql: --json and --format %s contradict each other",
                           format);
        }
        format = "json";
    }
    if (format) {
        rows_parse_format(format, ret_format);
    }
    return ERR_OK;
}

int
cli_sql(struct cli *cli)
{
    struct session session = {.cli = cli};
    struct config config CONFIG_AUTO = {0};
    struct buf sql BUF_AUTO = {0};
    struct err err = {0};
    int status = CLI_OK;

    buf_init(&sql, STATEMENT_BYTES_MAX);
    bool prompt = cli->arg_count == 0 && cli->in_is_terminal;
    enum err_code code = choose_format(cli, &session.format, &err);
    if (code == ERR_OK && cli->arg_count > 0) {
        buf_add_cstr(&sql, cli->args[0]);
    } else if (code == ERR_OK && !prompt) {
        code = read_statement(cli, &sql, &err);
    }
    if (code == ERR_OK && !prompt && slice_trim(buf_slice(&sql)).len == 0) {
        code = err_set(&err, ERR_USAGE, "sql: the statement is empty; expected a SELECT");
    }
    buf_add_char(&sql, '\0');
    if (code == ERR_OK) {
        code = cli_load_config(cli, false, &config, &err);
    }
    if (code == ERR_OK) {
        code = target_open(cli, &config, TARGET_READ, &session.target, &err);
    }
    if (code == ERR_OK) {
        if (prompt) {
            status = run_prompt(&session);
        } else {
            code = run_statement(&session, sql.ptr, &err);
        }
        target_close(&session.target);
    }
    return code == ERR_OK ? status : cli_fail(cli, &err);
}
