/* A memory store in a file and back; every damage to the file is noticed; within an engine the log
 * is shortened and nothing that the store held is lost. */
#include "store/engine_testing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/memory/store_memory.h"

static void
put(struct store *store, uint64_t lsn, enum table_id table, const char *lines)
{
    struct batch batch;
    struct store_group group = {lsn, lsn, 1, &batch};

    contract_fill(&batch, table, lines);
    assert_int_equal(store_apply(store, &group, NULL), ERR_OK);
    batch_fini(&batch);
}

static char *
dump(struct store *store)
{
    const struct catalog_table *table;
    struct buf text;
    size_t len;

    buf_init(&text, 0);
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        const struct store_scan all = {
            .table = table->id, .from_us = INT64_MIN, .to_us = INT64_MAX};
        struct batch rows;
        assert_int_equal(store_scan(store, &all, &rows, NULL), ERR_OK);
        buf_add_fmt(&text, "%s\n", table->name);
        contract_dump(&rows, &text);
        batch_fini(&rows);
    }
    buf_add_char(&text, '\0');
    return buf_take(&text, &len);
}

static struct store *
open_at(const char *path, enum err_code expected)
{
    const struct store_open_options options = {.path = path};
    struct store *store = NULL;
    struct err err = {0};

    assert_int_equal(store_memory_open(&options, &store, &err), expected);
    assert_true(expected == ERR_OK || strstr(err.msg, path) != NULL);
    return store;
}

static int
setup_file(void **state)
{
    char *path = mem_zalloc(1, RIG_PATH_MAX);
    int fd;

    snprintf(path, RIG_PATH_MAX, "%s", "/tmp/eider-mem-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    *state = path;
    return 0;
}

static int
teardown_file(void **state)
{
    unlink(*state);
    free(*state);
    return 0;
}

static struct store *
filled(void)
{
    struct store *store = open_at(NULL, ERR_OK);

    put(store, 1, TABLE_SERIES, "1|cpu|-|{\"host\":\"a\"}\n2|price|A|-\n");
    put(store, 2, TABLE_SAMPLES, "1|10|1\n1|10|2\n2|5|nan\n1|7|-0\n");
    put(store, 3, TABLE_MARKET_DATA, "1|A|1|-|2.5|7|1|0\n2|A|1|-|-|0|0|0\n1|A|9|-|-|0|0|0\n");
    put(store, 4, TABLE_TRADES, "t1|1|A|buy|1|1|-|-|-\nt2|1|A|sell|1|1|-|-|-\n");
    return store;
}

static void
test_snapshot_holds_all_of_the_store(void **state)
{
    const char *path = *state;
    struct store *store = filled();
    char *before = dump(store);

    assert_int_equal(store_snapshot(store, path, NULL), ERR_OK);
    store_close(store);
    store = open_at(path, ERR_OK);
    assert_int_equal(store_applied_lsn(store), 4);
    char *after = dump(store);
    assert_string_equal(after, before);
    put(store, 5, TABLE_MARKET_DATA, "2|A|3|-|-|0|0|0\n"); /* replaces: keys are known */
    struct store_table_stats stats;
    assert_int_equal(store_table_stats(store, TABLE_MARKET_DATA, &stats, NULL), ERR_OK);
    assert_int_equal(stats.rows, 2);
    free(before);
    free(after);
    store_close(store);
}

static void
test_snapshot_of_nothing_opens(void **state)
{
    struct store *store = open_at(*state, ERR_OK);

    assert_int_equal(store_snapshot(store, *state, NULL), ERR_OK);
    store_close(store);
    store = open_at(*state, ERR_OK);
    assert_int_equal(store_applied_lsn(store), 0);
    store_close(store);
}

static void
write_file(const char *path, const char *bytes, size_t len)
{
    FILE *file = fopen(path, "wbe");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void
test_damaged_snapshots_are_refused(void **state)
{
    const char *path = *state;
    struct store *store = filled();
    struct stat about;

    assert_int_equal(store_snapshot(store, path, NULL), ERR_OK);
    store_close(store);
    assert_int_equal(stat(path, &about), 0);
    size_t len = (size_t)about.st_size;
    char *bytes = mem_alloc(len + 1);
    FILE *file = fopen(path, "rbe");
    assert_int_equal(fread(bytes, 1, len, file), len);
    fclose(file);
    for (size_t cut = 0; cut < len; cut++) {
        write_file(path, bytes, cut);
        open_at(path, ERR_CORRUPT);
    }
    for (size_t at = 0; at < len; at++) {
        if (at >= 8 && at < 16) {
            continue; /* any LSN is one */
        }
        bytes[at] = (char)(bytes[at] ^ 0x40);
        write_file(path, bytes, len);
        bool is_last_hash = at >= len - 8;
        if (!is_last_hash) {
            open_at(path, ERR_CORRUPT);
        }
        bytes[at] = (char)(bytes[at] ^ 0x40);
    }
    bytes[len] = 0;
    write_file(path, bytes, len + 1);
    open_at(path, ERR_CORRUPT);
    free(bytes);
}

/* ---- within an engine ---- */

static void
prepare(struct rig *rig)
{
    rig->options.store_volatile = true;
    rig->options.store.memory_limit_bytes = 4 << 20;
    rig->options.snapshot_wal_bytes = 64 << 10;
    rig->options.wal.segment_bytes = 64 << 10;
}

static void
write_much(struct rig *rig)
{
    static char lines[64 << 10];
    uint64_t lsn = 0;

    for (int record = 0; record < 40; record++) {
        size_t used = 0;
        for (int i = 0; i < 500; i++) {
            used += (size_t)snprintf(lines + used, sizeof(lines) - used, "1|%d|1\n",
                                     record * 500 + i + 1);
        }
        lsn = rig_write(rig, TABLE_SAMPLES, lines);
        rig_applied(rig, lsn);
    }
}

static void
test_log_of_a_memory_store_is_shortened_and_nothing_lost(void **state)
{
    struct rig *rig = *state;
    struct engine_status status;

    prepare(rig);
    rig_open(rig);
    rig_applied(rig, rig_write(rig, TABLE_SERIES, "1|cpu|-|-\n"));
    write_much(rig);
    rig_close(rig); /* the last round is over */
    rig_open(rig);
    engine_status(rig->engine, &status);
    assert_true(status.wal.first_lsn > 1);
    assert_true(rig_count_files(rig, "", "memory.snapshot") > 0); /* the next one may be begun */
    rig_applied(rig, status.durable_lsn);
    rig_expect_samples(rig, 40 * 500);
    struct store_table_stats stats;
    assert_int_equal(engine_table_stats(rig->engine, TABLE_SERIES, &stats, NULL), ERR_OK);
    assert_int_equal(stats.rows, 1);
}

static void
test_memory_store_whose_copy_is_damaged_starts_empty(void **state)
{
    struct rig *rig = *state;
    struct engine_status status;
    struct store_table_stats stats;

    prepare(rig);
    rig_open(rig);
    rig_applied(rig, rig_write(rig, TABLE_SERIES, "1|cpu|-|-\n"));
    write_much(rig);
    rig_close(rig);
    rig_spoil(rig, "memory.snapshot");
    rig_open(rig);
    engine_status(rig->engine, &status);
    rig_applied(rig, status.durable_lsn);
    assert_int_equal(engine_table_stats(rig->engine, TABLE_SAMPLES, &stats, NULL), ERR_OK);
    assert_int_equal(stats.rows, 0); /* nobody could name their series */
    assert_int_equal(rig_count_files(rig, "quarantine", "memory.snapshot"), 1);
    rig_applied(rig, rig_write(rig, TABLE_SERIES, "1|mem|-|-\n"));
    rig_applied(rig, rig_sample(rig, 1, 1));
    rig_expect_samples(rig, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_snapshot_holds_all_of_the_store, setup_file,
                                        teardown_file),
        cmocka_unit_test_setup_teardown(test_snapshot_of_nothing_opens, setup_file, teardown_file),
        cmocka_unit_test_setup_teardown(test_damaged_snapshots_are_refused, setup_file,
                                        teardown_file),
        cmocka_unit_test_setup_teardown(test_log_of_a_memory_store_is_shortened_and_nothing_lost,
                                        rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(test_memory_store_whose_copy_is_damaged_starts_empty,
                                        rig_setup, rig_teardown),
    };

    rig_plan.open = store_memory_open;
    return cmocka_run_group_tests_name("memory snapshot", tests, NULL, NULL);
}
