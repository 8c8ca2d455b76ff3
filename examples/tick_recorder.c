/*
 * Records ticks of standard input in a data directory of its own, without a server:
 *
 *   tick_recorder DATA_DIR < ticks
 *
 * A line is "SYMBOL PRICE [MICROSECONDS]"; without a time it is now. Lines are gathered into one
 * append of up to a hundred, which is durable when it is acknowledged. Prints the rows recorded and
 * the last LSN. Exit status: 0 all lines were recorded, 1 anything else.
 */
#include <eider/eider.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GATHERED = 100 };

/* Adds a line to the set; false, with a word on standard error, when it is none. */
static bool
add_tick(struct eider_rows *rows, const char *line)
{
    char symbol[64];
    double price;
    int64_t time_us = EIDER_NOW;

    if (sscanf(line, "%63s %lf %" SCNd64, symbol, &price, &time_us) < 2) {
        fprintf(stderr, "not a tick: %s", line);
        return false;
    }
    /* What is wrong with a value shows at the end of the row. */
    eider_row_begin(rows, "market_data");
    eider_row_time(rows, "timestamp", time_us);
    eider_row_text(rows, "symbol", symbol, strlen(symbol));
    eider_row_f64(rows, "last_price", price);
    if (eider_row_end(rows) != EIDER_OK) {
        fprintf(stderr, "%s\n", eider_rows_error(rows)->message);
        return false;
    }
    return true;
}

static bool
flush_rows(struct eider_db *db, struct eider_rows *rows, uint64_t *total, uint64_t *last_lsn)
{
    struct eider_receipt receipt;
    struct eider_error error;

    if (eider_rows_count(rows) == 0) {
        return true;
    }
    if (eider_append_rows(db, rows, &receipt, &error) != EIDER_OK) {
        fprintf(stderr, "%s\n", error.message);
        return false;
    }
    *total += receipt.accepted;
    *last_lsn = receipt.lsn;
    return true;
}

int
main(int argc, char **argv)
{
    struct eider_options options = {.data_dir = argc == 2 ? argv[1] : NULL};
    struct eider_error error;
    struct eider_db *db;
    char line[256];
    uint64_t total = 0;
    uint64_t last_lsn = 0;
    bool good = true;

    if (argc != 2) {
        fprintf(stderr, "usage: %s DATA_DIR < ticks\n", argv[0]);
        return 1;
    }
    if (eider_open(&options, &db, &error) != EIDER_OK) {
        fprintf(stderr, "%s: %s\n", eider_status_name(error.status), error.message);
        return 1;
    }
    struct eider_rows *rows = eider_rows_new();
    while (good && fgets(line, sizeof(line), stdin)) {
        good = add_tick(rows, line);
        if (eider_rows_count(rows) == GATHERED) {
            good = flush_rows(db, rows, &total, &last_lsn) && good;
        }
    }
    good = flush_rows(db, rows, &total, &last_lsn) && good;
    eider_rows_free(rows);
    eider_close(db);
    printf("%" PRIu64 " rows, LSN %" PRIu64 "\n", total, last_lsn);
    return good ? 0 : 1;
}
