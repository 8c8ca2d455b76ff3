/* The directory of the sealing tests, and what they do and look at again and again. */
#include "store/duckdb/seal_testing.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/contract.h"
#include "store/duckdb/store_duckdb.h"
#include "store/engine_testing.h"
#include "store/failpoint.h"

static void
note_lost(void *ctx, const struct cold_file *file)
{
    (void)file;
    ((struct place *)ctx)->lost++;
}

void
place_open(struct place *place)
{
    struct store_open_options options = {.path = place->path,
                                         .threads = 1,
                                         .readers = 2,
                                         .cold_lost = note_lost,
                                         .cold_lost_ctx = place};
    struct err err = {0};

    if (store_duckdb_open(&options, &place->store, &err)) {
        fail_msg("open: %s", err.msg);
    }
}

void
place_reopen(struct place *place)
{
    store_close(place->store);
    place->store = NULL;
    place_open(place);
}

int
place_setup(void **state)
{
    struct place *place = mem_zalloc(1, sizeof(*place));
    char parent[] = "/tmp/eider-seal-XXXXXX";

    assert_non_null(mkdtemp(parent));
    /* Every character that SQL or a pattern could take amiss. */
    snprintf(place->dir, sizeof(place->dir), "%s", parent);
    snprintf(place->path, sizeof(place->path), "%s/it's [a] *", parent);
    assert_int_equal(mkdir(place->path, 0700), 0);
    snprintf(place->path, sizeof(place->path), "%s/it's [a] */test.duckdb", parent);
    place_open(place);
    *state = place;
    return 0;
}

int
place_teardown(void **state)
{
    struct place *place = *state;

    failpoint_arm(NULL);
    store_close(place->store);
    rig_remove_tree(place->dir);
    free(place);
    return 0;
}

void
place_cold_dir(const struct place *place, char ret_path[PLACE_PATH_BYTES])
{
    snprintf(ret_path, PLACE_PATH_BYTES, "%.400s/it's [a] */cold", place->dir);
}

void
place_put(struct place *place, enum table_id table, const char *lines)
{
    contract_apply(place->store, ++place->lsn, table, lines);
}

void
place_expect(struct place *place, enum table_id table, const char *lines)
{
    struct store_scan scan = {.table = table, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct err err = {0};
    struct batch rows;

    if (store_scan(place->store, &scan, &rows, &err)) {
        fail_msg("scan: %s", err.msg);
    }
    contract_expect_rows(&rows, lines);
}

enum err_code
place_ask(struct place *place, const char *sql, char *ret_text, size_t size, struct err *err)
{
    struct store_sql statement = {.sql = slice_of(sql)};
    struct buf text BUF_AUTO = {0};
    struct batch rows;

    buf_init(&text, 0);
    enum err_code code = store_sql(place->store, &statement, &rows, NULL, err);
    if (code) {
        return code;
    }
    contract_dump(&rows, &text);
    batch_fini(&rows);
    snprintf(ret_text, size, "%.*s", SLICE_FMT(buf_slice(&text)));
    return ERR_OK;
}

void
place_expect_sql(struct place *place, const char *sql, const char *lines)
{
    char text[1024];
    struct err err = {0};

    if (place_ask(place, sql, text, sizeof(text), &err)) {
        fail_msg("%s: %s", sql, err.msg);
    }
    assert_string_equal(text, lines);
}

struct store_sealing *
place_begin(struct place *place, const struct store_seal *seal)
{
    struct store_sealing *sealing = NULL;
    struct err err = {0};

    if (store_seal_begin(place->store, seal, &sealing, &err)) {
        fail_msg("seal_begin: %s", err.msg);
    }
    return sealing;
}

struct store_seal_result
place_seal(struct place *place, const struct store_seal *what)
{
    struct store_sealing *sealing = place_begin(place, what);
    struct store_seal_result result;
    struct err err = {0};

    if (store_seal_commit(place->store, sealing, &result, &err)) {
        fail_msg("seal_commit: %s", err.msg);
    }
    store_seal_free(place->store, sealing);
    return result;
}

void
place_seal_day(struct place *place, enum table_id table, int32_t day, bool merge)
{
    struct store_seal what = {.table = table, .day = day, .merge = merge};

    place_seal(place, &what);
}

/* The listed raw files of a table. */
size_t
place_raw_files(struct place *place, enum table_id table, struct cold_file *ret_files)
{
    struct cold_file *files;
    size_t count;
    size_t found = 0;

    assert_int_equal(store_cold_list(place->store, &files, &count, NULL), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        if (files[i].table == table && files[i].kind == COLD_RAW) {
            ret_files[found++] = files[i];
        }
    }
    free(files);
    return found;
}

static enum err_code
count_file(void *ctx, const struct cold_file *file, struct err *err)
{
    (void)file;
    (void)err;
    ++*(size_t *)ctx;
    return ERR_OK;
}

/* Files in the cold directory, in their places and in tmp. */
size_t
place_files_on_disk(const struct place *place)
{
    char dir[PLACE_PATH_BYTES];
    char tmp[PLACE_PATH_BYTES + 8];
    size_t count = 0;
    struct dirent *entry;

    place_cold_dir(place, dir);
    assert_int_equal(cold_walk(dir, count_file, &count, NULL), ERR_OK);
    snprintf(tmp, sizeof(tmp), "%s/tmp", dir);
    DIR *stream = opendir(tmp);
    assert_non_null(stream);
    while ((entry = readdir(stream))) { /* NOLINT(concurrency-mt-unsafe): its own stream */
        count += entry->d_name[0] != '.';
    }
    closedir(stream);
    return count;
}

size_t
place_listed(struct place *place)
{
    struct cold_file *files;
    size_t count;

    assert_int_equal(store_cold_list(place->store, &files, &count, NULL), ERR_OK);
    free(files);
    return count;
}
