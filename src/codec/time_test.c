/* Tests of time: the calendar against libc over four millennia, ISO 8601 in and out. */
#include "codec/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/id.h"
#include "base/mem.h"

enum { ROUNDS = 100000 };

/* 2026-01-02T03:04:05.123456Z */
#define SOME_US INT64_C(1767323045123456)

static bool
parse(const char *text, int64_t *ret_us)
{
    size_t len = strlen(text);
    MEM_AUTO char *copy = mem_alloc(len);

    memcpy(copy, text, len);
    return time_parse_iso8601(slice_make(copy, len), ret_us);
}

static void
test_time_calendar_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t day = -800000; day < 3000000; day += 17) {
        time_t seconds = (time_t)(day * 86400 + day % 86400);
        struct time_civil civil;
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        time_to_civil((int64_t)seconds * TIME_US_PER_S + 5, &civil);
        assert_int_equal(civil.year, tm.tm_year + 1900);
        assert_int_equal(civil.month, tm.tm_mon + 1);
        assert_int_equal(civil.day, tm.tm_mday);
        assert_int_equal(civil.hour, tm.tm_hour);
        assert_int_equal(civil.minute, tm.tm_min);
        assert_int_equal(civil.second, tm.tm_sec);
        assert_int_equal(civil.micros, 5);
        assert_int_equal(time_days_from_civil(civil.year, civil.month, civil.day) * 86400 +
                             civil.hour * 3600 + civil.minute * 60 + civil.second,
                         seconds);
    }
}

static void
test_time_reads_every_form(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {{"1970-01-01", 0},
                 {"1970-01-01T00:00", 0},
                 {"1970-01-01T00:00:00Z", 0},
                 {"1970-01-01 00:00:01", 1000000},
                 {"1969-12-31T23:59:59.999999", -1},
                 {"2026-01-02T03:04:05.123456", SOME_US},
                 {"2026-01-02t03:04:05.123456z", SOME_US},
                 {"2026-01-02T03:04:05.123456789Z", SOME_US},
                 {"2026-01-02T03:04:05.1", SOME_US - 23456},
                 {"2026-01-02T03:04:05.000000001", SOME_US - 123456},
                 {"2026-01-02T04:04:05.123456+01:00", SOME_US},
                 {"2026-01-01T22:34:05.123456-0430", SOME_US},
                 {"2026-01-02T05:04:05.123456+02", SOME_US},
                 {"2024-02-29", INT64_C(1709164800) * 1000000},
                 {"2000-02-29", INT64_C(951782400) * 1000000},
                 {"0001-01-01", TIME_MIN_US},
                 {"9999-12-31T23:59:59.999999", TIME_MAX_US}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int64_t us = 42;
        assert_true(parse(cases[i].text, &us));
        assert_true(us == cases[i].us);
    }
}

static void
test_time_refuses_what_is_no_time(void **state)
{
    static const char *const wrong[] = {"",
                                        "2026",
                                        "2026-01",
                                        "2026-1-2",
                                        "26-01-02",
                                        "2026-13-01",
                                        "2026-00-01",
                                        "2026-01-00",
                                        "2026-01-32",
                                        "2026-02-29",
                                        "1900-02-29",
                                        "2026-04-31",
                                        "2026-01-02T",
                                        "2026-01-02T03",
                                        "2026-01-02T03:04:",
                                        "2026-01-02T24:00:00",
                                        "2026-01-02T23:60:00",
                                        "2026-01-02T23:59:60",
                                        "2026-01-02T03:04:05.",
                                        "2026-01-02T03:04:05.1234567890",
                                        "2026-01-02T03:04:05,5",
                                        "2026-01-02T03:04:05 Z",
                                        "2026-01-02T03:04:05ZZ",
                                        "2026-01-02T03:04:05+1",
                                        "2026-01-02T03:04:05+24:00",
                                        "2026-01-02T03:04:05+01:60",
                                        "2026-01-02T03:04:05+01:",
                                        "2026-01-02T03:04:05+01:000",
                                        "2026-01-02Z",
                                        "2026-01-02x03:04:05",
                                        "2026/01/02",
                                        " 2026-01-02",
                                        "2026-01-02 ",
                                        "-026-01-02",
                                        "20260102"};
    int64_t us = 42;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        assert_false(parse(wrong[i], &us));
        assert_int_equal(us, 42);
    }
}

static void
test_time_cut_at_any_offset_is_a_shorter_time_or_none(void **state)
{
    static const char text[] = "2026-01-02T03:04:05.123456+01:00";
    static const bool is_time[sizeof(text)] = {
        [10] = true, [16] = true, [19] = true, [21] = true, [22] = true, [23] = true,
        [24] = true, [25] = true, [26] = true, [29] = true, [32] = true};

    (void)state;
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        MEM_AUTO char *copy = mem_alloc(cut);
        int64_t us;
        memcpy(copy, text, cut);
        assert_int_equal(time_parse_iso8601(slice_make(copy, cut), &us), is_time[cut]);
    }
}

static void
test_time_written_reads_back(void **state)
{
    struct rng rng;
    char text[TIME_TEXT_MAX];

    (void)state;
    rng_init(&rng, 21);
    for (int i = 0; i < ROUNDS; i++) {
        int64_t us = TIME_MIN_US + (int64_t)rng_below(&rng, (uint64_t)(TIME_MAX_US - TIME_MIN_US));
        int64_t back = 0;
        if (i % 2) {
            us -= us % TIME_US_PER_S;
        }
        size_t len = time_format_iso8601(us, text);
        assert_int_equal(len, us % TIME_US_PER_S ? 26 : 19);
        assert_true(time_parse_iso8601(slice_make(text, len), &back));
        assert_true(back == us);
    }
}

static void
test_time_writes_micros_only_when_there_are_any(void **state)
{
    char text[TIME_TEXT_MAX];

    (void)state;
    time_format_iso8601(SOME_US, text);
    assert_string_equal(text, "2026-01-02T03:04:05.123456");
    time_format_iso8601(SOME_US - 123456, text);
    assert_string_equal(text, "2026-01-02T03:04:05");
    time_format_iso8601(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999999");
    size_t len = time_format_iso8601(INT64_MAX, text);
    assert_int_equal(len, strlen(text));
    assert_string_equal(text, "+294247-01-10T04:00:54.775807");
    len = time_format_iso8601(INT64_MIN, text);
    assert_int_equal(len, strlen(text));
    assert_string_equal(text, "-290308-12-21T19:59:05.224192");
}

static void
test_time_from_integer_scales_and_refuses_overflow(void **state)
{
    int64_t us = 0;

    (void)state;
    assert_true(time_from_integer(5, TIME_PRECISION_DEFAULT, &us) && us == 5);
    assert_true(time_from_integer(5, TIME_PRECISION_US, &us) && us == 5);
    assert_true(time_from_integer(5, TIME_PRECISION_MS, &us) && us == 5000);
    assert_true(time_from_integer(-5, TIME_PRECISION_S, &us) && us == -5000000);
    assert_true(time_from_integer(1999, TIME_PRECISION_NS, &us) && us == 1);
    assert_true(time_from_integer(-1, TIME_PRECISION_NS, &us) && us == -1);
    assert_true(time_from_integer(-1000, TIME_PRECISION_NS, &us) && us == -1);
    assert_true(time_from_integer(INT64_MIN, TIME_PRECISION_NS, &us));
    assert_false(time_from_integer(INT64_MAX, TIME_PRECISION_MS, &us));
    assert_false(time_from_integer(INT64_MIN / 1000000 - 1, TIME_PRECISION_S, &us));
}

static void
test_time_precisions_have_names(void **state)
{
    enum time_precision precision = TIME_PRECISION_DEFAULT;

    (void)state;
    assert_true(time_parse_precision(slice_of("ns"), &precision));
    assert_int_equal(precision, TIME_PRECISION_NS);
    assert_true(time_parse_precision(slice_of("u"), &precision));
    assert_int_equal(precision, TIME_PRECISION_US);
    assert_true(time_parse_precision(slice_of("ms"), &precision));
    assert_int_equal(precision, TIME_PRECISION_MS);
    assert_true(time_parse_precision(slice_of("s"), &precision));
    assert_int_equal(precision, TIME_PRECISION_S);
    assert_false(time_parse_precision(slice_of("m"), &precision));
    assert_false(time_parse_precision(slice_of(""), &precision));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_calendar_agrees_with_the_c_library),
        cmocka_unit_test(test_time_reads_every_form),
        cmocka_unit_test(test_time_refuses_what_is_no_time),
        cmocka_unit_test(test_time_cut_at_any_offset_is_a_shorter_time_or_none),
        cmocka_unit_test(test_time_written_reads_back),
        cmocka_unit_test(test_time_writes_micros_only_when_there_are_any),
        cmocka_unit_test(test_time_from_integer_scales_and_refuses_overflow),
        cmocka_unit_test(test_time_precisions_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
