/* Tests of the Date header; answers as a whole are tested in server_test.c. */
#include "http/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

static void
test_date_is_that_of_the_rfc(void **state)
{
    char text[HTTP_DATE_LEN + 1];

    (void)state;
    http_format_date(784111777, text);
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    http_format_date(0, text);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    http_format_date(951782400, text);
    assert_string_equal(text, "Tue, 29 Feb 2000 00:00:00 GMT");
}

static void
test_date_agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t unix_s = 0; unix_s < (int64_t)200 * 366 * 86400; unix_s += 40009 * 37) {
        char text[HTTP_DATE_LEN + 1];
        char expected[64];
        struct tm parts;
        time_t now = (time_t)unix_s;
        assert_non_null(gmtime_r(&now, &parts));
        assert_int_equal(strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &parts),
                         HTTP_DATE_LEN);
        http_format_date(unix_s, text);
        assert_string_equal(text, expected);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_date_is_that_of_the_rfc),
        cmocka_unit_test(test_date_agrees_with_the_c_library),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
