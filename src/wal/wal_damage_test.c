/*
 * Damaged logs: a byte flipped anywhere, a file cut anywhere, a sector blanked, files missing. A
 * log that opens holds all that was acknowledged; otherwise it is refused with file and offset.
 * Only the last group before a kill can pass for a torn tail (docs/formats/wal.md says why).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wal/crc32c.h"
#include "wal/wal.h"
#include "wal/wal_format.h"
#include "wal/wal_memfs.h"
#include "wal/wal_oracle.h"

enum { SEGMENT_BYTES = 32 << 10, NAMES_MAX = 16 };

/* A log as some process left it. */
struct specimen {
    struct wal_memfs *origin; /* where it was written; the oracle refers to it */
    struct wal_memfs *disk;
    struct wal_oracle *oracle;
    size_t before_last; /* the journal before the last group was handed in */
    bool killed;
};

static enum err_code
open_disk(struct wal_memfs *fs, struct wal **ret_wal, struct err *err)
{
    struct wal_options options = {.dir = WAL_MEMFS_DIR,
                                  .segment_bytes = SEGMENT_BYTES,
                                  .sys = wal_memfs_sys(fs),
                                  .retry_ms = 1};

    return wal_open(&options, 1, ret_wal, err);
}

/*
 * One segment that ended with a restart, two with failed syncs and a newest one that ends with a
 * group of three. Little is written to each, so that none is made ahead.
 */
static struct specimen
make_specimen(bool killed)
{
    const struct wal_memfs_fault fault = {
        .call = WAL_MEMFS_SYNC_DATA, .nth = 1, .times = 1, .sys = EIO};
    struct wal_memfs *fs = wal_memfs_new(11);
    struct specimen specimen = {.origin = fs, .oracle = wal_oracle_new(fs), .killed = killed};
    struct err err;
    struct wal *wal;

    wal_memfs_journal(fs);
    assert_int_equal(open_disk(fs, &wal, &err), ERR_OK);
    wal_oracle_group(specimen.oracle, wal, 2, 100);
    wal_close(wal);
    assert_int_equal(open_disk(fs, &wal, &err), ERR_OK);
    for (int i = 0; i < 2; i++) {
        wal_oracle_append(specimen.oracle, wal, 30);
        wal_oracle_append(specimen.oracle, wal, 900);
        wal_memfs_fail(fs, &fault);
        assert_int_equal(wal_oracle_append(specimen.oracle, wal, 90), ERR_IO);
    }
    wal_oracle_append(specimen.oracle, wal, 600);
    wal_oracle_append(specimen.oracle, wal, 601);
    specimen.before_last = wal_memfs_journal_len(fs);
    wal_oracle_group(specimen.oracle, wal, 3, 70);
    if (killed) {
        specimen.disk = wal_memfs_copy(fs, 12);
    }
    wal_close(wal);
    if (!killed) {
        specimen.disk = wal_memfs_copy(fs, 13);
    }
    return specimen;
}

static void
free_specimen(struct specimen *specimen)
{
    wal_memfs_free(specimen->disk);
    wal_memfs_free(specimen->origin);
    wal_oracle_free(specimen->oracle);
}

/* The rules of the head of this file, for a disk on which `name` was damaged. */
static void
judge(const struct specimen *specimen, struct wal_memfs *disk, const char *name, const char *what)
{
    struct err err = {0};
    struct err check_err = {0};
    struct wal *wal;

    enum err_code check = wal_check(WAL_MEMFS_DIR, wal_memfs_sys(disk), NULL, NULL, &check_err);
    enum err_code code = open_disk(disk, &wal, &err);
    assert_int_equal(check, code);
    if (code != ERR_OK) {
        if (code != ERR_CORRUPT || !strstr(err.msg, name) || !strstr(err.msg, "offset")) {
            fail_msg("%s: %s", what, err.msg);
        }
        assert_string_equal(err.msg, check_err.msg);
        return;
    }
    code = wal_oracle_check(specimen->oracle, wal, SIZE_MAX, &err);
    if (code != ERR_OK && specimen->killed) {
        /* The leader of the last group is a group by itself, hence one answer more is sure. */
        code = wal_oracle_check(specimen->oracle, wal, specimen->before_last, &err);
        uint64_t sure_lsn = wal_oracle_acked_lsn(specimen->oracle) - 3;
        assert_true(wal_durable_lsn(wal) >= sure_lsn);
    }
    if (code != ERR_OK) {
        fail_msg("%s: %s", what, err.msg);
    }
    wal_close(wal);
}

static void
flip_everywhere(bool killed, uint8_t mask)
{
    struct specimen specimen = make_specimen(killed);
    const char *name;
    char what[96];
    size_t len;

    for (size_t i = 0; (name = wal_memfs_name(specimen.disk, i)); i++) {
        wal_memfs_bytes(specimen.disk, name, &len);
        for (size_t at = 0; at < len; at++) {
            bool header_zeros = at > 96 && at < WAL_HEADER_BYTES - 8;
            bool far_tail = at > WAL_HEADER_BYTES + 1800 && at % 397 != 0;
            if ((header_zeros && at % 97 != 0) || far_tail) {
                continue;
            }
            struct wal_memfs *disk = wal_memfs_copy(specimen.disk, at);
            wal_memfs_bytes(disk, name, &len)[at] ^= mask;
            snprintf(what, sizeof(what), "%s, byte %zu flipped by %x", name, at, mask);
            judge(&specimen, disk, name, what);
            wal_memfs_free(disk);
        }
    }
    free_specimen(&specimen);
}

static void
test_wal_finds_every_flipped_byte_after_a_clean_end(void **state)
{
    (void)state;
    flip_everywhere(false, 0x01);
}

static void
test_wal_finds_every_flipped_byte_after_a_kill(void **state)
{
    (void)state;
    flip_everywhere(true, 0x80);
}

static void
test_wal_finds_every_cut(void **state)
{
    char what[96];
    const char *name;
    size_t len;

    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        struct specimen specimen = make_specimen(killed);
        for (size_t i = 0; (name = wal_memfs_name(specimen.disk, i)); i++) {
            wal_memfs_bytes(specimen.disk, name, &len);
            size_t step = 1;
            for (size_t cut = 1; cut < len; cut += step) {
                bool dull =
                    cut > WAL_HEADER_BYTES + 1800 || (cut > 128 && cut < WAL_HEADER_BYTES - 16);
                step = dull ? 211 : 3;
                struct wal_memfs *disk = wal_memfs_copy(specimen.disk, cut);
                wal_memfs_cut(disk, name, cut);
                snprintf(what, sizeof(what), "%s cut to %zu of %zu", name, cut, len);
                judge(&specimen, disk, name, what);
                wal_memfs_free(disk);
            }
        }
        free_specimen(&specimen);
    }
}

/* The newest file with something in it, and where that ends. */
static const char *
newest_file(struct wal_memfs *disk, size_t *ret_end)
{
    const char *newest = NULL;
    const char *name;
    size_t len;

    for (size_t i = 0; (name = wal_memfs_name(disk, i)); i++) {
        const uint8_t *bytes = wal_memfs_bytes(disk, name, &len);
        while (len > 0 && bytes[len - 1] == 0) {
            len--;
        }
        if (len > 0) {
            newest = name;
            *ret_end = len;
        }
    }
    assert_non_null(newest);
    return newest;
}

static uint8_t *
newest_bytes(struct wal_memfs *disk, size_t *ret_end)
{
    size_t len;

    return wal_memfs_bytes(disk, newest_file(disk, ret_end), &len);
}

static void
test_wal_finds_blanked_sectors(void **state)
{
    char what[96];
    const char *name;
    size_t len;

    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        struct specimen specimen = make_specimen(killed);
        size_t end;
        const char *newest = newest_file(specimen.disk, &end);
        for (size_t i = 0; (name = wal_memfs_name(specimen.disk, i)); i++) {
            wal_memfs_bytes(specimen.disk, name, &len);
            /* Nothing is behind the last sector that could prove what was in it. */
            len = killed && name == newest ? end - end % WAL_MEMFS_SECTOR_BYTES : len;
            for (size_t at = 0; at + WAL_MEMFS_SECTOR_BYTES <= len; at += WAL_MEMFS_SECTOR_BYTES) {
                struct wal_memfs *disk = wal_memfs_copy(specimen.disk, at);
                memset(wal_memfs_bytes(disk, name, &len) + at, 0, WAL_MEMFS_SECTOR_BYTES);
                snprintf(what, sizeof(what), "%s, sector at %zu blank", name, at);
                judge(&specimen, disk, name, what);
                wal_memfs_free(disk);
            }
        }
        free_specimen(&specimen);
    }
}

static void
unlink_on(struct wal_memfs *disk, const char *name)
{
    const struct wal_sys *sys = wal_memfs_sys(disk);
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", WAL_MEMFS_DIR, name);
    assert_int_equal(sys->unlink(sys->ctx, path), 0);
}

static void
test_wal_refuses_a_log_with_a_segment_missing(void **state)
{
    struct specimen specimen = make_specimen(false);
    char names[NAMES_MAX][WAL_NAME_LEN + 1];
    struct err err = {0};
    struct wal *wal;
    size_t count = 0;
    const char *name;

    (void)state;
    while ((name = wal_memfs_name(specimen.disk, count))) {
        assert_true(count < NAMES_MAX);
        memcpy(names[count++], name, WAL_NAME_LEN + 1);
    }
    assert_true(count >= 4);
    for (size_t i = 1; i + 1 < count; i++) {
        struct wal_memfs *disk = wal_memfs_copy(specimen.disk, i);
        unlink_on(disk, names[i]);
        assert_int_equal(open_disk(disk, &wal, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.msg, names[i]));
        assert_non_null(strstr(err.msg, "missing"));
        wal_memfs_free(disk);
    }
    /* Without the oldest it looks released. */
    unlink_on(specimen.disk, names[0]);
    assert_int_equal(open_disk(specimen.disk, &wal, &err), ERR_OK);
    assert_true(wal_first_lsn(wal) > 1);
    assert_int_equal(wal_oracle_check(specimen.oracle, wal, SIZE_MAX, &err), ERR_OK);
    wal_close(wal);
    free_specimen(&specimen);
}

static void
test_wal_does_not_read_what_the_store_has(void **state)
{
    struct specimen specimen = make_specimen(false);
    struct wal_options options = {.dir = WAL_MEMFS_DIR,
                                  .segment_bytes = SEGMENT_BYTES,
                                  .sys = wal_memfs_sys(specimen.disk),
                                  .trusted_lsn = 2};
    struct wal_cursor *cursor;
    struct wal_record record;
    struct wal_status status;
    struct err err = {0};
    struct wal *wal;
    size_t len;

    (void)state;
    wal_memfs_bytes(specimen.disk, wal_memfs_name(specimen.disk, 0),
                    &len)[WAL_HEADER_BYTES + 100] ^= 1;
    assert_int_equal(open_disk(specimen.disk, &wal, &err), ERR_CORRUPT);
    assert_int_equal(wal_open(&options, 1, &wal, &err), ERR_CORRUPT);
    options.trusted_lsn = 3;
    assert_int_equal(wal_open(&options, 1, &wal, &err), ERR_OK);
    wal_status(wal, &status);
    assert_int_equal(status.recovered_records, wal_oracle_acked(specimen.oracle));
    assert_int_equal(wal_cursor_open(wal, 4, &cursor, &err), ERR_OK);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
    wal_cursor_close(cursor);
    assert_int_equal(wal_cursor_open(wal, 1, &cursor, &err), ERR_OK);
    enum err_code code = ERR_OK;
    while (code == ERR_OK) {
        code = wal_cursor_next(cursor, 0, &record, &err);
    }
    assert_int_equal(code, ERR_CORRUPT);
    wal_cursor_close(cursor);
    wal_close(wal);
    free_specimen(&specimen);
}

static bool
has_file(struct wal_memfs *disk, const char *wanted)
{
    const char *name;

    for (size_t i = 0; (name = wal_memfs_name(disk, i)); i++) {
        if (strcmp(name, wanted) == 0) {
            return true;
        }
    }
    return false;
}

static void
test_wal_passes_over_what_is_left_behind(void **state)
{
    static const char *const left[] = {"notes.txt", "0000000000000000.wal", "9999999999999999.wal",
                                       "0000000000000123.tmp", NULL};
    struct specimen specimen = make_specimen(true);
    static const uint8_t zeros[SEGMENT_BYTES];
    struct err err = {0};
    struct wal *wal;

    (void)state;
    for (const char *const *name = left; *name; name++) {
        wal_memfs_put(specimen.disk, *name, "x", 1);
    }
    wal_memfs_put(specimen.disk, "0000000000000900.wal", zeros, sizeof(zeros));
    wal_memfs_put(specimen.disk, "0000000000000901.wal", zeros, 0);
    assert_int_equal(open_disk(specimen.disk, &wal, &err), ERR_OK);
    assert_int_equal(wal_oracle_check(specimen.oracle, wal, SIZE_MAX, &err), ERR_OK);
    assert_int_equal(wal_oracle_append(specimen.oracle, wal, 100), ERR_OK);
    wal_close(wal);
    /* What is no segment stays, what was made ahead and not begun goes. */
    for (const char *const *name = left; *name; name++) {
        assert_true(has_file(specimen.disk, *name));
    }
    assert_false(has_file(specimen.disk, "0000000000000900.wal"));
    assert_false(has_file(specimen.disk, "0000000000000901.wal"));
    assert_int_equal(open_disk(specimen.disk, &wal, &err), ERR_OK);
    assert_int_equal(wal_oracle_check(specimen.oracle, wal, SIZE_MAX, &err), ERR_OK);
    wal_close(wal);
    free_specimen(&specimen);
}

static void
test_wal_takes_a_directory_of_blank_files_for_empty(void **state)
{
    static const uint8_t zeros[SEGMENT_BYTES];
    struct wal_memfs *disk = wal_memfs_new(1);
    struct err err = {0};
    struct wal *wal;

    (void)state;
    wal_memfs_put(disk, "0000000000000001.wal", zeros, 0);
    wal_memfs_put(disk, "0000000000000002.wal", zeros, sizeof(zeros));
    assert_int_equal(open_disk(disk, &wal, &err), ERR_OK);
    assert_int_equal(wal_durable_lsn(wal), 0);
    wal_close(wal);
    wal_memfs_put(disk, "0000000000000007.wal", "something", 9);
    assert_int_equal(open_disk(disk, &wal, &err), ERR_CORRUPT);
    wal_memfs_free(disk);
}

static void
test_wal_refuses_a_later_format(void **state)
{
    struct specimen specimen = make_specimen(false);
    struct err err = {0};
    struct wal *wal;
    size_t len;

    (void)state;
    uint8_t *bytes = wal_memfs_bytes(specimen.disk, wal_memfs_name(specimen.disk, 0), &len);
    bytes[8] = 2;
    uint32_t sum = htole32(crc32c(0, bytes, WAL_HEADER_BYTES - 4));
    memcpy(bytes + WAL_HEADER_BYTES - 4, &sum, sizeof(sum));
    assert_int_equal(open_disk(specimen.disk, &wal, &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "later version"));
    free_specimen(&specimen);
}

/* Payloads that look like frames must not make a torn tail look like a hole. */
static void
test_wal_does_not_believe_frames_inside_payloads(void **state)
{
    struct wal_memfs *fs = wal_memfs_new(21);
    uint8_t payload[WAL_FRAME_BYTES * 3];
    struct err err = {0};
    struct wal *wal;
    size_t end;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        wal_frame_encode(&(struct wal_frame){.kind = WAL_FRAME_MARK, .lsn = 1000}, 0,
                         payload + i * WAL_FRAME_BYTES);
    }
    assert_int_equal(open_disk(fs, &wal, &err), ERR_OK);
    assert_int_equal(wal_append(wal, 1, SLICE_LITERAL("first"), NULL, &err), ERR_OK);
    assert_int_equal(wal_append(wal, 1, slice_make(payload, sizeof(payload)), NULL, &err), ERR_OK);
    struct wal_memfs *disk = wal_memfs_copy(fs, 22);
    wal_close(wal);
    newest_bytes(disk, &end)[end - sizeof(payload) - 20] ^= 1;
    assert_int_equal(open_disk(disk, &wal, &err), ERR_OK);
    assert_int_equal(wal_durable_lsn(wal), 1);
    wal_close(wal);
    wal_memfs_free(disk);
    wal_memfs_free(fs);
}

static void
test_wal_cursor_refuses_a_record_damaged_under_it(void **state)
{
    struct wal_memfs *fs = wal_memfs_new(31);
    struct wal_cursor *cursor;
    struct wal_record record;
    struct err err = {0};
    struct wal *wal;
    size_t end;

    (void)state;
    assert_int_equal(open_disk(fs, &wal, &err), ERR_OK);
    assert_int_equal(wal_append(wal, 1, SLICE_LITERAL("12345678"), NULL, &err), ERR_OK);
    assert_int_equal(wal_append(wal, 1, SLICE_LITERAL("12345678"), NULL, &err), ERR_OK);
    newest_bytes(fs, &end)[end - 1] ^= 1;
    assert_int_equal(wal_cursor_open(wal, 1, &cursor, &err), ERR_OK);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_CORRUPT);
        assert_non_null(strstr(err.msg, "LSN 2"));
    }
    wal_cursor_close(cursor);
    wal_close(wal);
    wal_memfs_free(fs);
}

struct lines {
    char text[4096];
};

static void
gather(void *ctx, const char *line)
{
    struct lines *lines = ctx;
    size_t used = strlen(lines->text);

    snprintf(lines->text + used, sizeof(lines->text) - used, "%s\n", line);
}

static void
test_wal_check_reports_every_segment(void **state)
{
    struct specimen specimen = make_specimen(true);
    struct lines lines = {{0}};
    struct err err = {0};
    size_t end = 0;

    (void)state;
    const struct wal_sys *sys = wal_memfs_sys(specimen.disk);
    assert_int_equal(wal_check(WAL_MEMFS_DIR, sys, gather, &lines, &err), ERR_OK);
    assert_non_null(strstr(lines.text, "0000000000000001.wal: LSN 1 to 3, 3 records"));
    newest_bytes(specimen.disk, &end)[end - 1] ^= 1;
    lines.text[0] = '\0';
    assert_int_equal(wal_check(WAL_MEMFS_DIR, sys, gather, &lines, &err), ERR_OK);
    assert_non_null(strstr(lines.text, "torn tail of"));
    newest_bytes(specimen.disk, &end)[WAL_HEADER_BYTES + 4] ^= 1;
    lines.text[0] = '\0';
    assert_int_equal(wal_check(WAL_MEMFS_DIR, sys, gather, &lines, &err), ERR_CORRUPT);
    assert_non_null(strstr(lines.text, "offset 4096: a record is damaged"));
    free_specimen(&specimen);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wal_finds_every_flipped_byte_after_a_clean_end),
        cmocka_unit_test(test_wal_finds_every_flipped_byte_after_a_kill),
        cmocka_unit_test(test_wal_finds_every_cut),
        cmocka_unit_test(test_wal_finds_blanked_sectors),
        cmocka_unit_test(test_wal_refuses_a_log_with_a_segment_missing),
        cmocka_unit_test(test_wal_passes_over_what_is_left_behind),
        cmocka_unit_test(test_wal_takes_a_directory_of_blank_files_for_empty),
        cmocka_unit_test(test_wal_does_not_read_what_the_store_has),
        cmocka_unit_test(test_wal_refuses_a_later_format),
        cmocka_unit_test(test_wal_does_not_believe_frames_inside_payloads),
        cmocka_unit_test(test_wal_cursor_refuses_a_record_damaged_under_it),
        cmocka_unit_test(test_wal_check_reports_every_segment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
