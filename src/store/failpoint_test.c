#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants these first. */
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/failpoint.h"

static void
test_failpoint_fails_once_at_its_turn(void **state)
{
    struct err err = {0};

    (void)state;
    assert_false(failpoint("seal.copied"));
    assert_true(failpoint_arm("seal.copied:error:2"));
    assert_false(failpoint("seal.copied"));
    assert_false(failpoint("put.renamed"));
    assert_int_equal(failpoint_fails("seal.copied", &err), ERR_IO);
    assert_string_equal(err.msg, "the fail-point seal.copied is armed");
    assert_int_equal(failpoint_fails("seal.copied", &err), ERR_OK);
    assert_true(failpoint_arm(NULL));
    assert_false(failpoint("seal.copied"));
}

static void
test_failpoint_kills(void **state)
{
    int status = 0;

    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        failpoint_arm("gc.unlinked:kill");
        failpoint("gc.unlinked");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void
test_failpoint_refuses_other_texts(void **state)
{
    static const char *const bad[] = {"",
                                      "seal.copied",
                                      "seal.copied:",
                                      "seal.copied:explode",
                                      "nowhere:kill",
                                      "seal.copied:kill:0",
                                      "seal.copied:kill:x",
                                      "seal.copied:kill:99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(failpoint_arm(bad[i]));
        assert_false(failpoint_is_armed);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failpoint_fails_once_at_its_turn),
        cmocka_unit_test(test_failpoint_kills),
        cmocka_unit_test(test_failpoint_refuses_other_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
