/*
 * The PostgreSQL store beside plain COPY BINARY in one run: bench_postgres DSN [ROWS]. Makes a
 * schema "eider_bench" there and drops it at the end.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/postgres/store_postgres.h"

enum { BATCH_ROWS = 10000, GROUP_BATCHES = 10, SERIES = 100, ROWS = 2000000, DSN_MAX = 1024 };

static const int64_t day_us = 86400000000;
static const int64_t first_us = 1700000000000000;

static double
now_s(void)
{
    return (double)clock_mono_us(clock_system()) / 1e6;
}

static void
run(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(pg));
        exit(1);
    }
    PQclear(result);
}

static void
put(char **at, uint64_t value, int bytes)
{
    while (bytes-- > 0) {
        *(*at)++ = (char)(value >> bytes * 8);
    }
}

/* The time of row `i`: ROWS of them spread over 30 days. */
static int64_t
time_of(int64_t i, int64_t rows)
{
    return first_us + i / SERIES * (30 * day_us / (rows / SERIES));
}

/* One transaction of as many rows as a group has. */
static void
copy_group(PGconn *pg, const char *table, int64_t from, int64_t count, int64_t rows)
{
    static char bytes[BATCH_ROWS * 64];
    char sql[128];

    snprintf(sql, sizeof(sql), "COPY %s (series_id, timestamp, value) FROM STDIN (FORMAT BINARY)",
             table);
    PGresult *result = PQexec(pg, sql);
    if (PQresultStatus(result) != PGRES_COPY_IN) {
        fprintf(stderr, "%s", PQerrorMessage(pg));
        exit(1);
    }
    PQclear(result);
    PQputCopyData(pg, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
    for (int64_t i = from; i < from + count;) {
        char *at = bytes;
        for (int64_t end = i + BATCH_ROWS; i < end && i < from + count; i++) {
            double value = (double)i / 3;
            uint64_t bits;
            memcpy(&bits, &value, sizeof(bits));
            put(&at, 3, 2);
            put(&at, 4, 4);
            put(&at, (uint64_t)(i % SERIES) + 1, 4);
            put(&at, 8, 4);
            put(&at, (uint64_t)(time_of(i, rows) - 946684800000000), 8);
            put(&at, 8, 4);
            put(&at, bits, 8);
        }
        PQputCopyData(pg, bytes, (int)(at - bytes));
    }
    PQputCopyEnd(pg, NULL);
    while ((result = PQgetResult(pg))) {
        PQclear(result);
    }
}

static void
plain(PGconn *pg, const char *what, const char *table, int64_t rows)
{
    double begin = now_s();

    for (int64_t i = 0; i < rows; i += (int64_t)BATCH_ROWS * GROUP_BATCHES) {
        copy_group(pg, table, i, (int64_t)BATCH_ROWS * GROUP_BATCHES, rows);
    }
    printf("| %-58s | %8.0f |\n", what, (double)rows / (now_s() - begin));
}

static void
fill(struct batch *batch, enum table_id id, int64_t from, int64_t rows, int64_t shift_us)
{
    static const char *const symbols[] = {"AAPL", "MSFT", "GOOG", "AMZN", "TSLA"};

    batch_init(batch, catalog_table(id), 1 << 20);
    for (int64_t i = from; i < from + BATCH_ROWS; i++) {
        size_t row = batch_add_row(batch);
        if (id == TABLE_SAMPLES) {
            batch_set_i32(batch, 0, row, (int32_t)(i % SERIES) + 1);
            batch_set_i64(batch, 1, row, time_of(i, rows));
            batch_set_f64(batch, 2, row, (double)i / 3);
        } else {
            batch_set_i64(batch, 0, row, first_us + i / 5 * 1000 + shift_us);
            batch_set_text(batch, 1, row, slice_of(symbols[i % 5]));
            for (size_t c = 2; c < 5; c++) {
                batch_set_f64(batch, c, row, (double)i / 7);
            }
            batch_set_i64(batch, 5, row, i);
            batch_set_i32(batch, 6, row, (int32_t)(i % 1000));
            batch_set_f64(batch, 7, row, 0.5);
        }
    }
}

static void
through_store(struct store *store, const char *what, enum table_id id, int64_t rows,
              int64_t shift_us)
{
    struct err err = {0};
    double begin = now_s();

    for (int64_t i = 0; i < rows; i += (int64_t)BATCH_ROWS * GROUP_BATCHES) {
        struct batch batches[GROUP_BATCHES];
        uint64_t lsn = store_applied_lsn(store) + 1;
        struct store_group group = {lsn, lsn, GROUP_BATCHES, batches};
        for (int b = 0; b < GROUP_BATCHES; b++) {
            fill(&batches[b], id, i + (int64_t)b * BATCH_ROWS, rows, shift_us);
        }
        if (store_apply(store, &group, &err) != ERR_OK) {
            fprintf(stderr, "%s\n", err.msg);
            exit(1);
        }
        for (int b = 0; b < GROUP_BATCHES; b++) {
            batch_fini(&batches[b]);
        }
    }
    printf("| %-58s | %8.0f |\n", what, (double)rows / (now_s() - begin));
}

/* The middle of 15 times, in milliseconds. */
static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static void
history(struct store *store, const char *what, int64_t bucket_us)
{
    const struct slice seven = SLICE_LITERAL("7");
    struct store_bucket bucket = {.scan = {.table = TABLE_SAMPLES,
                                           .from_us = first_us,
                                           .to_us = first_us + 30 * day_us,
                                           .filters = {{"series_id", &seven, 1}},
                                           .filter_count = 1},
                                  .bucket_us = bucket_us,
                                  .aggregates = {{AGG_AVG, "value", "avg"},
                                                 {AGG_MIN, "value", "min"},
                                                 {AGG_MAX, "value", "max"},
                                                 {AGG_COUNT, NULL, "count"}},
                                  .aggregate_count = 4};
    double times[15];
    size_t rows_count = 0;

    for (size_t i = 0; i < 15; i++) {
        struct batch rows;
        struct err err = {0};
        double begin = now_s();
        if (store_bucket(store, &bucket, &rows, &err) != ERR_OK) {
            fprintf(stderr, "%s\n", err.msg);
            exit(1);
        }
        times[i] = (now_s() - begin) * 1000;
        rows_count = rows.rows;
        batch_fini(&rows);
    }
    qsort(times, 15, sizeof(*times), compare_doubles);
    printf("| %-44s | %5zu | %8.1f | %8.1f |\n", what, rows_count, times[7], times[14]);
}

int
main(int argc, char **argv)
{
    char dsn[DSN_MAX];
    struct store *store;
    struct err err = {0};
    int64_t rows = argc > 2 ? strtoll(argv[2], NULL, 10) : ROWS;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_postgres DSN [ROWS]\n");
        return 2;
    }
    snprintf(dsn, sizeof(dsn), "%s options='-csearch_path=eider_bench'", argv[1]);
    PGconn *pg = PQconnectdb(dsn);
    run(pg, "SET client_min_messages = warning");
    run(pg, "DROP SCHEMA IF EXISTS eider_bench CASCADE");
    run(pg, "CREATE SCHEMA eider_bench");
    struct store_open_options options = {.postgres = {.dsn = dsn}};
    if (store_postgres_open(&options, &store, &err) != ERR_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    run(pg, "CREATE TABLE plain (series_id INTEGER NOT NULL, \"timestamp\" TIMESTAMP NOT NULL, "
            "value DOUBLE PRECISION NOT NULL)");
    run(pg, "CREATE TABLE indexed (LIKE samples INCLUDING INDEXES)");
    plain(pg, "COPY BINARY, samples, no index", "plain", rows);
    plain(pg, "COPY BINARY, samples, the indexes of the store", "indexed", rows);
    through_store(store, "store, samples", TABLE_SAMPLES, rows, 0);
    through_store(store, "store, market_data, in the order of time", TABLE_MARKET_DATA, rows / 4,
                  0);
    through_store(store, "store, market_data, late, all new", TABLE_MARKET_DATA, rows / 4, 500);
    through_store(store, "store, market_data, late, all replacing", TABLE_MARKET_DATA, rows / 4, 0);
    run(pg, "ANALYZE");
    printf("\n");
    history(store, "30 days of one series, by the hour", 3600000000);
    history(store, "30 days of one series, by the minute", 60000000);
    store_close(store);
    run(pg, "DROP SCHEMA eider_bench CASCADE");
    PQfinish(pg);
    return 0;
}
