/*
 * One import: what the command line asked for, and what has happened to each file so far. Shared by
 * the files of `eider import`.
 *
 * Ownership: a job lives for the command; results own their texts. One thread.
 */
#ifndef EIDER_CLI_IMPORT_JOB_H
#define EIDER_CLI_IMPORT_JOB_H

#include "cli/import_plan.h"
#include "cli/import_sink.h"
#include "cli/import_source.h"
#include "cli/progress.h"

enum {
    IMPORT_BATCH_ROWS = 10000,
    IMPORT_BATCH_BYTES = 16 << 20, /* a batch ends early over it */
    IMPORT_ERRORS_MAX = 20,
    IMPORT_KEY_MAX = 80
};

struct import_options {
    bool has_format;
    enum import_format format;
    bool skip_bad_rows;
    bool dry_run;
    bool json;
    int64_t batch_rows;
    char delimiter; /* 0: guess */
    enum ingest_precision precision;
    const char *source_table;
};

struct import_error {
    uint64_t row; /* line of the file, or row of the table */
    char field[SINK_FIELD_MAX];
    char value[SINK_VALUE_MAX];
    char expected[SINK_EXPECTED_MAX];
    bool is_message; /* `expected` says all of it */
};

/* A file, or one table of a database. */
struct import_result {
    char *name;                        /* "stocks.csv", "old.duckdb:trades" */
    const struct catalog_table *table; /* NULL for line protocol */
    bool begun; /* table and mapping are settled; without that there is nothing to report */
    bool has_plan;
    struct plan plan;
    size_t source_count; /* the file's columns, copied for the report */
    char **sources;
    uint64_t rows_read;
    uint64_t rows_written;
    uint64_t rows_rejected;
    uint64_t rows_replayed; /* of the written: had been written before */
    double seconds;
    size_t error_count;
    struct import_error errors[IMPORT_ERRORS_MAX];
};

struct import_job {
    struct cli *cli;
    const struct config *config;
    struct target *target; /* NULL: dry run */
    struct plan_wishes wishes;
    struct import_options options;
    size_t result_count;
    struct import_result *results;
    uint64_t batches; /* written to append-only tables; part of their idempotency keys */
};

/* Starts the report of one file; the pointer is good until the next call. */
struct import_result *import_result_add(struct import_job *job, const char *file,
                                        const char *table);
void import_results_fini(struct import_job *job);

/* Notes a wrong row; only the first ones are kept. */
void import_note_error(struct import_result *result, uint64_t row, struct slice field,
                       struct slice value, const char *expected);

/* The same for a row that could not even be taken apart; the message says all of it. */
void import_note_message(struct import_result *result, uint64_t row, const char *message);

/* Rows of named columns: CSV, Parquet, DuckDB. */
enum err_code import_columns(struct import_job *job, struct import_source *source,
                             const struct plan_wishes *wishes, struct import_result *result,
                             struct err *err);

/* Lines that are rows by themselves: NDJSON and line protocol. */
enum err_code import_lines(struct import_job *job, struct slice text, enum import_format format,
                           struct import_result *result, struct err *err);

/* Rows in one batch. Of tables without a key always the same number, so that a file imported again
 * falls into the same batches whatever --batch says. */
size_t import_batch_rows(const struct import_job *job, const struct import_result *result);

/*
 * Writes one body and books the answer. `rows[i]` is the row number of the body's row i; NULL:
 * first_row + i. ERR_INVALID when rows were refused.
 */
struct import_write {
    struct slice body;
    enum ingest_format format;
    uint64_t count;
    const uint64_t *rows;
    uint64_t first_row;
};
enum err_code import_write(struct import_job *job, const struct import_write *write,
                           struct import_result *result, struct err *err);

/* The reports: mapping before, outcome after, all of it as JSON. */
void import_show_plan(const struct import_job *job, struct import_result *result);
void import_show_result(const struct import_job *job, const struct import_result *result);
enum err_code import_show_json(const struct import_job *job, struct err *err);

#endif
