/* Rows as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/rows.h"

static void
make_rows(struct batch *rows)
{
    batch_init_answer(rows, 1 << 20);
    batch_add_column(rows, SLICE_LITERAL("symbol"), COL_TEXT);
    batch_add_column(rows, SLICE_LITERAL("price"), COL_DOUBLE);
    batch_add_column(rows, SLICE_LITERAL("at"), COL_TIMESTAMP);
    size_t row = batch_add_row(rows);
    batch_set_text(rows, 0, row, SLICE_LITERAL("A\xc3\x84, \"b\""));
    batch_set_f64(rows, 1, row, 1.5);
    batch_set_i64(rows, 2, row, 0);
    row = batch_add_row(rows);
    batch_set_text(rows, 0, row, SLICE_LITERAL("x\x1b[2J"));
    batch_set_f64(rows, 1, row, NAN);
}

/* Writes `pages` pages of the same rows. */
static char *
write_pages(enum rows_format format, int pages, bool empty)
{
    struct batch rows BATCH_AUTO;
    struct err err = {0};
    char *text = NULL;
    size_t len = 0;
    struct rows_writer writer = {.out = open_memstream(&text, &len), .format = format};

    make_rows(&rows);
    if (empty) {
        batch_reset(&rows);
    }
    for (int i = 0; i < pages; i++) {
        assert_int_equal(rows_write(&writer, &rows, &err), ERR_OK);
    }
    assert_int_equal(rows_end(&writer, &err), ERR_OK);
    fclose(writer.out);
    return text;
}

static void
expect_text(enum rows_format format, int pages, bool empty, const char *expected)
{
    char *text = write_pages(format, pages, empty);

    assert_string_equal(text, expected);
    free(text);
}

static void
test_rows_align_a_table_by_characters_and_disarm_controls(void **state)
{
    (void)state;
    expect_text(ROWS_TABLE, 1, false,
                "symbol   price  at\n"
                "-------  -----  -------------------\n"
                "A\xc3\x84, \"b\"    1.5  1970-01-01T00:00:00\n"
                "x [2J      nan  \n"
                "(2 rows)\n");
}

static void
test_rows_write_the_csv_header_once(void **state)
{
    (void)state;
    expect_text(ROWS_CSV, 2, false,
                "symbol,price,at\r\n\"A\xc3\x84, \"\"b\"\"\",1.5,1970-01-01T00:00:00\r\n"
                "x\x1b[2J,nan,\r\n\"A\xc3\x84, \"\"b\"\"\",1.5,1970-01-01T00:00:00\r\n"
                "x\x1b[2J,nan,\r\n");
    expect_text(ROWS_CSV, 1, true, "symbol,price,at\r\n");
}

static void
test_rows_are_one_json_array_over_all_pages(void **state)
{
    (void)state;
    expect_text(ROWS_JSON, 0, false, "[]\n");
    expect_text(ROWS_JSON, 1, true, "[]\n");
    char *text = write_pages(ROWS_JSON, 2, false);
    size_t commas = 0;
    for (const char *c = text; *c; c++) {
        commas += c[0] == '}' && c[1] == ',';
    }
    assert_int_equal(commas, 3);
    assert_true(text[0] == '[' && strcmp(text + strlen(text) - 3, "\n]\n") == 0);
    free(text);
}

static void
test_rows_report_a_full_disk(void **state)
{
    struct batch rows BATCH_AUTO;
    struct err err = {0};
    struct rows_writer writer = {.out = fopen("/dev/full", "w"), .format = ROWS_NDJSON};

    (void)state;
    assert_non_null(writer.out);
    make_rows(&rows);
    enum err_code code = rows_write(&writer, &rows, &err);
    if (code == ERR_OK) {
        code = rows_end(&writer, &err);
    }
    assert_int_equal(code, ERR_NO_SPACE);
    fclose(writer.out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_align_a_table_by_characters_and_disarm_controls),
        cmocka_unit_test(test_rows_write_the_csv_header_once),
        cmocka_unit_test(test_rows_are_one_json_array_over_all_pages),
        cmocka_unit_test(test_rows_report_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
