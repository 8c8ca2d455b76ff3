/* Tests of the collected row errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/row_errors.h"

static void
test_row_errors_keep_the_first_and_count_the_rest(void **state)
{
    ARENA_AUTO struct arena arena;
    struct row_errors errors;

    (void)state;
    arena_init(&arena, 1 << 20);
    row_errors_init(&errors, &arena, 20);
    for (uint64_t i = 0; i < 50; i++) {
        row_errors_add(&errors, i, slice_of("price"), slice_of("abc"), slice_of("a number"));
    }
    assert_int_equal(errors.count, 20);
    assert_int_equal(errors.noted, 50);
    assert_int_equal(errors.items[19].row, 19);
    assert_true(slice_is(errors.items[0].field, "price"));
    assert_true(slice_is(errors.items[0].value, "abc"));
    assert_true(slice_is(errors.items[0].expected, "a number"));
}

static void
test_row_errors_cut_values_between_characters(void **state)
{
    ARENA_AUTO struct arena arena;
    struct row_errors errors;
    char text[200];

    (void)state;
    arena_init(&arena, 1 << 20);
    row_errors_init(&errors, &arena, 20);
    memset(text, 'x', sizeof(text));
    row_errors_add(&errors, 0, slice_of(""), slice_make(text, 200), slice_of(""));
    assert_int_equal(errors.items[0].value.len, 100);
    memcpy(text + 98, "\xe2\x82\xac", 3); /* three bytes, the third behind the cut */
    row_errors_add(&errors, 0, slice_of(""), slice_make(text, 200), slice_of(""));
    assert_int_equal(errors.items[1].value.len, 98);
    /* Bytes that are no UTF-8 anywhere else are told as they are. */
    text[3] = '\xff';
    row_errors_add(&errors, 0, slice_of(""), slice_make(text, 200), slice_of(""));
    assert_int_equal(errors.items[2].value.len, 100);
}

static void
test_row_errors_without_room_are_counted_only(void **state)
{
    ARENA_AUTO struct arena arena;
    struct row_errors errors;

    (void)state;
    arena_init(&arena, 16);
    row_errors_init(&errors, &arena, 20);
    row_errors_add(&errors, 0, slice_of("a"), slice_of("b"), slice_of("c"));
    assert_int_equal(errors.count, 0);
    assert_int_equal(errors.noted, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_errors_keep_the_first_and_count_the_rest),
        cmocka_unit_test(test_row_errors_cut_values_between_characters),
        cmocka_unit_test(test_row_errors_without_room_are_counted_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
