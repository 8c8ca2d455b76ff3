/*
 * Failing calls, kills and losses of power, on the file system in memory: whatever failed and
 * whenever the machine stopped, the log holds what was acknowledged, once, and nothing that failed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "wal/wal.h"
#include "wal/wal_memfs.h"
#include "wal/wal_oracle.h"

/* Sanitizers make everything slower: every fifth place is tried, every eleventh under them. */
enum { SEGMENT_BYTES = 12 << 10, SWEEP = EIDER_SANITIZED ? 11 : 5 };

static struct wal_options
options_on(struct wal_memfs *fs)
{
    return (struct wal_options){.dir = WAL_MEMFS_DIR,
                                .segment_bytes = SEGMENT_BYTES,
                                .sys = wal_memfs_sys(fs),
                                .retry_ms = 1};
}

static enum err_code
try_open(struct wal_memfs *fs, struct wal **ret_wal, struct err *err)
{
    struct wal_options options = options_on(fs);

    return wal_open(&options, 1, ret_wal, err);
}

/* Small records, records that fill most of a segment, groups, a release, a restart in the middle.
 * Errors are the oracle's to remember. */
static void
work(struct wal_memfs *fs, struct wal_oracle *oracle)
{
    struct err err;
    struct wal *wal;

    for (int life = 0; life < 2; life++) {
        if (try_open(fs, &wal, &err) != ERR_OK) {
            continue;
        }
        wal_oracle_append(oracle, wal, 16);
        wal_oracle_group(oracle, wal, 3, 600);
        wal_oracle_append(oracle, wal, 5000);
        wal_oracle_group(oracle, wal, 5, 900);
        wal_oracle_append(oracle, wal, 7000);
        wal_release(wal, wal_durable_lsn(wal) - 2, &err);
        wal_oracle_append(oracle, wal, 40);
        wal_close(wal);
    }
}

static void
check_disk(struct wal_memfs *fs, const struct wal_oracle *oracle, size_t position, const char *what)
{
    struct err err = {0};
    struct wal *wal;

    if (try_open(fs, &wal, &err) != ERR_OK) {
        fail_msg("%s: %s", what, err.msg);
    }
    if (wal_oracle_check(oracle, wal, position, &err) != ERR_OK) {
        fail_msg("%s: %s", what, err.msg);
    }
    if (position == SIZE_MAX) {
        assert_true(wal_durable_lsn(wal) >= wal_oracle_acked_lsn(oracle));
    }
    wal_close(wal);
    assert_int_equal(wal_memfs_open_count(fs), 0);
}

/* Waits until a log that had a fault is whole again; every try takes a millisecond. */
static void
await_health(struct wal *wal)
{
    struct wal_status status;

    do {
        wal_status(wal, &status);
    } while (!status.healthy);
}

static void
run_with_fault(const struct wal_memfs_fault *fault)
{
    struct wal_memfs *fs = wal_memfs_new(fault->nth);
    struct wal_oracle *oracle = wal_oracle_new(NULL);
    struct err err = {0};
    struct wal *wal;
    char what[128];

    snprintf(what, sizeof(what), "call %d fails from the %lluth, %llu times, errno %d",
             (int)fault->call, (unsigned long long)fault->nth, (unsigned long long)fault->times,
             fault->sys);
    wal_memfs_fail(fs, fault);
    work(fs, oracle);
    wal_memfs_fail(fs, &(struct wal_memfs_fault){0});
    struct wal_memfs *killed = wal_memfs_copy(fs, 77);
    check_disk(killed, oracle, SIZE_MAX, what);
    wal_memfs_free(killed);

    /* The same process goes on. */
    if (try_open(fs, &wal, &err) != ERR_OK) {
        fail_msg("%s: %s", what, err.msg);
    }
    assert_int_equal(wal_oracle_append(oracle, wal, 300), ERR_OK);
    wal_close(wal);
    check_disk(fs, oracle, SIZE_MAX, what);
    wal_oracle_free(oracle);
    wal_memfs_free(fs);
}

/* How many calls of each kind the work makes when nothing fails. */
static void
count_calls(uint64_t ret_calls[WAL_MEMFS_CALL_COUNT])
{
    struct wal_memfs *fs = wal_memfs_new(1);
    struct wal_oracle *oracle = wal_oracle_new(NULL);

    work(fs, oracle);
    assert_int_equal(wal_oracle_failed(oracle), 0);
    assert_int_equal(wal_oracle_acked(oracle), 28);
    for (int call = 0; call < WAL_MEMFS_CALL_COUNT; call++) {
        ret_calls[call] = wal_memfs_calls(fs, (enum wal_memfs_call)call);
    }
    check_disk(fs, oracle, SIZE_MAX, "no fault");
    wal_oracle_free(oracle);
    wal_memfs_free(fs);
}

static void
test_wal_keeps_its_word_when_the_nth_call_fails(void **state)
{
    uint64_t calls[WAL_MEMFS_CALL_COUNT];

    (void)state;
    count_calls(calls);
    for (int call = 0; call < WAL_MEMFS_CALL_COUNT; call++) {
        for (uint64_t nth = 1; nth <= calls[call] + 1; nth++) {
            struct wal_memfs_fault fault = {
                .call = (enum wal_memfs_call)call, .nth = nth, .times = 1, .sys = EIO};
            run_with_fault(&fault);
            fault.times = 2;
            fault.sys = ENOSPC;
            run_with_fault(&fault);
        }
    }
}

static void
test_wal_keeps_its_word_when_all_calls_fail_from_the_nth(void **state)
{
    uint64_t calls[WAL_MEMFS_CALL_COUNT];

    (void)state;
    count_calls(calls);
    for (int call = 0; call < WAL_MEMFS_CALL_COUNT; call++) {
        for (uint64_t nth = 1; nth <= calls[call]; nth++) {
            struct wal_memfs_fault fault = {
                .call = (enum wal_memfs_call)call, .nth = nth, .sys = EIO};
            run_with_fault(&fault);
        }
    }
}

static void
test_wal_goes_on_after_short_and_broken_writes(void **state)
{
    uint64_t calls[WAL_MEMFS_CALL_COUNT];

    (void)state;
    count_calls(calls);
    for (uint64_t nth = 1; nth <= calls[WAL_MEMFS_PWRITEV]; nth++) {
        struct wal_memfs_fault fault = {.call = WAL_MEMFS_PWRITEV, .nth = nth, .times = 7};
        run_with_fault(&fault);
        fault.sys = ENOSPC;
        fault.half_first = true;
        fault.times = 2;
        run_with_fault(&fault);
        fault.times = 3;
        run_with_fault(&fault);
        fault.half_first = false;
        fault.times = 1;
        fault.sys = EINVAL; /* what a file system says that cannot write past the page cache */
        run_with_fault(&fault);
    }
}

/* What a log held, to compare with later. */
struct held {
    uint64_t first_lsn;
    uint64_t last_lsn;
    uint64_t sum; /* of LSNs, types and lengths, in order */
};

static struct held
read_all(struct wal *wal, uint64_t up_to)
{
    struct held held = {.first_lsn = wal_first_lsn(wal)};
    struct wal_cursor *cursor;
    struct wal_record record;
    struct err err = {0};

    assert_int_equal(wal_cursor_open(wal, held.first_lsn, &cursor, &err), ERR_OK);
    while (held.last_lsn < up_to && wal_cursor_next(cursor, 0, &record, &err) == ERR_OK) {
        held.last_lsn = record.lsn;
        held.sum = held.sum * 31 + record.lsn;
        held.sum = held.sum * 31 + record.type;
        held.sum = held.sum * 31 + record.payload.len;
    }
    wal_cursor_close(cursor);
    return held;
}

/* Opens a crashed disk, compares, writes on, stops again and compares again: what recovery
 * dropped must not come back once new records stand where it stood. */
static void
check_crash(struct wal_memfs *fs, const struct wal_oracle *oracle, size_t len,
            enum wal_memfs_crash how, uint64_t seed)
{
    struct wal_memfs *disk = wal_memfs_crashed(fs, len, how, seed);
    struct err err = {0};
    struct wal *wal;
    uint64_t lsn = 0;
    char what[96];

    snprintf(what, sizeof(what), "crash %d after %zu, seed %llu", (int)how, len,
             (unsigned long long)seed);
    if (try_open(disk, &wal, &err) != ERR_OK ||
        wal_oracle_check(oracle, wal, len, &err) != ERR_OK) {
        fail_msg("%s: %s", what, err.msg);
    }
    struct held before = read_all(wal, UINT64_MAX);
    uint64_t old_durable = wal_durable_lsn(wal);
    for (size_t i = 0; i < 3; i++) {
        static const char text[] = "written after the crash, as long as some of those before it";
        assert_int_equal(wal_append(wal, 9, slice_make(text, 16 + 20 * i), &lsn, &err), ERR_OK);
        assert_int_equal(lsn, old_durable + 1 + i);
    }
    wal_close(wal);
    if (try_open(disk, &wal, &err) != ERR_OK) {
        fail_msg("%s, again: %s", what, err.msg);
    }
    assert_int_equal(wal_durable_lsn(wal), old_durable + 3);
    struct held after = read_all(wal, before.last_lsn);
    if (before.last_lsn > 0) {
        assert_memory_equal(&before, &after, sizeof(before));
    }
    wal_close(wal);
    assert_int_equal(wal_memfs_open_count(disk), 0);
    wal_memfs_free(disk);
}

static void
crash_everywhere(const struct wal_memfs_fault *fault, uint64_t seeds, size_t step)
{
    struct wal_memfs *fs = wal_memfs_new(5);
    struct wal_oracle *oracle = wal_oracle_new(fs);

    wal_memfs_journal(fs);
    if (fault) {
        wal_memfs_fail(fs, fault);
    }
    work(fs, oracle);
    size_t len = wal_memfs_journal_len(fs);
    for (size_t at = 0; at <= len; at += step) {
        check_crash(fs, oracle, at, WAL_MEMFS_KILLED, at);
        for (uint64_t seed = 0; seed < seeds; seed++) {
            check_crash(fs, oracle, at, WAL_MEMFS_POWER_LOST, at * 1000 + seed);
        }
    }
    wal_oracle_free(oracle);
    wal_memfs_free(fs);
}

static void
test_wal_survives_a_crash_after_every_call(void **state)
{
    (void)state;
    crash_everywhere(NULL, EIDER_SANITIZED ? 2 : 6, 1);
}

/* A failed sync and then a crash: both the fresh segment and what is left of the old one count. */
static void
test_wal_survives_a_crash_around_a_failed_call(void **state)
{
    static const enum wal_memfs_call calls[] = {WAL_MEMFS_SYNC_DATA, WAL_MEMFS_PWRITEV,
                                                WAL_MEMFS_PREALLOCATE, WAL_MEMFS_UNLINK};
    uint64_t counts[WAL_MEMFS_CALL_COUNT];

    (void)state;
    count_calls(counts);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        for (uint64_t nth = 1; nth <= counts[calls[i]]; nth += SWEEP) {
            struct wal_memfs_fault fault = {.call = calls[i],
                                            .nth = nth,
                                            .times = 1 + nth % 2,
                                            .sys = EIO,
                                            .half_first = nth % 4 == 1};
            crash_everywhere(&fault, 2, 3);
        }
    }
}

/* The disk of a machine that lost power after `cut` entries of its journal, opened. */
static struct wal *
open_after_power_loss(struct wal_memfs *alive, size_t cut, struct wal_memfs **ret_disk)
{
    struct err err = {0};
    struct wal *wal;

    *ret_disk = wal_memfs_crashed(alive, cut, WAL_MEMFS_POWER_LOST, cut * 7);
    if (try_open(*ret_disk, &wal, &err) != ERR_OK) {
        fail_msg("killed, then power lost after %zu: %s", cut, err.msg);
    }
    return wal;
}

/*
 * Killed, started again, and then the power goes, while the second life opens the log or after.
 * What it declared durable must be on disk, although the first may have left it in the page cache
 * only, or with a failed sync; and what failed must not come back because of what the second
 * deletes.
 */
static void
kill_and_cut_power(struct wal_memfs *fs, const struct wal_oracle *oracle, size_t at)
{
    struct wal_memfs *alive = wal_memfs_crashed(fs, at, WAL_MEMFS_KILLED, at);
    struct wal_memfs *disk;
    struct err err = {0};
    struct wal *wal;

    assert_int_equal(try_open(alive, &wal, &err), ERR_OK);
    uint64_t durable_lsn = wal_durable_lsn(wal);
    struct held before = read_all(wal, durable_lsn);
    size_t opened = wal_memfs_journal_len(alive);
    assert_int_equal(wal_append(wal, 1, SLICE_LITERAL("more"), NULL, &err), ERR_OK);
    wal_close(wal);
    for (size_t cut = at; cut < opened; cut += 2) {
        wal = open_after_power_loss(alive, cut, &disk);
        if (wal_oracle_check(oracle, wal, at, &err) != ERR_OK) {
            fail_msg("killed after %zu, power lost after %zu: %s", at, cut, err.msg);
        }
        wal_close(wal);
        wal_memfs_free(disk);
    }
    size_t len = wal_memfs_journal_len(alive);
    for (size_t cut = opened; cut <= len; cut += 3) {
        wal = open_after_power_loss(alive, cut, &disk);
        assert_true(wal_durable_lsn(wal) >= durable_lsn);
        if (durable_lsn > 0) {
            struct held after = read_all(wal, durable_lsn);
            assert_memory_equal(&before, &after, sizeof(before));
        }
        wal_close(wal);
        wal_memfs_free(disk);
    }
    wal_memfs_free(alive);
}

static void
test_wal_makes_durable_what_it_takes_over(void **state)
{
    uint64_t counts[WAL_MEMFS_CALL_COUNT];

    (void)state;
    count_calls(counts);
    for (uint64_t nth = 1; nth <= counts[WAL_MEMFS_SYNC_DATA]; nth += SWEEP) {
        struct wal_memfs_fault fault = {
            .call = WAL_MEMFS_SYNC_DATA, .nth = nth, .times = 9, .step = 2 + nth % 4, .sys = EIO};
        struct wal_memfs *fs = wal_memfs_new(nth);
        struct wal_oracle *oracle = wal_oracle_new(fs);
        wal_memfs_journal(fs);
        wal_memfs_fail(fs, &fault);
        work(fs, oracle);
        size_t len = wal_memfs_journal_len(fs);
        for (size_t at = nth % 3; at <= len; at += 3) {
            kill_and_cut_power(fs, oracle, at);
        }
        wal_oracle_free(oracle);
        wal_memfs_free(fs);
    }
}

static void
test_wal_goes_on_in_a_new_segment_after_a_failed_sync(void **state)
{
    const struct wal_memfs_fault fault = {
        .call = WAL_MEMFS_SYNC_DATA, .nth = 1, .times = 1, .sys = EIO};
    struct wal_memfs *fs = wal_memfs_new(3);
    struct wal_oracle *oracle = wal_oracle_new(NULL);
    struct wal_status status;
    struct err err = {0};
    struct wal *wal;

    (void)state;
    assert_int_equal(try_open(fs, &wal, &err), ERR_OK);
    assert_int_equal(wal_oracle_append(oracle, wal, 100), ERR_OK);
    wal_memfs_fail(fs, &fault);
    assert_int_equal(wal_oracle_append(oracle, wal, 100), ERR_IO);
    wal_status(wal, &status);
    assert_true(status.healthy);
    assert_int_equal(status.failures, 1);
    assert_int_equal(status.segments, 2);
    assert_int_equal(wal_durable_lsn(wal), 1);
    wal_memfs_fail(fs, &fault);
    assert_int_equal(wal_oracle_append(oracle, wal, 100), ERR_IO);
    wal_status(wal, &status);
    assert_int_equal(status.segments, 2); /* the one without a record is no part of the log */
    assert_int_equal(wal_oracle_append(oracle, wal, 100), ERR_OK);
    assert_int_equal(wal_durable_lsn(wal), 2);
    wal_close(wal);
    check_disk(fs, oracle, SIZE_MAX, "after a failed sync");
    wal_oracle_free(oracle);
    wal_memfs_free(fs);
}

static void
test_wal_is_red_while_syncs_fail_and_heals_by_itself(void **state)
{
    struct wal_memfs *fs = wal_memfs_new(4);
    struct wal_oracle *oracle = wal_oracle_new(NULL);
    struct wal_status status;
    struct err err = {0};
    struct wal *wal;

    (void)state;
    assert_int_equal(try_open(fs, &wal, &err), ERR_OK);
    assert_int_equal(wal_oracle_append(oracle, wal, 100), ERR_OK);
    wal_memfs_fail(fs,
                   &(struct wal_memfs_fault){.call = WAL_MEMFS_SYNC_DATA, .nth = 1, .sys = EIO});
    assert_int_equal(wal_oracle_append(oracle, wal, 100), ERR_IO);
    assert_int_equal(wal_oracle_append(oracle, wal, 100), ERR_UNAVAILABLE);
    wal_status(wal, &status);
    assert_false(status.healthy);
    assert_int_equal(status.problem.code, ERR_IO);
    assert_int_equal(status.problem.sys, EIO);
    assert_int_equal(wal_durable_lsn(wal), 1);
    struct wal_memfs *killed = wal_memfs_copy(fs, 9);
    check_disk(killed, oracle, SIZE_MAX, "killed while red");
    wal_memfs_free(killed);
    wal_memfs_fail(fs, &(struct wal_memfs_fault){0});
    await_health(wal);
    wal_status(wal, &status);
    assert_int_equal(status.problem.code, ERR_OK);
    assert_int_equal(wal_oracle_append(oracle, wal, 100), ERR_OK);
    assert_int_equal(wal_oracle_check(oracle, wal, SIZE_MAX, &err), ERR_OK);
    wal_close(wal);
    check_disk(fs, oracle, SIZE_MAX, "after healing");
    wal_oracle_free(oracle);
    wal_memfs_free(fs);
}

static void
test_wal_opens_on_a_full_disk_and_waits_for_space(void **state)
{
    struct wal_memfs *fs = wal_memfs_new(6);
    struct wal_oracle *oracle = wal_oracle_new(NULL);
    struct wal_options options = options_on(fs);
    struct wal_status status;
    struct err err = {0};
    struct wal *wal;

    (void)state;
    options.reserve_free_bytes = 1000;
    wal_memfs_resize(fs, UINT64_C(5) * SEGMENT_BYTES);
    assert_int_equal(wal_open(&options, 1, &wal, &err), ERR_OK);
    enum err_code code = ERR_OK;
    for (int i = 0; i < 100 && code == ERR_OK; i++) {
        code = wal_oracle_append(oracle, wal, 1000);
    }
    assert_int_equal(code, ERR_NO_SPACE);
    assert_int_equal(wal_oracle_append(oracle, wal, 1000), ERR_NO_SPACE);
    assert_true(wal_oracle_acked(oracle) >= 20);
    wal_close(wal);

    wal_memfs_resize(fs, UINT64_C(5) * SEGMENT_BYTES - 4096);
    assert_int_equal(wal_open(&options, 1, &wal, &err), ERR_OK);
    wal_status(wal, &status);
    assert_false(status.healthy);
    assert_int_equal(status.problem.code, ERR_NO_SPACE);
    assert_int_equal(wal_oracle_check(oracle, wal, SIZE_MAX, &err), ERR_OK);
    assert_int_equal(wal_oracle_append(oracle, wal, 1000), ERR_NO_SPACE);
    assert_int_equal(wal_release(wal, 15, &err), ERR_OK); /* makes room */
    await_health(wal);
    assert_int_equal(wal_oracle_append(oracle, wal, 1000), ERR_OK);
    assert_int_equal(wal_oracle_check(oracle, wal, SIZE_MAX, &err), ERR_OK);
    wal_close(wal);
    check_disk(fs, oracle, SIZE_MAX, "after a full disk");
    wal_oracle_free(oracle);
    wal_memfs_free(fs);
}

static void
test_wal_release_tries_again_what_could_not_be_deleted(void **state)
{
    struct wal_memfs *fs = wal_memfs_new(8);
    struct wal_oracle *oracle = wal_oracle_new(NULL);
    struct err err = {0};
    struct wal *wal;

    (void)state;
    assert_int_equal(try_open(fs, &wal, &err), ERR_OK);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(wal_oracle_append(oracle, wal, 1000), ERR_OK);
    }
    wal_memfs_fail(fs, &(struct wal_memfs_fault){.call = WAL_MEMFS_UNLINK, .nth = 1, .sys = EIO});
    assert_int_equal(wal_release(wal, 20, &err), ERR_IO);
    assert_non_null(strstr(err.msg, "cannot delete"));
    uint64_t first_lsn = wal_first_lsn(wal);
    assert_true(first_lsn > 10);
    wal_memfs_fail(fs, &(struct wal_memfs_fault){0});
    assert_int_equal(wal_release(wal, 20, &err), ERR_OK);
    wal_close(wal);
    check_disk(fs, oracle, SIZE_MAX, "after a release");
    assert_int_equal(try_open(fs, &wal, &err), ERR_OK);
    assert_int_equal(wal_first_lsn(wal), first_lsn);
    wal_close(wal);
    wal_oracle_free(oracle);
    wal_memfs_free(fs);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wal_keeps_its_word_when_the_nth_call_fails),
        cmocka_unit_test(test_wal_keeps_its_word_when_all_calls_fail_from_the_nth),
        cmocka_unit_test(test_wal_goes_on_after_short_and_broken_writes),
        cmocka_unit_test(test_wal_survives_a_crash_after_every_call),
        cmocka_unit_test(test_wal_survives_a_crash_around_a_failed_call),
        cmocka_unit_test(test_wal_makes_durable_what_it_takes_over),
        cmocka_unit_test(test_wal_goes_on_in_a_new_segment_after_a_failed_sync),
        cmocka_unit_test(test_wal_is_red_while_syncs_fail_and_heals_by_itself),
        cmocka_unit_test(test_wal_opens_on_a_full_disk_and_waits_for_space),
        cmocka_unit_test(test_wal_release_tries_again_what_could_not_be_deleted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
