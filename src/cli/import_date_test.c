/* Times as files write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/import_date.h"
#include "codec/time.h"

static void
expect_time(const char *format, const char *text, const char *iso)
{
    struct import_date date;
    struct err err = {0};
    char back[TIME_TEXT_MAX];
    int64_t us = 0;

    assert_int_equal(import_date_parse_format(format, &date, &err), ERR_OK);
    if (!iso) {
        assert_false(import_date_read(&date, slice_of(text), &us));
        return;
    }
    assert_true(import_date_read(&date, slice_of(text), &us));
    time_format_iso8601(us, back);
    assert_string_equal(back, iso);
}

static void
test_date_reads_patterns(void **state)
{
    (void)state;
    expect_time("%b %d %Y", "Jan 1 2000", "2000-01-01T00:00:00");
    expect_time("%b %d, %Y", "february 29, 2004", "2004-02-29T00:00:00");
    expect_time("%d.%m.%Y %H:%M:%S.%f", "31.12.1999 23:59:58.25", "1999-12-31T23:59:58.250000");
    expect_time("%m/%d/%y %I:%M %p", "7/4/76 12:05 am", "1976-07-04T00:05:00");
    expect_time("%m/%d/%y %I:%M %p", "7/4/68 12:05 PM", "2068-07-04T12:05:00");
    expect_time("%Y%m%d %H:%M:%S %z", "20240102 03:04:05 +02:00", "2024-01-02T01:04:05");
    expect_time("%Y-%m-%dT%H:%M:%S%z", "2024-01-02T03:04:05-0330", "2024-01-02T06:34:05");
    expect_time("%Y %m", "2000   7", "2000-07-01T00:00:00");
    expect_time("%Y%%", "2000%", "2000-01-01T00:00:00");
}

static void
test_date_refuses_what_is_no_such_time(void **state)
{
    (void)state;
    expect_time("%b %d %Y", "Jan 32 2000", NULL);
    expect_time("%b %d %Y", "Feb 29 2001", NULL);
    expect_time("%b %d %Y", "Jan 1 2000 ", "2000-01-01T00:00:00");
    expect_time("%b %d %Y", "Jan 1 2000x", NULL);
    expect_time("%b %d %Y", "Jen 1 2000", NULL);
    expect_time("%b %d %Y", "", NULL);
    expect_time("%H:%M %Y", "24:00 2000", NULL);
    expect_time("%H:%M %Y", "23:60 2000", NULL);
    expect_time("%I:%M %p %Y", "13:00 PM 2000", NULL);
    expect_time("%I:%M %Y", "11:00 2000", NULL);
    expect_time("%Y", "0000", NULL);
    expect_time("%z%Y", "+2500", NULL);
    expect_time("iso", "2000-13-01", NULL);
}

static void
test_date_reads_counts_since_1970(void **state)
{
    (void)state;
    expect_time("s", "86400", "1970-01-02T00:00:00");
    expect_time("s", "0.5", "1970-01-01T00:00:00.500000");
    expect_time("ms", "-1", "1969-12-31T23:59:59.999000");
    expect_time("us", "1700000000000001", "2023-11-14T22:13:20.000001");
    expect_time("NS", "1700000000000000999", "2023-11-14T22:13:20");
    expect_time("s", "9223372036854775807", NULL);
    expect_time("s", "1e300", NULL);
    expect_time("s", "nan", NULL);
    expect_time("iso", "2000-01-02 03:04", "2000-01-02T03:04:00");
}

static void
test_date_refuses_formats_it_does_not_know(void **state)
{
    struct import_date date;
    struct err err = {0};

    (void)state;
    assert_int_equal(import_date_parse_format("%Y %Q", &date, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "%Q is not known"));
    assert_int_equal(import_date_parse_format("%Y %", &date, &err), ERR_USAGE);
    assert_int_equal(import_date_parse_format("yyyy", &date, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "expected iso, s, ms, us, ns or a pattern"));
}

static enum err_code
guess(const char *const *texts, struct import_date *ret_date, struct err *err)
{
    struct slice samples[8];
    size_t count = 0;

    for (; texts[count]; count++) {
        samples[count] = slice_of(texts[count]);
    }
    return import_date_guess(samples, count, ret_date, err);
}

static void
expect_guess(const char *const *texts, const char *name)
{
    struct import_date date;
    struct err err = {0};

    assert_int_equal(guess(texts, &date, &err), ERR_OK);
    assert_string_equal(import_date_name(&date), name);
}

static void
test_date_guesses_from_all_samples(void **state)
{
    (void)state;
    expect_guess((const char *[]){"2000-01-03", "2000-01-04 10:00", NULL}, "ISO 8601");
    expect_guess((const char *[]){"Jan 1 2000", "Dec 31 2010", NULL}, "%b %d %Y");
    expect_guess((const char *[]){"1/2/2000", "1/13/2000", NULL}, "%m/%d/%Y");
    expect_guess((const char *[]){"1/2/2000 10:00", "13/1/2000 11:00", NULL}, "%d/%m/%Y %H:%M");
    expect_guess((const char *[]){"31.12.1999 23:59:58", NULL}, "%d.%m.%Y %H:%M:%S");
    expect_guess((const char *[]){"20000103", "20001231", NULL}, "%Y%m%d");
    expect_guess((const char *[]){"1700000000", "1700000001.5", NULL}, "seconds since 1970");
    expect_guess((const char *[]){"1700000000000", NULL}, "milliseconds since 1970");
    expect_guess((const char *[]){"1700000000000000", NULL}, "microseconds since 1970");
    expect_guess((const char *[]){"1700000000000000000", NULL}, "nanoseconds since 1970");
    expect_guess((const char *[]){"2/2/2000", "3/3/2000", NULL}, "%m/%d/%Y");
}

static void
test_date_refuses_to_guess_between_day_and_month(void **state)
{
    struct import_date date;
    struct err err = {0};

    (void)state;
    assert_int_equal(guess((const char *[]){"2/2/2000", "1/2/2000", NULL}, &date, &err),
                     ERR_CONFLICT);
    assert_string_equal(err.msg, "\"1/2/2000\" may be %m/%d/%Y or %d/%m/%Y");
    assert_int_equal(guess((const char *[]){"soon", NULL}, &date, &err), ERR_NOT_FOUND);
    assert_int_equal(guess((const char *[]){"2000-01-03", "soon", NULL}, &date, &err),
                     ERR_NOT_FOUND);
    expect_guess((const char *[]){"2000-01-03", "soon", "2000-01-05", NULL}, "ISO 8601");
    expect_guess((const char *[]){"1/2/2000", "1/13/2000", "13/13/2000", NULL}, "%m/%d/%Y");
    assert_int_equal(guess((const char *[]){NULL}, &date, &err), ERR_NOT_FOUND);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_date_reads_patterns),
        cmocka_unit_test(test_date_refuses_what_is_no_such_time),
        cmocka_unit_test(test_date_reads_counts_since_1970),
        cmocka_unit_test(test_date_refuses_formats_it_does_not_know),
        cmocka_unit_test(test_date_guesses_from_all_samples),
        cmocka_unit_test(test_date_refuses_to_guess_between_day_and_month),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
