/* What the files of the contract suite share: the store under test, and shorthand for its calls. */
#ifndef EIDER_STORE_CONTRACT_PRIVATE_H
#define EIDER_STORE_CONTRACT_PRIVATE_H

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include "store/contract.h"

enum { CONTRACT_PATH_MAX = 256, CONTRACT_BATCHES_MAX = 4 };

/* One store in a directory of its own, opened before each case. */
struct contract_store {
    const struct store_contract *contract;
    char dir[CONTRACT_PATH_MAX];
    char path[CONTRACT_PATH_MAX];
    struct store *store;
    uint64_t lsn; /* of the last group */
};

int contract_setup(void **state);
int contract_teardown(void **state);

/* Closes and opens again. */
void contract_reopen(struct contract_store *at);

/* Applies rows of one table as a group with the next LSN. */
void contract_put(struct contract_store *at, enum table_id table, const char *lines);

/* The same for rows of several tables (or of one, several times), in one group. */
struct contract_part {
    enum table_id table;
    const char *lines;
};
enum err_code contract_try_group(struct contract_store *at, uint64_t first_lsn, uint64_t last_lsn,
                                 const struct contract_part *parts, size_t count, struct err *err);
void contract_put_group(struct contract_store *at, const struct contract_part *parts, size_t count);

/* Seals every day of the store that has hot rows; days with files of before are merged by turns. */
void contract_seal(struct store *store);

/* Everything of a table, no bounds. */
struct store_scan contract_all(enum table_id table);

/* Fails the test unless a scan gives these rows. */
void contract_expect_scan(struct contract_store *at, const struct store_scan *scan,
                          const char *lines);
void contract_expect(struct contract_store *at, enum table_id table, const char *lines);
void contract_expect_bucket(struct contract_store *at, const struct store_bucket *bucket,
                            const char *lines);
void contract_expect_latest(struct contract_store *at, enum table_id table, const char *lines);

int contract_run_apply(void);
int contract_run_read(void);
int contract_run_visit(void);

#endif
