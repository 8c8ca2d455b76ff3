/* Opening and closing. */
#include <signal.h>
#include <sys/wait.h>

#include "embed/testing.h"

static void
test_open_makes_the_directory_and_finds_it_again(void **state)
{
    struct place *place = *state;

    place_append(place, "m", T0, 1.5);
    place_close(place);
    place_open(place);
    assert_int_equal(place_number(place, "SELECT count(*) FROM trading_metrics"), 1);
    assert_int_equal(place_append(place, "m", T0 + 1, 2), 2);
}

static void
test_open_refuses_bad_options_by_name(void **state)
{
    struct place *place = *state;
    struct eider_options o = {.data_dir = NULL};
    struct eider_db *db = NULL;
    struct eider_error *error = &place->error;

    assert_refused(place, eider_open(NULL, &db, error), EIDER_INVALID, "options");
    assert_refused(place, eider_open(&o, &db, error), EIDER_INVALID, "data_dir is missing");
    o.data_dir = "/nowhere/at/all";
    assert_refused(place, eider_open(&o, &db, error), EIDER_IO, "/nowhere/at/all");
    assert_int_equal(error->sys, 2);
    o.storage_type = "mongodb";
    assert_refused(place, eider_open(&o, &db, error), EIDER_INVALID,
                   "unknown storage type: mongodb");
    o.storage_type = "memory";
    o.postgres_dsn = "host=/nowhere";
    assert_refused(place, eider_open(&o, &db, error), EIDER_INVALID,
                   "postgres_dsn is for storage_type postgres, not memory");
    o.storage_type = NULL;
    o.postgres_dsn = NULL;
    o.postgres_connections = 1;
    assert_refused(place, eider_open(&o, &db, error), EIDER_INVALID,
                   "postgres_connections is 1; expected 0 for the default, or 2 to 1000");
    o.postgres_connections = 0;
    o.reserved[7] = 1;
    assert_refused(place, eider_open(&o, &db, error), EIDER_INVALID, "options, reserved is not 0");
    o.reserved[7] = 0;
    o.wal_segment_bytes = 100;
    assert_refused(place, eider_open(&o, &db, error), EIDER_INVALID,
                   "wal_segment_bytes is 100; expected 0 for the default, or 8192 to");
    o.wal_segment_bytes = 0;
    o.async_max = 1000001;
    assert_refused(place, eider_open(&o, &db, error), EIDER_INVALID, "async_max is 1000001");
    o.async_max = 0;
    o.query_timeout_ms = -1;
    assert_refused(place, eider_open(&o, &db, error), EIDER_INVALID, "query_timeout_ms is -1");
    assert_null(db);
    assert_int_equal(eider_open(&o, &db, NULL), EIDER_INVALID);
}

static void
test_second_opener_is_refused_with_the_pid(void **state)
{
    struct place *place = *state;
    struct eider_db *second = NULL;
    char pid[32];

    snprintf(pid, sizeof(pid), "this process (pid %ld)", (long)getpid());
    assert_refused(place, eider_open(&place->options, &second, &place->error), EIDER_CONFLICT, pid);
    assert_non_null(strstr(place->error.message, place->dir));
    assert_null(second);
    place_append(place, "m", T0, 1);
}

static void
test_two_directories_in_one_process_share_nothing(void **state)
{
    struct place *one = *state;
    struct place two;

    place_make(&two);
    two.options.storage_type = "memory";
    place_open(&two);
    assert_int_equal(place_append(one, "m", T0, 1), 1);
    assert_int_equal(place_append(one, "m", T0 + 1, 2), 2);
    assert_int_equal(place_append(&two, "m", T0, 3), 1);
    struct eider_point point;
    const struct eider_series series = {.name = "m"};
    assert_ok(&two, eider_last(two.db, &series, &point, &two.error));
    assert_true(point.value == 3);
    assert_ok(one, eider_last(one->db, &series, &point, &one->error));
    assert_true(point.value == 2);
    place_remove(&two);
    place_append(one, "m", T0 + 2, 3);
}

/* The lock is the open file's, which a child has, too. */
static void
test_forked_child_does_not_keep_the_directory(void **state)
{
    struct place *place = *state;
    int gate[2];
    char byte;

    assert_int_equal(pipe(gate), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(gate[1]);
        _exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
    }
    place_close(place);
    enum eider_status status = eider_open(&place->options, &place->db, &place->error);
    close(gate[0]);
    close(gate[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_ok(place, status);
}

static void
test_open_gives_up_when_its_time_is_over(void **state)
{
    enum { ROUNDS = 8, COUNT = 100000 };
    struct place *place = *state;
    double *values = calloc(COUNT, sizeof(*values));
    const struct eider_points points = {.series = {.name = "m"}, .values = values, .count = COUNT};
    struct eider_db *db = NULL;

    assert_non_null(values);
    for (int i = 0; i < ROUNDS; i++) {
        assert_ok(place, eider_append_points(place->db, &points, NULL, &place->error));
    }
    free(values);
    place_close(place);
    /* A memory store begins with its whole log. */
    place->options.open_timeout_ms = 1;
    assert_refused(place, eider_open(&place->options, &db, &place->error), EIDER_TIMEOUT,
                   "within open_timeout_ms, 1");
    assert_null(db);
    place->options.open_timeout_ms = 0;
    place_open(place);
}

/* A signal for the process must find a thread of the program's: the library's block all. */
static void
test_threads_of_the_library_block_signals(void **state)
{
    struct place *place = *state;
    sigset_t mine;
    int number = 0;

    place_append(place, "m", T0, 1);
    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR2);
    /* Blocked here, too: if some thread took it, its default action would end the process. */
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &mine, NULL), 0);
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    assert_int_equal(sigwait(&mine, &number), 0);
    assert_int_equal(number, SIGUSR2);
    assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &mine, NULL), 0);
}

static void
test_open_leaves_the_callers_signal_mask(void **state)
{
    struct place *place = *state;
    sigset_t mine, before, after;

    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR1);
    pthread_sigmask(SIG_SETMASK, &mine, &before);
    place_close(place);
    place_open(place);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    for (int i = 1; i < 32; i++) {
        assert_int_equal(sigismember(&after, i), i == SIGUSR1);
    }
}

static void
test_stats_count_what_was_written(void **state)
{
    struct place *place = *state;
    struct eider_stats stats;

    place_append(place, "a", T0, 1);
    place_append(place, "b", T0, 1);
    eider_stats(place->db, &stats);
    assert_int_equal(stats.durable_lsn, 2);
    assert_int_equal(stats.applied_lsn, 2);
    assert_int_equal(stats.rows, 2);
    assert_int_equal(stats.records, 2);
    assert_int_equal(stats.series, 2);
    assert_int_equal(stats.async_pending, 0);
    assert_true(stats.healthy && stats.problem[0] == '\0');
    assert_true(stats.log_bytes > 0 && stats.store_bytes > 0);
}

static void
test_memory_is_filled_from_the_log_when_it_is_opened_again(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch;
    const struct eider_read read = {.table = "metrics"};

    place_append(place, "m", T0, 1.5);
    place_close(place);
    place_open(place);
    assert_ok(place, eider_read_table(place->db, &read, &batch, &place->error));
    assert_int_equal(eider_batch_rows(batch), 1);
    eider_batch_free(batch);
}

static void
test_wait_applied_and_checkpoint_take_their_time(void **state)
{
    struct place *place = *state;

    place_append(place, "m", T0, 1);
    assert_ok(place, eider_wait_applied(place->db, 0, 0, &place->error));
    assert_refused(place, eider_wait_applied(place->db, 2, 0, &place->error), EIDER_TIMEOUT,
                   "record 2");
    assert_refused(place, eider_wait_applied(place->db, 2, -1, &place->error), EIDER_INVALID,
                   "timeout_ms is -1");
    assert_ok(place, eider_checkpoint(place->db, 30000, &place->error));
    assert_int_equal(eider_close(NULL), EIDER_OK);
}

static void
test_status_names_are_all_different(void **state)
{
    (void)state;
    for (int i = EIDER_OK; i <= EIDER_INTERNAL; i++) {
        for (int k = EIDER_OK; k < i; k++) {
            assert_string_not_equal(eider_status_name((enum eider_status)i),
                                    eider_status_name((enum eider_status)k));
        }
    }
    assert_string_equal(eider_status_name((enum eider_status)99), "unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_open_makes_the_directory_and_finds_it_again,
                                        place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_open_refuses_bad_options_by_name, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(test_second_opener_is_refused_with_the_pid, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(test_two_directories_in_one_process_share_nothing,
                                        place_setup, place_teardown),
        cmocka_unit_test_setup_teardown(test_forked_child_does_not_keep_the_directory, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(test_open_gives_up_when_its_time_is_over,
                                        place_setup_memory, place_teardown),
        cmocka_unit_test_setup_teardown(test_threads_of_the_library_block_signals, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(test_open_leaves_the_callers_signal_mask, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(test_stats_count_what_was_written, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(test_memory_is_filled_from_the_log_when_it_is_opened_again,
                                        place_setup_memory, place_teardown),
        cmocka_unit_test_setup_teardown(test_wait_applied_and_checkpoint_take_their_time,
                                        place_setup, place_teardown),
        cmocka_unit_test(test_status_names_are_all_different),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
