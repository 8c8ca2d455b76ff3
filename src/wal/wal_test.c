/* The log on the real file system: appending, reading along, rolling, releasing, refusing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "wal/wal.h"
#include "wal/wal_oracle.h"

enum { SEGMENT_BYTES = 16 << 10, PATH_BYTES = 512 };

struct fixture {
    char root[PATH_BYTES];
    char dir[PATH_BYTES];
    struct wal_options options;
};

static int
setup(void **state)
{
    struct fixture *f = mem_zalloc(1, sizeof(*f));
    const char *tmp = getenv("TMPDIR");

    snprintf(f->root, sizeof(f->root), "%s/eider-wal-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->root));
    snprintf(f->dir, sizeof(f->dir), "%.400s/wal", f->root);
    f->options = (struct wal_options){.dir = f->dir, .segment_bytes = SEGMENT_BYTES, .retry_ms = 1};
    *state = f;
    return 0;
}

static size_t
count_files(const char *dir, bool delete)
{
    size_t count = 0;
    char path[PATH_BYTES * 2];
    struct dirent *item;

    DIR *stream = opendir(dir);
    while (stream && (item = readdir(stream))) {
        if (item->d_name[0] == '.') {
            continue;
        }
        count++;
        snprintf(path, sizeof(path), "%s/%s", dir, item->d_name);
        if (delete) {
            unlink(path);
        }
    }
    if (stream) {
        closedir(stream);
    }
    return count;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    count_files(f->dir, true);
    rmdir(f->dir);
    assert_int_equal(rmdir(f->root), 0);
    free(f);
    return 0;
}

static struct wal *
open_log(struct fixture *f)
{
    struct err err = {0};
    struct wal *wal = NULL;

    if (wal_open(&f->options, 1, &wal, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    return wal;
}

static void
check(struct wal_oracle *oracle, struct wal *wal)
{
    struct err err = {0};

    if (wal_oracle_check(oracle, wal, SIZE_MAX, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
}

static void
test_wal_gives_back_what_was_appended_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct wal_oracle *oracle = wal_oracle_new(NULL);

    struct wal *wal = open_log(f);
    assert_int_equal(wal_durable_lsn(wal), 0);
    assert_int_equal(wal_first_lsn(wal), 1);
    for (size_t i = 0; i < 50; i++) {
        assert_int_equal(wal_oracle_append(oracle, wal, 8 + i * 13), ERR_OK);
        assert_int_equal(wal_durable_lsn(wal), i + 1);
    }
    check(oracle, wal);
    wal_close(wal);
    wal = open_log(f);
    check(oracle, wal);
    assert_int_equal(wal_oracle_append(oracle, wal, 100), ERR_OK);
    assert_int_equal(wal_durable_lsn(wal), 51);
    check(oracle, wal);
    wal_close(wal);
    wal_oracle_free(oracle);
}

static void
test_wal_takes_empty_and_many_part_records(void **state)
{
    struct fixture *f = *state;
    struct err err;
    struct wal_cursor *cursor;
    struct wal_record record;
    uint64_t lsn = 0;

    struct wal *wal = open_log(f);
    assert_int_equal(wal_append(wal, 7, SLICE_LITERAL(""), &lsn, &err), ERR_OK);
    assert_int_equal(lsn, 1);
    assert_int_equal(wal_append(wal, 65535, SLICE_LITERAL("abc"), &lsn, &err), ERR_OK);
    assert_int_equal(wal_cursor_open(wal, 1, &cursor, &err), ERR_OK);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
    assert_int_equal(record.type, 7);
    assert_int_equal(record.payload.len, 0);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
    assert_int_equal(record.type, 65535);
    assert_true(slice_is(record.payload, "abc"));
    assert_true(record.wall_us > 0);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_TIMEOUT);
    wal_cursor_close(cursor);
    wal_close(wal);
}

static void
test_wal_rolls_over_many_segments_and_releases_them(void **state)
{
    struct fixture *f = *state;
    struct wal_oracle *oracle = wal_oracle_new(NULL);
    struct wal_status status;
    struct err err = {0};

    struct wal *wal = open_log(f);
    for (size_t i = 0; i < 600; i++) {
        assert_int_equal(wal_oracle_append(oracle, wal, 8 + (i * 37) % 2000), ERR_OK);
    }
    wal_status(wal, &status);
    assert_true(status.segments > 30);
    check(oracle, wal);
    assert_int_equal(wal_release(wal, 300, &err), ERR_OK);
    uint64_t first_lsn = wal_first_lsn(wal);
    assert_in_range(first_lsn, 200, 301);
    check(oracle, wal);
    wal_close(wal);

    wal = open_log(f);
    assert_int_equal(wal_first_lsn(wal), first_lsn);
    wal_status(wal, &status);
    assert_int_equal(status.recovered_records, 600 - first_lsn + 1);
    check(oracle, wal);
    assert_int_equal(wal_release(wal, 600, &err), ERR_OK);
    assert_int_equal(wal_first_lsn(wal), 601);
    assert_int_equal(wal_durable_lsn(wal), 600);
    wal_close(wal);
    assert_int_equal(count_files(f->dir, false), 1);

    wal = open_log(f);
    assert_int_equal(wal_durable_lsn(wal), 600);
    assert_int_equal(wal_oracle_append(oracle, wal, 64), ERR_OK);
    assert_int_equal(wal_durable_lsn(wal), 601);
    check(oracle, wal);
    wal_close(wal);
    wal_oracle_free(oracle);
}

static void
test_wal_restarts_without_writes_leave_one_file(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 20; i++) {
        wal_close(open_log(f));
    }
    /* The one before the last is deleted in the background, or at the next start. */
    assert_in_range(count_files(f->dir, false), 1, 2);
}

static void
test_wal_starts_at_the_lsn_that_the_store_needs(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct wal *wal;
    uint64_t lsn;
    struct wal_cursor *cursor;
    struct wal_record record;

    assert_int_equal(wal_open(&f->options, 101, &wal, &err), ERR_OK);
    assert_int_equal(wal_first_lsn(wal), 101);
    assert_int_equal(wal_durable_lsn(wal), 100);
    assert_int_equal(wal_cursor_open(wal, 100, &cursor, &err), ERR_NOT_FOUND);
    assert_int_equal(wal_append(wal, 1, SLICE_LITERAL("a"), &lsn, &err), ERR_OK);
    assert_int_equal(lsn, 101);
    wal_close(wal);

    /* A log that lost its end while the store kept it: the numbers jump, nothing is given twice. */
    assert_int_equal(wal_open(&f->options, 200, &wal, &err), ERR_OK);
    assert_int_equal(wal_append(wal, 1, SLICE_LITERAL("b"), &lsn, &err), ERR_OK);
    assert_int_equal(lsn, 200);
    wal_close(wal);
    assert_int_equal(wal_check(f->dir, NULL, NULL, NULL, &err), ERR_OK);
    assert_int_equal(wal_open(&f->options, 1, &wal, &err), ERR_OK);
    assert_int_equal(wal_cursor_open(wal, 102, &cursor, &err), ERR_OK);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
    assert_int_equal(record.lsn, 200);
    wal_cursor_close(cursor);
    assert_int_equal(wal_durable_lsn(wal), 200);
    wal_close(wal);
}

static void
test_wal_cursor_starts_anywhere_and_survives_release(void **state)
{
    struct fixture *f = *state;
    struct wal_oracle *oracle = wal_oracle_new(NULL);
    struct wal_cursor *cursor;
    struct wal_record record;
    struct err err = {0};

    struct wal *wal = open_log(f);
    for (size_t i = 0; i < 200; i++) {
        wal_oracle_append(oracle, wal, 500);
    }
    for (uint64_t from = 1; from <= 200; from += 13) {
        assert_int_equal(wal_cursor_open(wal, from, &cursor, &err), ERR_OK);
        assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
        assert_int_equal(record.lsn, from);
        wal_cursor_close(cursor);
    }
    assert_int_equal(wal_cursor_open(wal, 1, &cursor, &err), ERR_OK);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
    assert_int_equal(wal_release(wal, 150, &err), ERR_OK);
    uint64_t first_lsn = wal_first_lsn(wal);
    assert_true(first_lsn > 100);
    /* The rest of its segment, then the first segment that is left. */
    uint64_t lsn = 2;
    while (lsn < first_lsn) {
        assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
        lsn = record.lsn == lsn ? lsn + 1 : record.lsn;
    }
    assert_int_equal(lsn, first_lsn);
    wal_cursor_close(cursor);
    assert_int_equal(wal_cursor_open(wal, first_lsn - 1, &cursor, &err), ERR_NOT_FOUND);
    assert_int_equal(wal_cursor_open(wal, 201, &cursor, &err), ERR_OK);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_TIMEOUT);
    assert_int_equal(wal_cursor_next(cursor, 1, &record, &err), ERR_TIMEOUT);
    assert_int_equal(wal_oracle_append(oracle, wal, 500), ERR_OK);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
    assert_int_equal(record.lsn, 201);
    wal_cursor_close(cursor);
    wal_close(wal);
    wal_oracle_free(oracle);
}

struct reading {
    struct wal_cursor *cursor;
    enum err_code code;
};

static void *
read_one(void *arg)
{
    struct reading *reading = arg;
    struct wal_record record;
    struct err err;

    reading->code = wal_cursor_next(reading->cursor, -1, &record, &err);
    return NULL;
}

static void
test_wal_cursor_waits_until_it_is_woken(void **state)
{
    struct fixture *f = *state;
    struct reading reading;
    struct wal_record record;
    struct err err;
    pthread_t thread;

    struct wal *wal = open_log(f);
    assert_int_equal(wal_cursor_open(wal, 1, &reading.cursor, &err), ERR_OK);
    pthread_create(&thread, NULL, read_one, &reading);
    assert_int_equal(wal_append(wal, 1, SLICE_LITERAL("x"), NULL, &err), ERR_OK);
    pthread_join(thread, NULL);
    assert_int_equal(reading.code, ERR_OK);
    pthread_create(&thread, NULL, read_one, &reading);
    wal_cursor_wake(reading.cursor);
    pthread_join(thread, NULL);
    assert_int_equal(reading.code, ERR_UNAVAILABLE);
    assert_int_equal(wal_append(wal, 1, SLICE_LITERAL("y"), NULL, &err), ERR_OK);
    assert_int_equal(wal_cursor_next(reading.cursor, -1, &record, &err), ERR_OK);
    assert_int_equal(wal_cursor_next(reading.cursor, -1, &record, &err), ERR_UNAVAILABLE);
    wal_cursor_close(reading.cursor);
    wal_close(wal);
}

static void
test_wal_refuses_what_does_not_fit(void **state)
{
    struct fixture *f = *state;
    static char big[SEGMENT_BYTES];
    struct err err = {0};
    uint64_t most = SEGMENT_BYTES - 4096 - 2 * 40;

    struct wal *wal = open_log(f);
    assert_int_equal(wal_append(wal, 1, slice_make(big, most), NULL, &err), ERR_OK);
    assert_int_equal(wal_append(wal, 1, slice_make(big, most + 1), NULL, &err), ERR_TOO_LARGE);
    assert_non_null(strstr(err.msg, "does not fit a log segment"));
    wal_close(wal);
    f->options.queue_bytes_max = 1000;
    wal = open_log(f);
    assert_int_equal(wal_append(wal, 1, slice_make(big, 960), NULL, &err), ERR_OK);
    assert_int_equal(wal_append(wal, 1, slice_make(big, 961), NULL, &err), ERR_TOO_LARGE);
    wal_close(wal);
    f->options.segment_bytes = 0;
    f->options.queue_bytes_max = 0;
    wal = open_log(f);
    struct slice huge = slice_make(big, (size_t)WAL_RECORD_BYTES_MAX + 1);
    assert_int_equal(wal_append(wal, 1, huge, NULL, &err), ERR_TOO_LARGE);
    wal_close(wal);
}

static void
test_wal_takes_the_largest_record(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct wal_cursor *cursor;
    struct wal_record record;
    MEM_AUTO char *big = mem_alloc(WAL_RECORD_BYTES_MAX);
    struct slice payload = slice_make(big, WAL_RECORD_BYTES_MAX);

    memset(big, 'x', WAL_RECORD_BYTES_MAX);
    f->options.segment_bytes = 0;
    struct wal *wal = open_log(f);
    assert_int_equal(wal_append(wal, 1, SLICE_LITERAL("small"), NULL, &err), ERR_OK);
    assert_int_equal(wal_append(wal, 1, payload, NULL, &err), ERR_OK);
    assert_int_equal(wal_append(wal, 1, SLICE_LITERAL("small"), NULL, &err), ERR_OK);
    assert_int_equal(wal_cursor_open(wal, 2, &cursor, &err), ERR_OK);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
    assert_true(slice_eq(record.payload, payload));
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), ERR_OK);
    assert_true(slice_is(record.payload, "small"));
    wal_cursor_close(cursor);
    wal_close(wal);
}

/* Submits two from the `done` of a first one, while nothing can be written in between. */
struct pressing {
    struct wal_entry entries[3];
    enum err_code codes[3];
    struct wal *wal;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    int answers;
};

static void
pressing_done(struct wal_entry *entry, enum err_code code, const struct err *err)
{
    struct pressing *p = entry->ctx;
    size_t index = (size_t)(entry - p->entries);

    (void)err;
    p->codes[index] = code;
    if (index == 0) {
        wal_submit(p->wal, &p->entries[1]);
        wal_submit(p->wal, &p->entries[2]);
    }
    pthread_mutex_lock(&p->lock);
    p->answers++;
    pthread_cond_signal(&p->answered);
    pthread_mutex_unlock(&p->lock);
}

static void
test_wal_is_busy_over_the_queue_bound(void **state)
{
    struct fixture *f = *state;
    static char bytes[960];
    struct pressing p = {.lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};
    struct err err = {0};

    f->options.queue_bytes_max = 1500;
    p.wal = open_log(f);
    for (size_t i = 0; i < 3; i++) {
        p.entries[i] = (struct wal_entry){.part_count = 1,
                                          .parts = {slice_make(bytes, sizeof(bytes))},
                                          .done = pressing_done,
                                          .ctx = &p};
    }
    wal_submit(p.wal, &p.entries[0]);
    pthread_mutex_lock(&p.lock);
    while (p.answers < 3) {
        pthread_cond_wait(&p.answered, &p.lock);
    }
    pthread_mutex_unlock(&p.lock);
    assert_int_equal(p.codes[0], ERR_OK);
    assert_int_equal(p.codes[1], ERR_OK);
    assert_int_equal(p.codes[2], ERR_BUSY);
    assert_int_equal(p.entries[2].lsn, 0);
    assert_int_equal(wal_append(p.wal, 1, slice_make(bytes, 900), NULL, &err), ERR_OK);
    wal_close(p.wal);
}

static void
test_wal_is_busy_while_too_much_is_not_released(void **state)
{
    struct fixture *f = *state;
    static char bytes[1000];
    struct err err = {0};
    enum err_code code = ERR_OK;
    uint64_t lsn = 0;

    f->options.unreleased_bytes_max = 64 << 10;
    struct wal *wal = open_log(f);
    for (int i = 0; i < 100 && code == ERR_OK; i++) {
        code = wal_append(wal, 1, slice_make(bytes, sizeof(bytes)), &lsn, &err);
    }
    assert_int_equal(code, ERR_BUSY);
    assert_in_range(lsn, 30, 64);
    assert_int_equal(wal_release(wal, lsn, &err), ERR_OK);
    assert_int_equal(wal_append(wal, 1, slice_make(bytes, sizeof(bytes)), &lsn, &err), ERR_OK);
    wal_close(wal);
}

static void
test_wal_recovers_when_files_may_grow_again(void **state)
{
    struct fixture *f = *state;
    struct wal_oracle *oracle = wal_oracle_new(NULL);
    struct rlimit old;
    struct wal_status status;

    getrlimit(RLIMIT_FSIZE, &old);
    struct wal *wal = open_log(f);
    wal_oracle_append(oracle, wal, 4000);
    struct rlimit tight = {.rlim_cur = 100, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tight);
    enum err_code code = wal_oracle_append(oracle, wal, 4000);
    assert_int_equal(code, ERR_NO_SPACE);
    wal_status(wal, &status);
    assert_false(status.healthy);
    assert_int_equal(status.problem.code, ERR_NO_SPACE);
    assert_int_equal(wal_oracle_append(oracle, wal, 4000), ERR_NO_SPACE);
    check(oracle, wal);
    setrlimit(RLIMIT_FSIZE, &old);
    do {
        wal_status(wal, &status);
    } while (!status.healthy);
    assert_int_equal(wal_oracle_append(oracle, wal, 4000), ERR_OK);
    check(oracle, wal);
    wal_close(wal);
    wal = open_log(f);
    check(oracle, wal);
    assert_int_equal(wal_durable_lsn(wal), 2);
    wal_close(wal);
    wal_oracle_free(oracle);
}

enum { CROWD_THREADS = 16, CROWD_EACH = 150 };

struct crowd {
    struct wal *wal;
    uint64_t lsns[CROWD_THREADS][CROWD_EACH];
};

struct member {
    struct crowd *crowd;
    uint32_t index;
};

static void *
append_many(void *arg)
{
    struct member *member = arg;
    struct err err;
    uint32_t words[16] = {member->index};

    for (uint32_t i = 0; i < CROWD_EACH; i++) {
        words[1] = i;
        uint64_t *lsn = &member->crowd->lsns[member->index][i];
        if (wal_append(member->crowd->wal, 1, slice_make(words, sizeof(words)), lsn, &err) !=
            ERR_OK) {
            *lsn = 0;
        }
    }
    return NULL;
}

static void
test_wal_orders_many_threads_and_a_cursor_reads_along(void **state)
{
    struct fixture *f = *state;
    static struct crowd crowd;
    struct member members[CROWD_THREADS];
    pthread_t threads[CROWD_THREADS];
    struct wal_cursor *cursor;
    struct wal_record record;
    struct wal_status status;
    struct err err = {0};

    crowd.wal = open_log(f);
    assert_int_equal(wal_cursor_open(crowd.wal, 1, &cursor, &err), ERR_OK);
    for (uint32_t i = 0; i < CROWD_THREADS; i++) {
        members[i] = (struct member){&crowd, i};
        pthread_create(&threads[i], NULL, append_many, &members[i]);
    }
    static uint64_t read_lsns[CROWD_THREADS][CROWD_EACH];
    for (uint64_t lsn = 1; lsn <= UINT64_C(1) * CROWD_THREADS * CROWD_EACH; lsn++) {
        uint32_t words[16];
        assert_int_equal(wal_cursor_next(cursor, -1, &record, &err), ERR_OK);
        assert_int_equal(record.lsn, lsn);
        assert_int_equal(record.payload.len, sizeof(words));
        memcpy(words, record.payload.ptr, sizeof(words));
        read_lsns[words[0]][words[1]] = lsn;
        if (lsn % 500 == 0) {
            assert_int_equal(wal_release(crowd.wal, lsn, &err), ERR_OK);
        }
    }
    for (uint32_t i = 0; i < CROWD_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_memory_equal(read_lsns, crowd.lsns, sizeof(read_lsns));
    wal_status(crowd.wal, &status);
    assert_int_equal(status.records, CROWD_THREADS * CROWD_EACH);
    assert_int_equal(status.queued_bytes, 0);
    assert_true(status.healthy);
    wal_cursor_close(cursor);
    wal_close(crowd.wal);
}

static void
test_wal_says_what_is_wrong_with_its_directory(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct wal *wal = NULL;
    char dir[PATH_BYTES + 32];

    snprintf(dir, sizeof(dir), "%s/none/wal", f->root);
    f->options.dir = dir;
    assert_int_equal(wal_open(&f->options, 1, &wal, &err), ERR_IO);
    assert_non_null(strstr(err.msg, dir));
    f->options.dir = "";
    assert_int_equal(wal_open(&f->options, 1, &wal, &err), ERR_INVALID);
    assert_null(wal);
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_wal_gives_back_what_was_appended_after_a_restart),
        LOG_TEST(test_wal_takes_empty_and_many_part_records),
        LOG_TEST(test_wal_rolls_over_many_segments_and_releases_them),
        LOG_TEST(test_wal_restarts_without_writes_leave_one_file),
        LOG_TEST(test_wal_starts_at_the_lsn_that_the_store_needs),
        LOG_TEST(test_wal_cursor_starts_anywhere_and_survives_release),
        LOG_TEST(test_wal_cursor_waits_until_it_is_woken),
        LOG_TEST(test_wal_refuses_what_does_not_fit),
        LOG_TEST(test_wal_takes_the_largest_record),
        LOG_TEST(test_wal_is_busy_over_the_queue_bound),
        LOG_TEST(test_wal_is_busy_while_too_much_is_not_released),
        LOG_TEST(test_wal_recovers_when_files_may_grow_again),
        LOG_TEST(test_wal_orders_many_threads_and_a_cursor_reads_along),
        LOG_TEST(test_wal_says_what_is_wrong_with_its_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
