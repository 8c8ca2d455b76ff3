/*
 * The suite that every implementation of the store's vtable passes; test support, called by the
 * store_*_test.c beside each implementation. Rows travel as text here, one line a row, cells
 * between bars, "-" for NULL: "1000|AAPL|10.5|-|-|0|0|0".
 */
#ifndef EIDER_STORE_CONTRACT_H
#define EIDER_STORE_CONTRACT_H

#include "store/engine.h"

struct store_contract {
    const char *name;
    store_open_fn *open;
    bool durable; /* a store that is closed and opened again has its rows */
    bool sql;
    bool remote;         /* its files are somebody else's: no snapshots, no memory limit */
    int64_t time_min_us; /* the earliest time that it has; 0: any */
    bool seals;          /* every closed day is sealed behind each group; the store has cold data */
};

/* Runs all cases and returns how many failed. */
int store_contract_run(const struct store_contract *contract);

/* Fills a new batch of a table from lines of rows. Texts are kept. */
void contract_fill(struct batch *batch, enum table_id table, const char *lines);

/* Writes an answer in the same form. */
void contract_dump(const struct batch *rows, struct buf *ret_text);

/* Compares an answer with lines of rows; takes it. */
void contract_expect_rows(struct batch *rows, const char *lines);

/* Applies lines of rows as record `lsn`; fails the test when the store does not take them. */
void contract_apply(struct store *store, uint64_t lsn, enum table_id table, const char *lines);

#endif
