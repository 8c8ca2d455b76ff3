/*
 * cold/series: what the numbers in cold files of samples mean. The definitions of series are rows
 * of the database; its cold files name series by number alone, so without database and snapshots
 * nobody could say whose values they are, and the numbers would be given out again. Every
 * definition is therefore in the log or in this file: it is written, and synced, before a file of
 * samples is listed and before segments of the log are dropped (docs/formats/series.md).
 *
 * The file is only added to. What a crash cut off is passed over; a file that is damaged, or that
 * has other definitions than the database, goes to quarantine/ and is written anew.
 *
 * Threads: sync from any, one at a time by a lock of its own; expect from any.
 */
#ifndef EIDER_STORE_SERIES_FILE_H
#define EIDER_STORE_SERIES_FILE_H

#include "store/store.h"

#define SERIES_FILE "series"

struct series_file;

/* The file of a cold directory, which need not be there. */
struct series_file *series_file_new(const char *cold_dir);
void series_file_free(struct series_file *file); /* NULL is fine */

/* The store was opened anew: it may define other series than before. */
void series_file_expect(struct series_file *file);

/* Adds what the store defines and the file lacks. Blocks for a read of all series when there are
 * new ones. */
enum err_code series_file_sync(struct series_file *file, struct store *store, struct err *err);

struct series_summary {
    uint64_t series;  /* definitions that can be read */
    uint64_t damaged; /* stretches that cannot, and have readable ones behind them */
    uint64_t torn_bytes;
    uint64_t end; /* behind the last whole block */
};

/* Gives each block's rows of TABLE_SERIES to fn (NULL: nobody). ERR_NOT_FOUND without a file,
 * ERR_CORRUPT when it is none of this format. */
typedef enum err_code series_file_fn(void *ctx, const struct batch *rows, struct err *err);
enum err_code series_file_read(const char *cold_dir, series_file_fn *fn, void *ctx,
                               struct series_summary *ret_summary, struct err *err);

#endif
