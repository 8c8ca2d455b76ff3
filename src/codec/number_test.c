/* Tests of numbers: against strtod and printf as oracles, at every limit, both directions. */
#include "codec/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"

enum { ROUNDS = 200000, ORACLE_BYTES = 64 };

static double
from_bits(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* Compares as bits, so that zeros differ by sign. */
static void
assert_same(double a, double b)
{
    assert_memory_equal(&a, &b, sizeof(a));
}

static void
assert_reads_as_strtod(const char *text)
{
    /* On the heap without a NUL, so that a sanitizer sees a read past the end. */
    size_t len = strlen(text);
    MEM_AUTO char *copy = mem_alloc(len);
    double value = -1;

    memcpy(copy, text, len);
    assert_true(number_parse_f64(slice_make(copy, len), &value));
    assert_same(value, strtod(text, NULL));
}

static void
test_number_reads_hard_cases_as_strtod_does(void **state)
{
    static const char *const texts[] = {
        "0", "-0", "0.0", "-0.0", "1", "-1", "0.1", "101.25", ".5", "5.", "00012.5",
        "9007199254740991", "9007199254740992", "9007199254740993", "9007199254740993.0",
        "9007199254740994", "9007199254740995", "123456789012345678", "1234567890123456789",
        "12345678901234567890", "18446744073709551615", "18446744073709551616",
        "0.000000000000000000000000000001234567890123456789", "1e22", "1e23", "1e-22", "1e-23",
        "8.5e22", "4.5e15", "1e55", "1e56", "1e-55", "1e-56", "1.7976931348623157e308",
        "1.7976931348623158e308", "2.2250738585072014e-308", "2.2250738585072011e-308",
        "4.9406564584124654e-324", "5e-324", "1e-400", "0e999999999999", "1e-99999999999",
        "6.02214076e23", "1.0e+5", "1E5", "0.30000000000000004",
        /* halfway between two doubles, and a hair beside */
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124",
        "1.00000000000000011102230246251565404236316680908203126", "9007199254740993e0",
        "900719925474099300e-2", "5708990770823839524233143877797980545530986496",
        "1448997445238699", "7.2057594037927933e16", "0.0000000000000000000000000000000000001",
        "0000000000000000000000000000000000000000000000012345.678900000000000000000000000000"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        assert_reads_as_strtod(texts[i]);
    }
}

static void
test_number_reads_random_decimals_as_strtod_does(void **state)
{
    struct rng rng;
    char text[64];

    (void)state;
    rng_init(&rng, 11);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t digits = rng_next(&rng) >> rng_below(&rng, 64);
        int exponent = (int)rng_below(&rng, 130) - 65;
        snprintf(text, sizeof(text), "%s%llue%d", i % 2 ? "-" : "", (unsigned long long)digits,
                 exponent);
        assert_reads_as_strtod(text);
        snprintf(text, sizeof(text), "%llu.%0*llu", (unsigned long long)(digits % 100000),
                 (int)rng_below(&rng, 15) + 1, (unsigned long long)rng_below(&rng, 10));
        assert_reads_as_strtod(text);
    }
}

static void
test_number_reads_decimals_next_to_halfway_as_strtod_does(void **state)
{
    struct rng rng;
    char text[64];

    (void)state;
    rng_init(&rng, 12);
    for (int i = 0; i < ROUNDS / 4; i++) {
        /* Halfway between neighbours: an odd 54-bit integer. */
        uint64_t halfway = (rng_next(&rng) >> 11 | 1ULL << 52) * 2 + 1;
        snprintf(text, sizeof(text), "%llu", (unsigned long long)halfway);
        assert_reads_as_strtod(text);
        snprintf(text, sizeof(text), "%llu.0", (unsigned long long)halfway);
        assert_reads_as_strtod(text);
        snprintf(text, sizeof(text), "%llu.5e-1", (unsigned long long)halfway);
        assert_reads_as_strtod(text);
    }
}

static void
test_number_written_reads_back_for_random_doubles(void **state)
{
    struct rng rng;
    char text[NUMBER_F64_MAX];

    (void)state;
    rng_init(&rng, 13);
    for (int i = 0; i < ROUNDS; i++) {
        double value = from_bits(rng_next(&rng));
        double back = 0;
        if (i % 3 == 1) {
            value = (rng_double(&rng) - 0.5) * pow(10, (double)rng_below(&rng, 80) - 40);
        } else if (i % 3 == 2) {
            value = (double)(int64_t)rng_below(&rng, 1000000000) / 100;
        }
        if (!isfinite(value)) {
            continue;
        }
        size_t len = number_format_f64(value, text);
        assert_int_equal(strlen(text), len);
        assert_same(strtod(text, NULL), value);
        assert_true(number_parse_f64(slice_make(text, len), &back));
        assert_same(back, value);
    }
}

static unsigned
count_digits(const char *text)
{
    unsigned count = 0;
    unsigned zeros = 0; /* behind the last other digit */

    for (; *text && *text != 'e'; text++) {
        if (*text == '0' && count > 0) {
            zeros++;
        } else if (*text >= '1' && *text <= '9') {
            count += zeros + 1;
            zeros = 0;
        }
    }
    return count;
}

/* The least digits with which printf's text reads back. */
static void
shortest_of_printf(double value, char ret_text[ORACLE_BYTES])
{
    int precision = 0;

    do {
        snprintf(ret_text, ORACLE_BYTES, "%.*e", precision++, value);
    } while (strtod(ret_text, NULL) < value || strtod(ret_text, NULL) > value);
}

/* Prices and their neighbours: the text is printf's shortest that reads back. */
static void
test_number_of_few_decimals_is_the_shortest(void **state)
{
    static const double scales[] = {1, 10, 100, 1e3, 1e4, 1e5, 1e8};
    struct rng rng;
    char text[NUMBER_F64_MAX];
    char oracle[ORACLE_BYTES];

    (void)state;
    rng_init(&rng, 15);
    for (int i = 0; i < ROUNDS / 10; i++) {
        uint64_t digits = 1 + rng_below(&rng, 1000000000000000ULL >> rng_below(&rng, 48));
        double value = (double)digits / scales[rng_below(&rng, 7)];
        value = i % 3 == 0 ? value : nextafter(value, i % 3 == 1 ? 0 : INFINITY);
        shortest_of_printf(value, oracle);
        number_format_f64(value, text);
        assert_int_equal(count_digits(text), count_digits(oracle));
        assert_same(strtod(text, NULL), value);
    }
}

static void
test_number_written_is_the_shortest_and_nearest(void **state)
{
    struct rng rng;
    char text[NUMBER_F64_MAX];
    char oracle[ORACLE_BYTES];

    (void)state;
    rng_init(&rng, 14);
    for (int i = 0; i < ROUNDS / 10; i++) {
        double value = from_bits(rng_next(&rng) & ~(1ULL << 63));
        if (i % 2) {
            value = from_bits((rng_below(&rng, 200) + 923) << 52 | (uint64_t)(i % 4 == 1 ? 0 : i));
        }
        if (!isfinite(value) || value < 1e-300) {
            continue;
        }
        shortest_of_printf(value, oracle);
        number_format_f64(value, text);
        /* printf rounds to nearest, which may miss a shorter text inside an uneven interval. */
        assert_true(count_digits(text) <= count_digits(oracle));
        if (count_digits(text) == count_digits(oracle) && i % 2 == 0) {
            assert_same(strtod(text, NULL), strtod(oracle, NULL));
        }
    }
}

static void
test_number_written_has_the_form_of_python(void **state)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0.0"},
                 {-0.0, "-0.0"},
                 {1, "1.0"},
                 {-5, "-5.0"},
                 {101.25, "101.25"},
                 {0.1, "0.1"},
                 {1e15, "1000000000000000.0"},
                 {1234567890123456, "1234567890123456.0"},
                 {1e16, "1e+16"},
                 {1.5e16, "1.5e+16"},
                 {123456789012345680, "1.2345678901234568e+17"},
                 {1e22, "1e+22"},
                 {1e100, "1e+100"},
                 {0.0001, "0.0001"},
                 {0.00012345, "0.00012345"},
                 {0.00001, "1e-05"},
                 {1.5e-7, "1.5e-07"},
                 {1e-100, "1e-100"},
                 {5e-324, "5e-324"},
                 {2.2250738585072014e-308, "2.2250738585072014e-308"},
                 {1.7976931348623157e308, "1.7976931348623157e+308"},
                 {0.30000000000000004, "0.30000000000000004"},
                 {9007199254740992, "9007199254740992.0"},
                 {INFINITY, "inf"},
                 {-INFINITY, "-inf"},
                 {NAN, "nan"}};
    char text[NUMBER_F64_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t len = number_format_f64(cases[i].value, text);
        assert_int_equal(len, strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

static void
test_number_refuses_what_is_none(void **state)
{
    static const char *const wrong[] = {"",    "-",    "+1",  ".",     "-.",    "e5",   "1e",
                                        "1e+", "1 ",   " 1",  "1x",    "0x10",  "1..2", "1.2.3",
                                        "--1", "1e5.", "nan", "1,000", "1e400", "inf",  "-1e999"};
    char longest[NUMBER_TEXT_MAX + 2];
    double value = 42;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        assert_false(number_parse_f64(slice_of(wrong[i]), &value));
        assert_same(value, 42);
    }
    memset(longest, '1', sizeof(longest));
    assert_false(number_parse_f64(slice_make(longest, NUMBER_TEXT_MAX + 1), &value));
    longest[1] = '.';
    assert_true(number_parse_f64(slice_make(longest, NUMBER_TEXT_MAX), &value));
}

static void
test_number_reads_integers_up_to_their_limits(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } right[] = {{"0", 0},
                 {"-0", 0},
                 {"7", 7},
                 {"12345678", 12345678},
                 {"1700000000000000000", 1700000000000000000},
                 {"9223372036854775807", INT64_MAX},
                 {"-9223372036854775808", INT64_MIN},
                 {"00000000000000000000000000009", 9}};
    static const char *const wrong[] = {"",
                                        "-",
                                        "+1",
                                        "1.0",
                                        "1e3",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "18446744073709551617",
                                        "99999999999999999999",
                                        "1234567a",
                                        "12345678a",
                                        "a"};
    int64_t value = 42;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        assert_false(number_parse_i64(slice_of(wrong[i]), &value));
        assert_int_equal(value, 42);
    }
    for (size_t i = 0; i < sizeof(right) / sizeof(*right); i++) {
        assert_true(number_parse_i64(slice_of(right[i].text), &value));
        assert_true(value == right[i].value);
    }
}

static void
test_number_integers_read_back(void **state)
{
    struct rng rng;
    char text[32];

    (void)state;
    rng_init(&rng, 15);
    for (int i = 0; i < ROUNDS / 4; i++) {
        int64_t value = (int64_t)rng_next(&rng) >> rng_below(&rng, 64);
        int64_t back = 0;
        snprintf(text, sizeof(text), "%lld", (long long)value);
        assert_true(number_parse_i64(slice_of(text), &back));
        assert_true(back == value);
    }
}

static bool
whole(const char *text, int64_t *ret_value)
{
    struct number number;

    assert_true(number_parse(slice_of(text), &number));
    return number_to_i64(&number, ret_value);
}

static void
test_number_takes_whole_values_in_any_form(void **state)
{
    int64_t value = 0;
    uint64_t magnitude = 0;
    struct number number;

    (void)state;
    assert_true(whole("1.0", &value) && value == 1);
    assert_true(whole("-1.50e1", &value) && value == -15);
    assert_true(whole("1e3", &value) && value == 1000);
    assert_true(whole("9.223372036854775807e18", &value) && value == INT64_MAX);
    assert_true(whole("-9223372036854775808.0", &value) && value == INT64_MIN);
    assert_true(whole("0e99999", &value) && value == 0);
    assert_true(whole("5.0000000000000000000000", &value) && value == 5);
    assert_false(whole("5.0000000000000000000001", &value));
    assert_false(whole("50000000000000000000000e-22", &value));
    assert_false(whole("1.5", &value));
    assert_false(whole("1e-1", &value));
    assert_false(whole("1e19", &value));
    assert_false(whole("1e99999", &value));
    assert_false(whole("1e-99999", &value));
    assert_false(whole("9223372036854775808", &value));
    assert_false(whole("123456789012345678901", &value));
    assert_true(number_parse(slice_of("18446744073709551615"), &number));
    assert_true(number_to_u64(&number, &magnitude) && magnitude == UINT64_MAX);
    assert_true(number_parse(slice_of("18446744073709551616"), &number));
    assert_false(number_to_u64(&number, &magnitude));
    assert_true(number_parse(slice_of("-1"), &number));
    assert_false(number_to_u64(&number, &magnitude));
    assert_true(number_parse(slice_of("-0"), &number));
    assert_true(number_to_u64(&number, &magnitude) && magnitude == 0);
}

static void
test_number_scan_stops_where_the_number_ends(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } cases[] = {{"1,2", 1},
                 {"1.5]", 3},
                 {"12345678,", 8},
                 {"1234567812345678x", 16},
                 {"1e5 ", 3},
                 {"1e", 1},
                 {"1e+x", 1},
                 {"-7i", 2},
                 {"1.5.5", 3},
                 {"123.", 4},
                 {"1E-2}", 4},
                 {"17000000000 ", 11},
                 {"1234567.1234567,", 15}};
    struct number number;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *text = cases[i].text;
        const char *end = number_scan(text, text + strlen(text), &number);
        assert_ptr_equal(end, text + cases[i].len);
        assert_int_equal(number.text.len, cases[i].len);
    }
    const char *none = "x";
    assert_null(number_scan(none, none + 1, &number));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number_reads_hard_cases_as_strtod_does),
        cmocka_unit_test(test_number_reads_random_decimals_as_strtod_does),
        cmocka_unit_test(test_number_reads_decimals_next_to_halfway_as_strtod_does),
        cmocka_unit_test(test_number_written_reads_back_for_random_doubles),
        cmocka_unit_test(test_number_written_is_the_shortest_and_nearest),
        cmocka_unit_test(test_number_of_few_decimals_is_the_shortest),
        cmocka_unit_test(test_number_written_has_the_form_of_python),
        cmocka_unit_test(test_number_refuses_what_is_none),
        cmocka_unit_test(test_number_reads_integers_up_to_their_limits),
        cmocka_unit_test(test_number_integers_read_back),
        cmocka_unit_test(test_number_takes_whole_values_in_any_form),
        cmocka_unit_test(test_number_scan_stops_where_the_number_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
