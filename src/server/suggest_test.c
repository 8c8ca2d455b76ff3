/* Nearest names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/suggest.h"

static void
test_suggest_counts_a_swap_as_one_edit(void **state)
{
    (void)state;
    assert_int_equal(suggest_distance(SLICE_LITERAL("prot"), SLICE_LITERAL("port")), 1);
    assert_int_equal(suggest_distance(SLICE_LITERAL("PORT"), SLICE_LITERAL("port")), 0);
    assert_int_equal(suggest_distance(SLICE_LITERAL(""), SLICE_LITERAL("abc")), 3);
    assert_int_equal(suggest_distance(SLICE_LITERAL("kitten"), SLICE_LITERAL("sitting")), 3);
}

static void
test_suggest_finds_nothing_for_a_word_unlike_all(void **state)
{
    struct suggest suggest;

    (void)state;
    suggest_init(&suggest, SLICE_LITERAL("xyzzy"));
    suggest_offer(&suggest, "port");
    suggest_offer(&suggest, "serve");
    assert_null(suggest.best);
    suggest_init(&suggest, SLICE_LITERAL("x"));
    suggest_offer(&suggest, "a");
    assert_null(suggest.best);
}

static void
test_suggest_keeps_the_nearest_whatever_the_order(void **state)
{
    struct suggest suggest;

    (void)state;
    suggest_init(&suggest, SLICE_LITERAL("exprot"));
    suggest_offer(&suggest, "import");
    suggest_offer(&suggest, "export");
    suggest_offer(&suggest, "import");
    assert_string_equal(suggest.best, "export");
}

static void
test_suggest_refuses_to_measure_very_long_words(void **state)
{
    char word[SUGGEST_WORD_MAX + 1];

    (void)state;
    memset(word, 'a', sizeof(word));
    assert_true(suggest_distance(slice_make(word, sizeof(word)), SLICE_LITERAL("a")) == SIZE_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suggest_counts_a_swap_as_one_edit),
        cmocka_unit_test(test_suggest_finds_nothing_for_a_word_unlike_all),
        cmocka_unit_test(test_suggest_keeps_the_nearest_whatever_the_order),
        cmocka_unit_test(test_suggest_refuses_to_measure_very_long_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
