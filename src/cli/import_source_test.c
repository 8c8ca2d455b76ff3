/* CSV as rows of texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/import_source.h"

static void
expect_cell(const struct import_row *row, size_t column, const char *text)
{
    assert_int_equal(row->cells[column].null, text == NULL);
    if (text) {
        assert_true(slice_is(row->cells[column].text, text));
    }
}

static void
test_source_reads_csv_with_its_line_numbers(void **state)
{
    struct import_source *source;
    struct import_row row;
    struct err err = {0};
    bool more = false;
    const char *text = "\xef\xbb\xbf"
                       "a; b ;c\r\n1;\"x;\ny\";\r\n\r\n2;\"\"; z \n3;4\n5;6;7";

    (void)state;
    assert_int_equal(source_open_csv(slice_of(text), '\0', &source, &err), ERR_OK);
    assert_int_equal(source_column_count(source), 3);
    assert_string_equal(source_columns(source)[0], "a");
    assert_string_equal(source_columns(source)[1], "b");
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(source_next(source, &row, &more, &err), ERR_OK);
        assert_int_equal(row.number, 2);
        expect_cell(&row, 1, "x;\ny");
        expect_cell(&row, 2, NULL);
        assert_int_equal(source_next(source, &row, &more, &err), ERR_OK);
        assert_int_equal(row.number, 5);
        expect_cell(&row, 1, "");
        expect_cell(&row, 2, " z ");
        assert_int_equal(source_next(source, &row, &more, &err), ERR_SYNTAX);
        assert_int_equal(row.number, 6);
        assert_string_equal(err.msg, "2 fields; expected 3, as in the first line");
        assert_int_equal(source_next(source, &row, &more, &err), ERR_OK);
        expect_cell(&row, 2, "7");
        assert_int_equal(source_next(source, &row, &more, &err), ERR_OK);
        assert_false(more);
        assert_true(source_progress(source) == 1);
        assert_int_equal(source_rewind(source, &err), ERR_OK);
    }
    source_close(source);
}

static void
test_source_refuses_csv_without_a_header(void **state)
{
    struct import_source *source;
    struct err err = {0};

    (void)state;
    assert_int_equal(source_open_csv(SLICE_LITERAL(""), '\0', &source, &err), ERR_SYNTAX);
    assert_string_equal(err.msg, "the file is empty; expected a line with column names");
}

static void
test_source_maps_files_and_refuses_directories(void **state)
{
    char path[] = "/tmp/eider-source-test-XXXXXX";
    int fd = mkstemp(path);
    struct import_bytes bytes;
    struct err err = {0};

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(import_bytes_open(path, &bytes, &err), ERR_OK);
    assert_int_equal(bytes.text.len, 0);
    import_bytes_close(&bytes);
    assert_int_equal(write(fd, "abc", 3), 3);
    close(fd);
    assert_int_equal(import_bytes_open(path, &bytes, &err), ERR_OK);
    assert_true(slice_is(bytes.text, "abc"));
    import_bytes_close(&bytes);
    unlink(path);
    assert_int_equal(import_bytes_open("/tmp", &bytes, &err), ERR_INVALID);
    assert_string_equal(err.msg, "/tmp is not a regular file");
    assert_int_equal(import_bytes_open(path, &bytes, &err), ERR_IO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_reads_csv_with_its_line_numbers),
        cmocka_unit_test(test_source_refuses_csv_without_a_header),
        cmocka_unit_test(test_source_maps_files_and_refuses_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
