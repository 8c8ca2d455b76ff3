/*
 * What the tests of sealing share: a DuckDB store in a directory of its own, rows put in and
 * compared as text, days sealed, files counted. What fails fails the test. Test support.
 */
#ifndef EIDER_STORE_DUCKDB_SEAL_TESTING_H
#define EIDER_STORE_DUCKDB_SEAL_TESTING_H

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include "store/cold.h"
#include "store/store.h"

/* Samples of two days, in the order of time. */
#define PLACE_TWO_DAYS "1|10|1.5\n2|20|2.5\n1|86400000010|3.5\n"

enum { PLACE_PATH_BYTES = 512 };

struct place {
    char dir[PLACE_PATH_BYTES];
    char path[PLACE_PATH_BYTES];
    struct store *store;
    uint64_t lsn;
    size_t lost; /* files that an open missed */
};

/* The fixture of each test. */
int place_setup(void **state);
int place_teardown(void **state);

/* Opens the store at place->path; closes it before. */
void place_open(struct place *place);
void place_reopen(struct place *place);

void place_cold_dir(const struct place *place, char ret_path[PLACE_PATH_BYTES]);

/* Applies lines of rows as one group. */
void place_put(struct place *place, enum table_id table, const char *lines);

/* Compares all rows of a table, or the answer of a statement. */
void place_expect(struct place *place, enum table_id table, const char *lines);
void place_expect_sql(struct place *place, const char *sql, const char *lines);

/* The answer of a statement that may fail. */
enum err_code place_ask(struct place *place, const char *sql, char *ret_text, size_t size,
                        struct err *err);

/* The first half of a sealing; both; both, of a day. */
struct store_sealing *place_begin(struct place *place, const struct store_seal *seal);
struct store_seal_result place_seal(struct place *place, const struct store_seal *what);
void place_seal_day(struct place *place, enum table_id table, int32_t day, bool merge);

/* The listed raw files of a table. */
size_t place_raw_files(struct place *place, enum table_id table, struct cold_file *ret_files);

/* Files in the cold directory, in their places and in tmp; files that are listed. */
size_t place_files_on_disk(const struct place *place);
size_t place_listed(struct place *place);

#endif
