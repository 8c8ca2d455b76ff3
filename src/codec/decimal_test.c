/* Tests of exact decimals: what is read, what is refused, and both ways for many values. */
#include "codec/decimal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"

enum { ROUNDS = 100000 };

/* On the heap without a NUL, so that a sanitizer sees a read past the end. */
static bool
parse(const char *text, int64_t *ret_micro)
{
    size_t len = strlen(text);
    MEM_AUTO char *copy = mem_alloc(len + (len == 0));

    memcpy(copy, text, len);
    return decimal_parse(slice_make(copy, len), ret_micro);
}

static void
test_decimal_reads_numbers_exactly(void **state)
{
    static const struct {
        const char *text;
        int64_t micro;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"-0.0e5", 0},
        {"60", 60000000},
        {"60.5", 60500000},
        {"-0.5", -500000},
        {"120.000001", 120000001},
        {"0.1", 100000},
        {"1e3", 1000000000},
        {"1E+3", 1000000000},
        {"1e-6", 1},
        {"-1e-6", -1},
        {"123.4567e2", 12345670000},
        {"123456.7e-5", 1234567},
        {"0.0000001e1", 1},
        {"1.5000000000000000000000000", 1500000},
        {"1000000e-12", 1},
        {"0.00000100", 1},
        {"000000000000000000000000000007", 7000000},
        {"10000000000000000000000000000000e-31", 1000000},
        {"0.00000000000000000000000000000000005e33", 50000},
        {"999999999999.999999", DECIMAL_MAX},
        {"-999999999999.999999", -DECIMAL_MAX},
        {"999999999999999999e-6", DECIMAL_MAX},
        {"0e999999999999999999999999", 0},
        {"0.000e-999999999999999999999999", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int64_t micro = 42;
        if (!parse(cases[i].text, &micro) || micro != cases[i].micro) {
            fail_msg("%s gave %" PRId64, cases[i].text, micro);
        }
    }
}

static void
test_decimal_refuses_what_it_cannot_keep(void **state)
{
    static const char *const texts[] = {
        "", "-", ".", "e5", "-e5", "+1", "--1", "1-", "1e", "1e+", "1e1.5", "1.2.3", " 1", "1 ",
        "0x10", "nan", "inf", "1,5", "1_000", "\"1\"", "1e5e5",
        /* a seventh decimal */
        "0.0000001", "1.0000001", "1e-7", "-0.9999999", "120.0000005", "1234567e-13",
        /* beyond DECIMAL_MAX */
        "1000000000000", "-1000000000000", "1e12", "999999999999.9999991", "1e18", "1e19", "1e30",
        "9223372036854.775808", "18446744073709551616", "99999999999999999999999999",
        /* quickly */
        "1e999999999", "1e-999999999", "1e99999999999999999999", "-1e-99999999999999999999",
        "1e2147483648", "1e-2147483648", "1e9223372036854775807", "1e-9223372036854775808"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        int64_t micro = 42;
        if (parse(texts[i], &micro)) {
            fail_msg("%s gave %" PRId64, texts[i], micro);
        }
        assert_int_equal(micro, 42); /* untouched */
    }
}

static void
assert_writes(int64_t micro, const char *expected)
{
    char text[DECIMAL_TEXT_MAX];

    memset(text, 'x', sizeof(text));
    assert_int_equal(decimal_format(micro, text), strlen(expected));
    assert_string_equal(text, expected);
}

static void
test_decimal_writes_the_shortest_text(void **state)
{
    (void)state;
    assert_writes(0, "0");
    assert_writes(60000000, "60");
    assert_writes(500000, "0.5");
    assert_writes(-500000, "-0.5");
    assert_writes(-1000001, "-1.000001");
    assert_writes(1, "0.000001");
    assert_writes(100, "0.0001");
    assert_writes(10000000, "10");
    assert_writes(DECIMAL_MAX, "999999999999.999999");
    assert_writes(-DECIMAL_MAX, "-999999999999.999999");
    assert_writes(INT64_MIN, "-9223372036854.775808");
    assert_writes(INT64_MAX, "9223372036854.775807");
}

/* Amounts of every size. */
static int64_t
random_amount(struct rng *rng)
{
    static const uint64_t bounds[] = {10, 1000000, 100000000, 1000000000000, DECIMAL_MAX};
    int64_t amount = (int64_t)rng_below(rng, bounds[rng_below(rng, 5)] + 1);

    return rng_below(rng, 2) ? -amount : amount;
}

static void
test_decimal_reads_back_what_it_wrote(void **state)
{
    char text[DECIMAL_TEXT_MAX];
    char long_text[64];
    struct rng rng;

    (void)state;
    rng_init(&rng, 7);
    for (int i = 0; i < ROUNDS; i++) {
        int64_t amount = random_amount(&rng);
        int64_t back = 42;
        size_t len = decimal_format(amount, text);
        assert_true(decimal_parse(slice_make(text, len), &back));
        assert_true(back == amount);
        snprintf(long_text, sizeof(long_text), "%" PRId64 "e-6", amount);
        assert_true(decimal_parse(slice_of(long_text), &back));
        assert_true(back == amount);
        snprintf(long_text, sizeof(long_text), "%s%" PRId64 ".%06" PRId64 "000",
                 amount < 0 ? "-" : "", (amount < 0 ? -amount : amount) / DECIMAL_ONE,
                 (amount < 0 ? -amount : amount) % DECIMAL_ONE);
        assert_true(decimal_parse(slice_of(long_text), &back));
        assert_true(back == amount);
    }
}

static void
assert_rounds(double value, int64_t expected)
{
    int64_t micro = 42;

    if (!decimal_from_double(value, &micro) || micro != expected) {
        fail_msg("%.17g gave %" PRId64, value, micro);
    }
}

static void
test_decimal_takes_the_nearest_to_a_double(void **state)
{
    int64_t micro = 42;

    (void)state;
    assert_rounds(0.0, 0);
    assert_rounds(-0.0, 0);
    assert_rounds(0.1, 100000);
    assert_rounds(-60.5, -60500000);
    /* 2^-7 is 0.0078125: half of a millionth, away from zero. */
    assert_rounds(0.0078125, 7813);
    assert_rounds(-0.0078125, -7813);
    assert_rounds(nextafter(0.0078125, 0), 7812);
    assert_rounds(4.9e-7, 0);
    assert_rounds(nextafter(5e-7, 1), 1);
    assert_rounds(5e-324, 0);
    assert_rounds(-1e-300, 0);
    /* Exact, though the value times a million is no double: 2^39 + 2^-13. */
    assert_rounds(549755813888.0001220703125, INT64_C(549755813888000122));
    assert_rounds(nextafter(1e12, 0), INT64_C(999999999999999878));
    assert_false(decimal_from_double(1e12, &micro));
    assert_false(decimal_from_double(-1e12, &micro));
    assert_false(decimal_from_double(1e300, &micro));
    assert_false(decimal_from_double((double)NAN, &micro));
    assert_false(decimal_from_double((double)INFINITY, &micro));
    assert_false(decimal_from_double(-(double)INFINITY, &micro));
    assert_int_equal(micro, 42);
}

static void
test_decimal_becomes_the_nearest_double(void **state)
{
    struct rng rng;

    (void)state;
    assert_true(decimal_to_double(100000) == 0.1);
    assert_true(decimal_to_double(-60500000) == -60.5);
    assert_true(decimal_to_double(INT64_C(100000000000000011)) == 100000000000.000011);
    /* Whose quotients are rounded twice. */
    assert_true(decimal_to_double(INT64_C(446673754019253275)) == 446673754019.253275);
    assert_true(decimal_to_double(INT64_C(-800469201374845391)) == -800469201374.845391);
    assert_true(decimal_to_double(INT64_C(-999999999999999878)) == -999999999999.999878);
    rng_init(&rng, 9);
    for (int i = 0; i < ROUNDS; i++) {
        /* Up to 15 digits go through a double and back. */
        int64_t amount = random_amount(&rng) / 1000;
        int64_t back = 42;
        assert_true(decimal_from_double(decimal_to_double(amount), &back));
        assert_true(back == amount);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decimal_reads_numbers_exactly),
        cmocka_unit_test(test_decimal_refuses_what_it_cannot_keep),
        cmocka_unit_test(test_decimal_writes_the_shortest_text),
        cmocka_unit_test(test_decimal_reads_back_what_it_wrote),
        cmocka_unit_test(test_decimal_takes_the_nearest_to_a_double),
        cmocka_unit_test(test_decimal_becomes_the_nearest_double),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
