/*
 * The limits of this machine that the figures are compared with: fdatasync of small and of 64 KiB
 * writes into a preallocated file, and DuckDB's appender with no HTTP, no parsing, no log. Prints
 * one JSON object. Usage: limits DIRECTORY [syncs]; with "syncs" without the
 * appender.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "catalog/batch.h"
#include "store/duckdb/store_duckdb.h"

enum { FILE_BYTES = 64 << 20, SYNCS = 2000, BATCH = 10000, BATCHES = 200, SERIES = 1000 };

static double
seconds_since(int64_t start_us)
{
    return (double)(clock_mono_us(clock_system()) - start_us) / 1e6;
}

static double
syncs_per_second(const char *dir, size_t bytes)
{
    char path[1024];
    MEM_AUTO char *data = mem_zalloc(1, bytes);

    snprintf(path, sizeof(path), "%s/sync.bin", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || posix_fallocate(fd, 0, FILE_BYTES) != 0) {
        fprintf(stderr, "limits: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    int64_t start_us = clock_mono_us(clock_system());
    for (int i = 0; i < SYNCS; i++) {
        off_t at = (off_t)((size_t)i * bytes % (FILE_BYTES - bytes));
        if (pwrite(fd, data, bytes, at) != (ssize_t)bytes || fdatasync(fd) != 0) {
            fprintf(stderr, "limits: %s: %s\n", path, strerror(errno));
            exit(1);
        }
    }
    double rate = SYNCS / seconds_since(start_us);
    close(fd);
    unlink(path);
    return rate;
}

/* Rows a second through the store's own apply, samples in batches of 10 000. */
static double
appends_per_second(const char *dir)
{
    char path[1024];
    struct store *store;
    struct err err;
    struct batch batch;

    snprintf(path, sizeof(path), "%s/limits.duckdb", dir);
    const struct store_open_options options = {.path = path};
    if (store_duckdb_open(&options, &store, &err) != ERR_OK) {
        fprintf(stderr, "limits: %s\n", err.msg);
        exit(1);
    }
    batch_init(&batch, catalog_table(TABLE_SAMPLES), 0);
    for (int row = 0; row < BATCH; row++) {
        size_t at = batch_add_row(&batch);
        batch_set_i32(&batch, 0, at, row % SERIES);
        batch_set_i64(&batch, 1, at, 0);
        batch_set_f64(&batch, 2, at, row * 0.25);
    }
    int64_t start_us = clock_mono_us(clock_system());
    for (int i = 0; i < BATCHES; i++) {
        for (size_t row = 0; row < BATCH; row++) {
            batch.columns[1].i64[row] = 1700000000000000 + ((int64_t)i * BATCH + (int64_t)row);
        }
        uint64_t lsn = (uint64_t)i + 1;
        const struct store_group group = {lsn, lsn, 1, &batch};
        if (store_apply(store, &group, &err) != ERR_OK) {
            fprintf(stderr, "limits: %s\n", err.msg);
            exit(1);
        }
    }
    double rate = (double)BATCH * BATCHES / seconds_since(start_us);
    batch_fini(&batch);
    store_close(store);
    unlink(path);
    return rate;
}

int
main(int argc, char **argv)
{
    if (argc != 2 && !(argc == 3 && strcmp(argv[2], "syncs") == 0)) {
        fprintf(stderr, "usage: limits DIRECTORY [syncs]\n");
        return 2;
    }
    printf("{\"fdatasync_512\": %.0f, \"fdatasync_64k\": %.0f, \"store_apply_rows\": %.0f}\n",
           syncs_per_second(argv[1], 512), syncs_per_second(argv[1], 65536),
           argc == 2 ? appends_per_second(argv[1]) : 0);
    return 0;
}
