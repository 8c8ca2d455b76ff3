/* Tests of the guard of memory: who is ended and when, what is given back, the fuse; threads. */
#include "store/memory_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
#define MIB (UINT64_C(1) << 20)

enum { LIMIT_MIB = 1024, SLACK_MIB = 128, STATEMENTS = 3, ROUNDS = 2000 };

/* A process whose memory is what the test says. */
struct rig {
    struct memory_system system;
    struct clock_manual clock;
    struct memory_guard *guard;
    uint64_t used_mib;
    uint64_t keeps_mib; /* freed memory that a trim gives back */
    uint64_t fuse;
    bool blind;
    int trims;
    struct memory_statement statements[STATEMENTS];
    atomic_int interrupts[STATEMENTS];
};

static bool
look(void *ctx, struct memory_figures *ret_figures)
{
    struct rig *rig = ctx;

    *ret_figures = (struct memory_figures){.used_bytes = (rig->used_mib + rig->keeps_mib) * MIB,
                                           .mapped_bytes = 10000 * MIB};
    return !rig->blind;
}

static void
trim(void *ctx)
{
    struct rig *rig = ctx;

    rig->trims++;
    rig->keeps_mib = 0;
}

static void
fuse(void *ctx, uint64_t mapped_bytes_max)
{
    struct rig *rig = ctx;

    rig->fuse = mapped_bytes_max;
}

static void
interrupt(void *ctx)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static int
setup(void **state)
{
    struct rig *rig = mem_zalloc(1, sizeof(*rig));

    clock_manual_init(&rig->clock, 0);
    rig->system = (struct memory_system){look, trim, fuse, rig};
    rig->used_mib = 100;
    rig->fuse = UINT64_MAX;
    for (int i = 0; i < STATEMENTS; i++) {
        rig->statements[i] =
            (struct memory_statement){.interrupt = interrupt, .ctx = &rig->interrupts[i]};
    }
    struct memory_guard_options options = {.limit_bytes = LIMIT_MIB * MIB,
                                           .system = &rig->system,
                                           .clock = &rig->clock.clock,
                                           .no_thread = true};
    assert_int_equal(memory_guard_new(&options, &rig->guard, NULL), ERR_OK);
    *state = rig;
    return 0;
}

static int
teardown(void **state)
{
    struct rig *rig = *state;

    memory_guard_free(rig->guard);
    free(rig);
    return 0;
}

static void
enter(struct rig *rig, int statement)
{
    memory_guard_enter(rig->guard, &rig->statements[statement]);
}

static void
leave(struct rig *rig, int statement)
{
    memory_guard_leave(rig->guard, &rig->statements[statement]);
}

/* So much time and memory later. */
static void
look_at(struct rig *rig, uint64_t used_mib)
{
    rig->used_mib = used_mib;
    clock_manual_advance(&rig->clock, 20000);
    memory_guard_look(rig->guard);
}

static void
test_guard_ends_the_statement_that_most_memory_came_with(void **state)
{
    struct rig *rig = *state;
    struct memory_guard_stats stats;
    struct err err;

    enter(rig, 0);
    look_at(rig, 200); /* 100 of statement 0 */
    enter(rig, 1);
    look_at(rig, 300); /* 50 each */
    leave(rig, 0);
    look_at(rig, 900); /* 600 of statement 1 */
    enter(rig, 2);
    look_at(rig, 1024);
    assert_int_equal(rig->interrupts[1], 0); /* at the limit, not above */
    look_at(rig, 1025);
    assert_int_equal(rig->interrupts[0], 0);
    assert_int_equal(rig->interrupts[1], 1);
    assert_int_equal(rig->interrupts[2], 0);
    assert_int_equal(memory_guard_why(rig->guard, &rig->statements[1], &err), ERR_TOO_LARGE);
    assert_non_null(strstr(err.msg, "memory came to 1025 MiB, 712 MiB of it with this statement"));
    assert_non_null(strstr(err.msg, "server.memory_max is 1024 MiB"));
    memory_guard_stats(rig->guard, &stats);
    assert_int_equal(stats.ended, 1);
    assert_int_equal(stats.limit_bytes, LIMIT_MIB * MIB);
    assert_int_equal(stats.used_bytes, 1025 * MIB);
    leave(rig, 1);
    leave(rig, 2);
}

static void
test_guard_waits_for_the_one_that_it_ends_unless_memory_runs_away(void **state)
{
    struct rig *rig = *state;

    enter(rig, 0);
    look_at(rig, 700);
    enter(rig, 1);
    look_at(rig, 1100);
    assert_int_equal(rig->interrupts[0], 1);
    look_at(rig, 1152);
    assert_int_equal(rig->interrupts[0], 1); /* once */
    assert_int_equal(rig->interrupts[1], 0);
    look_at(rig, 1300); /* more than an eighth above */
    assert_int_equal(rig->interrupts[1], 1);
    leave(rig, 0);
    leave(rig, 1);
}

static void
test_guard_ends_nobody_for_what_was_there_before(void **state)
{
    struct rig *rig = *state;

    rig->used_mib = 2000; /* of writes, say */
    enter(rig, 0);
    look_at(rig, 2000);
    look_at(rig, 2000 + LIMIT_MIB / 16 - 1);
    assert_int_equal(rig->interrupts[0], 0);
    look_at(rig, 2000 + LIMIT_MIB / 16);
    assert_int_equal(rig->interrupts[0], 1);
    leave(rig, 0);
}

static void
test_guard_takes_what_goes_from_the_shares(void **state)
{
    struct rig *rig = *state;

    enter(rig, 0);
    look_at(rig, 900);
    look_at(rig, 110);
    assert_int_equal(rig->statements[0].share_bytes, 10 * MIB);
    enter(rig, 1);
    look_at(rig, 130);
    assert_int_equal(rig->statements[0].share_bytes, 20 * MIB);
    assert_int_equal(rig->statements[1].share_bytes, 10 * MIB);
    look_at(rig, 115);
    assert_int_equal(rig->statements[0].share_bytes, 10 * MIB);
    assert_int_equal(rig->statements[1].share_bytes, 5 * MIB);
    look_at(rig, 50);
    assert_int_equal(rig->statements[0].share_bytes, 0);
    leave(rig, 0);
    leave(rig, 1);
}

static void
test_guard_gives_freed_memory_back_before_it_ends_anybody(void **state)
{
    struct rig *rig = *state;

    enter(rig, 0);
    rig->keeps_mib = 600;
    look_at(rig, 500);
    assert_int_equal(rig->trims, 1);
    assert_int_equal(rig->interrupts[0], 0);
    /* The next time is too soon for that. */
    rig->keeps_mib = 600;
    look_at(rig, 500);
    assert_int_equal(rig->trims, 1);
    assert_int_equal(rig->interrupts[0], 1);
    leave(rig, 0);
}

static void
test_guard_gives_back_behind_a_large_statement_at_once_and_behind_small_ones_seldom(void **state)
{
    struct rig *rig = *state;

    enter(rig, 1);
    enter(rig, 0);
    look_at(rig, 100 + 2 * 64);
    leave(rig, 0);
    look_at(rig, 228); /* statement 1 runs on */
    assert_int_equal(rig->trims, 1);
    rig->statements[1].share_bytes = 0;
    leave(rig, 1);
    look_at(rig, 228);
    assert_int_equal(rig->trims, 2); /* more than nobody has ever left */
    for (int i = 0; i < 5; i++) {
        enter(rig, 0);
        look_at(rig, 228 + 60);
        leave(rig, 0);
        look_at(rig, 228);
    }
    assert_int_equal(rig->trims, 2);
    look_at(rig, 500); /* not of statements */
    assert_int_equal(rig->trims, 2);
}

static void
test_guard_sets_the_fuse_while_statements_run(void **state)
{
    struct rig *rig = *state;

    assert_true(rig->fuse == UINT64_MAX);
    enter(rig, 0);
    assert_int_equal(rig->fuse / MIB, 10000 + LIMIT_MIB - 100 + SLACK_MIB);
    look_at(rig, 1000);
    assert_int_equal(rig->fuse / MIB, 10000 + 24 + SLACK_MIB);
    enter(rig, 1);
    leave(rig, 0);
    look_at(rig, LIMIT_MIB + SLACK_MIB - 1);
    assert_int_equal(rig->fuse / MIB, 10000 + 1);
    look_at(rig, 5000);
    assert_int_equal(rig->fuse / MIB, 10000);
    leave(rig, 1);
    assert_true(rig->fuse == UINT64_MAX);
    look_at(rig, 5000);
    assert_true(rig->fuse == UINT64_MAX);
}

static void
test_guard_that_cannot_look_ends_nobody(void **state)
{
    struct rig *rig = *state;

    rig->blind = true;
    enter(rig, 0);
    look_at(rig, 5000);
    assert_int_equal(rig->interrupts[0], 0);
    assert_true(rig->fuse == UINT64_MAX);
    leave(rig, 0);
    memory_guard_enter(NULL, &rig->statements[0]); /* without a guard nothing happens */
    memory_guard_leave(NULL, &rig->statements[0]);
}

/* ---- with this process ---- */

static void *
come_and_go(void *ctx)
{
    struct memory_guard *guard = ctx;
    atomic_int interrupts = 0;

    for (int i = 0; i < ROUNDS; i++) {
        struct memory_statement statement = {.interrupt = interrupt, .ctx = &interrupts};
        memory_guard_enter(guard, &statement);
        memory_guard_leave(guard, &statement);
    }
    return NULL;
}

static void
test_guard_watches_statements_of_several_threads(void **state)
{
    struct memory_guard_options options = {.limit_bytes = UINT64_C(1) << 40};
    struct memory_guard_stats stats;
    struct memory_guard *guard;
    pthread_t threads[4];

    (void)state;
    assert_int_equal(memory_guard_new(&options, &guard, NULL), ERR_OK);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, guard), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    memory_guard_stats(guard, &stats);
    assert_int_equal(stats.ended, 0);
    assert_true(stats.used_bytes > 0);
    memory_guard_free(guard);
}

#if !EIDER_SANITIZED /* whose allocators have no such bound */
static void
test_guard_keeps_one_allocation_from_taking_all(void **state)
{
    struct memory_guard_options options = {.limit_bytes = UINT64_C(1) << 30};
    struct memory_statement statement = {.interrupt = interrupt};
    atomic_int interrupts = 0;
    struct memory_guard *guard;

    (void)state;
    statement.ctx = &interrupts;
    assert_int_equal(memory_guard_new(&options, &guard, NULL), ERR_OK);
    void *volatile before = malloc((size_t)1 << 33); /* never touched */
    if (!before) {
        memory_guard_free(guard);
        fail_msg("this machine does not lend 8 GiB of addresses");
    }
    free(before);
    memory_guard_enter(guard, &statement);
    void *volatile refused = malloc((size_t)1 << 33);
    void *ours = mem_alloc((size_t)1 << 33); /* the program's own is not held to it */
    memory_guard_leave(guard, &statement);
    assert_null(refused);
    free(ours);
    void *volatile after = malloc((size_t)1 << 33);
    assert_non_null(after);
    free(after);
    memory_guard_free(guard);
}
#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_guard_ends_the_statement_that_most_memory_came_with),
        CASE(test_guard_waits_for_the_one_that_it_ends_unless_memory_runs_away),
        CASE(test_guard_ends_nobody_for_what_was_there_before),
        CASE(test_guard_takes_what_goes_from_the_shares),
        CASE(test_guard_gives_freed_memory_back_before_it_ends_anybody),
        CASE(test_guard_gives_back_behind_a_large_statement_at_once_and_behind_small_ones_seldom),
        CASE(test_guard_sets_the_fuse_while_statements_run),
        CASE(test_guard_that_cannot_look_ends_nobody),
        cmocka_unit_test(test_guard_watches_statements_of_several_threads),
#if !EIDER_SANITIZED
        cmocka_unit_test(test_guard_keeps_one_allocation_from_taking_all),
#endif
    };

    return cmocka_run_group_tests_name("memory guard", tests, NULL, NULL);
}
