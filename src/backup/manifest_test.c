/* The manifest: there and back, and no byte of it can change unseen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>
#include <string.h>

#include "backup/manifest.h"

static const char sum_a[] = "00112233445566778899aabbccddeeff";

static void
fill(struct manifest *manifest)
{
    struct manifest_file hot = {
        .file = {.table = TABLE_SERIES, .day = STORE_DAY_NONE, .rows = 3, .bytes = 400}};
    struct manifest_file cold = {.file = {.name = "0193c2a0-0000-7000-8000-000000000001.parquet",
                                          .table = TABLE_SAMPLES,
                                          .kind = COLD_1H,
                                          .day = 20000,
                                          .rows = 24,
                                          .bytes = 900,
                                          .min_us = -5,
                                          .max_us = 7,
                                          .sealed_lsn = 12,
                                          .sealed_us = 99},
                                 .cold = true,
                                 .reused = true};

    *manifest = (struct manifest){.id = "20261121T103000.123Z",
                                  .version = "0.1.0",
                                  .database_id = "0193c2a0-0000-7000-8000-000000000000",
                                  .store_type = "duckdb",
                                  .schema = 2,
                                  .lsn = 42,
                                  .taken_us = 1795000000000000,
                                  .ended_us = 1795000001000000};
    memcpy(hot.file.checksum, sum_a, sizeof(sum_a));
    memcpy(cold.file.checksum, sum_a, sizeof(sum_a));
    manifest_add(manifest, &hot);
    manifest_add(manifest, &cold);
}

static void
test_manifest_reads_what_it_wrote(void **state)
{
    struct manifest manifest MANIFEST_AUTO = {0};
    struct manifest back MANIFEST_AUTO = {0};
    struct buf json BUF_AUTO = {0};
    struct manifest_sums sums;
    struct err err = {0};
    char path[MANIFEST_PATH_MAX];

    (void)state;
    fill(&manifest);
    buf_init(&json, 0);
    manifest_encode(&manifest, &json);
    if (manifest_decode(buf_slice(&json), &back, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    assert_string_equal(back.id, manifest.id);
    assert_string_equal(back.database_id, manifest.database_id);
    assert_string_equal(back.store_type, "duckdb");
    assert_int_equal(back.schema, 2);
    assert_int_equal(back.lsn, 42);
    assert_int_equal(back.taken_us, manifest.taken_us);
    assert_int_equal(back.ended_us, manifest.ended_us);
    assert_int_equal(back.file_count, 2);
    assert_memory_equal(&back.files[0].file, &manifest.files[0].file, sizeof(struct cold_file));
    assert_memory_equal(&back.files[1].file, &manifest.files[1].file, sizeof(struct cold_file));
    assert_false(back.files[0].cold);
    assert_true(back.files[1].cold && back.files[1].reused);
    manifest_pool_path(&back.files[0], path);
    assert_string_equal(path, "files/series/date=none/00112233445566778899aabbccddeeff.parquet");
    manifest_pool_path(&back.files[1], path);
    assert_string_equal(
        path, "files/samples_1h/date=2024-10-04/00112233445566778899aabbccddeeff.parquet");
    manifest_sum(&back, &sums);
    assert_int_equal(sums.rows[TABLE_SERIES], 3);
    assert_int_equal(sums.rows[TABLE_SAMPLES], 0); /* a rollup is no row of the table */
    assert_int_equal(sums.bytes, 1300);
    assert_int_equal(sums.bytes_new, 400);
}

static void
test_manifest_notices_every_changed_byte_and_every_cut(void **state)
{
    struct manifest manifest MANIFEST_AUTO = {0};
    struct buf json BUF_AUTO = {0};
    struct err err;

    (void)state;
    fill(&manifest);
    buf_init(&json, 0);
    manifest_encode(&manifest, &json);
    for (size_t i = 0; i < json.len; i++) {
        struct manifest back = {0};
        json.ptr[i] ^= 1;
        if (manifest_decode(buf_slice(&json), &back, &err) != ERR_CORRUPT) {
            fail_msg("byte %zu was changed and nobody noticed", i);
        }
        json.ptr[i] ^= 1;
        if (manifest_decode(slice_make(json.ptr, i), &back, &err) != ERR_CORRUPT) {
            fail_msg("it was cut at %zu and nobody noticed", i);
        }
    }
}

/* Whoever writes manifests by hand must not lead a restore out of its directory. */
static void
test_manifest_refuses_names_that_are_paths(void **state)
{
    static const char *const names[] = {"../../etc/passwd.parquet", "a/b.parquet", ".parquet",
                                        "0193.txt", ""};
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct manifest manifest MANIFEST_AUTO = {0};
        struct manifest back = {0};
        struct buf json BUF_AUTO = {0};
        fill(&manifest);
        memset(manifest.files[1].file.name, 0, sizeof(manifest.files[1].file.name));
        slice_to_cstr(slice_of(names[i]), manifest.files[1].file.name, COLD_NAME_MAX);
        buf_init(&json, 0);
        manifest_encode(&manifest, &json);
        if (manifest_decode(buf_slice(&json), &back, &err) != ERR_CORRUPT) {
            fail_msg("\"%s\" was taken for a cold file", names[i]);
        }
    }
}

enum hostile {
    ARCHIVE_ELSEWHERE, /* its files would be pruned */
    SHORT_ID,
    VIEW, /* stores nothing */
    HOT_ROLLUP,
    COLD_SERIES,    /* a table that is not sealed */
    COLD_TRADES_1H, /* one without rollups */
    SEALED_BEHIND,  /* new rows up to there would be passed over */
    TIME_BEYOND,
    FROM_BEYOND,
    LSN_BEYOND,
    HOSTILE_COUNT
};

static void
make_hostile(struct manifest *manifest, enum hostile how)
{
    struct cold_file *hot = &manifest->files[0].file;
    struct cold_file *cold = &manifest->files[1].file;

    switch (how) {
    case ARCHIVE_ELSEWHERE:
        slice_to_cstr(slice_of("../../../srv/eider/wal/aaaaaaaaaaaaa"), manifest->database_id,
                      sizeof(manifest->database_id));
        break;
    case SHORT_ID:
        slice_to_cstr(slice_of(".."), manifest->database_id, sizeof(manifest->database_id));
        break;
    case VIEW:
        hot->table = TABLE_METRICS;
        break;
    case HOT_ROLLUP:
        hot->table = TABLE_SAMPLES;
        hot->kind = COLD_1H;
        break;
    case COLD_SERIES:
        cold->table = TABLE_SERIES;
        cold->kind = COLD_RAW;
        break;
    case COLD_TRADES_1H:
        cold->table = TABLE_TRADES;
        break;
    case SEALED_BEHIND:
        cold->sealed_lsn = manifest->lsn + 1;
        break;
    case TIME_BEYOND:
        manifest->taken_us = INT64_MAX;
        break;
    case FROM_BEYOND:
        cold->min_us = INT64_MIN;
        break;
    case LSN_BEYOND:
        manifest->lsn = INT64_MAX;
        break;
    case HOSTILE_COUNT:
        break;
    }
}

/* A directory of backups may come from anywhere; its checksums say nothing about that. */
static void
test_manifest_refuses_values_that_no_backup_has(void **state)
{
    struct err err;

    (void)state;
    for (int how = 0; how < HOSTILE_COUNT; how++) {
        struct manifest manifest MANIFEST_AUTO = {0};
        struct manifest back = {0};
        struct buf json BUF_AUTO = {0};
        fill(&manifest);
        make_hostile(&manifest, (enum hostile)how);
        buf_init(&json, 0);
        manifest_encode(&manifest, &json);
        if (manifest_decode(buf_slice(&json), &back, &err) != ERR_CORRUPT) {
            fail_msg("value %d was believed", how);
        }
    }
}

static void
test_manifest_says_that_a_later_format_needs_a_later_program(void **state)
{
    struct manifest manifest MANIFEST_AUTO = {0};
    struct manifest back = {0};
    struct buf json BUF_AUTO = {0};
    struct err err;
    char sum[FILES_SUM_MAX];

    (void)state;
    fill(&manifest);
    buf_init(&json, 0);
    manifest_encode(&manifest, &json);
    json.ptr[strlen("{\"format\":")] = '7';
    size_t body = json.len - strlen(",\"checksum\":\"\"}\n") - FILES_SUM_LEN;
    files_sum_bytes(slice_make(json.ptr, body), sum);
    memcpy(json.ptr + body + strlen(",\"checksum\":\""), sum, FILES_SUM_LEN);
    assert_int_equal(manifest_decode(buf_slice(&json), &back, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "format 7"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_reads_what_it_wrote),
        cmocka_unit_test(test_manifest_notices_every_changed_byte_and_every_cut),
        cmocka_unit_test(test_manifest_refuses_names_that_are_paths),
        cmocka_unit_test(test_manifest_refuses_values_that_no_backup_has),
        cmocka_unit_test(test_manifest_says_that_a_later_format_needs_a_later_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
