/*
 * eider spend: its actions, and what they share.
 *
 * One thread.
 */
#ifndef EIDER_CLI_SPEND_H
#define EIDER_CLI_SPEND_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/client.h"

struct spend {
    struct cli *cli;
    struct client *client; /* NULL for what needs no server */
    bool json;
    int status;
};

enum err_code spend_quote(struct spend *spend, struct err *err);
enum err_code spend_prices(struct spend *spend, struct err *err);
enum err_code spend_check_prices(struct spend *spend, struct err *err);

/* Asks the server; method NULL and body NULL: GET. The body is freed, the answer the caller's. */
enum err_code spend_ask(struct spend *spend, const char *method, const char *path, json_t *body,
                        json_t **ret_answer, struct err *err);

/* Prints an answer as it came, for --json. */
enum err_code spend_print_json(const struct spend *spend, const json_t *answer, struct err *err);

#endif
