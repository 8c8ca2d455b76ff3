/* Tests of the log: lines as text and JSON through a pipe, the ring, levels. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static int ends[2];

static int
open_pipe(void **state)
{
    (void)state;
    return pipe(ends);
}

static int
close_pipe(void **state)
{
    (void)state;
    log_init(&(struct log_options){.level = LOG_ERROR});
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* What was written so far, as one string. */
static const char *
written(void)
{
    static char text[8192];
    ssize_t got = read(ends[0], text, sizeof(text) - 1);

    text[got > 0 ? got : 0] = '\0';
    return text;
}

static void
test_log_writes_time_level_part_and_message(void **state)
{
    (void)state;
    log_init(&(struct log_options){.level = LOG_INFO, .fd = ends[1]});
    log_write(LOG_WARNING, "wal", "segment %d", 7);
    const char *line = written();
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    assert_non_null(strstr(line, "Z WARNING wal      segment 7\n"));
}

static void
test_log_below_its_level_is_silent(void **state)
{
    (void)state;
    log_init(&(struct log_options){.level = LOG_WARNING, .fd = ends[1]});
    log_write(LOG_INFO, "x", "not this");
    log_write(LOG_ERROR, "x", "but this");
    assert_null(strstr(written(), "not this"));
    log_set_level(LOG_DEBUG);
    assert_int_equal(log_get_level(), LOG_DEBUG);
    log_write(LOG_DEBUG, "x", "now this");
    assert_non_null(strstr(written(), "DEBUG"));
}

static void
test_log_json_escapes_what_it_must(void **state)
{
    (void)state;
    log_init(&(struct log_options){.level = LOG_INFO, .json = true, .fd = ends[1]});
    log_write(LOG_INFO, "http", "a \"quote\", a \\ and a\nnewline");
    const char *line = written();
    assert_non_null(strstr(line,
                           "\"level\":\"INFO\",\"part\":\"http\",\"msg\":\"a \\\"quote\\\", a "
                           "\\\\ and a\\u000anewline\"}\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void
test_log_long_lines_are_cut_and_still_end(void **state)
{
    char longest[3 * LOG_LINE_MAX];

    (void)state;
    memset(longest, '"', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    for (int json = 0; json < 2; json++) {
        log_init(&(struct log_options){.level = LOG_INFO, .json = json, .fd = ends[1]});
        log_write(LOG_INFO, "a part with a long name", "%s", longest);
        const char *line = written();
        assert_int_equal(line[strlen(line) - 1], '\n');
        assert_true(strlen(line) > LOG_LINE_MAX / 2);
    }
}

static void
test_log_recent_gives_the_newest_oldest_first(void **state)
{
    MEM_AUTO struct log_record *records = mem_zalloc(LOG_RING_LINES, sizeof(*records));

    (void)state;
    log_init(&(struct log_options){.level = LOG_INFO, .fd = ends[1]});
    for (int i = 0; i < LOG_RING_LINES + 5; i++) {
        log_write(i % 2 ? LOG_ERROR : LOG_INFO, "x", "%d", i);
        written();
    }
    assert_int_equal(log_recent(LOG_ERROR, records, 3), 3);
    assert_string_equal(records[0].text, "999");
    assert_string_equal(records[2].text, "1003");
    assert_int_equal(log_recent(LOG_DEBUG, records, LOG_RING_LINES), LOG_RING_LINES);
    assert_string_equal(records[0].text, "5");
    assert_string_equal(records[LOG_RING_LINES - 1].text, "1004");
    assert_true(records[0].wall_us <= records[LOG_RING_LINES - 1].wall_us);
}

enum { THREADS = 4, LINES = 100 };

static void *
write_many(void *ctx)
{
    for (int i = 0; i < LINES; i++) {
        log_write(LOG_INFO, "thread", "%s line", (const char *)ctx);
    }
    return NULL;
}

static void
test_log_lines_of_threads_stay_whole(void **state)
{
    static char names[THREADS][4] = {"aaa", "bbb", "ccc", "ddd"};
    MEM_AUTO struct log_record *records = mem_zalloc(LOG_RING_LINES, sizeof(*records));
    pthread_t threads[THREADS];
    size_t found = 0;

    (void)state;
    log_init(&(struct log_options){.level = LOG_INFO, .fd = ends[1]});
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
    }
    /* 400 lines of less than 64 bytes fit the pipe, so nobody has to read meanwhile. */
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    size_t count = log_recent(LOG_INFO, records, LOG_RING_LINES);
    for (size_t i = 0; i < count; i++) {
        found += strcmp(records[i].part, "thread") == 0 && strlen(records[i].text) == 8;
    }
    assert_int_equal(found, THREADS * LINES);
    for (found = 0; found < THREADS * LINES;) {
        for (const char *at = written(); (at = strchr(at, '\n')) != NULL; at++) {
            found++;
        }
    }
    assert_int_equal(found, THREADS * LINES);
}

static void
test_log_levels_have_names_that_read_back(void **state)
{
    enum log_level level;

    (void)state;
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        assert_true(log_level_parse(slice_of(log_level_name((enum log_level)i)), &level));
        assert_int_equal(level, i);
    }
    assert_true(log_level_parse(slice_of("warn"), &level));
    assert_int_equal(level, LOG_WARNING);
    assert_false(log_level_parse(slice_of("LOUD"), &level));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_writes_time_level_part_and_message),
        cmocka_unit_test(test_log_below_its_level_is_silent),
        cmocka_unit_test(test_log_json_escapes_what_it_must),
        cmocka_unit_test(test_log_long_lines_are_cut_and_still_end),
        cmocka_unit_test(test_log_recent_gives_the_newest_oldest_first),
        cmocka_unit_test(test_log_lines_of_threads_stay_whole),
        cmocka_unit_test(test_log_levels_have_names_that_read_back),
    };

    return cmocka_run_group_tests(tests, open_pipe, close_pipe);
}
