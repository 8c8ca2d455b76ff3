/* The access log: a line an exchange, secrets masked, everything written before it stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/access_log.h"

static const struct http_access sample = {
    .peer = {"127.0.0.1:5", 11},
    .method = {"GET", 3},
    .target = {"/ws/metrics?access_token=secret", 31},
    .user_agent = {"curl/8", 6},
    .request_id = {"id-1", 4},
    .status = 200,
    .bytes_in = 10,
    .bytes_out = 20,
    .duration_us = 1500,
};

/* Runs the log over a temporary file, `count` lines, and returns the text (static). */
static const char *
log_some(const struct http_access *access, int count)
{
    static char text[1 << 16];
    FILE *file = tmpfile();
    struct access_log *log = access_log_start(fileno(file));

    for (int i = 0; i < count; i++) {
        access_log_add(log, access);
    }
    access_log_stop(log);
    rewind(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static const char *
log_lines(int count)
{
    return log_some(&sample, count);
}

static void
test_access_log_line_cannot_be_forged_by_a_client(void **state)
{
    struct http_access access = sample;

    (void)state;
    access.user_agent = slice_of("x\" id-2\n\x9b\x1b[2J\\");
    access.target = slice_of("/a\"b");
    const char *text = log_some(&access, 1);
    assert_non_null(strstr(text, "\"GET /a?b\" 200 10 20 1.500ms \"x? id-2???[2J?\" id-1\n"));
    assert_ptr_equal(strchr(text, '\n') + 1, text + strlen(text));
}

static void
test_access_log_line_has_what_an_operator_looks_for(void **state)
{
    const char *text = log_lines(1);

    (void)state;
    assert_non_null(
        strstr(text, "127.0.0.1:5 \"GET /ws/metrics?access_token=[redacted]\" 200 10 20 1.500ms"));
    assert_non_null(strstr(text, "\"curl/8\" id-1\n"));
}

static void
test_access_log_never_shows_a_token(void **state)
{
    (void)state;
    assert_null(strstr(log_lines(3), "secret"));
}

static void
test_access_log_masks_names_that_are_written_otherwise(void **state)
{
    static const char *const targets[] = {
        "/ws/metrics?access%5Ftoken=secret", "/a?%61ccess_token=secret&b=1",
        "/a?b=1&ACCESS_TOKEN=secret", "/a?b=1&access_token=secret#x", "/a?api_key=secret"};

    (void)state;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct http_access access = sample;
        access.target = slice_of(targets[i]);
        assert_null(strstr(log_some(&access, 1), "secret"));
    }
}

static void
test_access_log_stop_writes_what_is_queued(void **state)
{
    const char *at = log_lines(100);
    int lines = 0;

    (void)state;
    while ((at = strchr(at, '\n')) != NULL) {
        at++;
        lines++;
    }
    assert_int_equal(lines, 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_log_line_has_what_an_operator_looks_for),
        cmocka_unit_test(test_access_log_never_shows_a_token),
        cmocka_unit_test(test_access_log_masks_names_that_are_written_otherwise),
        cmocka_unit_test(test_access_log_line_cannot_be_forged_by_a_client),
        cmocka_unit_test(test_access_log_stop_writes_what_is_queued),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
