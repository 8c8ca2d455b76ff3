/*
 * eider eventlog: its actions, one file or two each, and what they share.
 *
 * One thread.
 */
#ifndef EIDER_CLI_EVENTLOG_H
#define EIDER_CLI_EVENTLOG_H

#include "cli/ledger.h"

/* The program of the original: --operation. Returns the exit status. */
int eventlog_operation(struct cli *cli);

/* The actions. The ledger is open for reading, or for writing where the table of eventlog.c says
 * so; config is its. *ret_status is the exit status when the action itself did not fail. */
struct eventlog {
    struct cli *cli;
    const struct config *config;
    struct ledger ledger;
    int status;
};

enum err_code eventlog_list(struct eventlog *log, struct err *err);
enum err_code eventlog_stats(struct eventlog *log, struct err *err);
enum err_code eventlog_head(struct eventlog *log, struct err *err);
enum err_code eventlog_import(struct eventlog *log, struct err *err);
enum err_code eventlog_verify(struct eventlog *log, struct err *err);
enum err_code eventlog_check_proof(struct cli *cli, const char *path, struct err *err);
enum err_code eventlog_reprice(struct eventlog *log, struct err *err);
enum err_code eventlog_reconcile(struct eventlog *log, struct err *err);

/* --api-name, --endpoint, --method, --status, --run, --key, --project, --success, --failed, --from,
 * --to. ERR_USAGE. */
enum err_code eventlog_filter(const struct cli *cli, struct ledger_filter *ret_filter,
                              struct err *err);

/* A time given with an option; INT64_MIN..MAX `preset` when it was not. */
enum err_code eventlog_time(const struct cli *cli, const char *option, int64_t preset,
                            int64_t *ret_us, struct err *err);

#endif
