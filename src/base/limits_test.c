/* Tests of the limits of this process. */
#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static void
test_limits_are_those_of_the_machine_or_less(void **state)
{
    struct sysinfo info;

    (void)state;
    assert_int_equal(sysinfo(&info), 0);
    assert_true(limits_memory_bytes() > 0);
    assert_true(limits_memory_bytes() <= (uint64_t)info.totalram * info.mem_unit);
    assert_in_range(limits_cpus(), 1, (unsigned long)sysconf(_SC_NPROCESSORS_ONLN));
}

static void
test_limits_raise_files_reaches_the_hard_limit(void **state)
{
    struct rlimit files;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max / 2;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(limits_raise_files(), files.rlim_max);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(files.rlim_cur, files.rlim_max);
}

static void
test_limits_read_file_cuts_at_its_buffer(void **state)
{
    char text[8];

    (void)state;
    assert_int_equal(limits_read_file("/proc/self/status", text, sizeof(text)), 7);
    assert_int_equal(strlen(text), 7);
    assert_memory_equal(text, "Name:", 5);
    assert_int_equal(limits_read_file("/proc/self/no such file", text, sizeof(text)), 0);
    assert_string_equal(text, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_are_those_of_the_machine_or_less),
        cmocka_unit_test(test_limits_raise_files_reaches_the_hard_limit),
        cmocka_unit_test(test_limits_read_file_cuts_at_its_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
