#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants these first. */
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/time.h"
#include "store/cold.h"
#include "store/engine_testing.h"
#include "store/failpoint.h"

#define NAME "01890a5d-ac96-774b-bcce-b302099a8057.parquet"

static struct cold_file
make_file(enum table_id table, enum cold_kind kind, const char *day)
{
    struct cold_file file = {.name = NAME,
                             .table = table,
                             .kind = kind,
                             .rows = 7,
                             .bytes = 1234,
                             .min_us = 5,
                             .max_us = 6000000,
                             .checksum = "000102030405060708090a0b0c0d0e0f",
                             .sealed_lsn = 42,
                             .sealed_us = 1700000000000000};

    assert_true(cold_day_parse(slice_of(day), &file.day));
    return file;
}

static int
make_dir(void **state)
{
    static char dir[64];

    snprintf(dir, sizeof(dir), "/tmp/eider-cold-XXXXXX");
    assert_non_null(mkdtemp(dir));
    *state = dir;
    return 0;
}

static int
remove_dir(void **state)
{
    failpoint_arm(NULL);
    rig_remove_tree(*state);
    return 0;
}

static void
write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void
test_cold_days_are_of_utc(void **state)
{
    static const struct {
        int64_t us;
        const char *day;
    } cases[] = {
        {0, "1970-01-01"},
        {-1, "1969-12-31"},
        {TIME_US_PER_DAY - 1, "1970-01-01"},
        {TIME_US_PER_DAY, "1970-01-02"},
        {-TIME_US_PER_DAY, "1969-12-31"},
        {-TIME_US_PER_DAY - 1, "1969-12-30"},
        {INT64_C(1709164800000000), "2024-02-29"},
        {INT64_C(1709251199999999), "2024-02-29"},
        {INT64_C(1709251200000000), "2024-03-01"},
        {TIME_MIN_US, "0001-01-01"},
        {TIME_MAX_US, "9999-12-31"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[COLD_DAY_TEXT];
        int32_t day;
        cold_day_format(cold_day_of(cases[i].us), text);
        assert_string_equal(text, cases[i].day);
        assert_true(cold_day_parse(slice_of(text), &day));
        assert_int_equal(day, cold_day_of(cases[i].us));
        assert_true(cold_day_begin_us(day) <= cases[i].us && cases[i].us < cold_day_end_us(day));
    }
}

static void
test_cold_days_at_the_ends_of_time_have_a_begin_and_an_end(void **state)
{
    const int64_t ends[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX - 1};

    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        int32_t day = cold_day_of(ends[i]);
        assert_true(cold_day_begin_us(day) <= ends[i] && ends[i] < cold_day_end_us(day));
    }
    assert_true(cold_day_begin_us(INT32_MIN) == INT64_MIN);
    assert_true(cold_day_end_us(INT32_MAX) == INT64_MAX);
}

static void
test_cold_day_refuses_other_texts(void **state)
{
    static const char *const bad[] = {"",           "2024-2-29",     "2023-02-29",
                                      "20240229",   "2024-02-29T00", "2024-13-01",
                                      "../../etc/", "2024-02-2x"};
    int32_t day;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(cold_day_parse(slice_of(bad[i]), &day));
    }
}

static void
test_cold_path_names_every_kind(void **state)
{
    (void)state;
    for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
        struct cold_file file = make_file(TABLE_SAMPLES, (enum cold_kind)kind, "2024-02-29");
        char relative[COLD_RELATIVE_MAX];
        char expected[COLD_RELATIVE_MAX];
        struct cold_file back;
        cold_relative(&file, relative);
        snprintf(expected, sizeof(expected), "samples%s/date=2024-02-29/" NAME,
                 cold_kind_suffix(file.kind));
        assert_string_equal(relative, expected);
        assert_true(cold_parse_relative(slice_of(relative), &back));
        assert_int_equal(cold_file_compare(&file, &back), 0);
    }
}

static void
test_cold_path_refuses_what_is_not_ours(void **state)
{
    static const char *const bad[] = {
        "",
        "samples",
        "samples/date=2024-02-29",
        "samples/date=2024-02-29/",
        "samples/date=2024-02-29/.parquet",
        "samples/date=2024-02-30/" NAME,
        "samples/2024-02-29/" NAME,
        "samples_2m/date=2024-02-29/" NAME,
        "nothing/date=2024-02-29/" NAME,
        "samples/date=2024-02-29/sub/" NAME,
        "samples/date=2024-02-29/" NAME ".tmp",
        "samples/date=2024-02-29/x" NAME NAME,
        "/samples/date=2024-02-29/" NAME,
    };
    struct cold_file file;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (cold_parse_relative(slice_of(bad[i]), &file)) {
            fail_msg("%s was taken", bad[i]);
        }
    }
}

static void
test_cold_open_empties_tmp(void **state)
{
    char path[COLD_PATH_MAX];
    struct err err = {0};

    snprintf(path, sizeof(path), "%s/cold", (char *)*state);
    assert_int_equal(cold_open(path, &err), ERR_OK);
    snprintf(path, sizeof(path), "%s/cold/tmp/left.parquet", (char *)*state);
    write_text(path, "half");
    snprintf(path, sizeof(path), "%s/cold", (char *)*state);
    assert_int_equal(cold_open(path, &err), ERR_OK);
    snprintf(path, sizeof(path), "%s/cold/tmp/left.parquet", (char *)*state);
    assert_int_not_equal(access(path, F_OK), 0);
}

struct seen {
    size_t count;
    struct cold_file file;
};

static enum err_code
note_seen(void *ctx, const struct cold_file *file, struct err *err)
{
    struct seen *seen = ctx;

    (void)err;
    seen->count++;
    seen->file = *file;
    return ERR_OK;
}

static void
test_cold_put_walk_and_unlink(void **state)
{
    struct cold_file file = make_file(TABLE_TRADES, COLD_1H, "2026-11-01");
    char tmp[COLD_PATH_MAX];
    char path[COLD_PATH_MAX];
    char checksum[COLD_CHECKSUM_MAX];
    struct seen seen = {0};
    struct err err = {0};
    uint64_t bytes = 0;

    assert_int_equal(cold_open(*state, &err), ERR_OK);
    cold_tmp_path(*state, &file, tmp, sizeof(tmp));
    write_text(tmp, "abc");
    assert_int_equal(cold_put(*state, tmp, &file, &err), ERR_OK);
    assert_int_not_equal(access(tmp, F_OK), 0);
    snprintf(path, sizeof(path), "%s/trades_1h/date=2026-11-01/readme.txt", (char *)*state);
    write_text(path, "somebody else's");
    assert_int_equal(cold_walk(*state, note_seen, &seen, &err), ERR_OK);
    assert_int_equal(seen.count, 1);
    assert_int_equal(cold_file_compare(&seen.file, &file), 0);
    assert_int_equal(seen.file.bytes, 3);
    cold_path(*state, &file, path, sizeof(path));
    assert_int_equal(cold_checksum(path, checksum, &bytes, &err), ERR_OK);
    /* XXH3-128 of "abc", as `xxhsum -H2` prints it. */
    assert_string_equal(checksum, "06b05ab6733a618578af5f94892f3950");
    assert_int_equal(bytes, 3);
    assert_int_equal(cold_unlink(*state, &file, &err), ERR_OK);
    assert_int_equal(cold_unlink(*state, &file, &err), ERR_OK);
    assert_int_equal(cold_checksum(path, checksum, &bytes, &err), ERR_NOT_FOUND);
}

static void
test_cold_walk_of_nothing_finds_nothing(void **state)
{
    char path[COLD_PATH_MAX];
    struct seen seen = {0};
    struct err err = {0};

    snprintf(path, sizeof(path), "%s/absent", (char *)*state);
    assert_int_equal(cold_walk(path, note_seen, &seen, &err), ERR_OK);
    assert_int_equal(seen.count, 0);
}

static void
test_cold_ledger_survives_a_cut_line(void **state)
{
    struct cold_file files[2] = {make_file(TABLE_SAMPLES, COLD_RAW, "2026-11-01"),
                                 make_file(TABLE_SAMPLES, COLD_RAW, "2026-11-02")};
    struct cold_names names COLD_NAMES_AUTO = {0};
    char path[COLD_PATH_MAX];
    struct err err = {0};

    cold_names_init(&names);
    assert_int_equal(cold_ledger_read(*state, COLD_DROPPED, &names, &err), ERR_OK);
    assert_int_equal(names.count, 0);
    assert_int_equal(cold_ledger_add(*state, COLD_DROPPED, &files[0], 1, &err), ERR_OK);
    snprintf(path, sizeof(path), "%s/dropped", (char *)*state);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs("samples/date=2026-1", file);
    fclose(file);
    assert_int_equal(cold_ledger_add(*state, COLD_DROPPED, &files[1], 1, &err), ERR_OK);
    assert_int_equal(cold_ledger_read(*state, COLD_DROPPED, &names, &err), ERR_OK);
    assert_int_equal(names.count, 2);
    assert_true(cold_names_has(&names, "samples/date=2026-11-01/" NAME));
    assert_true(cold_names_has(&names, "samples/date=2026-11-02/" NAME));
    assert_false(cold_names_has(&names, "samples/date=2026-11-03/" NAME));
    struct cold_names fewer COLD_NAMES_AUTO = {0};
    cold_names_add(&fewer, names.names[1]);
    assert_int_equal(cold_ledger_replace(*state, COLD_DROPPED, &fewer, &err), ERR_OK);
    cold_names_fini(&names);
    assert_int_equal(cold_ledger_read(*state, COLD_DROPPED, &names, &err), ERR_OK);
    assert_int_equal(names.count, 1);
}

static void
cut_last_byte(const char *path, off_t by)
{
    struct stat info;

    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - by), 0);
}

static void
test_cold_sidecar_reads_back_or_is_corrupt(void **state)
{
    struct cold_file files[2] = {make_file(TABLE_EVENTS, COLD_RAW, "2026-11-01"),
                                 make_file(TABLE_EVENTS, COLD_1D, "2026-11-01")};
    struct cold_names names COLD_NAMES_AUTO = {0};
    char path[COLD_PATH_MAX];
    struct err err = {0};

    snprintf(path, sizeof(path), "%s/eider-1.cold", (char *)*state);
    assert_int_equal(cold_sidecar_read(path, &names, &err), ERR_NOT_FOUND);
    assert_int_equal(cold_sidecar_write(path, files, 2, &err), ERR_OK);
    assert_int_equal(cold_sidecar_read(path, &names, &err), ERR_OK);
    assert_int_equal(names.count, 2);
    assert_true(cold_names_has(&names, "api_event_log_1d/date=2026-11-01/" NAME));
    cut_last_byte(path, 60);
    assert_int_equal(cold_sidecar_read(path, &names, &err), ERR_CORRUPT);
    assert_int_equal(cold_sidecar_write(path, NULL, 0, &err), ERR_OK);
    cold_names_fini(&names);
    assert_int_equal(cold_sidecar_read(path, &names, &err), ERR_OK);
    assert_int_equal(names.count, 0);
}

static void
test_cold_manifest_reads_back_or_is_corrupt(void **state)
{
    struct cold_file files[3] = {make_file(TABLE_SAMPLES, COLD_RAW, "2026-11-01"),
                                 make_file(TABLE_SAMPLES, COLD_1M, "2026-11-01"),
                                 make_file(TABLE_MARKET_DATA, COLD_RAW, "1969-12-31")};
    struct cold_manifest manifest = {
        .lsn = UINT64_MAX, .written_us = 1700000000123456, .files = files, .count = 3};
    struct cold_manifest back = {0};
    char path[COLD_PATH_MAX];
    struct err err = {0};

    assert_int_equal(cold_manifest_read(*state, &back, &err), ERR_NOT_FOUND);
    assert_int_equal(cold_manifest_write(*state, &manifest, &err), ERR_OK);
    if (cold_manifest_read(*state, &back, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    assert_true(back.lsn == UINT64_MAX);
    assert_int_equal(back.written_us, manifest.written_us);
    assert_int_equal(back.count, 3);
    for (size_t i = 0; i < back.count; i++) {
        assert_int_equal(cold_file_compare(&back.files[i], &files[i]), 0);
        assert_int_equal(back.files[i].rows, 7);
        assert_int_equal(back.files[i].bytes, 1234);
        assert_int_equal(back.files[i].min_us, 5);
        assert_int_equal(back.files[i].max_us, 6000000);
        assert_int_equal(back.files[i].sealed_lsn, 42);
        assert_int_equal(back.files[i].sealed_us, files[i].sealed_us);
        assert_string_equal(back.files[i].checksum, files[i].checksum);
    }
    free(back.files);
    snprintf(path, sizeof(path), "%s/manifest.json", (char *)*state);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "8", 1, 90), 1);
    close(fd);
    assert_int_equal(cold_manifest_read(*state, &back, &err), ERR_CORRUPT);
    cut_last_byte(path, 1);
    assert_int_equal(cold_manifest_read(*state, &back, &err), ERR_CORRUPT);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(cold_manifest_read(*state, &back, &err), ERR_CORRUPT);
}

static void
test_cold_manifest_that_fails_leaves_the_old_one(void **state)
{
    struct cold_manifest manifest = {.lsn = 1};
    struct cold_manifest back = {0};
    struct err err = {0};

    assert_int_equal(cold_manifest_write(*state, &manifest, &err), ERR_OK);
    manifest.lsn = 2;
    failpoint_arm("manifest.written:error");
    assert_int_equal(cold_manifest_write(*state, &manifest, &err), ERR_IO);
    assert_int_equal(cold_manifest_read(*state, &back, &err), ERR_OK);
    assert_int_equal(back.lsn, 1);
    free(back.files);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cold_days_are_of_utc),
        cmocka_unit_test(test_cold_days_at_the_ends_of_time_have_a_begin_and_an_end),
        cmocka_unit_test(test_cold_day_refuses_other_texts),
        cmocka_unit_test(test_cold_path_names_every_kind),
        cmocka_unit_test(test_cold_path_refuses_what_is_not_ours),
        cmocka_unit_test_setup_teardown(test_cold_open_empties_tmp, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_cold_put_walk_and_unlink, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_cold_walk_of_nothing_finds_nothing, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(test_cold_ledger_survives_a_cut_line, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_cold_sidecar_reads_back_or_is_corrupt, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(test_cold_manifest_reads_back_or_is_corrupt, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(test_cold_manifest_that_fails_leaves_the_old_one, make_dir,
                                        remove_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
