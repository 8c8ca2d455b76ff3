/* What the lock file of a data directory tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/target.h"

static char dir[] = "/tmp/eider-target-test-XXXXXX";

static int
write_lock(const char *text)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

/* A process that has ended; its number is not taken again while this program runs. */
static long
dead_pid(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return (long)pid;
}

static int
write_pid(long pid, const char *rest)
{
    char text[128];

    snprintf(text, sizeof(text), "%ld\n%s", pid, rest);
    return write_lock(text);
}

static void
test_target_ignores_a_lock_that_nobody_holds(void **state)
{
    struct target_lock lock;
    int fd = write_pid((long)getpid(), "http://127.0.0.1:8000\n");

    (void)state;
    close(fd);
    target_read_lock(dir, &lock);
    assert_false(lock.held);
    target_read_lock("/nonexistent", &lock);
    assert_false(lock.held);
}

static void
test_target_reads_pid_and_address_of_a_held_lock(void **state)
{
    struct target_lock lock;
    int fd = write_pid((long)getpid(), "http://127.0.0.1:8000\n");

    (void)state;
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    target_read_lock(dir, &lock);
    assert_true(lock.held);
    assert_int_equal(lock.pid, getpid());
    assert_string_equal(lock.url, "http://127.0.0.1:8000");
    close(fd);
}

static void
test_target_gives_no_half_written_address(void **state)
{
    struct target_lock lock;
    int fd = write_pid((long)getpid(), "http://127.0.0.1:80");

    (void)state;
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    target_read_lock(dir, &lock);
    assert_true(lock.held);
    assert_string_equal(lock.url, "");
    close(fd);
}

static void
test_target_does_not_touch_the_lock_of_a_dead_process(void **state)
{
    struct target_lock lock;
    int fd = write_pid(dead_pid(), "http://127.0.0.1:8000\n");

    (void)state;
    /* Held, so that a probe would find it so: there must be none. */
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    target_read_lock(dir, &lock);
    assert_false(lock.held);
    close(fd);
}

static int
make_directory(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int
remove_directory(void **state)
{
    char path[64];

    (void)state;
    snprintf(path, sizeof(path), "%s/lock", dir);
    unlink(path);
    return rmdir(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_ignores_a_lock_that_nobody_holds),
        cmocka_unit_test(test_target_reads_pid_and_address_of_a_held_lock),
        cmocka_unit_test(test_target_gives_no_half_written_address),
        cmocka_unit_test(test_target_does_not_touch_the_lock_of_a_dead_process),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
