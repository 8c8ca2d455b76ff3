/* The commands that only print: config, version, help, completion, man. */
#include <curl/curl.h>
#include <jansson.h>
#include <string.h>

#include "cli/cli.h"
#include "store/duckdb/duckdb_reader.h"

static int
print(struct cli *cli, const struct buf *text)
{
    struct err err = {0};

    return cli_write(cli, text, &err) == ERR_OK ? CLI_OK : cli_fail(cli, &err);
}

int
cli_config(struct cli *cli)
{
    struct config config CONFIG_AUTO = {0};
    struct buf text BUF_AUTO = {0};
    struct err err = {0};

    buf_init(&text, 0);
    if (cli_has(cli, "markdown")) {
        config_reference(&text);
        return print(cli, &text);
    }
    if (cli_load_config(cli, true, &config, &err) != ERR_OK) {
        return cli_fail(cli, &err);
    }
    if (cli_has(cli, "json")) {
        config_show_json(&config, &text);
    } else {
        config_show(&config, &text);
    }
    return print(cli, &text);
}

int
cli_version(struct cli *cli)
{
    struct {
        const char *name;
        const char *value;
    } facts[] = {
        {"eider", EIDER_VERSION},
        {"duckdb", store_duckdb_library_version()},
        {"libcurl", curl_version_info(CURLVERSION_NOW)->version},
        {"jansson", jansson_version_str()},
#ifdef __clang__
        {"compiler", "clang " __clang_version__},
#else
        {"compiler", "gcc " __VERSION__},
#endif
#ifdef __OPTIMIZE__
        {"build", EIDER_SANITIZED ? "optimised, sanitized" : "optimised"},
#else
        {"build", EIDER_SANITIZED ? "debug, sanitized" : "debug"},
#endif
    };
    struct buf text BUF_AUTO = {0};
    bool json = cli_has(cli, "json");

    buf_init(&text, 0);
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        if (json) {
            buf_add_fmt(&text, "%s\"%s\":\"%s\"", i ? "," : "{", facts[i].name, facts[i].value);
        } else {
            buf_add_fmt(&text, "%-10s%s\n", facts[i].name, facts[i].value);
        }
    }
    buf_add_cstr(&text, json ? "}\n" : "");
    return print(cli, &text);
}

/* The command that is the argument; false (with *ret_status) when it is none. */
static bool
find_argument(struct cli *cli, const struct cli_command **ret_command, int *ret_status)
{
    struct err err = {0};

    *ret_command = cli->arg_count ? cli_command_find(cli->args[0]) : NULL;
    if (cli->arg_count && !*ret_command) {
        char *const argv[] = {NULL, NULL};
        struct cli other = {0};
        /* The parser has the words for it. */
        char name[128];
        snprintf(name, sizeof(name), "%s", cli->args[0]);
        char *const again[] = {argv[0], name, NULL};
        cli_parse(&other, 2, again, &err);
        *ret_status = cli_fail(cli, &err);
        return false;
    }
    return true;
}

int
cli_help(struct cli *cli)
{
    const struct cli_command *command;
    struct buf text BUF_AUTO = {0};
    int status;

    buf_init(&text, 0);
    if (cli_has(cli, "markdown")) {
        cli_markdown(&text);
    } else if (!find_argument(cli, &command, &status)) {
        return status;
    } else {
        cli_help_text(command, &text);
    }
    return print(cli, &text);
}

int
cli_man(struct cli *cli)
{
    const struct cli_command *command;
    struct buf text BUF_AUTO = {0};
    int status;

    buf_init(&text, 0);
    if (!find_argument(cli, &command, &status)) {
        return status;
    }
    cli_man_page(command, &text);
    return print(cli, &text);
}

int
cli_completion_command(struct cli *cli)
{
    struct buf text BUF_AUTO = {0};
    struct err err = {0};

    buf_init(&text, 0);
    if (cli->arg_count == 0) {
        err_set(&err, ERR_USAGE, "completion: which shell? expected bash, zsh or fish");
        return cli_fail(cli, &err);
    }
    if (cli_completion(cli->args[0], &text, &err) != ERR_OK) {
        return cli_fail(cli, &err);
    }
    return print(cli, &text);
}
