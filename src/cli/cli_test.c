/* The command line: parsing, messages, and the texts made from the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

enum { ARGS_MAX = 16 };

static char *const no_env[] = {NULL};

/* What a command line printed and how it ended. */
struct outcome {
    int status;
    char *out;
    char *err;
    size_t out_len;
    size_t err_len;
};

static struct outcome
run(const char *const *words)
{
    struct outcome outcome = {0};
    struct cli *cli = mem_zalloc(1, sizeof(*cli));
    char *argv[ARGS_MAX] = {mem_strdup(SLICE_LITERAL("eider"))};
    int argc = 1;

    for (; words[argc - 1]; argc++) {
        argv[argc] = mem_strdup(slice_of(words[argc - 1]));
    }
    cli->in = stdin;
    cli->out = open_memstream(&outcome.out, &outcome.out_len);
    cli->err = open_memstream(&outcome.err, &outcome.err_len);
    cli->env = no_env;
    outcome.status = cli_run(cli, argc, argv);
    fclose(cli->out);
    fclose(cli->err);
    free(cli);
    for (int i = 0; i < argc; i++) {
        free(argv[i]);
    }
    return outcome;
}

static void
forget(struct outcome *outcome)
{
    free(outcome->out);
    free(outcome->err);
}

static void
expect_failure(const char *const *words, int status, const char *message)
{
    struct outcome outcome = run(words);

    assert_string_equal(outcome.err, message);
    assert_string_equal(outcome.out, "");
    assert_int_equal(outcome.status, status);
    forget(&outcome);
}

static void
expect_output(const char *const *words, const char *part)
{
    struct outcome outcome = run(words);

    assert_string_equal(outcome.err, "");
    assert_int_equal(outcome.status, CLI_OK);
    if (!strstr(outcome.out, part)) {
        fail_msg("\"%s\" is not in:\n%s", part, outcome.out);
    }
    forget(&outcome);
}

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void
test_cli_suggests_the_nearest_command(void **state)
{
    (void)state;
    expect_failure(WORDS("exprot"), 2, "eider: unknown command \"exprot\"; did you mean export?\n");
    expect_failure(WORDS("xyzzy"), 2, "eider: unknown command \"xyzzy\"; see `eider --help`\n");
    expect_failure(WORDS("help", "serv"), 2,
                   "eider: unknown command \"serv\"; did you mean serve?\n");
    expect_failure((const char *const[]){NULL}, 2, "eider: no command; see `eider --help`\n");
}

static void
test_cli_suggests_the_nearest_option(void **state)
{
    (void)state;
    expect_failure(WORDS("serve", "--prot", "1"), 2,
                   "eider: serve: unknown option --prot; did you mean --port?\n");
    expect_failure(WORDS("import", "--dryrun"), 2,
                   "eider: import: unknown option --dryrun; did you mean --dry-run?\n");
    expect_failure(WORDS("version", "--port=1"), 2,
                   "eider: version: unknown option --port; see `eider version --help`\n");
    expect_failure(WORDS("sql", "-x"), 2,
                   "eider: sql: unknown option -x; see `eider sql --help`\n");
}

static void
test_cli_refuses_values_that_do_not_fit(void **state)
{
    (void)state;
    expect_failure(WORDS("sql", "--format", "xml", "SELECT 1"), 2,
                   "eider: sql: --format is \"xml\"; expected table, csv, json or ndjson\n");
    expect_failure(WORDS("sql", "--json=yes"), 2, "eider: sql: --json takes no value\n");
    expect_failure(WORDS("sql", "--url"), 2, "eider: sql: --url needs a value\n");
    expect_failure(WORDS("sql", "a", "b"), 2,
                   "eider: sql: unexpected argument \"b\"; it takes one\n");
    expect_failure(WORDS("check", "b"), 2,
                   "eider: check: unexpected argument \"b\"; it takes none\n");
    expect_failure(WORDS("sql", "--json", "--format=csv", "SELECT 1"), 2,
                   "eider: sql: --json and --format csv contradict each other\n");
    expect_failure(WORDS("sql", " "), 2, "eider: sql: the statement is empty; expected a SELECT\n");
    expect_failure(WORDS("config", "--set", "port"), 2,
                   "eider: config: --set is \"port\"; expected NAME=VALUE\n");
    expect_failure(WORDS("config", "--port", "x"), 2,
                   "eider: flag --port: server.port is \"x\"; expected a whole number from 0 to "
                   "65535\n");
    expect_failure(WORDS("completion", "csh"), 2,
                   "eider: completion: unknown shell \"csh\"; expected bash, zsh or fish\n");
}

static void
test_cli_import_and_export_say_what_is_missing(void **state)
{
    (void)state;
    expect_failure(WORDS("import"), 2, "eider: import: which file? see `eider import --help`\n");
    expect_failure(WORDS("import", "x", "--batch", "0"), 2,
                   "eider: import: --batch is \"0\"; expected a whole number from 1 to 1000000\n");
    expect_failure(WORDS("import", "x", "--table", "trade"), 2,
                   "eider: import: there is no table trade to write; did you mean trades?\n");
    expect_failure(WORDS("import", "x.csv", "--map", "a"), 2,
                   "eider: import: --map is \"a\"; expected COLUMN=SOURCE\n");
    expect_failure(WORDS("import", "--dry-run", "/dev/null"), 2,
                   "eider: import: the name /dev/null does not tell its format; expected --format "
                   "csv, parquet, ndjson, line or duckdb\n");
    expect_failure(WORDS("import", "--dry-run", "/nonexistent.csv"), 1,
                   "eider: cannot read /nonexistent.csv: No such file or directory\n");
    expect_failure(WORDS("import", "--dry-run", "/nonexistent"), 1,
                   "eider: cannot read /nonexistent: No such file or directory\n");
    expect_failure(WORDS("export"), 2, "eider: export: expected a table, or --sql SELECT\n");
    expect_failure(WORDS("export", "candle"), 2,
                   "eider: export: there is no table candle; did you mean candles?\n");
    expect_failure(WORDS("export", "candles", "--from", "soon"), 2,
                   "eider: export: --from is \"soon\"; expected a time such as 2026-01-31 or "
                   "2026-01-31T12:00:00Z\n");
    expect_failure(WORDS("export", "candles", "--from", "2026-02-01", "--to", "2026-01-01"), 2,
                   "eider: export: --from is 2026-02-01, behind --to 2026-01-01\n");
    expect_failure(WORDS("export", "xyzzy"), 2,
                   "eider: export: there is no table xyzzy; `eider sql 'SHOW TABLES'` lists "
                   "them\n");
    expect_failure(WORDS("export", "system_metrics", "--symbol", "A"), 2,
                   "eider: export: system_metrics has no column symbol\n");
    expect_failure(WORDS("export", "trades", "--format", "parquet"), 2,
                   "eider: export: Parquet needs a file; give --output\n");
    expect_failure(WORDS("export", "trades", "-o", "x.doc"), 2,
                   "eider: export: the name x.doc does not tell its format; expected --format "
                   "csv, ndjson, json or parquet\n");
}

static void
test_cli_does_not_make_a_data_directory_to_read_or_maintain(void **state)
{
    (void)state;
    expect_failure(WORDS("sql", "--data-dir", "/nonexistent/d", "SELECT 1"), 1,
                   "eider: no server runs and there is no data directory /nonexistent/d; start "
                   "`eider serve`, or give --data-dir or --url\n");
    expect_failure(WORDS("seal", "--data-dir", "/nonexistent/d"), 1,
                   "eider: no server runs and there is no data directory /nonexistent/d; start "
                   "`eider serve`, or give --data-dir or --url\n");
    expect_failure(WORDS("retention", "plan", "--data-dir", "/nonexistent/d"), 1,
                   "eider: no server runs and there is no data directory /nonexistent/d; start "
                   "`eider serve`, or give --data-dir or --url\n");
    expect_failure(WORDS("check", "--data-dir", "/nonexistent/d"), 1,
                   "eider: there is no data directory /nonexistent/d; give --data-dir or --url\n");
    expect_failure(WORDS("sql", "--data-dir", "/usr", "SELECT 1"), 1,
                   "eider: no server runs and /usr is no data directory of Eider; start `eider "
                   "serve`, or give --data-dir or --url\n");
    expect_failure(WORDS("check", "--data-dir", "/usr"), 1,
                   "eider: /usr is no data directory of Eider; give --data-dir or --url\n");
    expect_failure(WORDS("sql", "--url", "ftp://x", "SELECT 1"), 2,
                   "eider: --url is \"ftp://x\"; expected an address such as "
                   "http://127.0.0.1:8000\n");
}

static void
test_cli_helps_everywhere(void **state)
{
    const struct cli_command *command;

    (void)state;
    expect_output(WORDS("--help"), "Usage: eider COMMAND");
    expect_output(WORDS("help"), "Usage: eider COMMAND");
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        char usage[128];
        snprintf(usage, sizeof(usage), "Usage: eider %s %s\n", command->name, command->synopsis);
        expect_output(WORDS(command->name, "--help"), usage);
        expect_output(WORDS(command->name, "-h"), usage);
        expect_output(WORDS("help", command->name), usage);
    }
    expect_output(WORDS("serve", "--help"), "--ssl-certfile FILE");
    expect_output(WORDS("import", "--help"), "--setting NAME=VALUE");
    expect_output(WORDS("sql", "--help"), "--set NAME=VALUE");
    expect_output(WORDS("import", "--help"), "-m, --map COLUMN=SOURCE,...");
}

static void
test_cli_help_fits_a_terminal(void **state)
{
    const struct cli_command *command;

    (void)state;
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        struct buf text BUF_AUTO = {0};
        buf_init(&text, 0);
        cli_help_text(command, &text);
        struct slice rest = buf_slice(&text);
        while (rest.len > 0) {
            struct slice line;
            slice_split(&rest, '\n', &line);
            if (line.len > 100) {
                fail_msg("%s: %.*s", command->name, SLICE_FMT(line));
            }
        }
    }
}

static void
test_cli_prints_versions_and_settings(void **state)
{
    (void)state;
    expect_output(WORDS("version"), "eider     " EIDER_VERSION "\n");
    expect_output(WORDS("--version"), "duckdb    v");
    expect_output(WORDS("version", "--json"), "{\"eider\":\"" EIDER_VERSION "\"");
    expect_output(WORDS("config", "--port=1", "--set", "sql.rows_max=5", "--demo"),
                  "flag --port\n");
    expect_output(WORDS("config", "--json", "--setting", "sql.rows_max=5"),
                  "\"sql.rows_max\":{\"value\":5,\"layer\":\"flag\"");
    expect_output(WORDS("config", "--markdown"), "| `server.port` | `8000` | `--port` ");
    expect_output(WORDS("config", "--access-log=no"), "server.access_log ");
}

static void
test_cli_man_pages_escape_what_troff_reads(void **state)
{
    const struct cli_command *command;

    (void)state;
    expect_output(WORDS("man"), ".SH NAME\neider \\- ");
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        struct buf text BUF_AUTO = {0};
        buf_init(&text, 0);
        cli_man_page(command, &text);
        struct slice rest = buf_slice(&text);
        while (rest.len > 0) {
            struct slice line;
            slice_split(&rest, '\n', &line);
            /* A request is a point and two capitals or one; anything else would vanish. */
            if (line.len > 1 && line.ptr[0] == '.' && !(line.ptr[1] >= 'A' && line.ptr[1] <= 'Z')) {
                fail_msg("%s: %.*s", command->name, SLICE_FMT(line));
            }
        }
    }
    expect_output(WORDS("man", "sql"), "\\eq ends it");
    expect_output(WORDS("man", "serve"), "\\fB\\-\\-ssl\\-certfile\\fR");
}

static void
test_cli_completion_knows_every_command_and_option(void **state)
{
    const struct cli_command *command;

    (void)state;
    for (size_t s = 0; cli_shells[s]; s++) {
        struct buf text BUF_AUTO = {0};
        struct err err = {0};
        buf_init(&text, 0);
        assert_int_equal(cli_completion(cli_shells[s], &text, &err), ERR_OK);
        buf_add_char(&text, '\0');
        for (size_t i = 0; (command = cli_command_at(i)); i++) {
            assert_non_null(strstr(text.ptr, command->name));
            for (const struct cli_option *o = command->options; o->name; o++) {
                assert_non_null(strstr(text.ptr, o->name));
            }
        }
        assert_non_null(strstr(text.ptr, "ssl-keyfile"));
        assert_non_null(strstr(text.ptr, "debug info warning error"));
    }
}

static void
test_cli_table_is_consistent(void **state)
{
    const struct cli_command *command;

    (void)state;
    for (size_t i = 0; (command = cli_command_at(i)); i++) {
        assert_ptr_equal(cli_command_find(command->name), command);
        assert_non_null(command->run);
        assert_non_null(command->examples);
        for (const struct cli_option *o = command->options; o->name; o++) {
            assert_true(!o->choices || o->arg);
            assert_int_not_equal(strlen(o->help), 0);
            for (const struct cli_option *other = command->options; other < o; other++) {
                assert_string_not_equal(other->name, o->name);
                assert_true(!o->letter || o->letter != other->letter);
            }
        }
    }
    assert_null(cli_command_find("nothing"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_suggests_the_nearest_command),
        cmocka_unit_test(test_cli_suggests_the_nearest_option),
        cmocka_unit_test(test_cli_refuses_values_that_do_not_fit),
        cmocka_unit_test(test_cli_import_and_export_say_what_is_missing),
        cmocka_unit_test(test_cli_does_not_make_a_data_directory_to_read_or_maintain),
        cmocka_unit_test(test_cli_helps_everywhere),
        cmocka_unit_test(test_cli_help_fits_a_terminal),
        cmocka_unit_test(test_cli_prints_versions_and_settings),
        cmocka_unit_test(test_cli_man_pages_escape_what_troff_reads),
        cmocka_unit_test(test_cli_completion_knows_every_command_and_option),
        cmocka_unit_test(test_cli_table_is_consistent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
