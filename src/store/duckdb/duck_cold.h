/*
 * Cold files of the DuckDB store (docs/adr/0018-cold-data.md): which are listed, and how SQL names
 * them. The list is the table eider_cold_files; a copy of it is kept in memory.
 *
 * Whoever reads a sealed table holds the lock, shared, from picking its files until its transaction
 * has begun; the applier holds it alone around the COMMIT that changes the list. So the files that
 * a statement names and the hot rows that it sees are of one moment. Lock: below no other.
 */
#ifndef EIDER_STORE_DUCKDB_DUCK_COLD_H
#define EIDER_STORE_DUCKDB_DUCK_COLD_H

#include "codec/time.h"
#include "store/cold.h"
#include "store/duckdb/duck.h"
#include "store/engine.h"

/* Reads the list, and takes files off it that are not there: silently those that retention dropped,
 * with duck_cold_lost those that are missing. Names this database's cold directory, which need not
 * be there. Before the views are made. */
enum err_code duck_cold_open(struct duck_store *duck, const struct store_open_options *options,
                             struct err *err);
void duck_cold_init(struct duck_store *duck);

/* Sets cold.dir: "cold" beside the database, whose directory must be there. */
enum err_code duck_cold_locate(struct duck_store *duck, struct err *err);
void duck_cold_fini(struct duck_store *duck);

/* Makes the cold directory and its tmp, unless they are there. */
enum err_code duck_cold_make_dirs(const struct duck_store *duck, struct err *err);

/* The files of a table and kind, sorted by day and name: [*ret_first, return value). */
size_t duck_cold_range(const struct duck_cold *cold, enum table_id table, enum cold_kind kind,
                       size_t *ret_first);

/* The listed file of this name and kind, or NULL. Holds the lock, or is the applier. */
const struct cold_file *duck_cold_find(const struct duck_cold *cold, const char *name,
                                       enum cold_kind kind);

/* Whether a day of a table has raw files. The applier's. */
bool duck_cold_has_day(const struct duck_store *duck, enum table_id table, int32_t day);

/*
 * duck_files.c: appends "read_parquet(['...', ...], ...)" for `count` files of one table and kind,
 * with the columns of `mask` (of a rollup: what it has of them) and those that every rollup has. A
 * file of an older version that lacks one of them has NULL there, and 0 for a count; one that has
 * others does no harm. A column takes some 12 us of each statement.
 */
#define COLD_ALL_COLUMNS UINT64_MAX
void duck_cold_add_files(const struct duck_store *duck, const struct cold_file *const *files,
                         size_t count, uint64_t mask, struct buf *sql);

/*
 * The same with a parameter in it, "?" or "$3", that the statement is to be given as false (NULL:
 * none). DuckDB plans a statement over files when it is prepared, and again when it runs; one whose
 * files wait for a parameter it plans when it runs alone. That takes away half a millisecond to a
 * whole one, and more of many files.
 */
void duck_cold_add_files_once(const struct duck_store *duck, const struct cold_file *const *files,
                              size_t count, uint64_t mask, const char *once, struct buf *sql);

/* The place of a row of such files, to be selected behind a column; its order is that of writing.
 */
#define DUCK_COLD_PLACE ", filename AS eider_part, file_row_number AS eider_row"

/* Appends a path as an SQL literal that DuckDB does not take for a pattern. */
void duck_cold_add_path(const char *path, struct buf *sql);

/* Appends a text as an SQL literal. Not for texts with NUL. */
void duck_cold_add_literal(struct slice text, struct buf *sql);

/* Appends the columns as they are selected from cold files: "a", "b", "c"::JSON. */
void duck_cold_add_columns(const struct catalog_table *table, const struct column_list *columns,
                           struct buf *sql);

enum duck_form {
    DUCK_FORM_PLAIN,
    DUCK_FORM_VIEW,  /* never the hot table itself: it would show its rowid, and the columns in the
                        order in which it got them */
    DUCK_FORM_PLACED /* with columns eider_part and eider_row, whose order is that of writing
                        among rows of one time */
};

/* What stands for a table is to look like. */
struct duck_source {
    enum duck_form form;
    const char *once; /* see duck_cold_add_files_once */
};

/* Room for pointers to so many files, and one more; the caller frees. */
const struct cold_file **duck_cold_pointers(size_t count);

/*
 * Appends what stands for a sealed table behind FROM, with an alias: its hot table, and the raw
 * files that may have rows with times in [from_us, to_us]. Without such files it is the hot table
 * alone, with its rowid. Returns how many files it names. Holds the lock.
 */
size_t duck_cold_add_source(const struct duck_store *duck, const struct catalog_table *table,
                            int64_t from_us, int64_t to_us, struct duck_source how,
                            struct buf *sql);

/* The same, also for the view of samples with their series (in which `how` makes no difference). */
size_t duck_cold_add_table(const struct duck_store *duck, const struct catalog_table *table,
                           int64_t from_us, int64_t to_us, struct duck_source how, struct buf *sql);

/* duck_cold_add_source with these files. */
void duck_cold_add_rows(const struct duck_store *duck, const struct catalog_table *table,
                        const struct cold_file *const *files, size_t count, struct duck_source how,
                        struct buf *sql);

/* In a transaction of the writer: lists files, or takes them off the list. */
enum err_code duck_cold_insert(struct duck_store *duck, const struct cold_file *files, size_t count,
                               struct err *err);
enum err_code duck_cold_delete(struct duck_store *duck, const struct cold_file *files, size_t count,
                               struct err *err);

/* The list as it will be: without `gone`, with `added`; the caller frees. */
struct cold_file *duck_cold_changed(const struct duck_cold *cold, const struct cold_file *gone,
                                    size_t gone_count, const struct cold_file *added,
                                    size_t added_count, size_t *ret_count);

/* Commits the writer's transaction and makes `files` the list, at one moment for readers. Takes
 * `files` when it succeeds. */
enum err_code duck_cold_commit(struct duck_store *duck, struct cold_file *files, size_t count,
                               struct err *err);

/* A read transaction on a reader; ended by duck_read_end, which neither an interrupt nor a want of
 * memory keeps from it: a reader that kept its transaction would fail whoever takes it next. What
 * it cannot end it leaves to the next who takes the reader (reader->stuck). */
enum err_code duck_read_begin(struct duck_store *duck, struct duck_reader *reader, struct err *err);
void duck_read_end(struct duck_reader *reader);

/*
 * duck_back.c: files that were missing once. note adds to cold/missing.json what the list says of
 * them; open lists those again that are there, whole, and have no row that came again meanwhile.
 */
enum err_code duck_back_note(const struct duck_store *duck, const struct cold_file *lost,
                             size_t count, struct err *err);
enum err_code duck_back_open(struct duck_store *duck, const struct store_open_options *options,
                             struct err *err);

/* duck_seal.c: the vtable's */
enum err_code duck_seal_find(struct store *store, const struct store_seal_find *find,
                             struct store_day *ret_days, size_t max, size_t *ret_count,
                             struct err *err);
enum err_code duck_seal_begin(struct store *store, const struct store_seal *seal,
                              struct store_sealing **ret_sealing, struct err *err);
enum err_code duck_seal_commit(struct store *store, struct store_sealing *sealing,
                               struct store_seal_result *ret_result, struct err *err);
void duck_seal_free(struct store *store, struct store_sealing *sealing);
enum err_code duck_cold_list(struct store *store, struct cold_file **ret_files, size_t *ret_count,
                             struct err *err);

/* duck_drop.c, duck_compact.c: the vtable's */
enum err_code duck_cold_drop(struct store *store, const struct cold_drop *drop, struct err *err);
enum err_code duck_compact(struct store *store, const char *path, struct err *err);

#endif
