/* What the files that seal share: one sealing, and its steps. */
#ifndef EIDER_STORE_DUCKDB_DUCK_SEAL_H
#define EIDER_STORE_DUCKDB_DUCK_SEAL_H

#include "store/duckdb/duck_cold.h"

/*
 * Measured with 8.64 M samples of 100 series: small row groups make small reads fast, large ones
 * share a dictionary of values; the bound of dictionaries keeps times, which repeat from series to
 * series, out of one (their differences take next to nothing). See README.md.
 */
enum { DUCK_ROW_GROUP = 245760, DUCK_DICTIONARY_MAX = 32000 };

struct store_sealing {
    struct store_seal seal;
    struct duck_reader *reader; /* during begin */
    bool reading;               /* its transaction runs */
    uint64_t lsn;               /* of the state that was read */
    int64_t sealed_us;
    char name[COLD_NAME_MAX]; /* of all new files */
    uint64_t hot_rows;        /* that commit deletes */
    uint64_t all_rows;        /* with those of merged files */
    uint64_t rows;
    uint64_t rows_dropped;
    struct cold_file files[COLD_KIND_COUNT];
    size_t file_count;
    struct cold_file *old; /* the day's files of all kinds, when they are merged */
    size_t old_count;
    bool committed; /* or nobody knows: then the files stay, and are collected when unlisted */
};

/* Adds a new file to the sealing. */
struct cold_file *duck_seal_file(struct store_sealing *sealing, enum cold_kind kind);

/* Appends a SELECT of the day's hot rows, with their places. */
void duck_seal_add_hot(const struct store_sealing *sealing, struct buf *sql);

/* Appends the condition of the samples that stay, behind `glue`; nothing without patterns. */
void duck_seal_add_kept(const struct store_seal *seal, const char *glue, struct buf *sql);

/* Writes what `select` gives to the file's temporary place. */
enum err_code duck_seal_copy(struct duck_store *duck, struct store_sealing *sealing,
                             const struct cold_file *file, const struct buf *select,
                             uint64_t *ret_rows, struct err *err);

/* Reads it back: fills in rows, range of times (the least of column time_from, the greatest of
 * time_to), bytes and checksum. */
enum err_code duck_seal_verify(struct duck_store *duck, struct store_sealing *sealing,
                               struct cold_file *file, const char *time_from, const char *time_to,
                               uint64_t rows_expected, struct err *err);

#endif
