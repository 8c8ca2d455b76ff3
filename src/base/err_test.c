/* Tests of errors: the table, messages, context. */
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static void
test_err_table_has_a_name_and_a_status_for_every_code(void **state)
{
    (void)state;
    for (int code = 0; code < ERR_COUNT; code++) {
        assert_non_null(err_name((enum err_code)code));
        assert_int_equal(strncmp(err_name((enum err_code)code), "EIDER_", 6), 0);
        int status = err_http_status((enum err_code)code);
        assert_true(code == ERR_OK ? status == 200 : status >= 400 && status < 600);
        for (int other = 0; other < code; other++) {
            assert_string_not_equal(err_name((enum err_code)code), err_name((enum err_code)other));
        }
    }
    assert_int_equal(err_exit_status(ERR_OK), 0);
    assert_int_equal(err_exit_status(ERR_USAGE), 2);
    assert_int_equal(err_exit_status(ERR_IO), 1);
    assert_int_equal(err_http_status(ERR_INVALID), 422);
}

static void
test_err_set_fills_and_returns_the_code(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(err_set(&err, ERR_INVALID, "%s must be %d", "x", 5), ERR_INVALID);
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(err.sys, 0);
    assert_string_equal(err.msg, "x must be 5");
    assert_int_equal(err_set(NULL, ERR_BUSY, "nobody listens"), ERR_BUSY);
}

static void
test_err_sys_tells_a_full_disk_from_other_failures(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(err_sys(&err, ENOENT, "open %s", "file"), ERR_IO);
    assert_int_equal(err.sys, ENOENT);
    assert_string_equal(err.msg, "open file: No such file or directory");
    assert_int_equal(err_sys(&err, ENOSPC, "write"), ERR_NO_SPACE);
    assert_int_equal(err_sys(&err, EDQUOT, "write"), ERR_NO_SPACE);
    assert_int_equal(err_sys(NULL, EFBIG, "write"), ERR_NO_SPACE);
}

static void
test_err_context_goes_in_front_and_is_cut_visibly(void **state)
{
    struct err err = {0};
    char longest[ERR_MSG_MAX];

    (void)state;
    err_set(&err, ERR_CORRUPT, "bad checksum");
    assert_int_equal(err_context(&err, ERR_CORRUPT, "segment %d", 3), ERR_CORRUPT);
    assert_string_equal(err.msg, "segment 3: bad checksum");
    assert_int_equal(err_context(NULL, ERR_IO, "x"), ERR_IO);

    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    err_set(&err, ERR_IO, "%s", longest);
    err_context(&err, ERR_IO, "context");
    assert_int_equal(strlen(err.msg), ERR_MSG_MAX - 1);
    assert_string_equal(err.msg + ERR_MSG_MAX - 4, "...");
    assert_int_equal(strncmp(err.msg, "context: aaa", 12), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_table_has_a_name_and_a_status_for_every_code),
        cmocka_unit_test(test_err_set_fills_and_returns_the_code),
        cmocka_unit_test(test_err_sys_tells_a_full_disk_from_other_failures),
        cmocka_unit_test(test_err_context_goes_in_front_and_is_cut_visibly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
