/* eider spend quote, prices, check-prices: what calls cost by which book. */
#include <string.h>
#include <sys/stat.h>

#include "cli/import_source.h"
#include "cli/json_table.h"
#include "cli/spend.h"
#include "meter/price.h"

enum { PARAMS_MAX = 32, PARAM_NAME_MAX = 64 };

static const struct json_column book_columns[] = {
    {"book", "book", COL_TEXT},
    {"api", "api", COL_TEXT},
    {"version", "version", COL_INT64},
    {"in force from", "effective_from", COL_TIMESTAMP},
    {"active", "active", COL_TEXT},
    {"source", "source", COL_TEXT},
    {0},
};

static const struct json_column rule_columns[] = {
    {"book", "^book", COL_TEXT},
    {"version", "^version", COL_INT64},
    {"rule", "name", COL_TEXT},
    {"matches", "match", COL_TEXT},
    {"when", "when", COL_TEXT},
    {"credits", "credits", COL_TEXT},
    {"at most", "max", COL_TEXT},
    {"a failed call", "on_failure", COL_TEXT},
    {0},
};

/* The books, and below them their rules in the order they are tried. */
static enum err_code
print_books(struct spend *spend, const json_t *books, struct err *err)
{
    struct batch rows;
    json_t *book;
    json_t *rule;
    size_t i;
    size_t k;

    json_table_init(&rows, book_columns);
    json_array_foreach(books, i, book)
    {
        json_table_add(&rows, book_columns, NULL, book);
    }
    enum err_code code = json_table_print(spend->cli, &rows, "no price books", err);
    if (code != ERR_OK || json_array_size(books) == 0) {
        return code;
    }
    fputc('\n', spend->cli->out);
    json_table_init(&rows, rule_columns);
    json_array_foreach(books, i, book)
    {
        json_array_foreach(json_object_get(book, "rules"), k, rule)
        {
            json_table_add(&rows, rule_columns, book, rule);
        }
    }
    return json_table_print(spend->cli, &rows, "no rules", err);
}

enum err_code
spend_prices(struct spend *spend, struct err *err)
{
    json_t *answer;
    enum err_code code = spend_ask(spend, NULL, "/api/v1/spend/prices", NULL, &answer, err);

    if (code == ERR_OK) {
        code = spend->json ? spend_print_json(spend, answer, err)
                           : print_books(spend, json_object_get(answer, "books"), err);
        json_decref(answer);
    }
    return code;
}

/* ---- what a call would cost ---- */

static enum err_code
add_params(const struct cli *cli, json_t *body, struct err *err)
{
    const char *texts[PARAMS_MAX];
    size_t count = cli_all_values(cli, "param", texts, PARAMS_MAX);
    json_t *params = json_object();

    json_object_set_new(body, "params", params);
    for (size_t i = 0; i < count; i++) {
        struct slice value = slice_of(texts[i]);
        struct slice name;
        char key[PARAM_NAME_MAX];
        if (!slice_split(&value, '=', &name) || !slice_to_cstr(name, key, sizeof(key)) || !key[0]) {
            return err_set(err, ERR_USAGE,
                           "spend: --param is \"%.60s\"; expected NAME=VALUE, such as candles=5000",
                           texts[i]);
        }
        /* A number is one, anything else a text. */
        json_t *number = json_loadb(value.ptr, value.len, JSON_DECODE_ANY, NULL);
        if (!json_is_number(number)) {
            json_decref(number);
            number = json_stringn(value.ptr, value.len);
        }
        json_object_set_new(params, key, number);
    }
    return ERR_OK;
}

enum err_code
spend_quote(struct spend *spend, struct err *err)
{
    static const char *const members[][2] = {
        {"api", "api_name"}, {"endpoint", "endpoint"}, {"method", "method"}, {"query", "query"}};
    static const struct json_column columns[] = {
        {"credits", "credits", COL_DECIMAL}, {"rule", "price_rule", COL_TEXT}, {0}};
    struct batch rows;
    json_t *answer;

    if (!cli_value(spend->cli, "api")) {
        return err_set(err, ERR_USAGE,
                       "spend quote: of which API? give --api NAME, and --endpoint PATH");
    }
    json_t *body = json_object();
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const char *value = cli_value(spend->cli, members[i][0]);
        if (value) {
            json_object_set_new(body, members[i][1], json_string(value));
        }
    }
    enum err_code code = add_params(spend->cli, body, err);
    if (code != ERR_OK) {
        json_decref(body);
        return code;
    }
    code = spend_ask(spend, NULL, "/api/v1/spend/quote", body, &answer, err);
    if (code != ERR_OK) {
        return code;
    }
    if (spend->json) {
        code = spend_print_json(spend, answer, err);
    } else {
        json_table_init(&rows, columns);
        json_table_add(&rows, columns, NULL, answer);
        code = json_table_print(spend->cli, &rows, "", err);
    }
    json_decref(answer);
    return code;
}

/* ---- files, without a server ---- */

static enum err_code
load_path(const char *path, struct prices **ret_prices, struct err *err)
{
    struct import_bytes bytes;
    struct stat info;

    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        return prices_load_dir(path, ret_prices, err);
    }
    enum err_code code = import_bytes_open(path, &bytes, err);
    if (code == ERR_OK) {
        code = prices_load_text(path, bytes.text, ret_prices, err);
        import_bytes_close(&bytes);
    }
    return code;
}

/* Every file is looked at; what is wrong with each stands on standard error. */
enum err_code
spend_check_prices(struct spend *spend, struct err *err)
{
    struct cli *cli = spend->cli;
    json_t *all = json_array();

    for (size_t i = 1; i < cli->arg_count; i++) {
        struct prices *prices;
        struct err problem = {0};
        if (load_path(cli->args[i], &prices, &problem) != ERR_OK) {
            cli_note(cli, "%s", problem.msg);
            spend->status = CLI_FAILED;
            continue;
        }
        struct buf text BUF_AUTO = {0};
        buf_init(&text, 0);
        prices_write_json(prices, &text);
        json_t *books = json_loadb(text.ptr, text.len, 0, NULL);
        json_array_extend(all, books);
        json_decref(books);
        prices_unref(prices);
    }
    enum err_code code = ERR_OK;
    if (spend->json) {
        json_t *answer = json_pack("{s:b, s:O}", "ok", spend->status == CLI_OK, "books", all);
        code = spend_print_json(spend, answer, err);
        json_decref(answer);
    } else if (spend->status == CLI_OK) {
        code = print_books(spend, all, err);
    }
    json_decref(all);
    return code;
}
