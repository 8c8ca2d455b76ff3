/* The progress line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/progress.h"

struct screen {
    struct cli cli;
    struct clock_manual clock;
    struct progress progress;
    char *text;
    size_t len;
};

static void
start(struct screen *screen, bool is_terminal)
{
    memset(screen, 0, sizeof(*screen));
    clock_manual_init(&screen->clock, 0);
    screen->cli.err = open_memstream(&screen->text, &screen->len);
    screen->cli.err_is_terminal = is_terminal;
    screen->cli.clock = &screen->clock.clock;
    progress_start(&screen->progress, &screen->cli, "stocks.csv");
}

static void
expect_screen(struct screen *screen, const char *text)
{
    progress_end(&screen->progress);
    fclose(screen->cli.err);
    assert_string_equal(screen->text, text);
    free(screen->text);
}

static void
test_progress_says_nothing_within_the_first_second(void **state)
{
    struct screen screen;

    (void)state;
    start(&screen, true);
    clock_manual_advance(&screen.clock, 999999);
    progress_update(&screen.progress, 0.5, 10);
    expect_screen(&screen, "");
}

static void
test_progress_says_nothing_off_a_terminal(void **state)
{
    struct screen screen;

    (void)state;
    start(&screen, false);
    clock_manual_advance(&screen.clock, 9000000);
    progress_update(&screen.progress, 0.5, 10);
    expect_screen(&screen, "");
}

static void
test_progress_draws_ten_times_a_second_and_clears_the_line(void **state)
{
    struct screen screen;

    (void)state;
    start(&screen, true);
    clock_manual_advance(&screen.clock, 2000000);
    progress_update(&screen.progress, 0.5, 10);
    clock_manual_advance(&screen.clock, 99999);
    progress_update(&screen.progress, 0.6, 11);
    clock_manual_advance(&screen.clock, 1900001);
    progress_update(&screen.progress, 1.5, 20);
    assert_true(progress_seconds(&screen.progress) == 4.0);
    expect_screen(&screen, "\r\033[Kstocks.csv  [############............]  50 %  10 rows  5 rows/s"
                           "\r\033[Kstocks.csv  [########################] 100 %  20 rows  5 rows/s"
                           "\r\033[K");
}

static void
test_progress_without_an_end_in_sight_counts_rows(void **state)
{
    struct screen screen;

    (void)state;
    start(&screen, true);
    clock_manual_advance(&screen.clock, 1000000);
    progress_update(&screen.progress, -1, 10);
    expect_screen(&screen, "\r\033[Kstocks.csv  10 rows  10 rows/s\r\033[K");
}

static void
test_progress_by_steps_tells_how_long_the_rest_takes(void **state)
{
    struct screen screen;

    (void)state;
    start(&screen, true);
    clock_manual_advance(&screen.clock, 2000000);
    progress_steps(&screen.progress, 0, 0, "days");
    clock_manual_advance(&screen.clock, 2000000);
    progress_steps(&screen.progress, 0, 8, "days");
    clock_manual_advance(&screen.clock, 2000000);
    progress_steps(&screen.progress, 2, 8, "days");
    expect_screen(&screen, "\r\033[Kstocks.csv  2 s"
                           "\r\033[Kstocks.csv  [........................]   0 %  0 of 8 days"
                           "\r\033[Kstocks.csv  [######..................]  25 %  2 of 8 days, "
                           "about 18 s left\r\033[K");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress_says_nothing_within_the_first_second),
        cmocka_unit_test(test_progress_says_nothing_off_a_terminal),
        cmocka_unit_test(test_progress_draws_ten_times_a_second_and_clears_the_line),
        cmocka_unit_test(test_progress_without_an_end_in_sight_counts_rows),
        cmocka_unit_test(test_progress_by_steps_tells_how_long_the_rest_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
