/*
 * The cold directory: names and paths, files that get their places durably, and the three lists
 * that stand beside the files (docs/adr/0018-cold-data.md). What belongs is told by the database's
 * own list; nothing here decides that.
 *
 *   cold/<table>[_1m|_5m|_1h|_1d]/date=YYYY-MM-DD/<UUIDv7>.parquet
 *   cold/tmp/        files being written; emptied at open
 *   cold/manifest.json  what the list said last, with checksums
 *   cold/dropped     files that retention unlinked, one relative path a line
 *   cold/missing     files that were delisted because they were missing or damaged: never
 * collected; cold/missing.json says what the list said of them backup/eider-<lsn>.cold  the files
 * that this snapshot lists
 *
 * Functions that write sync what they wrote. Any thread, but one writer a list.
 */
#ifndef EIDER_STORE_COLD_H
#define EIDER_STORE_COLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "store/store.h"

enum { COLD_PATH_MAX = 4096, COLD_RELATIVE_MAX = 160, COLD_DAY_TEXT = 16 };

/* ---- names ---- */

/* "raw", "1m", "5m", "1h", "1d"; and back. */
const char *cold_kind_name(enum cold_kind kind);
bool cold_kind_parse(struct slice text, enum cold_kind *ret_kind);

/* "", "_1m", ...: behind the table's name in the directory's. */
const char *cold_kind_suffix(enum cold_kind kind);

/* Width of a rollup's buckets; 0 for COLD_RAW. */
int64_t cold_kind_width_us(enum cold_kind kind);

/* The UTC day of a time, also before 1970; its first microsecond, and the first behind it. */
int32_t cold_day_of(int64_t us);
int64_t cold_day_begin_us(int32_t day);
int64_t cold_day_end_us(int32_t day);

/* Whether a day lies within the years that rows may have. */
bool cold_day_in_range(int32_t day);

/* "YYYY-MM-DD" (years 1 to 9999); and back, strictly. */
void cold_day_format(int32_t day, char ret_text[COLD_DAY_TEXT]);
bool cold_day_parse(struct slice text, int32_t *ret_day);

/* "<table>[_kind]/date=.../<name>", at most COLD_RELATIVE_MAX bytes with the NUL. */
void cold_relative(const struct cold_file *file, char ret_path[COLD_RELATIVE_MAX]);

/* Reads such a path into table, kind, day and name, and zeros the rest; false for anything else. */
bool cold_parse_relative(struct slice path, struct cold_file *ret_file);

/* "<cold_dir>/<relative>", at most `size` bytes; cut when longer. */
void cold_path(const char *cold_dir, const struct cold_file *file, char *ret_path, size_t size);

/* "<cold_dir>/tmp/<name without .parquet><kind suffix>.parquet": where it is written. */
void cold_tmp_path(const char *cold_dir, const struct cold_file *file, char *ret_path, size_t size);

/* Whether a row of this sealed table stays on the day that it came with: its key, if it has one,
 * has the time in it. Then files and hot rows of a day have all of its rows and no others. */
bool cold_days_are_fixed(const struct catalog_table *table);

/* Orders by table, kind, day, name; for qsort too. */
int cold_file_compare(const void *a, const void *b);

/* ---- files ---- */

/* Makes `cold_dir` and its tmp, synced, and empties tmp. Nothing may be sealing. */
enum err_code cold_open(const char *cold_dir, struct err *err);

/* Syncs the file at `tmp_path`, makes the day's directories, moves it to its place, syncs the
 * directories. */
enum err_code cold_put(const char *cold_dir, const char *tmp_path, const struct cold_file *file,
                       struct err *err);

/* Removes a file, and the directory of its day when that is empty; one that is not there is fine.
 */
enum err_code cold_unlink(const char *cold_dir, const struct cold_file *file, struct err *err);

/* XXH3-128 of a file as 32 hex digits; *ret_bytes (may be NULL) its size. ERR_NOT_FOUND, ERR_IO. */
enum err_code cold_checksum(const char *path, char ret_checksum[COLD_CHECKSUM_MAX],
                            uint64_t *ret_bytes, struct err *err);

/* Calls fn for each file that has a name of this layout, in no order; `file` has table, kind, day,
 * name and bytes (its size). Stops at what fn answers but ERR_OK. Files of other names are not
 * ours. */
typedef enum err_code cold_walk_fn(void *ctx, const struct cold_file *file, struct err *err);
enum err_code cold_walk(const char *cold_dir, cold_walk_fn *fn, void *ctx, struct err *err);

/* ---- lists of relative paths: cold/dropped, cold/missing, backup/eider-<lsn>.cold ---- */

struct cold_names {
    char **names; /* sorted */
    size_t count;
    size_t cap;
};

void cold_names_init(struct cold_names *names);
void cold_names_fini(struct cold_names *names);
void cold_names_add(struct cold_names *names, const char *relative); /* sort before has */
void cold_names_sort(struct cold_names *names);
bool cold_names_has(const struct cold_names *names, const char *relative);

#define COLD_NAMES_AUTO __attribute__((cleanup(cold_names_fini)))

/* "dropped" or "missing" of `cold_dir`. Appended to before what they tell of is done. */
#define COLD_DROPPED "dropped"
#define COLD_MISSING "missing"
enum err_code cold_ledger_add(const char *cold_dir, const char *ledger,
                              const struct cold_file *files, size_t count, struct err *err);

/* Adds the ledger's names, sorted; none when there is no such file. A line that a crash cut is
 * passed over. */
enum err_code cold_ledger_read(const char *cold_dir, const char *ledger, struct cold_names *names,
                               struct err *err);

/* Replaces the ledger by these names. */
enum err_code cold_ledger_replace(const char *cold_dir, const char *ledger,
                                  const struct cold_names *names, struct err *err);

/* The sidecar of a snapshot, written (temporary name, synced, renamed) before the snapshot itself.
 * Reading: ERR_NOT_FOUND, ERR_CORRUPT. */
enum err_code cold_sidecar_write(const char *path, const struct cold_file *files, size_t count,
                                 struct err *err);
enum err_code cold_sidecar_read(const char *path, struct cold_names *names, struct err *err);

/* ---- cold/manifest.json ---- */

struct cold_manifest {
    uint64_t lsn; /* applied when the list was read */
    int64_t written_us;
    struct cold_file *files; /* the caller frees */
    size_t count;
};

enum err_code cold_manifest_write(const char *cold_dir, const struct cold_manifest *manifest,
                                  struct err *err);

/* cold/missing.json, of the same form: what the list said of the files in cold/missing, so that
 * they can be listed again. */
enum err_code cold_missing_write(const char *cold_dir, const struct cold_manifest *missing,
                                 struct err *err);
enum err_code cold_missing_read(const char *cold_dir, struct cold_manifest *ret_missing,
                                struct err *err);

/* Takes one file out of cold/missing and cold/missing.json: it is given up for good. One that
 * neither names is fine. */
enum err_code cold_missing_forget(const char *cold_dir, const struct cold_file *file,
                                  struct err *err);

/* Why a start leaves a file that is there again off the list, for as long as things are so:
 * --forget-missing may end it. Other reasons pass by themselves, or say that something failed. */
#define COLD_BACK_TWICE "some of its rows were written again meanwhile and would be there twice"
#define COLD_BACK_NO_RAW "its raw file is not listed, and was not dropped by retention"
#define COLD_BACK_COUNTED "rows of its day are there again and would be counted twice"

/* ERR_NOT_FOUND when there is none, ERR_CORRUPT when its checksum or its text is wrong. */
enum err_code cold_manifest_read(const char *cold_dir, struct cold_manifest *ret_manifest,
                                 struct err *err);

#endif
