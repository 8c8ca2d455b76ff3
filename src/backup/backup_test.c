/* Backups of a real engine: taking, checking, pruning, the archive, and the way back. */
#include "store/engine_testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/private.h"
#include "base/id.h"
#include "base/mem.h"
#include "store/cold.h"
#include "store/duckdb/duckdb_reader.h"
#include "store/duckdb/store_duckdb.h"
#include "store/failpoint.h"
#include "store/memory/store_memory.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

struct scene {
    struct rig *rig;
    char dir[RIG_PATH_MAX + 16];     /* backups */
    char archive[RIG_PATH_MAX + 16]; /* log */
    char target[RIG_PATH_MAX + 16];  /* restored into */
    struct clock_manual clock;
};

static int
setup(void **state)
{
    struct scene *scene = mem_zalloc(1, sizeof(*scene));
    void *rig;

    if (rig_setup(&rig) != 0) {
        return -1;
    }
    scene->rig = rig;
    snprintf(scene->dir, sizeof(scene->dir), "%s-backups", scene->rig->dir);
    snprintf(scene->archive, sizeof(scene->archive), "%s-archive", scene->rig->dir);
    snprintf(scene->target, sizeof(scene->target), "%s-target", scene->rig->dir);
    clock_manual_init(&scene->clock, 1795000000000000);
    scene->rig->options.store_open = store_duckdb_open;
    scene->rig->options.wal.segment_bytes = 8192;
    *state = scene;
    return 0;
}

static int
teardown(void **state)
{
    struct scene *scene = *state;
    void *rig = scene->rig;

    rig_remove_tree(scene->dir);
    rig_remove_tree(scene->archive);
    rig_remove_tree(scene->target);
    free(scene);
    return rig_teardown(&rig);
}

/* A second later each, so that backups have names and times of their own. */
static struct backup_result
take(struct scene *scene, unsigned keep)
{
    struct backup_result result = {0};
    struct err err = {0};

    clock_manual_advance(&scene->clock, 1000000);
    const struct backup_options options = {.dir = scene->dir,
                                           .data_dir = scene->rig->dir,
                                           .engine = scene->rig->engine,
                                           .wal_archive = scene->archive,
                                           .keep = keep,
                                           .version = "test",
                                           .clock = &scene->clock.clock};
    if (backup_take(&options, &result, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    return result;
}

static enum err_code
count_parquet(void *ctx, const char *path, uint64_t *ret_rows, struct err *err)
{
    (void)ctx;
    struct duckdb_reader *reader;
    enum err_code code = duckdb_reader_open(path, DUCKDB_FILE_PARQUET, &reader, err);

    if (code == ERR_OK) {
        code = duckdb_reader_select(reader, "parquet", ret_rows, err);
        duckdb_reader_close(reader);
    }
    return code;
}

static enum err_code
restore(struct scene *scene, struct restore_options options, struct restore_result *ret_result,
        struct err *err)
{
    options.dir = scene->dir;
    options.data_dir = options.data_dir ? options.data_dir : scene->target;
    options.store_file = "eider.duckdb";
    options.store_open = store_duckdb_open;
    options.rows = count_parquet;
    options.clock = clock_system();
    return backup_restore(&options, ret_result, err);
}

/* The restored directory, opened as a server would. */
static void
expect_restored(struct scene *scene, int samples)
{
    struct rig copy = *scene->rig;
    struct err err = {0};

    snprintf(copy.dir, sizeof(copy.dir), "%.255s", scene->target);
    copy.options.data_dir = copy.dir;
    copy.engine = NULL;
    if (engine_open(&copy.options, &copy.engine, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    rig_expect_samples(&copy, samples);
    engine_close(copy.engine);
}

static uint64_t
write_samples(struct rig *rig, int from, int to)
{
    uint64_t lsn = 0;

    for (int i = from + 1; i <= to; i++) {
        lsn = rig_sample(rig, 1, i);
    }
    rig_applied(rig, lsn);
    return lsn;
}

static void
test_backup_gives_back_what_was_there(void **state)
{
    struct scene *scene = *state;
    struct restore_result restored;
    struct err err = {0};

    rig_open(scene->rig);
    write_samples(scene->rig, 0, 20);
    struct backup_result taken = take(scene, 0);
    assert_int_equal(taken.lsn, 20);
    assert_int_equal(taken.sums.rows[TABLE_SAMPLES], 20);
    write_samples(scene->rig, 20, 25);
    if (restore(scene, (struct restore_options){0}, &restored, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    assert_string_equal(restored.id, taken.id);
    assert_int_equal(restored.lsn, 20);
    assert_int_equal(restored.rows[TABLE_SAMPLES], 20);
    expect_restored(scene, 20);
}

static void
test_backup_replays_the_log_to_an_lsn_and_to_its_end(void **state)
{
    struct scene *scene = *state;
    const char *logs[] = {scene->archive, scene->rig->dir, NULL};
    struct restore_result restored;
    struct err err = {0};

    rig_open(scene->rig);
    write_samples(scene->rig, 0, 7);
    take(scene, 0);
    write_samples(scene->rig, 7, 300);
    for (uint64_t lsn = 7; lsn <= 300; lsn += 97) {
        const struct restore_options options = {.logs = logs, .has_lsn = true, .to_lsn = lsn};
        if (restore(scene, options, &restored, &err) != ERR_OK) {
            fail_msg("to %llu: %s", (unsigned long long)lsn, err.msg);
        }
        assert_int_equal(restored.lsn, lsn);
        expect_restored(scene, (int)lsn);
        rig_remove_tree(scene->target);
    }
    if (restore(scene, (struct restore_options){.logs = logs}, &restored, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(restored.lsn, 300);
    expect_restored(scene, 300);
    rig_remove_tree(scene->target);
    const struct restore_options beyond = {.logs = logs, .has_lsn = true, .to_lsn = 301};
    assert_int_equal(restore(scene, beyond, &restored, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "ends at LSN 300, 301 wanted"));
    assert_int_equal(access(scene->target, F_OK), -1); /* told before anything was made */
}

static void
test_backup_keeps_the_log_that_is_dropped(void **state)
{
    struct scene *scene = *state;
    const char *logs[] = {scene->archive, NULL};
    struct restore_result restored;
    struct err err = {0};
    uint64_t archived = 0;

    rig_open(scene->rig);
    write_samples(scene->rig, 0, 10);
    take(scene, 0);
    write_samples(scene->rig, 10, 400);
    if (backup_archive(scene->rig->dir, scene->archive, &scene->clock.clock, &archived, &err)) {
        fail_msg("%s", err.msg);
    }
    assert_true(archived > 1);
    assert_int_equal(
        backup_archive(scene->rig->dir, scene->archive, &scene->clock.clock, &archived, &err),
        ERR_OK);
    assert_int_equal(archived, 0);
    const struct restore_options options = {.logs = logs};
    if (restore(scene, options, &restored, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    assert_true(restored.lsn > 10 && restored.lsn < 400); /* the open segment is not in it */
    expect_restored(scene, (int)restored.lsn);
}

/* Removes the i-th segment of a directory of segments. */
static void
remove_segment(const char *archive, size_t index)
{
    struct files_names ids FILES_NAMES_AUTO = {0};
    struct files_names names FILES_NAMES_AUTO = {0};
    char dir[FILES_PATH_MAX];
    char path[FILES_PATH_MAX];
    struct err err;

    assert_int_equal(files_list(archive, &ids, &err), ERR_OK);
    assert_int_equal(ids.count, 1);
    assert_int_equal(files_join(archive, ids.at[0], dir, &err), ERR_OK);
    assert_int_equal(files_list(dir, &names, &err), ERR_OK);
    assert_true(names.count > index + 1);
    assert_int_equal(files_join(dir, names.at[index], path, &err), ERR_OK);
    assert_int_equal(unlink(path), 0);
}

static void
test_backup_says_what_the_log_lacks(void **state)
{
    struct scene *scene = *state;
    const char *logs[] = {scene->archive, NULL};
    struct restore_result restored;
    struct err err = {0};
    uint64_t archived;

    rig_open(scene->rig);
    write_samples(scene->rig, 0, 10);
    take(scene, 0);
    write_samples(scene->rig, 10, 500);
    assert_int_equal(
        backup_archive(scene->rig->dir, scene->archive, &scene->clock.clock, &archived, &err),
        ERR_OK);
    remove_segment(scene->archive, 2);
    assert_int_equal(restore(scene, (struct restore_options){.logs = logs}, &restored, &err),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "the archive ends at LSN"));
    assert_non_null(strstr(err.msg, "before it goes on"));
    remove_segment(scene->archive, 0);
    remove_segment(scene->archive, 0);
    assert_int_equal(restore(scene, (struct restore_options){.logs = logs}, &restored, &err),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "11 is wanted"));
}

static void
test_backup_stores_an_unchanged_day_once(void **state)
{
    struct scene *scene = *state;
    const int64_t day_us = INT64_C(86400000000);

    rig_open(scene->rig);
    rig_applied(scene->rig, rig_write(scene->rig, TABLE_SERIES, "1|cpu|-|-\n"));
    char line[64];
    for (int day = 1; day <= 3; day++) {
        snprintf(line, sizeof(line), "1|%lld|0.5\n", (long long)(day * day_us + 5));
        rig_applied(scene->rig, rig_write(scene->rig, TABLE_SAMPLES, line));
    }
    struct backup_result first = take(scene, 0);
    assert_int_equal(first.sums.files_new, first.files);
    assert_int_equal(first.files, 4);
    struct backup_result second = take(scene, 0);
    assert_int_equal(second.files, 4);
    assert_int_equal(second.sums.files_new, 0);
    snprintf(line, sizeof(line), "1|%lld|0.75\n", (long long)(3 * day_us + 6));
    rig_applied(scene->rig, rig_write(scene->rig, TABLE_SAMPLES, line));
    struct backup_result third = take(scene, 0);
    assert_int_equal(third.files, 4);
    assert_int_equal(third.sums.files_new, 1);
}

static int
count_files(const char *dir)
{
    char command[RIG_PATH_MAX + 64];
    int count = -1;

    snprintf(command, sizeof(command), "find %s/files -type f | wc -l", dir);
    FILE *pipe = popen(command, "r"); /* NOLINT(cert-env33-c): a path of ours */
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%d", &count), 1); /* NOLINT(cert-err34-c) */
    pclose(pipe);
    return count;
}

/* A clock that was a year ahead once makes a backup whose name is behind all others. */
static void
test_backup_that_is_newest_stays_although_the_clock_went_back(void **state)
{
    struct scene *scene = *state;
    struct restore_result restored;
    struct backup_entry *entries;
    size_t count;
    struct err err = {0};

    rig_open(scene->rig);
    clock_manual_advance(&scene->clock, (int64_t)365 * 86400 * 1000000);
    write_samples(scene->rig, 0, 5);
    take(scene, 1);
    clock_manual_init(&scene->clock, 1795000000000000);
    write_samples(scene->rig, 5, 9);
    struct backup_result newest = take(scene, 1);
    assert_int_equal(newest.pruned, 1);
    assert_int_equal(backup_list(scene->dir, &entries, &count, &err), ERR_OK);
    assert_int_equal(count, 1);
    assert_string_equal(entries[0].id, newest.id);
    free(entries);
    clock_manual_advance(&scene->clock, (int64_t)365 * 86400 * 1000000);
    write_samples(scene->rig, 9, 12);
    take(scene, 0);
    clock_manual_init(&scene->clock, 1795000000000000 + 60000000);
    write_samples(scene->rig, 12, 15);
    newest = take(scene, 0);
    assert_int_equal(restore(scene, (struct restore_options){0}, &restored, &err), ERR_OK);
    assert_string_equal(restored.id, newest.id);
}

static void
forget_database(const struct scene *scene)
{
    char path[RIG_PATH_MAX + 16];

    snprintf(path, sizeof(path), "%s/id", scene->rig->dir);
    assert_int_equal(unlink(path), 0);
}

static void
test_backup_leaves_those_of_other_databases_alone(void **state)
{
    struct scene *scene = *state;
    struct backup_pruned pruned;
    struct backup_entry *entries;
    size_t count;
    struct err err = {0};

    rig_open(scene->rig);
    for (int i = 0; i < 3; i++) {
        write_samples(scene->rig, i, i + 1);
        take(scene, 0);
    }
    forget_database(scene); /* another one from now on */
    for (int i = 3; i < 6; i++) {
        write_samples(scene->rig, i, i + 1);
        take(scene, 1);
    }
    assert_int_equal(backup_list(scene->dir, &entries, &count, &err), ERR_OK);
    assert_int_equal(count, 4);
    free(entries);
    assert_int_equal(backup_prune(scene->dir, NULL, 2, &pruned, &err), ERR_OK);
    assert_int_equal(pruned.backups, 1);
    assert_int_equal(backup_list(scene->dir, &entries, &count, &err), ERR_OK);
    assert_int_equal(count, 3);
    free(entries);
    struct backup_verified verified;
    const struct backup_verify verify = {.dir = scene->dir, .rows = count_parquet};
    assert_int_equal(backup_verify(&verify, &verified, &err), ERR_OK);
}

static void
test_backup_prunes_what_no_manifest_needs(void **state)
{
    struct scene *scene = *state;
    struct backup_entry *entries;
    struct backup_pruned pruned;
    struct restore_result restored;
    struct err err = {0};
    size_t count;

    rig_open(scene->rig);
    for (int i = 0; i < 4; i++) {
        write_samples(scene->rig, i * 5, i * 5 + 5);
        take(scene, 0);
    }
    assert_int_equal(count_files(scene->dir), 4);
    assert_int_equal(backup_prune(scene->dir, scene->archive, 2, &pruned, &err), ERR_OK);
    assert_int_equal(pruned.backups, 2);
    assert_int_equal(pruned.files, 2);
    assert_int_equal(count_files(scene->dir), 2);
    assert_int_equal(backup_list(scene->dir, &entries, &count, &err), ERR_OK);
    assert_int_equal(count, 2);
    assert_int_equal(entries[0].lsn, 15);
    const struct restore_options options = {.id = entries[0].id};
    if (restore(scene, options, &restored, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    free(entries);
    expect_restored(scene, 15);
    assert_int_equal(take(scene, 1).pruned, 2);
    assert_int_equal(count_files(scene->dir), 1);
}

static void
flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

struct damages {
    int count;
    enum backup_damage last;
};

static void
note_damage(void *ctx, const struct manifest_file *file, enum backup_damage damage,
            const char *text)
{
    struct damages *damages = ctx;

    (void)file;
    (void)text;
    damages->count++;
    damages->last = damage;
}

static enum err_code
verify(struct scene *scene, struct damages *damages)
{
    const struct backup_verify options = {
        .dir = scene->dir, .rows = count_parquet, .damage = note_damage, .ctx = damages};
    struct backup_verified verified;
    struct err err;

    *damages = (struct damages){0};
    return backup_verify(&options, &verified, &err);
}

static void
test_backup_verification_finds_each_changed_byte_and_missing_file(void **state)
{
    struct scene *scene = *state;
    struct manifest manifest MANIFEST_AUTO = {0};
    char relative[MANIFEST_PATH_MAX];
    char path[FILES_PATH_MAX];
    struct damages damages;
    struct restore_result restored;
    struct err err = {0};

    rig_open(scene->rig);
    write_samples(scene->rig, 0, 10);
    struct backup_result taken = take(scene, 0);
    assert_int_equal(verify(scene, &damages), ERR_OK);
    assert_int_equal(manifest_read(scene->dir, taken.id, &manifest, &err), ERR_OK);
    manifest_pool_path(&manifest.files[0], relative);
    assert_int_equal(files_join(scene->dir, relative, path, &err), ERR_OK);
    for (off_t at = 0; at < (off_t)manifest.files[0].file.bytes; at++) {
        flip(path, at);
        if (verify(scene, &damages) != ERR_CORRUPT || damages.last != BACKUP_WRONG_BYTES) {
            fail_msg("byte %lld was changed and nobody noticed", (long long)at);
        }
        flip(path, at);
    }
    assert_int_equal(verify(scene, &damages), ERR_OK);
    flip(path, 40);
    assert_int_equal(restore(scene, (struct restore_options){0}, &restored, &err), ERR_CORRUPT);
    assert_int_equal(access(scene->target, F_OK), -1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(verify(scene, &damages), ERR_CORRUPT);
    assert_int_equal(damages.count, 1);
    assert_int_equal(damages.last, BACKUP_MISSING);
}

static void
test_backup_without_its_manifest_is_none_and_is_removed(void **state)
{
    struct scene *scene = *state;
    char path[FILES_PATH_MAX];
    struct backup_entry *entries;
    struct err err = {0};
    size_t count;

    rig_open(scene->rig);
    write_samples(scene->rig, 0, 3);
    struct backup_result taken = take(scene, 0);
    snprintf(path, sizeof(path), "%s/%s/manifest.json", scene->dir, taken.id);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(backup_list(scene->dir, &entries, &count, &err), ERR_OK);
    assert_int_equal(count, 0);
    free(entries);
    take(scene, 0);
    snprintf(path, sizeof(path), "%s/%s", scene->dir, taken.id);
    assert_int_equal(access(path, F_OK), -1);
}

static void
test_backup_restores_into_nothing_but_an_empty_directory(void **state)
{
    struct scene *scene = *state;
    struct restore_result restored;
    struct err err = {0};
    char mark[FILES_PATH_MAX];

    rig_open(scene->rig);
    write_samples(scene->rig, 0, 3);
    take(scene, 0);
    const struct restore_options into = {.data_dir = scene->rig->dir};
    assert_int_equal(restore(scene, into, &restored, &err), ERR_CONFLICT);
    assert_non_null(strstr(err.msg, "is not empty"));
    /* What a restore left that did not end: no engine takes it, the next restore does. */
    assert_int_equal(files_make_dirs(scene->target, &err), ERR_OK);
    snprintf(mark, sizeof(mark), "%s/%s", scene->target, ENGINE_UNFINISHED);
    assert_int_equal(files_write(mark, SLICE_LITERAL("x"), &err), ERR_OK);
    snprintf(mark, sizeof(mark), "%s/eider.duckdb", scene->target);
    assert_int_equal(files_write(mark, SLICE_LITERAL("half of it"), &err), ERR_OK);
    struct engine_options options = scene->rig->options;
    struct engine *engine;
    options.data_dir = scene->target;
    assert_int_equal(engine_open(&options, &engine, &err), ERR_CONFLICT);
    if (restore(scene, (struct restore_options){0}, &restored, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    expect_restored(scene, 3);
}

static void
test_backup_is_refused_by_a_store_without_files(void **state)
{
    struct scene *scene = *state;
    struct backup_result result;
    struct err err = {0};

    scene->rig->options.store_open = store_memory_open;
    scene->rig->options.store_volatile = true;
    rig_open(scene->rig);
    const struct backup_options options = {.dir = scene->dir,
                                           .data_dir = scene->rig->dir,
                                           .engine = scene->rig->engine,
                                           .version = "test",
                                           .clock = &scene->clock.clock};
    assert_int_equal(backup_take(&options, &result, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "memory"));
}

/* Three days of samples, sealed but for what is written behind it. */
static void
fill_and_seal(struct scene *scene)
{
    const int64_t day_us = INT64_C(86400000000);
    const struct maintain_seal all = {.table = 0};
    struct err err = {0};
    uint64_t ticket;
    char line[64];

    scene->rig->options.maintain =
        (struct maintain_options){.enabled = true, .seal = true, .watch_off = true};
    rig_open(scene->rig);
    rig_applied(scene->rig, rig_write(scene->rig, TABLE_SERIES, "1|cpu|-|-\n"));
    for (int day = 1; day <= 3; day++) {
        for (int i = 0; i < 10; i++) {
            snprintf(line, sizeof(line), "1|%lld|%d.5\n", (long long)(day * day_us + i * 1000),
                     i * day);
            rig_applied(scene->rig, rig_write(scene->rig, TABLE_SAMPLES, line));
        }
    }
    if (engine_ask_seal(scene->rig->engine, &all, &ticket, &err) != ERR_OK ||
        engine_maintain_wait(scene->rig->engine, ticket, 60000, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    snprintf(line, sizeof(line), "1|%lld|7.5\n", (long long)(2 * day_us + 777));
    rig_applied(scene->rig, rig_write(scene->rig, TABLE_SAMPLES, line));
}

/* All rows of all stored tables of an engine, as text. */
static void
dump(struct engine *engine, struct buf *ret_text)
{
    const struct store_sql sql = {
        .sql = SLICE_LITERAL("SELECT 'sample', timestamp, value FROM samples UNION ALL "
                             "SELECT metric_name, NULL, series_id FROM series ORDER BY ALL")};
    struct batch rows;
    struct err err = {0};

    if (engine_sql(engine, &sql, &rows, NULL, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    buf_init(ret_text, 0);
    contract_dump(&rows, ret_text);
    buf_add_char(ret_text, '\0');
    batch_fini(&rows);
}

static void
test_backup_takes_cold_files_and_puts_them_back(void **state)
{
    struct scene *scene = *state;
    struct restore_result restored;
    struct buf before BUF_AUTO = {0};
    struct buf after BUF_AUTO = {0};
    struct err err = {0};

    fill_and_seal(scene);
    dump(scene->rig->engine, &before);
    struct backup_result first = take(scene, 0);
    assert_int_equal(first.sums.rows[TABLE_SAMPLES], 31);
    assert_true(first.files > 5); /* raw files, their rollups, hot rows, series */
    struct backup_result second = take(scene, 0);
    assert_int_equal(second.sums.files_new, 0);
    struct damages damages;
    assert_int_equal(verify(scene, &damages), ERR_OK);
    if (restore(scene, (struct restore_options){0}, &restored, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    assert_true(restored.cold_files >= 3);
    assert_int_equal(restored.rows[TABLE_SAMPLES], 31);
    struct engine_options options = scene->rig->options;
    struct engine *engine = NULL;
    options.data_dir = scene->target;
    assert_int_equal(engine_open(&options, &engine, &err), ERR_OK);
    dump(engine, &after);
    engine_close(engine);
    assert_string_equal(after.ptr, before.ptr);
}

static void
test_backup_refuses_a_cold_file_that_is_damaged(void **state)
{
    struct scene *scene = *state;
    struct cold_file *files;
    struct backup_result result;
    char path[FILES_PATH_MAX];
    char cold[FILES_PATH_MAX];
    struct err err = {0};
    size_t count;

    fill_and_seal(scene);
    assert_int_equal(engine_cold_list(scene->rig->engine, &files, &count, &err), ERR_OK);
    snprintf(cold, sizeof(cold), "%s/cold", scene->rig->dir);
    cold_path(cold, &files[0], path, sizeof(path));
    free(files);
    flip(path, 30);
    const struct backup_options options = {.dir = scene->dir,
                                           .data_dir = scene->rig->dir,
                                           .engine = scene->rig->engine,
                                           .version = "test",
                                           .clock = &scene->clock.clock};
    assert_int_equal(backup_take(&options, &result, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "is damaged"));
    flip(path, 30);
    assert_int_equal(backup_take(&options, &result, &err), ERR_OK);
}

/* A step that fails leaves no backup, nothing pinned, and the next one works. */
static void
test_backup_is_tidy_behind_each_failing_step(void **state)
{
    static const char *const points[] = {"export.copied", "backup.pinned", "backup.pooled",
                                         "backup.complete"};
    struct scene *scene = *state;
    struct backup_entry *entries;
    struct backup_result result;
    struct err err = {0};
    size_t count;
    char arm[64];

    fill_and_seal(scene);
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        const struct backup_options options = {.dir = scene->dir,
                                               .data_dir = scene->rig->dir,
                                               .engine = scene->rig->engine,
                                               .version = "test",
                                               .clock = &scene->clock.clock};
        snprintf(arm, sizeof(arm), "%s:error", points[i]);
        assert_true(failpoint_arm(arm));
        assert_int_equal(backup_take(&options, &result, &err), ERR_IO);
        assert_true(failpoint_arm(NULL));
        assert_int_equal(backup_list(scene->dir, &entries, &count, &err), ERR_OK);
        assert_int_equal(count, 0);
        free(entries);
        assert_int_equal(rig_count_files(scene->rig, "cold/tmp", "pin-"), 0);
        assert_int_equal(rig_count_files(scene->rig, "cold/tmp", "export-"), 0);
    }
    take(scene, 0);
}

/* Texts that no compression makes small, one record each. */
static void
write_ballast(struct scene *scene, enum table_id table, int count)
{
    struct rng rng;

    rng_init(&rng, (uint64_t)table);
    for (int i = 0; i < count; i++) {
        struct buf lines BUF_AUTO = {0};
        buf_init(&lines, 0);
        for (int n = 0; n < 200; n++) {
            char text[129];
            for (size_t at = 0; at < 128; at += 16) {
                snprintf(text + at, 17, "%016llx", (unsigned long long)rng_next(&rng));
            }
            if (table == TABLE_TRADES) {
                buf_add_fmt(&lines, "%s|%d|A|buy|1|1|-|-|-\n", text, i * 200 + n);
            } else {
                buf_add_fmt(&lines, "%d|%s|-|-\n", i * 200 + n, text);
            }
        }
        buf_add_char(&lines, '\0');
        rig_applied(scene->rig, rig_write(scene->rig, table, lines.ptr));
    }
}

/* Sealed rows leave holes in front of rows that stay, which a compact copy does not have. */
static void
test_engine_swaps_in_a_compact_file_that_has_every_row(void **state)
{
    static const char *const points[] = {"swap.closed", "compact.renamed"};
    const struct maintain_seal trades = {.table = TABLE_TRADES};
    struct scene *scene = *state;
    struct engine_compacted compacted = {0};
    struct buf before BUF_AUTO = {0};
    struct buf after BUF_AUTO = {0};
    struct err err = {0};
    uint64_t ticket;
    char arm[64];

    scene->rig->options.wal.segment_bytes = 1 << 20;
    scene->rig->options.maintain =
        (struct maintain_options){.enabled = true, .seal = true, .watch_off = true};
    rig_open(scene->rig);
    write_ballast(scene, TABLE_TRADES, 120);
    assert_int_equal(engine_checkpoint(scene->rig->engine, 60000, &err), ERR_OK);
    write_ballast(scene, TABLE_SERIES, 10);
    assert_int_equal(engine_checkpoint(scene->rig->engine, 60000, &err), ERR_OK);
    assert_int_equal(engine_ask_seal(scene->rig->engine, &trades, &ticket, &err), ERR_OK);
    if (engine_maintain_wait(scene->rig->engine, ticket, 60000, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    rig_applied(scene->rig, rig_sample(scene->rig, 1, 5));
    dump(scene->rig->engine, &before);
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
        snprintf(arm, sizeof(arm), "%s:error", points[i]);
        assert_true(failpoint_arm(arm));
        assert_int_equal(engine_compact(scene->rig->engine, 60000, &compacted, &err), ERR_IO);
        assert_true(failpoint_arm(NULL));
        rig_applied(scene->rig, rig_sample(scene->rig, 1, 6)); /* it goes on with the old file */
    }
    buf_fini(&before);
    dump(scene->rig->engine, &before);
    if (engine_compact(scene->rig->engine, 60000, &compacted, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    dump(scene->rig->engine, &after);
    assert_string_equal(after.ptr, before.ptr);
    assert_true(compacted.swapped);
    assert_true(compacted.bytes_after < compacted.bytes_before);
    rig_close(scene->rig);
    assert_int_equal(rig_count_files(scene->rig, ".", ".compact"), 0);
    rig_open(scene->rig);
    buf_fini(&after);
    dump(scene->rig->engine, &after);
    assert_string_equal(after.ptr, before.ptr);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_backup_gives_back_what_was_there),
        CASE(test_backup_replays_the_log_to_an_lsn_and_to_its_end),
        CASE(test_backup_keeps_the_log_that_is_dropped),
        CASE(test_backup_says_what_the_log_lacks),
        CASE(test_backup_stores_an_unchanged_day_once),
        CASE(test_backup_that_is_newest_stays_although_the_clock_went_back),
        CASE(test_backup_leaves_those_of_other_databases_alone),
        CASE(test_backup_prunes_what_no_manifest_needs),
        CASE(test_backup_verification_finds_each_changed_byte_and_missing_file),
        CASE(test_backup_without_its_manifest_is_none_and_is_removed),
        CASE(test_backup_restores_into_nothing_but_an_empty_directory),
        CASE(test_backup_is_refused_by_a_store_without_files),
        CASE(test_backup_takes_cold_files_and_puts_them_back),
        CASE(test_backup_refuses_a_cold_file_that_is_damaged),
        CASE(test_backup_is_tidy_behind_each_failing_step),
        CASE(test_engine_swaps_in_a_compact_file_that_has_every_row),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
